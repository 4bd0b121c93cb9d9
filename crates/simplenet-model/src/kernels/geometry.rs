//! Where the outputs of a sliding window lie on its input. In: sides, kernel, stride and zero padding. Out: the output's sides.

/// What a kernel of a convolution or a pooling has to know beside the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Input height and width.
    pub input: [usize; 2],
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step in both directions.
    pub stride: usize,
    /// Zero rows above and below.
    pub vertical: (usize, usize),
    /// Zero columns to the left and right.
    pub horizontal: (usize, usize),
}

impl Geometry {
    /// TensorFlow's "same" padding: the output's sides are the input's over the stride, rounded up.
    pub(crate) fn same(height: usize, width: usize, kernel: usize, stride: usize) -> Self {
        Self {
            input: [height, width],
            kernel,
            stride,
            vertical: same_padding(height, kernel, stride),
            horizontal: same_padding(width, kernel, stride),
        }
    }

    /// Output height and width; 0 where the kernel does not fit.
    pub(crate) fn output(&self) -> [usize; 2] {
        let side = |length: usize, (before, after): (usize, usize)| {
            let padded = length.saturating_add(before).saturating_add(after);
            padded.checked_sub(self.kernel).map_or(0, |room| room / self.stride + 1)
        };
        [side(self.input[0], self.vertical), side(self.input[1], self.horizontal)]
    }
}

/// Zeros before and after a side of `length` in TensorFlow's "same" scheme: the odd one comes after.
pub(crate) fn same_padding(length: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let total = (length.div_ceil(stride).saturating_sub(1) * stride + kernel).saturating_sub(length);
    (total / 2, total - total / 2)
}
