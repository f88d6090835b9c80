//! The catalogue: one variant per kind of error, its message and its help.

/// Declares the kinds of errors: name, fields, message, help.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident $({ $($field:ident : $ty:ty),* })? => $message:expr, $help:expr;)*) => {
        /// What can be wrong with a program.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "the fields are the blanks of the message")]
        pub enum Problem { $($(#[$doc])* $name $({ $($field: $ty),* })?,)* }

        impl Problem {
            /// The names of all kinds, in the order of the catalogue.
            pub const KINDS: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The name of the kind.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Problem::$name { .. } => stringify!($name),)*
                }
            }

            /// What is wrong, in one sentence.
            pub fn message(&self) -> String {
                match self {
                    $(#[allow(unused_variables, reason = "a field may stand in the help only")]
                    Problem::$name $({ $($field),* })? => format!($message),)*
                }
            }

            /// What to write instead.
            pub fn help(&self) -> Option<String> {
                let help = match self {
                    $(#[allow(unused_variables, reason = "a field may stand in the message only")]
                    Problem::$name $({ $($field),* })? => format!($help),)*
                };
                (!help.is_empty()).then_some(help)
            }
        }
    };
}

problems! {
    /// Rust's own tokenizer or parser objects.
    Syntax { text: String } => "{text}", "";
    /// Another token was needed here.
    Expected { what: String, found: String, help: String } => "expected {what}, found {found}", "{help}";
    /// Part of the language that is not built yet.
    NotBuilt { what: String } => "{what} is not supported yet",
        "it parses, so that programs can be written down; the compiler gives it no meaning yet";
    /// `a < b < c`.
    ChainedComparison => "comparisons do not chain", "write `a < b && b < c`";
    /// `{..}` outside of `closure!`.
    CaptureOutside => "`{{..}}` captures a Rust value and stands only in `closure!`", "make it a parameter of the function";
    /// A closure's body in braces, or a capture named like a parameter.
    CaptureOfParameter { name: String } => "`{{..}}` captures a Rust value, and `{name}` is a parameter of the closure", "write it without braces";
    /// `use a::*`.
    GlobImport => "`use ..::*` cannot be expanded: a macro does not see what a module holds",
        "name the items: `use path::{{rms_norm, attend}};`";
    /// An attribute that is not a doc comment.
    Attribute => "only doc comments may stand before an item or parameter of `arch!`", "remove the attribute";

    /// A name that nothing defines.
    Unknown { what: String, name: String, help: String } => "unknown {what} `{name}`", "{help}";
    /// A name that is taken.
    Taken { name: String, by: String, help: String } => "`{name}` is already the name of {by}", "{help}";
    /// A name used as what it is not.
    NotA { name: String, is: String, wanted: String, help: String } => "`{name}` is {is}, not {wanted}", "{help}";
    /// A function that calls itself.
    Recursive { cycle: String } => "recursive `fn`: {cycle}", "functions are inlined; write a loop: `for n in 0..N carry x = x0 {{ .. }}`";
    /// Wrong number of subscripts or indices.
    Rank { name: String, wanted: usize, found: usize } => "`{name}` has {wanted} axes, and {found} are given here",
        "write one subscript per axis; `..` passes a whole axis to a function";
    /// A tensor where a number is needed.
    TensorValue { rank: usize } => "this is a tensor of {rank} axes, not a number", "read one element: `x[i, j]`";
    /// A slice where a number is needed.
    SliceValue => "`..` passes a whole axis to a function; here one element is needed", "write an index";
    /// The range of an index follows from nothing.
    OpenRange { index: String, dim: String } => "the range of `{index}` is open", "write `{index} in 0..{dim}`";
    /// The uses of an index disagree.
    SizesDisagree { index: String, one: String, other: String } => "`{index}` is `{one}` here and `{other}` there",
        "add the requirement `where {one} == {other}` to the function, or state the range: `{index} in 0..{one}`";
    /// An argument's size is not the parameter's.
    SizeMismatch { name: String, wanted: String, found: String } => "`{name}` needs the size `{wanted}` here, and gets `{found}`",
        "if the sizes are equal, say so in the `where` clause of the function";
    /// A read that can leave its axis.
    OutOfRange { tensor: String, at: String, size: String, failed: String } => "this read of `{tensor}` can leave its range: cannot show `{failed}`",
        "give a default, `{tensor}[..] or 0.0`, or exclude it: `.. where {failed}`; if the sizes always allow it, add `{failed}` to the `where` clause of the function";
    /// A float meets an integer.
    FloatAndInt { float: String, int: String } => "`{float}` and `{int}` do not mix", "convert one side: `(e as {float})`";
    /// Two wide integer types meet.
    TwoIntegers { one: String, other: String } => "`{one}` and `{other}` do not mix", "convert one side: `(e as {one})`";
    /// An integer quotient meets a float.
    Quotient => "an integer quotient meets a float: `/` on integers rounds down", "write `1.0 / D` to divide floats, or `(a / b) as f32` if rounding is meant";
    /// A truth value is needed.
    NotBool { found: String } => "a condition is needed here, and this is `{found}`", "compare: `e != 0`";
    /// A number is needed.
    NotNumber { found: String } => "a number is needed here, and this is `{found}`", "write `if c {{ 1.0 }} else {{ 0.0 }}`";
    /// An operation for one kind of numbers.
    WrongKind { op: String, wanted: String, found: String } => "`{op}` takes {wanted}, and this is `{found}`", "convert it with `as`";
    /// A value written across kinds.
    AcrossKinds { target: String, found: String } => "`{found}` is written to `{target}`", "convert it: `(e) as {target}`";
    /// A value that may be absent where one is needed.
    MayBeAbsent { what: String } => "{what} must have a value everywhere, and this can be absent", "give a default: `e where c else 0.0`, or `(e) or 0.0`";
    /// An output that is no tensor.
    OutputSort { name: String } => "the output `{name}` is no tensor: structs, caches and lists are given, not made",
        "name one output for each tensor: `-> (up: f32[F, D], down: f32[D, F])`";
    /// An output that no statement assigns.
    Unassigned { output: String } => "the output `{output}` is never assigned", "write `{output}[..] = e;`";
    /// An output assigned twice.
    AssignedTwice { output: String } => "the output `{output}` is assigned twice", "piecewise definitions are one equation: `if c {{ a }} else {{ b }}`, or `a or b`";
    /// An output, or a tensor that a loop collects, written in the steps of a loop whose index it lacks.
    OncePerStep { name: String, index: String } => "`{name}` would be written in every step of the loop over `{index}`", "give it the loop's index, one part for each step: `{name}[{index}, ..] = e;`; or carry it";
    /// A carry that the body does not assign.
    CarryUnassigned { carry: String } => "the carry `{carry}` is never assigned in the loop", "write `{carry} = e;` in the body, or drop the carry";
    /// An assignment to what is no output or carry.
    NotAssignable { name: String, is: String } => "`{name}` is {is} and cannot be assigned", "only outputs and carries are assigned; write `let {name}2 = ..`";
    /// Wrong number of arguments.
    Arguments { name: String, wanted: String, found: usize } => "`{name}` takes {wanted}, and gets {found}", "";
    /// A parameter without value.
    MissingArgument { function: String, name: String } => "the call of `{function}` gives no `{name}`", "add `{name} = ..`";
    /// A parameter given twice.
    GivenTwice { name: String } => "`{name}` is given twice", "positional arguments come first, in the order of the signature";
    /// A positional argument after a named one.
    PositionalLate => "a positional argument after a named one", "name it, or move it to the front";
    /// An argument of the wrong sort.
    ArgumentSort { name: String, wanted: String } => "`{name}` takes {wanted}", "";
    /// An expression where a tensor parameter needs a name or a slice.
    NotASlice { name: String } => "the parameter `{name}` takes a tensor: a name or a slice", "define it first: `let t[i, j] = ..;` and pass `t`, or `t[i, ..]`";
    /// A dim that no argument determines.
    FreeDim { function: String, dim: String } => "no argument determines the dim `{dim}` of `{function}`", "give it by name: `{function}(.., {dim} = 2)`";
    /// A requirement of a callee that does not follow.
    Requirement { function: String, requirement: String } => "`{function}` requires `{requirement}`, which does not follow here", "add it to the `where` clause of this function";
    /// A requirement that is no comparison of sizes.
    NotARequirement => "a requirement compares sizes", "write `T == N * C`, `T >= L` or `D % 2 == 0`";
    /// A size that is no expression over dims.
    NotASize => "a size is an integer expression over dims", "declare a dim in `<..>` and use it";
    /// A promised range that a value given to it may leave.
    Promise { name: String, range: String } => "`{name}` is promised to lie in `{range}`, which does not follow for this", "clamp it: `clamp(e, lo, hi - 1)`, or promise the same range where it comes from";
    /// A subscript that may be anything.
    NotAnInteger { found: String } => "a subscript is an integer, and this is `{found}`", "convert it: `(e) as i32`";
    /// Several results where one is needed.
    SeveralOutputs { function: String, outputs: String } => "`{function}` has several outputs: {outputs}", "pick one, `{function}(..).o`, or name all: `let (a, b) = {function}(..);`";
    /// A tuple on the left of something that is no call.
    NotSeveral => "a tuple on the left needs a call with several outputs on the right", "write one equation per tensor";
    /// The wrong number of names for a call's outputs.
    OutputCount { function: String, wanted: usize, found: usize } => "`{function}` has {wanted} outputs, and {found} are named", "write `_` for one that is not needed";
    /// An index bound twice in one equation.
    BoundTwice { index: String } => "the index `{index}` is bound twice", "give the inner one another name";
    /// A row operator on what is no index in scope.
    RowIndex { op: String, index: String } => "`{op}` runs along an index that is bound outside of it, and `{index}` is not", "write `let y[{index}] = {op}[{index}](x[{index}]);`";
    /// A closure parameter called with other types.
    ClosureTypes { name: String } => "`{name}` is applied to values of different types", "convert the argument with `as`";
    /// A member that is not there.
    NoMember { of: String, name: String, help: String } => "{of} has no `{name}`", "{help}";
    /// A cache appended twice.
    PushedTwice { cache: String } => "`{cache}` is appended twice", "one `push` per cache and call: append all positions at once";
    /// A cache appended in a loop, in every step the same one.
    PushedInLoop { cache: String, index: String } => "`{cache}` would be appended in every step of the loop over `{index}`", "append to one entry of a list in each step, `push {cache}[{index}][s in 0..S] {{ .. }}`, or after the loop";
    /// A field that a push does not give.
    PushField { cache: String, field: String } => "the push to `{cache}` gives no `{field}`", "every field grows: add `{field}[..] = ..`";
    /// A value that is no constant.
    NotConstant => "a tensor literal holds constants", "write an `if`, or pass a tensor";
    /// A default that is not allowed.
    BadDefault { why: String } => "{why}", "a default may use dims and earlier scalar parameters";
    /// A format whose fields are laid out otherwise than in records.
    FormatLayout { field: String, records: String } => "the first axis of the field `{field}` does not count records", "write `[{records}, ..]`: a record holds one step of every field; or one axis over the row, as `u4[K]`, of which it holds its part";
}
