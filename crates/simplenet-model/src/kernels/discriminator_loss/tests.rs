//! The tensor op and the kernels against the reference; the reference against differences of its own loss.
//! (Against automatic differentiation of the plain layers: `simplenet_train`'s tests of the training step.)

use candle_core::{DType, Device, Tensor};

use super::{
    cuda::{Addresses, launches, scratch},
    reference::Numbers,
    *,
};
use crate::kernels::{
    cuda::emulated::{self, Memory},
    numbers,
    tensor_op::test_devices,
};

/// Largest difference, relative to what enters: f32 sums of up to 129 columns and 140 rows. A logit's rounding error is the
/// relative error of the slope that cross entropy gives it, hence times the largest logit. Measured: up to 4.5e-7.
const TOLERANCE: f64 = 3e-6;

struct Case {
    rows: usize,
    width: usize,
    config: DiscriminatorLoss,
    hidden: Vec<f32>,
    parameters: Vec<f32>,
    running: Vec<f32>,
}

impl Case {
    /// `spread` widens the logits: at 1 most rows are inside the margin, at 20 most are beyond it on one side.
    fn new(n: usize, width: usize, discriminators: usize, cost: Cost, spread: f32) -> Self {
        let rows = 2 * n;
        let draw = |count: usize, seed: u32, scale: f32, add: f32| -> Vec<f32> {
            numbers(count, seed).into_iter().map(|v| v * scale + add).collect()
        };
        let config = DiscriminatorLoss {
            discriminators,
            cost,
            margin: 0.5,
            leaky_slope: 0.2,
            norm_epsilon: 1e-5,
            norm_momentum: 0.1,
        };
        let tail = spread / ((width / discriminators) as f32).sqrt();
        Self {
            rows,
            width,
            config,
            // A mean far from zero: squares of numbers that are not centred would cancel.
            hidden: draw(rows * width, 1, 2.0, 5.0),
            parameters: [draw(width, 2, 0.5, 1.0), draw(width, 3, 0.5, 0.0), draw(width, 4, tail, 0.0)]
                .concat(),
            running: [draw(width, 5, 1.0, 0.0), draw(width, 6, 0.5, 1.0)].concat(),
        }
    }

    fn all() -> Vec<Self> {
        let sizes = [(1, 1, 1), (3, 7, 1), (17, 24, 3), (32, 128, 2), (33, 129, 1), (64, 40, 8), (70, 30, 6)];
        let mut all = vec![];
        for (i, (n, width, discriminators)) in sizes.into_iter().enumerate() {
            for (j, cost) in [Cost::TruncatedL1, Cost::CrossEntropy].into_iter().enumerate() {
                all.push(Self::new(n, width, discriminators, cost, [1.0, 20.0][(i + j) % 2]));
            }
        }
        all
    }

    fn what(&self) -> String {
        format!("({}, {}), {:?}", self.rows, self.width, self.config)
    }

    fn reference(&self) -> Numbers {
        reference::loss_and_gradient(&self.config, self.width, &self.hidden, &self.parameters, &self.running)
    }

    fn tensors(&self, device: &Device) -> [Tensor; 3] {
        let tensor =
            |values: &[f32], rows: usize| Tensor::from_slice(values, (rows, self.width), device).unwrap();
        [tensor(&self.hidden, self.rows), tensor(&self.parameters, 3), tensor(&self.running, 2)]
    }

    /// The op's single output, from the emulator.
    fn emulated(&self, order: i32) -> Vec<f32> {
        let [mut hidden, mut parameters, mut running] =
            [&self.hidden, &self.parameters, &self.running].map(|values| Memory::of_slice(values));
        let need = scratch(&self.config, self.rows, self.width);
        let mut out = Memory::room(self.rows * self.width + len_behind(self.width), DType::F32);
        let mut floats = Memory::room(need.floats, DType::F32);
        let mut doubles = Memory::room(need.doubles, DType::F64);
        let at = Addresses {
            hidden: hidden.address(),
            parameters: parameters.address(),
            running: running.address(),
            out: out.address(),
            floats: floats.address(),
            doubles: doubles.address(),
        };
        // SAFETY: memory of the sizes that the launches are made for; guards show where they are not.
        unsafe { emulated::run(&launches(&self.config, self.rows, self.width, &at), order) };
        assert_eq!(floats.floats(DType::F32).len(), need.floats);
        assert_eq!(doubles.numbers::<f64>().len(), need.doubles);
        let bits = |numbers: &[f32]| numbers.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&hidden.floats(DType::F32)), bits(&self.hidden), "inputs are left as they are");
        out.floats(DType::F32)
    }

    /// Compares the op's single output with the reference.
    fn check(&self, got: &[f32], who: &str) {
        let (what, want) = (format!("{}, {who}", self.what()), self.reference());
        let largest = |values: &[f64]| values.iter().fold(0.0f64, |most, v| most.max(v.abs()));
        // Rounding takes no logit over the margin, nor over zero: slopes jump there.
        let margin = f64::from(self.config.margin);
        let nearest = want.logits.iter().map(|l| (l.abs() - margin).abs()).fold(f64::MAX, f64::min);
        assert!(nearest > 1e-5, "{what}: a logit is {nearest:e} from the margin; take other numbers");

        let width = self.width;
        let [gamma, _, tail] = [0, 1, 2].map(|i| &self.parameters[i * width..(i + 1) * width]);
        let f64s = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let by_logit = largest(&want.logits).max(1.0);
        let through = largest(&f64s(gamma)) * self.steepest() * largest(&f64s(tail)) * 2.0 / self.rows as f64;
        let (hidden, rest) = got.split_at(self.rows * width);
        let (parameters, rest) = rest.split_at(3 * width);
        let (running, outcome) = rest.split_at(2 * width);
        let within = |name: &str, got: &[f32], want: &[f64], scale: f64| {
            assert_eq!(got.len(), want.len(), "{what}: {name}");
            for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
                let off = (f64::from(got) - want).abs();
                assert!(
                    off <= TOLERANCE * scale,
                    "{what}: {name} {i} is {got} for {want}, allowed {:e}",
                    TOLERANCE * scale
                );
            }
        };
        within("hidden gradient", hidden, &want.hidden, through * by_logit);
        within("parameter gradient", parameters, &want.parameters, largest(&want.parameters) * by_logit);
        within("running", running, &want.running, largest(&want.running));
        within("outcome", outcome, &want.outcome, by_logit);
    }

    /// The largest 1 / sqrt(variance + ε).
    fn steepest(&self) -> f64 {
        let variance = |c: usize| {
            let column: Vec<f64> =
                self.hidden.iter().skip(c).step_by(self.width).map(|&v| f64::from(v)).collect();
            let mean = column.iter().sum::<f64>() / column.len() as f64;
            column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / column.len() as f64
        };
        let least = (0..self.width).map(variance).fold(f64::MAX, f64::min);
        1.0 / (least + self.config.norm_epsilon).sqrt()
    }
}

#[test]
fn tensors_and_the_cuda_kernels_agree_with_the_reference() {
    for case in Case::all() {
        for device in test_devices() {
            let [hidden, parameters, running] = case.tensors(&device);
            let got = loss_and_gradient(case.config, &hidden, &parameters, &running).unwrap();
            assert_eq!(got.hidden.dims(), [case.rows, case.width]);
            assert_eq!(
                (got.parameters.dims(), got.running.dims()),
                (&[3, case.width][..], &[2, case.width][..])
            );
            let parts = [got.hidden, got.parameters, got.running, got.outcome];
            let flat: Vec<f32> =
                parts.iter().flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect();
            case.check(&flat, &format!("{device:?}"));
        }
        let mut first = None;
        for &order in emulated::orders() {
            let got = case.emulated(order);
            case.check(&got, &format!("threads in order {order}"));
            let first = first.get_or_insert_with(|| got.clone());
            assert_eq!(first, &got, "{}: bits in order {order}", case.what());
        }
    }
}

/// The gradient against central differences of the loss, in f64 but for the inputs' rounding.
#[test]
fn the_references_gradient_is_that_of_its_loss() {
    for (discriminators, cost) in [(1, Cost::TruncatedL1), (1, Cost::CrossEntropy), (3, Cost::CrossEntropy)] {
        let case = Case::new(5, 6, discriminators, cost, 1.0);
        let numbers = case.reference();
        // The gradient is of the sum over the discriminators.
        let loss = |hidden: &[f32], parameters: &[f32]| {
            let numbers =
                reference::loss_and_gradient(&case.config, case.width, hidden, parameters, &case.running);
            numbers.outcome[0] * discriminators as f64
        };
        let slope = |values: &[f32], i: usize, loss: &dyn Fn(&[f32]) -> f64| {
            let ends = [1.0f32, -1.0].map(|side| {
                let mut moved = values.to_vec();
                moved[i] += side / 256.0;
                (f64::from(moved[i]), loss(&moved))
            });
            (ends[0].1 - ends[1].1) / (ends[0].0 - ends[1].0)
        };
        // Steps of 1/256 through bends: an error of the step's size times the curvature.
        let close = |name: &str, i: usize, got: f64, want: f64| {
            assert!((got - want).abs() < 2e-3, "{name} {i}, {discriminators} of {cost:?}: {got} for {want}");
        };
        for i in 0..case.hidden.len() {
            let want = slope(&case.hidden, i, &|hidden| loss(hidden, &case.parameters));
            close("hidden", i, numbers.hidden[i], want);
        }
        for i in 0..case.parameters.len() {
            let want = slope(&case.parameters, i, &|parameters| loss(&case.hidden, parameters));
            close("parameter", i, numbers.parameters[i], want);
        }
        assert!(numbers.hidden.iter().any(|g| g.abs() > 1e-2), "the gradient is large enough to be tested");
    }
}

#[test]
fn what_is_not_a_number_costs_what_is_not_a_number() {
    for cost in [Cost::TruncatedL1, Cost::CrossEntropy] {
        let mut case = Case::new(3, 4, 1, cost, 1.0);
        case.hidden[5] = f32::NAN;
        let [hidden, parameters, running] = case.tensors(&Device::Cpu);
        let got = loss_and_gradient(case.config, &hidden, &parameters, &running).unwrap();
        assert!(got.outcome.to_vec1::<f32>().unwrap()[0].is_nan(), "{cost:?}");
        for &order in emulated::orders() {
            let got = case.emulated(order);
            assert!(got[got.len() - 3].is_nan(), "{cost:?}, order {order}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let good = Case::new(2, 6, 2, Cost::TruncatedL1, 1.0);
    let [hidden, parameters, running] = good.tensors(&Device::Cpu);
    let five = DiscriminatorLoss { discriminators: 5, ..good.config };
    let narrow = hidden.narrow(0, 0, 3).unwrap();
    let halves = hidden.to_dtype(DType::F16).unwrap();
    for (config, hidden, parameters, running) in [
        (five, &hidden, &parameters, &running),
        (good.config, &narrow, &parameters, &running),
        (good.config, &halves, &parameters, &running),
        (good.config, &hidden, &running, &running),
        (good.config, &hidden, &parameters, &parameters),
    ] {
        let error = loss_and_gradient(config, hidden, parameters, running).unwrap_err().to_string();
        assert!(error.contains("(2n, H)"), "{error}");
    }
}
