//! The matrix product as it is defined, in f64: what the fast one is compared with.

/// `out = a · b` for dense row-major (m, k) and (k, n).
///
/// Rows that a slice does not hold are left out; callers give slices of the right length.
pub(crate) fn matmul(a: &[f32], b: &[f32], m: usize, k: usize, n: usize, out: &mut [f32]) {
    for (row, out_row) in a.chunks_exact(k).take(m).zip(out.chunks_exact_mut(n)) {
        for (column, slot) in out_row.iter_mut().enumerate() {
            let products =
                row.iter().zip(b.chunks_exact(n)).map(|(&x, y)| f64::from(x) * f64::from(y[column]));
            *slot = products.sum::<f64>() as f32;
        }
    }
}
