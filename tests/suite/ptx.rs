//! PTX as NVIDIA's assembler sees it.
//!
//! In: the table of instructions, and the kernels of the semantics suite. Out: a failure for what `ptxas` refuses, for what it
//! takes although the table says that a version or a target lacks it, and for registers that it keeps in memory.

use crate::semantics::linked;
use sawmill_ir::backend::{Backend as _, CompileError};
use sawmill_passes::{lower, normalise, optimise};
use sawmill_ptx::backend::Ptx;
use sawmill_ptx::inst::{
    Arg, Base, Builder, Class, Entry, Form, Inst, Module, Op, ParamId, Reg, Slot, Sm, Space, Special, Version, Word,
    verify,
};
use sawmill_ptx::interp::{FaultKind, Launch, Memory, Options, interpret};
use sawmill_tests::ptxas::{self, Complaint};
use sawmill_tests::semantics;

/// The newest version that the pinned assembler knows.
const NEWEST: Version = Version(9, 0);

/// The comment before an instruction.
const MARK: &str = "case ";
const MARK_LINE: &str = "// case ";

/// How operands are chosen where the table leaves a choice.
#[derive(Clone, Copy, Debug)]
enum Variant {
    /// Registers of the usual class, no optional operand.
    Plain,
    /// Immediates where they may be, all optional operands.
    Immediates,
    /// Registers of the least usual class.
    OtherClass,
}

struct Case {
    op: Op,
    form: &'static Form,
    words: Vec<Word>,
    variant: Variant,
}

/// Every mnemonic of the table in every variant.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in Op::ALL {
        for form in op.forms() {
            for words in form.expansions() {
                // A shorter mnemonic can belong to an earlier form: that one types it.
                if !std::ptr::eq(op.form(&words).expect("an expansion fits"), form) {
                    continue;
                }
                for variant in [Variant::Plain, Variant::Immediates, Variant::OtherClass] {
                    cases.push(Case { op: *op, form, words: words.clone(), variant });
                }
            }
        }
    }
    cases
}

/// A kernel of these instructions, each behind a comment with its number.
fn kernel(name: String, cases: &[(usize, &Case)]) -> Entry {
    let mut b = Builder::new(name, [128, 1, 1]);
    let value = b.param("value", Word::U64);
    let memory = b.shared("memory", 16, Some(1024));
    let end = b.block("end");
    for (number, case) in cases {
        b.note(format!("{MARK}{number}"));
        let mut args = Vec::new();
        for (n, slot) in case.form.slots.iter().enumerate() {
            let arg = match *slot {
                Slot::Target => Some(end.into()),
                Slot::Symbol => Some(memory.into()),
                Slot::Mem(_) | Slot::MemOfWord => Some(match slot.space(&case.words).expect("a space is named") {
                    Space::Param => Arg::Mem(Base::Param(value), 0),
                    Space::Shared => Arg::Mem(Base::Shared(memory), 16),
                    Space::Global => Arg::Mem(Base::Reg(load(&mut b, value, Class::B64)), -16),
                }),
                _ => operand(&mut b, value, case, n, *slot),
            };
            args.extend(arg);
        }
        b.push(Inst { guard: None, op: case.op, words: case.words.clone(), args });
    }
    if !cases.iter().any(|(_, case)| case.op.is_control()) {
        b.bra(end);
    }
    b.place(end);
    b.ret();
    b.finish()
}

fn operand(b: &mut Builder, value: ParamId, case: &Case, n: usize, slot: Slot) -> Option<Arg> {
    let words = &case.words;
    let class = |classes: &[Class]| match case.variant {
        Variant::OtherClass => *classes.last().expect("a type has a class"),
        _ => classes[0],
    };
    let immediate = matches!(case.variant, Variant::Immediates);
    Some(match slot {
        Slot::Value(ty) | Slot::Maybe(ty) if immediate => immediate_of(case.op, n, ty.word(words)),
        Slot::Maybe(_) => return None,
        Slot::Def(ty) | Slot::Use(ty) | Slot::Value(ty) => load(b, value, class(ty.classes(words))).into(),
        Slot::Defs(ty, count) | Slot::Uses(ty, count) => {
            let count = count.of(words).unwrap_or(1);
            (0..count).map(|_| load(b, value, class(ty.classes(words)))).collect::<Vec<_>>().into()
        }
        Slot::Const(low, _) => low.into(),
        Slot::OneOf(list) => list[0].into(),
        Slot::Special(ty) => {
            let special = Special::ALL.iter().find(|special| special.word() == ty.word(words));
            (*special.expect("there is one of either width")).into()
        }
        other => panic!("{other:?} is no operand of registers"),
    })
}

fn immediate_of(op: Op, n: usize, ty: Word) -> Arg {
    let barrier_count = n == 1 && matches!(op, Op::Bar | Op::Barrier);
    match ty {
        Word::F32 => 1.5_f32.into(),
        Word::F64 => 1.5_f64.into(),
        _ if barrier_count => 64_u32.into(),
        _ => 1_u32.into(),
    }
}

/// A register of `class` whose value the assembler does not know.
fn load(b: &mut Builder, value: ParamId, class: Class) -> Reg {
    if class != Class::Pred {
        return b.op(Op::Ld, &[Word::Param, class.word()], &[Arg::Mem(Base::Param(value), 0)]);
    }
    let bits = load(b, value, Class::B32);
    b.op(Op::Setp, &[Word::Eq, Word::U32], &[bits.into(), 7_u32.into()])
}

/// The cases as one text: a kernel for each operation, for each case of what leaves its block.
fn text_of(cases: &[Case], version: Version, sm: Sm) -> String {
    let numbered: Vec<(usize, &Case)> = cases.iter().enumerate().collect();
    let kernels = numbered.chunk_by(|a, b| a.1.op == b.1.op && !a.1.op.is_control());
    let entries = kernels.enumerate().map(|(n, cases)| kernel(format!("k{n}"), cases)).collect();
    Module { version, sm, entries }.to_string()
}

/// What the assembler complains about: the number of the case, the line, the message.
fn complaints(cases: &[Case], version: Version, sm: Sm) -> Vec<(usize, String)> {
    let text = text_of(cases, version, sm);
    let lines: Vec<&str> = text.lines().collect();
    let place = |complaint: Complaint| {
        let before = lines[..complaint.line].iter().rev();
        let mark = before.filter_map(|line| line.trim().strip_prefix(MARK_LINE)).next();
        let number = mark.and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX);
        let line = lines.get(complaint.line.wrapping_sub(1)).copied().unwrap_or_default();
        (number, format!("{}: {}", line.trim(), complaint.message))
    };
    ptxas::assemble(&text, sm.text()).err().unwrap_or_default().into_iter().map(place).collect()
}

fn assembles(sm: Sm) {
    let mut cases = cases();
    cases.retain(|case| case.form.needs.sm <= sm && case.form.needs.version <= sm.version());
    assert!(cases.len() > 1000, "{} cases", cases.len());
    let report: Vec<String> = complaints(&cases, sm.version(), sm).into_iter().map(|(_, line)| line).collect();
    assert!(report.is_empty(), "{} refused for {sm}:\n{}", report.len(), report.join("\n"));
}

#[test]
fn every_instruction_assembles_for_sm_80() {
    assembles(Sm::Sm80);
}

#[test]
fn every_instruction_assembles_for_sm_90() {
    assembles(Sm::Sm90);
}

/// What the table says is missing, is missing.
#[test]
fn needs_are_the_least() {
    let hopper: Vec<Case> = cases().into_iter().filter(|case| case.form.needs.sm == Sm::Sm90).collect();
    let newer: Vec<Case> = cases()
        .into_iter()
        .filter(|case| case.form.needs.sm == Sm::Sm80 && case.form.needs.version > Sm::Sm80.version())
        .collect();
    assert!(hopper.len() > 10 && !newer.is_empty());
    refused(&hopper, NEWEST, Sm::Sm80);
    for case in newer {
        let Version(major, minor) = case.form.needs.version;
        assert!(minor > 0, "the version before {major}.0 has no fixed number");
        refused(&[case], Version(major, minor - 1), Sm::Sm80);
    }
}

fn refused(cases: &[Case], version: Version, sm: Sm) {
    let complaints = complaints(cases, version, sm);
    for (n, case) in cases.iter().enumerate() {
        let hit = complaints.iter().any(|(number, _)| *number == n);
        assert!(hit, "{} {:?} assembles for {sm} in PTX {version}", case.op, case.words);
    }
}

/// Each instruction passes the verifier, and has a meaning: the interpreter runs it, or says why it cannot go on.
#[test]
fn every_instruction_is_interpreted() {
    for case in cases() {
        let entry = kernel("k".into(), &[(0, &case)]);
        let sm = case.form.needs.sm;
        let module = Module { version: case.form.needs.version.max(sm.version()), sm, entries: vec![entry] };
        verify(&module).unwrap_or_else(|error| panic!("{error}"));
        let mut memory = Memory::default();
        let buffer = memory.alloc(vec![0; 512]);
        let launch = Launch { grid: [1, 1, 1], args: vec![buffer + 256], dynamic_shared: 0 };
        let outcome = interpret(&module, "k", &launch, &mut memory, Options::default());
        let fault = outcome.err().map(|fault| fault.kind);
        let expected = match case.op {
            Op::Trap => Some(FaultKind::Trap),
            // The operands are no barriers, counts, lanes that are here, or written shared memory.
            Op::Bar | Op::Barrier | Op::Shfl | Op::Vote | Op::Redux | Op::Atom | Op::Red => fault,
            // All threads write to one place.
            Op::St | Op::Stmatrix if fault == Some(FaultKind::Race) => fault,
            Op::CpAsync if fault == Some(FaultKind::InFlight) => fault,
            _ => None,
        };
        assert_eq!(fault, expected, "{} {:?} {:?}", case.op, case.words, case.variant);
    }
}

/// The kernels of every program of the semantics suite, for `sm`: name of the case, entry with a name of its own. Programs that the
/// backend refuses are left out.
fn corpus(sm: Sm) -> (Vec<(String, Entry)>, Vec<String>) {
    let backend = Ptx::new(sm);
    let (mut kernels, mut refused) = (Vec::new(), Vec::new());
    for (number, case) in semantics::cases().iter().enumerate() {
        let tiles = linked(case).and_then(|function| {
            let plan = normalise(&function).and_then(|normal| optimise(&normal, backend.target()));
            plan.and_then(|plan| lower(&plan, backend.target())).map_err(|error| error.to_string())
        });
        let tiles = tiles.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        match backend.kernels(&tiles) {
            Ok(compiled) => {
                kernels.extend(compiled.into_iter().flat_map(|kernel| kernel.module.entries).map(|entry| {
                    let name = format!("case{number}_{}", entry.name);
                    (case.name.clone(), Entry { name, ..entry })
                }))
            }
            Err(CompileError::Unsupported(_)) => refused.push(case.name.clone()),
            Err(error) => panic!("{}: {error}", case.name),
        }
    }
    (kernels, refused)
}

/// What the backend writes, the assembler takes, and no register goes to memory.
fn corpus_assembles(sm: Sm) {
    let (kernels, refused) = corpus(sm);
    assert!(kernels.len() > 100, "{} kernels, refused: {refused:?}", kernels.len());
    assert!(refused.is_empty(), "refused: {refused:?}");
    let (mut wrong, mut spills) = (Vec::new(), Vec::new());
    for part in kernels.chunks(64) {
        let entries: Vec<Entry> = part.iter().map(|(_, entry)| entry.clone()).collect();
        let text = Module { entries, ..Module::new(sm) }.to_string();
        match ptxas::assemble(&text, sm.text()) {
            Err(complaints) => wrong.extend(complaints.iter().map(|complaint| {
                let line = text.lines().nth(complaint.line.saturating_sub(1)).unwrap_or_default();
                format!("{}: {}", line.trim(), complaint.message)
            })),
            Ok(usage) => spills.extend(part.iter().filter_map(|(case, entry)| {
                let usage = usage.get(&entry.name).expect("ptxas tells of every kernel");
                (usage.spill_stores + usage.spill_loads + usage.stack > 0).then_some(case.as_str())
            })),
        }
    }
    spills.dedup();
    assert!(spills.is_empty(), "programs with kernels that spill on {sm}: {spills:?}");
    assert!(wrong.is_empty(), "{sm}: {} of {} kernels:\n{}", wrong.len(), kernels.len(), wrong.join("\n"));
}

#[test]
fn kernels_of_the_corpus_assemble_for_sm_80() {
    corpus_assembles(Sm::Sm80);
}

#[test]
fn kernels_of_the_corpus_assemble_for_sm_90() {
    corpus_assembles(Sm::Sm90);
}
