//! A model file: first as it is, then with the hash that it should have, so that mutations get past the seal and reach the
//! record and the tensors.

#![no_main]

use candle_core::Device;
use libfuzzer_sys::fuzz_target;
use simplenet_fuzz::file;
use simplenet_model::{ModelError, checkpoint};

fuzz_target!(|bytes: &[u8]| {
    let path = file("model.safetensors", bytes);
    let result = checkpoint::inspect(&path);
    if let Err(ModelError::Edited { expected, actual, .. }) = &result
        && expected.len() == actual.len()
        && let Some(at) = bytes.windows(expected.len()).position(|part| part == expected.as_bytes())
    {
        let mut sealed = bytes.to_vec();
        sealed[at..at + actual.len()].copy_from_slice(actual.as_bytes());
        file("model.safetensors", &sealed);
    }
    // What loads was inspected: the checks of one are among those of the other.
    if let Ok((net, record)) = checkpoint::load(&path, &Device::Cpu) {
        assert_eq!(record.network(), net.config());
        checkpoint::inspect(&path).expect("a file that loads");
    }
});
