//! The ways to run a graph. In: a graph. Out: its stages: node by node in candle ([`reference`]); compiled for this CPU ([`cpu`]);
//! over batches of tensors, on a GPU too ([`device`]). The fourth, [`crate::onnx`], writes it down.

pub(crate) mod cpu;
pub(crate) mod device;
pub(crate) mod reference;
mod tensor_ops;
