//! Every reader of untrusted bytes, fuzzed: two IR parsers, the vector language, GGUF and Hugging Face checkpoints.
//!
//! In: valid inputs, mutated. Out: a failure for each input on which a reader panics, hangs, or reads a text that does
//! not print back to itself. Inputs that once failed are kept in `tests/fuzz/` and tried first.
//! `SAWMILL_FUZZ_SECONDS=600 cargo test -p sawmill-tests --test suite fuzzing` gives each reader ten minutes.

use sawmill_cli::model::{self, gguf};
use sawmill_ir::{graph, tile};
use sawmill_simd::vir::{Address, Builder, Elem, Function, Type};
use sawmill_tests::checkpoint::{Gguf, directory};
use sawmill_tests::fuzz::{Target, run};
use sawmill_tests::layout::repository;
use std::fs;
use std::path::{Path, PathBuf};

/// The committed texts below `folder` that end in `extension`.
fn texts(folder: &str, extension: &str) -> Vec<Vec<u8>> {
    let folder = repository().join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    assert!(!paths.is_empty(), "no .{extension} in {}", folder.display());
    paths.iter().map(|path| fs::read(path).expect("a committed text can be read")).collect()
}

fn assert_clean(target: &Target<'_>, read: impl Fn(&[u8]) -> String) {
    let report = run(target, read);
    report.assert_clean(target.name);
    assert!(report.outcomes > 5, "{} different outcomes: the mutations reach nothing", report.outcomes);
}

/// Text that parses must print to text that parses to the same print.
fn round_trip<T, E: ToString>(
    input: &[u8],
    parse: impl Fn(&str) -> Result<T, E>,
    print: impl Fn(&T) -> String,
    verify: impl Fn(&T) -> String,
) -> String {
    let Ok(text) = std::str::from_utf8(input) else {
        return "not text".into();
    };
    let module = match parse(text) {
        Ok(module) => module,
        Err(error) => return error.to_string(),
    };
    let printed = print(&module);
    match parse(&printed) {
        Ok(again) => assert_eq!(print(&again), printed, "the print does not print back to itself"),
        Err(error) => panic!("the print does not parse: {}", error.to_string()),
    }
    verify(&module)
}

#[test]
fn graph_text() {
    let words =
        ["fn ", "let ", "[", "]", "(", ")", "sum[", "softmax[", " in ", "where(", "carry ", "for ", "#(", "%1", ", "];
    let seeds = texts("tests/suite/programs", "graph");
    let target = Target { name: "graph-text", seeds: &seeds, words: &words };
    assert_clean(&target, |input| {
        round_trip(input, graph::text::parse, graph::text::print, |module| {
            let generic = graph::verify::verify(module);
            let linked = module.functions.iter().map(graph::verify::verify_linked).collect::<Vec<_>>();
            format!("{generic:?} {linked:?}")
        })
    });
}

#[test]
fn tile_text() {
    let words =
        ["const ", "load ", "store ", "for ", "edge ", "carry ", "yield ", "mma ", " over ", "f32<", "%0", "grid "];
    let seeds = texts("compiler/ir/tests/ir/tile", "tile");
    let target = Target { name: "tile-text", seeds: &seeds, words: &words };
    assert_clean(&target, |input| {
        round_trip(input, tile::text::parse, tile::text::print, |module| format!("{:?}", tile::verify::verify(module)))
    });
}

/// A loop with a carried vector, a branch, loads, constants of several types and a store.
fn dot_product() -> Function {
    let wide = Type::vector(Elem::F32, 4);
    let mut build = Builder::new("dot");
    let (left, right, out) = (build.arg(0, Type::I64), build.arg(1, Type::I64), build.arg(2, Type::I64));
    let (first, end) = (build.first(), build.end());
    let zero = build.float(wide, 0.0);
    let total = build.for_loop(first, end, 4, &[zero], |build, at, carried| {
        let left = build.load(wide, Address::indexed(left, at, 4));
        let right = build.load(wide, Address::indexed(right, at, 4).offset(16));
        vec![build.fma(left, right, carried[0])]
    });
    let kept = build.i64(7);
    let longer = build.lt(kept, end);
    let chosen = build.if_else(longer, |_| vec![total[0]], |build| vec![build.float(wide, f64::NAN)]);
    build.store(chosen[0], Address::new(out));
    build.finish().expect("the seed is valid")
}

#[test]
fn vector_text() {
    let seeds = [dot_product().to_string().into_bytes()];
    let words = ["load", "store", "for", "if", "f32x4", "i64", "%1", "yield", "splat", "{", "}"];
    let target = Target { name: "vector-text", seeds: &seeds, words: &words };
    assert_clean(&target, |input| {
        round_trip(input, sawmill_simd::vir::parse, ToString::to_string, |_| "verified".into())
    });
}

#[test]
fn gguf_directory() {
    let seeds = [Gguf::small().bytes()];
    let words = ["GGUF", "llama.block_count", "general.alignment", "blk.0.attn_q.weight", "tokenizer.ggml.tokens"];
    let target = Target { name: "gguf-directory", seeds: &seeds, words: &words };
    assert_clean(&target, |input| match gguf::parse(input) {
        Ok(file) => format!("{} {}", file.metadata.len(), file.tensors.len()),
        Err(error) => error.to_string(),
    });
}

/// What opening a checkpoint gives; its tensors are read to their last byte.
fn open(path: &Path) -> String {
    match model::open(path) {
        Ok(model) => {
            let last = model.tensors.values().filter_map(|tensor| tensor.bytes().last()).map(|byte| u64::from(*byte));
            let ids = model
                .codec
                .encode("ab <|im_end|>\u{e9}", true)
                .map_or_else(|error| error.to_string(), |ids| format!("{ids:?}"));
            let chat = model.chat.as_ref().map(|chat| chat.render("ab").map_err(|error| error.to_string()));
            format!("opened {} {ids} {chat:?}", last.sum::<u64>())
        }
        Err(error) => error.to_string().replace(&path.display().to_string(), "FILE"),
    }
}

#[test]
fn gguf_model() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("model.gguf");
    let seeds = [Gguf::small().bytes()];
    let words = ["llama", "smollm", "gpt2", "{{ messages", "{% for", "llama.block_count", "tokenizer.chat_template"];
    let target = Target { name: "gguf-model", seeds: &seeds, words: &words };
    assert_clean(&target, |input| {
        fs::write(&path, input).expect("a temporary file can be written");
        open(&path)
    });
}

/// Fuzzes one file of a Hugging Face directory whose other files are valid.
fn fuzz_directory(name: &str, file: &str, words: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let files = directory();
    for (other, content) in &files {
        fs::write(folder.path().join(other), content).expect("a temporary file can be written");
    }
    let seeds = [files.get(file).expect("a file of the directory").clone()];
    let path = folder.path().join(file);
    assert_clean(&Target { name, seeds: &seeds, words }, |input| {
        fs::write(&path, input).expect("a temporary file can be written");
        open(folder.path())
    });
}

#[test]
fn safetensors_model() {
    let words =
        ["\"dtype\"", "\"F32\"", "\"BF16\"", "\"shape\":[", "\"data_offsets\":[0,", "{", "}", "18446744073709551615"];
    fuzz_directory("safetensors", "model.safetensors", &words);
}

#[test]
fn huggingface_config() {
    let words =
        ["null", "-1", "1e400", "{", "}", "[", "]", "\"rope_scaling\":{", "\"head_dim\":", "\"llama\"", "4294967295"];
    fuzz_directory("huggingface-config", "config.json", &words);
}

#[test]
fn huggingface_tokenizer() {
    let words =
        ["null", "-1", "{", "}", "[", "]", "\"vocab\":{", "\"merges\":[", "\"id\":4294967295", "\"BPE\"", "true"];
    fuzz_directory("huggingface-tokenizer", "tokenizer.json", &words);
}
