//! Region detection, its definition read literally: lists of pixels, each looked at.

use rayon::ThreadPoolBuilder;
use simplenet_metrics::{Connectivity, RegionDetection, RegionDetectionOptions, region_detection};

use crate::naive::{regions, thresholds};
use crate::support::{Image, Rng, Scores, Shape, flat, for_each_set, maps};

fn naive(images: &[Image], threshold: f32, options: &RegionDetectionOptions) -> RegionDetection {
    let mut counts = RegionDetection::default();
    let diagonal = options.connectivity == Connectivity::Eight;
    for image in images {
        let mask = image.scores.iter().map(|&score| u8::from(score >= threshold)).collect();
        let mut predicted = regions(&Image { mask, ..image.clone() }, diagonal);
        predicted.retain(|region| region.len() >= options.min_area);
        for region in regions(image, diagonal) {
            let inside = region.iter().filter(|pixel| predicted.iter().any(|other| other.contains(pixel)));
            let inside = inside.count();
            if inside > 0 && inside as f64 / region.len() as f64 >= options.min_overlap {
                counts.found += 1
            } else {
                counts.missed += 1
            }
        }
        for region in predicted {
            if region.iter().any(|&pixel| image.mask[pixel] != 0) {
                counts.true_regions += 1
            } else {
                counts.false_regions += 1
            }
        }
        counts.images += 1;
    }
    counts
}

#[test]
fn literal_counts() {
    for_each_set(|images, what| {
        let scores = thresholds(&flat(images).0);
        let mut rng = Rng::new(scores.len() as u64);
        let mut probes = vec![f32::INFINITY, f32::NEG_INFINITY];
        probes.extend((0..4).map(|_| scores[rng.below(scores.len())]));
        for threshold in probes {
            for connectivity in [Connectivity::Four, Connectivity::Eight] {
                for (min_overlap, min_area) in [(0.0, 1), (0.29, 2), (0.5, 0), (1.0, 5)] {
                    let options = RegionDetectionOptions { connectivity, min_overlap, min_area };
                    let got = region_detection(&maps(images), threshold, &options);
                    assert_eq!(
                        got,
                        Ok(naive(images, threshold, &options)),
                        "{what}, {threshold}, {options:?}"
                    );
                }
            }
        }
    });
}

#[test]
fn neither_order_nor_threads_matter() {
    for_each_set(|images, what| {
        let options = RegionDetectionOptions::default();
        let want = region_detection(&maps(images), 0.25, &options);
        let mut shuffled = images.to_vec();
        Rng::new(5).shuffle(&mut shuffled);
        assert_eq!(region_detection(&maps(&shuffled), 0.25, &options), want, "{what}");
    });
    let mut rng = Rng::new(1);
    let many: Vec<Image> = (0..64).map(|_| Image::draw(&mut rng, Scores::Smooth, Shape::Boxes)).collect();
    let with = |threads: usize| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| region_detection(&maps(&many), 0.5, &RegionDetectionOptions::default()))
    };
    assert!(with(1).is_ok());
    assert_eq!(with(1), with(4));
}
