//! Thinned curves: points of the full one, near enough to each other, few.

use simplenet_metrics::{PixelRanking, ProPoint, pro_curve, roc_curve, thin_curve};

use crate::support::{ALL_SCORES, Rng, for_each_set, maps};

/// `rates` of every point of `full` and of `thin`, checked against what [`thin_curve`] promises.
fn check(full: &[(f32, f64, f64)], thin: &[(f32, f64, f64)], parts: usize, what: &str) {
    assert!(thin.len() <= 4 * parts + 3, "{what}: {} points for {parts} parts", thin.len());
    assert_eq!((full.first(), full.last()), (thin.first(), thin.last()), "{what}");
    let place = |point: &(f32, f64, f64)| full.iter().position(|p| p == point);
    for pair in thin.windows(2) {
        let (Some(from), Some(to)) = (place(&pair[0]), place(&pair[1])) else {
            panic!("{what}: {pair:?} are not points of the curve");
        };
        let most = 1.0 / parts as f64;
        let near = pair[1].1 - pair[0].1 <= most && pair[1].2 - pair[0].2 <= most;
        assert!(to == from + 1 || (to > from && near), "{what}: {pair:?} at {from} and {to}");
    }
}

#[test]
fn thin_pro_curves() {
    let (mut defined, mut shorter) = (0, 0);
    for_each_set(|images, what| {
        let Ok(full) = pro_curve(&maps(images)) else {
            let ranking = PixelRanking::of(&maps(images));
            assert!(ranking.is_err() || ranking.is_ok_and(|r| r.thin_pro_curve(5).is_err()), "{what}");
            return;
        };
        let rates = |p: &ProPoint| (p.threshold, p.false_positive_rate, p.region_overlap);
        let full: Vec<_> = full.iter().map(rates).collect();
        for parts in [1, 3, 17] {
            let thin = PixelRanking::of(&maps(images)).unwrap().thin_pro_curve(parts).unwrap();
            let thin: Vec<_> = thin.iter().map(rates).collect();
            check(&full, &thin, parts, what);
            shorter += usize::from(thin.len() < full.len());
        }
        defined += 1;
    });
    assert!(defined > 100 && shorter > 100, "{defined} curves, {shorter} thinner");
}

#[test]
fn thin_roc_curves() {
    for scores in ALL_SCORES {
        for seed in 0..40 {
            let mut rng = Rng::new(seed);
            let labels: Vec<bool> = (0..300).map(|i| i % 2 == 0 || rng.below(3) == 0).collect();
            let values: Vec<f32> = labels.iter().map(|&label| scores.draw(&mut rng, label)).collect();
            let full: Vec<_> = roc_curve(&values, &labels)
                .unwrap()
                .iter()
                .map(|p| (p.threshold, p.false_positive_rate, p.true_positive_rate))
                .collect();
            for parts in [1, 10, 40] {
                let thin = thin_curve(full.iter().copied(), |p| (p.1, p.2), parts);
                check(&full, &thin, parts, &format!("{scores:?} seed {seed}"));
            }
        }
    }
}
