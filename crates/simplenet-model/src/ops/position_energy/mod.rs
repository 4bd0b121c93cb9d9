//! TEMPORARY
use crate::position_energy::PositionEnergy;
use candle_core::{Device, Result, Tensor};
#[derive(Debug)]
pub struct PositionEnergyTensor(PositionEnergy);
impl PositionEnergyTensor {
    pub fn new(energy: &PositionEnergy, _d: &Device) -> Result<Self> {
        Ok(Self(energy.clone()))
    }
    pub fn forward(&self, projected: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let dim = self.0.config.dim;
        let mut identity = vec![0.0; dim * dim];
        for i in 0..dim {
            identity[i * dim + i] = 1.0;
        }
        let e = PositionEnergy { projection: identity, ..self.0.clone() };
        let (b, h, w, _) = projected.dims4()?;
        let mut out = scores.flatten_all()?.to_vec1::<f32>()?;
        let p = projected.flatten_all()?.to_vec1::<f32>()?;
        for i in 0..b {
            let en = e.energies(&p[i * h * w * dim..(i + 1) * h * w * dim], h, w).unwrap();
            for (s, en) in out[i * h * w..].iter_mut().zip(en) {
                *s = e.weights.join(*s, en);
            }
        }
        Tensor::from_vec(out, (b, h, w), &Device::Cpu)
    }
}
