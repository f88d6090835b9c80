//! Where sawmill keeps what it obtains and measures, and what it has measured of this machine.
//!
//! In: the environment. Out: directories, and figures that `bench` stored.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What `bench` measures once of a machine.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct MachineFigures {
    /// Bytes per second of a streaming read with all cores.
    pub streaming_read: f64,
    /// Floating-point operations per second of f32 multiply-adds by the engine that was measured last, with all cores.
    pub multiply_adds: f64,
}

/// sawmill's directory in the user's cache: `$XDG_CACHE_HOME/sawmill`, or `~/.cache/sawmill`. A relative
/// `XDG_CACHE_HOME` is ignored, as its specification asks.
pub fn cache_directory() -> Option<PathBuf> {
    let stated = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base =
        stated.or_else(|| std::env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".cache")));
    base.map(|base| base.join("sawmill"))
}

/// The environment variable that names the directory of compiled kernels.
pub const KERNELS_VARIABLE: &str = "SAWMILL_CACHE_DIR";

/// The directory of compiled kernels: `$SAWMILL_CACHE_DIR`, where empty means none, or one in [`cache_directory`].
pub fn kernels_directory() -> Option<PathBuf> {
    match std::env::var_os(KERNELS_VARIABLE) {
        Some(stated) => Some(PathBuf::from(stated)).filter(|path| !path.as_os_str().is_empty()),
        None => cache_directory().map(|directory| directory.join("kernels")),
    }
}

/// The file that holds [`MachineFigures`].
pub fn figures_path() -> Option<PathBuf> {
    cache_directory().map(|directory| directory.join("machine.json"))
}

/// The figures that `bench` has stored, if any.
pub fn stored_figures() -> Option<MachineFigures> {
    let text = std::fs::read(figures_path()?).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The machine's streaming read in bytes per second, where `bench` has stored it.
pub fn stored_bandwidth() -> Option<f64> {
    stored_figures().map(|figures| figures.streaming_read).filter(|figure| figure.is_finite() && *figure > 0.0)
}
