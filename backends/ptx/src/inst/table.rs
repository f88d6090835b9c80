//! The table of instructions.
//!
//! A row is an operation: its name, the first word of its mnemonic, and its forms. Adding an instruction is adding a row and its
//! meaning in the interpreter; printing, checking and building follow. A test assembles every mnemonic of every row with
//! `ptxas` for every target, so the table is what the assembler takes. Source: the PTX ISA, version 9.0.

use super::form::Count::{Is as Exactly, Word as ByWord};
use super::form::Form;
use super::form::Piece::{In, Is, Opt};
use super::form::Slot::{Const, Def, Defs, Maybe, Mem, MemOfWord, OneOf, Special, Symbol, Target, Use, Uses, Value};
use super::form::Space;
use super::form::Ty::{Is as Ty, LooseS, LooseT, S, T, Wide as TWide};
use super::word::Word::{
    self, Acquire, Add, Aligned, All, And, Any, Approx, Arrive, Async, B8, B16, B32, B64, Ballot, Bf16, Bf16x2, Bfly,
    Ca, Cas, Cg, Clamp, Col, CommitGroup, Cs, Cta, Cv, Down, E4m3x2, E5m2x2, Eq, Equ, EvictFirst, EvictLast, Exch, F16,
    F16x2, F32, F64, Ftz, Full, Ge, Geu, Global, Gpu, Gt, Gtu, Hi, Idx, IsNan, L, L2Fetch, Le, Leu, Lo, Lt, Ltu, M8n8,
    M8n8k4, M16n8k4, M16n8k8, M16n8k16, M16n8k32, Max, Min, Nan, Nc, Ne, Neu, NoAllocate, Noftz, Num, Or, Param, Pred,
    R, Relaxed, Release, Relu, Rm, Rmi, Rn, Rna, Rni, Row, Rp, Rpi, Rz, Rzi, S8, S16, S32, S64, Sat, Satfinite, Shared,
    Sync, Sys, Tf32, To, Trans, U8, U16, U32, U64, Uni, Up, V2, V4, WaitAll, WaitGroup, Warp, Wb, Wide, Wrap, Wt, X1,
    X2, X4, Xor,
};
use std::fmt;

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident $text:literal [$($form:expr,)*])*) => {
        /// An operation: a row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Op { $($(#[$doc])* $name,)* }

        impl Op {
            /// Every operation, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// The first word of the mnemonic.
            pub const fn text(self) -> &'static str { match self { $(Self::$name => $text,)* } }
            /// The forms, tried in order.
            pub const fn forms(self) -> &'static [Form] { match self { $(Self::$name => const { &[$($form,)*] },)* } }
        }
    };
}

const ROUND: &[Word] = &[Rn, Rz, Rm, Rp];
const ROUND_INT: &[Word] = &[Rni, Rzi, Rmi, Rpi];
const INTS: &[Word] = &[U16, S16, U32, S32, U64, S64];
const ALL_INTS: &[Word] = &[U8, S8, U16, S16, U32, S32, U64, S64];
const WORDS: &[Word] = &[U32, S32, U64, S64];
const BITS: &[Word] = &[B16, B32, B64];
const VALUES: &[Word] = &[B16, B32, B64, F32, F64];
const LOGIC: &[Word] = &[Pred, B16, B32, B64];
const HALVES: &[Word] = &[F16, F16x2];
const BRAINS: &[Word] = &[Bf16, Bf16x2];
const MEMORY: &[Word] = &[B8, U8, S8, B16, U16, S16, B32, U32, S32, B64, U64, S64, F32, F64];
const WIDE_MEMORY: &[Word] = &[B32, U32, S32, F32];
const VECTOR: &[Word] = &[V2, V4];
const SPACES: &[Word] = &[Global, Shared];
const LOAD_CACHE: &[Word] = &[Ca, Cg, Cs, Cv, EvictFirst, EvictLast, NoAllocate];
const STORE_CACHE: &[Word] = &[Wb, Cg, Cs, Wt, EvictFirst, EvictLast, NoAllocate];
const EVICT: &[Word] = &[EvictFirst, EvictLast, NoAllocate];
const ORDER: &[Word] = &[Relaxed, Acquire, Release, Word::AcqRel];
const STORE_ORDER: &[Word] = &[Relaxed, Release];
const ORDERED: &[Word] = &[B32, U32, S32, F32, B64, U64, S64];
const SCOPE: &[Word] = &[Cta, Gpu, Sys];
const INT_COMPARE: &[Word] = &[Eq, Ne, Lt, Le, Gt, Ge];
const FLOAT_COMPARE: &[Word] = &[Eq, Ne, Lt, Le, Gt, Ge, Equ, Neu, Ltu, Leu, Gtu, Geu, Num, IsNan];
/// The lanes that take part.
const MASK: super::form::Slot = Value(Ty(U32));

ops! {
    /// Copies a register, an immediate, a special register or a shared variable's address.
    Mov "mov" [
        Form::new(&[In(&[B16, B32, B64, F32, F64, U16, S16, U32, S32, U64, S64])], &[Def(T), Value(T)]),
        Form::new(&[Is(Pred)], &[Def(T), Use(T)]),
    ]
    /// Reads a special register.
    ReadSpecial "mov" [Form::new(&[In(&[U32, U64])], &[Def(T), Special(T)]),]
    /// The address of a shared variable in its space.
    AddressOf "mov" [Form::new(&[Is(U32)], &[Def(T), Symbol]),]
    /// Joins registers, the first in the low bits.
    Pack "mov" [
        Form::new(&[Is(B32)], &[Def(T), Uses(Ty(B16), Exactly(2))]),
        Form::new(&[Is(B64)], &[Def(T), Uses(Ty(B32), Exactly(2))]),
    ]
    /// Splits a register, the low bits into the first.
    Unpack "mov" [
        Form::new(&[Is(B32)], &[Defs(Ty(B16), Exactly(2)), Use(T)]),
        Form::new(&[Is(B64)], &[Defs(Ty(B32), Exactly(2)), Use(T)]),
    ]
    /// Converts. Packed conversions take the upper half first.
    Cvt "cvt" [
        Form::new(&[In(ALL_INTS), In(ALL_INTS)], &[Def(LooseT), Use(LooseS)]),
        // Where the source has values that the result lacks.
        Form::new(&[Is(Sat), Is(U8), In(&[S8, U16, S16, U32, S32, U64, S64])], &[Def(LooseT), Use(LooseS)]),
        Form::new(&[Is(Sat), Is(S8), In(&[U8, U16, S16, U32, S32, U64, S64])], &[Def(LooseT), Use(LooseS)]),
        Form::new(&[Is(Sat), Is(U16), In(&[S8, S16, U32, S32, U64, S64])], &[Def(LooseT), Use(LooseS)]),
        Form::new(&[Is(Sat), Is(S16), In(&[U16, U32, S32, U64, S64])], &[Def(LooseT), Use(LooseS)]),
        Form::new(&[Is(Sat), Is(U32), In(&[S8, S16, S32, U64, S64])], &[Def(LooseT), Use(LooseS)]),
        Form::new(&[Is(Sat), Is(S32), In(&[U32, U64, S64])], &[Def(LooseT), Use(LooseS)]),
        Form::new(&[Is(Sat), Is(U64), In(&[S8, S16, S32, S64])], &[Def(LooseT), Use(LooseS)]),
        Form::new(&[Is(Sat), Is(S64), Is(U64)], &[Def(LooseT), Use(LooseS)]),
        Form::new(&[In(ROUND), In(&[F16, F32, F64]), In(ALL_INTS)], &[Def(T), Use(LooseS)]),
        Form::new(&[In(ROUND), Is(Bf16), In(INTS)], &[Def(T), Use(S)]).hopper(7, 8),
        Form::new(&[In(ROUND_INT), In(ALL_INTS), In(&[F16, F32, F64])], &[Def(LooseT), Use(S)]),
        Form::new(&[In(ROUND_INT), In(INTS), Is(Bf16)], &[Def(T), Use(S)]).hopper(7, 8),
        Form::new(&[In(ROUND), Is(F16), In(&[F32, F64])], &[Def(T), Use(S)]),
        Form::new(&[In(ROUND), Is(F32), Is(F64)], &[Def(T), Use(S)]),
        Form::new(&[In(&[Rn, Rz]), Is(Bf16), Is(F32)], &[Def(T), Use(S)]),
        Form::new(&[Is(F32), Is(F16)], &[Def(T), Use(S)]),
        Form::new(&[Is(F64), In(&[F16, F32])], &[Def(T), Use(S)]),
        Form::new(&[Is(F32), Is(Bf16)], &[Def(T), Use(S)]),
        Form::new(&[In(ROUND_INT), Is(F16), Is(F16)], &[Def(T), Use(S)]),
        Form::new(&[In(ROUND_INT), Is(F32), Is(F32)], &[Def(T), Use(S)]),
        Form::new(&[In(ROUND_INT), Is(F64), Is(F64)], &[Def(T), Use(S)]),
        Form::new(&[In(&[Rn, Rz]), Opt(&[Relu]), In(&[F16x2, Bf16x2]), Is(F32)], &[Def(T), Use(S), Use(S)]),
        Form::new(&[Is(Rn), Is(Satfinite), In(&[E4m3x2, E5m2x2]), Is(F32)], &[Def(T), Use(S), Use(S)]).hopper(7, 8),
        Form::new(&[Is(Rn), Is(Satfinite), In(&[E4m3x2, E5m2x2]), Is(F16x2)], &[Def(T), Use(S)]).hopper(7, 8),
        Form::new(&[Is(Rn), Is(F16x2), In(&[E4m3x2, E5m2x2])], &[Def(T), Use(S)]).hopper(7, 8),
        Form::new(&[Is(Rna), Is(Tf32), Is(F32)], &[Def(T), Use(S)]),
    ]
    /// Sum.
    Add "add" [
        Form::new(&[In(INTS)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Is(Rn), Opt(&[Ftz]), Is(F32)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Is(Rn), Is(F64)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Is(Rn), In(HALVES)], &[Def(T), Use(T), Use(T)]),
        Form::new(&[Is(Rn), In(BRAINS)], &[Def(T), Use(T), Use(T)]).hopper(7, 8),
    ]
    /// Difference.
    Sub "sub" [
        Form::new(&[In(INTS)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Is(Rn), Opt(&[Ftz]), Is(F32)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Is(Rn), Is(F64)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Is(Rn), In(HALVES)], &[Def(T), Use(T), Use(T)]),
        Form::new(&[Is(Rn), In(BRAINS)], &[Def(T), Use(T), Use(T)]).hopper(7, 8),
    ]
    /// Product; of integers the low half, the high half or all of it.
    Mul "mul" [
        Form::new(&[In(&[Lo, Hi]), In(INTS)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Is(Wide), In(&[U16, S16, U32, S32])], &[Def(TWide), Value(T), Value(T)]),
        Form::new(&[Is(Rn), Opt(&[Ftz]), Is(F32)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Is(Rn), Is(F64)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Is(Rn), In(HALVES)], &[Def(T), Use(T), Use(T)]),
        Form::new(&[Is(Rn), In(BRAINS)], &[Def(T), Use(T), Use(T)]).hopper(7, 8),
    ]
    /// Product and sum of integers.
    Mad "mad" [
        Form::new(&[In(&[Lo, Hi]), In(INTS)], &[Def(T), Value(T), Value(T), Value(T)]),
        Form::new(&[Is(Wide), In(&[U16, S16, U32, S32])], &[Def(TWide), Value(T), Value(T), Value(TWide)]),
    ]
    /// Product and sum of floats, rounded once.
    Fma "fma" [
        Form::new(&[Is(Rn), Opt(&[Ftz]), Is(F32)], &[Def(T), Value(T), Value(T), Value(T)]),
        Form::new(&[Is(Rn), Is(F64)], &[Def(T), Value(T), Value(T), Value(T)]),
        Form::new(&[Is(Rn), In(HALVES)], &[Def(T), Use(T), Use(T), Use(T)]),
        Form::new(&[Is(Rn), In(BRAINS)], &[Def(T), Use(T), Use(T), Use(T)]),
    ]
    /// Quotient; of integers rounded to zero.
    Div "div" [
        Form::new(&[In(INTS)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Is(Rn), In(&[F32, F64])], &[Def(T), Value(T), Value(T)]),
        Form::new(&[In(&[Approx, Full]), Is(F32)], &[Def(T), Value(T), Value(T)]),
    ]
    /// Remainder of [`Op::Div`], with the sign of the dividend.
    Rem "rem" [Form::new(&[In(INTS)], &[Def(T), Value(T), Value(T)]),]
    /// Smaller of two. Without `NaN` the other operand wins over a NaN.
    Min "min" [
        Form::new(&[In(INTS)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Opt(&[Nan]), Is(F32)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Is(F64)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Opt(&[Nan]), In(&[F16, F16x2, Bf16, Bf16x2])], &[Def(T), Use(T), Use(T)]),
    ]
    /// Larger of two. Without `NaN` the other operand wins over a NaN.
    Max "max" [
        Form::new(&[In(INTS)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Opt(&[Nan]), Is(F32)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Is(F64)], &[Def(T), Value(T), Value(T)]),
        Form::new(&[Opt(&[Nan]), In(&[F16, F16x2, Bf16, Bf16x2])], &[Def(T), Use(T), Use(T)]),
    ]
    /// Negation.
    Neg "neg" [Form::new(&[In(&[S16, S32, S64, F32, F64, F16, F16x2, Bf16, Bf16x2])], &[Def(T), Use(T)]),]
    /// Absolute value.
    Abs "abs" [Form::new(&[In(&[S16, S32, S64, F32, F64, F16, F16x2, Bf16, Bf16x2])], &[Def(T), Use(T)]),]
    /// The second operand with the sign of the first.
    Copysign "copysign" [Form::new(&[In(&[F32, F64])], &[Def(T), Value(T), Value(T)]),]
    /// Square root.
    Sqrt "sqrt" [
        Form::new(&[Is(Rn), In(&[F32, F64])], &[Def(T), Value(T)]),
        Form::new(&[Is(Approx), Opt(&[Ftz]), Is(F32)], &[Def(T), Value(T)]),
    ]
    /// Reciprocal square root.
    Rsqrt "rsqrt" [
        Form::new(&[Is(Approx), Opt(&[Ftz]), Is(F32)], &[Def(T), Value(T)]),
        Form::new(&[Is(Approx), Is(F64)], &[Def(T), Value(T)]),
    ]
    /// Reciprocal.
    Rcp "rcp" [
        Form::new(&[Is(Rn), In(&[F32, F64])], &[Def(T), Value(T)]),
        Form::new(&[Is(Approx), Opt(&[Ftz]), Is(F32)], &[Def(T), Value(T)]),
    ]
    /// 2 to the operand.
    Exp2 "ex2" [Form::new(&[Is(Approx), Opt(&[Ftz]), Is(F32)], &[Def(T), Value(T)]),]
    /// Logarithm to base 2.
    Log2 "lg2" [Form::new(&[Is(Approx), Opt(&[Ftz]), Is(F32)], &[Def(T), Value(T)]),]
    /// Sine.
    Sin "sin" [Form::new(&[Is(Approx), Opt(&[Ftz]), Is(F32)], &[Def(T), Value(T)]),]
    /// Cosine.
    Cos "cos" [Form::new(&[Is(Approx), Opt(&[Ftz]), Is(F32)], &[Def(T), Value(T)]),]
    /// Hyperbolic tangent.
    Tanh "tanh" [Form::new(&[Is(Approx), Is(F32)], &[Def(T), Value(T)]),]
    /// Bitwise, or logical, and.
    And "and" [
        Form::new(
            &[In(BITS)], &[Def(T), Value(T), Value(T)]), Form::new(&[Is(Pred)],
            &[Def(T), Use(T), Use(T)],
        ),
    ]
    /// Bitwise, or logical, or.
    Or "or" [Form::new(&[In(BITS)], &[Def(T), Value(T), Value(T)]), Form::new(&[Is(Pred)], &[Def(T), Use(T), Use(T)]),]
    /// Bitwise, or logical, exclusive or.
    Xor "xor" [
        Form::new(
            &[In(BITS)], &[Def(T), Value(T), Value(T)]), Form::new(&[Is(Pred)],
            &[Def(T), Use(T), Use(T)],
        ),
    ]
    /// Bitwise, or logical, not.
    Not "not" [Form::new(&[In(LOGIC)], &[Def(T), Use(T)]),]
    /// Any function of three bits; the last operand is its truth table.
    Lop3 "lop3" [Form::new(&[Is(B32)], &[Def(T), Value(T), Value(T), Value(T), Const(0, 255)]),]
    /// Left; all bits go beyond the width.
    Shl "shl" [Form::new(&[In(BITS)], &[Def(T), Value(T), Value(Ty(U32))]),]
    /// Right, by the type arithmetic or logical; all bits go beyond the width.
    Shr "shr" [Form::new(&[In(INTS)], &[Def(T), Value(T), Value(Ty(U32))]),]
    /// 32 of the 64 bits of two registers, the first low, shifted by the third.
    Shf "shf" [Form::new(&[In(&[L, R]), In(&[Wrap, Clamp]), Is(B32)], &[Def(T), Value(T), Value(T), Value(Ty(U32))]),]
    /// Four bytes of the eight of two registers, by a selector.
    Prmt "prmt" [Form::new(&[Is(B32)], &[Def(T), Value(T), Value(T), Value(Ty(B32))]),]
    /// The bits from a position on, a length of them, extended by sign or zeros.
    Bfe "bfe" [Form::new(&[In(WORDS)], &[Def(T), Value(T), Value(Ty(U32)), Value(Ty(U32))]),]
    /// The first operand's low bits put into the second at a position, a length of them.
    Bfi "bfi" [Form::new(&[In(&[B32, B64])], &[Def(T), Value(T), Value(T), Value(Ty(U32)), Value(Ty(U32))]),]
    /// Number of set bits.
    Popc "popc" [Form::new(&[In(&[B32, B64])], &[Def(Ty(U32)), Value(T)]),]
    /// Number of zeros above the highest set bit.
    Clz "clz" [Form::new(&[In(&[B32, B64])], &[Def(Ty(U32)), Value(T)]),]
    /// Bits in reverse order.
    Brev "brev" [Form::new(&[In(&[B32, B64])], &[Def(T), Value(T)]),]
    /// Sum of four products of bytes and a 32-bit value.
    Dp4a "dp4a" [Form::new(&[In(&[U32, S32]), In(&[U32, S32])], &[Def(Ty(U32)), Value(T), Value(S), Value(Ty(U32))]),]
    /// Compares.
    Setp "setp" [
        Form::new(&[In(INT_COMPARE), In(INTS)], &[Def(Ty(Pred)), Value(T), Value(T)]),
        Form::new(&[In(&[Eq, Ne]), In(BITS)], &[Def(Ty(Pred)), Value(T), Value(T)]),
        Form::new(&[In(FLOAT_COMPARE), In(&[F32, F64])], &[Def(Ty(Pred)), Value(T), Value(T)]),
        Form::new(&[In(FLOAT_COMPARE), Is(F16)], &[Def(Ty(Pred)), Use(T), Use(T)]),
    ]
    /// The first operand where the predicate holds, else the second.
    Selp "selp" [Form::new(&[In(VALUES)], &[Def(T), Value(T), Value(T), Use(Ty(Pred))]),]
    /// Loads.
    Ld "ld" [
        Form::new(&[Is(Param), In(MEMORY)], &[Def(LooseT), Mem(Space::Param)]),
        Form::new(&[Is(Global), Opt(LOAD_CACHE), In(MEMORY)], &[Def(LooseT), Mem(Space::Global)]),
        Form::new(&[Is(Global), Is(Nc), Opt(EVICT), Opt(&[L2Fetch]), In(MEMORY)], &[Def(LooseT), Mem(Space::Global)]),
        Form::new(&[Is(Global), Opt(LOAD_CACHE), Is(V2), In(MEMORY)], &[Defs(LooseT, ByWord), Mem(Space::Global)]),
        Form::new(&[Is(Global), Opt(LOAD_CACHE), Is(V4), In(WIDE_MEMORY)], &[Defs(LooseT, ByWord), Mem(Space::Global)]),
        Form::new(
            &[Is(Global), Is(Nc), Opt(EVICT), Opt(&[L2Fetch]), In(VECTOR), In(WIDE_MEMORY)],
            &[Defs(LooseT, ByWord), Mem(Space::Global)],
        ),
        Form::new(&[Is(Shared), In(MEMORY)], &[Def(LooseT), Mem(Space::Shared)]),
        Form::new(&[Is(Shared), Is(V2), In(MEMORY)], &[Defs(LooseT, ByWord), Mem(Space::Shared)]),
        Form::new(&[Is(Shared), Is(V4), In(WIDE_MEMORY)], &[Defs(LooseT, ByWord), Mem(Space::Shared)]),
        Form::new(&[In(&[Relaxed, Acquire]), In(SCOPE), Is(Global), In(ORDERED)], &[Def(T), Mem(Space::Global)]),
    ]
    /// Stores.
    St "st" [
        Form::new(&[Is(Global), Opt(STORE_CACHE), In(MEMORY)], &[Mem(Space::Global), Value(LooseT)]),
        Form::new(&[Is(Global), Opt(STORE_CACHE), Is(V2), In(MEMORY)], &[Mem(Space::Global), Uses(LooseT, ByWord)]),
        Form::new(
            &[Is(Global), Opt(STORE_CACHE), Is(V4), In(WIDE_MEMORY)],
            &[Mem(Space::Global), Uses(LooseT, ByWord)],
        ),
        Form::new(&[Is(Shared), In(MEMORY)], &[Mem(Space::Shared), Value(LooseT)]),
        Form::new(&[Is(Shared), Is(V2), In(MEMORY)], &[Mem(Space::Shared), Uses(LooseT, ByWord)]),
        Form::new(&[Is(Shared), Is(V4), In(WIDE_MEMORY)], &[Mem(Space::Shared), Uses(LooseT, ByWord)]),
        Form::new(&[In(&[Relaxed, Release]), In(SCOPE), Is(Global), In(ORDERED)], &[Mem(Space::Global), Value(T)]),
    ]
    /// Changes memory and gives what was there; `cas` compares with the first operand and writes the second.
    Atom "atom" [
        Form::new(
            &[Opt(ORDER), Opt(SCOPE), In(SPACES), Is(Add), In(&[U32, S32, U64, F32, F64])],
            &[Def(T), MemOfWord, Value(T)],
        ),
        Form::new(&[Opt(ORDER), Opt(SCOPE), In(SPACES), In(&[Min, Max]), In(WORDS)], &[Def(T), MemOfWord, Value(T)]),
        Form::new(
            &[Opt(ORDER), Opt(SCOPE), In(SPACES), In(&[And, Or, Xor, Exch]), In(&[B32, B64])],
            &[Def(T), MemOfWord, Value(T)],
        ),
        Form::new(&[Opt(ORDER), Opt(SCOPE), In(SPACES), Is(Cas), In(BITS)], &[Def(T), MemOfWord, Value(T), Value(T)]),
    ]
    /// Changes memory.
    Red "red" [
        Form::new(
            &[Opt(STORE_ORDER), Opt(SCOPE), In(SPACES), Is(Add), In(&[U32, S32, U64, F32, F64])],
            &[MemOfWord, Value(T)],
        ),
        Form::new(&[Opt(STORE_ORDER), Opt(SCOPE), In(SPACES), In(&[Min, Max]), In(WORDS)], &[MemOfWord, Value(T)]),
        Form::new(
            &[Opt(STORE_ORDER), Opt(SCOPE), In(SPACES), In(&[And, Or, Xor]), In(&[B32, B64])],
            &[MemOfWord, Value(T)],
        ),
        Form::new(&[Opt(STORE_ORDER), Opt(SCOPE), Is(Global), Is(Add), Is(Noftz), In(HALVES)], &[MemOfWord, Use(T)]),
        Form::new(
            &[Opt(STORE_ORDER), Opt(SCOPE), Is(Global), Is(Add), Is(Noftz), In(BRAINS)],
            &[MemOfWord, Use(T)],
        ).hopper(7, 8),
    ]
    /// Orders memory accesses before it and after it.
    Fence "fence" [Form::new(&[In(&[Word::AcqRel, Word::Sc]), In(SCOPE)], &[]),]
    /// Turns a generic address to one of a space, or back.
    Cvta "cvta" [
        Form::new(&[Is(To), Is(Global), Is(U64)], &[Def(T), Use(T)]),
        Form::new(&[Is(Global), Is(U64)], &[Def(T), Use(T)]),
    ]
    /// Goes to a block.
    Bra "bra" [Form::new(&[Opt(&[Uni])], &[Target]),]
    /// Ends the thread.
    Ret "ret" [Form::new(&[], &[]),]
    /// Ends the kernel with an error.
    Trap "trap" [Form::new(&[], &[]),]
    /// Waits for the threads of a barrier, all of the CTA without a count. Whole warps must arrive.
    Bar "bar" [
        Form::new(&[Is(Sync)], &[Value(Ty(U32)), Maybe(Ty(U32))]),
        Form::new(&[Is(Arrive)], &[Value(Ty(U32)), Value(Ty(U32))]),
        Form::new(&[Is(Warp), Is(Sync)], &[MASK]),
    ]
    /// As [`Op::Bar`], where the threads of a warp may arrive one by one.
    Barrier "barrier" [
        Form::new(&[Is(Sync), Opt(&[Aligned])], &[Value(Ty(U32)), Maybe(Ty(U32))]),
        Form::new(&[Is(Arrive), Opt(&[Aligned])], &[Value(Ty(U32)), Value(Ty(U32))]),
    ]
    /// A value of another lane: operands are the value, which lane, the segment, the lanes that take part.
    Shfl "shfl" [
        Form::new(
            &[Is(Sync), In(&[Idx, Up, Down, Bfly]), Is(B32)],
            &[Def(T), Use(T), Value(Ty(U32)), Value(Ty(U32)), MASK],
        ),
    ]
    /// Joins a predicate over the lanes that take part.
    Vote "vote" [
        Form::new(&[Is(Sync), In(&[All, Any, Uni]), Is(Pred)], &[Def(T), Use(T), MASK]),
        Form::new(&[Is(Sync), Is(Ballot), Is(B32)], &[Def(T), Use(Ty(Pred)), MASK]),
    ]
    /// Joins integers over the lanes that take part.
    Redux "redux" [
        Form::new(&[Is(Sync), In(&[Add, Min, Max]), In(&[U32, S32])], &[Def(T), Use(T), MASK]),
        Form::new(&[Is(Sync), In(&[And, Or, Xor]), Is(B32)], &[Def(Ty(U32)), Use(Ty(U32)), MASK]),
    ]
    /// Copies from global to shared memory while the thread goes on: destination, source, bytes, and how many of them to
    /// read; the rest is zeros.
    CpAsync "cp" [
        Form::new(
            &[Is(Async), Is(Ca), Is(Shared), Is(Global)],
            &[Mem(Space::Shared), Mem(Space::Global), OneOf(&[4, 8, 16]), Maybe(Ty(U32))],
        ),
        Form::new(
            &[Is(Async), Is(Cg), Is(Shared), Is(Global)],
            &[Mem(Space::Shared), Mem(Space::Global), OneOf(&[16]), Maybe(Ty(U32))],
        ),
        Form::new(
            &[Is(Async), In(&[Ca, Cg]), Is(Shared), Is(Global), Is(L2Fetch)],
            &[Mem(Space::Shared), Mem(Space::Global), OneOf(&[16]), Maybe(Ty(U32))],
        ),
    ]
    /// Closes the group of copies since the last, or waits until at most so many groups are under way.
    CpAsyncGroup "cp" [
        Form::new(&[Is(Async), In(&[CommitGroup, WaitAll])], &[]),
        Form::new(&[Is(Async), Is(WaitGroup)], &[Const(0, 1 << 20)]),
    ]
    /// Loads 8 by 8 matrices of 16-bit elements; lane `8 m + r` gives the address of row `r` of matrix `m`.
    Ldmatrix "ldmatrix" [
        Form::new(
            &[Is(Sync), Is(Aligned), Is(M8n8), In(&[X1, X2, X4]), Opt(&[Trans]), Is(Shared), Is(B16)],
            &[Defs(Ty(U32), ByWord), Mem(Space::Shared)],
        ),
    ]
    /// Stores 8 by 8 matrices of 16-bit elements, the mirror of [`Op::Ldmatrix`].
    Stmatrix "stmatrix" [
        Form::new(
            &[Is(Sync), Is(Aligned), Is(M8n8), In(&[X1, X2, X4]), Opt(&[Trans]), Is(Shared), Is(B16)],
            &[Mem(Space::Shared), Uses(Ty(U32), ByWord)],
        ).hopper(7, 8),
    ]
    /// Transposes an 8 by 8 matrix of 16-bit elements between the lanes.
    Movmatrix "movmatrix" [
        Form::new(
            &[Is(Sync), Is(Aligned), Is(M8n8), Is(Trans), Is(B16)],
            &[Def(Ty(U32)), Use(Ty(U32))],
        ).since(7, 8),
    ]
    /// Product of matrices spread over a warp, and sum.
    Mma "mma" [
        Form::new(
            &[Is(Sync), Is(Aligned), Is(M16n8k16), Is(Row), Is(Col), Is(F32), Is(F16), Is(F16), Is(F32)],
            &[Defs(Ty(F32), Exactly(4)), Uses(Ty(U32), Exactly(4)), Uses(Ty(U32), Exactly(2)), Uses(Ty(F32), Exactly(4))],
        ),
        Form::new(
            &[Is(Sync), Is(Aligned), Is(M16n8k16), Is(Row), Is(Col), Is(F32), Is(Bf16), Is(Bf16), Is(F32)],
            &[Defs(Ty(F32), Exactly(4)), Uses(Ty(U32), Exactly(4)), Uses(Ty(U32), Exactly(2)), Uses(Ty(F32), Exactly(4))],
        ),
        Form::new(
            &[Is(Sync), Is(Aligned), Is(M16n8k8), Is(Row), Is(Col), Is(F32), Is(F16), Is(F16), Is(F32)],
            &[Defs(Ty(F32), Exactly(4)), Uses(Ty(U32), Exactly(2)), Uses(Ty(U32), Exactly(1)), Uses(Ty(F32), Exactly(4))],
        ),
        Form::new(
            &[Is(Sync), Is(Aligned), Is(M16n8k8), Is(Row), Is(Col), Is(F32), Is(Bf16), Is(Bf16), Is(F32)],
            &[Defs(Ty(F32), Exactly(4)), Uses(Ty(U32), Exactly(2)), Uses(Ty(U32), Exactly(1)), Uses(Ty(F32), Exactly(4))],
        ),
        Form::new(
            &[Is(Sync), Is(Aligned), Is(M16n8k8), Is(Row), Is(Col), Is(F32), Is(Tf32), Is(Tf32), Is(F32)],
            &[Defs(Ty(F32), Exactly(4)), Uses(Ty(U32), Exactly(4)), Uses(Ty(U32), Exactly(2)), Uses(Ty(F32), Exactly(4))],
        ),
        Form::new(
            &[Is(Sync), Is(Aligned), Is(M16n8k4), Is(Row), Is(Col), Is(F32), Is(Tf32), Is(Tf32), Is(F32)],
            &[Defs(Ty(F32), Exactly(4)), Uses(Ty(U32), Exactly(2)), Uses(Ty(U32), Exactly(1)), Uses(Ty(F32), Exactly(4))],
        ),
        Form::new(
            &[Is(Sync), Is(Aligned), Is(M16n8k32), Is(Row), Is(Col), Is(S32), In(&[S8, U8]), In(&[S8, U8]), Is(S32)],
            &[Defs(Ty(S32), Exactly(4)), Uses(Ty(U32), Exactly(4)), Uses(Ty(U32), Exactly(2)), Uses(Ty(S32), Exactly(4))],
        ),
        Form::new(
            &[Is(Sync), Is(Aligned), Is(M8n8k4), Is(Row), Is(Col), Is(F64), Is(F64), Is(F64), Is(F64)],
            &[Defs(Ty(F64), Exactly(2)), Uses(Ty(F64), Exactly(1)), Uses(Ty(F64), Exactly(1)), Uses(Ty(F64), Exactly(2))],
        ),
    ]
}

impl Op {
    /// The first form that `words` fit.
    pub fn form(self, words: &[Word]) -> Option<&'static Form> {
        self.forms().iter().find(|form| form.fits(words))
    }
    /// Whether control may leave the block here.
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Bra | Self::Ret | Self::Trap)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
