//! Bootstrap intervals against the bootstrap done by hand: the images really drawn, the metric really computed.

use rayon::ThreadPoolBuilder;
use simplenet_metrics::{
    AnomalyMap, Bootstrap, Interval, MetricError, aupro, aupro_interval, auroc, auroc_interval,
};

use crate::support::{ALL_SCORES, Image, Rng, Scores, Shape, for_each_set, maps};

const SMALL: Bootstrap = Bootstrap { replicates: 12, confidence: 0.8, seed: 11 };

/// The metric of each replicate; `metric` draws until it is defined.
fn naive_replicates(bootstrap: &Bootstrap, metric: impl Fn(&mut Rng) -> f64) -> Vec<f64> {
    let mut seeds = Rng::new(bootstrap.seed);
    (0..bootstrap.replicates).map(|_| metric(&mut Rng::new(seeds.next()))).collect()
}

/// As many as there are, with replacement.
fn draw<T: Copy>(rng: &mut Rng, from: &[T]) -> Vec<T> {
    // The crate also refuses some draws to be exactly even: one in 2^64 / length, so none here.
    let mut index = || ((u128::from(rng.next()) * from.len() as u128) >> 64) as usize;
    from.iter().map(|_| from[index()]).collect()
}

fn naive_interval(estimate: f64, mut replicates: Vec<f64>, confidence: f64) -> Interval {
    replicates.sort_by(f64::total_cmp);
    let last = (replicates.len() - 1) as f64;
    let quantile = |probability: f64| {
        let position = probability * last;
        let (low, high) = (replicates[position.floor() as usize], replicates[position.ceil() as usize]);
        low + (high - low) * position.fract()
    };
    let mean = replicates.iter().sum::<f64>() / replicates.len() as f64;
    let variance = replicates.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / last;
    Interval {
        estimate,
        lower: quantile((1.0 - confidence) / 2.0),
        upper: quantile((1.0 + confidence) / 2.0),
        standard_error: variance.sqrt(),
    }
}

fn check(got: Interval, want: Interval, what: &str) {
    assert_eq!(got.estimate, want.estimate, "{what}");
    for (got, want) in
        [(got.lower, want.lower), (got.upper, want.upper), (got.standard_error, want.standard_error)]
    {
        assert!((got - want).abs() <= 1e-12, "{what}: {got} instead of {want}");
    }
}

#[test]
fn auroc_of_the_images_drawn() {
    let mut defined = 0;
    for scores in ALL_SCORES {
        for seed in 0..40 {
            let mut rng = Rng::new(seed);
            let mut images: Vec<(f32, bool)> = (0..1 + rng.below(50))
                .map(|_| {
                    let label = rng.below(3) == 0;
                    (scores.draw(&mut rng, label), label)
                })
                .collect();
            let metric = |images: &[(f32, bool)]| {
                let (scores, labels): (Vec<f32>, Vec<bool>) = images.iter().copied().unzip();
                auroc(&scores, &labels)
            };
            let (values, labels): (Vec<f32>, Vec<bool>) = images.iter().copied().unzip();
            let got = auroc_interval(&values, &labels, &SMALL);
            let Ok(estimate) = metric(&images) else {
                assert!(matches!(got, Err(MetricError::SingleClass { .. })), "{got:?}");
                continue;
            };
            defined += 1;
            images.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap());
            let (positives, negatives): (Vec<_>, Vec<_>) = images.iter().partition(|image| image.1);
            let replicates = naive_replicates(&SMALL, |rng| {
                let drawn = [draw(rng, &positives), draw(rng, &negatives)].concat();
                metric(&drawn).unwrap()
            });
            let want = naive_interval(estimate, replicates, SMALL.confidence);
            check(got.unwrap(), want, &format!("{scores:?} seed {seed}"));
        }
    }
    assert!(defined > 150, "only {defined} of the sets have both classes");
}

/// By scores, then marked pixels, then width.
fn in_order(maps: &[AnomalyMap<'_>]) -> Vec<usize> {
    let marked = |map: &AnomalyMap<'_>| map.mask.iter().map(|&value| value != 0).collect::<Vec<_>>();
    let mut order: Vec<usize> = (0..maps.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&maps[a], &maps[b]);
        a.scores
            .partial_cmp(b.scores)
            .unwrap()
            .then_with(|| marked(a).cmp(&marked(b)))
            .then(a.width.cmp(&b.width))
    });
    order
}

#[test]
fn aupro_of_the_images_drawn() {
    let mut defined = 0;
    for_each_set(|images, what| {
        let maps = maps(images);
        for limit in [0.3, 0.05, 1.0] {
            let got = aupro_interval(&maps, limit, &SMALL);
            let estimate = match aupro(&maps, limit) {
                Ok(estimate) => estimate,
                Err(error) => {
                    assert_eq!(got, Err(error), "{what}");
                    continue;
                }
            };
            defined += 1;
            let (with, without): (Vec<usize>, Vec<usize>) = in_order(&maps)
                .into_iter()
                .partition(|&image| maps[image].mask.iter().any(|&value| value != 0));
            let replicates = naive_replicates(&SMALL, |rng| {
                loop {
                    let drawn = [draw(rng, &with), draw(rng, &without)].concat();
                    let drawn: Vec<AnomalyMap<'_>> = drawn.into_iter().map(|image| maps[image]).collect();
                    match aupro(&drawn, limit) {
                        Err(MetricError::NoNegatives { .. }) => {}
                        value => return value.unwrap(),
                    }
                }
            });
            let want = naive_interval(estimate, replicates, SMALL.confidence);
            check(got.unwrap(), want, &format!("{what}, limit {limit}"));
        }
    });
    assert!(defined > 300, "only {defined} of the sets have an AUPRO");
}

#[test]
fn neither_order_nor_threads_change_a_bit() {
    let mut rng = Rng::new(4);
    let images: Vec<Image> = (0..40)
        .map(|index| {
            let shape = if index % 2 == 0 { Shape::Boxes } else { Shape::Nothing };
            Image::draw(&mut rng, Scores::Smooth, shape)
        })
        .collect();
    let both = |images: &[Image]| {
        let highest = |image: &Image| image.scores.iter().copied().fold(f32::MIN, f32::max);
        let scores: Vec<f32> = images.iter().map(highest).collect();
        let labels: Vec<bool> =
            images.iter().map(|image| image.mask.iter().any(|&value| value != 0)).collect();
        let bootstrap = Bootstrap { replicates: 300, ..Bootstrap::default() };
        (auroc_interval(&scores, &labels, &bootstrap), aupro_interval(&maps(images), 0.3, &bootstrap))
    };
    let with = |threads: usize| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| both(&images))
    };
    let want = with(1);
    assert!(want.0.is_ok() && want.1.is_ok());
    assert_eq!(with(4), want);
    let mut shuffled = images.clone();
    Rng::new(5).shuffle(&mut shuffled);
    shuffled.push(Image { scores: vec![], mask: vec![], width: 0, height: 3 });
    assert_eq!(both(&shuffled[..40]), want);
    assert_eq!(
        aupro_interval(&maps(&shuffled), 0.3, &Bootstrap { replicates: 300, ..Bootstrap::default() }),
        want.1
    );
}

#[test]
fn wide_intervals_hold_the_estimate_and_narrow_ones_lie_inside() {
    let mut rng = Rng::new(9);
    let images: Vec<Image> = (0..60).map(|_| Image::draw(&mut rng, Scores::Smooth, Shape::Boxes)).collect();
    let mut outer = Interval { estimate: 0.0, lower: 0.0, upper: 1.0, standard_error: 0.0 };
    for confidence in [0.999, 0.95, 0.5] {
        let bootstrap = Bootstrap { confidence, replicates: 1000, seed: 3 };
        let got = aupro_interval(&maps(&images), 0.3, &bootstrap).unwrap();
        assert!(outer.lower <= got.lower && got.upper <= outer.upper, "{got:?} in {outer:?}");
        assert!(got.lower < got.estimate && got.estimate < got.upper, "{got:?}");
        outer = got;
    }
    assert!(outer.standard_error > 0.0);
}
