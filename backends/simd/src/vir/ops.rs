//! The table of VIR operations, declared once.
//!
//! In: nothing. Out: [`Op`] with mnemonic, group and typing rule, and the macro `op_table` from which the builder takes
//! its methods. Printer, parser and verifier read [`Op::group`] and [`Op::rule`]; the interpreter and the emitters match
//! on [`Op`].
//!
//! Invariant: each row states the meaning completely, so that two engines can agree bit for bit.

use super::types::{Class, Elem};

/// The outer form of an operation: how many operands it has and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// One operand.
    Unary,
    /// Two operands.
    Binary,
    /// Three operands.
    Ternary,
    /// One operand, and the result's element is stated.
    Convert,
    /// Has operands, immediates or blocks of its own kind; see the row.
    Special,
}

/// The typing rule of an operation.
#[derive(Clone, Copy)]
pub enum Rule {
    /// Operands and result have one type, whose element is in the class.
    Same(Class),
    /// Like `Same` in number of lanes; operands have one type in the class, the result is `bool`.
    Compare(Class),
    /// `bool` of one lane or of the result's number of lanes, then two operands of the result's type.
    Select,
    /// A vector in the class to a scalar of its element.
    Reduce(Class),
    /// Same number of lanes, and the pair of elements (from, to) is accepted by the function.
    Convert(fn(Elem, Elem) -> bool),
    /// Same number of bits; no bool.
    Bitcast,
    /// One immediate: the bits of a lane. Any type.
    Const,
    /// An integer vector.
    Iota,
    /// A scalar to a vector of it.
    Splat,
    /// Operands `base [index]`, immediates `scale disp`; any result.
    Load,
    /// Operands `value base [index]`, immediates `scale disp`; no result.
    Store,
    /// Operands `count base [index]`, immediates `scale disp`; a vector.
    LoadPart,
    /// Operands `value count base [index]`, immediates `scale disp`; no result.
    StorePart,
    /// Operands `base indices [mask]`, immediates `scale disp`; a vector of as many lanes as the i32 or i64 indices.
    Gather,
    /// Operands `value base indices [mask]`, immediates `scale disp`; no result.
    Scatter,
    /// A vector and a lane number (immediate) to a scalar.
    Extract,
    /// A vector, a scalar and a lane number (immediate) to the vector.
    Insert,
    /// Two vectors of one type; immediates: for each lane of the result its lane in the concatenation of the two.
    Shuffle,
    /// A table of 16 bytes and a byte vector to the byte vector.
    Lookup,
    /// Two vectors of i16 and one of f32 with half as many lanes, which is the result's type.
    DotBf16,
    /// Operands `start end inits..`, immediate `step`, one block with parameters `iv carried..`.
    For,
    /// Operand `cond`, two blocks without parameters.
    If,
}

/// Calls the macro `$then` with every row of the table.
macro_rules! op_table {
    ($then:ident) => {
        $then! {
            Unary {
                Neg neg Same(Class::Number) "Negation; integers wrap.";
                Abs abs Same(Class::Number) "Magnitude; the least integer stays as it is.";
                Sqrt sqrt Same(Class::Float) "Correctly rounded square root.";
                Floor floor Same(Class::Float) "Rounds down.";
                Ceil ceil Same(Class::Float) "Rounds up.";
                Round round Same(Class::Float) "Rounds to nearest, halves to even.";
                Trunc trunc Same(Class::Float) "Rounds towards zero.";
                Not not Same(Class::Bits) "Bitwise or logical complement.";
                Popcount popcount Same(Class::Int) "Number of one bits.";
                Clz clz Same(Class::Int) "Number of leading zero bits.";
                ReduceAdd reduce_add Reduce(Class::Number) "Sum: the two halves are added lane by lane until one lane is left.";
                ReduceMul reduce_mul Reduce(Class::Number) "Product, in the order of `reduce_add`.";
                ReduceMax reduce_max Reduce(Class::Number) "Greatest (signed), by `max` in the order of `reduce_add`.";
                ReduceMin reduce_min Reduce(Class::Number) "Least (signed), by `min` in the order of `reduce_add`.";
                ReduceAnd reduce_and Reduce(Class::Bits) "Conjunction; `all` of a mask.";
                ReduceOr reduce_or Reduce(Class::Bits) "Disjunction; `any` of a mask.";
            }
            Binary {
                Add add Same(Class::Number) "Sum; integers wrap.";
                Sub sub Same(Class::Number) "Difference; integers wrap.";
                Mul mul Same(Class::Number) "Product; integers wrap.";
                Div div Same(Class::Number) "Quotient; of integers Euclidean and signed, x / 0 = 0, the least / -1 wraps.";
                Rem rem Same(Class::Int) "Euclidean signed remainder, never negative for a nonzero divisor; x % 0 = x.";
                Min min Same(Class::Number) "a if a is NaN, else a if a < b, else b (so NaN propagates); integers signed.";
                Max max Same(Class::Number) "a if a is NaN, else a if a > b, else b (so NaN propagates); integers signed.";
                And and Same(Class::Bits) "Bitwise or logical conjunction.";
                Or or Same(Class::Bits) "Bitwise or logical disjunction.";
                Xor xor Same(Class::Bits) "Bitwise or logical exclusive or.";
                Shl shl Same(Class::Int) "Left shift; the count is taken modulo the width.";
                Shr shr Same(Class::Int) "Arithmetic right shift; the count is taken modulo the width.";
                Ushr ushr Same(Class::Int) "Logical right shift; the count is taken modulo the width.";
                Eq eq Compare(Class::Any) "Equal; false with a NaN.";
                Ne ne Compare(Class::Any) "Not equal; true with a NaN.";
                Lt lt Compare(Class::Number) "Less (signed); false with a NaN.";
                Le le Compare(Class::Number) "Less or equal (signed); false with a NaN.";
                Gt gt Compare(Class::Number) "Greater (signed); false with a NaN.";
                Ge ge Compare(Class::Number) "Greater or equal (signed); false with a NaN.";
                Ult ult Compare(Class::Int) "Less, unsigned.";
                Ule ule Compare(Class::Int) "Less or equal, unsigned.";
                Lookup lookup Lookup "Bytes of a 16-byte table by index; an index above 15 gives 0.";
            }
            Ternary {
                Fma fma Same(Class::Float) "a * b + c, rounded once where the target has the instruction, else twice.";
                DotBf16 dot_bf16 DotBf16 "Of bf16 bits in pairs: c + a1 * b1, then that + a0 * b0, each as `fma`; subnormal numbers may count as 0.";
                Select select Select "The second where the first is true, else the third.";
            }
            Convert {
                Sext sext Convert(widens) "Sign extension to a wider integer.";
                Zext zext Convert(widens) "Zero extension to a wider integer.";
                Narrow narrow Convert(narrows) "The low bits, in a narrower integer.";
                SintToFloat sint_to_float Convert(wide_to_float) "Signed i32 or i64 to float, to nearest even.";
                UintToFloat uint_to_float Convert(wide_to_float) "Unsigned i32 or i64 to float, to nearest even.";
                FloatToSint float_to_sint Convert(float_to_wide) "Towards zero to signed i32 or i64; saturates, NaN gives 0.";
                FloatToUint float_to_uint Convert(float_to_wide) "Towards zero to unsigned i32 or i64; saturates, NaN gives 0.";
                FloatCast float_cast Convert(float_to_float) "f32 to f64, or f64 to f32 to nearest even.";
                FromF16 from_f16 Convert(half_to_float) "The bits of an f16 to f32, exactly.";
                ToF16 to_f16 Convert(float_to_half) "f32 to the bits of an f16, to nearest even; NaN gives a quiet NaN of its sign.";
                FromBf16 from_bf16 Convert(half_to_float) "The bits of a bf16 to f32, exactly.";
                ToBf16 to_bf16 Convert(float_to_half) "f32 to the bits of a bf16, to nearest even; NaN gives a quiet NaN of its sign.";
                FromBool from_bool Convert(bool_to_int) "True to 1, false to 0.";
                MaskBits mask_bits Convert(bool_to_int) "True to all ones, false to 0.";
            }
            Special {
                Const konst Const "A constant, in every lane.";
                Iota iota Iota "0, 1, 2, .. along the lanes.";
                Splat splat Splat "The scalar in every lane.";
                Bitcast bitcast Bitcast "The same bits as another type; lane 0 is the lowest.";
                Load load Load "Reads base + index * scale + disp, of any alignment.";
                Store store Store "Writes base + index * scale + disp, of any alignment.";
                LoadPart load_part LoadPart "Like load, but only lanes below count are read; the others are 0.";
                StorePart store_part StorePart "Like store, but only lanes below count are written.";
                Gather gather Gather "Reads base + indices * scale + disp lane by lane; 0 where the mask is false, and no access there.";
                Scatter scatter Scatter "Writes base + indices * scale + disp in the order of lanes; not where the mask is false.";
                Extract extract Extract "One lane.";
                Insert insert Insert "The vector with one lane replaced.";
                Shuffle shuffle Shuffle "Lanes of two vectors in any order.";
                For for_loop For "Runs the block for iv = start, start + step, .. below end; carries values from turn to turn.";
                If if_else If "Runs the first block if the condition is true, else the second; yields their values.";
            }
        }
    };
}
pub(super) use op_table;

macro_rules! define_ops {
    ($($group:ident { $($variant:ident $method:ident $rule:ident $(($with:expr))? $doc:literal;)* })*) => {
        /// An operation of VIR. Operations on vectors work lane by lane unless they say otherwise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Op { $($(#[doc = $doc] $variant,)*)* }

        impl Op {
            /// Every operation, in the order of the table.
            pub const ALL: &'static [Op] = &[$($(Op::$variant,)*)*];

            /// The name in text. (The builder's method has the same name but where that is a word of Rust.)
            pub fn mnemonic(self) -> &'static str {
                match self {
                    Op::Const => "const",
                    Op::For => "for",
                    Op::If => "if",
                    $($(#[allow(unreachable_patterns, reason = "three mnemonics are words of Rust, named above")]
                        Op::$variant => stringify!($method),)*)*
                }
            }

            /// The outer form.
            pub fn group(self) -> Group {
                match self { $($(Op::$variant => Group::$group,)*)* }
            }

            /// The typing rule.
            pub fn rule(self) -> Rule {
                match self { $($(Op::$variant => Rule::$rule $(($with))?,)*)* }
            }

            /// The meaning, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $($(Op::$variant => $doc,)*)* }
            }

            /// Whether the operation reads or writes memory, and so has to keep its place.
            pub fn touches_memory(self) -> bool {
                matches!(
                    self.rule(),
                    Rule::Load | Rule::Store | Rule::LoadPart | Rule::StorePart | Rule::Gather | Rule::Scatter
                )
            }

            /// The operation called `name` in text.
            pub fn from_mnemonic(name: &str) -> Option<Op> {
                Op::ALL.iter().copied().find(|op| op.mnemonic() == name)
            }
        }
    };
}
op_table!(define_ops);

fn widens(from: Elem, to: Elem) -> bool {
    from.is_int() && to.is_int() && from.bits() < to.bits()
}

fn narrows(from: Elem, to: Elem) -> bool {
    widens(to, from)
}

fn wide_to_float(from: Elem, to: Elem) -> bool {
    from.is(Class::WideInt) && to.is_float()
}

fn float_to_wide(from: Elem, to: Elem) -> bool {
    wide_to_float(to, from)
}

fn float_to_float(from: Elem, to: Elem) -> bool {
    from.is_float() && to.is_float() && from != to
}

fn half_to_float(from: Elem, to: Elem) -> bool {
    (from, to) == (Elem::I16, Elem::F32)
}

fn float_to_half(from: Elem, to: Elem) -> bool {
    half_to_float(to, from)
}

fn bool_to_int(from: Elem, to: Elem) -> bool {
    from == Elem::Bool && to.is_int()
}
