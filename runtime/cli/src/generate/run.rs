//! The loop of generation: prefill, then one token after another until something ends it.
//!
//! In: a model, the prompt's ids, a sampler. Out: text on a writer, as it comes, and [`Run`].
//! Invariant: a closed output or an interrupt ends the loop and is no error; no token is computed that is not shown.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use super::{language_model::LanguageModel, sampling::Sampler};
use crate::{
    error::Failure,
    text::{VocabularyError, codec::TextCodec, stream::TextStream},
};

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As many tokens as asked for.
    Length,
    /// The model ended the text.
    Stop,
    /// The context is full.
    Context,
    /// Ctrl-C.
    Interrupted,
    /// Nobody reads the output any more.
    Closed,
}

/// What a generation did.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens generated.
    pub generated: usize,
    /// Time of the prefill.
    pub prefill: Duration,
    /// Time of all steps after it.
    pub decode: Duration,
    /// Steps after the prefill: the first token comes from the prefill's logits.
    pub steps: usize,
    /// Why it ended.
    pub ended: Ended,
}

/// What ends a generation.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// Most tokens to generate; `None`: what is left of the context.
    pub tokens: Option<usize>,
    /// Ids that end it.
    pub stops: &'a [u32],
}

/// Refuses what cannot run, before anything is computed.
///
/// # Errors
/// A user error for an empty prompt and for a prompt, or a prompt and `--tokens`, beyond the context length.
pub fn check_lengths(prompt: usize, tokens: Option<usize>, context: usize) -> Result<(), Failure> {
    if prompt == 0 {
        return Err(Failure::user("the prompt is empty").help("give some text; the model continues it"));
    }
    let wanted = prompt.saturating_add(tokens.unwrap_or(0));
    if wanted > context {
        let what = match tokens {
            Some(tokens) if prompt <= context => format!("the prompt's {prompt} tokens and --tokens {tokens}"),
            _ => format!("the prompt's {prompt} tokens"),
        };
        return Err(Failure::user(format!("{what} exceed the model's context of {context} tokens")));
    }
    Ok(())
}

/// Generates after `prompt` and writes the text to `output` as it comes. `interrupted` is asked between tokens.
///
/// # Errors
/// What the model, the sampler, the tokenizer or `output` report; a closed pipe is none.
pub fn generate(
    model: &mut dyn LanguageModel,
    codec: &TextCodec,
    prompt: &[u32],
    limits: Limits<'_>,
    sampler: &mut Sampler,
    output: &mut dyn Write,
    interrupted: &dyn Fn() -> bool,
) -> Result<Run, Failure> {
    check_lengths(prompt.len(), limits.tokens, model.context())?;
    let room = model.context() - prompt.len();
    let most = limits.tokens.unwrap_or(room).min(room);
    let mut run = Run {
        prompt: prompt.len(),
        generated: 0,
        prefill: Duration::ZERO,
        decode: Duration::ZERO,
        steps: 0,
        ended: if limits.tokens.is_some() { Ended::Length } else { Ended::Context },
    };
    if most == 0 {
        return Ok(run);
    }
    let start = Instant::now();
    let mut logits = model.prefill(prompt)?;
    run.prefill = start.elapsed();
    let mut stream = TextStream::after(codec, prompt);
    let start = Instant::now();
    loop {
        if interrupted() {
            run.ended = Ended::Interrupted;
            break;
        }
        let id = sampler.pick(&logits).map_err(Failure::defect)?;
        if limits.stops.contains(&id) {
            run.ended = Ended::Stop;
            break;
        }
        run.generated += 1;
        if !show(output, &stream.push(id).map_err(of_text)?)? {
            run.ended = Ended::Closed;
            break;
        }
        if run.generated == most {
            break;
        }
        logits = model.step(id)?;
        run.steps += 1;
    }
    run.decode = start.elapsed();
    if run.ended != Ended::Closed {
        show(output, &stream.finish().map_err(of_text)?)?;
    }
    Ok(run)
}

fn of_text(error: VocabularyError) -> Failure {
    Failure::defect(error)
}

/// Writes and flushes; `false` if nobody reads any more.
fn show(output: &mut dyn Write, text: &str) -> Result<bool, Failure> {
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::environment(format!("cannot write the output: {error}"))),
    }
}
