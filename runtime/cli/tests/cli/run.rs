//! The loop of generation, with a model that counts.

use std::{cell::Cell, io, io::Write, time::Duration};

use sawmill_cli::{
    error::{Failure, Kind},
    generate::{
        language_model::{Compiled, LanguageModel},
        run::{Ended, Limits, Run, generate},
        sampling::{Sampler, Sampling},
        summary::Summary,
    },
    model,
    text::{codec::TextCodec, stream::TextStream},
};

use crate::checkpoint::gguf;

/// Continues every token with the next one of a script.
struct Script {
    next: Vec<u32>,
    at: usize,
}

impl Script {
    fn new(next: &[u32]) -> Self {
        Self { next: next.to_vec(), at: 0 }
    }

    fn logits(&mut self) -> Vec<f32> {
        let mut logits = vec![0.0; 259];
        logits[self.next[self.at.min(self.next.len() - 1)] as usize] = 1.0;
        self.at += 1;
        logits
    }
}

impl LanguageModel for Script {
    fn context(&self) -> usize {
        16
    }

    fn prefill(&mut self, ids: &[u32]) -> Result<Vec<f32>, Failure> {
        assert!(!ids.is_empty());
        Ok(self.logits())
    }

    fn step(&mut self, _id: u32) -> Result<Vec<f32>, Failure> {
        Ok(self.logits())
    }

    fn compiled(&self) -> Compiled {
        Compiled::default()
    }
}

fn codec() -> TextCodec {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("model.gguf");
    std::fs::write(&path, gguf().bytes()).expect("written");
    model::open(&path).expect("the file is good").codec
}

fn go(model: &mut Script, prompt: &[u32], tokens: Option<usize>, output: &mut dyn Write) -> Result<Run, Failure> {
    let mut sampler = Sampler::new(Sampling { temperature: 0.0, top_p: 1.0, seed: 0 });
    let limits = Limits { tokens, stops: &[257] };
    generate(model, &codec(), prompt, limits, &mut sampler, output, &|| false)
}

fn text(next: &[u32], tokens: Option<usize>) -> (String, Run) {
    let mut output = Vec::new();
    let run = go(&mut Script::new(next), &[116], tokens, &mut output).expect("it runs");
    (String::from_utf8(output).expect("UTF-8"), run)
}

#[test]
fn it_writes_as_many_tokens_as_asked_for() {
    let (text, run) = text(&[97, 98, 99], Some(2));
    assert_eq!((text.as_str(), run.generated, run.steps, run.ended), ("ab", 2, 1, Ended::Length));
}

#[test]
fn no_tokens_compute_nothing() {
    let mut model = Script::new(&[97]);
    let run = go(&mut model, &[116], Some(0), &mut Vec::new()).expect("it runs");
    assert_eq!((run.generated, model.at, run.ended), (0, 0, Ended::Length));
}

#[test]
fn the_model_ends_the_text() {
    let (text, run) = text(&[97, 257, 98], Some(9));
    assert_eq!((text.as_str(), run.generated, run.ended), ("a", 1, Ended::Stop));
}

#[test]
fn a_full_context_ends_it_or_is_refused_beforehand() {
    let (text, run) = text(&[97], None);
    assert_eq!((text.len(), run.ended), (15, Ended::Context));
    let refuse = |prompt: &[u32], tokens| go(&mut Script::new(&[97]), prompt, tokens, &mut Vec::new());
    let error = refuse(&[116], Some(16)).expect_err("17 tokens in a context of 16");
    assert!(error.kind() == Kind::User && error.to_string().contains("context of 16"), "{error}");
    let error = refuse(&[116; 17], None).expect_err("a prompt of 17 tokens");
    assert!(error.to_string().contains("the prompt's 17 tokens exceed"), "{error}");
    let error = refuse(&[], Some(1)).expect_err("no prompt");
    assert!(error.to_string().contains("empty"), "{error}");
}

struct Pipe(usize);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_output_ends_it() {
    let run = go(&mut Script::new(&[97]), &[116], Some(9), &mut Pipe(2)).expect("no error");
    assert_eq!((run.generated, run.ended), (3, Ended::Closed));
}

#[test]
fn an_interrupt_ends_it() {
    let asked = Cell::new(0);
    let interrupted = || {
        asked.set(asked.get() + 1);
        asked.get() > 3
    };
    let mut sampler = Sampler::new(Sampling { temperature: 0.0, top_p: 1.0, seed: 0 });
    let limits = Limits { tokens: Some(9), stops: &[] };
    let mut output = Vec::new();
    let run = generate(&mut Script::new(&[97]), &codec(), &[116], limits, &mut sampler, &mut output, &interrupted);
    assert_eq!(run.expect("no error").ended, Ended::Interrupted);
    assert_eq!(output, b"aaa");
}

/// Ids of a text's bytes: the tiny vocabulary has one token a byte.
fn byte_ids(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

#[test]
fn a_character_is_written_when_its_last_byte_comes() {
    let codec = codec();
    let mut stream = TextStream::after(&codec, &byte_ids("x"));
    let pieces: Vec<String> = byte_ids("aé😀b").into_iter().map(|id| stream.push(id).expect("text")).collect();
    assert_eq!(pieces, ["a", "", "é", "", "", "", "😀", "b"]);
    assert_eq!(stream.finish().expect("text"), "");
}

#[test]
fn bytes_that_are_no_text_become_replacement_characters_and_do_not_stall() {
    let codec = codec();
    let mut stream = TextStream::after(&codec, &[]);
    let mut text = String::new();
    for id in [255, 254, 255, 254, 97, 0xF0, 0x9F] {
        text += &stream.push(id).expect("text");
    }
    text += &stream.finish().expect("text");
    assert_eq!(text, "\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}a\u{FFFD}");
}

#[test]
fn the_summary_tells_rates_and_the_share_of_the_limit() {
    let run = Run {
        prompt: 10,
        generated: 21,
        prefill: Duration::from_millis(100),
        decode: Duration::from_secs(2),
        steps: 20,
        ended: Ended::Length,
    };
    let summary = Summary {
        run,
        load: Duration::from_millis(250),
        compiled: Compiled { time: Duration::from_secs(1), kernels: 7 },
        weight_bytes: 1000,
        bandwidth: Some(20_000.0),
        peak_memory: Some(123_456_789),
    };
    assert_eq!(
        summary.to_string(),
        "load 0.25 s, compile 1.00 s, 7 kernels, peak memory 123 MB\n\
         prefill 10 tokens at 100.0 tokens/s, generated 21 tokens at 10.0 tokens/s (50% of the memory-bandwidth limit)"
    );
}
