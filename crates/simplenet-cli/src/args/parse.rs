//! Values of flags that are more than a number or a name: sizes, times, shares.

/// `288` or `384x288` (width x height).
pub(crate) fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let number = |part: &str| match part.parse::<u32>() {
        Ok(n @ 32..=4096) => Ok(n),
        _ => Err(format!("`{part}` is not a number of pixels between 32 and 4096")),
    };
    match text.split_once(['x', 'X', '×']) {
        Some((width, height)) => Ok((number(width)?, number(height)?)),
        None => number(text).map(|n| (n, n)),
    }
}

/// A time, 0 or more.
pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => Ok(seconds),
        _ => Err(format!("`{text}` is not a number of seconds")),
    }
}

/// A number of pixels: `400000000`, or `400MP`.
pub(crate) fn parse_pixels(text: &str) -> Result<u64, String> {
    const MEGA: u64 = 1_000_000;
    let (number, unit) = match text.strip_suffix("MP").or_else(|| text.strip_suffix("mp")) {
        Some(number) => (number.trim_end(), MEGA),
        None => (text, 1),
    };
    let pixels = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    pixels.filter(|&pixels| pixels > 0).ok_or_else(|| {
        format!("`{text}` is not a number of pixels (width times height), like 400000000 or 400MP")
    })
}

/// A share of parts: `0.5%` or `0.005`.
pub(crate) fn parse_share(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is not a share of parts, like 0.5% or 0.005");
    let share = match text.strip_suffix('%') {
        // Not a division: 0.3% must be the number that 0.003 is.
        Some(percent) => format!("{}e-2", percent.trim_end()).parse::<f64>(),
        None => text.parse::<f64>(),
    };
    let share = share.map_err(|_| wrong())?;
    match (0.0..=1.0).contains(&share) {
        true => Ok(share),
        false if share > 1.0 && !text.ends_with('%') => {
            Err(format!("{}: write {text}% for percent", wrong()))
        }
        false => Err(wrong()),
    }
}

/// A raw image score: any finite number.
pub(crate) fn parse_score(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(score) if score.is_finite() => Ok(score),
        _ => Err(format!("`{text}` is not a score: a finite number, like 16.5")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (text, share) in [
            ("0.5%", 0.005),
            ("0.005", 0.005),
            ("0.3 %", 0.003),
            ("5%", 0.05),
            ("0", 0.0),
            ("100%", 1.0),
            ("7%", 0.07),
        ] {
            assert_eq!(parse_share(text), Ok(share), "{text}");
        }
        assert!(parse_share("5").unwrap_err().contains("write 5%"));
        for wrong in ["", "%", "-1%", "half", "101%", "nan", "0.5%%", "1e9"] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn scores() {
        for (text, score) in [("16.5", 16.5), ("-0.25", -0.25), ("1e2", 100.0)] {
            assert_eq!(parse_score(text), Ok(score), "{text}");
        }
        for wrong in ["nan", "inf", "-inf", "1e39", "", "high"] {
            assert!(parse_score(wrong).unwrap_err().contains("finite"), "{wrong}");
        }
    }

    #[test]
    fn pixels() {
        assert_eq!(parse_pixels("400MP"), Ok(400_000_000));
        assert_eq!(parse_pixels("1234"), Ok(1234));
        for wrong in ["0", "-1", "1.5", "400 GP", "99999999999999999999MP", ""] {
            assert!(parse_pixels(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("288"), Ok((288, 288)));
        assert_eq!(parse_size("384x256"), Ok((384, 256)));
        for wrong in ["", "0", "31", "x", "10000", "288x", "-3", "288x288x3"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
