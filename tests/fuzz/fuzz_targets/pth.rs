//! A PyTorch checkpoint: every tensor, and the official code's head.

#![no_main]

use std::path::Path;

use candle_core::Device;
use libfuzzer_sys::fuzz_target;
use simplenet_fuzz::file;
use simplenet_model::{official::OfficialCheckpoint, pth};

fuzz_target!(|bytes: &[u8]| {
    let _ = pth::read_tensors(bytes, Path::new("fuzzed.pth"), |_| true);
    if let Ok(checkpoint) = OfficialCheckpoint::read(&file("ckpt.pth", bytes)) {
        let _ = checkpoint.head(&Device::Cpu);
    }
});
