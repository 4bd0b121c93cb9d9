//! One list of cases over the reference, tensors on every device, and the kernel's own text on the CPU.

use candle_core::{Device, Tensor};
use half::f16;

use super::{tensor::Form, *};
use crate::{
    Normalisation,
    kernels::{cuda::emulated, numbers, tensor_op::test_devices},
};

/// ImageNet's.
const NORMALISATION: Normalisation =
    Normalisation { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/// Batch, sides of the image, zeros before and sides of the map: none, one pixel, centred, TensorFlow's, more than enough.
type Case = (usize, [usize; 2], [usize; 2], [usize; 2]);
const CASES: [Case; 6] = [
    (1, [1, 1], [0, 0], [1, 1]),
    (2, [1, 1], [1, 2], [3, 4]),
    (1, [16, 17], [3, 3], [22, 23]),
    (3, [6, 8], [0, 0], [7, 9]),
    (2, [5, 4], [4, 1], [9, 40]),
    (1, [40, 30], [0, 1], [40, 31]),
];

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|v| v.to_bits()).collect()
}

/// What the op must give for a tensor of images.
fn expected(pack: &PackImage, form: Form, [batch, height, width]: [usize; 3], images: &[f32]) -> Vec<f32> {
    let PackImage { before, padded, dtype } = *pack;
    let mut out = vec![f32::NAN; batch * padded[0] * padded[1] * CHANNELS];
    let one_out = out.len() / batch;
    for (image, out) in images.chunks_exact(COLOURS * height * width).zip(out.chunks_exact_mut(one_out)) {
        let value = |y: usize, x: usize, c: usize| match form {
            Form::Rgb(normalisation) => {
                let byte = image[(y * width + x) * COLOURS + c];
                reference::normalised(byte, normalisation.mean[c], normalisation.std[c])
            }
            Form::Planes => image[(c * height + y) * width + x],
        };
        reference::pack([height, width], before, padded, value, out);
    }
    match dtype {
        DType::F16 => out.into_iter().map(|v| f16::from_f32(v).to_f32()).collect(),
        _ => out,
    }
}

fn images(form: Form, [batch, height, width]: [usize; 3]) -> Tensor {
    let count = batch * COLOURS * height * width;
    match form {
        Form::Rgb(_) => {
            let bytes: Vec<u8> = (0..count).map(|i| (i * 37 % 256) as u8).collect();
            Tensor::from_vec(bytes, (batch, height, width, COLOURS), &Device::Cpu).unwrap()
        }
        Form::Planes => {
            Tensor::from_vec(numbers(count, 5), (batch, COLOURS, height, width), &Device::Cpu).unwrap()
        }
    }
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn tensors_and_the_cuda_kernel_have_the_bits_of_the_reference() {
    for (batch, sides, before, padded) in CASES {
        for dtype in [DType::F32, DType::F16] {
            for form in [Form::Rgb(NORMALISATION), Form::Planes] {
                let pack = PackImage { before, padded, dtype };
                let dims = [batch, sides[0], sides[1]];
                let images = images(form, dims);
                let want = expected(&pack, form, dims, &floats(&images));
                let what = format!("{form:?} {dims:?} {pack:?}");
                for device in test_devices() {
                    let images = images.to_device(&device).unwrap();
                    let got = match form {
                        Form::Rgb(normalisation) => pack.forward_rgb(&images, &normalisation),
                        Form::Planes => pack.forward_planes(&images),
                    };
                    let got = got.unwrap();
                    assert_eq!(got.dims(), [batch, padded[0], padded[1], CHANNELS], "{what}");
                    assert_eq!(bits(&floats(&got)), bits(&want), "{what} {device:?}");
                }
                for &order in emulated::orders() {
                    let launch = |x, out| vec![super::cuda::launch(&pack, form, dims, x, out)];
                    let got = emulated::on_tensor(&images, want.len(), dtype, launch, order);
                    assert_eq!(bits(&got), bits(&want), "{what}, threads in order {order}");
                }
            }
        }
    }
}

/// Where numbers land, without the reference: the pixel of one image that is not black.
#[test]
fn a_pixel_lies_behind_its_padding() {
    let mut bytes = vec![0u8; 3 * 4 * 3];
    bytes[(4 + 2) * 3..][..3].copy_from_slice(&[255, 51, 102]);
    let image = Tensor::from_vec(bytes, (1, 3, 4, 3), &Device::Cpu).unwrap();
    let normalisation = Normalisation { mean: [0.0; 3], std: [1.0, 2.0, 4.0] };
    let pack = PackImage { before: [2, 1], padded: [6, 7], dtype: DType::F32 };
    let mut want = vec![0.0; 6 * 7 * 4];
    want[((1 + 2) * 7 + (2 + 1)) * 4..][..3].copy_from_slice(&[1.0, 0.1, 0.1]);
    assert_eq!(floats(&pack.forward_rgb(&image, &normalisation).unwrap()), want);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let pack = |padded, dtype| PackImage { before: [1, 1], padded, dtype };
    let rgb = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    for (pack, images, word) in [
        (pack([6, 6], DType::F32), rgb(&[1, 3, 4, 4], DType::U8), "(B, H, W, 3) u8"),
        (pack([6, 6], DType::F32), rgb(&[1, 4, 4, 3], DType::F32), "(B, H, W, 3) u8"),
        (pack([6, 6], DType::F32), rgb(&[0, 4, 4, 3], DType::U8), "B, H, W > 0"),
        (pack([4, 6], DType::F32), rgb(&[1, 4, 4, 3], DType::U8), "do not fit into [4, 6]"),
        (pack([6, 6], DType::F64), rgb(&[1, 4, 4, 3], DType::U8), "f32 and f16, not F64"),
    ] {
        let error = pack.forward_rgb(&images, &NORMALISATION).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let error = pack([6, 6], DType::F32).forward_planes(&rgb(&[1, 4, 4, 3], DType::F32)).unwrap_err();
    assert!(error.to_string().contains("(B, 3, H, W) f32"), "{error}");
}
