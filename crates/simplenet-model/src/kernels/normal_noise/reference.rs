//! The formula as it stands, in f64: what the single-precision version is compared with.

/// Two standard normal draws of two words (Box and Muller).
pub(crate) fn normal_pair(a: u32, b: u32) -> [f64; 2] {
    let u = uniform(a);
    let radius = (-2.0 * u.ln()).sqrt();
    cos_sin_of_turn(b).map(|v| radius * v)
}

/// Cosine and sine of b / 2³² of a turn. Whole quarters are taken off first, exactly: 2π is not a number of f64, and near the
/// functions' zeros that would show.
pub(crate) fn cos_sin_of_turn(b: u32) -> [f64; 2] {
    let rest = std::f64::consts::TAU * f64::from((b << 2) as i32) / 4.0 / 4_294_967_296.0;
    let quarter = (b >> 30) + u32::from((b << 2) as i32 <= -1);
    match quarter % 4 {
        0 => [rest.cos(), rest.sin()],
        1 => [-rest.sin(), rest.cos()],
        2 => [-rest.cos(), -rest.sin()],
        _ => [rest.sin(), -rest.cos()],
    }
}

/// The number in (0, 1] that a word stands for: half of it, rounded to f32 as the formula's only rounding, so that the ends
/// are ln 2⁻³² and ln 1.
pub(crate) fn uniform(word: u32) -> f64 {
    f64::from((word >> 1) as f32 + 0.5) / 2_147_483_648.0
}
