//! The ways to run a graph, or to write it down. In: a graph. Out: its values: node by node in candle ([`reference`]); compiled
//! for this CPU ([`cpu`]); over batches of tensors, on a GPU too ([`device`]); an ONNX file ([`onnx`]).

pub(crate) mod cpu;
pub(crate) mod device;
pub mod onnx;
pub(crate) mod reference;
pub(crate) mod tensor_ops;
