//! A derivation must not depend on how its program is spelled: a template would.
//!
//! One hundred random spellings of masked softmax attention (order of the arguments' axes, names, split and merged `let`s, commuted
//! operands, turned comparisons, definitions that nothing reads) go from `arch!` text to tile IR. All must give the same module up
//! to names and the order in which arguments store their axes.

use sawmill_ir::entity::Entity;
use sawmill_ir::graph::Module;
use sawmill_ir::target::Target;
use sawmill_ir::tile;
use sawmill_passes::link::{Bindings, link};
use sawmill_syntax::check::check_file;
use sawmill_syntax::parse::parse_file;
use sawmill_tests::random::Random;
use std::collections::BTreeMap;

/// How many spellings are tried.
const SPELLINGS: usize = 100;

/// `items` in random order.
fn shuffled<T: Clone>(random: &mut Random, items: &[T]) -> Vec<T> {
    let mut left = items.to_vec();
    let mut out = Vec::new();
    while !left.is_empty() {
        out.push(left.remove(random.below(left.len())));
    }
    out
}

/// One of two operands orders.
fn product(random: &mut Random, a: &str, b: &str) -> String {
    if random.below(2) == 0 { format!("{a} * {b}") } else { format!("{b} * {a}") }
}

/// A tensor whose axes are stored in some order: its type, and how it is read.
struct Stored {
    sizes: Vec<&'static str>,
}

impl Stored {
    fn new(random: &mut Random, sizes: &[&'static str]) -> Self {
        Self { sizes: shuffled(random, sizes) }
    }
    fn ty(&self) -> String {
        format!("f32[{}]", self.sizes.join(", "))
    }
    fn read(&self, name: &str, at: &[(&str, &str)]) -> String {
        let index = |size: &str| at.iter().find(|(s, _)| *s == size).map_or("?", |(_, index)| *index);
        let subs: Vec<&str> = self.sizes.iter().map(|size| index(size)).collect();
        format!("{name}[{}]", subs.join(", "))
    }
}

/// A random spelling.
fn spelling(random: &mut Random) -> String {
    let names = shuffled(random, &["a", "b", "c", "e", "f", "g", "h", "i", "j", "m", "n", "r", "t", "u", "w"]);
    let [head, row, col, inner, out] = [names[0], names[1], names[2], names[3], names[4]];
    let (q, k) = (Stored::new(random, &["H", "S", "D"]), Stored::new(random, &["H", "T", "D"]));
    let (v, o) = (Stored::new(random, &["H", "T", "V"]), Stored::new(random, &["H", "S", "V"]));
    let read_q = q.read("q", &[("H", head), ("S", row), ("D", inner)]);
    let read_k = k.read("k", &[("H", head), ("T", col), ("D", inner)]);
    let read_v = v.read("v", &[("H", head), ("T", col), ("V", out)]);
    let place = o.read("o", &[("H", head), ("S", row), ("V", out)]);
    let dot = format!("sum[{inner}]({})", product(random, &read_q, &read_k));
    let mask = match random.below(3) {
        0 => format!("{col} <= {row} + T - S"),
        1 => format!("{row} + T - S >= {col}"),
        _ => format!("!({col} > {row} + T - S)"),
    };
    let at = format!("[{head}, {row}, {col}]");
    let mut body = String::new();
    let score = if random.below(2) == 0 {
        body += &format!("let s{at} = {dot};\n");
        format!("s{at}")
    } else {
        dot
    };
    body += &format!("let z{at} = {} where {mask};\n", product(random, &score, "scale"));
    let weight = if random.below(2) == 0 {
        body += &format!("let p{at} = softmax[{col}](z{at});\n");
        format!("p{at}")
    } else {
        format!("softmax[{col}](z{at})")
    };
    if random.below(2) == 0 {
        body += &format!("let unread[{head}, {row}] = logsumexp[{col}](z{at});\n");
    }
    body += &format!("{place} = sum[{col}]({});\n", product(random, &weight, &read_v));
    format!(
        "fn f<H, S, T, const D, const V>(q: {}, k: {}, v: {}, scale: f32) -> o: {} {{\n{body}}}",
        q.ty(),
        k.ty(),
        v.ty(),
        o.ty()
    )
}

/// The tile module of a program of one function `f`.
fn tiles(source: &str) -> tile::Module {
    let (file, errors) = parse_file(source.parse().expect("the spelling has tokens"));
    assert!(errors.is_empty(), "{source}\n{:?}", errors.list());
    let (block, errors) = check_file(&file, Default::default());
    assert!(errors.is_empty(), "{source}\n{:?}", errors.list());
    let module = Module { formats: Vec::new(), functions: block.functions.into_values().collect() };
    let bindings = Bindings { dims: vec![("D".into(), 64), ("V".into(), 64)], ..Bindings::default() };
    let linked = link(std::slice::from_ref(&module), "f", &bindings).unwrap_or_else(|e| panic!("{source}\n{e}"));
    let compiled = sawmill_passes::compile(&linked, &Default::default(), &Target::cpu128(2, true));
    compiled.unwrap_or_else(|e| panic!("{source}\n{e}"))
}

/// A module without names: dimensions of arguments in order of their sizes, axes in order of their first use.
fn canonical(module: &tile::Module) -> String {
    let mut module = module.clone();
    let buffers: Vec<tile::BufferId> = module.buffers.keys().collect();
    for id in buffers {
        module.buffers[id].shape.sort();
    }
    for (number, kernel) in module.kernels.iter_mut().enumerate() {
        kernel.name = format!("kernel{number}");
        sort_memories(kernel);
        number_axes(kernel);
        for (at, (name, _)) in kernel.grid.iter_mut().enumerate() {
            *name = format!("grid{at}");
        }
    }
    tile::text::print(&module)
}

/// Numbers a kernel's axes by their first use.
fn number_axes(kernel: &mut tile::Kernel) {
    let mut order: Vec<tile::AxisId> = Vec::new();
    each_axis(&mut kernel.body, &mut |axis| {
        if !order.contains(axis) {
            order.push(*axis);
        }
    });
    order.extend(kernel.axes.keys().filter(|axis| !order.contains(axis)).collect::<Vec<_>>());
    let number = |axis: tile::AxisId| order.iter().position(|a| *a == axis).map_or(axis, tile::AxisId::new);
    let axes = order
        .iter()
        .enumerate()
        .map(|(at, axis)| tile::TileAxis { name: format!("axis{at}"), extent: kernel.axes[*axis].extent });
    kernel.axes = axes.collect();
    for value in kernel.values.keys().collect::<Vec<_>>() {
        let axes = &mut kernel.values[value].axes;
        axes.iter_mut().for_each(|axis| *axis = number(*axis));
        axes.sort();
    }
    each_axis(&mut kernel.body, &mut |axis| *axis = number(*axis));
}

/// Calls `visit` with every axis that an operation names.
fn each_axis(region: &mut tile::Region, visit: &mut dyn FnMut(&mut tile::AxisId)) {
    for inst in &mut region.insts {
        match &mut inst.op {
            tile::Op::Coord(axis) | tile::Op::Slice(axis) => visit(axis),
            tile::Op::Rename(pairs) => pairs.iter_mut().for_each(|(from, to)| {
                visit(from);
                visit(to);
            }),
            tile::Op::Mma { over } | tile::Op::Reduce { over, .. } => {
                over.iter_mut().for_each(&mut *visit);
                over.sort();
            }
            tile::Op::Load { subs, .. } | tile::Op::Store { subs, .. } => {
                for sub in subs {
                    if let tile::Subscript::Affine(terms) = sub {
                        terms.iter_mut().for_each(|(axis, _)| visit(axis));
                    }
                }
            }
            tile::Op::For { body, .. } => each_axis(body, visit),
            tile::Op::If { then, otherwise } => {
                each_axis(then, visit);
                each_axis(otherwise, visit);
            }
            _ => {}
        }
    }
}

/// Puts each memory's dimensions in order of their sizes, with the subscripts that address them.
fn sort_memories(kernel: &mut tile::Kernel) {
    let mut orders: BTreeMap<tile::MemId, Vec<usize>> = BTreeMap::new();
    for id in kernel.memory.keys().collect::<Vec<_>>() {
        let shape = kernel.memory[id].shape.clone();
        let mut order: Vec<usize> = (0..shape.len()).collect();
        order.sort_by_key(|at| shape[*at].clone());
        kernel.memory[id].shape = order.iter().map(|at| shape[*at].clone()).collect();
        orders.insert(id, order);
    }
    sort_region(&mut kernel.body, &orders);
}

fn sort_region(region: &mut tile::Region, orders: &BTreeMap<tile::MemId, Vec<usize>>) {
    for inst in &mut region.insts {
        match &mut inst.op {
            tile::Op::Load { mem, subs, .. } => sort_subs(&orders[mem], subs, &mut inst.args, 0),
            tile::Op::Store { mem, subs, .. } => sort_subs(&orders[mem], subs, &mut inst.args, 1),
            tile::Op::For { body, .. } => sort_region(body, orders),
            tile::Op::If { then, otherwise } => {
                sort_region(then, orders);
                sort_region(otherwise, orders);
            }
            _ => {}
        }
    }
}

fn sort_subs(order: &[usize], subs: &mut [tile::Subscript], args: &mut [tile::Value], first: usize) {
    let (old_subs, old_args) = (subs.to_vec(), args.to_vec());
    for (to, from) in order.iter().enumerate() {
        subs[to] = old_subs[*from].clone();
        args[first + to] = old_args[first + *from];
    }
}

#[test]
fn every_spelling_gives_the_same_tiles() {
    let mut random = Random::new(0x5be11);
    let mut forms: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for _ in 0..SPELLINGS {
        let source = spelling(&mut random);
        let form = canonical(&tiles(&source));
        forms.entry(form).or_insert((0, source)).0 += 1;
    }
    let shown: Vec<String> =
        forms.iter().map(|(form, (count, source))| format!("{count} times, for example\n{source}\n{form}")).collect();
    assert_eq!(forms.len(), 1, "{}", shown.join("\n\n"));
}
