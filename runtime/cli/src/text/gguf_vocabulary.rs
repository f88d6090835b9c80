//! The vocabulary inside a GGUF file, as a byte-level BPE tokenizer.
//!
//! In: a parsed file. Out: [`Vocabulary`].
//! Invariant: ids agree with llama.cpp's tokenizer for the same file; a way of splitting text that is not known is an
//! error, because a guess would give other ids.
//! Source: the patterns are those of llama.cpp's table of pre-tokenizers, which restates each model's own `tokenizer.json`.

use tokenizers::{
    AddedToken, SplitDelimiterBehavior, Tokenizer,
    models::bpe::{BPE, Vocab},
    pre_tokenizers::{
        PreTokenizerWrapper,
        byte_level::ByteLevel,
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

use super::{VocabularyError, codec::TextCodec};
use crate::model::gguf::{Gguf, GgufError, Value};

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

/// Token types of the format that are found in text before it is split.
const CONTROL: u32 = 3;
const USER_DEFINED: u32 = 4;

/// Control tokens that end a turn or a text, beside the one that the file names; files name one and models use several.
const ENDS: [&str; 5] = ["<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "</s>"];

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
struct SplitRow {
    names: &'static [&'static str],
    splitting: Splitting,
    /// A piece that is a token is that token, whatever the merges say.
    whole_pieces: bool,
    /// Whether a text begins with the beginning token unless the file says otherwise.
    begins: bool,
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

/// The names of all pre-tokenizers, for messages.
pub(super) fn known_splits() -> String {
    SPLITS.iter().flat_map(|row| row.names).copied().collect::<Vec<_>>().join(", ")
}

/// What a file says about text.
pub(crate) struct Vocabulary {
    /// Text to ids and back.
    pub(crate) codec: TextCodec,
    /// Text of the token that begins a sequence.
    pub(crate) bos_text: String,
    /// Text of the token that ends one.
    pub(crate) eos_text: String,
    /// Ids that end a generation.
    pub(crate) stops: Vec<u32>,
}

/// Reads the vocabulary of a model whose embedding has `rows` rows.
pub(crate) fn read(gguf: &Gguf<'_>, rows: u32) -> Result<Vocabulary, VocabularyError> {
    let model = gguf.text("tokenizer.ggml.model")?;
    if model != "gpt2" {
        return Err(VocabularyError::Model(model.to_owned()));
    }
    let pre = gguf.text("tokenizer.ggml.pre")?;
    let row = SPLITS.iter().find(|row| row.names.contains(&pre));
    let row = row.ok_or_else(|| VocabularyError::Split(pre.to_owned()))?;
    let tokens = texts(gguf, TOKENS)?;
    if tokens.len() > rows as usize {
        return Err(VocabularyError::Size { tokens: tokens.len(), rows });
    }
    let mut tokenizer = tokenizer(tokens, texts(gguf, MERGES)?, row)?;
    let specials = specials(gguf, tokens)?;
    let added: Vec<AddedToken> =
        specials.iter().map(|&(id, control)| AddedToken::from(tokens[id], control).normalized(false)).collect();
    tokenizer.add_special_tokens(&added);
    let begin = special_id(gguf, "tokenizer.ggml.bos_token_id", tokens)?;
    let end = special_id(gguf, "tokenizer.ggml.eos_token_id", tokens)?;
    let turn = special_id(gguf, "tokenizer.ggml.eot_token_id", tokens)?;
    let begins = match gguf.metadata.get("tokenizer.ggml.add_bos_token") {
        Some(&Value::Bool(begins)) => begins,
        _ => row.begins,
    };
    let named = specials.iter().filter(|&&(id, _)| ENDS.contains(&tokens[id])).map(|&(id, _)| id as u32);
    let mut stops: Vec<u32> = end.into_iter().chain(turn).chain(named).collect();
    stops.sort_unstable();
    stops.dedup();
    let text = |id: Option<u32>| id.map(|id| tokens[id as usize].to_owned()).unwrap_or_default();
    Ok(Vocabulary {
        codec: TextCodec::new(tokenizer, begin.filter(|_| begins), rows),
        bos_text: text(begin),
        eos_text: text(end),
        stops,
    })
}

fn texts<'g>(gguf: &'g Gguf<'_>, key: &str) -> Result<&'g [&'g str], GgufError> {
    match gguf.metadata.get(key) {
        Some(Value::Texts(texts)) => Ok(texts),
        Some(_) => Err(GgufError::KeyType { key: key.to_owned(), wanted: "an array of strings" }),
        None => Err(GgufError::MissingKey(key.to_owned())),
    }
}

fn tokenizer(tokens: &[&str], merges: &[&str], row: &SplitRow) -> Result<Tokenizer, VocabularyError> {
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

/// Tokens that are found in text as they are written: their ids, and whether they are control tokens.
fn specials(gguf: &Gguf<'_>, tokens: &[&str]) -> Result<Vec<(usize, bool)>, GgufError> {
    let types = match gguf.metadata.get(TYPES) {
        Some(Value::Scalars(types)) => types,
        Some(_) => return Err(GgufError::KeyType { key: TYPES.to_owned(), wanted: "an array of integers" }),
        None => return Ok(Vec::new()),
    };
    let typed = types.iter().take(tokens.len()).enumerate().filter_map(|(id, kind)| match kind.as_u32() {
        Some(CONTROL) => Some((id, true)),
        Some(USER_DEFINED) => Some((id, false)),
        _ => None,
    });
    // An empty text would be found everywhere.
    Ok(typed.filter(|&(id, _)| !tokens[id].is_empty()).collect())
}

fn special_id(gguf: &Gguf<'_>, key: &str, tokens: &[&str]) -> Result<Option<u32>, VocabularyError> {
    if !gguf.metadata.contains_key(key) {
        return Ok(None);
    }
    let id = gguf.u32(key)?;
    if (id as usize) < tokens.len() {
        Ok(Some(id))
    } else {
        Err(VocabularyError::Id { what: key.to_owned(), id, tokens: tokens.len() })
    }
}
