//! Every printed step of a derivation holds.

use super::evaluate::{Dims, Random, arguments, difference, dims, results};
use super::programs::PROGRAMS;
use super::semantics::linked;
use crate::{StopReason, normalise, optimise_explained};
use sawmill_ir::graph::Function;
use sawmill_ir::target::Target;

/// What differs between two functions of the same arguments on random ones.
pub(super) fn differ(sides: &[Function; 2], dims: &Dims, seed: u64) -> Option<String> {
    let inputs = arguments(&sides[0], dims, &mut Random::new(seed));
    let [before, after] = sides;
    difference(&results(before, dims, &inputs), &results(after, dims, &inputs), 1e-8)
}

#[test]
fn steps_hold_one_by_one() {
    let mut steps = 0;
    for program in PROGRAMS.iter().filter(|p| !p.dims.iter().any(|(_, size)| *size == 0)) {
        let normal = normalise(&linked(program.text)).expect("normalises");
        let done = optimise_explained(&normal, &Target::cpu128(2, true)).expect("optimises");
        for stage in &done.stages {
            assert_eq!(stage.stop, StopReason::Saturated, "{}: {stage:?}", program.name);
        }
        for derivation in &done.derivations {
            for step in &derivation.steps {
                let sides = derivation.sides(step).unwrap_or_else(|e| panic!("{}: {e}", program.name));
                // Where a guarded view leaves its range, its value is unused and may be anything.
                if step.rule == "view" && sides[1].to_string().contains("?[") {
                    continue;
                }
                if let Some(wrong) = differ(&sides, &dims(program.dims), 7) {
                    panic!("{}: `{}`: {wrong}\n{}\n{}", program.name, step.rule, sides[0], sides[1]);
                }
                steps += 1;
            }
        }
    }
    assert!(steps > 50, "only {steps} steps");
}

#[test]
fn a_derivation_names_its_rules() {
    let program = PROGRAMS.iter().find(|p| p.name.starts_with("masked")).expect("it is there");
    let normal = normalise(&linked(&program.text.replace("= 4", "= 64"))).expect("normalises");
    let done = optimise_explained(&normal, &Target::cpu128(2, true)).expect("optimises");
    let text: Vec<String> = done.derivations.iter().map(|d| d.show(false).expect("shows")).collect();
    let text = text.concat();
    for part in ["o (algebra)", "eliminate (Reassociating)", "o (folds)", "repair (Reassociating)", "fold[j in T]"] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    assert!(!text.contains("flatten"), "bookkeeping is shown\n{text}");
}
