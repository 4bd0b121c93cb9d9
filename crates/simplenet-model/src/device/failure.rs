//! What CUDA's refusals mean. In: the number that the driver or a library gave, and what was being done. Out: a sentence
//! with the next step.

use super::DeviceChoice;
use crate::error::ModelError;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Which of CUDA's libraries gave the number.
    pub(crate) library: Library,
    /// Its number.
    pub(crate) code: u32,
    /// Its name and text, as the library gives them.
    pub(crate) words: String,
}

/// CUDA's libraries; each counts its refusals for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    /// CUresult.
    Driver,
    /// cublasStatus_t.
    Cublas,
    /// curandStatus_t.
    Curand,
}

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// A GPU was opened, of as many as the machine has, where that is known.
    Opening {
        /// Its number.
        number: usize,
        /// How many there are.
        there_are: Option<usize>,
    },
    /// A GPU was at work.
    Computing,
}

/// What the numbers say, as far as it makes a difference to what a person does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    NoGpu,
    NoSuchGpu,
    OldDriver,
    NoMachineCode,
    InUse,
    OutOfMemory,
    Other,
}

/// The numbers are those of cuda.h, cublas_api.h and curand.h (CUDA 13.0).
fn meaning(library: Library, code: u32) -> Meaning {
    match (library, code) {
        // OUT_OF_MEMORY; ALLOC_FAILED; ALLOCATION_FAILED.
        (Library::Driver, 2) | (Library::Cublas, 3) | (Library::Curand, 102) => Meaning::OutOfMemory,
        // NOT_INITIALIZED and STUB_LIBRARY: the driver's library is not there; NO_DEVICE.
        (Library::Driver, 3 | 34 | 100) => Meaning::NoGpu,
        // INVALID_DEVICE.
        (Library::Driver, 101) => Meaning::NoSuchGpu,
        // 35 is the runtime's INSUFFICIENT_DRIVER; CALL_REQUIRES_NEWER_DRIVER, UNSUPPORTED_PTX_VERSION,
        // SYSTEM_DRIVER_MISMATCH, COMPAT_NOT_SUPPORTED_ON_DEVICE.
        (Library::Driver, 35 | 36 | 222 | 803 | 804) => Meaning::OldDriver,
        // NO_BINARY_FOR_GPU.
        (Library::Driver, 209) => Meaning::NoMachineCode,
        // DEVICE_UNAVAILABLE.
        (Library::Driver, 46) => Meaning::InUse,
        _ => Meaning::Other,
    }
}

/// One sentence about a refusal, with the next step.
pub(crate) fn explain(failure: &Failure, doing: Doing) -> ModelError {
    let device = match doing {
        Doing::Opening { number, .. } => DeviceChoice::Cuda(number).to_string(),
        Doing::Computing => "the GPU".into(),
    };
    let said = &failure.words;
    let reason = match (meaning(failure.library, failure.code), doing) {
        (Meaning::OutOfMemory, _) => return ModelError::OutOfMemory { device, said: said.clone() },
        (Meaning::NoSuchGpu, Doing::Opening { there_are: Some(count @ 1..), .. }) => {
            let known = match count {
                1 => "one GPU, cuda:0".to_string(),
                _ => format!("{count} GPUs, cuda:0 to cuda:{}", count - 1),
            };
            format!("there is no such GPU, this machine has {known}; take one of these ({said})")
        }
        (Meaning::NoSuchGpu, _) => {
            format!("there is no such GPU; `nvidia-smi` lists those that there are, from 0 ({said})")
        }
        (Meaning::NoGpu, _) => format!(
            "no GPU or no driver of NVIDIA's is found; `nvidia-smi` says what the driver sees, and a container must be \
             given its GPUs (`--gpus all`); or take `--device cpu` ({said})"
        ),
        (Meaning::OldDriver, _) => format!(
            "NVIDIA's driver is older than this program needs, or of another version than its own libraries; update it, \
             restart the machine after an update, or take `--device cpu` ({said})"
        ),
        (Meaning::NoMachineCode, _) => format!(
            "this program has no machine code for this GPU, it needs one of compute capability 8.0 or later; take \
             another GPU or `--device cpu` ({said})"
        ),
        (Meaning::InUse, _) => format!(
            "another program has this GPU for itself; wait for it, take another GPU or `--device cpu` ({said})"
        ),
        (Meaning::Other, _) => {
            format!("CUDA failed ({said}); try again, or take `--device cpu`, and report it if it stays")
        }
    };
    ModelError::Device { device, reason }
}

/// The refusal in candle's error, however it is wrapped; none if it is not CUDA's.
#[cfg(feature = "cuda")]
pub(crate) fn failure_of(error: &candle_core::Error) -> Option<Failure> {
    use candle_core::{Error, cuda_backend::CudaError};
    match error {
        Error::Cuda(inner) => inner.downcast_ref::<CudaError>().and_then(of_cuda),
        Error::WrappedContext { wrapped, .. } => match wrapped.downcast_ref::<CudaError>() {
            Some(inner) => of_cuda(inner),
            None => wrapped.downcast_ref::<Error>().and_then(failure_of),
        },
        Error::Context { inner, .. } | Error::WithPath { inner, .. } | Error::WithBacktrace { inner, .. } => {
            failure_of(inner)
        }
        _ => None,
    }
}

#[cfg(feature = "cuda")]
fn of_cuda(error: &candle_core::cuda_backend::CudaError) -> Option<Failure> {
    use candle_core::cuda_backend::{CudaError, cudarc::driver::DriverError};
    let of_driver = |error: &DriverError, place: &str| {
        let text = |found: Result<&std::ffi::CStr, DriverError>| {
            found.map_or(String::new(), |text| text.to_string_lossy().into_owned())
        };
        let (name, words) = (text(error.error_name()), text(error.error_string()));
        let code = error.0 as u32;
        let words = if name.is_empty() {
            // The driver does not know its own number, or there is no driver to ask.
            format!("{:?}{place}", error.0)
        } else {
            format!("{name}{place}: {words}")
        };
        Failure { library: Library::Driver, code, words }
    };
    match error {
        CudaError::Cuda(error) => Some(of_driver(error, "")),
        CudaError::Load { cuda, module_name } => {
            Some(of_driver(cuda, &format!(" when loading {module_name}")))
        }
        CudaError::Cublas(error) => {
            Some(Failure { library: Library::Cublas, code: error.0 as u32, words: format!("{:?}", error.0) })
        }
        CudaError::Curand(error) => {
            Some(Failure { library: Library::Curand, code: error.0 as u32, words: format!("{:?}", error.0) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(library: Library, code: u32, doing: Doing) -> ModelError {
        explain(&Failure { library, code, words: "NAME: text".into() }, doing)
    }

    #[test]
    fn every_refusal_names_the_device_and_the_next_step() {
        let opening = |there_are| Doing::Opening { number: 3, there_are };
        for (code, doing, words) in [
            (100, opening(None), &["cuda:3: no GPU", "nvidia-smi", "--gpus all", "--device cpu"][..]),
            (34, opening(Some(0)), &["no driver", "--device cpu"]),
            (101, opening(Some(2)), &["cuda:3: there is no such GPU", "2 GPUs, cuda:0 to cuda:1"]),
            (101, opening(Some(1)), &["one GPU, cuda:0"]),
            (101, opening(None), &["nvidia-smi"]),
            (101, opening(Some(0)), &["nvidia-smi"]),
            (222, Doing::Computing, &["the GPU: NVIDIA's driver is older", "update it"]),
            (803, opening(Some(1)), &["update it", "restart"]),
            (36, opening(Some(1)), &["driver is older"]),
            (209, Doing::Computing, &["no machine code", "8.0", "--device cpu"]),
            (46, opening(Some(1)), &["another program"]),
            (700, Doing::Computing, &["CUDA failed", "report it", "--device cpu"]),
        ] {
            let error = said(Library::Driver, code, doing);
            let message = error.to_string();
            for words in words.iter().chain(&["NAME: text"]) {
                assert!(message.contains(words), "{code}: no `{words}` in: {message}");
            }
            assert!(!error.is_out_of_memory() && !message.contains('\n'), "{code}: {message}");
        }
    }

    #[test]
    fn full_memory_is_told_from_all_else_whichever_library_says_so() {
        for (library, code, full) in [
            (Library::Driver, 2, true),
            (Library::Cublas, 3, true),
            (Library::Curand, 102, true),
            (Library::Driver, 3, false),
            (Library::Driver, 102, false),
            (Library::Cublas, 2, false),
            (Library::Curand, 2, false),
        ] {
            let error = said(library, code, Doing::Computing);
            assert_eq!(error.is_out_of_memory(), full, "{library:?} {code}");
            if full {
                let message = error.to_string();
                for words in
                    ["the GPU", "out of memory", "fewer images at once", "--device cpu", "NAME: text"]
                {
                    assert!(message.contains(words), "no `{words}` in: {message}");
                }
            }
        }
    }

    #[test]
    #[cfg(feature = "cuda")]
    fn a_refusal_is_found_however_it_is_wrapped() {
        use candle_core::{
            Error,
            cuda_backend::{
                CudaError,
                cudarc::{
                    cublas::{result::CublasError, sys::cublasStatus_t},
                    driver::{DriverError, sys::CUresult},
                },
            },
        };
        let full = || CudaError::Cuda(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY));
        let plain = || Error::Cuda(Box::new(full()));
        let traced = |inner: Error| Error::WithBacktrace {
            inner: Box::new(inner),
            backtrace: Box::new(std::backtrace::Backtrace::force_capture()),
        };
        let cublas = CudaError::Cublas(CublasError(cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED));
        let wrapped = Error::WrappedContext { wrapped: Box::new(full()), context: "while packing".into() };
        for error in [
            plain(),
            traced(plain()),
            traced(plain().context("a layer").with_path("a file")),
            wrapped,
            Error::Cuda(Box::new(cublas)),
        ] {
            assert!(ModelError::from(error).is_out_of_memory());
        }
        let none = CudaError::Load {
            cuda: DriverError(CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU),
            module_name: "conv".into(),
        };
        let message = ModelError::from(Error::Cuda(Box::new(none))).to_string();
        assert!(message.contains("no machine code") && message.contains("conv"), "{message}");
        assert!(matches!(ModelError::from(Error::Msg("shapes".into())), ModelError::Candle(_)));
    }
}
