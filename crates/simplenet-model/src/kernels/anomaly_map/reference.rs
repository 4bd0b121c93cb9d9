//! The two steps one after the other: the resize, then SciPy's Gaussian filter. Slow, obvious.

use rayon::prelude::*;

use super::AnomalyMapConfig;
use super::plan::half_kernel;
use crate::bilinear::resize_bilinear;

/// Scores (h, w) -> map (out_h, out_w), row-major.
pub(super) fn anomaly_map(
    scores: &[f32],
    [h, w]: [usize; 2],
    [out_h, out_w]: [usize; 2],
    config: &AnomalyMapConfig,
) -> Vec<f32> {
    let mut map = resize_bilinear(scores, h, w, out_h, out_w);
    gaussian_filter(&mut map, out_w, config);
    map
}

/// SciPy's `gaussian_filter` in edge mode "reflect": down the columns, then along the rows; sums in f64, each pass
/// rounded to f32.
fn gaussian_filter(map: &mut Vec<f32>, width: usize, config: &AnomalyMapConfig) {
    let kernel = half_kernel(config);
    if kernel.len() == 1 || map.is_empty() {
        return;
    }
    let height = map.len() / width;
    let source = map.as_slice();
    let mut columns_done = vec![0f32; map.len()];
    columns_done.par_chunks_mut(width).enumerate().for_each_init(
        || vec![0f64; width],
        |sums, (y, out)| {
            let row = |y: isize| &source[reflect(y, height) * width..][..width];
            let y = y as isize;
            for (sum, &v) in sums.iter_mut().zip(row(y)) {
                *sum = kernel[0] * f64::from(v);
            }
            for (distance, &k) in (1..).zip(&kernel[1..]) {
                for ((sum, &a), &b) in sums.iter_mut().zip(row(y - distance)).zip(row(y + distance)) {
                    *sum += k * (f64::from(a) + f64::from(b));
                }
            }
            round(sums, out);
        },
    );
    let radius = kernel.len() - 1;
    map.par_chunks_mut(width).zip(columns_done.par_chunks(width)).for_each_init(
        || (vec![0f64; width + 2 * radius], vec![0f64; width]),
        |(padded, sums), (out, row)| {
            for (i, v) in padded.iter_mut().enumerate() {
                *v = f64::from(row[reflect(i as isize - radius as isize, width)]);
            }
            for (sum, &v) in sums.iter_mut().zip(&padded[radius..]) {
                *sum = kernel[0] * v;
            }
            for (distance, &k) in kernel.iter().enumerate().skip(1) {
                let (left, right) = (&padded[radius - distance..], &padded[radius + distance..]);
                for ((sum, &a), &b) in sums.iter_mut().zip(left).zip(right) {
                    *sum += k * (a + b);
                }
            }
            round(sums, out);
        },
    );
}

fn round(sums: &[f64], out: &mut [f32]) {
    out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = sum as f32);
}

/// d c b a | a b c d | d c b a, again and again: right for maps smaller than the kernel's reach too.
pub(crate) fn reflect(i: isize, n: usize) -> usize {
    let n = n as isize;
    let i = i.rem_euclid(2 * n);
    (if i < n { i } else { 2 * n - 1 - i }) as usize
}
