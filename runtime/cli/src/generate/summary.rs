//! The lines that end a generation: what it took.
//!
//! In: times and counts. Out: text for stderr.
//! Units: seconds, tokens per second, MB of 10^6 bytes.

use std::{fmt, time::Duration};

use nix::sys::resource::{UsageWho, getrusage};

use super::{language_model::Compiled, run::Run};

/// What a generation took.
#[derive(Debug)]
pub struct Summary {
    /// The generation.
    pub run: Run,
    /// Time to open the checkpoint and its vocabulary.
    pub load: Duration,
    /// The kernels.
    pub compiled: Compiled,
    /// Bytes of weights that one decoded token reads.
    pub weight_bytes: u64,
    /// Bytes per second that this machine's memory streams, where `bench` has stored it.
    pub bandwidth: Option<f64>,
    /// Peak resident memory in bytes, where the system tells.
    pub peak_memory: Option<u64>,
}

/// Peak resident memory of this process in bytes.
pub fn peak_memory() -> Option<u64> {
    peak_memory_of(UsageWho::RUSAGE_SELF)
}

/// Peak resident memory in bytes of the largest process that this one started and waited for.
pub fn peak_memory_of_children() -> Option<u64> {
    peak_memory_of(UsageWho::RUSAGE_CHILDREN)
}

fn peak_memory_of(who: UsageWho) -> Option<u64> {
    let peak = u64::try_from(getrusage(who).ok()?.max_rss()).ok()?;
    // Kilobytes everywhere but on Apple's systems, which count bytes.
    Some(if cfg!(target_vendor = "apple") { peak } else { peak * 1024 })
}

/// Things per second, where there was time.
fn rate(count: usize, time: Duration) -> Option<f64> {
    (count > 0 && !time.is_zero()).then(|| count as f64 / time.as_secs_f64())
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, load, compiled, .. } = self;
        let seconds = |time: &Duration| time.as_secs_f64();
        write!(
            f,
            "load {:.2} s, compile {:.2} s, {} kernels",
            seconds(load),
            seconds(&compiled.time),
            compiled.kernels
        )?;
        if let Some(peak) = self.peak_memory {
            write!(f, ", peak memory {:.0} MB", peak as f64 / 1e6)?;
        }
        write!(f, "\nprefill {} tokens", run.prompt)?;
        if let Some(rate) = rate(run.prompt, run.prefill) {
            write!(f, " at {rate:.1} tokens/s")?;
        }
        write!(f, ", generated {} tokens", run.generated)?;
        if let Some(rate) = rate(run.steps, run.decode) {
            write!(f, " at {rate:.1} tokens/s")?;
            if let Some(bandwidth) = self.bandwidth {
                write!(
                    f,
                    " ({:.0}% of the memory-bandwidth limit)",
                    100.0 * rate * self.weight_bytes as f64 / bandwidth
                )?;
            }
        }
        Ok(())
    }
}
