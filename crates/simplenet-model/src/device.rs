//! Which device a network computes on. In: a choice, as a person types it. Out: candle's device, opened, with a name for
//! people; or an error that says what to do.

#[cfg(any(test, feature = "cuda"))]
mod failure;

use std::{fmt, str::FromStr};

use candle_core::Device;

use crate::error::ModelError;

#[cfg(feature = "cuda")]
use failure::{Doing, explain, failure_of};

/// The CPU's name, as `Opened::name` and results give it.
pub const CPU: &str = "CPU";

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The CPU: `cpu`.
    Cpu,
    /// A GPU of NVIDIA's, by its number: `cuda` is `cuda:0`.
    Cuda(usize),
    /// `cuda:0` where it can be used, else the CPU: `auto`.
    Auto,
}

impl Default for DeviceChoice {
    /// `cpu` in a build without CUDA, `auto` in one with it.
    fn default() -> Self {
        if cfg!(feature = "cuda") { Self::Auto } else { Self::Cpu }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    /// # Errors
    /// Another text than `cpu`, `cuda`, `cuda:N` and `auto`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "auto" => Ok(Self::Auto),
            _ => match text.strip_prefix("cuda:") {
                Some(number) => match number.parse::<u16>() {
                    // `+1` is a number for Rust.
                    Ok(n) if number.bytes().all(|digit| digit.is_ascii_digit()) => Ok(Self::Cuda(n.into())),
                    _ => Err(format!(
                        "`{number}` is not the number of a GPU: cuda:0 is the first, cuda:1 the second"
                    )),
                },
                None => Err(format!(
                    "`{text}` is not a device: take cpu, cuda (the first GPU), cuda:N (GPU number N, from 0) or auto"
                )),
            },
        }
    }
}

/// A device that can be used.
#[derive(Debug, Clone)]
pub struct Opened {
    /// candle's.
    pub device: Device,
    /// For people and results: `CPU`, or the GPU's name and number as in `NVIDIA H100 80GB HBM3 (cuda:0)`.
    pub name: String,
    /// Why [`DeviceChoice::Auto`] has come to the CPU; one sentence.
    pub note: Option<String>,
}

impl Opened {
    /// The CPU.
    pub fn cpu() -> Self {
        Self { device: Device::Cpu, name: CPU.into(), note: None }
    }
}

/// Opens the device that was chosen. On a GPU, all threads share one stream of work.
///
/// # Errors
/// `ModelError::Device` or `ModelError::OutOfMemory` for a GPU that cannot be used; never for [`DeviceChoice::Cpu`] and
/// [`DeviceChoice::Auto`].
pub fn open(choice: DeviceChoice) -> Result<Opened, ModelError> {
    match choice {
        DeviceChoice::Cpu => Ok(Opened::cpu()),
        DeviceChoice::Cuda(number) => open_cuda(number),
        DeviceChoice::Auto => Ok(open_cuda(0).unwrap_or_else(|error| Opened {
            note: Some(format!("auto: computing on the CPU, not on a GPU: {error}")),
            ..Opened::cpu()
        })),
    }
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(number: usize) -> Result<Opened, ModelError> {
    Err(ModelError::Device {
        device: DeviceChoice::Cuda(number).to_string(),
        reason:
            "this program was built without CUDA; build it with `--features cuda`, or take `--device cpu`"
                .into(),
    })
}

#[cfg(feature = "cuda")]
fn open_cuda(number: usize) -> Result<Opened, ModelError> {
    use candle_core::cuda_backend::cudarc::driver::CudaContext;
    let count = || CudaContext::device_count().ok().and_then(|count| usize::try_from(count).ok());
    let device = crate::kernels::cuda::open(number).map_err(|error| match failure_of(&error) {
        Some(failure) => explain(&failure, Doing::Opening { number, there_are: count() }),
        None => ModelError::Candle(error),
    })?;
    let gpu = match &device {
        Device::Cuda(cuda) => cuda.cuda_stream().context().name().ok(),
        _ => None,
    };
    let name = format!("{} ({})", gpu.as_deref().unwrap_or("GPU"), DeviceChoice::Cuda(number));
    Ok(Opened { device, name, note: None })
}

/// What a GPU refuses becomes a sentence with the next step; all else stays candle's.
impl From<candle_core::Error> for ModelError {
    fn from(error: candle_core::Error) -> Self {
        #[cfg(feature = "cuda")]
        if let Some(failure) = failure_of(&error) {
            return explain(&failure, Doing::Computing);
        }
        Self::Candle(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_and_written() {
        for (text, choice) in [
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda(0)),
            ("cuda:0", DeviceChoice::Cuda(0)),
            ("cuda:12", DeviceChoice::Cuda(12)),
            ("auto", DeviceChoice::Auto),
        ] {
            assert_eq!(text.parse(), Ok(choice), "{text}");
            assert_eq!(choice.to_string().parse(), Ok(choice), "{choice}");
        }
        for (wrong, word) in [
            ("", "cuda:N"),
            ("gpu", "`gpu` is not a device"),
            ("CPU", "take cpu"),
            ("cuda0", "cuda:N"),
            ("cuda:", "not the number of a GPU"),
            ("cuda:-1", "`-1`"),
            ("cuda:+1", "`+1`"),
            ("cuda:1.5", "cuda:0 is the first"),
            ("cuda:99999999999", "not the number of a GPU"),
            ("auto:1", "auto"),
        ] {
            let message = wrong.parse::<DeviceChoice>().unwrap_err();
            assert!(message.contains(word), "{wrong}: {message}");
        }
    }

    #[test]
    fn the_processor_can_always_be_opened() {
        let cpu = open(DeviceChoice::Cpu).unwrap();
        assert!(cpu.device.is_cpu() && cpu.name == "CPU" && cpu.note.is_none());
        // With or without a GPU: it comes to something, and says why where it is the CPU.
        let auto = open(DeviceChoice::Auto).unwrap();
        assert_eq!(auto.device.is_cpu(), auto.note.is_some(), "{auto:?}");
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_build_without_cuda_says_so() {
        assert_eq!(DeviceChoice::default(), DeviceChoice::Cpu);
        let message = open(DeviceChoice::Cuda(1)).unwrap_err().to_string();
        for words in ["cuda:1", "built without CUDA", "--features cuda", "--device cpu"] {
            assert!(message.contains(words), "no `{words}` in: {message}");
        }
        let note = open(DeviceChoice::Auto).unwrap().note.unwrap();
        assert!(
            note.starts_with("auto: computing on the CPU") && note.contains("built without CUDA"),
            "{note}"
        );
    }

    #[test]
    #[cfg(feature = "cuda")]
    fn a_gpu_that_is_not_there_is_one_sentence() {
        assert_eq!(DeviceChoice::default(), DeviceChoice::Auto);
        let error = open(DeviceChoice::Cuda(4096)).unwrap_err();
        assert!(matches!(error, ModelError::Device { .. }), "{error:?}");
        assert!(error.to_string().starts_with("cuda:4096: "), "{error}");
    }
}
