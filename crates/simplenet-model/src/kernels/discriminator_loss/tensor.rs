//! Loss and gradient of tensors, on either device.

use candle_core::{CpuStorage, DType, Layout, Result, Shape, Tensor, bail};

use super::{DiscriminatorLoss, OUTCOME, reference};
use crate::kernels::tensor_op::{CpuInput, custom_op, decoded};

/// The op's name, in errors too.
const NAME: &str = "discriminator-loss";

/// What a step knows behind the hidden layer; all f32.
#[derive(Debug, Clone)]
pub struct LossAndGradient {
    /// Gradient of the hidden layer, (2n, H).
    pub hidden: Tensor,
    /// Gradients of γ, β and tail, (3, H).
    pub parameters: Tensor,
    /// Running mean and unbiased variance after the step, (2, H).
    pub running: Tensor,
    /// (3): the loss, mean over the discriminators; share of the normal rows whose logit reaches the margin; share of the
    /// anomalous rows whose logit is below minus the margin.
    pub outcome: Tensor,
}

/// `hidden` (2n, H), `parameters` (3, H) and `running` (2, H), all f32, on one device.
///
/// # Errors
/// Other shapes or types; discriminators that do not divide H.
pub fn loss_and_gradient(
    config: DiscriminatorLoss,
    hidden: &Tensor,
    parameters: &Tensor,
    running: &Tensor,
) -> Result<LossAndGradient> {
    let (rows, width) = hidden.dims2()?;
    let out =
        hidden.contiguous()?.apply_op3_no_bwd(&parameters.contiguous()?, &running.contiguous()?, &config)?;
    let part = |start: usize, shape: &[usize]| out.narrow(0, start, shape.iter().product())?.reshape(shape);
    let gradients = rows * width;
    Ok(LossAndGradient {
        hidden: part(0, &[rows, width])?,
        parameters: part(gradients, &[3, width])?,
        running: part(gradients + 3 * width, &[2, width])?,
        outcome: part(gradients + 5 * width, &[OUTCOME])?,
    })
}

impl DiscriminatorLoss {
    /// (rows, H), checked.
    fn sizes(&self, dtypes: [DType; 3], layouts: [&Layout; 3]) -> Result<(usize, usize)> {
        let [hidden, parameters, running] = layouts.map(|layout| layout.dims());
        let fits = |width: usize| {
            parameters == [3, width]
                && running == [2, width]
                && self.discriminators > 0
                && width > 0
                && width.is_multiple_of(self.discriminators)
        };
        match *hidden {
            [rows, width]
                if rows > 0 && rows.is_multiple_of(2) && fits(width) && dtypes == [DType::F32; 3] =>
            {
                Ok((rows, width))
            }
            _ => bail!(
                "discriminator-loss: takes f32 of shapes (2n, H), (3, H) and (2, H), H a multiple of {} discriminators, not \
                 {hidden:?}, {parameters:?} and {running:?} of {dtypes:?}",
                self.discriminators
            ),
        }
    }
}

custom_op!(CustomOp3 for DiscriminatorLoss, NAME, x x_layout, y y_layout, z z_layout);

impl DiscriminatorLoss {
    fn cpu(
        &self,
        [(hidden, hidden_layout), (parameters, parameters_layout), (running, running_layout)]: [CpuInput<'_>;
            3],
    ) -> Result<(CpuStorage, Shape)> {
        let dtypes = [hidden, parameters, running].map(candle_core::backend::BackendStorage::dtype);
        let (_, width) = self.sizes(dtypes, [hidden_layout, parameters_layout, running_layout])?;
        let numbers = reference::loss_and_gradient(
            self,
            width,
            &decoded(hidden, hidden_layout)?,
            &decoded(parameters, parameters_layout)?,
            &decoded(running, running_layout)?,
        );
        let all = [&numbers.hidden[..], &numbers.parameters, &numbers.running, &numbers.outcome].concat();
        let out: Vec<f32> = all.into_iter().map(|v| v as f32).collect();
        let shape = Shape::from(out.len());
        Ok((CpuStorage::F32(out), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda(
        &self,
        [(hidden, hidden_layout), (parameters, parameters_layout), (running, running_layout)]: [crate::kernels::tensor_op::CudaInput<'_>;
            3],
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use super::{
            cuda::{Addresses, MOST_ROWS, launches, scratch},
            len_behind,
        };
        use crate::kernels::cuda;
        use candle_core::backend::BackendStorage;
        let dtypes = [hidden, parameters, running].map(|storage| storage.dtype());
        let (rows, width) = self.sizes(dtypes, [hidden_layout, parameters_layout, running_layout])?;
        let (len, scratch) = (rows * width + len_behind(width), scratch(self, rows, width));
        cuda::check_len(NAME, len.max(scratch.floats))?;
        if rows > MOST_ROWS {
            bail!("discriminator-loss: at most {MOST_ROWS} rows, not {rows}; take smaller batches");
        }
        let (out, to) = cuda::output_like(hidden, DType::F32, len)?;
        // Freed at the end of this function, which is behind the launches on the device's stream.
        let (_floats, floats) = cuda::output_like(hidden, DType::F32, scratch.floats)?;
        let (_doubles, doubles) = cuda::output_like(hidden, DType::F64, scratch.doubles)?;
        let at = Addresses {
            hidden: cuda::address(hidden, hidden_layout)?,
            parameters: cuda::address(parameters, parameters_layout)?,
            running: cuda::address(running, running_layout)?,
            out: to,
            floats,
            doubles,
        };
        // SAFETY: inputs are of the shapes that `sizes` checks, outputs and scratch of the launches' lengths.
        unsafe { cuda::run(hidden.device(), &launches(self, rows, width, &at))? };
        Ok((out, Shape::from(len)))
    }
}
