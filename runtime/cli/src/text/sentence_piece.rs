//! SentencePiece vocabularies of GGUF files (Llama 1 and 2 and their kin).
//!
//! In: tokens, their scores and types. Out: a tokenizer.
//! Source: SentencePiece's BPE joins the neighbouring pair whose union has the best score (Kudo and Richardson, arXiv
//! 1808.06226). The same follows from merges by rank, if every way to halve a token is a merge of the token's score.

use tokenizers::{
    DecoderWrapper, NormalizerWrapper, Tokenizer,
    decoders::{byte_fallback::ByteFallback, fuse::Fuse, sequence::Sequence as DecoderSequence, strip::Strip},
    models::bpe::{BPE, Vocab},
    normalizers::{Prepend, Replace, Sequence as NormalizerSequence},
};

use super::VocabularyError;

/// Stands for a space inside tokens.
const SPACE: &str = "\u{2581}";

/// The tokenizer of these tokens, in the order of their ids. `mergeable` tells the tokens that merges may give, which
/// excludes control tokens and single bytes; `prefix` puts a space before a text.
pub(super) fn tokenizer(
    tokens: &[&str],
    scores: &[f64],
    mergeable: impl Fn(usize) -> bool,
    prefix: bool,
) -> Result<Tokenizer, VocabularyError> {
    let vocab: Vocab = tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), id as u32)).collect();
    let merges = merges(tokens, scores, mergeable, &vocab);
    let model = BPE::builder().vocab_and_merges(vocab, merges).byte_fallback(true).fuse_unk(true).build();
    let mut tokenizer = Tokenizer::new(model.map_err(VocabularyError::Tokenizer)?);
    let space = Replace::new(" ", SPACE).map_err(VocabularyError::Tokenizer)?;
    let mut steps: Vec<NormalizerWrapper> = Vec::new();
    if prefix {
        steps.push(Prepend::new(SPACE.to_owned()).into());
    }
    steps.push(space.into());
    tokenizer.with_normalizer(Some(NormalizerSequence::new(steps)));
    let space = Replace::new(SPACE, " ").map_err(VocabularyError::Tokenizer)?;
    let mut steps: Vec<DecoderWrapper> = vec![space.into(), ByteFallback::new().into(), Fuse::new().into()];
    if prefix {
        steps.push(Strip::new(' ', 1, 0).into());
    }
    tokenizer.with_decoder(Some(DecoderSequence::new(steps)));
    Ok(tokenizer)
}

/// Every way to halve every token into two tokens, best score first; of one token, earlier halves first.
fn merges(tokens: &[&str], scores: &[f64], mergeable: impl Fn(usize) -> bool, vocab: &Vocab) -> Vec<(String, String)> {
    let mut found: Vec<(f64, u32, u32)> = Vec::new();
    for (id, token) in tokens.iter().enumerate().filter(|&(id, _)| mergeable(id)) {
        let score = scores.get(id).copied().unwrap_or(f64::NEG_INFINITY);
        let halves = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
        let mut halves: Vec<(u32, u32)> =
            halves.filter_map(|(left, right)| Some((*vocab.get(left)?, *vocab.get(right)?))).collect();
        halves.sort_unstable();
        found.extend(halves.into_iter().map(|(left, right)| (score, left, right)));
    }
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    let text = |id: u32| tokens[id as usize].to_owned();
    found.into_iter().map(|(_, left, right)| (text(left), text(right))).collect()
}
