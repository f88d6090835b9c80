//! Which function implements which system of the survey.
//!
//! `sawmill check --fixtures` runs every fixture whose row and system stand here. Inputs, parameters and outputs are matched by
//! name alone, so an entry says nothing about how.

use crate::{attention, llama, mlp, norm, rope};
use sawmill::Function;

/// A system and the function that implements it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The row of the survey.
    pub row: &'static str,
    /// The system.
    pub system: &'static str,
    /// String parameters for whose values this function was written; other values have functions of their own.
    pub when: &'static [(&'static str, &'static str)],
    /// The function.
    pub function: &'static Function,
}

const fn row(row: &'static str, system: &'static str, function: &'static Function) -> Row {
    Row { row, system, when: &[], function }
}

/// Every system the zoo has, by row.
pub static ROWS: &[Row] = &[
    row("F1", "alibi", attention::alibi::DEF),
    row("F1", "bidirectional", attention::bidirectional::DEF),
    row("F1", "causal", attention::causal::DEF),
    row("F1", "documents", attention::documents::DEF),
    row("F1", "left_padding_empty_rows", attention::left_padding_empty_rows::DEF),
    row("F1", "sinks", attention::sinks::DEF),
    row("F1", "sliding_window", attention::sliding_window::DEF),
    row("F1", "softcap", attention::softcap::DEF),
    row("F2", "gqa_causal", attention::causal::DEF),
    row("F3", "mla", attention::mla::DEF),
    row("D6", "prefix_lm", attention::prefix_lm::DEF),
    row("SP1", "blockbert", attention::blockbert::DEF),
    row("SP1", "sparse_transformer_fixed", attention::sparse_transformer_fixed::DEF),
    row("SP1", "sparse_transformer_strided", attention::sparse_transformer_strided::DEF),
    row("SP2", "bigbird", attention::bigbird::DEF),
    row("SP2", "dilated_window", attention::dilated_window::DEF),
    row("SP2", "longformer_mask", attention::longformer_mask::DEF),
    row("TF1", "per_head_spans", attention::per_head_spans::DEF),
    row("TF1", "streaming_llm_mask", attention::streaming_llm_mask::DEF),
    row("SD4", "adaptive_span", attention::adaptive_span::DEF),
    row("SD4", "transformer_xl", attention::transformer_xl::DEF),
    row("P4", "norms", norm::norms::DEF),
    row("P17", "rope", rope::rope::DEF),
    row("P17", "yarn_frequencies", rope::yarn_frequencies::DEF),
];

/// Functions that are no system by themselves: parts of others, and whole models.
pub static PARTS: &[&Function] = &[
    attention::attend::DEF,
    attention::attention::DEF,
    norm::rms_norm::DEF,
    norm::layer_norm::DEF,
    mlp::swiglu::DEF,
    rope::rotate_half::DEF,
    rope::rotate_interleaved::DEF,
    llama::layer::DEF,
    llama::model::DEF,
];
