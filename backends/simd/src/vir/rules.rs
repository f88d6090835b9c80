//! Typing rules: the type that an operation gives, and whether an instruction obeys its row.
//!
//! In: an operation with the types of its operands. Out: the inferred type (for the builder) or the reason of a refusal
//! (for the verifier). `for` and `if` are checked by the verifier, which sees their blocks.

use super::ops::{Group, Op, Rule};
use super::types::{Class, Elem, Type};

/// The type of the result where operands and immediates determine it; `None` where it must be stated.
pub(super) fn infer(op: Op, args: &[Type], imms: &[i64]) -> Option<Type> {
    let first = *args.first()?;
    match op.rule() {
        Rule::Same(_) | Rule::Insert => Some(first),
        Rule::Compare(_) => Some(first.with_elem(Elem::Bool)),
        Rule::Select | Rule::Lookup => args.get(1).copied(),
        Rule::DotBf16 => args.get(2).copied(),
        Rule::Reduce(_) | Rule::Extract => Some(first.with_lanes(1)),
        Rule::Shuffle => Some(first.with_lanes(u8::try_from(imms.len()).unwrap_or(0))),
        _ => None,
    }
}

/// Checks operands, immediates and result of an instruction without blocks.
pub(super) fn check(op: Op, args: &[Type], imms: &[i64], result: Option<Type>) -> Result<(), String> {
    check_counts(op, args.len(), imms.len(), result.is_some())?;
    if let Some(ty) = args.iter().copied().chain(result).find(|ty| !ty.is_legal()) {
        return Err(format!("{} lanes are not a power of two from 1 to {}", ty.lanes, Type::MAX_LANES));
    }
    if let (Some(result), Some(inferred)) = (result, infer(op, args, imms)) {
        require(result == inferred, || format!("the result is {inferred}, not {result}"))?;
    }
    match result {
        Some(result) => check_value(op, args, imms, result),
        None => check_write(op, args),
    }
    .and_then(|()| check_address(op, imms))
}

fn require(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

fn check_counts(op: Op, args: usize, imms: usize, has_result: bool) -> Result<(), String> {
    let (args_range, imms_range) = match (op.group(), op.rule()) {
        (Group::Unary | Group::Convert, _) => (1..=1, 0..=0),
        (Group::Binary, _) => (2..=2, 0..=0),
        (Group::Ternary, _) => (3..=3, 0..=0),
        (_, Rule::Const) => (0..=0, 1..=1),
        (_, Rule::Iota) => (0..=0, 0..=0),
        (_, Rule::Splat | Rule::Bitcast) => (1..=1, 0..=0),
        (_, Rule::Load) => (1..=2, 2..=2),
        (_, Rule::Store | Rule::LoadPart | Rule::Gather) => (2..=3, 2..=2),
        (_, Rule::StorePart | Rule::Scatter) => (3..=4, 2..=2),
        (_, Rule::Extract) => (1..=1, 1..=1),
        (_, Rule::Insert) => (2..=2, 1..=1),
        (_, Rule::Shuffle) => (2..=2, 2..=usize::from(Type::MAX_LANES)),
        _ => return Err(format!("`{}` has blocks and its own check", op.mnemonic())),
    };
    require(args_range.contains(&args), || format!("takes {args_range:?} operands, not {args}"))?;
    require(imms_range.contains(&imms), || format!("takes {imms_range:?} immediates, not {imms}"))?;
    let writes = matches!(op.rule(), Rule::Store | Rule::StorePart | Rule::Scatter);
    require(has_result != writes, || format!("must have {} result", if writes { "no" } else { "one" }))
}

fn check_value(op: Op, args: &[Type], imms: &[i64], result: Type) -> Result<(), String> {
    let in_class = |ty: Type, class| require(ty.elem.is(class), || format!("{ty} is not of {class:?}"));
    let same =
        |ty: Type| args.iter().try_for_each(|arg| require(*arg == ty, || format!("an operand is {arg}, not {ty}")));
    match op.rule() {
        Rule::Same(class) => in_class(result, class).and_then(|()| same(result)),
        Rule::Compare(class) => in_class(args[0], class).and_then(|()| same(args[0])),
        Rule::Select => {
            let cond = args[0];
            require(cond.elem == Elem::Bool && [1, result.lanes].contains(&cond.lanes), || {
                format!("the condition is {cond}, not bool or a mask of {} lanes", result.lanes)
            })?;
            require(args[1] == result && args[2] == result, || format!("chooses between {} and {}", args[1], args[2]))
        }
        Rule::Reduce(class) => in_class(result, class).and_then(|()| vector(args[0])),
        Rule::Convert(accepts) => require(accepts(args[0].elem, result.elem) && args[0].lanes == result.lanes, || {
            format!("does not convert {} to {result}", args[0])
        }),
        Rule::Bitcast => require(
            args[0].bytes() == result.bytes() && args[0].elem != Elem::Bool && result.elem != Elem::Bool,
            || format!("cannot see {} as {result}", args[0]),
        ),
        Rule::Const => Ok(()),
        Rule::Iota => in_class(result, Class::Int).and_then(|()| vector(result)),
        Rule::Splat => vector(result).and_then(|()| same(result.with_lanes(1))),
        Rule::Load => addresses(args),
        Rule::LoadPart => vector(result).and_then(|()| addresses(args)),
        Rule::Gather => vector(result).and_then(|()| gather_operands(args, result)),
        Rule::Extract => vector(args[0]).and_then(|()| lane_number(imms[0], args[0].lanes)),
        Rule::Insert => {
            vector(result)?;
            require(args[1] == result.with_lanes(1), || format!("inserts {} into {result}", args[1]))?;
            lane_number(imms[0], result.lanes)
        }
        Rule::Shuffle => {
            vector(args[0])?;
            same(args[0])?;
            imms.iter().try_for_each(|lane| lane_number(*lane, args[0].lanes * 2))
        }
        Rule::Lookup => require(args[0] == Type::vector(Elem::I8, 16) && result.elem == Elem::I8, || {
            format!("looks up {} in {}, not bytes in i8x16", args[1], args[0])
        })
        .and_then(|()| vector(result)),
        Rule::DotBf16 => {
            let pairs = Type::vector(Elem::I16, result.lanes.saturating_mul(2));
            require(args[0] == pairs && args[1] == pairs && result.elem == Elem::F32, || {
                format!("sums products of {} and {} in {result}", args[0], args[1])
            })
            .and_then(|()| vector(result))
        }
        Rule::Store | Rule::StorePart | Rule::Scatter | Rule::For | Rule::If => Err("has no value".into()),
    }
}

fn check_write(op: Op, args: &[Type]) -> Result<(), String> {
    match op.rule() {
        Rule::StorePart => vector(args[0]).and_then(|()| addresses(&args[1..])),
        Rule::Scatter => vector(args[0]).and_then(|()| gather_operands(&args[1..], args[0])),
        _ => addresses(&args[1..]),
    }
}

fn check_address(op: Op, imms: &[i64]) -> Result<(), String> {
    match op.rule() {
        Rule::Load | Rule::Store | Rule::LoadPart | Rule::StorePart | Rule::Gather | Rule::Scatter => {
            require(imms[0] > 0 && i32::try_from(imms[0]).is_ok(), || format!("scale {} is not positive", imms[0]))?;
            require(i32::try_from(imms[1]).is_ok(), || format!("displacement {} exceeds 32 bits", imms[1]))
        }
        _ => Ok(()),
    }
}

fn vector(ty: Type) -> Result<(), String> {
    require(!ty.is_scalar(), || format!("{ty} is not a vector"))
}

fn lane_number(lane: i64, lanes: u8) -> Result<(), String> {
    require((0..i64::from(lanes)).contains(&lane), || format!("lane {lane} is not below {lanes}"))
}

fn addresses(args: &[Type]) -> Result<(), String> {
    args.iter().try_for_each(|arg| require(*arg == Type::I64, || format!("an address or count is {arg}, not i64")))
}

fn gather_operands(args: &[Type], ty: Type) -> Result<(), String> {
    addresses(&args[..1])?;
    let indices = args[1];
    require(indices.elem.is(Class::WideInt) && indices.lanes == ty.lanes, || {
        format!("the indices are {indices}, not {} of i32 or i64", ty.lanes)
    })?;
    match args.get(2) {
        Some(mask) => require(*mask == ty.with_elem(Elem::Bool), || format!("the mask is {mask}")),
        None => Ok(()),
    }
}
