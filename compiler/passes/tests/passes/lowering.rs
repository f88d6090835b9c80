//! Lowering to tiles.

use sawmill_ir::graph::text::parse_function;
use sawmill_ir::target::Target;
use sawmill_ir::tile;
use sawmill_passes::{lower, normalise, optimise};

fn module(text: &str) -> tile::Module {
    let target = Target::cpu128(2, true);
    let function = parse_function(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let normal = normalise(&function).unwrap_or_else(|e| panic!("{e}"));
    let plan = optimise(&normal, &target).unwrap_or_else(|e| panic!("{e:?}"));
    println!("{plan}");
    lower(&plan, &target).unwrap_or_else(|e| panic!("{e:#?}"))
}

#[test]
fn show_lowered() {
    for text in [super::plans::MATMUL, super::plans::ATTENTION] {
        println!("{}", tile::text::print(&module(text)));
    }
}
