//! Every instruction of one lane, of a warp and of matrices, on the device and in the interpreter: the same bits.
//!
//! In: the table of instructions, pseudo-random operands with all the edges of their types. Out: a failure for each
//! mnemonic whose results differ. Approximations may differ by what the PTX ISA allows.

use super::{Subject, subject};
use sawmill_cuda::Function;
use sawmill_ptx::inst::{Arg, Builder, Class, Entry, Form, Module, Op, ParamId, Reg, Slot, Sm, Special, Ty, Word, at};
use sawmill_ptx::interp::{self, Memory, Options, interpret};

/// Lanes, rounds of operands for each.
const LANES: usize = 32;
/// Bytes of operands that a lane has.
const LANE_BYTES: usize = 16 * 8;
/// Bytes of results that a lane has.
const RESULT_BYTES: usize = 4 * 8;

/// Operations of registers alone.
fn tested(op: Op) -> bool {
    use Op::{
        AddressOf, Atom, Bar, Barrier, Bra, CpAsync, CpAsyncGroup, Cvta, Fence, Ld, Ldmatrix, ReadSpecial, Red, Ret,
        St, Stmatrix, Trap,
    };
    !matches!(
        op,
        AddressOf
            | Atom
            | Bar
            | Barrier
            | Bra
            | CpAsync
            | CpAsyncGroup
            | Cvta
            | Fence
            | Ld
            | Ldmatrix
            | ReadSpecial
            | Red
            | Ret
            | St
            | Stmatrix
            | Trap
    )
}

struct Case {
    op: Op,
    form: &'static Form,
    words: Vec<Word>,
}

impl Case {
    fn name(&self) -> String {
        let words: Vec<&str> = self.words.iter().map(|word| word.text()).collect();
        format!("{}.{}", self.op, words.join("."))
    }
}

fn cases(sm: Sm) -> Vec<Case> {
    let mut cases = Vec::new();
    for op in Op::ALL.iter().copied().filter(|op| tested(*op)) {
        for form in op.forms().iter().filter(|form| form.needs.sm <= sm && form.needs.version <= sm.version()) {
            for words in form.expansions() {
                if std::ptr::eq(op.form(&words).expect("an expansion fits"), form) {
                    cases.push(Case { op, form, words });
                }
            }
        }
    }
    cases
}

/// Numbers that look random and are the same every time (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
    /// A word that is often at an edge: small, of few bits, a float near 1, or all of these in its halves.
    fn edgy(&mut self) -> u64 {
        let (kind, value) = (self.next() % 8, self.next());
        match kind {
            0 => value % 40,
            1 => (value % 40).wrapping_neg(),
            2 => 1 << (value % 64),
            3 => (1_u64 << (value % 64)).wrapping_sub(1),
            4 => u64::from((1.0 + (value % 1000) as f32 / 77.0).to_bits()) | value << 52,
            5 => (1.0 + (value % 1000) as f64 / 77.0).to_bits(),
            6 => u64::from(f32::INFINITY.to_bits()) >> (value % 3) | value << 63,
            _ => value,
        }
    }
}

/// A kernel that loads operands of its lane, executes the instruction once and stores what it writes.
fn kernel(case: &Case, name: String) -> Entry {
    let mut b = Builder::new(name, [32, 1, 1]);
    let (inputs, outputs) = (b.param("inputs", Word::U64), b.param("outputs", Word::U64));
    let lane = b.special(Special::LaneId);
    let mut base = |param: ParamId, bytes: usize| {
        let param = b.load_param(param);
        let bytes = u32::try_from(bytes).expect("few bytes");
        b.op(Op::Mad, &[Word::Wide, Word::U32], &[lane.into(), bytes.into(), param.into()])
    };
    let (input, output) = (base(inputs, LANE_BYTES), base(outputs, RESULT_BYTES));
    let mut next = 0;
    let mut load = |b: &mut Builder, class: Class| {
        next += 8;
        value(b, input, next - 8, class)
    };
    let words = &case.words;
    let (mut dests, mut uses) = (Vec::new(), Vec::new());
    let warp = matches!(case.op, Op::Shfl | Op::Vote | Op::Redux);
    for (n, slot) in case.form.slots.iter().enumerate() {
        match *slot {
            Slot::Def(ty) => dests.push((n, vec![b.reg(ty.classes(words)[0])])),
            Slot::Defs(ty, count) => {
                let regs = (0..count.of(words).unwrap_or(1)).map(|_| b.reg(ty.classes(words)[0]));
                dests.push((n, regs.collect()));
            }
            // The lanes that take part.
            Slot::Value(ty) if warp && n + 1 == case.form.slots.len() => {
                assert_eq!(ty, Ty::Is(Word::U32));
                uses.push(u32::MAX.into());
            }
            Slot::Use(ty) | Slot::Value(ty) | Slot::Maybe(ty) => uses.push(load(&mut b, ty.classes(words)[0]).into()),
            Slot::Uses(ty, count) => {
                let regs: Vec<Reg> =
                    (0..count.of(words).unwrap_or(1)).map(|_| load(&mut b, ty.classes(words)[0])).collect();
                uses.push(regs.into());
            }
            Slot::Const(..) => uses.push(Arg::Imm(0xca)),
            other => panic!("{other:?} is no operand of registers"),
        }
    }
    let (_, regs) = &dests[0];
    let dest: Arg = if matches!(case.form.slots[0], Slot::Def(_)) { regs[0].into() } else { regs.clone().into() };
    b.assign(case.op, words, dest, &uses);
    for (n, reg) in regs.iter().enumerate() {
        give(&mut b, output, 8 * i32::try_from(n).expect("few"), *reg);
    }
    b.ret();
    b.finish()
}

fn value(b: &mut Builder, input: Reg, offset: i32, class: Class) -> Reg {
    if class != Class::Pred {
        return b.op(Op::Ld, &[Word::Global, class.word()], &[at(input, offset)]);
    }
    let bits = value(b, input, offset, Class::B32);
    let low = b.op(Op::And, &[Word::B32], &[bits.into(), 1_u32.into()]);
    b.op(Op::Setp, &[Word::Ne, Word::U32], &[low.into(), 0_u32.into()])
}

fn give(b: &mut Builder, output: Reg, offset: i32, reg: Reg) {
    if reg.class() == Class::Pred {
        let bits = b.op(Op::Selp, &[Word::B32], &[1_u32.into(), 0_u32.into(), reg.into()]);
        return give(b, output, offset, bits);
    }
    b.run(Op::St, &[Word::Global, reg.class().word()], &[at(output, offset), reg.into()]);
}

/// Whether the 16-bit floats of two words are the same, NaNs alike.
fn halves_agree(ty: Word, device: u64, ours: u64) -> bool {
    let infinity = if matches!(ty, Word::F16 | Word::F16x2) { 0x7c00 } else { 0x7f80 };
    (0..4)
        .map(|n| (device >> (16 * n) & 0xffff, ours >> (16 * n) & 0xffff))
        .all(|(device, ours)| device == ours || (device & 0x7fff > infinity && ours & 0x7fff > infinity))
}

/// Whether two results of an operand count as one.
fn agree(case: &Case, device: u64, ours: u64, operand: u64) -> bool {
    let float = case.form.slots.first().and_then(|slot| match slot {
        Slot::Def(ty) | Slot::Defs(ty, _) => Some(ty.word(&case.words)),
        _ => None,
    });
    if device == ours {
        return true;
    }
    let single = |bits: u64| f64::from(f32::from_bits(u32::try_from(bits & 0xffff_ffff).expect("32 bits")));
    match float {
        Some(ty @ (Word::F16 | Word::F16x2 | Word::Bf16 | Word::Bf16x2)) => halves_agree(ty, device, ours),
        Some(Word::F32 | Word::Tf32) if single(device).is_nan() && single(ours).is_nan() => true,
        Some(Word::F64) if f64::from_bits(device).is_nan() && f64::from_bits(ours).is_nan() => true,
        Some(Word::F32) => close(case, single(device), single(ours), single(operand)),
        Some(Word::F64) => close(case, f64::from_bits(device), f64::from_bits(ours), f64::from_bits(operand)),
        _ => false,
    }
}

/// The bounds of the PTX ISA for approximations.
fn close(case: &Case, device: f64, ours: f64, operand: f64) -> bool {
    let error = (device - ours).abs();
    let approximate = case.words.contains(&Word::Approx) || case.words.contains(&Word::Full);
    let unit = if case.words.contains(&Word::F64) { 2e-16 } else { 1.2e-7 };
    match case.op {
        _ if !approximate => false,
        // Stated for small angles only.
        Op::Sin | Op::Cos if operand.abs() > 314.0 => true,
        Op::Sin | Op::Cos => error < 2_f64.powf(if operand.abs() <= 6.2 { -20.5 } else { -14.7 }),
        Op::Log2 => error <= 1e-6_f64.max(ours.abs() * 4.0 * unit),
        Op::Tanh => error <= ours.abs() * 2_f64.powi(-11),
        _ => error <= ours.abs() * 4.0 * unit || (device == 0.0 && ours.abs() < 2e-38),
    }
}

/// The first operand of the lane that a result belongs to.
fn first_operand(inputs: &[u8], result: usize) -> u64 {
    load_words(&inputs[result / (RESULT_BYTES / 8) * LANE_BYTES..][..8])[0]
}

fn load_words(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks(8).map(|part| u64::from_le_bytes(part.try_into().expect("eight bytes"))).collect()
}

/// Small integers in A, B and C, so that products of matrices are exact in any order.
fn matrix_input(case: &Case, numbers: &mut Numbers) -> Vec<u8> {
    let types: Vec<Word> = case.words.iter().copied().filter(|word| word.is_type()).collect();
    let (sum, factor) = (types[0], types[1]);
    let counts = case.form.slots[1..3].iter().map(|slot| match slot {
        Slot::Uses(_, count) => count.of(&case.words).expect("a number"),
        other => panic!("{other:?} is no fragment"),
    });
    let factors: usize = counts.sum();
    let number = |numbers: &mut Numbers| (numbers.next() % 17) as f32 - 8.0;
    let mut bytes = Vec::new();
    for n in 0..LANES * LANE_BYTES / 8 {
        let ty = if n % (LANE_BYTES / 8) < factors { factor } else { sum };
        let word = match ty {
            Word::F16 => (0..2).fold(0, |word, _| word << 16 | u64::from(half(number(numbers)))),
            Word::Bf16 => (0..2).fold(0, |word, _| word << 16 | u64::from(number(numbers).to_bits() >> 16)),
            Word::Tf32 | Word::F32 => number(numbers).to_bits().into(),
            Word::F64 => f64::from(number(numbers)).to_bits(),
            _ => numbers.next(),
        };
        bytes.extend(word.to_le_bytes());
    }
    bytes
}

/// A small integer as `f16`.
fn half(value: f32) -> u32 {
    let bits = value.to_bits();
    if value == 0.0 { 0 } else { (bits >> 16 & 0x8000) | ((bits >> 23 & 0xff) - 112) << 10 | (bits >> 13 & 0x3ff) }
}

fn differences(subject: &Subject, function: &Function, module: &Module, case: &Case, seed: u64) -> Option<String> {
    let mut numbers = Numbers(seed);
    let inputs: Vec<u8> = if case.op == Op::Mma {
        matrix_input(case, &mut numbers)
    } else {
        let values = if case.op == Op::Bfe { 1 } else { 2 };
        let field = matches!(case.op, Op::Bfe | Op::Bfi);
        // Positions and lengths of fields come last.
        let word = |n: usize, word: u64| if field && n % (LANE_BYTES / 8) >= values { word & 0xff } else { word };
        (0..LANES * LANE_BYTES / 8).flat_map(|n| word(n, numbers.edgy()).to_le_bytes()).collect()
    };
    let (on_device, out) = (subject.memory(&inputs), subject.memory(&[0; LANES * RESULT_BYTES]));
    // SAFETY: a kernel of one warp reads 128 bytes of operands a lane, and writes 32 bytes of results.
    let device = unsafe { subject.run(function, 32, &[&on_device, &out], LANES * RESULT_BYTES) }.expect("it ran");

    let mut memory = Memory::default();
    let args = vec![memory.alloc(inputs.clone()), memory.alloc(vec![0; LANES * RESULT_BYTES])];
    let ours_at = args[1];
    let launch = interp::Launch { grid: [1, 1, 1], args, dynamic_shared: 0 };
    if let Err(fault) = interpret(module, &module.entries[0].name, &launch, &mut memory, Options::default()) {
        // What the ISA leaves open cannot be compared.
        return (fault.kind != interp::FaultKind::Undefined).then(|| format!("{}: {fault}", case.name()));
    }
    let ours = load_words(memory.bytes(ours_at).expect("the buffer"));
    let pairs = load_words(&device).into_iter().zip(ours).enumerate();
    let wrong = pairs
        .filter(|(index, (device, ours))| !agree(case, *device, *ours, first_operand(&inputs, *index)))
        .map(|(at, (device, ours))| {
            let lane = at / (RESULT_BYTES / 8);
            let operands = load_words(&inputs[lane * LANE_BYTES..lane * LANE_BYTES + 32]);
            format!("{}: lane {lane}: device {device:#x}, ours {ours:#x}, operands {operands:x?}", case.name())
        });
    wrong.into_iter().next()
}

#[test]
fn the_interpreter_computes_what_the_device_does() {
    let Some(subject) = subject() else { return };
    let cases = cases(subject.sm);
    let mut wrong = Vec::new();
    for cases in cases.chunks(64) {
        let entries = cases.iter().enumerate().map(|(n, case)| kernel(case, format!("k{n}"))).collect();
        let module = Module { entries, ..Module::new(subject.sm) };
        for ((case, entry), function) in cases.iter().zip(&module.entries).zip(subject.load(&module)) {
            let one = Module { entries: vec![entry.clone()], ..Module::new(subject.sm) };
            let found = (0..8).find_map(|seed| differences(&subject, &function, &one, case, seed));
            wrong.extend(found);
        }
    }
    assert!(wrong.is_empty(), "{} of {} mnemonics differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
