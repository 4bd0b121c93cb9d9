//! Published speeds on MVTec AD, each with the hardware that it was measured on.
//!
//! In: the embedded table `assets/published_speed.csv`, whose head says what its columns mean and whose lines say where each number
//! is from. Out: one [`PublishedSpeed`] a line.

use super::OutputError;

const EMBEDDED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/published_speed.csv"));
/// Shown for what was not published.
const MISSING: &str = "-";

/// A published measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedSpeed {
    /// The method, and who timed it where that is somebody else.
    pub method: String,
    /// Image AUROC in percent, mean of MVTec AD's 15 categories.
    pub image_auroc: f64,
    /// Milliseconds of one image at a time.
    pub milliseconds: Option<f64>,
    /// Images a second, `batch` of them at once.
    pub images_per_second: Option<f64>,
    /// How many images at once `images_per_second` is of; `None` where that is not stated.
    pub batch: Option<usize>,
    /// The machine.
    pub hardware: String,
    /// Size and precision of the network's input, where stated.
    pub input: Option<String>,
    /// Where the numbers are from.
    pub source: String,
}

impl PublishedSpeed {
    /// The table that travels with the program.
    ///
    /// # Errors
    /// A malformed table.
    pub fn embedded() -> Result<Vec<Self>, OutputError> {
        Self::parse(EMBEDDED)
    }

    /// Parses the table: lines that begin with `#` are remarks, then comes the header.
    ///
    /// # Errors
    /// A line of another form, with its number.
    pub fn parse(csv: &str) -> Result<Vec<Self>, OutputError> {
        let lines = csv.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'));
        lines.skip(1).map(|(index, line)| Self::line(index + 1, line)).collect()
    }

    fn line(number: usize, line: &str) -> Result<Self, OutputError> {
        let error = |reason: String| OutputError::Published { line: number, reason };
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [method, auroc, milliseconds, images, batch, hardware, input, source] = fields[..] else {
            return Err(error(format!("{} fields, expected 8", fields.len())));
        };
        let positive = |name: &str, text: &str| match text {
            MISSING => Ok(None),
            text => match text.parse::<f64>() {
                Ok(value) if value > 0.0 && value.is_finite() => Ok(Some(value)),
                _ => Err(error(format!("{name} is {text:?}, expected a number above 0 or {MISSING:?}"))),
            },
        };
        let speed = Self {
            method: method.into(),
            image_auroc: positive("image_auroc_percent", auroc)?
                .filter(|auroc| *auroc <= 100.0)
                .ok_or_else(|| error(format!("image_auroc_percent is {auroc:?}, expected up to 100")))?,
            milliseconds: positive("milliseconds", milliseconds)?,
            images_per_second: positive("images_per_second", images)?,
            batch: positive("batch", batch)?.map(|batch| batch as usize),
            hardware: hardware.into(),
            input: Some(input).filter(|text| *text != MISSING).map(String::from),
            source: source.into(),
        };
        for (name, text) in [("method", method), ("hardware", hardware), ("source", source)] {
            if text.is_empty() || text == MISSING {
                return Err(error(format!("no {name}")));
            }
        }
        match (speed.milliseconds, speed.images_per_second) {
            (None, None) => Err(error("neither milliseconds nor images_per_second".into())),
            _ => Ok(speed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_table_names_hardware_and_source_of_every_number() {
        let all = PublishedSpeed::embedded().unwrap();
        assert_eq!(all.len(), 5);
        let paper = &all[0];
        assert_eq!((paper.method.as_str(), paper.image_auroc), ("SimpleNet", 99.6));
        assert_eq!((paper.images_per_second, paper.hardware.as_str()), (Some(77.0), "RTX 3080 Ti"));
        assert!(all.iter().all(|line| line.source.contains("arXiv")), "{all:?}");
    }

    #[test]
    fn damaged_tables_are_refused_with_the_line() {
        let header = "# remark\nmethod,…\n";
        for (line, reason) in [
            ("A,99,1,2,16,GPU,-", "7 fields"),
            ("A,101,1,2,16,GPU,-,paper", "up to 100"),
            ("A,99,fast,2,16,GPU,-,paper", "milliseconds is \"fast\""),
            ("A,99,1,-3,16,GPU,-,paper", "images_per_second is \"-3\""),
            ("A,99,-,-,16,GPU,-,paper", "neither"),
            ("A,99,1,2,16,-,-,paper", "no hardware"),
            ("A,99,1,2,16,GPU,-,", "no source"),
        ] {
            let message = PublishedSpeed::parse(&format!("{header}{line}\n")).unwrap_err().to_string();
            assert!(message.contains("line 3") && message.contains(reason), "{message}");
        }
    }
}
