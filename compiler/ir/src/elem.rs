//! Elementwise operations, declared once for both IRs.
//!
//! A row gives the name, the text, the number of operands and the typing rule; printers, parsers, verifiers, builders and
//! interpreters are driven by this table. Operations are strict: an absent operand makes the result absent.

use crate::dtype::{DType, Kind};
use std::fmt;

/// How the result type follows from the operand types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typing {
    /// Numbers of one type, result of the same type.
    Num,
    /// Floats of one type, result of the same type.
    Float,
    /// Integers of one type, result of the same type.
    Int,
    /// Two values of one type, result `bool`.
    Compare,
    /// Booleans, result `bool`.
    Logic,
    /// `bool`, then two values of one type; result of that type.
    Select,
    /// A number to an integer `i32`.
    Bits,
}

macro_rules! elem_ops {
    ($($(#[$doc:meta])* $name:ident $text:literal $arity:expr, $typing:ident;)*) => {
        /// An elementwise operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ElemOp { $($(#[$doc])* $name,)* }

        impl ElemOp {
            /// Every operation, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// The name in both IRs' text.
            pub const fn text(self) -> &'static str { match self { $(Self::$name => $text,)* } }
            /// The operation called `text`.
            pub fn from_text(text: &str) -> Option<Self> { match text { $($text => Some(Self::$name),)* _ => None } }
            /// The number of operands; `None` for n-ary operations (two or more).
            pub const fn arity(self) -> Option<usize> { match self { $(Self::$name => $arity,)* } }
            /// The typing rule.
            pub const fn typing(self) -> Typing { match self { $(Self::$name => Typing::$typing,)* } }
        }
    };
}

elem_ops! {
    /// Sum of two or more; integers wrap.
    Add "add" None, Num;
    /// Product of two or more; integers wrap.
    Mul "mul" None, Num;
    /// Difference.
    Sub "sub" Some(2), Num;
    /// Quotient; on integers Euclidean, `x / 0` is 0.
    Div "div" Some(2), Num;
    /// Remainder; on integers Euclidean, `x % 0` is `x`; on floats the sign of the dividend.
    Rem "rem" Some(2), Num;
    /// Negation.
    Neg "neg" Some(1), Num;
    /// Smaller of two; NaN propagates.
    Min "min" Some(2), Num;
    /// Larger of two; NaN propagates.
    Max "max" Some(2), Num;
    /// Absolute value.
    Abs "abs" Some(1), Num;
    /// -1, 0 or 1; NaN stays.
    Sign "sign" Some(1), Num;
    /// First operand to the power of the second.
    Pow "pow" Some(2), Float;
    /// e to the operand.
    Exp "exp" Some(1), Float;
    /// 2 to the operand.
    Exp2 "exp2" Some(1), Float;
    /// e to the operand, less 1.
    Expm1 "expm1" Some(1), Float;
    /// Natural logarithm.
    Log "log" Some(1), Float;
    /// Logarithm to base 2.
    Log2 "log2" Some(1), Float;
    /// Logarithm of one plus the operand.
    Log1p "log1p" Some(1), Float;
    /// Square root.
    Sqrt "sqrt" Some(1), Float;
    /// Reciprocal square root.
    Rsqrt "rsqrt" Some(1), Float;
    /// Reciprocal.
    Recip "recip" Some(1), Float;
    /// Hyperbolic tangent.
    Tanh "tanh" Some(1), Float;
    /// Logistic function.
    Sigmoid "sigmoid" Some(1), Float;
    /// Logarithm of the logistic function.
    LogSigmoid "logsigmoid" Some(1), Float;
    /// `x * sigmoid(x)`.
    Silu "silu" Some(1), Float;
    /// `x * (1 + erf(x / sqrt 2)) / 2`.
    Gelu "gelu" Some(1), Float;
    /// `max(x, 0)`.
    Relu "relu" Some(1), Num;
    /// `x` if positive, else `exp(x) - 1`.
    Elu "elu" Some(1), Float;
    /// `log(1 + exp(x))`.
    Softplus "softplus" Some(1), Float;
    /// Sine.
    Sin "sin" Some(1), Float;
    /// Cosine.
    Cos "cos" Some(1), Float;
    /// Tangent.
    Tan "tan" Some(1), Float;
    /// Angle of the point (second, first).
    Atan2 "atan2" Some(2), Float;
    /// Error function.
    Erf "erf" Some(1), Float;
    /// Largest integer not above.
    Floor "floor" Some(1), Float;
    /// Nearest integer, ties to even.
    Round "round" Some(1), Float;
    /// `x - floor(x)`.
    Fract "fract" Some(1), Float;
    /// Number of set bits.
    Popcount "popcount" Some(1), Bits;
    /// Bits needed to write the operand; 0 for 0.
    BitLength "bit_length" Some(1), Bits;
    /// Bitwise and.
    BitAnd "bitand" Some(2), Int;
    /// Bitwise or.
    BitOr "bitor" Some(2), Int;
    /// Bitwise exclusive or.
    BitXor "bitxor" Some(2), Int;
    /// Shift left.
    Shl "shl" Some(2), Int;
    /// Shift right: arithmetic on signed, logical on unsigned integers.
    Shr "shr" Some(2), Int;
    /// Equal.
    Eq "eq" Some(2), Compare;
    /// Not equal.
    Ne "ne" Some(2), Compare;
    /// Less.
    Lt "lt" Some(2), Compare;
    /// Less or equal.
    Le "le" Some(2), Compare;
    /// Greater.
    Gt "gt" Some(2), Compare;
    /// Greater or equal.
    Ge "ge" Some(2), Compare;
    /// All of two or more.
    And "and" None, Logic;
    /// Any of two or more.
    Or "or" None, Logic;
    /// Not.
    Not "not" Some(1), Logic;
    /// The second operand where the first holds, else the third; only the chosen one is evaluated.
    Select "select" Some(3), Select;
}

impl ElemOp {
    /// The result type on operands of the types `args`, or what is wrong with them.
    pub fn result(self, args: &[DType]) -> Result<DType, String> {
        let fits = self.arity().map_or(args.len() >= 2, |n| n == args.len());
        if !fits {
            return Err(format!("`{self}` does not take {} operands", args.len()));
        }
        if let Some(narrow) = args.iter().find(|a| !a.is_compute()) {
            return Err(format!("`{self}` does not compute in the storage type {narrow}"));
        }
        let same = |of: &[DType]| of.iter().all(|a| *a == of[0]);
        let number = |a: DType| a.kind() != Kind::Bool;
        let (ok, out) = match self.typing() {
            Typing::Num => (same(args) && number(args[0]), args[0]),
            Typing::Float => (same(args) && args[0].is_float(), args[0]),
            Typing::Int => (same(args) && args[0].is_int(), args[0]),
            Typing::Compare => (same(args), DType::Bool),
            Typing::Logic => (args.iter().all(|a| *a == DType::Bool), DType::Bool),
            Typing::Select => (args[0] == DType::Bool && args[1] == args[2], args[1]),
            Typing::Bits => (args[0].is_int(), DType::I32),
        };
        if ok { Ok(out) } else { Err(format!("`{self}` does not take operands of types {args:?}")) }
    }
}

impl fmt::Display for ElemOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

macro_rules! reduce_ops {
    ($($(#[$doc:meta])* $name:ident $text:literal;)*) => {
        /// How a reduction combines elements. Absent elements are skipped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReduceOp { $($(#[$doc])* $name,)* }

        impl ReduceOp {
            /// Every reduction, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// The name in both IRs' text.
            pub const fn text(self) -> &'static str { match self { $(Self::$name => $text,)* } }
            /// The reduction called `text`.
            pub fn from_text(text: &str) -> Option<Self> { match text { $($text => Some(Self::$name),)* _ => None } }
        }
    };
}

reduce_ops! {
    /// Sum; 0 of nothing.
    Sum "sum";
    /// Product; 1 of nothing.
    Prod "prod";
    /// Largest; -inf (the least integer) of nothing; NaN propagates.
    Max "max";
    /// Smallest; inf (the greatest integer) of nothing; NaN propagates.
    Min "min";
    /// Mean of the present elements; 0 of nothing.
    Mean "mean";
    /// Whether some element holds.
    Any "any";
    /// Whether every element holds.
    All "all";
    /// Logarithm of the sum of exponentials; -inf of nothing.
    LogSumExp "logsumexp";
    /// Position of the largest, ties to the lower; absent of nothing.
    ArgMax "argmax";
    /// Position of the smallest, ties to the lower; absent of nothing.
    ArgMin "argmin";
    /// First present element; absent of nothing.
    First "first";
    /// Last present element; absent of nothing.
    Last "last";
}

impl ReduceOp {
    /// Whether tile IR has it; the others are compositions that normalisation writes out.
    pub const fn is_primitive(self) -> bool {
        matches!(
            self,
            Self::Sum | Self::Prod | Self::Max | Self::Min | Self::Any | Self::All | Self::ArgMax | Self::ArgMin
        )
    }
    /// Whether the result is that of one chosen element, so that of nothing there is none.
    pub const fn chooses(self) -> bool {
        self.gives_position() || matches!(self, Self::First | Self::Last)
    }
    /// Whether the result is the position of an element.
    pub const fn gives_position(self) -> bool {
        matches!(self, Self::ArgMax | Self::ArgMin)
    }
}

impl fmt::Display for ReduceOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
