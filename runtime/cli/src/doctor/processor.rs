//! The processor: its name, its level, its memory.

use std::fs;

/// The name, where the system tells it.
pub(super) fn name() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}

/// The bytes of memory, where the system tells them.
pub(super) fn memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The highest level of the x86-64 ABI that the processor has, and what it has beyond that kernels can use.
#[cfg(target_arch = "x86_64")]
pub(super) fn level() -> String {
    macro_rules! all {
        ($($feature:tt)*) => { [$(std::is_x86_feature_detected!($feature)),*].into_iter().all(|has| has) };
    }
    let level = if !all!("sse4.2" "popcnt" "ssse3") {
        "x86-64"
    } else if !all!("avx2" "bmi1" "bmi2" "fma" "f16c" "lzcnt") {
        "x86-64-v2"
    } else if !all!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl") {
        "x86-64-v3"
    } else {
        "x86-64-v4"
    };
    let beyond = [
        ("avx512bf16", all!("avx512bf16")),
        ("avx512vnni", all!("avx512vnni")),
        ("avxvnni", all!("avxvnni")),
        ("avx512fp16", all!("avx512fp16")),
    ];
    let names: Vec<&str> = beyond.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
    if names.is_empty() { level.to_owned() } else { format!("{level} with {}", names.join(", ")) }
}

/// The architecture: its levels are not told apart.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn level() -> String {
    std::env::consts::ARCH.to_owned()
}
