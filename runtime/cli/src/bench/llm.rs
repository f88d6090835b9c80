//! The suite `llm`: a language model from its file to its tokens.
//!
//! In: a checkpoint and a device. Out: rows for compiling, prefill, decoding and memory.
//! Limits: a decoded token reads every weight once, so decoding is bounded by memory bandwidth; prefill does two operations
//! a weight and token, so it is bounded by the multiply-add rate.

use std::path::Path;

use super::{
    Bench,
    rows::Row,
    timing::{median, seconds},
};
use crate::{
    acquire,
    engine::llama::Llama,
    error::Failure,
    generate::{language_model::LanguageModel, summary},
    model,
};

/// Tokens of the prompt before decoding.
const SHORT: usize = 32;
/// Tokens decoded.
const DECODED: usize = 128;
/// Tokens of the prompt whose prefill is measured.
const LONG: usize = 521;
/// Prefills measured.
const PREFILLS: usize = 3;

/// Runs the suite on the model at `path`, or on the default model.
///
/// # Errors
/// What opening the model and running it report.
pub fn run(bench: &Bench, path: Option<&Path>, show: &mut dyn FnMut(Row)) -> Result<(), Failure> {
    let path = match path {
        Some(path) => path.to_owned(),
        None => acquire::default_model()?,
    };
    let file = model::open(&path)?;
    let weights = file.tensors["model.layers.0.mlp.down_proj.weight"].encoding().name();
    let ids: Vec<u32> = (0..LONG as u32).map(|at| at * 7919 % file.config.vocab).collect();

    let mut model = Llama::new(&file, &bench.device, SHORT + DECODED)?;
    let compile = model.compiled().time.as_secs_f64();
    show(bench.row(
        "llm",
        ("compile or load kernels", format!("{} kernels", model.compiled().kernels), weights),
        compile,
        (compile, "s"),
    ));

    model.prefill(&ids[..SHORT])?;
    let mut steps = Vec::with_capacity(DECODED);
    for id in &ids[..DECODED] {
        steps.push(seconds(|| model.step(*id).map(drop))?);
    }
    drop(model);
    let mut prefills = Vec::with_capacity(PREFILLS);
    for _ in 0..PREFILLS {
        let mut model = Llama::new(&file, &bench.device, LONG + DECODED)?;
        prefills.push(seconds(|| model.prefill(&ids).map(drop))?);
    }
    // Before the limits are measured, which takes more memory.
    let peak = summary::peak_memory();

    let total: f64 = steps.iter().sum();
    let shape = format!("{DECODED} after {SHORT}");
    let row = bench.row("llm", ("decode", shape, weights), median(steps), (DECODED as f64 / total, "tokens/s"));
    show(row.limited(Some(bench.limits()?.streaming_read / file.weight_bytes() as f64)));

    let seconds = median(prefills);
    // The head computes the last position only.
    let head = f64::from(file.config.vocab) * f64::from(file.config.d_model);
    let elements: f64 = file.tensors.values().map(|tensor| tensor.shape().iter().product::<usize>() as f64).sum();
    let limit = bench.limits()?.multiply_adds / (2.0 * (elements - head));
    let row = bench.row("llm", ("prefill", tokens(LONG), weights), seconds, (LONG as f64 / seconds, "tokens/s"));
    show(row.limited(Some(limit)));

    if let Some(peak) = peak {
        show(bench.row("llm", ("peak memory", tokens(LONG), weights), 0.0, (peak as f64 / 1e6, "MB")));
    }
    Ok(())
}

fn tokens(count: usize) -> String {
    format!("{count} tokens")
}
