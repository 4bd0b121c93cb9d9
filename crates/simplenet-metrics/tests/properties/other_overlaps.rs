//! sPRO and AUPIMO against the literal version of their definitions, and against AUPRO where they are the same.

use simplenet_metrics::{
    Defect, DefectMap, MetricError, PimoBounds, Saturation, SproAccumulator, aupimo, aupro, auspro,
};

use crate::naive;
use crate::support::{ALL_SCORES, Image, Rng, Scores, Shape, assert_close, for_each_set, maps};

const LIMITS: [f64; 4] = [0.30, 0.05, 0.123, 1.0];

/// An image with defects of its own: masks that may overlap, each with its saturation.
struct DefectImage {
    image: Image,
    masks: Vec<Vec<u8>>,
    saturations: Vec<Saturation>,
}

impl DefectImage {
    fn draw(rng: &mut Rng, scores: Scores) -> Self {
        let mut image = Image::draw(rng, scores, Shape::Nothing);
        let mut masks = Vec::new();
        for _ in 0..rng.below(4) {
            let mut mask = vec![0u8; image.mask.len()];
            for _ in 0..1 + rng.below(mask.len()) {
                mask[rng.below(image.mask.len())] = 1 + rng.below(255) as u8;
            }
            masks.push(mask);
        }
        let saturations = masks.iter().map(|_| match rng.below(2) {
            0 => Saturation::Pixels(1 + rng.below(20) as u32),
            _ => Saturation::Share((1.0 + f64::from(rng.unit())) / 2.0 * 0.5 + 0.5),
        });
        let saturations = saturations.collect();
        for mask in &masks {
            image.mask.iter_mut().zip(mask).for_each(|(any, &value)| *any |= value);
        }
        Self { image, masks, saturations }
    }
}

/// The saturation area, as the dataset's evaluation code has it.
fn saturation_area(saturation: Saturation, area: usize) -> usize {
    match saturation {
        Saturation::Pixels(pixels) => area.min(pixels as usize),
        Saturation::Share(share) => (share * area as f64).floor() as usize,
    }
}

#[test]
fn spro_of_overlapping_defects() {
    let mut defined = 0;
    for (kind, scores) in ALL_SCORES.into_iter().enumerate() {
        for seed in 0..60 {
            let mut rng = Rng::new(9000 * kind as u64 + seed);
            let images: Vec<DefectImage> =
                (0..1 + rng.below(4)).map(|_| DefectImage::draw(&mut rng, scores)).collect();
            let defects: Vec<Vec<Defect<'_>>> = images
                .iter()
                .map(|image| {
                    let both = image.masks.iter().zip(&image.saturations);
                    both.map(|(mask, &saturation)| Defect { mask, saturation }).collect()
                })
                .collect();
            let maps: Vec<DefectMap<'_>> = images
                .iter()
                .zip(&defects)
                .map(|(image, defects)| {
                    let Image { scores, width, height, .. } = &image.image;
                    DefectMap { scores, defects, width: *width, height: *height }
                })
                .collect();
            let what = format!("{scores:?} seed {seed}");
            let nothing_left = images
                .iter()
                .flat_map(|image| image.masks.iter().zip(&image.saturations))
                .any(|(mask, &saturation)| {
                    saturation_area(saturation, mask.iter().filter(|&&value| value != 0).count()) == 0
                });
            if nothing_left {
                let got = auspro(&maps, 0.3);
                assert!(matches!(got, Err(MetricError::NoSaturationArea { .. })), "{what}: {got:?}");
                continue;
            }
            let naive_images: Vec<naive::DefectImage<'_>> = images
                .iter()
                .map(|DefectImage { image, masks, saturations }| {
                    let area = |(mask, &saturation): (&Vec<u8>, &Saturation)| {
                        saturation_area(saturation, mask.iter().filter(|&&value| value != 0).count())
                    };
                    (image, masks.as_slice(), masks.iter().zip(saturations).map(area).collect())
                })
                .collect();
            // The other way in, in another order.
            let set = SproAccumulator::new();
            maps.iter().rev().for_each(|map| set.add(map).unwrap());
            let set = set.finish().unwrap();
            for limit in LIMITS {
                let got = auspro(&maps, limit);
                assert_close(&got, naive::auspro(&naive_images, limit), &format!("{what}, limit {limit}"));
                assert_eq!(set.auspro(limit), got, "{what}");
                defined += usize::from(got.is_ok());
            }
        }
    }
    assert!(defined > 500, "only {defined} values: the generator is too poor");
}

#[test]
fn spro_saturated_at_whole_regions_is_pro() {
    for_each_set(|images, what| {
        let masks: Vec<Vec<Vec<u8>>> = images
            .iter()
            .map(|image| {
                let mask = |region: Vec<usize>| {
                    let mut mask = vec![0; image.mask.len()];
                    region.into_iter().for_each(|pixel| mask[pixel] = 1);
                    mask
                };
                naive::regions(image, true).into_iter().map(mask).collect()
            })
            .collect();
        let whole = |mask| Defect { mask, saturation: Saturation::Share(1.0) };
        let defects: Vec<Vec<Defect<'_>>> =
            masks.iter().map(|masks| masks.iter().map(|mask| whole(mask)).collect()).collect();
        let maps_with_defects: Vec<DefectMap<'_>> = images
            .iter()
            .zip(&defects)
            .map(|(Image { scores, width, height, .. }, defects)| DefectMap {
                scores,
                defects,
                width: *width,
                height: *height,
            })
            .collect();
        assert_eq!(auspro(&maps_with_defects, 0.3), aupro(&maps(images), 0.3), "{what}");
    });
}

#[test]
fn aupimo_of_each_image() {
    // Bounds that sets of a few hundred pixels can resolve.
    const BOUNDS: [PimoBounds; 3] = [
        PimoBounds { lower: 0.05, upper: 0.3 },
        PimoBounds { lower: 0.011, upper: 0.012 },
        PimoBounds { lower: 0.2, upper: 1.0 },
    ];
    let mut defined = 0;
    for_each_set(|images, what| {
        for bounds in BOUNDS {
            let got = aupimo(&maps(images), bounds);
            let want = naive::aupimo(images, bounds.lower, bounds.upper);
            let (Ok(got), Some(want)) = (&got, &want) else {
                assert!(got.is_err() && want.is_none(), "{what}: {got:?} instead of {want:?}");
                continue;
            };
            assert_eq!(got.per_image.len(), want.len(), "{what}");
            for (got, &(image, value)) in got.per_image.iter().zip(want) {
                assert_eq!(got.image, image, "{what}");
                assert!((got.aupimo - value).abs() < 1e-10, "{what} {bounds:?}: {got:?} instead of {value}");
            }
            defined += want.len();
            // The order of the images changes their numbers, and nothing else.
            let mut reversed = images.to_vec();
            reversed.reverse();
            let other = aupimo(&maps(&reversed), bounds).unwrap();
            assert_eq!(other.mean, got.mean, "{what}");
            let other: Vec<f64> = other.per_image.iter().rev().map(|image| image.aupimo).collect();
            assert_eq!(other, got.per_image.iter().map(|image| image.aupimo).collect::<Vec<_>>(), "{what}");
        }
    });
    assert!(defined > 100, "only {defined} values: the generator is too poor");
}
