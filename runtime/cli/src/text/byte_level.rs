//! Byte-level BPE vocabularies of GGUF files, and the ways in which models split text before merging.
//!
//! In: tokens, merges and the name of a pre-tokenizer. Out: a tokenizer.
//! Invariant: a way of splitting that is not known is an error, because a guess would give other ids.
//! Source: the patterns are those of llama.cpp's table of pre-tokenizers, which restates each model's own `tokenizer.json`.

use tokenizers::{
    SplitDelimiterBehavior, Tokenizer,
    models::bpe::{BPE, Vocab},
    pre_tokenizers::{
        PreTokenizerWrapper,
        byte_level::ByteLevel,
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

use super::VocabularyError;

/// Letters, numbers up to three digits, punctuation and spaces, as Llama 3 splits them.
const LLAMA_THREE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with single digits, as Qwen 2 splits them.
const QWEN_TWO: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// How text is split into the pieces that merges stay inside of.
#[derive(Clone, Copy)]
enum Splitting {
    /// GPT-2's pattern.
    Gpt,
    /// Single digits first, then GPT-2's pattern.
    DigitsThenGpt,
    /// A pattern of its own.
    Pattern(&'static str),
}

/// A name of the format, and what it stands for.
pub(super) struct SplitRow {
    names: &'static [&'static str],
    splitting: Splitting,
    /// A piece that is a token is that token, whatever the merges say.
    whole_pieces: bool,
    /// Whether a text begins with the beginning token unless the file says otherwise.
    pub(super) begins: bool,
}

const SPLITS: [SplitRow; 4] = [
    SplitRow {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell"],
        splitting: Splitting::DigitsThenGpt,
        whole_pieces: false,
        begins: false,
    },
    SplitRow { names: &["gpt-2", "olmo", "mpt"], splitting: Splitting::Gpt, whole_pieces: false, begins: false },
    SplitRow {
        names: &["llama-bpe", "llama3", "llama-v3"],
        splitting: Splitting::Pattern(LLAMA_THREE),
        whole_pieces: true,
        begins: true,
    },
    SplitRow { names: &["qwen2"], splitting: Splitting::Pattern(QWEN_TWO), whole_pieces: false, begins: false },
];

/// The way of splitting with this name.
pub(super) fn split_row(name: &str) -> Result<&'static SplitRow, VocabularyError> {
    let row = SPLITS.iter().find(|row| row.names.contains(&name));
    row.ok_or_else(|| VocabularyError::Split(name.to_owned()))
}

/// The names of all pre-tokenizers, for messages.
pub(super) fn known_splits() -> String {
    SPLITS.iter().flat_map(|row| row.names).copied().collect::<Vec<_>>().join(", ")
}

/// The tokenizer of these tokens, in the order of their ids, and merges, best first.
pub(super) fn tokenizer(tokens: &[&str], merges: &[&str], row: &SplitRow) -> Result<Tokenizer, VocabularyError> {
    let vocab: Vocab = tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), id as u32)).collect();
    let pairs = merges.iter().map(|merge| match merge.split_once(' ') {
        Some((left, right)) if !left.is_empty() && !right.is_empty() => Ok((left.to_owned(), right.to_owned())),
        _ => Err(VocabularyError::Merge((*merge).to_owned())),
    });
    let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
    let model = BPE::builder().vocab_and_merges(vocab, pairs).ignore_merges(row.whole_pieces).build();
    let mut tokenizer = Tokenizer::new(model.map_err(VocabularyError::Tokenizer)?);
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer(row.splitting)?));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    Ok(tokenizer)
}

fn pre_tokenizer(splitting: Splitting) -> Result<PreTokenizerWrapper, VocabularyError> {
    let bytes = |split: bool| PreTokenizerWrapper::from(ByteLevel::new(false, false, split));
    let steps = match splitting {
        Splitting::Gpt => vec![bytes(true)],
        Splitting::DigitsThenGpt => vec![Digits::new(true).into(), bytes(true)],
        Splitting::Pattern(pattern) => {
            let pattern = SplitPattern::Regex(pattern.to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
            vec![split.map_err(VocabularyError::Tokenizer)?.into(), bytes(false)]
        }
    };
    Ok(Sequence::new(steps).into())
}
