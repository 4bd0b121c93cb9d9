//! The formula as it stands; on the CPU it is the fast version too, as the compiler makes vectors of it.

use super::AdamStep;

/// One step on slices of equal length; longer ones are updated as far as the shortest reaches.
pub fn update(
    step: &AdamStep,
    values: &mut [f32],
    gradients: &[f32],
    first_moments: &mut [f32],
    second_moments: &mut [f32],
) {
    let AdamStep { rate, root, coupled, keep, betas: [b1, b2], rests: [a1, a2], eps } = *step;
    for (((w, &g), m), v) in values.iter_mut().zip(gradients).zip(first_moments).zip(second_moments) {
        let g = g + coupled * *w;
        *m = b1 * *m + a1 * g;
        *v = b2 * *v + a2 * g * g;
        *w = keep * *w - rate * *m / (v.sqrt() * root + eps);
    }
}
