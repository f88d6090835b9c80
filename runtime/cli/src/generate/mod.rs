//! `sawmill generate`: a prompt, a model, and the text that follows.
//!
//! In: [`GenerateArgs`]. Out: text on stdout, a summary on stderr.
//! Invariant: what can be refused is refused before the model is compiled.

pub mod language_model;
pub mod run;
pub mod sampling;
pub mod summary;

use std::{
    io::{self, Read, Write},
    time::Instant,
};

use crate::{
    acquire,
    args::GenerateArgs,
    engine::{self, llama::Llama},
    error::{Failure, INTERRUPTED_EXIT},
    interrupt, machine,
    model::{self, ModelFile},
    terminal::say,
};
use language_model::LanguageModel;
use run::{Ended, Limits};
use sampling::{Sampler, Sampling};
use summary::Summary;

/// Tokens where the user names no number.
const USUAL_TOKENS: usize = 128;
/// Temperature where the user asks for random choices and names none.
const USUAL_TEMPERATURE: f32 = 0.8;
/// Top-p where the user names none.
const USUAL_TOP_P: f32 = 0.95;

/// Runs the command and returns the exit code of a run that did not fail.
///
/// # Errors
/// [`Failure`] of any kind.
pub fn command(args: &GenerateArgs) -> Result<u8, Failure> {
    let text = prompt(&args.prompt)?;
    let path = match &args.model {
        Some(path) => path.clone(),
        None => acquire::default_model()?,
    };
    let start = Instant::now();
    let file = model::open(&path)?;
    let ids = encode(&file, &text, args.chat)?;
    let context = file.config.context as usize;
    run::check_lengths(ids.len(), args.tokens, context)?;
    let tokens = args.tokens.unwrap_or_else(|| USUAL_TOKENS.min(context - ids.len()));
    let load = start.elapsed();
    let weight_bytes = file.weight_bytes();
    let sampling = sampling(args);
    let device = engine::device(args.engine, args.threads)?;
    let mut model = Llama::new(&file, &device, ids.len() + tokens)?;
    let mut stdout = io::stdout().lock();
    let limits = Limits { tokens: Some(tokens), stops: &file.stops };
    let mut sampler = Sampler::new(sampling);
    let run = run::generate(&mut model, &file.codec, &ids, limits, &mut sampler, &mut stdout, &interrupt::asked)?;
    if run.ended != Ended::Closed {
        // The summary begins on a line of its own; a reader that left in between is no error.
        let _closed = writeln!(stdout);
    }
    drop(stdout);
    let summary = Summary {
        run,
        load,
        compiled: model.compiled(),
        weight_bytes,
        bandwidth: machine::stored_bandwidth(),
        peak_memory: summary::peak_memory(),
    };
    say(format_args!("\n{summary}"));
    if sampling.temperature > 0.0 {
        say(format_args!("seed {}", sampling.seed));
    }
    Ok(if run.ended == Ended::Interrupted { INTERRUPTED_EXIT } else { 0 })
}

/// The prompt's text, from stdin for `-`.
fn prompt(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::user(format!("cannot read the prompt from stdin: {error}")))?;
    Ok(text)
}

fn encode(file: &ModelFile, text: &str, chat: bool) -> Result<Vec<u32>, Failure> {
    if text.is_empty() {
        return Err(Failure::user("the prompt is empty").help("give some text; the model continues it"));
    }
    if !chat {
        return file.codec.encode(text, true).map_err(Failure::user);
    }
    let template = file.chat.as_ref().ok_or_else(|| {
        Failure::user("the model has no chat template").help("leave --chat away, or name an instruction-tuned model")
    })?;
    file.codec.encode(&template.render(text)?, false).map_err(Failure::user)
}

/// Greedy unless something asks for random choices.
fn sampling(args: &GenerateArgs) -> Sampling {
    let random = args.seed.is_some() || args.top_p.is_some();
    Sampling {
        temperature: args.temperature.unwrap_or(if random { USUAL_TEMPERATURE } else { 0.0 }),
        top_p: args.top_p.unwrap_or(USUAL_TOP_P),
        seed: args.seed.unwrap_or_else(rand::random),
    }
}
