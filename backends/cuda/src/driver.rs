//! Whether there is a driver, which one, and how many GPUs it has.
//!
//! In: nothing. Out: [`Driver`], or [`Missing`] with the way to get what is missing. The library is opened and left open; asking
//! again is cheap. The version of the PTX that a driver takes follows from its CUDA version (PTX ISA, release notes).

use std::fmt;
use std::sync::Mutex;

use cudarc::driver::{result, sys};

use crate::error::text;

/// A version, major and minor.
type Version = (u32, u32);

/// A driver that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driver {
    /// The newest CUDA that it serves.
    pub cuda: Version,
    /// GPUs that it shows to this process; at least one.
    pub gpus: usize,
}

/// What is missing on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No library of a driver.
    Driver,
    /// A library that does not start.
    Broken(String),
    /// A driver without a GPU.
    Gpu,
    /// No GPU of this number.
    Ordinal {
        /// What was asked for.
        asked: usize,
        /// How many there are.
        gpus: usize,
    },
    /// A GPU older than what kernels are written for.
    TooSmall {
        /// Its name.
        name: String,
        /// Its compute capability.
        capability: Version,
    },
    /// A driver older than the PTX that a program holds.
    TooOld {
        /// The newest CUDA that the driver serves.
        cuda: Version,
        /// The PTX version of the program.
        ptx: Version,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver => write!(
                f,
                "there is no NVIDIA driver on this machine (libcuda.so.1 was not found): install the driver of the GPU, or mount \
                 its libraries into the container"
            ),
            Self::Broken(what) => write!(
                f,
                "the NVIDIA driver does not start ({what}): check it with `nvidia-smi`; after an update the machine may have to be \
                 started again"
            ),
            Self::Gpu => write!(
                f,
                "the NVIDIA driver shows no GPU to this process: check `nvidia-smi` and the variable CUDA_VISIBLE_DEVICES"
            ),
            Self::Ordinal { asked, gpus } => {
                write!(f, "there is no GPU {asked}: this process sees {gpus}, counted from 0")
            }
            Self::TooSmall { name, capability } => write!(
                f,
                "{name} has compute capability {}.{}; kernels need 8.0 (Ampere) or later",
                capability.0, capability.1
            ),
            Self::TooOld { cuda, ptx } => write!(
                f,
                "the NVIDIA driver serves CUDA {}.{}, which takes PTX up to {}; the kernels are PTX {}.{}: update the driver",
                cuda.0,
                cuda.1,
                newest_ptx(*cuda).map_or("an unknown version".to_owned(), |(major, minor)| format!("{major}.{minor}")),
                ptx.0,
                ptx.1
            ),
        }
    }
}

impl std::error::Error for Missing {}

/// Looks for a driver and its GPUs.
///
/// # Errors
/// What is missing.
pub fn probe() -> Result<Driver, Missing> {
    // The library's loader must not run twice at once: it opens the library and fills its table of functions.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // SAFETY: opens the system's own library of the driver by its name; its initialisers are the driver's.
    if !unsafe { sys::is_culib_present() } {
        return Err(Missing::Driver);
    }
    match result::init() {
        Ok(()) => {}
        Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => return Err(Missing::Gpu),
        Err(error) => return Err(Missing::Broken(text(error))),
    }
    let mut version = 0;
    // SAFETY: writes one integer to a live one.
    let answer = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    answer.result().map_err(|error| Missing::Broken(text(error)))?;
    let gpus = result::device::get_count().map_err(|error| Missing::Broken(text(error)))?;
    match usize::try_from(gpus) {
        Ok(gpus) if gpus > 0 => Ok(Driver { cuda: cuda_version(version), gpus }),
        _ => Err(Missing::Gpu),
    }
}

/// A thousand times the major version plus ten times the minor one, as the driver writes it.
fn cuda_version(number: i32) -> Version {
    let number = number.unsigned_abs();
    (number / 1000, number % 1000 / 10)
}

/// The newest PTX that a driver for `cuda` takes; `None` for versions before CUDA 11, which nothing here is written for.
pub fn newest_ptx(cuda: Version) -> Option<Version> {
    match cuda {
        (11, minor) => Some((7, minor)),
        // CUDA 12.6 brought no new PTX; the numbers run one behind from there on.
        (12, minor) => Some((8, if minor < 6 { minor } else { minor - 1 })),
        (major, minor) if major >= 13 => Some((major - 4, minor)),
        _ => None,
    }
}

impl Driver {
    /// Whether the driver takes text of PTX version `ptx`.
    ///
    /// # Errors
    /// It is older.
    pub fn takes(&self, ptx: Version) -> Result<(), Missing> {
        match newest_ptx(self.cuda) {
            Some(newest) if newest >= ptx => Ok(()),
            _ => Err(Missing::TooOld { cuda: self.cuda, ptx }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Driver, Missing, cuda_version, newest_ptx};

    /// The release notes of the PTX ISA: which version came with which CUDA.
    #[test]
    fn versions_of_ptx_follow_the_release_notes() {
        let notes = [(11, 4, 7, 4), (11, 8, 7, 8), (12, 0, 8, 0), (12, 5, 8, 5), (12, 6, 8, 5), (12, 7, 8, 6)];
        let later = [(12, 8, 8, 7), (12, 9, 8, 8), (13, 0, 9, 0), (13, 1, 9, 1)];
        for (major, minor, ptx_major, ptx_minor) in notes.into_iter().chain(later) {
            assert_eq!(newest_ptx((major, minor)), Some((ptx_major, ptx_minor)), "CUDA {major}.{minor}");
        }
        assert_eq!(newest_ptx((10, 2)), None);
    }

    #[test]
    fn drivers_write_their_version_as_one_number() {
        assert_eq!(cuda_version(13_000), (13, 0));
        assert_eq!(cuda_version(12_080), (12, 8));
        assert_eq!(cuda_version(11_040), (11, 4));
    }

    #[test]
    fn an_old_driver_is_told_which_ptx_it_lacks() {
        let driver = Driver { cuda: (11, 4), gpus: 1 };
        assert_eq!(driver.takes((7, 4)), Ok(()));
        let missing = driver.takes((7, 8)).unwrap_err();
        assert_eq!(missing, Missing::TooOld { cuda: (11, 4), ptx: (7, 8) });
        let text = missing.to_string();
        assert!(text.contains("PTX up to 7.4") && text.contains("PTX 7.8") && text.contains("update"), "{text}");
    }
}
