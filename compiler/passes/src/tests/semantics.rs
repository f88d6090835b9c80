//! Plans compute what their programs mean.

use super::evaluate::{Random, arguments, difference, dims, results};
use super::generate;
use super::programs::PROGRAMS;
use crate::{normalise, optimise};
use sawmill_ir::graph::Function;
use sawmill_ir::graph::text::parse_function;
use sawmill_ir::graph::verify::verify_linked;
use sawmill_ir::target::Target;

/// The function of a text.
pub(super) fn linked(text: &str) -> Function {
    let function = parse_function(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify_linked(&function).unwrap_or_else(|e| panic!("{e:#?}\n{text}"));
    function
}

/// Its plan for a small machine.
pub(super) fn plan(function: &Function) -> Function {
    let normal = normalise(function).unwrap_or_else(|e| panic!("{e}\n{function}"));
    verify_linked(&normal).unwrap_or_else(|e| panic!("{e:#?}\n{normal}"));
    let plan = optimise(&normal, &Target::cpu128(2, true)).unwrap_or_else(|e| panic!("{e:?}\n{function}"));
    verify_linked(&plan).unwrap_or_else(|e| panic!("{e:#?}\n{plan}"));
    plan
}

#[test]
fn plans_mean_what_programs_mean() {
    for program in PROGRAMS {
        let function = linked(program.text);
        let normal = normalise(&function).unwrap_or_else(|e| panic!("{e}\n{}", program.text));
        let plan = plan(&function);
        for seed in 0..4 {
            let dims = dims(program.dims);
            let inputs = arguments(&function, &dims, &mut Random::new(seed));
            let expected = results(&function, &dims, &inputs);
            for (stage, form) in [("normalise", &normal), ("optimise", &plan)] {
                let found = results(form, &dims, &inputs);
                if let Some(wrong) = difference(&expected, &found, 1e-9) {
                    panic!("{} after {stage}: {wrong}\n{form}", program.name);
                }
            }
        }
    }
}

#[test]
fn random_programs_mean_the_same_after_optimisation() {
    for seed in 0..150 {
        let text = generate::program(seed);
        let function = linked(&text);
        let plan = plan(&function);
        let dims = dims(&[("N", 3), ("M", 4)]);
        let inputs = arguments(&function, &dims, &mut Random::new(seed));
        let expected = results(&function, &dims, &inputs);
        if let Some(wrong) = difference(&expected, &results(&plan, &dims, &inputs), 1e-8) {
            panic!("seed {seed}: {wrong}\n{text}\n{plan}");
        }
    }
}

#[test]
fn two_runs_give_the_same_bytes() {
    for program in PROGRAMS {
        let function = linked(program.text);
        assert_eq!(plan(&function).to_string(), plan(&function).to_string(), "{}", program.name);
    }
}
