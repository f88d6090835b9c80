//! Loops that skip turns: a ring that runs ahead fetches for the next turn that is taken.
//!
//! In: a loop whose body asks, from its position alone, whether there is anything to do, and else hands its carries on as they
//! are. Out: the loop, where whoever fills the ring asks first and passes over positions that are skipped. What is asked needs
//! loads; it is asked for several turns at once, so that they wait together, and the answers are bits of a word. A queue as long
//! as the ring holds the positions found, with the truth values that the turn needs of what was asked. A skipped turn costs the
//! question, but neither a copy nor a barrier.

use super::Lower;
use super::ring::Ring;
use super::shared::Fence;
use crate::inst::{Guard, Op, Reg, Word};
use crate::layout::Layout;
use rustc_hash::FxHashSet;
use sawmill_ir::dtype::DType;
use sawmill_ir::tile::{self, Inst, Kernel, Phase, Region, Value};

/// A loop's body that does nothing unless a condition holds.
pub(super) struct Guarded<'r> {
    /// What computes the condition.
    asks: &'r [Inst],
    condition: Value,
    /// What is done if it holds.
    pub(super) work: &'r Region,
    /// Truth values that were computed with the condition and that the work needs.
    flags: Vec<Value>,
    /// Those of `asks` that compute what else the work needs.
    again: Vec<&'r Inst>,
}

/// Carries: value, layout, registers.
type Carries = [(Value, Layout, Vec<Reg>)];

/// Turns that are asked for at once.
const TOGETHER: u32 = 8;

/// What was found for the turns to come, the next first.
struct Queue {
    positions: Vec<Reg>,
    /// 1 for true; for each turn, each flag.
    flags: Vec<Vec<Reg>>,
    answers: Answers,
}

/// The answers for a few turns in a row; bit n of a word is for the n-th.
struct Answers {
    /// The position of the first of these turns, and that of the first that was not asked for.
    first: Reg,
    next: Reg,
    /// Turns that are taken and not in the queue yet.
    taken: Reg,
    /// A word for each flag.
    flags: Vec<Reg>,
}

impl<'r> Guarded<'r> {
    /// A loop's body, if it is of this kind.
    pub(super) fn of(kernel: &Kernel, params: &[Value], body: &'r Region) -> Option<Self> {
        let (branch, asks) = body.insts.split_last()?;
        let tile::Op::If { then, otherwise } = &branch.op else { return None };
        let idle = otherwise.insts.is_empty() && otherwise.yields == params[2..] && body.yields == branch.results;
        let mut read: FxHashSet<Value> = asks.iter().flat_map(|inst| inst.args.iter().copied()).collect();
        read.insert(branch.args[0]);
        let apart = params[2..].iter().all(|carry| !read.contains(carry));
        if !idle || !apart || !asks.iter().all(is_question) {
            return None;
        }
        let mut needed: FxHashSet<Value> = FxHashSet::default();
        then.each_use(&mut |used| {
            needed.insert(used);
        });
        let is_flag = |value: &Value| {
            let ty = &kernel.values[*value];
            ty.axes.is_empty() && ty.dtype == DType::Bool && needed.contains(value)
        };
        let condition = branch.args[0];
        let results = asks.iter().flat_map(|inst| &inst.results);
        let flags: Vec<Value> = results.filter(|v| is_flag(v) && **v != condition).copied().collect();
        let mut again = Vec::new();
        for inst in asks.iter().rev() {
            let wanted = |v: &Value| needed.contains(v) && !flags.contains(v) && *v != condition;
            if inst.results.iter().any(wanted) {
                needed.extend(inst.args.iter().copied());
                again.push(inst);
            }
        }
        again.reverse();
        Some(Self { asks, condition, work: then, flags, again })
    }
}

/// Whether an instruction can be done at any time, any number of times.
fn is_question(inst: &Inst) -> bool {
    !matches!(inst.op, tile::Op::Store { .. } | tile::Op::For { .. } | tile::Op::If { .. } | tile::Op::Mma { .. })
}

impl Lower<'_> {
    /// The one phase of a loop that skips turns.
    pub(super) fn seeking(
        &mut self,
        phase: &Phase,
        params: &[Value],
        carries: &Carries,
        guarded: &Guarded<'_>,
        ring: &Ring,
    ) {
        let lo = self.scalar(phase.lo);
        let mut word = || self.c.b.mov(Word::U32, 0_u32);
        let turns = 0..ring.stages - 1;
        let flags = turns.clone().map(|_| guarded.flags.iter().map(|_| word()).collect()).collect();
        let (taken, of_flags) = (word(), guarded.flags.iter().map(|_| word()).collect());
        let [first, next] = [0, 1].map(|_| self.c.b.mov(Word::B64, lo));
        let queue = Queue {
            positions: turns.map(|_| self.c.b.mov(Word::B64, lo)).collect(),
            flags,
            answers: Answers { first, next, taken, flags: of_flags },
        };
        self.known.insert(params[1], phase.edge);
        self.start_ring(ring, phase.lo, &[phase.hi], &mut |s| s.seek(params, guarded, ring, &queue));
        let [head, inside, done] = ["loop", "turn", "done"].map(|name| self.c.b.block(name));
        self.c.b.place(head);
        self.fence = Fence::unknown();
        let position = self.c.b.mov(Word::B64, queue.positions[0]);
        let over = self.c.compare(Word::Ge, DType::I64, position, ring.end);
        self.c.b.branch(Guard::when(over), done);
        self.c.b.place(inside);
        self.scope(|s| {
            let edge = s.c.truth(phase.edge);
            s.define_scalar(params[1], edge);
            let flags: Vec<Reg> = queue.flags[0].iter().map(|flag| s.c.truth_of(*flag)).collect();
            s.turn_ring(ring, &mut |s| s.seek(params, guarded, ring, &queue));
            s.define_scalar(params[0], position);
            for (value, flag) in guarded.flags.iter().zip(flags) {
                s.define_scalar(*value, flag);
            }
            for (param, _, slots) in carries {
                s.define(*param, |_, _| slots.clone());
            }
            guarded.again.iter().for_each(|inst| s.inst(inst));
            s.work(guarded.work, carries);
            s.next_slot(ring);
            s.c.b.bra(head);
        });
        self.c.b.place(done);
        self.fence = Fence::unknown();
    }

    /// What a turn does, up to its carries for the next; where the last thing is a branch, each side hands on its own.
    fn work(&mut self, work: &Region, carries: &Carries) {
        if let Some((Inst { op: tile::Op::If { then, otherwise }, args, results, .. }, before)) =
            work.insts.split_last()
            && *results == work.yields
        {
            before.iter().for_each(|inst| self.inst(inst));
            let condition = self.scalar(args[0]);
            let [yes, no, joined] = ["then", "else", "joined"].map(|name| self.c.b.block(name));
            self.c.b.branch(Guard::unless(condition), no);
            self.c.b.place(yes);
            let fence = self.fence.clone();
            self.scope(|s| s.work(then, carries));
            self.c.b.bra(joined);
            self.c.b.place(no);
            self.fence = fence;
            self.scope(|s| s.work(otherwise, carries));
            self.c.b.place(joined);
            self.fence = Fence::unknown();
            return;
        }
        self.region(work);
        let next = work.yields.iter().zip(carries).map(|(next, (_, layout, _))| self.read(*next, layout).1);
        let next: Vec<Vec<Reg>> = next.collect();
        self.hand_on(carries, next);
    }

    /// Moves the queue on and looks for a turn to put at its end.
    fn seek(&mut self, params: &[Value], guarded: &Guarded<'_>, ring: &Ring, queue: &Queue) {
        for (to, from) in queue.positions.iter().zip(&queue.positions[1..]) {
            self.c.set(DType::I64, *to, *from);
        }
        for (to, from) in queue.flags.iter().zip(&queue.flags[1..]) {
            to.iter().zip(from).for_each(|(to, from)| self.c.set(DType::U32, *to, *from));
        }
        let (Some(position), Some(flags)) = (queue.positions.last(), queue.flags.last()) else { return };
        let answers = &queue.answers;
        let [head, ask, more, pick, found] = ["seek", "ask", "more", "pick", "found"].map(|name| self.c.b.block(name));
        self.c.b.place(head);
        let before = std::mem::replace(&mut self.fence, Fence::unknown());
        let known = self.c.compare(Word::Ne, DType::U32, answers.taken, 0_u32);
        self.c.b.branch(Guard::when(known), pick);
        self.c.b.place(ask);
        self.c.set(DType::I64, answers.first, answers.next);
        self.c.set(DType::I64, ring.ahead, answers.next);
        let over = self.c.compare(Word::Ge, DType::I64, answers.first, ring.end);
        self.c.b.branch(Guard::when(over), found);
        self.c.b.place(more);
        self.scope(|s| s.ask(params[0], guarded, ring, answers));
        self.c.b.bra(head);
        self.c.b.place(pick);
        let turn = self.lowest(answers.taken);
        let rest = self.c.sub(DType::U32, answers.taken, 1_u32);
        self.c.b.assign(Op::And, &[Word::B32], answers.taken, &[answers.taken.into(), rest.into()]);
        for (flag, word) in flags.iter().zip(&answers.flags) {
            let moved = self.c.two(Op::Shr, &[Word::U32], *word, turn);
            self.c.b.assign(Op::And, &[Word::B32], *flag, &[moved.into(), 1_u32.into()]);
        }
        let turn = self.c.convert(&[Word::U64, Word::U32], turn);
        let ahead = self.c.fma(DType::I64, turn, ring.step, answers.first);
        self.c.set(DType::I64, ring.ahead, ahead);
        self.aim(ring, ahead);
        self.c.b.place(found);
        self.c.set(DType::I64, *position, ring.ahead);
        // A question that leaves shared memory alone leaves what is known of it, too.
        if self.fence == Fence::unknown() {
            self.fence = before;
        }
    }

    /// Asks for a few turns, each instruction for all of them before the next: a vote keeps loads from moving ahead of it.
    fn ask(&mut self, position: Value, guarded: &Guarded<'_>, ring: &Ring, answers: &Answers) {
        let mut positions = vec![answers.first];
        for turn in 1..=TOGETHER {
            positions.push(self.c.add(DType::I64, answers.first, ring.step * i64::from(turn)));
        }
        let before = self.held.clone();
        let mut held = Vec::new();
        for turn in &positions[..TOGETHER as usize] {
            self.define_scalar(position, *turn);
            held.push(std::mem::replace(&mut self.held, before.clone()));
        }
        for inst in guarded.asks {
            for of_turn in &mut held {
                std::mem::swap(&mut self.held, of_turn);
                self.inst(inst);
                std::mem::swap(&mut self.held, of_turn);
            }
        }
        for ((turn, of_turn), position) in (0..).zip(held).zip(&positions) {
            self.held = of_turn;
            let taken = self.scalar(guarded.condition);
            let within = self.c.compare(Word::Lt, DType::I64, *position, ring.end);
            let taken = self.c.and(taken, within);
            self.answer(answers.taken, taken, turn);
            for (value, word) in guarded.flags.iter().zip(&answers.flags) {
                let truth = self.scalar(*value);
                self.answer(*word, truth, turn);
            }
        }
        self.held = before;
        self.c.set(DType::I64, answers.next, positions[TOGETHER as usize]);
    }
    /// Sets a turn's bit of a word; the first turn's clears the others.
    fn answer(&mut self, word: Reg, truth: Reg, turn: u32) {
        let bit = self.c.b.op(Op::Selp, &[Word::B32], &[(1_u32 << turn).into(), 0_u32.into(), truth.into()]);
        match turn {
            0 => self.c.set(DType::U32, word, bit),
            _ => self.c.b.assign(Op::Or, &[Word::B32], word, &[word.into(), bit.into()]),
        }
    }
    /// The number of the lowest bit of a word other than 0.
    fn lowest(&mut self, word: Reg) -> Reg {
        let opposite = self.c.b.op(Op::Neg, &[Word::S32], &[word.into()]);
        let bit = self.c.two(Op::And, &[Word::B32], word, opposite);
        let zeros = self.c.b.op(Op::Clz, &[Word::B32], &[bit.into()]);
        let last = self.c.constant(DType::U32, 31_u32.into());
        self.c.sub(DType::U32, last, zeros)
    }
}
