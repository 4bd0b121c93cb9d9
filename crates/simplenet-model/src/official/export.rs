//! A network's head as the official code keeps one. In: a `SimpleNet`. Out: the tensors of its `pre_projection` and
//! `discriminator`, or the bytes of a `ckpt.pth` that holds them.
//!
//! The official head has no feature norm: ours is affine and goes into the first linear layer, in f64, rounded once. It has
//! no place for the position-aware half: a network with one is refused.

use candle_core::{DType, Device, Tensor};

use crate::{
    discriminator::{self, DiscriminatorConfig},
    error::ModelError,
    feature_adaptor,
    pth::{StateDictionary, to_bytes},
    simplenet::SimpleNet,
};

/// The head's state dictionaries under the official names, the discriminator first, as the official code writes them.
/// Without adaptor layers there is no `pre_projection`, as after `--pre_proj 0`. Where the norm changes nothing, every tensor is
/// the network's bit for bit.
///
/// # Errors
/// `ModelError::Configuration`: a position-aware half, or constants that the official code does not have.
pub fn state_dictionaries(net: &SimpleNet) -> Result<Vec<(&'static str, StateDictionary)>, ModelError> {
    let refused = |reason: String| Err(ModelError::Configuration { what: "official checkpoint", reason });
    if net.position().is_some() {
        return refused(
            "this model knows what is normal at each place of the picture, and the official code has no such half: its \
             file would give other scores. Train one without, with `--preset paper`, or with `position = \"unaware\"` in a \
             `--config` file"
                .into(),
        );
    }
    let config = net.config().head;
    let official = DiscriminatorConfig::new(config.discriminator.dim, config.discriminator.hidden);
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
    if !same(config.discriminator.leaky_slope, official.leaky_slope)
        || !same(config.discriminator.norm_epsilon, official.norm_epsilon)
    {
        return refused(format!(
            "the discriminator's LeakyReLU has a slope of {} and its batch norm an epsilon of {}; the official code knows {} \
             and {} only",
            config.discriminator.leaky_slope,
            config.discriminator.norm_epsilon,
            official.leaky_slope,
            official.norm_epsilon
        ));
    }
    let mut adaptor = net.head().adaptor.named_tensors();
    let mut discriminator = net.head().discriminator.named_tensors();
    // The first linear layer behind the norm, adaptor or not.
    fold_norm(net, if adaptor.is_empty() { &mut discriminator } else { &mut adaptor })?;
    let mut dictionaries = vec![(discriminator::PREFIX, discriminator)];
    if !adaptor.is_empty() {
        dictionaries.push((feature_adaptor::PREFIX, adaptor));
    }
    Ok(dictionaries)
}

/// The bytes of a `ckpt.pth` with the head of `net`; the same network gives the same bytes.
///
/// # Errors
/// As [`state_dictionaries`].
pub fn checkpoint_bytes(net: &SimpleNet) -> Result<Vec<u8>, ModelError> {
    to_bytes(&state_dictionaries(net)?)
        .map_err(|reason| ModelError::Configuration { what: "official checkpoint", reason })
}

/// W · ((x − m) ∘ s) + b = (W · diag(s)) x + (b − W · (s ∘ m)), of the first weight and bias in `layers`.
fn fold_norm(net: &SimpleNet, layers: &mut StateDictionary) -> Result<(), ModelError> {
    let pairs = net.norm().pairs();
    if pairs.iter().all(|&(mean, scale)| mean == 0.0 && scale == 1.0) {
        return Ok(());
    }
    let position = |end: &str| layers.iter().position(|(name, _)| name.ends_with(end));
    let (Some(weight_at), Some(bias_at)) = (position(".weight"), position(".bias")) else {
        return Err(ModelError::Configuration {
            what: "official checkpoint",
            reason: "the head has no linear layer".into(),
        });
    };
    let values = |tensor: &Tensor| -> Result<Vec<f64>, ModelError> {
        Ok(tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
    };
    let shape = layers[weight_at].1.shape().clone();
    let mut weight = values(&layers[weight_at].1)?;
    let mut bias = values(&layers[bias_at].1)?;
    for (row, bias) in weight.chunks_exact_mut(pairs.len()).zip(&mut bias) {
        for (weight, &(mean, scale)) in row.iter_mut().zip(pairs) {
            *weight *= f64::from(scale);
            *bias -= *weight * f64::from(mean);
        }
    }
    let rounded = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<f32>>();
    layers[weight_at].1 = Tensor::from_vec(rounded(weight), shape, &Device::Cpu)?;
    layers[bias_at].1 = Tensor::from_vec(rounded(bias.clone()), bias.len(), &Device::Cpu)?;
    Ok(())
}
