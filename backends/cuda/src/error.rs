//! What can go wrong on a GPU once there is one.

use std::fmt;

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;

/// Why work on a GPU failed. The GPU stays usable unless the variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpuError {
    /// The GPU's memory does not suffice.
    OutOfMemory {
        /// What was asked for.
        bytes: u64,
    },
    /// The driver refuses PTX text, with what it says about it.
    Refused {
        /// The driver's log.
        log: String,
    },
    /// A kernel cannot be launched this way.
    Launch(String),
    /// A kernel broke a rule while running (an address out of range, a trap). The process must start anew to use this GPU again:
    /// the driver answers every later call with the same error.
    Lost(String),
    /// Anything else the driver says.
    Driver(String),
}

impl GpuError {
    /// What the driver's answer means; `bytes` is what an allocation asked for.
    pub(crate) fn of(error: DriverError, bytes: u64) -> Self {
        match error.0 {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => Self::OutOfMemory { bytes },
            CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_ASSERT
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_LAUNCH_FAILED => Self::Lost(text(error)),
            CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES | CUresult::CUDA_ERROR_INVALID_VALUE => {
                Self::Launch(text(error))
            }
            _ => Self::Driver(text(error)),
        }
    }
}

impl From<DriverError> for GpuError {
    fn from(error: DriverError) -> Self {
        Self::of(error, 0)
    }
}

/// The driver's name of an error and its sentence.
pub(crate) fn text(error: DriverError) -> String {
    let name = error.error_name().map_or_else(|_| format!("{:?}", error.0), |name| name.to_string_lossy().into_owned());
    match error.error_string() {
        Ok(sentence) => format!("{name}: {}", sentence.to_string_lossy()),
        Err(_) => name,
    }
}

impl fmt::Display for GpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory { bytes } => write!(f, "the GPU has no {bytes} bytes left"),
            Self::Refused { log } => write!(f, "the driver refuses generated PTX: {log}"),
            Self::Launch(what) => write!(f, "a kernel cannot be launched: {what}"),
            Self::Lost(what) => write!(f, "a kernel failed on the GPU, which is lost to this process: {what}"),
            Self::Driver(what) => write!(f, "the GPU's driver reports {what}"),
        }
    }
}

impl std::error::Error for GpuError {}
