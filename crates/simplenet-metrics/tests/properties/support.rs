//! Shared by the property tests: a seeded generator of test sets of all kinds, and the tolerance.

use simplenet_metrics::AnomalyMap;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A whole number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A number in [-1, 1).
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for end in (1..values.len()).rev() {
            values.swap(end, self.below(end + 1));
        }
    }
}

/// How the scores of a set are spread.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scores {
    /// All but no ties.
    Smooth,
    /// Multiples of 1/4, both zeros among them.
    Ties,
    /// 0 and 1 only.
    Binary,
    /// One value.
    Constant,
    /// Magnitudes from 1e-30 to 1e30.
    Wide,
}

pub(crate) const ALL_SCORES: [Scores; 5] =
    [Scores::Smooth, Scores::Ties, Scores::Binary, Scores::Constant, Scores::Wide];

impl Scores {
    /// A score, higher on average where `anomalous`.
    pub(crate) fn draw(self, rng: &mut Rng, anomalous: bool) -> f32 {
        let value = rng.unit() + if anomalous { 0.7 } else { 0.0 };
        match self {
            Self::Smooth => value,
            Self::Ties => (value * 4.0).trunc() / 4.0,
            Self::Binary => f32::from(value > 0.4),
            Self::Constant => -2.5,
            Self::Wide => value * 10f32.powi(rng.below(61) as i32 - 30),
        }
    }
}

/// What a mask marks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Nothing,
    Everything,
    /// One pixel, anywhere.
    Dot,
    /// A diagonal line: one region only if corners touch.
    Diagonal,
    /// Boxes that may touch each other and the border.
    Boxes,
    /// The outermost pixels.
    Frame,
    /// Each pixel by chance.
    Noise,
}

const ALL_SHAPES: [Shape; 7] = [
    Shape::Nothing,
    Shape::Everything,
    Shape::Dot,
    Shape::Diagonal,
    Shape::Boxes,
    Shape::Frame,
    Shape::Noise,
];

/// One image with what it owns.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) scores: Vec<f32>,
    pub(crate) mask: Vec<u8>,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Image {
    pub(crate) fn draw(rng: &mut Rng, scores: Scores, shape: Shape) -> Self {
        let (width, height) = (1 + rng.below(19), 1 + rng.below(15));
        let mut mask = vec![0u8; width * height];
        let mark = |rng: &mut Rng| 1 + rng.below(255) as u8;
        match shape {
            Shape::Nothing => {}
            Shape::Everything => mask.fill(255),
            Shape::Dot => mask[rng.below(width * height)] = mark(rng),
            Shape::Diagonal => {
                for i in 0..width.min(height) {
                    mask[i * width + i] = mark(rng);
                }
            }
            Shape::Boxes => {
                for _ in 0..1 + rng.below(3) {
                    let (x0, y0) = (rng.below(width), rng.below(height));
                    for y in y0..(y0 + 4).min(height) {
                        mask[y * width..][x0..(x0 + 5).min(width)].fill(1);
                    }
                }
            }
            Shape::Frame => {
                for (i, value) in mask.iter_mut().enumerate() {
                    let (x, y) = (i % width, i / width);
                    *value = u8::from(x == 0 || y == 0 || x == width - 1 || y == height - 1);
                }
            }
            Shape::Noise => mask.iter_mut().for_each(|value| *value = u8::from(rng.below(4) == 0)),
        }
        let scores = mask.iter().map(|&value| scores.draw(rng, value != 0)).collect();
        Self { scores, mask, width, height }
    }

    pub(crate) fn map(&self) -> AnomalyMap<'_> {
        AnomalyMap { scores: &self.scores, mask: &self.mask, width: self.width, height: self.height }
    }
}

pub(crate) fn maps(images: &[Image]) -> Vec<AnomalyMap<'_>> {
    images.iter().map(Image::map).collect()
}

/// Calls `check` with many sets: each way of spreading scores, images of all shapes mixed by chance.
pub(crate) fn for_each_set(mut check: impl FnMut(&[Image], &str)) {
    for (kind, scores) in ALL_SCORES.into_iter().enumerate() {
        for seed in 0..40 {
            let mut rng = Rng::new(1000 * kind as u64 + seed);
            let count = 1 + rng.below(5);
            let shapes: Vec<Shape> = (0..count).map(|_| ALL_SHAPES[rng.below(ALL_SHAPES.len())]).collect();
            let images: Vec<Image> =
                shapes.iter().map(|&shape| Image::draw(&mut rng, scores, shape)).collect();
            check(&images, &format!("{scores:?} seed {seed}, masks {shapes:?}"));
        }
    }
}

/// All pixels of a set as one list of scores and labels.
pub(crate) fn flat(images: &[Image]) -> (Vec<f32>, Vec<bool>) {
    let scores = images.iter().flat_map(|image| image.scores.iter().copied()).collect();
    let labels = images.iter().flat_map(|image| image.mask.iter().map(|&value| value != 0)).collect();
    (scores, labels)
}

/// Both undefined, or both defined and closer than 1e-12 (values are of order 1).
pub(crate) fn assert_close<E: std::fmt::Debug>(got: &Result<f64, E>, want: Option<f64>, what: &str) {
    match (got, want) {
        (Ok(got), Some(want)) => {
            assert!((got - want).abs() <= 1e-12, "{what}: {got} instead of {want}");
        }
        (Err(_), None) => {}
        _ => panic!("{what}: {got:?} instead of {want:?}"),
    }
}
