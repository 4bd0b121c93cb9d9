//! One suite of cases over the reference chain and the kernel; plans over the two ways of a layer on channels-last maps.

use candle_core::{DType, Device, Tensor};

use super::{
    PatchAggregate, PatchAggregateTensor, Pooling,
    cuda::{Order, Tables, launch},
};
use crate::kernels::{
    Isa,
    channels_last::lanes,
    cuda::emulated::{self, Memory},
    encoding::{Encoding, convert, decode},
    numbers,
    team::with_team,
    tensor_op::test_devices,
};

fn map(seed: u32, shape: &[usize]) -> Tensor {
    Tensor::from_vec(numbers(shape.iter().product(), seed), shape, &Device::Cpu).unwrap()
}

struct Case {
    patch_size: usize,
    /// What each layer is pooled to (its channels when `None`), and the width of the result.
    dims: (Option<usize>, usize),
    batch: usize,
    /// Channels, height and width of each layer.
    layers: &'static [(usize, usize, usize)],
}

const CASES: &[Case] = &[
    Case { patch_size: 3, dims: (None, 152), batch: 2, layers: &[(40, 9, 8), (112, 5, 4)] },
    Case { patch_size: 5, dims: (None, 9), batch: 1, layers: &[(2, 7, 3), (3, 4, 2), (4, 1, 5)] },
    Case { patch_size: 3, dims: (Some(1536), 1536), batch: 1, layers: &[(512, 5, 7), (1024, 3, 4)] },
    Case { patch_size: 3, dims: (Some(512), 512), batch: 2, layers: &[(40, 9, 8), (112, 5, 4)] },
    Case { patch_size: 1, dims: (Some(5), 7), batch: 3, layers: &[(3, 4, 1), (2, 1, 1)] },
    Case { patch_size: 5, dims: (Some(33), 20), batch: 1, layers: &[(6, 17, 3), (4, 9, 2), (10, 5, 1)] },
    Case { patch_size: 7, dims: (Some(10), 64), batch: 2, layers: &[(3, 2, 2)] },
    Case { patch_size: 3, dims: (Some(64), 31), batch: 1, layers: &[(8, 6, 6), (8, 6, 6), (8, 12, 3)] },
    Case { patch_size: 3, dims: (Some(1), 1), batch: 1, layers: &[(4, 20, 33), (2, 11, 40)] },
    Case { patch_size: 3, dims: (Some(300), 200), batch: 1, layers: &[(2, 30, 3), (1, 2, 2)] },
    // Wider than a tile of the CUDA kernel; a finer second layer, whose tiles are made smaller.
    Case { patch_size: 3, dims: (None, 12), batch: 1, layers: &[(8, 3, 43), (4, 2, 22)] },
    Case { patch_size: 3, dims: (None, 70), batch: 1, layers: &[(2, 5, 9), (68, 21, 40)] },
];

fn each_case(check: impl Fn(&str, &PatchAggregate, &[Tensor])) {
    for case in CASES {
        let Case { patch_size, dims, batch, layers } = case;
        let channels: Vec<usize> = layers.iter().map(|l| l.0).collect();
        let pretrain_dims: Vec<usize> = channels.iter().map(|&c| dims.0.unwrap_or(c)).collect();
        let op = PatchAggregate::new(*patch_size, &pretrain_dims, dims.1, &channels);
        let maps: Vec<Tensor> =
            (1..).zip(*layers).map(|(i, &(c, h, w))| map(i, &[*batch, c, h, w])).collect();
        check(&format!("patch {patch_size}, dims {dims:?}, layers {layers:?}"), &op, &maps);
    }
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn the_kernel_agrees_with_the_reference_chain() {
    each_case(|name, op, maps| {
        let (got, want) = (op.forward(maps).unwrap(), op.reference(maps).unwrap());
        assert_eq!(got.dims(), want.dims(), "{name}");
        let worst = (got - want).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(worst <= 1e-6, "{name}: differs by {worst:e}");
    });
}

#[test]
fn neither_threads_nor_batch_change_a_bit() {
    each_case(|name, op, maps| {
        let whole = bits(&op.forward(maps).unwrap());
        for threads in [1, 3, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(|| bits(&op.forward(maps).unwrap())) == whole, "{name}: {threads} threads");
        }
        let batch = maps[0].dim(0).unwrap();
        let one_by_one: Vec<u32> = (0..batch)
            .flat_map(|i| {
                let maps: Vec<Tensor> = maps.iter().map(|m| m.narrow(0, i, 1).unwrap()).collect();
                bits(&op.forward(&maps).unwrap())
            })
            .collect();
        assert!(one_by_one == whole, "{name}: one by one");
    });
}

/// Patch size, what each layer is pooled to, width of the result, channels of each layer; and of which layers every
/// output is the mean of whole patch rows.
type PlanCase = (usize, &'static [usize], usize, &'static [usize], &'static [bool]);

const PLANS: &[PlanCase] = &[
    // The paper's: means of 6 and of 12 values, two rows and four.
    (3, &[1536, 1536], 1536, &[512, 1024], &[true, true]),
    (3, &[768], 768, &[512], &[true]),
    (3, &[1536], 1536, &[1024], &[true]),
    // The mean of each channel, in whole vectors and not.
    (3, &[40, 112], 152, &[40, 112], &[true, true]),
    (3, &[5, 3], 8, &[5, 3], &[true, true]),
    // One of each kind: 9 values and 4.
    (3, &[8, 18], 26, &[8, 8], &[true, false]),
    // Windows that end within a row, or overlap.
    (3, &[512, 512], 512, &[40, 112], &[false, false]),
    (3, &[1536, 1536], 1536, &[128, 256], &[false, false]),
    (3, &[64, 64, 64], 31, &[8, 8, 8], &[false, false, false]),
    // Other patches.
    (1, &[40, 112], 152, &[40, 112], &[false, false]),
    (5, &[5, 3], 8, &[5, 3], &[false, false]),
];

#[test]
fn means_of_whole_patch_rows_go_the_short_way_and_agree_with_the_long_one() {
    let run = |pooling: &Pooling, map: &[f32]| {
        let mut planes = vec![f32::NAN; pooling.planes_len()];
        let mut out = vec![f32::NAN; pooling.size[0] * pooling.size[1] * pooling.outputs().len()];
        with_team(|team| pooling.run(team, map, &mut planes, &mut out));
        out
    };
    for (patch_size, pretrain_dims, target_dim, channels, short) in PLANS {
        let op = PatchAggregate::new(*patch_size, pretrain_dims, *target_dim, channels);
        for (index, (&channels, &short)) in channels.iter().zip(*short).enumerate() {
            for isa in Isa::available() {
                let stride = channels.next_multiple_of(lanes(isa));
                for size in [[1, 1], [1, 5], [3, 1], [2, 3], [7, 9]] {
                    let pooling = op.layer(index, isa, size, (stride, Encoding::F32), Encoding::F32);
                    let case = format!("patch {patch_size}, {channels} channels, {size:?}, {isa:?}");
                    assert_eq!(pooling.rows.is_some(), short, "{case}: the short way");
                    // Also beyond the channels, where nothing may be read.
                    let map = numbers(size[0] * size[1] * stride, 1);
                    let got = run(&pooling, &map);
                    let want = run(&Pooling { rows: None, ..pooling }, &map);
                    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                        assert!((got - want).abs() <= 1e-6, "{case}: number {i} is {got}, not {want}");
                    }
                    encoded(&op, index, isa, size, &map, &case);
                }
            }
        }
    }
}

#[test]
fn maps_that_do_not_fit_are_refused() {
    let op = PatchAggregate::new(3, &[8, 8], 8, &[4, 6]);
    let good = [map(1, &[2, 4, 3, 3]), map(2, &[2, 6, 2, 2])];
    assert!(op.forward(&good).is_ok());
    for (maps, word) in [
        (vec![good[0].clone()], "2 layers"),
        (vec![], "1 to 3"),
        (vec![good[0].clone(), map(2, &[2, 5, 2, 2])], "expected (2, 6,"),
        (vec![good[0].clone(), map(2, &[1, 6, 2, 2])], "expected (2, 6,"),
        (vec![good[0].clone(), map(2, &[2, 6, 2])], "rank"),
        (vec![good[0].clone(), good[1].to_dtype(candle_core::DType::F64).unwrap()], "F64"),
    ] {
        let error = op.forward(&maps).unwrap_err().to_string();
        assert!(error.contains(word), "expected `{word}` in: {error}");
    }
}

/// Maps and features in other encodings, against f32 on the rounded map.
fn encoded(op: &PatchAggregate, index: usize, isa: Isa, size: [usize; 2], map: &[f32], case: &str) {
    let stride = map.len() / (size[0] * size[1]);
    let map: Vec<f32> = map.iter().map(|v| v.abs()).collect();
    let run = |map: &[f32], kept: Encoding, wanted: Encoding| {
        let pooling = op.layer(index, isa, size, (stride, kept), wanted);
        let mut planes = vec![f32::NAN; pooling.planes_len()];
        let count = size[0] * size[1] * pooling.outputs().len();
        let mut out = vec![f32::NAN; pooling.encoding().words(count)];
        with_team(|team| pooling.run(team, map, &mut planes, &mut out));
        decode(&out, pooling.encoding())
    };
    // All encodings begin at whole words here: strides are whole vectors.
    for kept in [Encoding::F32, Encoding::Bf16, Encoding::up_to(1.0)] {
        let mut words = vec![0.0; kept.words(map.len())];
        convert(isa, map.len(), &map, Encoding::F32, &mut words, kept);
        let want = run(&decode(&words, kept), Encoding::F32, Encoding::F32);
        for (wanted, tolerance) in [(Encoding::F32, 1e-6), (Encoding::Bf16, 1.0 / 256.0)] {
            let got = run(&words, kept, wanted);
            assert_eq!(got.len(), want.len(), "{case}");
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                assert!(
                    (got - want).abs() <= 1e-6 + tolerance * want.abs(),
                    "{case}, {kept:?} to {wanted:?}: number {i} is {got}, not {want}"
                );
            }
        }
    }
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Sums of f32 numbers up to 1 in another order than the reference's, rounded to `dtype`.
fn assert_near(got: &[f32], want: &[f32], dtype: DType, case: &str) {
    assert_eq!(got.len(), want.len(), "{case}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        // f16 keeps 11 bits; what is halfway between two may go either way.
        let rounding = if dtype == DType::F16 { want.abs() / 1024.0 } else { 0.0 };
        let near = (got - want).abs() <= 1e-6 + rounding;
        assert!(near, "{case}: number {i} is {got}, not {want}");
    }
}

/// The kernel's own text on the CPU.
fn emulated(tables: &Tables, dtype: DType, maps: &[Tensor], len: usize, order: i32) -> Vec<f32> {
    let mut memory: Vec<Memory> = maps.iter().chain([&tables.table, &tables.taps]).map(Memory::of).collect();
    let mut out = Memory::room(len, dtype);
    let addresses: Vec<u64> = memory.iter_mut().map(Memory::address).collect();
    let (maps, rest) = addresses.split_at(maps.len());
    let batch = len / (tables.sizes.pixels() * tables.sizes.dim());
    let launch = launch(dtype, &tables.sizes, batch, maps, [rest[0], rest[1]], out.address());
    // SAFETY: maps, tables and result are those that the launch is for; guards show where they are not.
    unsafe { emulated::run(&[launch], order) };
    out.floats(dtype)
}

/// Maps of up to four layers, in both orders of their numbers, as f32 and f16.
#[test]
fn tensors_and_the_cuda_kernel_agree_with_the_reference() {
    each_case(|name, op, maps| {
        for dtype in [DType::F32, DType::F16] {
            check_kernel(name, op, maps, dtype);
        }
    });
    let op = PatchAggregate::new(3, &[4, 5, 6, 9], 23, &[4, 5, 6, 9]);
    let maps = [map(1, &[2, 4, 6, 7]), map(2, &[2, 5, 3, 4]), map(3, &[2, 6, 6, 7]), map(4, &[2, 9, 12, 5])];
    check_kernel("four layers", &op, &maps, DType::F32);
}

fn check_kernel(name: &str, op: &PatchAggregate, maps: &[Tensor], dtype: DType) {
    let rounded: Vec<Tensor> = maps.iter().map(|map| map.to_dtype(dtype).unwrap()).collect();
    let exact: Vec<Tensor> = rounded.iter().map(|map| map.to_dtype(DType::F32).unwrap()).collect();
    let want = floats(&op.reference(&exact).unwrap());
    let grids: Vec<[usize; 2]> = maps.iter().map(|m| [m.dim(2).unwrap(), m.dim(3).unwrap()]).collect();
    let permuted: Vec<Tensor> = rounded.iter().map(|map| map.permute((0, 2, 3, 1)).unwrap()).collect();
    for device in test_devices() {
        let case = format!("{name}, {dtype:?} on {device:?}");
        let on_device =
            |maps: &[Tensor]| maps.iter().map(|m| m.to_device(&device).unwrap()).collect::<Vec<_>>();
        let tensor = PatchAggregateTensor::new(op, &grids, dtype, &device).unwrap();
        let got = tensor.forward(&on_device(&permuted)).unwrap();
        assert_eq!(got.dtype(), dtype);
        assert_near(&floats(&got), &want, dtype, &case);
        if dtype == DType::F32 && maps.len() <= super::MAX_LAYERS {
            assert_near(&floats(&op.forward(&on_device(maps)).unwrap()), &want, dtype, &case);
        }
    }
    for &order in emulated::orders() {
        let channels_last = PatchAggregateTensor::new(op, &grids, dtype, &Device::Cpu).unwrap();
        let got = emulated(&channels_last.tables, dtype, &permuted, want.len(), order);
        assert_near(&got, &want, dtype, &format!("{name}, {dtype:?}, threads in order {order}"));
        if dtype == DType::F32 {
            let planar = Tables::new(&op.plan, &grids, Order::Planar, &Device::Cpu).unwrap();
            let got = emulated(&planar, dtype, &exact, want.len(), order);
            assert_near(&got, &want, dtype, &format!("{name}, planar, threads in order {order}"));
        }
    }
}

#[test]
fn channels_last_maps_that_do_not_fit_are_refused() {
    let op = PatchAggregate::new(3, &[8, 8], 8, &[4, 6]);
    let new = |grids: &[[usize; 2]], dtype| PatchAggregateTensor::new(&op, grids, dtype, &Device::Cpu);
    let message = |result: candle_core::Result<PatchAggregateTensor>| result.unwrap_err().to_string();
    assert!(message(new(&[[3, 3]], DType::F32)).contains("2 layers"));
    assert!(message(new(&[[3, 3], [0, 2]], DType::F32)).contains("[0, 2]"));
    assert!(message(new(&[[3, 3], [2, 2]], DType::F64)).contains("F64"));
    let aggregate = new(&[[3, 3], [2, 2]], DType::F32).unwrap();
    let good = [map(1, &[2, 3, 3, 4]), map(2, &[2, 2, 2, 6])];
    assert_eq!(aggregate.forward(&good).unwrap().dims(), [2, 3, 3, 8]);
    for (maps, word) in [
        (vec![], "0 maps"),
        (vec![good[0].clone()], "1 maps"),
        (vec![good[0].clone(), map(2, &[2, 6, 2, 2])], "[2, 2, 2, 6]"),
        (vec![good[0].clone(), map(2, &[1, 2, 2, 6])], "[2, 2, 2, 6]"),
        (vec![good[0].to_dtype(DType::F16).unwrap(), good[1].clone()], "F16"),
    ] {
        let error = aggregate.forward(&maps).unwrap_err().to_string();
        assert!(error.contains(word), "expected `{word}` in: {error}");
    }
}
