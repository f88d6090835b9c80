//! Which function implements which system of the survey.
//!
//! `sawmill check --fixtures` runs every fixture whose row and system stand here. Inputs, parameters and outputs are matched by
//! name alone, so an entry says nothing about how.

use crate::{attention, linear, llama, mlp, norm, recurrent, rope, state_space};
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
    row("LA1", "cosformer", linear::cosformer::DEF),
    row("LA1", "hedgehog", linear::hedgehog::DEF),
    row("LA1", "linear_attention", linear::linear_attention::DEF),
    row("LA1", "unnormalised", linear::unnormalised::DEF),
    row("LA2", "based", linear::based::DEF),
    row("LA2", "rebased", linear::rebased::DEF),
    row("LA3", "minimax_lightning_layer", linear::minimax_lightning_layer::DEF),
    row("LA3", "retention", linear::retention::DEF),
    row("LA4", "gla", linear::gla::DEF),
    row("LA4", "hgrn2", linear::hgrn2::DEF),
    row("LA5", "gsa", linear::gsa::DEF),
    row("LA6", "deltanet", linear::deltanet::DEF),
    row("LA7", "gated_delta_product", linear::gated_delta_product::DEF),
    row("LA7", "gated_deltanet", linear::gated_deltanet::DEF),
    row("LA7", "gated_deltanet_from_projections", linear::gated_deltanet_from_projections::DEF),
    row("LA7", "gdn2", linear::gdn2::DEF),
    row("LA7", "kda", linear::kda::DEF),
    row("R1", "hgrn", recurrent::hgrn::DEF),
    row("R1", "rg_lru", recurrent::rg_lru::DEF),
    row("R2", "rwkv4_time_mix", recurrent::rwkv4_time_mix::DEF),
    row("R2", "rwkv4_wkv", recurrent::rwkv4_wkv::DEF),
    row("R3", "rwkv6", recurrent::rwkv6::DEF),
    row("R4", "dplr", recurrent::dplr::DEF),
    row("R4", "rwkv7", recurrent::rwkv7::DEF),
    row("R5", "mlstm", recurrent::mlstm::DEF),
    row("R5", "mlstm_parallel", recurrent::mlstm_parallel::DEF),
    row("R6", "slstm", recurrent::slstm::DEF),
    row("S1", "lru", state_space::lru::DEF),
    row("S2", "mamba_mixer", state_space::mamba_mixer::DEF),
    row("S2", "selective_scan", state_space::selective_scan::DEF),
    row("S2", "selective_state_update", state_space::selective_scan::DEF),
    row("S3", "simple_gla", state_space::simple_gla::DEF),
    row("S3", "ssd", state_space::ssd::DEF),
    row("S3", "ssd_minimal", state_space::ssd_minimal::DEF),
    row("S4", "longhorn", state_space::longhorn::DEF),
    row("S5", "comba", linear::comba::DEF),
    row("O1", "vim_bidirectional", state_space::vim_bidirectional::DEF),
    row("O2", "vmamba_ss2d", state_space::vmamba_ss2d::DEF),
    row("P4", "norms", norm::norms::DEF),
    row("P17", "rope", rope::rope::DEF),
    row("P17", "yarn_frequencies", rope::yarn_frequencies::DEF),
];

/// Functions that are no system by themselves: parts of others, and whole models.
pub static PARTS: &[&Function] = &[
    attention::attend::DEF,
    attention::attention::DEF,
    norm::rms_norm::DEF,
    state_space::depthwise::DEF,
    norm::layer_norm::DEF,
    mlp::swiglu::DEF,
    rope::rotate_half::DEF,
    rope::rotate_interleaved::DEF,
    llama::layer::DEF,
    llama::model::DEF,
];
