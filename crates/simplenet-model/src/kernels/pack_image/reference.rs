//! The formula as it stands.

/// One image, whose normalised numbers are `value(y, x, colour)`, -> `out` (padded height, padded width, 4).
pub(crate) fn pack(
    [height, width]: [usize; 2],
    before: [usize; 2],
    padded: [usize; 2],
    value: impl Fn(usize, usize, usize) -> f32,
    out: &mut [f32],
) {
    for y in 0..padded[0] {
        for x in 0..padded[1] {
            for c in 0..super::CHANNELS {
                let (row, column) = (y.wrapping_sub(before[0]), x.wrapping_sub(before[1]));
                let inside = row < height && column < width && c < super::COLOURS;
                out[(y * padded[1] + x) * super::CHANNELS + c] =
                    if inside { value(row, column, c) } else { 0.0 };
            }
        }
    }
}

/// A byte's number as the network takes it: every step in single precision.
pub(crate) fn normalised(byte: f32, mean: f32, std: f32) -> f32 {
    (byte / 255.0 - mean) / std
}
