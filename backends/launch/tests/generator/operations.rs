//! Every operation of the table, on every type that its rule accepts, against the interpreter.

use sawmill_simd::vir::{Address, Builder, Elem, Function, Group, Op, Type, Val, parse};

use crate::harness::{Buffer, Random, compare};
use crate::subject::Subject;
use crate::subjects::{lesser, subjects};

const LANES: [u8; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Elements of each operand.
const COUNT: usize = 256;

fn operands(op: Op) -> usize {
    match op.group() {
        Group::Unary | Group::Convert => 1,
        Group::Binary => 2,
        Group::Ternary => 3,
        Group::Special => 0,
    }
}

/// A kernel that applies `op` to consecutive vectors of its operands; `None` if the typing rule refuses the types.
fn kernel(op: Op, args: &[Type], result: Type) -> Option<Function> {
    let mut b = Builder::new(op.mnemonic());
    let buffers: Vec<Val> = (0..=args.len()).map(|word| b.arg(word as u32, Type::I64)).collect();
    let (first, end) = (b.first(), b.end());
    let (iv, _) = b.begin_for(first, end, 1, &[]);
    let place = |b: &mut Builder, buffer: usize, ty: Type| {
        let bytes = b.i64(i64::from(ty.bytes()));
        let offset = b.mul(iv, bytes);
        Address::indexed(buffers[buffer], offset, 1)
    };
    let values: Vec<Val> = args
        .iter()
        .enumerate()
        .map(|(number, ty)| {
            let at = place(&mut b, number, *ty);
            b.load(*ty, at)
        })
        .collect();
    let value = b.value(op, &values, &[], result);
    let at = place(&mut b, args.len(), result);
    b.store(value, at);
    b.end_for(&[]);
    b.finish().ok()
}

/// Operand and result types worth trying for an operation.
fn candidates(op: Op) -> Vec<(Vec<Type>, Type)> {
    let mut all = Vec::new();
    for lanes in LANES {
        for from in Elem::ALL {
            let ty = Type::vector(from, lanes);
            for to in Elem::ALL {
                all.push((vec![ty; operands(op)], ty.with_elem(to)));
            }
            all.push((vec![ty; operands(op)], ty.with_lanes(1)));
            all.push((vec![Type::BOOL, ty, ty], ty));
            all.push((vec![ty.with_elem(Elem::Bool), ty, ty], ty));
            all.push((vec![Type::vector(Elem::I8, 16), ty], ty));
            let half = Type::vector(Elem::F32, (lanes / 2).max(1));
            all.push((vec![ty, ty, half], half));
        }
    }
    all.retain(|(args, _)| args.len() == operands(op));
    all.sort();
    all.dedup();
    all
}

fn check_table(subject: &Subject) {
    let mut random = Random(1);
    for op in Op::ALL.iter().filter(|op| op.group() != Group::Special) {
        let mut accepted = 0;
        for (args, result) in candidates(*op) {
            let Some(func) = kernel(*op, &args, result) else { continue };
            accepted += 1;
            let blocks = args.iter().map(|ty| COUNT / usize::from(ty.lanes)).min().unwrap_or(0);
            let mut buffers: Vec<Buffer> = Vec::new();
            for ty in &args {
                let words: Vec<u64> = (0..COUNT).map(|_| random.bits(ty.elem)).collect();
                buffers.push(Buffer::of(ty.elem, &words));
            }
            buffers.push(Buffer::room(result.elem, COUNT));
            compare(subject, &func, &buffers, &[], (0, blocks as u64));
        }
        assert!(accepted > 0, "no type fits `{}`", op.mnemonic());
    }
}

#[test]
fn every_operation_agrees_with_the_interpreter() {
    subjects().iter().for_each(check_table);
}

#[test]
fn every_operation_agrees_on_lesser_processors() {
    lesser().iter().for_each(check_table);
}

#[test]
fn text_round_trips() {
    for op in Op::ALL.iter().filter(|op| op.group() != Group::Special) {
        for (args, result) in candidates(*op) {
            let Some(func) = kernel(*op, &args, result) else { continue };
            let text = func.to_string();
            let again = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(again.to_string(), text);
        }
    }
}
