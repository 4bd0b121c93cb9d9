//! Matrix product of f32 slices with any strides, for code that keeps its own buffers.
//!
//! In: two matrices as slices with shape and strides. Out: their product, row-major, into a given slice.
//! The arithmetic is the `gemm` crate's (the one candle uses); this is its safe entry point. The reference is
//! `reference::matmul`.

#[cfg(test)]
mod reference;

use crate::{error::ModelError, kernels::team::with_team};

/// A view of a matrix in a slice. Element (row, column) is `data[row * row_stride + column * column_stride]`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A dense row-major matrix.
    ///
    /// # Errors
    /// `ModelError::InputShape` when `data` does not hold `rows * columns` numbers.
    pub fn row_major(data: &'a [f32], rows: usize, columns: usize) -> Result<Self, ModelError> {
        if rows.checked_mul(columns) != Some(data.len()) {
            return Err(mismatch(format!("{rows} x {columns} numbers"), vec![data.len()]));
        }
        Ok(Self { data, rows, columns, row_stride: columns, column_stride: 1 })
    }

    /// `count` of its rows from `first` on.
    fn some_rows(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.rows);
        Self { data: &self.data[first * self.row_stride..], rows: count, ..self }
    }

    /// Rows of `columns` values, `row_stride` values from one to the next.
    ///
    /// # Panics
    /// `data` does not hold the last row.
    pub(crate) fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        let needed =
            rows.saturating_sub(1).checked_mul(row_stride).and_then(|start| start.checked_add(columns));
        assert!(
            needed.is_some_and(|needed| rows == 0 || data.len() >= needed),
            "matmul: {rows} rows do not fit"
        );
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// The transpose, without a copy.
    pub fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// Multiplications from which on threads share a product: about a millisecond.
const SHARED: usize = 1 << 25;
/// Rows of the result per task: as many as `gemm` goes through with one pack of the right side, and enough that a pack pays.
const TASK_ROWS: [usize; 2] = [64, 512];

/// `out = a · b`: (m, k) by (k, n) into row-major (m, n), by as many threads as the current rayon pool has.
///
/// Threads take some rows of the result after the other: one that has to wait for a CPU holds up the others by one
/// task. A sum runs over k as in the whole product, so the bits are the same for any number of threads.
///
/// # Errors
/// `ModelError::InputShape` when the shapes do not fit.
pub fn matmul_into(a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32]) -> Result<(), ModelError> {
    check(a, b, out)?;
    let work = a.rows.saturating_mul(a.columns).saturating_mul(b.columns);
    if work < SHARED || a.rows < 2 * TASK_ROWS[0] {
        multiply(a, b, out, b.columns);
        return Ok(());
    }
    with_team(|team| {
        let [least, most] = TASK_ROWS;
        let mut rows = (a.rows / (4 * team.threads())).clamp(least, most).next_multiple_of(least);
        // `gemm` sums a few rows by themselves in another order: none are left over.
        while (1..least).contains(&(a.rows % rows)) {
            rows += 1;
        }
        team.for_each_chunk(out, rows * b.columns, |task, out| {
            multiply(a.some_rows(task * rows, out.len() / b.columns), b, out, b.columns);
        });
    });
    Ok(())
}

/// `out = a · b` on this thread alone, rows of `out` `row_stride` values apart.
///
/// # Panics
/// Shapes that do not fit; an `out` that does not hold the last row.
pub(crate) fn multiply(a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], row_stride: usize) {
    let (m, n) = (a.rows, b.columns);
    let needed = m.saturating_sub(1).checked_mul(row_stride).and_then(|start| start.checked_add(n));
    assert!(a.columns == b.rows && n <= row_stride, "matmul: shapes do not fit");
    assert!(needed.is_some_and(|needed| m == 0 || out.len() >= needed), "matmul: the output is too short");
    // SAFETY: `Matrix` holds that every (row, column) below its shape lies inside its slice. The inner dimensions agree,
    // and `out`, borrowed mutably, holds m rows of n values, `row_stride` apart, which do not overlap. With
    // read_dst = false its old contents are not read.
    unsafe {
        gemm::gemm(
            m,
            n,
            a.columns,
            out.as_mut_ptr(),
            1,
            row_stride as isize,
            false,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

fn check(a: Matrix<'_>, b: Matrix<'_>, out: &[f32]) -> Result<(), ModelError> {
    if a.columns != b.rows {
        return Err(mismatch(
            format!("{} rows on the right", a.columns),
            vec![a.rows, a.columns, b.rows, b.columns],
        ));
    }
    if a.rows.checked_mul(b.columns) != Some(out.len()) {
        return Err(mismatch(format!("an output of {} x {} numbers", a.rows, b.columns), vec![out.len()]));
    }
    Ok(())
}

fn mismatch(expected: String, actual: Vec<usize>) -> ModelError {
    ModelError::InputShape { what: "matmul", expected, actual }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::numbers;

    #[test]
    fn agrees_with_the_reference_for_every_layout() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 7), (64, 33, 17), (130, 257, 65), (1, 300, 40), (40, 300, 1)] {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            let mut want = vec![0.0; m * n];
            reference::matmul(&a, &b, m, k, n, &mut want);
            let transpose = |x: &[f32], rows: usize, columns: usize| -> Vec<f32> {
                (0..columns).flat_map(|c| (0..rows).map(move |r| x[r * columns + c])).collect()
            };
            let (at, bt) = (transpose(&a, m, k), transpose(&b, k, n));
            let lefts = [Matrix::row_major(&a, m, k), Matrix::row_major(&at, k, m).map(Matrix::transposed)];
            for left in lefts {
                let rights =
                    [Matrix::row_major(&b, k, n), Matrix::row_major(&bt, n, k).map(Matrix::transposed)];
                for right in rights {
                    let mut got = vec![f32::NAN; m * n];
                    matmul_into(*left.as_ref().unwrap(), right.unwrap(), &mut got).unwrap();
                    for (g, w) in got.iter().zip(&want) {
                        // k products of numbers below 1: rounding grows with k.
                        assert!((g - w).abs() <= 1e-6 * k as f32, "{m} {k} {n}: {g} {w}");
                    }
                }
            }
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        for (m, k, n) in [(700, 300, 200), (129, 1030, 257), (1296, 150, 180), (1024, 2600, 70)] {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            let (at, bt) = (Matrix::row_major(&a, k, m).unwrap(), Matrix::row_major(&b, n, k).unwrap());
            let (a, b) = (Matrix::row_major(&a, m, k).unwrap(), Matrix::row_major(&b, k, n).unwrap());
            for (a, b) in [(a, b), (at.transposed(), b), (a, bt.transposed())] {
                let mut whole = vec![f32::NAN; m * n];
                multiply(a, b, &mut whole, n);
                for threads in [1, 2, 3] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut got = vec![f32::NAN; m * n];
                    pool.install(|| matmul_into(a, b, &mut got)).unwrap();
                    assert!(got == whole, "{m} {k} {n}, {threads} threads");
                }
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let x = [0.0; 6];
        assert!(Matrix::row_major(&x, 2, 2).is_err());
        assert!(Matrix::row_major(&[], 1 << 32, 1 << 32).is_err(), "2^64 is not 0");
        let tall = Matrix::row_major(&[], 1 << 32, 0).unwrap();
        assert!(matmul_into(tall, tall.transposed(), &mut []).is_err(), "2^64 is not 0");
        let a = Matrix::row_major(&x, 2, 3).unwrap();
        assert!(matmul_into(a, a, &mut [0.0; 4]).is_err());
        assert!(matmul_into(a, a.transposed(), &mut [0.0; 3]).is_err());
    }
}
