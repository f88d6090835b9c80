//! Efficient LLM architectures written in the language of sawmill.
#![forbid(unsafe_code)]
