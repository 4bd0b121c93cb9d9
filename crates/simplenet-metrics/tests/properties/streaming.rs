//! Images fed one at a time, in any form and from any thread, give what all of them together give.

use simplenet_metrics::{
    PixelAccumulator, PixelMetrics, confusion, fpr_at_tpr, pixel_metrics, recall_at_fpr,
};

use crate::support::{Image, Rng, Scores, Shape, flat, for_each_set, maps};

const LIMITS: [f64; 2] = [0.30, 0.05];

/// The metrics of a set that `add` feeds.
fn streamed(images: &[Image], add: impl Fn(&PixelAccumulator, &Image)) -> PixelMetrics {
    let set = PixelAccumulator::new();
    images.iter().for_each(|image| add(&set, image));
    assert_eq!(set.images(), images.len());
    set.finish().unwrap().metrics(&LIMITS)
}

/// The mask as bits: highest first, no gaps, rubbish in what is left of the last byte.
fn packed(mask: &[u8]) -> Vec<u8> {
    let byte = |bits: &[u8]| {
        let set = bits.iter().enumerate().map(|(bit, &value)| u8::from(value != 0) << (7 - bit));
        set.sum::<u8>() | ((1u16 << (8 - bits.len())) - 1) as u8
    };
    mask.chunks(8).map(byte).collect()
}

#[test]
fn one_image_at_a_time() {
    for_each_set(|images, what| {
        let want = pixel_metrics(&maps(images), &LIMITS);
        let whole = |set: &PixelAccumulator, image: &Image| set.add(&image.map()).unwrap();
        assert_eq!(streamed(images, whole), want, "{what}");
        let bits = |set: &PixelAccumulator, image: &Image| {
            set.add_packed(&image.scores, &packed(&image.mask), image.width, image.height).unwrap();
        };
        assert_eq!(streamed(images, bits), want, "{what}");
        let without_masks = |set: &PixelAccumulator, image: &Image| {
            if image.mask.iter().all(|&v| v == 0) {
                set.add_normal(&image.scores, image.width, image.height).unwrap()
            } else {
                set.add(&image.map()).unwrap()
            }
        };
        assert_eq!(streamed(images, without_masks), want, "{what}");
    });
}

#[test]
fn single_metrics_are_those_of_the_whole() {
    for_each_set(|images, what| {
        let set = PixelAccumulator::new();
        images.iter().for_each(|image| set.add(&image.map()).unwrap());
        let ranking = set.finish().unwrap();
        let want = ranking.metrics(&LIMITS);
        assert_eq!(ranking.auroc(), want.auroc, "{what}");
        assert_eq!(ranking.average_precision(), want.average_precision, "{what}");
        assert_eq!(ranking.f1_max(), want.f1_max, "{what}");
        assert_eq!(LIMITS.map(|limit| ranking.aupro(limit)).to_vec(), want.aupro, "{what}");
        let counts = (ranking.normal_pixels(), ranking.anomalous_pixels(), ranking.regions());
        assert_eq!(counts, (want.normal_pixels, want.anomalous_pixels, want.regions), "{what}");
        let (scores, labels) = flat(images);
        for rate in [0.0, 0.05, 0.29, 0.95, 1.0] {
            assert_eq!(ranking.fpr_at_tpr(rate), fpr_at_tpr(&scores, &labels, rate), "{what} at {rate}");
            assert_eq!(
                ranking.recall_at_fpr(rate),
                recall_at_fpr(&scores, &labels, rate),
                "{what} at {rate}"
            );
        }
        let mut thresholds = vec![f32::NEG_INFINITY, f32::INFINITY, f32::MIN, f32::MAX, 0.0, -0.0];
        thresholds.extend(scores.iter().step_by(17).flat_map(|s| [s.next_down(), *s, s.next_up()]));
        for threshold in thresholds {
            let want = confusion(&scores, &labels, threshold);
            assert_eq!(ranking.confusion(threshold), want, "{what} at {threshold}");
        }
    });
}

#[test]
fn from_many_threads() {
    let mut rng = Rng::new(12);
    let images: Vec<Image> = (0..40)
        .map(|i| Image::draw(&mut rng, Scores::Smooth, [Shape::Boxes, Shape::Nothing][i % 2]))
        .collect();
    let set = PixelAccumulator::new();
    std::thread::scope(|scope| {
        for part in images.chunks(7) {
            let set = &set;
            scope.spawn(move || part.iter().for_each(|image| set.add(&image.map()).unwrap()));
        }
    });
    assert_eq!(set.finish().unwrap().metrics(&LIMITS), pixel_metrics(&maps(&images), &LIMITS));
}

#[test]
fn a_refused_image_changes_nothing() {
    use simplenet_metrics::MetricError;
    let image = Image::draw(&mut Rng::new(8), Scores::Ties, Shape::Boxes);
    let (width, height) = (image.width, image.height);
    let expected = width * height;
    let want = pixel_metrics(&maps(std::slice::from_ref(&image)), &LIMITS);
    let got = streamed(std::slice::from_ref(&image), |set, image| {
        set.add(&image.map()).unwrap();
        let short = &image.scores[1..];
        let actual = expected - 1;
        let shape = MetricError::MapShape { image: 1, width, height, expected, actual };
        assert_eq!(set.add_normal(short, width, height), Err(shape));
        let bytes = expected.div_ceil(8);
        let packed =
            MetricError::PackedMaskLength { image: 1, width, height, expected: bytes, actual: bytes + 1 };
        let got = set.add_packed(&image.scores, &vec![0; bytes + 1], width, height);
        assert_eq!(got, Err(packed));
        let mut scores = image.scores.clone();
        scores[expected - 1] = f32::INFINITY;
        let last =
            MetricError::NonFinitePixel { image: 1, x: width - 1, y: height - 1, value: f32::INFINITY };
        assert_eq!(set.add_normal(&scores, width, height), Err(last.clone()));
        assert_eq!(set.add(&Image { scores, ..image.clone() }.map()), Err(last));
    });
    assert_eq!(got, want);
    assert_eq!(PixelAccumulator::new().finish().unwrap_err(), MetricError::Empty);
}
