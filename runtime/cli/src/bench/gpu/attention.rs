//! Attention functions of the zoo in bf16 at long sequences, and decoding of one position.
//!
//! Operations counted: 4 D for each pair of a query and a key that the mask admits, in every head. Of decoding, which reads every key
//! and value once, bytes are counted.

use sawmill::Function;
use sawmill_zoo::attention;

use super::{Noise, Scalar, Subject, first};
use crate::bench::{Bench, rows::Row, timing};
use crate::error::Failure;

/// Positions of the long sequences.
const POSITIONS: usize = 8192;
/// Heads of queries.
const HEADS: usize = 16;
/// Channels of a head.
const CHANNELS: usize = 128;
/// Keys that a window leaves.
const WINDOW: usize = 1024;
/// Keys of a prefix that all queries see.
const PREFIX: usize = 1024;
/// Lengths of documents, in turn until the sequence is full.
const DOCUMENTS: [usize; 5] = [1500, 300, 2200, 96, 4096];
/// Largest score of the bent ones.
const CAP: f64 = 30.0;

/// A mask or score modifier.
struct Case {
    function: &'static Function,
    batch: usize,
    key_heads: usize,
    scalar: Option<(&'static str, Scalar)>,
}

const fn case(
    function: &'static Function,
    batch: usize,
    key_heads: usize,
    scalar: Option<(&'static str, Scalar)>,
) -> Case {
    Case { function, batch, key_heads, scalar }
}

const CASES: [Case; 10] = [
    case(attention::bidirectional::DEF, 1, HEADS, None),
    case(attention::bidirectional::DEF, 2, HEADS, None),
    case(attention::causal::DEF, 1, HEADS, None),
    case(attention::causal::DEF, 2, HEADS, None),
    case(attention::causal::DEF, 1, HEADS / 4, None),
    case(attention::sliding_window::DEF, 1, HEADS, Some(("w", Scalar::Whole(WINDOW as i64)))),
    case(attention::prefix_lm::DEF, 1, HEADS, Some(("p", Scalar::Whole(PREFIX as i64)))),
    case(attention::documents::DEF, 1, HEADS, None),
    case(attention::alibi::DEF, 1, HEADS, None),
    case(attention::softcap::DEF, 1, HEADS, Some(("cap", Scalar::Real(CAP)))),
];

/// Batch and keys of decoding, with 32 heads of queries on 8 of keys.
const DECODES: [(usize, usize); 2] = [(16, 8192), (1, 65_536)];
const DECODE_HEADS: (usize, usize) = (32, 8);

/// Runs the suite.
///
/// # Errors
/// What the engine reports.
pub fn run(bench: &Bench, show: &mut dyn FnMut(Row)) -> Result<(), Failure> {
    let most = DECODES.map(|(batch, keys)| batch * keys * DECODE_HEADS.1 * CHANNELS);
    let noise = Noise::new(most.into_iter().max().unwrap_or(0).max(2 * POSITIONS * HEADS * CHANNELS));
    first::run(bench, &noise, show)?;
    for case in &CASES {
        show(long(bench, &noise, case)?);
    }
    for (batch, keys) in DECODES {
        show(decode(bench, &noise, batch, keys)?);
    }
    Ok(())
}

fn long(bench: &Bench, noise: &Noise, case: &Case) -> Result<Row, Failure> {
    let name = case.function.name;
    let q = [case.batch, POSITIONS, HEADS, CHANNELS];
    let k = [case.batch, POSITIONS, case.key_heads, CHANNELS];
    let mut subject = Subject::new(case.function, &bench.device, noise, &[("q", &q), ("k", &k), ("v", &k)])?;
    if let Some((name, scalar)) = case.scalar {
        subject = subject.scalar(name, scalar);
    }
    if name == attention::documents::DEF.name {
        subject = subject.integers(&bench.device, "doc", &documents(), [1, POSITIONS])?;
    }
    let seconds = timing::on_device(&bench.device, || subject.call(&bench.device))?;
    let pairs = admitted(name) as f64 * (case.batch * HEADS) as f64;
    let rate = 4.0 * CHANNELS as f64 * pairs / seconds;
    let shape = format!("B{} S{POSITIONS} D{CHANNELS} H{HEADS}/{}", case.batch, case.key_heads);
    Ok(bench.row("attention", (name, shape, "bf16"), seconds, (rate / 1e12, "TFLOP/s")))
}

fn decode(bench: &Bench, noise: &Noise, batch: usize, keys: usize) -> Result<Row, Failure> {
    let (heads, key_heads) = DECODE_HEADS;
    let (q, k) = ([batch, 1, heads, CHANNELS], [batch, keys, key_heads, CHANNELS]);
    let subject = Subject::new(attention::causal::DEF, &bench.device, noise, &[("q", &q), ("k", &k), ("v", &k)])?;
    let seconds = timing::on_device(&bench.device, || subject.call(&bench.device))?;
    let bytes = 2 * 2 * k.iter().product::<usize>();
    let shape = format!("B{batch} S{keys} D{CHANNELS} H{heads}/{key_heads}");
    let row = bench.row("attention", ("decode", shape, "bf16"), seconds, (bytes as f64 / seconds / 1e9, "GB/s"));
    Ok(row.limited(bench.copy_rate()?.map(|copy| copy / 1e9)))
}

/// The document of each position.
fn documents() -> Vec<i32> {
    let lengths = (0..).zip(DOCUMENTS.iter().cycle());
    lengths.flat_map(|(document, length)| std::iter::repeat_n(document, *length)).take(POSITIONS).collect()
}

/// Pairs of a query and a key that a function's mask admits.
fn admitted(name: &str) -> u64 {
    let (all, window, prefix) = (POSITIONS as u64, WINDOW as u64, PREFIX as u64);
    let up_to = |keys: u64| keys * (keys + 1) / 2;
    match name {
        "bidirectional" => all * all,
        "sliding_window" => up_to(window) + (all - window) * window,
        "prefix_lm" => up_to(all) + prefix * (prefix - 1) / 2,
        "documents" => documents().chunk_by(|a, b| a == b).map(|document| up_to(document.len() as u64)).sum(),
        _ => up_to(all),
    }
}

#[cfg(test)]
mod tests {
    use super::{POSITIONS, PREFIX, WINDOW, admitted, documents};

    #[test]
    fn admitted_pairs_are_those_of_the_masks() {
        let doc = documents();
        let count = |mask: &dyn Fn(usize, usize) -> bool| -> u64 {
            (0..POSITIONS).map(|i| (0..POSITIONS).filter(|j| mask(i, *j)).count() as u64).sum()
        };
        assert_eq!(admitted("bidirectional"), count(&|_, _| true));
        assert_eq!(admitted("causal"), count(&|i, j| j <= i));
        assert_eq!(admitted("sliding_window"), count(&|i, j| j <= i && i - j < WINDOW));
        assert_eq!(admitted("prefix_lm"), count(&|i, j| j <= i || j < PREFIX));
        assert_eq!(admitted("documents"), count(&|i, j| j <= i && doc[i] == doc[j]));
        assert!(doc.len() == POSITIONS && doc.last() > doc.first());
    }
}
