//! Random programs of graph IR, as text.
//!
//! In: a generator of random numbers. Out: a [`Program`]: a linked function in graph-IR text, with sizes for its dims; its
//! arguments are f32 tensors of any values of size about 1.
//! Invariants: the program verifies; its outputs are present; its values stay moderate (products are squashed), and no
//! condition depends on a float, so that engines that round differently still take the same branches.

use crate::random::Random;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A function and sizes to call it with.
#[derive(Debug, Clone)]
pub struct Program {
    /// One function called `f`.
    pub text: String,
    /// The value of every dim.
    pub dims: BTreeMap<String, i64>,
    /// Shapes of the arguments, all f32, by name.
    pub inputs: BTreeMap<String, Vec<usize>>,
}

/// Sizes at which tails, single elements and nothing at all show.
const SIZES: [i64; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 9, 17];
const DIMS: [&str; 3] = ["A", "B", "C"];

/// A tensor that terms may read.
struct Source {
    name: String,
    /// Positions in [`DIMS`].
    shape: Vec<usize>,
    /// Whether elements may be absent.
    partial: bool,
}

/// An axis in scope: its name and its dim.
type Axis = (String, usize);

struct Generator<'a> {
    random: &'a mut Random,
    sources: Vec<Source>,
    fresh: usize,
}

/// A random program with up to five definitions.
pub fn program(random: &mut Random) -> Program {
    let dims: BTreeMap<String, i64> = DIMS.iter().map(|name| ((*name).to_owned(), *random.pick(&SIZES))).collect();
    let mut generator = Generator { random, sources: Vec::new(), fresh: 0 };
    let shapes: [&[usize]; 5] = [&[0, 1], &[1, 2], &[2], &[0, 2], &[1]];
    for (at, shape) in shapes.iter().enumerate() {
        generator.sources.push(Source { name: format!("x{at}"), shape: shape.to_vec(), partial: false });
    }
    let inputs = generator.sources.iter().map(|source| {
        let sizes = source.shape.iter().map(|dim| usize::try_from(dims[DIMS[*dim]]).expect("a size")).collect();
        (source.name.clone(), sizes)
    });
    let inputs: BTreeMap<String, Vec<usize>> = inputs.collect();
    let mut text = format!("fn f<{}>(\n", DIMS.join(", "));
    for source in &generator.sources {
        let sizes: Vec<&str> = source.shape.iter().map(|dim| DIMS[*dim]).collect();
        writeln!(text, "    {}: f32[{}],", source.name, sizes.join(", ")).expect("a string takes text");
    }
    let (body, outputs) = generator.body();
    writeln!(text, ") -> ({})\n{{\n{body}}}", outputs.join(", ")).expect("a string takes text");
    Program { text, dims, inputs }
}

impl Generator<'_> {
    fn body(&mut self) -> (String, Vec<String>) {
        let mut body = String::new();
        let mut outputs = Vec::new();
        let count = 1 + self.random.below(5);
        for at in 0..count {
            let axes = self.left_side();
            let name = format!("t{at}");
            let partial = at + 1 < count && self.random.one_in(3);
            let value = if partial { self.partial(&axes) } else { self.term(&axes, 3) };
            let sides: Vec<String> = axes.iter().map(|(axis, dim)| format!("{axis} in {}", DIMS[*dim])).collect();
            writeln!(body, "    let {name}[{}] = {value};", sides.join(", ")).expect("a string takes text");
            if !partial && (at + 1 == count || self.random.one_in(3)) {
                outputs.push(name.clone());
            }
            self.sources.push(Source { name, shape: axes.iter().map(|axis| axis.1).collect(), partial });
        }
        (body, outputs)
    }

    /// One to three axes over different dims.
    fn left_side(&mut self) -> Vec<Axis> {
        let mut dims: Vec<usize> = (0..DIMS.len()).collect();
        dims.rotate_left(self.random.below(DIMS.len()));
        dims.truncate(1 + self.random.below(2));
        dims.into_iter().map(|dim| (self.axis(), dim)).collect()
    }

    fn axis(&mut self) -> String {
        self.fresh += 1;
        format!("i{}", self.fresh)
    }

    /// A definition whose elements may be absent: a softmax over an axis, or plain, under a condition.
    fn partial(&mut self, axes: &[Axis]) -> String {
        let condition = self.condition(axes);
        let element = self.term(axes, 2);
        let present = format!("where({element}, {condition})");
        if self.random.one_in(3) {
            return present;
        }
        format!("softmax[{}]({present})", self.random.pick(axes).0)
    }

    /// A condition on positions.
    fn condition(&mut self, axes: &[Axis]) -> String {
        let (left, right) = (self.random.pick(axes).0.clone(), self.random.pick(axes).0.clone());
        match self.random.below(5) {
            0 => format!("le(#{left}, #({right} + 1))"),
            1 => format!("ne(#({left} % 3), #1)"),
            2 => format!("and(le(#{left}, #{right}), lt(#({right} - {left}), #4))"),
            3 => format!("lt(#{left}, #(A + B - 2 * {right}))"),
            _ => format!("ge(#{left}, #2)"),
        }
    }

    /// A term that is present.
    fn term(&mut self, axes: &[Axis], depth: usize) -> String {
        if depth == 0 {
            return self.leaf(axes);
        }
        match self.random.below(9) {
            0 => self.leaf(axes),
            1..=4 => self.reduction(axes, depth),
            5 => {
                let name = *self.random.pick(&["tanh", "sigmoid", "abs", "neg", "relu", "silu", "softplus", "sin"]);
                format!("{name}({})", self.term(axes, depth - 1))
            }
            6 => format!("tanh(mul({}, {}))", self.term(axes, depth - 1), self.term(axes, depth - 1)),
            7 => {
                let condition = self.condition(axes);
                let (then, otherwise) = (self.term(axes, depth - 1), self.term(axes, depth - 1));
                format!("select({condition}, {then}, {otherwise})")
            }
            _ => {
                let name = *self.random.pick(&["add", "sub", "max", "min"]);
                format!("{name}({}, {})", self.term(axes, depth - 1), self.term(axes, depth - 1))
            }
        }
    }

    /// A reduction over a fresh axis, squashed so that values stay moderate.
    fn reduction(&mut self, axes: &[Axis], depth: usize) -> String {
        let axis = (self.axis(), self.random.below(DIMS.len()));
        let mut inner = axes.to_vec();
        inner.push(axis.clone());
        let mut element = if self.random.one_in(2) {
            format!("mul({}, {})", self.element(&inner), self.element(&inner))
        } else {
            self.term(&inner, depth - 1)
        };
        if self.random.one_in(3) {
            element = format!("where({element}, {})", self.condition(&inner));
        }
        let over = format!("[{} in {}]", axis.0, DIMS[axis.1]);
        match self.random.below(6) {
            0 => format!("max(max{over}({element}), -5.0)"),
            1 => format!("min(min{over}({element}), 5.0)"),
            2 => format!("mean{over}({element})"),
            3 => format!("max(logsumexp{over}({element}), -9.0)"),
            4 => format!("tanh(sum{over}({element}))"),
            _ => format!("sum{over}(mul({element}, 0.25))"),
        }
    }

    /// An operand of a reduction: it may be absent.
    fn element(&mut self, axes: &[Axis]) -> String {
        match self.read(axes, true) {
            Some(read) => read,
            None => self.leaf(axes),
        }
    }

    fn leaf(&mut self, axes: &[Axis]) -> String {
        match self.random.below(6) {
            0 => "0.5".to_owned(),
            1 => format!("mul(cast[f32](#{}), 0.0625)", self.random.pick(axes).0),
            _ => self.read(axes, false).unwrap_or_else(|| "1.25".to_owned()),
        }
    }

    /// A read of a source all of whose dims have an axis in scope.
    fn read(&mut self, axes: &[Axis], may_be_absent: bool) -> Option<String> {
        let fits = |source: &&Source| source.shape.iter().all(|dim| axes.iter().any(|axis| axis.1 == *dim));
        let choices: Vec<(String, Vec<usize>, bool)> =
            self.sources.iter().filter(fits).map(|s| (s.name.clone(), s.shape.clone(), s.partial)).collect();
        if choices.is_empty() {
            return None;
        }
        let (name, shape, mut partial) = self.random.pick(&choices).clone();
        let mut subscripts = Vec::new();
        for dim in shape {
            let of_dim: Vec<&Axis> = axes.iter().filter(|axis| axis.1 == dim).collect();
            subscripts.push(self.random.pick(&of_dim).0.clone());
        }
        let mut mark = "";
        if self.random.one_in(5) {
            let at = self.random.below(subscripts.len());
            let offset = *self.random.pick(&["- 1", "+ 1", "- 3"]);
            subscripts[at] = format!("{} {offset}", subscripts[at]);
            mark = "?";
            partial = true;
        }
        let read = format!("{name}{mark}[{}]", subscripts.join(", "));
        if partial && !may_be_absent { Some(format!("or_else({read}, 0.75)")) } else { Some(read) }
    }
}
