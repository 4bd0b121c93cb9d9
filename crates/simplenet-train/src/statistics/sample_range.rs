//! Which sample of the photographs is white: settings completed from the photographs of good parts, before anything else is
//! done with them.

use std::path::PathBuf;

use simplenet_data::{
    dataset::{Label, Sample},
    decode::{SampleRange, contrast_note},
};

use crate::{config::TrainConfig, reporter::Reporter};

/// The settings, with the bit depth that all good photographs need: those that are trained on, held out, and for validation.
/// What was found is told. Photographs that cannot be read are passed over: whoever needs them says so.
pub(crate) fn with_sample_range(
    config: &TrainConfig,
    train: &[Sample],
    validation: &[Sample],
    reporter: &dyn Reporter,
) -> TrainConfig {
    let good = train.iter().chain(validation).filter(|sample| sample.label == Label::Normal);
    let paths: Vec<PathBuf> = good.map(|sample| sample.path.clone()).collect();
    let mut config = config.clone();
    let decode = &mut config.preprocess.decode;
    let range = SampleRange::of(&paths, decode);
    *decode = range.resolve(decode);
    for note in range.notes(decode) {
        if range.fits(decode) { reporter.note(&note) } else { reporter.warn(&note) }
    }
    if let Some(note) = contrast_note(&paths, decode) {
        reporter.warn(&note);
    }
    config
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Mutex};

    use image::{ImageBuffer, Luma};
    use simplenet_data::decode::BitDepth;
    use simplenet_model::BackboneId;

    use super::*;
    use crate::config::Preset;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Reporter for Heard {
        fn start(&self, _what: &str, _total: u64) {}
        fn advance(&self, _n: u64) {}
        fn finish(&self) {}
        fn note(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_string());
        }
    }

    fn sample(dir: &Path, name: &str, largest: u16) -> Sample {
        let path = dir.join(name);
        ImageBuffer::from_fn(8, 8, |x, _| Luma([largest / 8 * (x as u16 + 1)])).save(&path).unwrap();
        Sample { path, label: Label::Normal, defect: "good".into(), mask: None }
    }

    #[test]
    fn the_depth_holds_every_good_photograph_and_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let train = vec![sample(dir.path(), "0.png", 900), sample(dir.path(), "1.png", 1000)];
        let validation = [sample(dir.path(), "2.tif", 4000)];
        let config = TrainConfig::preset(Preset::Default, BackboneId::EfficientNetLite0);
        for (validation, bits) in [(&[][..], 10), (&validation[..], 12)] {
            let heard = Heard::default();
            let found = with_sample_range(&config, &train, validation, &heard);
            assert_eq!(found.preprocess.decode.bit_depth, BitDepth::Bits(bits));
            let told = heard.0.into_inner().unwrap();
            assert!(told[0].contains(&format!("hold {bits} bits in 16-bit files")), "{told:?}");
        }
        // What was given stays, and what lies above it is told.
        let mut given = config.clone();
        given.preprocess.decode.bit_depth = BitDepth::Bits(8);
        let heard = Heard::default();
        assert_eq!(with_sample_range(&given, &train, &[], &heard), given);
        assert!(heard.0.into_inner().unwrap()[0].contains("above the 255 of 8 bits"));
        // Without samples of more than 8 bits nothing is changed and nothing told.
        let heard = Heard::default();
        assert_eq!(with_sample_range(&config, &[], &[], &heard), config);
        assert!(heard.0.into_inner().unwrap().is_empty());
    }
}
