//! The verifier's and the parser's objections, the interpreter's limits, and what tidying does.

use super::{Address, Builder, Elem, Function, Memory, Op, Options, Type, interpret, parse, tidy, verify};

/// A kernel with these lines in its entry block.
fn kernel(lines: &str) -> String {
    format!("kernel k scratch 0 {{\nparams %0: i64, %1: i64, %2: i64, %3: i64\n{lines}\n}}\n")
}

/// What the parser or the verifier says about these lines.
fn objection(lines: &str) -> String {
    match parse(&kernel(lines)) {
        Ok(_) => format!("accepted: {lines}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn broken_rules_are_named() {
    let cases = [
        ("%4: i64 = add %0, %9", "%9 is not defined here"),
        ("%4: i64 = add %0, %1\n%4: i64 = add %0, %1", "%4 is defined twice"),
        ("%4: i64 = add %0", "takes 2..=2 operands, not 1"),
        ("%4: i32 = add %0, %1", "the result is i64, not i32"),
        ("%4: f32 = const 1.0\n%5: f32 = and %4, %4", "f32 is not of Bits"),
        ("%4: i64x4 = splat %0\n%5: i64x4 = add %4, %0", "an operand is i64, not i64x4"),
        ("%4: i64 = select %0, %1, %2", "the condition is i64"),
        ("%4: i64x2 = splat %0\n%5: i64x4 = shuffle %4, %4 [0, 1, 2, 4]", "lane 4 is not below 4"),
        ("%4: i64x2 = splat %0\n%5: i64 = extract %4 [2]", "lane 2 is not below 2"),
        ("%4: i8 = narrow %0\n%5: i64 = narrow %4", "does not convert i8 to i64"),
        ("%4: i64 = load %0 [0, 0]", "scale 0 is not positive"),
        ("%4: i64 = load %0 [1, 4294967296]", "displacement 4294967296 exceeds 32 bits"),
        ("%4: i32 = narrow %0\n%5: i64 = load %4 [1, 0]", "an address or count is i32, not i64"),
        ("%4: i64 = store %0, %1 [1, 0]", "must have no result"),
        ("load %0 [1, 0]", "must have one result"),
        ("%4: i64 = for %0, %1, %2 [1] {\nparams %5: i64, %6: i64\nyield %5, %6\n}", "yields other types"),
        ("for %0, %1 [0] {\nparams %5: i64\n}", "the step is one positive constant"),
        ("for %0, %1, %2 [1] {\nparams %5: i64\n}", "the body's parameters"),
        ("if %0 {\n} else {\n}", "takes one scalar bool and two blocks"),
        ("%4: bool = eq %0, %1\nif %4 {\n}", "takes one scalar bool and two blocks"),
        ("%4: bool = eq %0, %1\nif %4 {\n%5: i64 = add %0, %1\n} else {\n}\n%6: i64 = add %5, %5", "%5 is not defined"),
        ("yield %0", "it takes four i64 and yields nothing"),
    ];
    for (lines, message) in cases {
        let said = objection(lines);
        assert!(said.contains(message), "{lines}\nsays: {said}\nnot: {message}");
    }
}

#[test]
fn mistakes_in_text_have_a_place() {
    let cases = [
        ("%4: i64 = frobnicate %0", "3:11: there is no operation `frobnicate`"),
        ("%4: i65 = add %0, %1", "3:5: `i65` is not a type"),
        ("%4: i64x3 = add %0, %1", "3:5: `i64x3` is not a type"),
        ("%4: i64 = add %0 %1", "3:18: unexpected `%1`"),
        ("%4: i64 = const one", "3:17: `one` is not a constant of i64"),
        ("%9999999: i64 = add %0, %1", "3:1: value numbers stay below"),
        ("for %0, %1 [1] {", "the text ends inside a kernel"),
    ];
    for (lines, message) in cases {
        let said = objection(lines);
        assert!(said.contains(message), "{lines}\nsays: {said}\nnot: {message}");
    }
    let deep = "if %4 {\n".repeat(70);
    assert!(objection(&format!("%4: bool = eq %0, %1\n{deep}")).contains("blocks nest deeper than 64"));
    assert!(parse("").is_err());
    assert!(parse(&format!("{}x", kernel(""))).is_err());
}

#[test]
fn mnemonics_are_unique() {
    for op in Op::ALL {
        assert_eq!(Op::from_mnemonic(op.mnemonic()), Some(*op));
    }
}

/// A kernel that stores the result of `build` to its first argument.
fn storing(build: impl FnOnce(&mut Builder) -> super::Val) -> Function {
    let mut b = Builder::new("k");
    let out = b.arg(0, Type::I64);
    let value = build(&mut b);
    b.store(value, Address::new(out));
    b.finish().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_interpreter_refuses_what_is_out_of_bounds_or_endless() {
    let func = storing(|b| b.iota(Type::vector(Elem::I32, 4)));
    let mut memory = Memory::default();
    let (room, short) = (memory.alloc(vec![0; 16]), memory.alloc(vec![0; 15]));
    assert!(interpret(&func, &mut memory, &[room], (0, 1), Options::default()).is_ok());
    assert_eq!(memory.contents(room), [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
    let error = interpret(&func, &mut memory, &[short], (0, 1), Options::default()).expect_err("one byte is missing");
    assert!(error.to_string().contains("outside of memory"), "{error}");
    let options = Options { max_steps: 2, ..Options::default() };
    assert!(interpret(&func, &mut memory, &[room], (0, 1), options).is_err());
}

#[test]
fn an_unbalanced_or_ill_typed_function_is_refused() {
    let mut b = Builder::new("k");
    let (first, end) = (b.first(), b.end());
    b.begin_for(first, end, 1, &[]);
    assert!(b.finish().is_err());
    let mut b = Builder::new("k");
    let (one, first) = (b.float(Type::F32, 1.0), b.first());
    b.add(one, first);
    assert!(b.finish().is_err());
    assert!(Builder::new("no spaces").finish().is_err());
}

#[test]
fn tidying_shares_moves_and_folds() {
    let mut b = Builder::new("k");
    let base = b.arg(0, Type::I64);
    let (first, end) = (b.first(), b.end());
    let (iv, _) = b.begin_for(first, end, 1, &[]);
    // Invariant, written twice; an address with constants; an unused value.
    let stride = b.arg(1, Type::I64);
    let again = b.arg(1, Type::I64);
    let sum = b.add(stride, again);
    let (four, eight) = (b.i64(4), b.i64(8));
    let next = b.add(iv, eight);
    let bytes = b.mul(next, four);
    let unused = b.add(bytes, sum);
    b.mul(unused, unused);
    let value = b.load(Type::F32, Address::indexed(base, bytes, 1));
    let scaled = b.sint_to_float(sum, Elem::F32);
    let value = b.mul(value, scaled);
    let shifted = b.add(base, eight);
    b.store(value, Address::indexed(shifted, iv, 4));
    b.end_for(&[]);
    let tidied = tidy(&b.finish().expect("well formed"));
    assert_eq!(verify(&tidied), Ok(()));
    let expected = kernel(
        "  %4: i64 = load %0 [1, 0]
  %5: i64 = load %0 [1, 8]
  %6: i64 = add %5, %5
  %7: f32 = sint_to_float %6
  for %1, %2 [1] {
    params %8: i64
    %9: f32 = load %4, %8 [4, 32]
    %10: f32 = mul %9, %7
    store %10, %4, %8 [4, 8]
  }",
    );
    let expected = expected.replacen("params", "  params", 1);
    assert_eq!(tidied.to_string(), expected);
}

#[test]
fn tidying_takes_single_turns_and_known_branches_apart() {
    let func = storing(|b| {
        let (zero, four) = (b.i64(0), b.i64(4));
        let init = b.int(Type::I32, 3);
        let turned = b.for_loop(zero, four, 4, &[init], |b, iv, carried| {
            let step = b.narrow(iv, Elem::I32);
            vec![b.add(carried[0], step)]
        });
        let three = b.int(Type::I32, 3);
        let is_three = b.eq(turned[0], three);
        b.if_else(is_three, |_| turned.clone(), |b| vec![b.int(Type::I32, 7)])[0]
    });
    let expected = kernel("  %4: i64 = load %0 [1, 0]\n  %5: i32 = const 3\n  store %5, %4 [1, 0]");
    assert_eq!(tidy(&func).to_string(), expected.replacen("params", "  params", 1));
}
