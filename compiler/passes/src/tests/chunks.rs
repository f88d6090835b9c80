//! Folds in chunks mean what the folds do.

use super::evaluate::{Random, arguments, difference, dims, results};
use super::generate;
use super::programs::PROGRAMS;
use super::semantics::{linked, plan};
use crate::chunks::{Cut, chunked, chunks};
use sawmill_ir::graph::verify::verify_linked;
use sawmill_ir::graph::{Function, Op, Repair, Stmt};
use sawmill_ir::index::{Index, TensorId};
use sawmill_ir::target::Target;

/// The function with every definition that can be in chunks of `length` positions computed so; how many there are, and how many of
/// their components are repaired.
fn in_chunks(function: &Function, length: i64) -> (Function, usize, usize) {
    let (mut out, found) = chunked(function, &|_, _| Cut { length: Index::int(length), nonnegative: Index::int(0) });
    let mut repaired = 0;
    let mut body = Vec::new();
    for stmt in std::mem::take(&mut out.body) {
        match &stmt {
            Stmt::Define(id) if found.contains_key(id) => {
                // Definitions may share chunks.
                let new = |part: &&TensorId| !body.contains(&Stmt::Define(**part));
                let parts: Vec<Stmt> = found[id].parts.iter().filter(new).map(|part| Stmt::Define(*part)).collect();
                body.extend(parts);
                body.extend([Stmt::Define(found[id].merged), stmt]);
            }
            _ => body.push(stmt),
        }
    }
    out.body = body;
    // What was read is what is read no more.
    for term in out.terms.keys().collect::<Vec<_>>() {
        if let Op::Read { tensor, .. } = &mut out.terms[term].op
            && let Some(chunked) = found.get(&*tensor)
        {
            *tensor = chunked.merged;
        }
    }
    for id in &mut out.outputs {
        *id = found.get(id).map_or(*id, |chunked| chunked.merged);
    }
    for term in function.terms.values() {
        if let Op::Fold { components, .. } = &term.op {
            repaired += components.iter().filter(|c| c.repair != Repair::None).count();
        }
    }
    (out, found.len(), repaired)
}

fn agree(text: &str, sizes: &[(&str, i64)], length: i64, seed: u64) -> (usize, usize) {
    let function = linked(text);
    let plan = plan(&function);
    let (chunked, count, repaired) = in_chunks(&plan, length);
    verify_linked(&chunked).unwrap_or_else(|e| panic!("{e:#?}\n{chunked}"));
    let dims = dims(sizes);
    let inputs = arguments(&function, &dims, &mut Random::new(seed));
    if let Some(wrong) = difference(&results(&plan, &dims, &inputs), &results(&chunked, &dims, &inputs), 1e-8) {
        panic!("chunks of {length}: {wrong}\n{plan}\n{chunked}");
    }
    (count, repaired)
}

#[test]
fn folds_in_chunks_mean_the_same() {
    let (mut count, mut repaired) = (0, 0);
    for program in PROGRAMS.iter().filter(|p| !p.text.contains(" list ") && !p.text.contains("for ")) {
        // Past the end only tiles have something to read for a condition: their pad.
        let reads = program.text.contains("bool[") || program.text.contains("i32[");
        for (seed, length) in [(0, 1), (1, 2), (2, 3), (3, 64)].into_iter().filter(|(_, length)| !reads || *length == 1)
        {
            let found = agree(program.text, program.dims, length, seed);
            count += found.0;
            repaired += found.1;
        }
    }
    for seed in 0..40 {
        count += agree(&generate::program(seed), &[("N", 4), ("M", 2)], 2, seed).0;
    }
    assert!(count > 40 && repaired > 20, "{count} definitions, {repaired} repaired components");
}

#[test]
fn few_cores_get_no_chunks() {
    let row = linked("fn f<N>(x: f32[N]) -> (y) { let y[] = sum[i in N](x[i]); }");
    assert!(chunks(&row, &Target::cpu512(8)).1.is_empty());
    let (_, found) = chunks(&row, &Target::gpu("gpu", 132, 64 << 10));
    assert_eq!(found.len(), 1);
}

#[test]
fn what_only_data_counts_gets_no_chunks() {
    let row = |group: &str| {
        let text = format!(
            "fn f<T, S, G>(x: f32[T, S], y: f32[T, S], b: i32) -> (z) {{
                let z[i in T] = sum[j in S](mul(x[i, j], y[i / {group}, j]));
            }}"
        );
        chunks(&linked(&text), &Target::gpu("gpu", 132, 64 << 10)).1.len()
    };
    assert_eq!((row("G"), row("b[]")), (1, 0));
}
