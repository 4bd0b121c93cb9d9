//! Cholesky factors of small symmetric matrices, kept as their lower triangle, one column after another. In: a covariance.
//! Out: its factor L, or the rows of L⁻¹.

/// Numbers in the lower triangle of a d×d matrix.
pub(crate) fn packed_len(d: usize) -> usize {
    d * (d + 1) / 2
}

/// Cholesky factor in place, lower triangle column by column; the first pivot that is not a number above 0 is the error.
pub(crate) fn cholesky(matrix: &mut [f64], d: usize) -> Result<(), f64> {
    let mut columns = matrix;
    for j in 0..d {
        let (column, later) = columns.split_at_mut(d - j);
        let pivot = column[0];
        if !(pivot.is_finite() && pivot > 0.0) {
            return Err(pivot);
        }
        column.iter_mut().for_each(|value| *value /= pivot.sqrt());
        let mut rest = &mut *later;
        for k in 1..d - j {
            let (other, next) = rest.split_at_mut(d - j - k);
            other.iter_mut().zip(&column[k..]).for_each(|(to, value)| *to -= column[k] * value);
            rest = next;
        }
        columns = later;
    }
    Ok(())
}

/// L⁻¹ of a factor: its lower triangle, one row after another.
pub(crate) fn inverse_rows(factor: &[f64], d: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; packed_len(d)];
    let mut x = vec![0.0; d];
    // Where column j of the factor begins.
    let mut start = 0;
    for j in 0..d {
        // Column j of the inverse: L x = e_j by forward substitution; what is above j is 0.
        x[j..].fill(0.0);
        x[j] = 1.0;
        let mut columns = &factor[start..];
        for i in j..d {
            let (column, later) = columns.split_at(d - i);
            let solved = x[i] / column[0];
            x[i] = solved;
            x[i + 1..].iter_mut().zip(&column[1..]).for_each(|(to, value)| *to -= solved * value);
            inverse[packed_len(i) + j] = solved;
            columns = later;
        }
        start += d - j;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factor_and_inverse_give_the_identity() {
        for d in [1, 2, 5, 17] {
            // A · Aᵀ + d · I of numbers drawn by a formula.
            let a = |i: usize, j: usize| ((i * 31 + j * 17 + 7) % 23) as f64 / 23.0 - 0.5;
            let entry = |i: usize, j: usize| {
                (0..d).map(|k| a(i, k) * a(j, k)).sum::<f64>() + if i == j { 0.1 } else { 0.0 }
            };
            let mut factor: Vec<f64> = (0..d).flat_map(|j| (j..d).map(move |i| entry(i, j))).collect();
            cholesky(&mut factor, d).unwrap();
            let inverse = inverse_rows(&factor, d);
            let inverse = |i: usize, j: usize| if j > i { 0.0 } else { inverse[packed_len(i) + j] };
            for (i, j) in (0..d).flat_map(|i| (0..d).map(move |j| (i, j))) {
                // L⁻¹ C L⁻ᵀ = I
                let product: f64 = (0..d)
                    .flat_map(|k| (0..d).map(move |l| (k, l)))
                    .map(|(k, l)| inverse(i, k) * entry(k, l) * inverse(j, l))
                    .sum();
                let want = if i == j { 1.0 } else { 0.0 };
                assert!((product - want).abs() < 1e-9, "{d}: {i}, {j}: {product}");
            }
        }
        assert_eq!(cholesky(&mut [1.0, 2.0, 1.0], 2), Err(-3.0));
    }
}
