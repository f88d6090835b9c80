//! Random programs: nested reductions over axes of the same two domains, so that names clash wherever they can.

use super::evaluate::Random;

/// The text of a program over `f32` tensors; its dims are `N` and `M`.
pub(super) fn program(seed: u64) -> String {
    let mut writer = Writer { random: Random::new(seed + 1), count: 0, lets: Vec::new() };
    let mut body = String::new();
    for at in 0..1 + writer.random.below(3) {
        let axes = writer.axes(1 + at % 2);
        let value = writer.term(&axes, 4);
        let binders: Vec<String> = axes.iter().map(|(name, dim)| format!("{name} in {dim}")).collect();
        body += &format!("    let t{at}[{}] = {value};\n", binders.join(", "));
        writer.lets.push((format!("t{at}"), axes.iter().map(|(_, dim)| *dim).collect()));
    }
    let outputs = writer.lets.last().map(|(name, _)| name.clone()).unwrap_or_default();
    format!(
        "fn f<N, M>(a: f32[N], b: f32[M], c: f32[N, M], d: f32[N, N], e: f32[M, N], k: bool[N, M], s: f32) -> ({outputs}) {{\n{body}}}"
    )
}

type Axes = Vec<(String, &'static str)>;

struct Writer {
    random: Random,
    count: usize,
    lets: Vec<(String, Vec<&'static str>)>,
}

impl Writer {
    fn axes(&mut self, count: usize) -> Axes {
        (0..count).map(|_| self.axis()).collect()
    }
    fn axis(&mut self) -> (String, &'static str) {
        self.count += 1;
        (format!("i{}", self.count), if self.random.below(2) == 0 { "N" } else { "M" })
    }
    fn term(&mut self, scope: &Axes, depth: usize) -> String {
        if depth == 0 {
            return self.leaf(scope);
        }
        match self.random.below(12) {
            0..=3 => self.reduction(scope, depth),
            4..=6 => self.n_ary("mul", scope, depth),
            7 => self.n_ary("add", scope, depth),
            8 => format!("exp(mul(0.25, {}))", self.term(scope, depth - 1)),
            9 => format!("neg({})", self.term(scope, depth - 1)),
            10 => match self.condition(scope) {
                Some(c) => format!("select({c}, {}, 0.0)", self.term(scope, depth - 1)),
                None => self.leaf(scope),
            },
            _ => self.leaf(scope),
        }
    }
    fn n_ary(&mut self, op: &str, scope: &Axes, depth: usize) -> String {
        let parts: Vec<String> = (0..2 + self.random.below(2)).map(|_| self.term(scope, depth - 1)).collect();
        format!("{op}({})", parts.join(", "))
    }
    fn reduction(&mut self, scope: &Axes, depth: usize) -> String {
        let bound = self.random.below(2) + 1;
        let bound = self.axes(bound);
        let mut inner = scope.clone();
        inner.extend(bound.iter().cloned());
        let mut element = self.term(&inner, depth - 1);
        if self.random.below(3) == 0
            && let Some(c) = self.condition(&inner)
        {
            element = format!("where({element}, {c})");
        }
        let op = ["sum", "sum", "sum", "max", "min", "mean", "logsumexp"][self.random.below(7)];
        let binders: Vec<String> = bound.iter().map(|(name, dim)| format!("{name} in {dim}")).collect();
        let value = format!("{op}[{}]({element})", binders.join(", "));
        // Of nothing these are infinite, and 0 times that is no number in one order and a number in another.
        match op {
            "max" | "logsumexp" => format!("max({value}, -9.0)"),
            "min" => format!("min({value}, 9.0)"),
            _ => value,
        }
    }
    /// A read of a tensor whose dims are in scope, or a constant.
    fn leaf(&mut self, scope: &Axes) -> String {
        let mut tensors: Vec<(String, Vec<&'static str>)> =
            [("a", vec!["N"]), ("b", vec!["M"]), ("c", vec!["N", "M"]), ("d", vec!["N", "N"]), ("e", vec!["M", "N"])]
                .map(|(name, dims)| (name.to_owned(), dims))
                .into();
        tensors.push(("s".to_owned(), Vec::new()));
        tensors.extend(self.lets.iter().cloned());
        let (name, dims) = tensors.swap_remove(self.random.below(tensors.len()));
        let subs: Option<Vec<String>> = dims.iter().map(|dim| self.position(scope, dim)).collect();
        subs.map_or_else(|| "0.75".to_owned(), |subs| format!("{name}[{}]", subs.join(", ")))
    }
    fn position(&mut self, scope: &Axes, dim: &str) -> Option<String> {
        let fitting: Vec<&String> = scope.iter().filter(|(_, d)| *d == dim).map(|(name, _)| name).collect();
        (!fitting.is_empty()).then(|| fitting[self.random.below(fitting.len())].clone())
    }
    fn condition(&mut self, scope: &Axes) -> Option<String> {
        let (n, m) = (self.position(scope, "N"), self.position(scope, "M"));
        match (n, m) {
            (Some(n), Some(m)) if self.random.below(2) == 0 => Some(format!("k[{n}, {m}]")),
            (Some(n), Some(m)) => Some(format!("le(#{n}, #{m})")),
            (Some(n), None) => self.position(scope, "N").map(|other| format!("lt(#{n}, #({other} + 1))")),
            _ => None,
        }
    }
}
