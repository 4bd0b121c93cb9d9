//! What a backbone's layers are handed to, one after another, to become a compiled network. The processor's is
//! [`super::program::Builder`], the one over tensors of a device [`super::batch`]'s; [`crate::onnx`]'s writes them down.

use crate::ops::dense::Clamp;

/// A value between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value(pub(crate) usize);

/// A convolution with batch norm folded in: weight (out, in, k, k), flat.
pub(crate) struct Convolution<'a> {
    pub(crate) weight: &'a [f32],
    pub(crate) bias: &'a [f32],
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) clamp: Clamp,
}

/// What surrounds an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    /// Half the kernel on every side.
    Centred,
    /// TensorFlow's "same": the odd zero comes last.
    Same,
}

/// Takes layers in. What goes wrong while one is made is said in the end, by the builder's own `finish`.
pub(crate) trait NetworkBuilder {
    /// The first convolution, of the image itself: three colours, rows of the kernel read at once.
    fn stem(&mut self, image: [usize; 2], conv: &Convolution<'_>, padding: Padding) -> Value;

    /// A convolution with centred padding; `residual`, of the output's shape, is added before the clamp.
    fn conv(&mut self, input: Value, conv: &Convolution<'_>, residual: Option<Value>) -> Value;

    /// Expansion (if there is one), depthwise convolution with TensorFlow's "same" padding, and projection; the input is
    /// added where `residual`. `filter` is the depthwise layer: weight (channels, k, k), clipped to [0, its upper clamp].
    fn inverted_residual(
        &mut self,
        input: Value,
        expand: Option<&Convolution<'_>>,
        filter: &Convolution<'_>,
        project: &Convolution<'_>,
        residual: bool,
    ) -> Value;

    /// 3×3 maxima with stride 2 of numbers that are not negative.
    fn max_pool(&mut self, input: Value) -> Value;
}
