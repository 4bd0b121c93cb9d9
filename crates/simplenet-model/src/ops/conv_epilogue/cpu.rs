//! The fast implementation: plane by plane, shared among the threads of rayon's pool. Plain loops: memory is what limits
//! them.

use rayon::prelude::*;

use crate::ops::dense::Clamp;

/// Fewest numbers a task takes: about ten microseconds of work.
const MIN_NUMBERS: usize = 1 << 15;

/// As the reference, in place. `bias` holds at least one number.
pub(crate) fn conv_epilogue(
    plane: usize,
    bias: &[f32],
    residual: Option<&[f32]>,
    clamp: Clamp,
    x: &mut [f32],
) {
    let clamped = |v: f32| {
        let v = if v < clamp.low { clamp.low } else { v };
        if v > clamp.high { clamp.high } else { v }
    };
    let planes = x.par_chunks_exact_mut(plane).with_min_len(MIN_NUMBERS.div_ceil(plane));
    match residual {
        None => planes.enumerate().for_each(|(i, x)| {
            let bias = bias[i % bias.len()];
            x.iter_mut().for_each(|x| *x = clamped(*x + bias));
        }),
        Some(residual) => {
            planes.zip(residual.par_chunks_exact(plane)).enumerate().for_each(|(i, (x, residual))| {
                let bias = bias[i % bias.len()];
                x.iter_mut().zip(residual).for_each(|(x, r)| *x = clamped(*x + bias + r));
            });
        }
    }
}
