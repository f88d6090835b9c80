//! A small mutation fuzzer that runs inside the test process on stable Rust.
//!
//! In: a target's name, seed inputs, a dictionary of words of its format, and a closure that reads an input and says
//! how it went. Out: a [`Report`]; each failing input is kept in `tests/fuzz/<target>/` and tried first ever after.
//! A failure is a panic, or an input that takes longer than [`SLOW`].
//!
//! There is no coverage instrumentation on stable Rust. In its place the closure's *outcome* (an error's text, a
//! summary of what was read) steers: an input with an outcome not seen before, digits aside, joins the pool.
//!
//! Budget: [`ITERATIONS`] tries, or `SAWMILL_FUZZ_SECONDS` seconds when that variable is set. The random numbers start
//! from a fixed seed, or from `SAWMILL_FUZZ_SEED`, so a run by iterations is repeatable. With a time budget the input being tried is first written
//! to `sawmill-fuzz/<target>` in the system's temporary folder: it survives an abort that no handler can catch (stack,
//! memory).

use crate::layout::repository;
use crate::random::Random;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Once;
use std::time::{Duration, Instant};

/// Tries of a run without a time budget.
pub const ITERATIONS: u64 = 3_000;
/// An input that takes longer than this is a failure: a parser must be about linear.
pub const SLOW: Duration = Duration::from_secs(5);
/// The variable that sets a time budget in seconds.
pub const SECONDS: &str = "SAWMILL_FUZZ_SECONDS";

/// The variable that sets where the random numbers start.
pub const SEED: &str = "SAWMILL_FUZZ_SEED";

const POOL_LIMIT: usize = 4_096;
const INPUT_LIMIT: usize = 1 << 16;
const FAILURE_LIMIT: usize = 8;

/// What to fuzz.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Name of the target, and of its folder below `tests/fuzz/`.
    pub name: &'a str,
    /// Valid inputs to start from; at least one.
    pub seeds: &'a [Vec<u8>],
    /// Words of the format that a mutation may insert.
    pub words: &'a [&'a str],
}

/// One input on which the target failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The panic's message, or how long the input took.
    pub reason: String,
    /// The input, made smaller as far as the failure stayed.
    pub input: Vec<u8>,
    /// Where it was kept.
    pub kept: PathBuf,
}

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Inputs tried, kept failures and seeds included.
    pub tried: u64,
    /// Different outcomes seen.
    pub outcomes: usize,
    /// The failures, at most one for each message.
    pub failures: Vec<Failure>,
}

impl Report {
    /// # Panics
    /// When an input failed; the message names each and its file.
    pub fn assert_clean(&self, target: &str) {
        let list: Vec<String> =
            self.failures.iter().map(|failure| format!("  {}: {}", failure.kept.display(), failure.reason)).collect();
        assert!(list.is_empty(), "fuzzing {target} failed after {} inputs:\n{}", self.tried, list.join("\n"));
    }
}

/// Feeds `read` with kept failures, seeds and mutations of them until the budget is spent.
///
/// # Panics
/// When there is no seed or the folder of kept inputs cannot be used.
pub fn run(target: &Target<'_>, read: impl Fn(&[u8]) -> String) -> Report {
    assert!(!target.seeds.is_empty(), "fuzz target {} has no seed", target.name);
    silence_expected_panics();
    let mut session = Session {
        folder: repository().join("tests/fuzz").join(target.name),
        last: last_input(target.name),
        budget: Budget::from_environment(),
        outcomes: BTreeSet::new(),
        reasons: BTreeSet::new(),
        report: Report::default(),
    };
    let mut pool = Vec::new();
    for input in kept_inputs(&session.folder).iter().chain(target.seeds) {
        session.attempt(input, &read);
        pool.push(input.clone());
    }
    let mut random = Random::new(number(SEED).unwrap_or(0x5eed));
    while session.budget.allows(session.report.tried) && session.report.failures.len() < FAILURE_LIMIT {
        let input = mutate(&pool, target.words, &mut random);
        if session.attempt(&input, &read) && pool.len() < POOL_LIMIT {
            pool.push(input);
        }
    }
    session.finish()
}

/// The whole number that a variable holds, if it is set.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a whole number")))
}

enum Budget {
    Tries(u64),
    Until(Instant),
}

impl Budget {
    fn from_environment() -> Self {
        match number(SECONDS) {
            Some(seconds) => Budget::Until(Instant::now() + Duration::from_secs(seconds)),
            None => Budget::Tries(ITERATIONS),
        }
    }

    fn allows(&self, tried: u64) -> bool {
        match self {
            Budget::Tries(limit) => tried < *limit,
            Budget::Until(end) => Instant::now() < *end,
        }
    }
}

struct Session {
    folder: PathBuf,
    /// Where the input being tried is written.
    last: PathBuf,
    budget: Budget,
    outcomes: BTreeSet<String>,
    reasons: BTreeSet<String>,
    report: Report,
}

impl Session {
    /// Tries one input; true when its outcome is new.
    fn attempt(&mut self, input: &[u8], read: &impl Fn(&[u8]) -> String) -> bool {
        self.report.tried += 1;
        if matches!(self.budget, Budget::Until(_)) {
            fs::write(&self.last, input).expect("the input being tried can be written");
        }
        match outcome(input, read) {
            Ok(outcome) => self.outcomes.insert(without_digits(&outcome)),
            Err(reason) => {
                if self.reasons.insert(without_digits(&reason)) {
                    self.keep(input, reason, read);
                }
                false
            }
        }
    }

    fn keep(&mut self, input: &[u8], reason: String, read: &impl Fn(&[u8]) -> String) {
        let key = without_digits(&reason);
        let input = shrink(input, |smaller| outcome(smaller, read).is_err_and(|other| without_digits(&other) == key));
        let kept = self.folder.join(format!("{:016x}", digest(&input)));
        fs::create_dir_all(&self.folder).expect("the folder of fuzz inputs can be created");
        fs::write(&kept, &input).expect("a failing input can be kept");
        self.report.failures.push(Failure { reason, input, kept });
    }

    fn finish(mut self) -> Report {
        if matches!(self.budget, Budget::Until(_)) {
            // The run ended in order, so nothing aborted on it.
            fs::remove_file(&self.last).expect("the last input can be removed");
        }
        self.report.outcomes = self.outcomes.len();
        self.report
    }
}

fn last_input(target: &str) -> PathBuf {
    let folder = std::env::temp_dir().join("sawmill-fuzz");
    fs::create_dir_all(&folder).expect("the temporary folder can be written");
    folder.join(target)
}

fn kept_inputs(folder: &PathBuf) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a kept input can be listed").path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("a kept input can be read")).collect()
}

fn outcome(input: &[u8], read: &impl Fn(&[u8]) -> String) -> Result<String, String> {
    let begun = Instant::now();
    EXPECTING.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(|| read(input)));
    EXPECTING.set(false);
    let outcome = result.map_err(|payload| {
        let text =
            payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
        format!("panic: {}", text.unwrap_or("(no message)"))
    })?;
    let spent = begun.elapsed();
    if spent > SLOW {
        return Err(format!("slow: {} bytes took {spent:?}", input.len()));
    }
    Ok(outcome)
}

thread_local! {
    static EXPECTING: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics of inputs under trial off the terminal; every other panic prints as before.
fn silence_expected_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !EXPECTING.get() {
                previous(info);
            }
        }));
    });
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|character| !character.is_ascii_digit()).take(160).collect()
}

/// FNV-1a, 64 bits: names files only.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Removes ever smaller pieces while `fails` stays true.
fn shrink(input: &[u8], fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut best = input.to_vec();
    let mut piece = best.len() / 2;
    let end = Instant::now() + SLOW;
    while piece > 0 {
        let mut at = 0;
        while at < best.len() && Instant::now() < end {
            let mut smaller = best.clone();
            smaller.drain(at..(at + piece).min(best.len()));
            if fails(&smaller) {
                best = smaller;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    best
}

fn mutate(pool: &[Vec<u8>], words: &[&str], random: &mut Random) -> Vec<u8> {
    let mut input = random.pick(pool).clone();
    for _ in 0..=random.below(4) {
        mutate_once(&mut input, pool, words, random);
    }
    input.truncate(INPUT_LIMIT);
    input
}

/// Numbers at which headers, counts and offsets go wrong.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

fn mutate_once(input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&str], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = (at + 1 + random.below(16)).min(input.len());
    match random.below(10) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.bits() as u8,
        2 => drop(input.drain(at..end)),
        3 => input.truncate(at),
        4 => {
            let copy = input[at..end].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, copy);
        }
        5 => {
            let width = 1 << random.below(4);
            let number = random.pick(&EDGES).to_le_bytes();
            let upto = (at + width).min(input.len());
            input[at..upto].copy_from_slice(&number[..upto - at]);
        }
        6 => drop(input.splice(at..at, random.pick(&EDGES).to_string().into_bytes())),
        7 => {
            let other = random.pick(pool);
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        8 => {
            let line = |bytes: &[u8], from: usize| bytes[from..].iter().position(|byte| *byte == b'\n');
            if let Some(length) = line(input, at) {
                input.drain(at..=at + length);
            }
        }
        _ if !words.is_empty() => drop(input.splice(at..at, random.pick(words).bytes())),
        _ => input.insert(at, random.bits() as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, run};
    use std::fs;

    /// A parser with a planted defect behind two conditions.
    fn planted(input: &[u8]) -> String {
        let text = String::from_utf8_lossy(input);
        if text.starts_with("len ") && text.contains("4294967295") {
            panic!("attempt to multiply with overflow");
        }
        if text.starts_with("len ") { "ok".into() } else { "expected `len`".into() }
    }

    #[test]
    fn finds_shrinks_and_keeps_a_planted_panic() {
        let seeds = [b"len 12 and more text behind it\n".to_vec()];
        let report = run(&Target { name: "planted", seeds: &seeds, words: &[] }, planted);
        let failure = report.failures.first().expect("the defect is found");
        assert_eq!(failure.input, b"len 4294967295");
        assert!(failure.reason.contains("overflow"));
        assert_eq!(fs::read(&failure.kept).expect("kept"), failure.input);
        fs::remove_dir_all(failure.kept.parent().expect("in a folder")).expect("removable");
    }

    #[test]
    fn a_sound_reader_is_clean() {
        let seeds = [b"abc".to_vec()];
        let report =
            run(&Target { name: "sound", seeds: &seeds, words: &["x"] }, |input| format!("{}", input.len() % 3));
        report.assert_clean("sound");
        assert_eq!(report.tried, super::ITERATIONS);
    }
}
