//! NVIDIA's assembler, the judge of PTX text.
//!
//! In: the text of a module and the target. Out: what each kernel uses, or the assembler's complaints with their lines.
//! The binary comes from PyPI's `nvidia-cuda-nvcc` in the version that `tests/run` pins, needs no GPU, and is looked for in
//! `SAWMILL_PTXAS`, then in the cache that `tests/run` fills. A test without it fails: PTX that nobody assembled is not tested.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The version of `nvidia-cuda-nvcc`, the same as in `tests/run`.
pub const VERSION: &str = "13.0.88";

/// What a kernel takes of the hardware, as `ptxas -v` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of the stack frame of a thread.
    pub stack: u32,
    /// Bytes of registers that were written to memory because they did not fit.
    pub spill_stores: u32,
    /// Bytes of registers read back.
    pub spill_loads: u32,
    /// Bytes of static shared memory.
    pub shared: u32,
}

/// One complaint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// 1-based line of the text.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Where `ptxas` is.
///
/// # Panics
/// With what to do when it is missing.
#[must_use]
pub fn find() -> PathBuf {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| candidates().into_iter().find(|path| path.is_file())).clone().unwrap_or_else(|| {
        panic!(
            "environment: ptxas is missing, which every text of PTX is assembled with. `./tests/run` fetches it from PyPI \
             (nvidia-cuda-nvcc {VERSION}, nvidia/cu13/bin/ptxas in the wheel); or set SAWMILL_PTXAS to one. Looked for: {:?}",
            candidates()
        )
    })
}

fn candidates() -> Vec<PathBuf> {
    if let Some(path) = std::env::var_os("SAWMILL_PTXAS") {
        return vec![path.into()];
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let folder = format!("sawmill/ptxas-{VERSION}/ptxas");
    cache.or(home).into_iter().map(|cache| cache.join(&folder)).collect()
}

/// Assembles `text` for `target` (`sm_80`), and says what each kernel uses.
///
/// # Errors
/// What the assembler complains about.
///
/// # Panics
/// When the assembler cannot be run, or says something else than it always does.
pub fn assemble(text: &str, target: &str) -> Result<BTreeMap<String, Usage>, Vec<Complaint>> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let source = folder.path().join("module.ptx");
    std::fs::write(&source, text).expect("a temporary file can be written");
    let output = Command::new(find())
        .args(["-v", "--gpu-name", target, "-o"])
        .arg(folder.path().join("module.cubin"))
        .arg(&source)
        .output()
        .expect("ptxas runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(usage(&said));
    }
    let complaints: Vec<Complaint> = said.lines().filter_map(complaint).collect();
    assert!(!complaints.is_empty(), "ptxas failed without a line: {said}");
    Err(complaints)
}

/// Assembles `text` for `target` and refuses spills.
///
/// # Panics
/// When the assembler complains, or a kernel keeps registers in memory.
#[must_use]
pub fn accept(text: &str, target: &str) -> BTreeMap<String, Usage> {
    let kernels = assemble(text, target).unwrap_or_else(|complaints| panic!("{}", report(text, target, &complaints)));
    assert!(!kernels.is_empty(), "ptxas found no kernel in\n{text}");
    for (name, usage) in &kernels {
        let kept = usage.spill_stores + usage.spill_loads + usage.stack;
        assert!(kept == 0, "{name} spills on {target}: {usage:?}\n{text}");
    }
    kernels
}

fn report(text: &str, target: &str, complaints: &[Complaint]) -> String {
    let mut report = format!("ptxas refuses the text for {target}:\n");
    for Complaint { line, message } in complaints {
        let source = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim();
        report.push_str(&format!("  line {line}: {message}: {source}\n"));
    }
    report
}

/// `ptxas /tmp/a.ptx, line 7; error   : Arguments mismatch for instruction 'add'`.
fn complaint(line: &str) -> Option<Complaint> {
    let (place, rest) = line.split_once("error").filter(|_| line.starts_with("ptxas "))?;
    let message = rest.trim_start().strip_prefix(':')?.trim_start();
    let number = place.rsplit_once("line ").map_or("0", |(_, rest)| rest);
    let number = number.split(|letter: char| !letter.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
    Some(Complaint { line: number.unwrap_or(0), message: message.to_owned() })
}

/// The number before `unit` in a line.
fn number(line: &str, unit: &str) -> u32 {
    let before = line.split_once(unit).map_or("0", |(before, _)| before.trim_end());
    let digits = before.rsplit(|letter: char| !letter.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn usage(said: &str) -> BTreeMap<String, Usage> {
    let mut kernels = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in said.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            current = rest.split('\'').next().map(str::to_owned);
        }
        let Some(name) = &current else { continue };
        let usage: &mut Usage = kernels.entry(name.clone()).or_default();
        if line.contains("bytes stack frame") {
            usage.stack = number(line, " bytes stack frame");
            usage.spill_stores = number(line, " bytes spill stores");
            usage.spill_loads = number(line, " bytes spill loads");
        }
        if line.contains(" registers") {
            usage.registers = number(line, " registers");
            usage.shared = number(line, " bytes smem");
        }
    }
    kernels
}

#[cfg(test)]
mod tests {
    use super::{Complaint, Usage, complaint, usage};

    #[test]
    fn what_a_kernel_uses_is_read() {
        let said = "ptxas info    : 0 bytes gmem\nptxas info    : Compiling entry function 'k' for 'sm_80'\n\
                    ptxas info    : Function properties for k\n    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\n\
                    ptxas info    : Used 24 registers, used 1 barriers, 1024 bytes smem, 360 bytes cmem[0]\n";
        let expected = Usage { registers: 24, stack: 16, spill_stores: 8, spill_loads: 12, shared: 1024 };
        assert_eq!(usage(said).get("k"), Some(&expected));
    }

    #[test]
    fn a_complaint_has_its_line() {
        let said = "ptxas /t/a.ptx, line 7; error   : Arguments mismatch for instruction 'add'";
        let expected = Complaint { line: 7, message: "Arguments mismatch for instruction 'add'".into() };
        assert_eq!(complaint(said), Some(expected));
        assert_eq!(complaint("ptxas fatal   : Ptx assembly aborted due to errors"), None);
    }
}
