//! Efficient LLM architectures, written in the language of sawmill as the equations of their papers.
//!
//! Functions are generic in the element type; [`rows::ROWS`] lists which function implements which system of the survey, for
//! `sawmill check`.
#![forbid(unsafe_code)]

pub mod attention;
pub mod formats;
pub mod linear;
pub mod llama;
pub mod mlp;
pub mod norm;
pub mod recurrent;
pub mod rope;
pub mod state_space;

pub mod rows;
