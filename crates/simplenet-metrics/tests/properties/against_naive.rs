//! Every metric against the literal version of its definition, on random sets of all kinds.

use simplenet_metrics::{
    Connectivity, MetricError, aupro, auroc, average_precision, connected_components, f1_max, pixel_metrics,
    pro_curve, roc_curve, simplenet_compute_pro,
};

use crate::naive;
use crate::support::{ALL_SCORES, Rng, assert_close, flat, for_each_set, maps};

const LIMITS: [f64; 4] = [0.30, 0.05, 0.123, 1.0];

/// F1 has the highest value, at the lowest threshold that reaches it.
fn check_f1(scores: &[f32], labels: &[bool], what: &str) {
    let got = f1_max(scores, labels);
    let Some(want) = naive::f1(scores, labels) else {
        assert!(matches!(got, Err(MetricError::NoPositives { .. })), "{what}: {got:?}");
        return;
    };
    let got = got.unwrap();
    let highest = want.iter().map(|&(_, f1)| f1).fold(0.0, f64::max);
    assert_close(&Ok::<_, ()>(got.f1), Some(highest), what);
    let lowest = want.iter().rev().find(|&&(_, f1)| f1 >= highest - 1e-12).unwrap().0;
    assert_eq!(got.threshold, lowest, "{what}");
}

#[test]
fn scores_with_labels() {
    for scores in ALL_SCORES {
        for seed in 0..60 {
            let mut rng = Rng::new(seed);
            let one_in = 1 + rng.below(6);
            let labels: Vec<bool> = (0..1 + rng.below(120)).map(|_| rng.below(one_in) == 0).collect();
            let values: Vec<f32> = labels.iter().map(|&label| scores.draw(&mut rng, label)).collect();
            let what = format!("{scores:?} seed {seed}");
            assert_close(&auroc(&values, &labels), naive::auroc(&values, &labels), &what);
            let want = naive::average_precision(&values, &labels);
            assert_close(&average_precision(&values, &labels), want, &what);
            check_f1(&values, &labels, &what);
            if let Ok(curve) = roc_curve(&values, &labels) {
                let got: Vec<f32> = curve[1..].iter().map(|point| point.threshold).collect();
                assert_eq!(got, naive::thresholds(&values), "{what}");
            }
        }
    }
}

#[test]
fn maps_with_masks() {
    let mut defined = 0;
    for_each_set(|images, what| {
        let (scores, labels) = flat(images);
        let got = pixel_metrics(&maps(images), &LIMITS);
        assert_close(&got.auroc, naive::auroc(&scores, &labels), what);
        assert_close(&got.average_precision, naive::average_precision(&scores, &labels), what);
        // The path that counts between anomalous pixels and the path that sorts all give one answer.
        assert_eq!(got.auroc, auroc(&scores, &labels), "{what}");
        assert_eq!(got.average_precision, average_precision(&scores, &labels), "{what}");
        assert_eq!(got.f1_max, f1_max(&scores, &labels), "{what}");
        check_f1(&scores, &labels, what);
        for (limit, got) in LIMITS.into_iter().zip(&got.aupro) {
            assert_close(got, naive::aupro(images, limit), &format!("{what}, limit {limit}"));
            assert_eq!(*got, aupro(&maps(images), limit), "{what}");
            defined += usize::from(got.is_ok());
        }
        assert_eq!((got.normal_pixels + got.anomalous_pixels) as usize, scores.len());
    });
    assert!(defined > 300, "only {defined} of the sets have an AUPRO: the generator is too poor");
}

#[test]
fn region_overlap_curve() {
    for_each_set(|images, what| {
        let (got, want) = (pro_curve(&maps(images)), naive::pro_curve(images));
        let (Ok(got), Some(want)) = (&got, &want) else {
            assert!(got.is_err() && want.is_none(), "{what}: {got:?}");
            return;
        };
        assert_eq!(got.len(), want.len(), "{what}");
        for (got, &(threshold, fpr, pro)) in got.iter().zip(want) {
            assert_eq!(got.threshold, threshold, "{what}");
            assert_eq!(got.false_positive_rate, fpr, "{what}");
            assert_close(&Ok::<_, ()>(got.region_overlap), Some(pro), what);
        }
        let last = got[got.len() - 1];
        assert_eq!((last.false_positive_rate, last.region_overlap), (1.0, 1.0), "{what}");
    });
}

#[test]
fn official_pro() {
    let mut defined = 0;
    for_each_set(|images, what| {
        let got = simplenet_compute_pro(&maps(images));
        assert_close(&got, naive::simplenet_compute_pro(images), what);
        defined += usize::from(got.is_ok());
    });
    assert!(defined > 40, "only {defined} of the sets have a value: the generator is too poor");
}

#[test]
fn components() {
    for_each_set(|images, what| {
        for (image, connectivity) in
            images.iter().flat_map(|i| [(i, Connectivity::Four), (i, Connectivity::Eight)])
        {
            let got = connected_components(&image.mask, image.width, image.height, connectivity).unwrap();
            let want = naive::regions(image, connectivity == Connectivity::Eight);
            assert_eq!(got.regions.len(), want.len(), "{what}");
            let mut labels = vec![0; image.mask.len()];
            for (index, pixels) in want.iter().enumerate() {
                let region = got.regions[index];
                let (xs, ys): (Vec<usize>, Vec<usize>) =
                    pixels.iter().map(|&pixel| (pixel % image.width, pixel / image.width)).unzip();
                let range = |v: &[usize]| (*v.iter().min().unwrap(), *v.iter().max().unwrap() + 1);
                assert_eq!(region.area, pixels.len(), "{what}");
                assert_eq!((region.x0, region.x1), range(&xs), "{what}");
                assert_eq!((region.y0, region.y1), range(&ys), "{what}");
                let sum = |v: &[usize]| v.iter().sum::<usize>() as u64;
                assert_eq!((region.sum_x, region.sum_y), (sum(&xs), sum(&ys)), "{what}");
                pixels.iter().for_each(|&pixel| labels[pixel] = index as u32 + 1);
            }
            assert_eq!(got.labels, labels, "{what}");
        }
    });
}
