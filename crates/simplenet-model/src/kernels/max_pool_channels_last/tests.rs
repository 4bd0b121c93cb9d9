//! One list of cases over the reference and each instruction set.

use super::*;
use crate::kernels::encoding::convert;
use crate::kernels::team::with_team;

/// (height, width): single pixels, odd sides, outputs narrower than a block of columns, just as wide, one more.
const SIDES: [[usize; 2]; 10] =
    [[1, 1], [1, 9], [9, 1], [2, 3], [5, 4], [3, 11], [4, 12], [7, 13], [18, 18], [11, 37]];
const CHANNELS: [usize; 8] = [1, 3, 16, 17, 24, 40, 96, 144];

/// Activated: none is below zero. Flat (H, W, C).
fn image(count: usize) -> Vec<f32> {
    (0..count as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44) as f32 / 1e5).collect()
}

/// (pixels, from) -> (pixels, to), with zeros.
fn widen(values: &[f32], from: usize, to: usize) -> Vec<f32> {
    let mut wide = vec![0.0; values.len() / from * to];
    for (wide, values) in wide.chunks_exact_mut(to).zip(values.chunks_exact(from)) {
        wide[..from].copy_from_slice(values);
    }
    wide
}

/// (h, w, C').
fn run(isa: Isa, [height, width]: [usize; 2], channels: usize, input: &[f32]) -> Vec<f32> {
    let wide = channels.next_multiple_of(lanes(isa));
    let [h, w] = output(height, width);
    let mut out = vec![f32::NAN; h * w * wide];
    let input = widen(input, channels, wide);
    with_team(|team| forward(team, isa, height, width, wide, Encoding::F32, &input, &mut out));
    out
}

#[test]
fn every_instruction_set_agrees_with_the_reference_and_keeps_the_zeros() {
    for [height, width] in SIDES {
        for channels in CHANNELS {
            let input = image(height * width * channels);
            let [h, w] = [(height + 2 - 3) / 2 + 1, (width + 2 - 3) / 2 + 1];
            assert_eq!(output(height, width), [h, w]);
            let mut expected = vec![f32::NAN; h * w * channels];
            reference::max_pool(height, width, channels, &input, &mut expected);
            for isa in Isa::available() {
                let expected = widen(&expected, channels, channels.next_multiple_of(lanes(isa)));
                let got = run(isa, [height, width], channels, &input);
                assert_eq!(got, expected, "{isa:?}, {height}x{width}, {channels} channels");
            }
        }
    }
}

#[test]
fn results_are_the_same_bits_for_any_thread_count() {
    let input = image(150 * 131 * 96);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let out = pool.install(|| run(Isa::detect(), [150, 131], 96, &input));
        out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn what_does_not_fit_is_refused() {
    for (channels, input, out, expected) in [
        (6, 96, 24, "whole vectors of 4 channels"),
        (4, 63, 16, "lengths [64, 16]"),
        (4, 64, 17, "lengths [64, 16]"),
    ] {
        let refused = std::panic::catch_unwind(|| {
            let (input, mut out) = (vec![0.0; input], vec![0.0; out]);
            with_team(|team| forward(team, Isa::Scalar, 4, 4, channels, Encoding::F32, &input, &mut out));
        });
        let payload = refused.expect_err("no panic");
        let message = payload.downcast_ref::<String>().expect("a formatted message");
        assert!(message.contains(expected), "{message}");
    }
}

/// The largest of rounded numbers is the largest number, rounded.
#[test]
fn every_encoding_pools_to_the_bits_of_the_rounded_maximum() {
    for isa in Isa::available() {
        for encoding in [Encoding::Bf16, Encoding::up_to(200.0)] {
            let (size, wide) = ([7, 13], 32);
            let input = image(size[0] * size[1] * wide);
            let encode = |numbers: &[f32]| {
                let mut words = vec![0.0; encoding.words(numbers.len())];
                convert(isa, numbers.len(), numbers, Encoding::F32, &mut words, encoding);
                words
            };
            let expected = encode(&run(isa, size, wide, &input));
            let mut got = vec![f32::NAN; expected.len()];
            let kept = encode(&input);
            with_team(|team| forward(team, isa, size[0], size[1], wide, encoding, &kept, &mut got));
            let bits = |words: &[f32]| words.iter().map(|word| word.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&got), bits(&expected), "{isa:?} {encoding:?}");
        }
    }
}

/// Tensors on every device, and the kernel's own text on the CPU, against the reference; shapes of more than one image.
#[test]
fn tensors_and_the_cuda_kernel_agree_with_the_reference() {
    use crate::kernels::{cuda::emulated, tensor_op::test_devices};
    use candle_core::{DType, Device, Tensor};
    for (batch, [height, width], channels) in
        [(1, [1, 1], 8), (2, [7, 13], 24), (3, [5, 4], 16), (1, [18, 18], 40)]
    {
        let dims = [batch, height, width, channels];
        let x = Tensor::from_vec(image(dims.iter().product()), &dims[..], &Device::Cpu).unwrap();
        for dtype in [DType::F32, DType::F16] {
            let x = x.to_dtype(dtype).unwrap();
            let numbers =
                |t: &Tensor| t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let want: Vec<f32> = numbers(&x)
                .chunks(height * width * channels)
                .flat_map(|x| {
                    let [h, w] = output(height, width);
                    let mut out = vec![0.0; h * w * channels];
                    reference::max_pool(height, width, channels, x, &mut out);
                    out
                })
                .collect();
            for device in test_devices() {
                let got = max_pool(&x.to_device(&device).unwrap()).unwrap();
                assert_eq!(
                    numbers(&got.to_device(&Device::Cpu).unwrap()),
                    want,
                    "{dims:?} {dtype:?} {device:?}"
                );
            }
            for &order in emulated::orders() {
                let got = emulated::on_tensor(
                    &x,
                    want.len(),
                    dtype,
                    |x, out| vec![super::cuda::launch(dtype, dims, x, out)],
                    order,
                );
                assert_eq!(got, want, "{dims:?} {dtype:?}, threads in order {order}");
            }
        }
    }
    for (shape, word) in [(&[2, 3, 8][..], "(B, H, W, C)"), (&[1, 2, 2, 12], "multiple of 8")] {
        let error = max_pool(&Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}
