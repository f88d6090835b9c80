//! Contractions by multiply-adds: factors from their homes, sums in registers.
//!
//! In: two tiles with homes, an accumulator in the result's layout. Out: the sums. Every thread walks the summed axes in loops and
//! reads, for each step, the elements of both factors that its sums need, each once.

use super::shared::Home;
use super::{Lower, code, math};
use crate::inst::{Arg, Guard, Op, Reg, Word};
use crate::layout::Layout;
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{AxisId, Inst};

/// Steps of a loop that are written out.
const UNROLLED: u32 = 4;

/// A factor: its home, the moving address of this thread's part, and the place of each register's element.
struct Factor {
    home: Home,
    address: Reg,
    places: Vec<u32>,
}

impl Lower<'_> {
    /// The sum over `over` of a product.
    pub(super) fn contract(&mut self, inst: &Inst, over: &[AxisId]) {
        let result = inst.results[0];
        let dtype = self.dtype(result);
        let Some(layout) = self.assigned.anchor(result).cloned() else {
            self.bug(format!("{result} has no layout of its own"));
            return;
        };
        let class = code::class(dtype);
        let sums: Vec<Reg> = (0..layout.registers()).map(|_| self.c.b.reg(class)).collect();
        let start: Vec<Arg> = match inst.args.get(2) {
            Some(acc) => self.read(*acc, &layout).1.into_iter().map(Arg::from).collect(),
            None => vec![if dtype.is_float() { math::float(dtype, 0.0) } else { 0_i64.into() }; sums.len()],
        };
        for (sum, value) in sums.iter().zip(start) {
            self.c.set(dtype, *sum, value);
        }
        let factors: Vec<Factor> = inst.args[..2].iter().filter_map(|v| self.factor(*v, &layout)).collect();
        if let [a, b] = factors.as_slice() {
            self.walk(dtype, [a, b], over, &sums);
        }
        self.define(result, |_, _| sums.clone());
    }

    fn factor(&mut self, value: sawmill_ir::tile::Value, layout: &Layout) -> Option<Factor> {
        let home = self.home(value)?;
        self.before_read(home.range);
        let start = self.home_address(&home, layout);
        let address = self.c.b.mov(Word::U32, start);
        let places = (0..layout.registers()).map(|r| home.static_place(layout, r)).collect();
        Some(Factor { home, address, places })
    }

    /// Loops over the summed axes, the first one outermost.
    fn walk(&mut self, dtype: DType, factors: [&Factor; 2], over: &[AxisId], sums: &[Reg]) {
        let Some((axis, inner)) = over.split_first() else { return };
        let extent = self.kernel.axes[*axis].extent;
        let unrolled =
            if inner.is_empty() { (1..=UNROLLED).rev().find(|u| extent.is_multiple_of(*u)).unwrap_or(1) } else { 1 };
        let turns = extent / unrolled;
        let steps = factors.map(|f| f.home.stride(*axis));
        if turns == 1 {
            self.turn(dtype, factors, inner, sums, (unrolled, steps));
            return;
        }
        let count = self.c.b.mov(Word::U32, turns);
        let head = self.c.b.block("sum");
        self.c.b.place(head);
        self.turn(dtype, factors, inner, sums, (unrolled, steps));
        for (factor, step) in factors.iter().zip(steps) {
            self.advance(factor, i64::from(step * unrolled));
        }
        self.c.b.assign(Op::Sub, &[Word::U32], count, &[count.into(), 1_u32.into()]);
        let more = self.c.compare(Word::Ne, DType::U32, count, 0_u32);
        self.c.b.branch(Guard::when(more), head);
        let next = self.c.b.block("summed");
        self.c.b.place(next);
        // The loop around this one starts from the same place in every turn.
        for (factor, step) in factors.iter().zip(steps) {
            self.advance(factor, -i64::from(step * unrolled * turns));
        }
    }
    fn advance(&mut self, factor: &Factor, elements: i64) {
        let bytes = elements * i64::from(factor.home.bytes());
        self.c.b.assign(Op::Add, &[Word::S32], factor.address, &[factor.address.into(), bytes.into()]);
    }

    /// One turn of a loop: further loops, or products.
    fn turn(
        &mut self,
        dtype: DType,
        factors: [&Factor; 2],
        inner: &[AxisId],
        sums: &[Reg],
        (unrolled, steps): (u32, [u32; 2]),
    ) {
        if !inner.is_empty() {
            self.walk(dtype, factors, inner, sums);
            return;
        }
        for step in 0..unrolled {
            let [a, b] = [0, 1].map(|side| self.elements(factors[side], step * steps[side]));
            for (sum, (x, y)) in sums.iter().zip(a.iter().zip(&b)) {
                self.c.fma_into(dtype, *sum, *x, *y, *sum);
            }
        }
    }
    /// The element of each register, read once.
    fn elements(&mut self, factor: &Factor, step: u32) -> Vec<Reg> {
        let mut read: Vec<(u32, Reg)> = Vec::new();
        let places = factor.places.clone();
        let mut element = |place: u32| match read.iter().find(|(at, _)| *at == place) {
            Some((_, reg)) => *reg,
            None => {
                let reg = self.read_place(&factor.home, factor.address, place + step);
                read.push((place, reg));
                reg
            }
        };
        places.into_iter().map(&mut element).collect()
    }
}
