//! Tests of the command: parsers on good and malformed files, generation, and the process as users see it.
#![forbid(unsafe_code)]

mod acquire;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod ahead;
mod checkpoint;
mod doctor;
mod fixtures;
mod gguf;
mod huggingface;
mod process;
mod reference;
mod run;
mod vocabulary;
mod zoo;
