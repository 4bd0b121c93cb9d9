//! What must not change a result: monotone transforms of the scores, the order of the images, the number of
//! threads. Where arithmetic is the same, so must be every bit.

use rayon::ThreadPoolBuilder;
use simplenet_metrics::{AnomalyMap, PixelMetrics, pixel_metrics, pro_curve, simplenet_compute_pro};

use crate::support::{Image, Rng, Scores, Shape, for_each_set, maps};

const LIMITS: [f64; 2] = [0.30, 0.05];

fn metrics(images: &[Image]) -> PixelMetrics {
    pixel_metrics(&maps(images), &LIMITS)
}

#[test]
fn monotone_transforms_of_the_scores() {
    for_each_set(|images, what| {
        let want = metrics(images);
        // Powers of two are exact in f32, so ties stay ties and no new ones arise.
        let transforms: [fn(f32) -> f32; 2] = [|s| s * 0.5, |s| if s > 0.0 { s * 4.0 } else { s * 0.125 }];
        for transform in transforms {
            let moved: Vec<Image> = images
                .iter()
                .map(|image| Image {
                    scores: image.scores.iter().map(|&score| transform(score)).collect(),
                    ..image.clone()
                })
                .collect();
            let mut got = metrics(&moved);
            if let (Ok(got), Ok(want)) = (&mut got.f1_max, &want.f1_max) {
                assert_eq!(got.threshold, transform(want.threshold), "{what}");
                got.threshold = want.threshold;
            }
            assert_eq!(got, want, "{what}");
        }
    });
}

#[test]
fn order_of_the_images() {
    for_each_set(|images, what| {
        let mut shuffled = images.to_vec();
        Rng::new(5).shuffle(&mut shuffled);
        assert_eq!(metrics(&shuffled), metrics(images), "{what}");
        assert_eq!(pro_curve(&maps(&shuffled)), pro_curve(&maps(images)), "{what}");
        assert_eq!(simplenet_compute_pro(&maps(&shuffled)), simplenet_compute_pro(&maps(images)), "{what}");
    });
}

#[test]
fn number_of_threads() {
    // Large enough for several pieces of work: 12 images of 300 x 200.
    let mut rng = Rng::new(77);
    let images: Vec<(Vec<f32>, Vec<u8>)> = (0..12)
        .map(|_| {
            let mask: Vec<u8> =
                (0..60_000).map(|i| u8::from(i % 300 / 20 % 3 == 0 && i / 300 / 10 % 4 == 0)).collect();
            let scores = mask.iter().map(|&value| Scores::Smooth.draw(&mut rng, value != 0)).collect();
            (scores, mask)
        })
        .collect();
    let maps: Vec<AnomalyMap<'_>> =
        images.iter().map(|(scores, mask)| AnomalyMap { scores, mask, width: 300, height: 200 }).collect();
    let with = |threads: usize| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| (pixel_metrics(&maps, &LIMITS), simplenet_compute_pro(&maps), pro_curve(&maps)))
    };
    let one = with(1);
    assert!(one.0.aupro[0].is_ok() && one.1.is_ok() && one.2.is_ok());
    for threads in [2, 3, 8] {
        assert!(with(threads) == one, "{threads} threads");
    }
}

#[test]
fn an_empty_image_adds_nothing() {
    let image = Image::draw(&mut Rng::new(3), Scores::Ties, Shape::Boxes);
    let empty = Image { scores: vec![], mask: vec![], width: 4, height: 0 };
    assert_eq!(metrics(&[empty.clone(), image.clone(), empty]), metrics(&[image]));
}
