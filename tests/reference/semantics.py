"""What small programs of the language mean, computed here from the rules of the language and nothing else.

Each case states a program, its sizes, its inputs, and its outputs by a formula in plain Python: floats are f64, loops are
written out, absence is None. No code of the compiler is involved. Writes semantics.json next to this file:

    python3 tests/reference/semantics.py
"""

import json
import math
import pathlib
import random
import struct

from scans import scans

HERE = pathlib.Path(__file__).resolve().parent
INF, NAN = math.inf, math.nan
CASES = []


def f32(value):
    """The nearest f32."""
    if math.isnan(value) or math.isinf(value):
        return value
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(INF, value)


def f16(value):
    try:
        return struct.unpack("e", struct.pack("e", value))[0]
    except OverflowError:
        return math.copysign(INF, value)


def bf16(value):
    """Nearest, ties to even, of a finite f32."""
    bits = struct.unpack("I", struct.pack("f", value))[0]
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16
    return struct.unpack("f", struct.pack("I", bits))[0]


def wrap(value, bits=32, signed=True):
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def tensor(dtype, shape, data):
    flat = list(data)
    count = math.prod(shape)
    assert len(flat) == count, (shape, len(flat))
    if dtype == "f32":
        flat = [f32(value) for value in flat]
    return {"dtype": dtype, "shape": list(shape), "data": flat}


def noise(seed, shape, scale=1.0):
    source = random.Random(seed)
    return [f32(source.gauss(0, scale)) for _ in range(math.prod(shape))]


def grid(flat, *shape):
    """Nested lists of a flat list."""
    if len(shape) == 1:
        return list(flat)
    step = math.prod(shape[1:])
    return [grid(flat[at * step : (at + 1) * step], *shape[1:]) for at in range(shape[0])]


def case(name, program, dims, inputs, outputs, tolerance=1e-6, types=None):
    entry = dict(name=name, program=program.strip(), dims=dims, inputs=inputs, outputs=outputs, tolerance=tolerance)
    CASES.append(entry | ({"types": types} if types else {}))


def exp(x):
    try:
        return math.exp(x)
    except OverflowError:
        return INF


def sigmoid(x):
    return 1 / (1 + exp(-x)) if x > -700 else exp(x)


def softplus(x):
    return x + math.log1p(exp(-x)) if x > 0 else math.log1p(exp(x))


def guarded(function):
    """NaN for NaN and outside of the domain."""

    def call(x):
        if math.isnan(x):
            return NAN
        try:
            return function(x)
        except (ValueError, OverflowError):
            return NAN

    return call


SPECIAL = [0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 3.5, -0.75, 1e-30, -1e-30, 1e-4, 10.0, -10.0, 20.5, 88.0, -88.0, 100.0, -104.0]
INFINITE = SPECIAL + [1e30, -1e30, INF, -INF, NAN]
POSITIVE = [0.0, 1.0, 0.5, 2.0, 1e-30, 1e30, 1e-4, 3.75, 100.0, INF, NAN, -1.0]


def elementwise():
    log = lambda x: -INF if x == 0 else math.log(x)
    functions = {
        "exp": (INFINITE, exp),
        "exp2": (INFINITE, lambda x: exp(x * math.log(2)) if abs(x) > 1000 else 2.0**x),
        "expm1": (INFINITE, lambda x: INF if x > 700 else math.expm1(x)),
        "log": (POSITIVE, log),
        "log2": (POSITIVE, lambda x: -INF if x == 0 else math.log2(x)),
        "log1p": ([0.0, 1.0, -0.5, 1e-10, 1e30, INF, NAN, -1.0], lambda x: -INF if x == -1 else math.log1p(x)),
        "sqrt": (POSITIVE, math.sqrt),
        "rsqrt": (POSITIVE, lambda x: INF if x == 0 else 1 / math.sqrt(x)),
        "tanh": (INFINITE, math.tanh),
        "sigmoid": (INFINITE, sigmoid),
        "logsigmoid": (SPECIAL, lambda x: -softplus(-x)),
        "silu": (SPECIAL + [1e30, INF, NAN], lambda x: x * sigmoid(x)),
        "gelu": (SPECIAL + [1e30, INF, NAN], lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2))),
        "relu": (INFINITE, lambda x: max(x, 0.0)),
        "softplus": (SPECIAL + [INF], softplus),
        "elu": (INFINITE, lambda x: x if x > 0 else math.expm1(x)),
        "sin": (SPECIAL, math.sin),
        "cos": (SPECIAL, math.cos),
        "tan": (SPECIAL[:15], math.tan),
        "erf": (INFINITE, math.erf),
        "abs": (INFINITE, abs),
        "sign": (INFINITE, lambda x: float((x > 0) - (x < 0))),
        "floor": (INFINITE, lambda x: x if math.isinf(x) else float(math.floor(x))),
        "round": (INFINITE, lambda x: x if math.isinf(x) else float(round(x))),
        "fract": (SPECIAL, lambda x: f32(x) - math.floor(f32(x))),
    }
    for name, (values, function) in functions.items():
        values = [f32(value) for value in values]
        program = "pub fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = %s(x[i]); }" % name
        expected = [guarded(function)(value) for value in values]
        shape = [len(values)]
        case(
            f"elementwise/{name}",
            program,
            {"N": len(values)},
            {"x": tensor("f32", shape, values)},
            {"y": tensor("f32", shape, expected)},
            4e-6,
        )
        case(
            f"elementwise/{name} of f64",
            program.replace("f32", "f64"),
            {"N": len(values)},
            {"x": tensor("f64", shape, values)},
            {"y": tensor("f64", shape, expected)},
            1e-12,
        )
    # Angles of which only the whole of pi tells the turn; powers of two and of ten that f32 holds, and two that it does not.
    angles = [f32(value) for value in (1e6, 1048576.0, -1048577.0, 1e9, 1e15, -1e16, 1e22, 3e30, 2.0**127)] + [INF, NAN]
    for name in ("sin", "cos", "tan"):
        for dtype, more in (("f32", []), ("f64", [2.0**500, -(2.0**1023), 1e22])):
            values = angles + more
            case(
                f"elementwise/{name} of large angles: {dtype}",
                "pub fn f<N>(x: %s[N]) -> y: %s[N] { y[i] = %s(x[i]); }" % (dtype, dtype, name),
                {"N": len(values)},
                {"x": tensor(dtype, [len(values)], values)},
                {"y": tensor(dtype, [len(values)], [guarded(getattr(math, name))(value) for value in values])},
                4e-6 if dtype == "f32" else 1e-12,
            )


def binary():
    values = [0.0, 1.0, -1.0, 2.5, -2.5, 7.0, INF, -INF, NAN]
    pairs = [(a, b) for a in values for b in values]
    nan = lambda a, b: math.isnan(a) or math.isnan(b)
    fmod = lambda a, b: NAN if nan(a, b) or math.isinf(a) or b == 0 else math.fmod(a, b)
    divide = lambda a, b: NAN if nan(a, b) or (a == 0 and b == 0) or (math.isinf(a) and math.isinf(b)) else (
        math.copysign(INF, a) if b == 0 else a / b
    )
    operations = {
        "a[i] + b[i]": lambda a, b: a + b,
        "a[i] - b[i]": lambda a, b: a - b,
        "a[i] * b[i]": lambda a, b: a * b,
        "a[i] / b[i]": divide,
        "a[i] % b[i]": fmod,
        "min(a[i], b[i])": lambda a, b: NAN if nan(a, b) else min(a, b),
        "max(a[i], b[i])": lambda a, b: NAN if nan(a, b) else max(a, b),
        "atan2(a[i], b[i])": lambda a, b: NAN if nan(a, b) else math.atan2(a, b),
    }
    shape = [len(pairs)]
    inputs = {"a": tensor("f32", shape, [a for a, _ in pairs]), "b": tensor("f32", shape, [b for _, b in pairs])}
    for text, function in operations.items():
        program = "pub fn f<N>(a: f32[N], b: f32[N]) -> y: f32[N] { y[i] = %s; }" % text
        case(
            f"binary/{text}",
            program,
            {"N": len(pairs)},
            inputs,
            {"y": tensor("f32", shape, [function(a, b) for a, b in pairs])},
        )
        case(
            f"binary/{text} of f64",
            program.replace("f32", "f64"),
            {"N": len(pairs)},
            {name: tensor("f64", shape, input["data"]) for name, input in inputs.items()},
            {"y": tensor("f64", shape, [function(a, b) for a, b in pairs])},
            1e-12,
        )
    # Quotients that no float holds.
    far = [(1e30, 3.0), (-1e30, 7.5), (1e9, 1e-4), (3e38, 1e-38), (-7e20, 1e-3), (5.0, 1e30), (2.0**127, 3e-45)]
    for dtype, round_to, more in (("f32", f32, []), ("f64", float, [(1e300, 3.0), (-1e308, 1e-300), (2.0**1000, 5e-324)])):
        both = [(round_to(a), round_to(b)) for a, b in far + more]
        case(
            f"binary/a remainder of a large quotient: {dtype}",
            "pub fn f<N>(a: %s[N], b: %s[N]) -> y: %s[N] { y[i] = a[i] %% b[i]; }" % (dtype, dtype, dtype),
            {"N": len(both)},
            {"a": tensor(dtype, [len(both)], [a for a, _ in both]), "b": tensor(dtype, [len(both)], [b for _, b in both])},
            {"y": tensor(dtype, [len(both)], [math.fmod(a, b) for a, b in both])},
            0.0,
        )
    for text, function in {"<": lambda a, b: a < b, "<=": lambda a, b: a <= b, "==": lambda a, b: a == b,
                           "!=": lambda a, b: a != b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b}.items():
        program = "pub fn f<N>(a: f32[N], b: f32[N]) -> y: bool[N] { y[i] = a[i] %s b[i]; }" % text
        expected = [int(function(a, b)) for a, b in pairs]
        case(f"compare/{text}", program, {"N": len(pairs)}, inputs, {"y": tensor("bool", shape, expected)})
    bases = [(2.0, 10.0), (2.0, -1.0), (0.5, 3.0), (10.0, 0.0), (3.0, 0.5), (1.0, 100.0), (1e-3, 2.0), (2.0, 0.5)]
    case(
        "binary/pow",
        "pub fn f<N>(a: f32[N], b: f32[N]) -> y: f32[N] { y[i] = pow(a[i], b[i]); }",
        {"N": len(bases)},
        {"a": tensor("f32", [len(bases)], [a for a, _ in bases]), "b": tensor("f32", [len(bases)], [b for _, b in bases])},
        {"y": tensor("f32", [len(bases)], [f32(a) ** f32(b) for a, b in bases])},
        4e-6,
    )
    bases += [(-2.0, 3.0), (-2.0, 0.5), (0.0, -1.0), (0.0, 0.0), (1.5, 1700.0), (10.0, -300.0), (INF, -1.0), (-1.0, INF), (NAN, 0.0)]

    def power(a, b):
        try:
            return math.pow(a, b)
        except ValueError:
            return INF if a == 0 else NAN

    case(
        "binary/pow of f64",
        "pub fn f<N>(a: f64[N], b: f64[N]) -> y: f64[N] { y[i] = pow(a[i], b[i]); }",
        {"N": len(bases)},
        {"a": tensor("f64", [len(bases)], [a for a, _ in bases]), "b": tensor("f64", [len(bases)], [b for _, b in bases])},
        {"y": tensor("f64", [len(bases)], [power(a, b) for a, b in bases])},
        1e-12,
    )


def euclid(a, b):
    """Quotient and remainder that is never negative; by zero: 0 and the dividend."""
    if b == 0:
        return 0, a
    remainder = a % abs(b)
    return (a - remainder) // b, remainder


def integers():
    values = [0, 1, -1, 2, 3, -3, 4, 7, -7, 100, -100, 2**31 - 1, -(2**31) + 1]
    pairs = [(a, b) for a in values for b in values]
    shape = [len(pairs)]
    inputs = {"a": tensor("i32", shape, [a for a, _ in pairs]), "b": tensor("i32", shape, [b for _, b in pairs])}
    operations = {
        "a[i] + b[i]": lambda a, b: wrap(a + b),
        "a[i] - b[i]": lambda a, b: wrap(a - b),
        "a[i] * b[i]": lambda a, b: wrap(a * b),
        "a[i] / b[i]": lambda a, b: wrap(euclid(a, b)[0]),
        "a[i] % b[i]": lambda a, b: wrap(euclid(a, b)[1]),
        "a[i] & b[i]": lambda a, b: a & b,
        "a[i] | b[i]": lambda a, b: a | b,
        "a[i] ^ b[i]": lambda a, b: a ^ b,
        "min(a[i], b[i])": min,
        "max(a[i], b[i])": max,
        "if a[i] < b[i] { a[i] } else { b[i] * 2 }": lambda a, b: a if a < b else wrap(b * 2),
        "abs(a[i]) + sign(b[i])": lambda a, b: wrap(abs(a) + (b > 0) - (b < 0)),
        "popcount(a[i]) * 100 + bit_length(abs(b[i]))": lambda a, b: bin(a & 0xFFFFFFFF).count("1") * 100 + abs(b).bit_length(),
    }
    for text, function in operations.items():
        program = "pub fn f<N>(a: i32[N], b: i32[N]) -> y: i32[N] { y[i] = %s; }" % text
        case(
            f"i32/{text}",
            program,
            {"N": len(pairs)},
            inputs,
            {"y": tensor("i32", shape, [function(a, b) for a, b in pairs])},
        )
    shifts = [(a, s) for a in values for s in (0, 1, 5, 31)]
    shape = [len(shifts)]
    inputs = {"a": tensor("i32", shape, [a for a, _ in shifts]), "s": tensor("i32", shape, [s for _, s in shifts])}
    for text, function in {"<<": lambda a, s: wrap(a << s), ">>": lambda a, s: a >> s}.items():
        program = "pub fn f<N>(a: i32[N], s: i32[N]) -> y: i32[N] { y[i] = a[i] %s s[i]; }" % text
        case(f"i32/a {text} s", program, {"N": len(shifts)}, inputs, {"y": tensor("i32", shape, [function(*p) for p in shifts])})
    unsigned = [0, 1, 5, 2**31, 2**32 - 1]
    pairs = [(a, s) for a in unsigned for s in (0, 1, 4, 31)]
    shape = [len(pairs)]
    case(
        "u32/logical shift and wrap",
        "pub fn f<N>(a: u32[N], s: u32[N]) -> (y: u32[N], z: u32[N]) { y[i] = a[i] >> s[i]; z[i] = a[i] - s[i]; }",
        {"N": len(pairs)},
        {"a": tensor("u32", shape, [a for a, _ in pairs]), "s": tensor("u32", shape, [s for _, s in pairs])},
        {
            "y": tensor("u32", shape, [a >> s for a, s in pairs]),
            "z": tensor("u32", shape, [wrap(a - s, signed=False) for a, s in pairs]),
        },
    )
    big = [0, 1, -1, 2**62, -(2**63) + 1, 2**63 - 1, 123456789012345]
    shape = [len(big)]
    case(
        "i64/wrap and Euclidean division",
        "pub fn f<N>(a: i64[N]) -> (y: i64[N], z: i64[N], r: i64[N]) { y[i] = a[i] * 3 + 1; z[i] = a[i] / 7; r[i] = a[i] % 7; }",
        {"N": len(big)},
        {"a": tensor("i64", shape, big)},
        {
            "y": tensor("i64", shape, [wrap(a * 3 + 1, 64) for a in big]),
            "z": tensor("i64", shape, [euclid(a, 7)[0] for a in big]),
            "r": tensor("i64", shape, [euclid(a, 7)[1] for a in big]),
        },
    )
    small = [0, 1, 100, 127, 255]
    case(
        "u8/widens to i32 when read",
        "pub fn f<N>(a: u8[N]) -> y: i32[N] { y[i] = a[i] * a[i] - 300; }",
        {"N": len(small)},
        {"a": tensor("u8", [len(small)], small)},
        {"y": tensor("i32", [len(small)], [a * a - 300 for a in small])},
    )


def conversions():
    values = [0.0, 0.5, -0.5, 1.9, -1.9, 2.5, 1e9, 3e9, -3e9, 1e30, INF, -INF, NAN, 127.5, -128.5]
    values = [f32(value) for value in values]
    shape = [len(values)]

    def saturate(x, low, high):
        return 0 if math.isnan(x) else low if x <= low else high if x >= high else int(x)

    wide = [-(2**40), -(2**31) - 1, -70000, -129, -128, -1, 0, 127, 128, 255, 256, 32768, 65536, 2**31, 2**32, 2**40]
    into = lambda low, high: [min(max(value, low), high) for value in wide]
    signed = lambda bits: into(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    unsigned = lambda bits: into(0, 2**bits - 1)
    case(
        "numbers/integers are written to narrower types saturated",
        "pub fn f<N>(x: i64[N]) -> (a: i8[N], b: u8[N], c: i16[N], d: u16[N], e: i32[N], g: u32[N], h: f32[N]) {\n"
        "    e[i] = x[i] as i32; g[i] = x[i] as u32; a[i] = e[i]; b[i] = e[i]; c[i] = e[i]; d[i] = e[i];\n"
        "    h[i] = (e[i] as i8) as f32;\n}",
        {"N": len(wide)},
        {"x": tensor("i64", [len(wide)], wide)},
        {
            "a": tensor("i8", [len(wide)], signed(8)),
            "b": tensor("u8", [len(wide)], unsigned(8)),
            "c": tensor("i16", [len(wide)], signed(16)),
            "d": tensor("u16", [len(wide)], unsigned(16)),
            "e": tensor("i32", [len(wide)], signed(32)),
            "g": tensor("u32", [len(wide)], unsigned(32)),
            "h": tensor("f32", [len(wide)], signed(8)),
        },
    )
    case(
        "cast/float to integer truncates and saturates",
        "pub fn f<N>(x: f32[N]) -> (y: i32[N], z: u32[N]) { y[i] = x[i] as i32; z[i] = x[i] as u32; }",
        {"N": len(values)},
        {"x": tensor("f32", shape, values)},
        {
            "y": tensor("i32", shape, [saturate(x, -(2**31), 2**31 - 1) for x in values]),
            "z": tensor("u32", shape, [saturate(x, 0, 2**32 - 1) for x in values]),
        },
    )
    halves = [f16(value) for value in [0.0, 1.0, -2.5, 65504.0, 6e-8, 0.1, -0.3333]]
    shape = [len(halves)]
    case(
        "f16/widens when read, rounds when written",
        "pub fn f<N>(x: f16[N]) -> (y: f32[N], z: f16[N]) { y[i] = x[i] * x[i] + 0.125; z[i] = x[i] / 3.0; }",
        {"N": len(halves)},
        {"x": tensor("f16", shape, halves)},
        {
            "y": tensor("f32", shape, [x * x + 0.125 for x in halves]),
            "z": tensor("f16", shape, [f16(x / 3.0) for x in halves]),
        },
        1e-3,
    )
    values = [f32(value) for value in [0.0, 1.0, 1.00390625, 1.01171875, -3.14159, 65280.0, 1e-20]]
    shape = [len(values)]
    case(
        "bf16/rounds to nearest even when written",
        "pub fn f<N>(x: f32[N]) -> y: bf16[N] { y[i] = x[i]; }",
        {"N": len(values)},
        {"x": tensor("f32", shape, values)},
        {"y": tensor("bf16", shape, [bf16(x) for x in values])},
        1e-12,
    )
    case(
        "bf16/a typed let rounds",
        "pub fn f<N>(x: f32[N]) -> y: f32[N] { let r[i]: bf16 = x[i]; y[i] = r[i] - x[i]; }",
        {"N": len(values)},
        {"x": tensor("f32", shape, values)},
        {"y": tensor("f32", shape, [bf16(x) - x for x in values])},
    )
    counts = [0, 1, -5, 16777216, 2147483647]
    case(
        "cast/integer to float",
        "pub fn f<N>(x: i32[N]) -> y: f32[N] { y[i] = x[i] as f32 / 2.0; }",
        {"N": len(counts)},
        {"x": tensor("i32", [len(counts)], counts)},
        {"y": tensor("f32", [len(counts)], [f32(float(x)) / 2 for x in counts])},
    )


def logsumexp(values):
    if not values or max(values) == -INF:
        return -INF
    top = max(values)
    return top + math.log(math.fsum(exp(value - top) for value in values))


def softmax(values):
    """Over present values; absent (None) stays absent; a row of -inf is 0."""
    present = [value for value in values if value is not None]
    if not present or max(present) == -INF:
        return [None if value is None else 0.0 for value in values]
    top = max(present)
    total = math.fsum(exp(value - top) for value in present)
    return [None if value is None else exp(value - top) / total for value in values]


def reductions():
    def argbest(values, better):
        best = None
        for at, value in enumerate(values):
            if value is not None and (best is None or better(value, values[best])):
                best = at
        return -1 if best is None else best

    present = lambda values: [value for value in values if value is not None]
    functions = {
        "sum": lambda values: math.fsum(present(values)),
        "prod": lambda values: math.prod(present(values)),
        "max": lambda values: max(present(values), default=-INF),
        "min": lambda values: min(present(values), default=INF),
        "mean": lambda values: math.fsum(present(values)) / len(present(values)) if present(values) else 0.0,
        "logsumexp": lambda values: logsumexp(present(values)),
    }
    rows, columns = 5, 7
    data = noise(1, [rows, columns], 3.0)
    data[2 * columns + 3] = 80.0
    table = grid(data, rows, columns)
    # Row 0 has no column, row 1 one, row 4 four.
    masked = [[value if at < row else None for at, value in enumerate(values)] for row, values in enumerate(table)]
    dims = {"R": rows, "C": columns}
    inputs = {"x": tensor("f32", [rows, columns], data)}
    for name, function in functions.items():
        plain = "pub fn f<R, C>(x: f32[R, C]) -> y: f32[R] { y[i] = %s[j](x[i, j]); }" % name
        case(f"reduce/{name}", plain, dims, inputs, {"y": tensor("f32", [rows], [function(row) for row in table])}, 4e-6)
        some = "pub fn f<R, C>(x: f32[R, C]) -> y: f32[R] { y[i] = %s[j](x[i, j] where j < i); }" % name
        case(
            f"reduce/{name} where", some, dims, inputs, {"y": tensor("f32", [rows], [function(row) for row in masked])}, 4e-6
        )
        both = "pub fn f<R, C>(x: f32[R, C]) -> y: f32 { y = %s[i, j](x[i, j] where (i + j) %% 2 == 0); }" % name
        flat = [table[i][j] if (i + j) % 2 == 0 else None for i in range(rows) for j in range(columns)]
        case(f"reduce/{name} of two axes", both, dims, inputs, {"y": tensor("f32", [], [function(flat)])}, 4e-6)
        empty = {"x": tensor("f32", [rows, 0], [])}
        case(
            f"reduce/{name} of nothing",
            plain,
            {"R": rows, "C": 0},
            empty,
            {"y": tensor("f32", [rows], [function([])] * rows)},
        )
        case(f"reduce/{name} no rows", plain, {"R": 0, "C": 3}, {"x": tensor("f32", [0, 3], [])}, {"y": tensor("f32", [0], [])})
    ties = [1, 3, 3, 0, 0, 2] + [-5, -5, -5, -5, -5, -5]
    ties = [float(value) for value in ties]
    table = grid(ties, 2, 6)
    greater, less = (lambda a, b: a > b), (lambda a, b: a < b)
    case(
        "reduce/argmax and argmin take the lower index at a tie",
        "pub fn f<R, C>(x: f32[R, C]) -> (y: i32[R], z: i32[R])"
        " { y[i] = argmax[j](x[i, j]) or -1 as i32; z[i] = (argmin[j](x[i, j] where j >= i) or -1) as i32; }".replace(
            "argmax[j](x[i, j]) or -1 as i32", "(argmax[j](x[i, j]) or -1) as i32"
        ),
        {"R": 2, "C": 6},
        {"x": tensor("f32", [2, 6], ties)},
        {
            "y": tensor("i32", [2], [argbest(row, greater) for row in table]),
            "z": tensor("i32", [2], [argbest([v if j >= i else None for j, v in enumerate(row)], less) for i, row in enumerate(table)]),
        },
    )
    case(
        "reduce/first and last",
        "pub fn f<R, C>(x: f32[R, C]) -> (y: f32[R], z: f32[R])"
        " { y[i] = first[j](x[i, j] where x[i, j] > 0.0) or 9.0; z[i] = last[j](x[i, j] where x[i, j] > 0.0) or 9.0; }",
        {"R": 2, "C": 6},
        {"x": tensor("f32", [2, 6], ties)},
        {"y": tensor("f32", [2], [1.0, 9.0]), "z": tensor("f32", [2], [2.0, 9.0])},
    )
    odd = [NAN, -INF, 1.0, NAN, 1.0] + [NAN, NAN, NAN, NAN, NAN] + [-INF, NAN, -INF, NAN, -INF] + [INF, NAN, 2.0, INF, -2.0]
    rows = grid(odd, 4, 5)
    kept = [[v if j >= i else None for j, v in enumerate(row)] for i, row in enumerate(rows)]

    def chosen(row, better):
        """An element that is NaN only where nothing else is."""
        numbers = [None if v is None or math.isnan(v) else v for v in row]
        return argbest(row if all(v is None for v in numbers) else numbers, better)

    case(
        "reduce/argmax and argmin choose NaN only where nothing else is",
        "pub fn f<R, C>(x: f32[R, C]) -> (y: i32[R], z: i32[R], v: i32[R], w: i32[R])"
        " { y[i] = (argmax[j](x[i, j]) or -1) as i32; z[i] = (argmin[j](x[i, j]) or -1) as i32;"
        " v[i] = (argmax[j](x[i, j] where j >= i) or -1) as i32; w[i] = (argmin[j](x[i, j] where j >= i) or -1) as i32; }",
        {"R": 4, "C": 5},
        {"x": tensor("f32", [4, 5], odd)},
        {
            "y": tensor("i32", [4], [chosen(row, greater) for row in rows]),
            "z": tensor("i32", [4], [chosen(row, less) for row in rows]),
            "v": tensor("i32", [4], [chosen(row, greater) for row in kept]),
            "w": tensor("i32", [4], [chosen(row, less) for row in kept]),
        },
    )
    long = [float(j * 7919 % 1009) for j in range(2100)]
    best = [v if j % 3 == 1 else None for j, v in enumerate(long)]
    case(
        "reduce/argmax, argmin, first and last over a long row",
        "pub fn f<C>(x: f32[C]) -> (a: i64, b: i64, c: i64, d: f32, e: f32)"
        " { a = argmax[j](x[j]) or -1; b = argmin[j](x[j]) or -1; c = argmax[j](x[j] where j % 3 == 1) or -1;"
        " d = first[j](x[j] where x[j] > 1000.0) or 9.0; e = last[j](x[j] where x[j] > 1000.0) or 9.0; }",
        {"C": len(long)},
        {"x": tensor("f32", [len(long)], long)},
        {
            "a": tensor("i64", [], [argbest(long, greater)]),
            "b": tensor("i64", [], [argbest(long, less)]),
            "c": tensor("i64", [], [argbest(best, greater)]),
            "d": tensor("f32", [], [[v for v in long if v > 1000][0]]),
            "e": tensor("f32", [], [[v for v in long if v > 1000][-1]]),
        },
    )
    case(
        "reduce/argmax of integers, first and last of integers and truth values, of nothing",
        "pub fn f<R, C>(x: i32[R, C], t: bool[R, C]) -> (y: i32[R], a: i32[R], b: i32[R], c: bool[R], d: bool[R])"
        " { y[i] = (argmax[j](x[i, j] where j < i * 2) or -1) as i32;"
        " a[i] = first[j](x[i, j] where j < i * 2) or 77; b[i] = last[j](x[i, j] where j < i * 2) or 77;"
        " c[i] = first[j](t[i, j] where j < i * 2) or true; d[i] = last[j](t[i, j] where j < i * 2) or true; }",
        {"R": 3, "C": 4},
        {
            "x": tensor("i32", [3, 4], [1, 2, 3, 4, -(2**31), -9, 5, 6, 7, 2**31 - 1, 2**31 - 1, 8]),
            "t": tensor("bool", [3, 4], [0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 1, 0]),
        },
        {
            "y": tensor("i32", [3], [-1, 1, 1]),
            "a": tensor("i32", [3], [77, -(2**31), 7]),
            "b": tensor("i32", [3], [77, -9, 8]),
            "c": tensor("bool", [3], [1, 1, 0]),
            "d": tensor("bool", [3], [1, 0, 0]),
        },
    )
    factors = [0.0, 2.0, -4.0]
    case(
        "reduce/a factor is not evaluated where nothing is admitted",
        "pub fn f<R, C>(x: f32[C], a: f32[R]) -> (y: f32[R], z: f32[R])"
        " { y[i] = sum[j](x[j] / a[i] where j < i); z[i] = sum[j](x[j] / a[i] where a[i] != 0.0); }",
        {"R": 3, "C": 3},
        {"x": tensor("f32", [3], [1.0, 2.0, 4.0]), "a": tensor("f32", [3], factors)},
        {
            "y": tensor("f32", [3], [0.0, 1.0 / 2.0, 3.0 / -4.0]),
            "z": tensor("f32", [3], [0.0, 7.0 / 2.0, 7.0 / -4.0]),
        },
    )
    flags = [1, 0, 1, 1, 0, 0]
    case(
        "reduce/any and all",
        "pub fn f<R, C>(x: bool[R, C]) -> (y: bool[R], z: bool[R], w: bool[R])"
        " { y[i] = any[j](x[i, j]); z[i] = all[j](x[i, j]); w[i] = all[j](x[i, j] where j > 5); }",
        {"R": 3, "C": 2},
        {"x": tensor("bool", [3, 2], flags)},
        {"y": tensor("bool", [3], [1, 1, 0]), "z": tensor("bool", [3], [0, 1, 0]), "w": tensor("bool", [3], [1, 1, 1])},
    )
    whole = [2**31 - 1, 5, -3, 7, 11, -13]
    case(
        "reduce/integers wrap, and start from their extremes",
        "pub fn f<R, C>(x: i32[R, C]) -> (y: i32[R], z: i32[R], w: i32[R])"
        " { y[i] = sum[j](x[i, j]); z[i] = max[j](x[i, j] where i > 0); w[i] = min[j](x[i, j] where i > 0); }",
        {"R": 2, "C": 3},
        {"x": tensor("i32", [2, 3], whole)},
        {
            "y": tensor("i32", [2], [wrap(sum(whole[:3])), sum(whole[3:])]),
            "z": tensor("i32", [2], [-(2**31), 11]),
            "w": tensor("i32", [2], [2**31 - 1, -13]),
        },
    )
    case(
        "reduce/NaN goes through sum, max and min",
        "pub fn f<R, C>(x: f32[R, C]) -> (y: f32[R], z: f32[R], w: f32[R])"
        " { y[i] = sum[j](x[i, j]); z[i] = max[j](x[i, j]); w[i] = min[j](x[i, j]); }",
        {"R": 2, "C": 3},
        {"x": tensor("f32", [2, 3], [1.0, NAN, 2.0, INF, 1.0, -INF])},
        {"y": tensor("f32", [2], [NAN, NAN]), "z": tensor("f32", [2], [NAN, INF]), "w": tensor("f32", [2], [NAN, -INF])},
    )


def softmaxes():
    rows, columns, width = 6, 5, 3
    data = noise(2, [rows, columns], 4.0)
    data[2 * columns : 3 * columns] = [-INF] * columns
    data[3 * columns : 4 * columns] = [1e30, 1.0, -INF, 1e30, 0.0]
    data[4 * columns] = -INF
    table = grid(data, rows, columns)
    values = noise(3, [columns, width])
    dims = {"R": rows, "C": columns}
    inputs = {"x": tensor("f32", [rows, columns], data)}
    plain = [softmax(row) for row in table]
    case(
        "softmax/huge values and rows of -inf",
        "pub fn f<R, C>(x: f32[R, C]) -> y: f32[R, C] { y[i, j] = softmax[j](x[i, j]); }",
        dims,
        inputs,
        {"y": tensor("f32", [rows, columns], sum(plain, []))},
        4e-6,
    )
    masked = [softmax([v if j < i - 1 or i == 3 else None for j, v in enumerate(row)]) for i, row in enumerate(table)]
    where = "where j < i - 1 || i == 3"
    case(
        "softmax/absent elements stay absent",
        "pub fn f<R, C>(x: f32[R, C]) -> y: f32[R, C] { y[i, j] = (softmax[j](x[i, j] %s)) or -7.0; }" % where,
        dims,
        inputs,
        {"y": tensor("f32", [rows, columns], [-7.0 if p is None else p for row in masked for p in row])},
        4e-6,
    )
    dims = dict(dims, D=width)
    weighted = [
        math.fsum(p * values[j * width + d] for j, p in enumerate(row) if p is not None)
        for row in masked
        for d in range(width)
    ]
    case(
        "softmax/a weighted sum over an empty row is 0",
        "pub fn f<R, C, D>(x: f32[R, C], v: f32[C, D]) -> y: f32[R, D]"
        " { let p[i, j] = softmax[j](x[i, j] %s); y[i, d] = sum[j](p[i, j] * v[j, d]); }" % where,
        dims,
        dict(inputs, v=tensor("f32", [columns, width], values)),
        {"y": tensor("f32", [rows, width], weighted)},
        4e-6,
    )


def documents():
    """Rows of several tiles that attend to rows of their own document; padding, which none does, holds anything."""
    size, depth = 150, 3
    of_query = [row // 40 for row in range(size)]
    of_key = [-1 if 64 <= row < 136 else row // 40 for row in range(size)]
    q, k, v = noise(21, [size, depth]), noise(22, [size, depth]), noise(23, [size, depth])
    for row in range(size):
        if of_key[row] < 0:
            k[row * depth : (row + 1) * depth] = [INF, NAN, -INF]
            v[row * depth : (row + 1) * depth] = [NAN, INF, -INF]
    out = []
    for i in range(size):
        scores = [
            math.fsum(q[i * depth + d] * k[j * depth + d] for d in range(depth)) if of_query[i] == of_key[j] else None
            for j in range(size)
        ]
        weights = softmax(scores)
        for d in range(depth):
            out.append(math.fsum(p * v[j * depth + d] for j, p in enumerate(weights) if p is not None))
    shape = [size, depth]
    case(
        "attention/documents known from data, and padding that no row admits",
        "pub fn f<S, T, const D>(q: f32[S, D], k: f32[T, D], v: f32[T, D], a: i32[S], b: i32[T]) -> y: f32[S, D]"
        " { let z[i, j] = sum[d](q[i, d] * k[j, d]) where a[i] == b[j];"
        " let p[i, j] = softmax[j](z[i, j]); y[i, d] = sum[j](p[i, j] * v[j, d]); }",
        {"S": size, "T": size, "D": depth},
        {
            "q": tensor("f32", shape, q),
            "k": tensor("f32", shape, k),
            "v": tensor("f32", shape, v),
            "a": tensor("i32", [size], of_query),
            "b": tensor("i32", [size], of_key),
        },
        {"y": tensor("f32", shape, out)},
        1e-5,
    )


def attention():
    """Grouped heads, causal with fewer queries than keys, so that no row is empty, and a window, so that some are."""
    batch, heads, groups, queries, keys, depth, width = 2, 4, 2, 5, 9, 6, 3
    q = noise(4, [batch, heads, queries, depth])
    k = noise(5, [batch, heads // groups, keys, depth])
    v = noise(6, [batch, heads // groups, keys, width])
    program = """
pub fn f<B, H, M, G, S, T, const D, const V>(
    q: f32[B, H, S, D], k: f32[B, M, T, D], v: f32[B, M, T, V],
) -> (o: f32[B, H, S, V], lse: f32[B, H, S]) where H == M * G {
    let z[b, h, i, j] = sum[d](q[b, h, i, d] * k[b, h / G, j, d]) / sqrt(D as f32) where %s;
    let p[b, h, i, j] = softmax[j](z[b, h, i, j]);
    o[b, h, i, c] = sum[j](p[b, h, i, j] * v[b, h / G, j, c]);
    lse[b, h, i] = logsumexp[j](z[b, h, i, j]);
}
"""
    masks = {
        "causal": ("j <= i + T - S", lambda i, j: j <= i + keys - queries),
        "window with empty rows": ("j <= i - 2 && i - j < 5", lambda i, j: j <= i - 2 and i - j < 5),
        "everything": ("true", lambda i, j: True),
    }
    dims = dict(B=batch, H=heads, M=heads // groups, G=groups, S=queries, T=keys, D=depth, V=width)
    inputs = {
        "q": tensor("f32", [batch, heads, queries, depth], q),
        "k": tensor("f32", [batch, heads // groups, keys, depth], k),
        "v": tensor("f32", [batch, heads // groups, keys, width], v),
    }
    q, k, v = (grid(t["data"], *t["shape"]) for t in inputs.values())
    for name, (text, mask) in masks.items():
        outputs, logs = [], []
        for b in range(batch):
            for h in range(heads):
                for i in range(queries):
                    keep = [j for j in range(keys) if mask(i, j)]
                    dot = lambda j: math.fsum(x * y for x, y in zip(q[b][h][i], k[b][h // groups][j]))
                    scores = [dot(j) / math.sqrt(depth) for j in keep]
                    weights = softmax(scores)
                    logs.append(logsumexp(scores))
                    outputs += [
                        math.fsum(p * v[b][h // groups][j][c] for p, j in zip(weights, keep)) for c in range(width)
                    ]
        case(
            f"attention/{name}",
            program % text,
            dims,
            inputs,
            {"o": tensor("f32", [batch, heads, queries, width], outputs), "lse": tensor("f32", [batch, heads, queries], logs)},
            4e-6,
        )


def products():
    m, n, k = 5, 7, 11
    a, b = noise(7, [m, k]), noise(8, [k, n])
    left, right = grid(a, m, k), grid(b, k, n)
    product = [[math.fsum(left[i][p] * right[p][j] for p in range(k)) for j in range(n)] for i in range(m)]
    dims = dict(M=m, N=n, K=k)
    inputs = {"a": tensor("f32", [m, k], a), "b": tensor("f32", [k, n], b)}
    case(
        "product/matrices",
        "pub fn f<M, N, K>(a: f32[M, K], b: f32[K, N]) -> y: f32[M, N] { y[i, j] = sum[p](a[i, p] * b[p, j]); }",
        dims,
        inputs,
        {"y": tensor("f32", [m, n], sum(product, []))},
        4e-6,
    )
    case(
        "product/transposed and scaled",
        "pub fn f<M, N, K>(a: f32[M, K], b: f32[K, N], s: f32 = 0.5) -> y: f32[N, M]"
        " { y[j, i] = s * sum[p](b[p, j] * a[i, p]) + 1.0; }",
        dims,
        inputs,
        {"y": tensor("f32", [n, m], [0.5 * product[i][j] + 1 for j in range(n) for i in range(m)])},
        4e-6,
    )
    triple = [[math.fsum(product[i][p] * left[q][p] for p in range(min(n, k))) for q in range(m)] for i in range(m)]
    case(
        "product/a chain over a shifted part",
        "pub fn f<M, N, K>(a: f32[M, K], b: f32[K, N]) -> y: f32[M, M] where K == N + 4"
        " { let c[i, j] = sum[p](a[i, p] * b[p, j]); y[i, q] = sum[j in 0..N](c[i, j] * a[q, j]); }",
        dims,
        inputs,
        {"y": tensor("f32", [m, m], sum(triple, []))},
        4e-6,
    )
    case(
        "product/of nothing",
        "pub fn f<M, N, K>(a: f32[M, K], b: f32[K, N]) -> y: f32[M, N] { y[i, j] = sum[p](a[i, p] * b[p, j]); }",
        dict(M=2, N=3, K=0),
        {"a": tensor("f32", [2, 0], []), "b": tensor("f32", [0, 3], [])},
        {"y": tensor("f32", [2, 3], [0.0] * 6)},
    )


def indices():
    length, width = 10, 3
    x = noise(9, [length])
    w = noise(10, [width])
    conv = [math.fsum(w[t] * x[i + t - 2] for t in range(width) if i + t - 2 >= 0) for i in range(length)]
    case(
        "index/guarded reads",
        "pub fn f<N, W>(x: f32[N], w: f32[W]) -> y: f32[N] where W == 3"
        " { y[i] = sum[t](w[t] * (x[i + t - 2] or 0.0)); }",
        {"N": length, "W": width},
        {"x": tensor("f32", [length], x), "w": tensor("f32", [width], w)},
        {"y": tensor("f32", [length], conv)},
        4e-6,
    )
    case(
        "index/blocks",
        "pub fn f<T, N, C>(x: f32[T]) -> y: f32[N] where T == N * C { y[n] = mean[s in 0..C](x[n * C + s]); }",
        {"T": 12, "N": 4, "C": 3},
        {"x": tensor("f32", [12], noise(11, [12]))},
        {"y": tensor("f32", [4], [math.fsum(noise(11, [12])[3 * n : 3 * n + 3]) / 3 for n in range(4)])},
        4e-6,
    )
    x = noise(12, [12])
    case(
        "index/quotient and remainder",
        "pub fn f<T, H, W>(x: f32[H, W]) -> y: f32[T] where T == H * W { y[l] = x[l / W, l % W] * 2.0; }",
        {"T": 12, "H": 3, "W": 4},
        {"x": tensor("f32", [3, 4], x)},
        {"y": tensor("f32", [12], [2 * value for value in x])},
    )
    table = noise(13, [6, 4])
    tokens = [5, 0, 3, 3, 1]
    case(
        "index/rows by number",
        "pub fn f<S, V, D>(tokens: i32[S] in 0..V, e: f32[V, D]) -> y: f32[S, D] { y[s, d] = e[tokens[s], d]; }",
        {"S": 5, "V": 6, "D": 4},
        {"tokens": tensor("i32", [5], tokens), "e": tensor("f32", [6, 4], table)},
        {"y": tensor("f32", [5, 4], sum((table[4 * t : 4 * t + 4] for t in tokens), []))},
    )
    case(
        "index/sums by number",
        "pub fn f<S, M>(index: i32[S], x: f32[S]) -> y: f32[M]"
        " { y[m] = sum[s](x[s] where index[s] == m as i32); }",
        {"S": 5, "M": 7},
        {"index": tensor("i32", [5], [5, 0, 3, 3, 99]), "x": tensor("f32", [5], x[:5])},
        {"y": tensor("f32", [7], [x[1], 0, 0, f32(x[2]) + x[3], 0, x[0], 0])},
        4e-6,
    )
    case(
        "index/reversed and strided",
        "pub fn f<N>(x: f32[2 * N]) -> y: f32[N] { y[i] = x[2 * N - 1 - 2 * i]; }",
        {"N": 6},
        {"x": tensor("f32", [12], x)},
        {"y": tensor("f32", [6], [x[11 - 2 * i] for i in range(6)])},
    )
    case(
        "index/positions are values",
        "pub fn f<N>(x: f32[N]) -> (y: f32[N], z: i64[N]) { y[i] = x[i] * i; z[i] = N - i; }",
        {"N": 12},
        {"x": tensor("f32", [12], x)},
        {"y": tensor("f32", [12], [v * i for i, v in enumerate(x)]), "z": tensor("i64", [12], [12 - i for i in range(12)])},
        4e-6,
    )


def presence():
    x = [1.0, -2.0, 3.0, -4.0]
    inputs = {"x": tensor("f32", [4], x)}
    case(
        "presence/else",
        "pub fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = x[i] where x[i] > 0.0 else 100.0; }",
        {"N": 4},
        inputs,
        {"y": tensor("f32", [4], [1.0, 100.0, 3.0, 100.0])},
    )
    case(
        "presence/arithmetic on absent is absent",
        "pub fn f<N>(x: f32[N]) -> y: f32 { let a[i] = x[i] where i != 1; y = sum[i](a[i] * 10.0 + 1.0); }",
        {"N": 4},
        inputs,
        {"y": tensor("f32", [], [sum(v * 10 + 1 for i, v in enumerate(x) if i != 1)])},
    )
    case(
        "presence/an absent condition is false",
        "pub fn f<N>(x: f32[N]) -> y: f32 { let a[i] = x[i] where i < 2; y = sum[i](1.0 where a[i] < 5.0); }",
        {"N": 4},
        inputs,
        {"y": tensor("f32", [], [2.0])},
    )
    case(
        "presence/or is tried in order",
        "pub fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = x[i - 1] or x[i + 1] or 0.0; }",
        {"N": 4},
        inputs,
        {"y": tensor("f32", [4], [x[1], x[0], x[1], x[2]])},
    )
    case(
        "presence/if takes one branch",
        "pub fn f<N>(x: f32[N]) -> y: f32[N] { y[i] = if i >= 2 { x[i - 2] } else { 0.0 - x[i] }; }",
        {"N": 4},
        inputs,
        {"y": tensor("f32", [4], [-x[0], -x[1], x[0], x[1]])},
    )


def programs():
    batch, length, width = 2, 3, 8
    x, w = noise(14, [batch, length, width]), noise(15, [width])
    inputs = {"x": tensor("f32", [batch, length, width], x), "w": tensor("f32", [width], w)}
    dims = dict(B=batch, T=length, D=width)

    def norm(row):
        scale = 1 / math.sqrt(math.fsum(v * v for v in row) / width + 1e-5)
        return [v * scale * g for v, g in zip(row, w)]

    rows = grid(x, batch * length, width)
    case(
        "program/a call on slices",
        "pub fn rms_norm<D>(x: f32[D], w: f32[D], eps: f32 = 1e-5) -> y: f32[D]"
        " { y[d] = x[d] * rsqrt(mean[c](x[c] * x[c]) + eps) * w[d]; }\n"
        "pub fn f<B, T, D>(x: f32[B, T, D], w: f32[D]) -> y: f32[B, T, D] { y[b, t, d] = rms_norm(x[b, t, ..], w)[d]; }",
        dims,
        inputs,
        {"y": tensor("f32", [batch, length, width], sum((norm(row) for row in rows), []))},
        4e-6,
    )

    def layer_norm(row):
        mean = math.fsum(row) / width
        scale = 1 / math.sqrt(math.fsum((v - mean) ** 2 for v in row) / width + 1e-5)
        return [(v - mean) * scale * g for v, g in zip(row, w)]

    case(
        "program/layer norm",
        "pub fn f<B, T, D>(x: f32[B, T, D], w: f32[D]) -> y: f32[B, T, D] {\n"
        "    let m[b, t] = mean[d](x[b, t, d]);\n"
        "    let v[b, t] = mean[d](pow(x[b, t, d] - m[b, t], 2.0));\n"
        "    y[b, t, d] = (x[b, t, d] - m[b, t]) * rsqrt(v[b, t] + 1e-5) * w[d];\n}".replace(
            "pow(x[b, t, d] - m[b, t], 2.0)", "(x[b, t, d] - m[b, t]) * (x[b, t, d] - m[b, t])"
        ),
        dims,
        inputs,
        {"y": tensor("f32", [batch, length, width], sum((layer_norm(row) for row in rows), []))},
        4e-6,
    )

    def rotate(row, position):
        half = width // 2
        angle = lambda c: position * 10000.0 ** (-2 * (c % half) / width)
        turned = lambda c: -row[c + half] if c < half else row[c - half]
        return [row[c] * math.cos(angle(c)) + turned(c) * math.sin(angle(c)) for c in range(width)]

    case(
        "program/rotary positions",
        "pub fn f<B, T, D, H>(x: f32[B, T, D]) -> y: f32[B, T, D] where D == 2 * H {\n"
        "    let angle[t in 0..T, c in 0..D] = t as f32 * exp(0.0 - (2 * (c % H)) as f32 / D as f32 * log(10000.0));\n"
        "    y[b, t, c] = x[b, t, c] * cos(angle[t, c])\n"
        "        + (if c < H { 0.0 - x[b, t, c + H] } else { x[b, t, c - H] }) * sin(angle[t, c]);\n}",
        dict(dims, H=width // 2),
        {"x": inputs["x"]},
        {"y": tensor("f32", [batch, length, width], sum((rotate(row, at % length) for at, row in enumerate(rows)), []))},
        2e-5,
    )
    size, steps = 4, 5
    a, start = noise(16, [size, size], 0.5), noise(17, [size])
    state = list(start)
    for step in range(steps):
        moved = [math.fsum(a[i * size + j] * state[j] for j in range(size)) for i in range(size)]
        state = [math.tanh(value) + step for value in moved]
    case(
        "program/a counted loop carries a tensor",
        "pub fn f<N, L>(a: f32[N, N], x: f32[N]) -> y: f32[N] {\n"
        "    for l in 0..L carry s[i] = x[i] { s[i] = tanh(sum[j](a[i, j] * s[j])) + l as f32; }\n"
        "    y[i] = s[i];\n}",
        {"N": size, "L": steps},
        {"a": tensor("f32", [size, size], a), "x": tensor("f32", [size], start)},
        {"y": tensor("f32", [size], state)},
        2e-5,
    )
    case(
        "program/a loop of no steps",
        "pub fn f<N, L>(a: f32[N, N], x: f32[N]) -> y: f32[N] {\n"
        "    for l in 0..L carry s[i] = x[i] { s[i] = tanh(sum[j](a[i, j] * s[j])) + l as f32; }\n"
        "    y[i] = s[i];\n}",
        {"N": size, "L": 0},
        {"a": tensor("f32", [size, size], a), "x": tensor("f32", [size], start)},
        {"y": tensor("f32", [size], start)},
    )
    for count in (steps, 0, -2):
        case(
            f"program/a loop of {count} steps, given by a scalar",
            "pub fn f<N>(a: f32[N, N], x: f32[N], count: i32) -> y: f32[N] {\n"
            "    for l in 0..count carry s[i] = x[i] { s[i] = tanh(sum[j](a[i, j] * s[j])) + l as f32; }\n"
            "    y[i] = s[i];\n}",
            {"N": size},
            {"a": tensor("f32", [size, size], a), "x": tensor("f32", [size], start), "count": tensor("i32", [], [count])},
            {"y": tensor("f32", [size], state if count > 0 else start)},
            2e-5,
        )
    n, k = 3, 64
    source = random.Random(18)
    q = [source.randrange(16) for _ in range(n * k)]
    d = [f16(source.uniform(0.01, 0.1)) for _ in range(n * k // 32)]
    m = [f16(source.uniform(-1, 0)) for _ in range(n * k // 32)]
    vector = noise(19, [k])
    weight = lambda r, c: d[(r * k + c) // 32] * q[r * k + c] + m[(r * k + c) // 32]
    case(
        "program/four-bit weights by their equation",
        "pub fn f<N, K>(q: u4[N, K], d: f16[N, K / 32], m: f16[N, K / 32], x: f32[K]) -> y: f32[N] where K % 32 == 0\n"
        "    { y[n] = sum[k](x[k] * (d[n, k / 32] * q[n, k] as f32 + m[n, k / 32])); }",
        {"N": n, "K": k},
        {
            "q": tensor("u4", [n, k], q),
            "d": tensor("f16", [n, k // 32], d),
            "m": tensor("f16", [n, k // 32], m),
            "x": tensor("f32", [k], vector),
        },
        {"y": tensor("f32", [n], [math.fsum(vector[c] * weight(r, c) for c in range(k)) for r in range(n)])},
        4e-6,
    )
    rows, row = 2, 64
    q = [source.randrange(16) for _ in range(rows * row)]
    s = [source.randrange(-9, 9) for _ in range(rows * row // 16)]
    d = [f16(source.uniform(0.01, 0.1)) for _ in range(rows * row // 32)]
    vector = noise(41, [row])
    case(
        "format/fields over the row lie in records",
        "pub format q4<K> { d: f16[K / 32], s: i8[K / 16], q: u4[K] } where K % 32 == 0\n"
        "    = |k| d[k / 32] * ((q[k] + s[k / 16]) as f32);\n"
        "pub fn f<N, K>(w: q4[N, K], x: f32[K]) -> (y: f32[N], z: f32[N, K]) where K % 32 == 0\n"
        "    { y[n] = sum[k](w[n, k] * x[k]); z[n, k] = w[n, k]; }",
        {"N": rows, "K": row},
        {
            "w.d": tensor("f16", [rows, row // 32], d),
            "w.s": tensor("i8", [rows, row // 32, 2], s),
            "w.q": tensor("u4", [rows, row // 32, 32], q),
            "x": tensor("f32", [row], vector),
        },
        (lambda w: {
            "y": tensor("f32", [rows], [math.fsum(w(n, k) * vector[k] for k in range(row)) for n in range(rows)]),
            "z": tensor("f32", [rows, row], [w(n, k) for n in range(rows) for k in range(row)]),
        })(lambda n, k: d[(n * row + k) // 32] * (q[n * row + k] + s[(n * row + k) // 16])),
        1e-5,
    )
    case(
        "program/closures with defaults",
        "pub fn g<N>(x: f32[N], keep: |i| -> bool = |i| i % 2 == 0, act: |v| -> f32 = |v| v) -> y: f32[N]\n"
        "    { y[i] = act(x[i]) where keep(i) else 0.0; }\n"
        "pub fn f<N>(x: f32[N]) -> (y: f32[N], z: f32[N])\n"
        "    { y[i] = g(x)[i]; z[i] = g(x, keep = |i| i > 1, act = |v| v * v)[i]; }",
        {"N": 4},
        {"x": tensor("f32", [4], [1.0, 2.0, 3.0, -4.0])},
        {"y": tensor("f32", [4], [1.0, 0.0, 3.0, 0.0]), "z": tensor("f32", [4], [0.0, 0.0, 9.0, 16.0])},
    )


def loops():
    """Counted loops: what their steps collect, what they write to outputs, which caches they append to."""
    size, steps = 5, 4
    a, start = noise(31, [size, size], 0.5), noise(32, [size])
    states, state = [], list(start)
    for step in range(steps):
        state = [math.tanh(math.fsum(a[i * size + j] * state[j] for j in range(size))) + step for i in range(size)]
        states.append(state)
    body = "s[i] = tanh(sum[j](a[i, j] * s[j])) + l as f32;"
    dims = {"N": size, "L": steps}
    given = {"a": tensor("f32", [size, size], a), "x": tensor("f32", [size], start)}
    flat = [value for state in states for value in state]
    before = [list(start)] + states[:-1]
    case(
        "loop/an output written once per step",
        "pub fn f<N, L>(a: f32[N, N], x: f32[N]) -> (y: f32[L, N], last: f32[N]) {\n"
        "    for l in 0..L carry s[i] = x[i] { " + body + " y[l, i] = s[i]; }\n"
        "    last[i] = s[i];\n}",
        dims,
        given,
        {"y": tensor("f32", [steps, size], flat), "last": tensor("f32", [size], states[-1])},
        2e-5,
    )
    case(
        "loop/a tensor collected over the steps is read after the loop",
        "pub fn f<N, L>(a: f32[N, N], x: f32[N]) -> (y: f32[N], z: f32[N, L]) {\n"
        "    for l in 0..L carry s[i] = x[i] { let h[i, l] = s[i] * 2.0; " + body + " let g[l] = sum[i](h[i, l]); }\n"
        "    y[i] = sum[l](h[i, l] * g[l]);\n    z[i, l] = h[i, L - 1 - l];\n}",
        dims,
        given,
        {
            "y": tensor("f32", [size], [
                math.fsum(2 * b[i] * math.fsum(2 * v for v in b) for b in before) for i in range(size)
            ]),
            "z": tensor("f32", [size, steps], [2 * before[steps - 1 - l][i] for i in range(size) for l in range(steps)]),
        },
        2e-5,
    )
    case(
        "loop/nothing is collected in no steps",
        "pub fn f<N, L>(a: f32[N, N], x: f32[N]) -> (y: f32[L, N], z: f32[N]) {\n"
        "    for l in 0..L carry s[i] = x[i] { " + body + " let h[l, i] = s[i]; y[l, i] = s[i]; }\n"
        "    z[i] = sum[l](h[l, i]);\n}",
        {"N": size, "L": 0},
        given,
        {"y": tensor("f32", [0, size], []), "z": tensor("f32", [size], [0.0] * size)},
    )
    case(
        "loop/loops in loops collect over both indices",
        "pub fn f<N, L, M>(x: f32[N]) -> y: f32[L, M, N] {\n"
        "    for l in 0..L carry s[i] = x[i] {\n"
        "        for m in 0..M carry t[i] = s[i] { t[i] = t[i] * 0.5 + m as f32; y[l, m, i] = t[i] + l as f32; }\n"
        "        s[i] = t[i];\n    }\n}",
        {"N": 3, "L": 2, "M": 3},
        {"x": tensor("f32", [3], [1.0, -2.0, 4.0])},
        {"y": tensor("f32", [2, 3, 3], [v for row in nested([1.0, -2.0, 4.0], 2, 3) for v in row])},
    )
    weights = noise(33, [steps, 2])
    states, state = [None] * steps, [1.0, -2.0]
    for step in reversed(range(steps)):
        state = [0.5 * value + weights[2 * step + i] + step for i, value in enumerate(state)]
        states[step] = state
    case(
        "loop/from the end, with what it collects",
        "pub fn f<N, L>(x: f32[N], w: f32[L, N]) -> (last: f32[N], y: f32[L, N], z: f32[N], u: f32[L, 3, N]) {\n"
        "    for l in rev 0..L carry last[i] = x[i] {\n"
        "        last[i] = 0.5 * last[i] + w[l, i] + l;\n"
        "        y[l, i] = last[i];\n"
        "        let c[i, l] = y[l, i] * (l + 1);\n"
        "        for m in rev 0..3 { u[l, m, i] = y[l, i] + 10.0 * m; }\n"
        "    }\n"
        "    z[i] = sum[l](c[i, l] * w[l, i]);\n}",
        {"N": 2, "L": steps},
        {"x": tensor("f32", [2], [1.0, -2.0]), "w": tensor("f32", [steps, 2], weights)},
        {
            "last": tensor("f32", [2], states[0]),
            "y": tensor("f32", [steps, 2], [v for state in states for v in state]),
            "z": tensor("f32", [2], [
                math.fsum(states[l][i] * (l + 1) * weights[2 * l + i] for l in range(steps)) for i in range(2)
            ]),
            "u": tensor("f32", [steps, 3, 2], [v + 10.0 * m for state in states for m in range(3) for v in state]),
        },
        2e-6,
    )
    layers, experts, width = 2, 3, 2
    x, norm = noise(41, [width]), noise(42, [layers, width])
    up, mixes = noise(43, [layers, experts, width, width], 0.5), noise(44, [layers, 2, width])
    extra, row, state = noise(45, [layers, 2, 3, width]), range(width), list(x)
    for layer in range(layers):
        for at in range(layer * experts, (layer + 1) * experts):
            state = [
                state[d] + math.tanh(math.fsum(up[(at * width + d) * width + c] * state[c] for c in row)) for d in row
            ]
        first, second = (mixes[(2 * layer + at) * width :][:width] for at in range(2))
        state = [
            state[d] * norm[layer * width + d] + first[d] - second[width - 1 - d]
            + extra[((2 * layer + 1) * 3 + 2) * width + d]
            for d in row
        ]
    case(
        "loop/lists in lists, and lists of tensors",
        "pub struct Expert<D, type W: float> { up: W[D, D] }\n"
        "pub struct Layer<D, E, type W: float> { norm: f32[D], experts: [Expert<D, W>; E], mixes: [f32[D]; 2] }\n"
        "pub struct Model<D, E, L, type W: float> { layers: [Layer<D, E, W>; L] }\n"
        "pub fn expert<D, type W: float>(x: f32[D], w: Expert<D, W>) -> y: f32[D] {\n"
        "    y[d] = x[d] + tanh(sum[c](w.up[d, c] * x[c]));\n}\n"
        "pub fn mixed<D>(m: [f32[D]; 2]) -> y: f32[D] { let last = m[1]; y[d] = m[0][d] - last[D - 1 - d]; }\n"
        "pub fn layer<D, E, type W: float>(x: f32[D], w: Layer<D, E, W>) -> y: f32[D] {\n"
        "    for e in 0..E carry v = x { v = expert(v, w.experts[e]); }\n"
        "    y[d] = v[d] * w.norm[d] + mixed(w.mixes)[d];\n}\n"
        "pub fn f<D, E, L, type W: float>(x: f32[D], w: Model<D, E, L, W>, extra: [[f32[3, D]; 2]; L]) -> y: f32[D] {\n"
        "    for l in 0..L carry v = x { let a = layer(v, w.layers[l]); v[d] = a[d] + extra[l][1][2, d]; }\n"
        "    y[d] = v[d];\n}",
        {"D": width, "E": experts, "L": layers},
        {
            "x": tensor("f32", [width], x),
            "w.layers.norm": tensor("f32", [layers, width], norm),
            "w.layers.experts.up": tensor("f32", [layers, experts, width, width], up),
            "w.layers.mixes": tensor("f32", [layers, 2, width], mixes),
            "extra": tensor("f32", [layers, 2, 3, width], extra),
        },
        {"y": tensor("f32", [width], state)},
        1e-5,
        {"W": "f32"},
    )
    case(
        "loop/a mapped call that collects",
        "pub fn g<N, L>(x: f32[N], w: f32[L]) -> y: f32[L, N] {\n"
        "    for l in 0..L carry s[i] = x[i] { s[i] = s[i] * w[l]; let h[l, i] = s[i] + 1.0; }\n"
        "    y[l, i] = h[l, i];\n}\n"
        "pub fn f<B, N, L>(x: f32[B, N], w: f32[L]) -> y: f32[B, L, N] { y[b, l, i] = g(x[b, ..], w)[l, i]; }",
        {"B": 2, "N": 3, "L": 2},
        {"x": tensor("f32", [2, 3], [1.0, 2.0, 3.0, -1.0, 0.5, 0.0]), "w": tensor("f32", [2], [2.0, -3.0])},
        {
            "y": tensor("f32", [2, 2, 3], [
                scale * v + 1 for row in ([1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]) for scale in (2.0, -6.0) for v in row
            ])
        },
    )
    layers, held, new = 3, 2, 2
    k = [f16(value) for value in noise(33, [layers, held])]
    x = noise(34, [new])
    after, state, reads = [], list(x), []
    for l in range(layers):
        entry = k[l * held : (l + 1) * held] + [f16(value + l) for value in state]
        after.append(entry)
        reads.append(len(entry))
        state = [value * 0.5 + math.fsum(entry) for value in state]
    cache = "pub cache Kv { k: f16[T] } grow T;\n"
    case(
        "cache/an entry of a list is appended to in each step, and read",
        cache
        + "pub fn f<S, L>(x: f32[S], kv: [Kv<>; L]) -> (y: f32[S], n: i64[L]) {\n"
        "    for l in 0..L carry s[i] = x[i] {\n"
        "        push kv[l][p in 0..S] { k[p] = s[p] + l as f32 }\n"
        "        s[i] = s[i] * 0.5 + sum[t](kv[l].k[t]);\n        n[l] = kv[l].len;\n    }\n"
        "    y[i] = s[i];\n}",
        {"S": new, "L": layers, "kv.len": held},
        {"kv.k": tensor("f16", [layers, held], k), "x": tensor("f32", [new], x)},
        {
            "kv.k": tensor("f16", [layers, held + new], [v for entry in after for v in entry]),
            "y": tensor("f32", [new], state),
            "n": tensor("i64", [layers], reads),
        },
        1e-5,
    )
    old, x = [f16(value) for value in noise(35, [3])], noise(36, [2])
    grown = old + [f16(2 * value) for value in x]
    case(
        "cache/after a call that appends, a name means the longer cache",
        cache
        + "pub fn g<S>(x: f32[S], kv: Kv<>) -> y: f32[S] { push kv[p in 0..S] { k[p] = 2.0 * x[p] } y[i] = x[i] + kv.len as f32; }\n"
        "pub fn total<>(kv: Kv<>) -> y: f32 { y = sum[t](kv.k[t]); }\n"
        "pub fn f<S>(x: f32[S], kv: Kv<>) -> (y: f32[S], z: f32, w: f32, n: i64) {\n"
        "    let before = sum[t](kv.k[t]);\n    let a[i] = g(x, kv)[i];\n"
        "    y[i] = a[i] + before;\n    z = sum[t](kv.k[t] * t as f32);\n    w = total(kv);\n    n = kv.len;\n}",
        {"S": 2, "kv.len": 3},
        {"kv.k": tensor("f16", [3], old), "x": tensor("f32", [2], x)},
        {
            "kv.k": tensor("f16", [5], grown),
            "y": tensor("f32", [2], [value + 5 + math.fsum(old) for value in x]),
            "z": tensor("f32", [], [math.fsum(at * value for at, value in enumerate(grown))]),
            "w": tensor("f32", [], [math.fsum(grown)]),
            "n": tensor("i64", [], [5]),
        },
        1e-5,
    )
    case(
        "cache/what is ignored is appended all the same",
        cache
        + "pub fn g<S>(x: f32[S], kv: Kv<>) -> y: f32[S] { push kv[p in 0..S] { k[p] = x[p] } y[i] = x[i]; }\n"
        "pub fn f<S>(x: f32[S], kv: Kv<>) -> y: f32[S] { let _ = g(x, kv); y[i] = x[i] * 2.0; }",
        {"S": 2, "kv.len": 1},
        {"kv.k": tensor("f16", [1], [0.5]), "x": tensor("f32", [2], [1.0, -2.0])},
        {"kv.k": tensor("f16", [3], [0.5, 1.0, -2.0]), "y": tensor("f32", [2], [2.0, -4.0])},
    )


def nested(start, outer, inner):
    """The steps of two loops, one in the other, that halve and add."""
    rows, state = [], list(start)
    for l in range(outer):
        for m in range(inner):
            state = [value * 0.5 + m for value in state]
            rows.append([value + l for value in state])
    return rows


def types_and_closures():
    x = noise(37, [6], 3.0)
    for dtype, rounded in (("bf16", bf16), ("f16", f16), ("f32", f32)):
        case(
            f"types/as a type parameter rounds to what it stands for: {dtype}",
            "pub fn f<N, type E: float>(x: f32[N], w: E[N]) -> y: f32[N] { y[i] = (x[i] * 1.25) as E + w[i]; }",
            {"N": 6},
            {"x": tensor("f32", [6], x), "w": tensor(dtype, [6], [1.0, 0.5, 2.0, 0.0, -1.0, 4.0])},
            {"y": tensor("f32", [6], [f32(rounded(f32(v * 1.25)) + w) for v, w in zip(x, [1.0, 0.5, 2.0, 0.0, -1.0, 4.0])])},
            types={"E": dtype},
        )
    case(
        "types/as an integer type parameter truncates and saturates",
        "pub fn f<N, type I: int>(x: f32[N], w: I[N]) -> y: i32[N] { y[i] = x[i] as I + w[i]; }",
        {"N": 4},
        {"x": tensor("f32", [4], [1.9, -300.0, 127.0, 1000.0]), "w": tensor("i8", [4], [1, 2, 3, 4])},
        {"y": tensor("i32", [4], [2, -126, 130, 131])},
        types={"I": "i8"},
    )
    values, row = [0.3, -2.0, 7.9, 3.2, 100.0], noise(45, [4])
    case(
        "range/of a computed position follows from what computes it",
        "pub fn f<N, M>(x: f32[N], w: f32[M]) -> (y: f32[N], z: f32[N], o: i32[N] in 0..M) where M >= 4 {\n"
        "    y[i] = w[clamp(floor(x[i]) as i32, 0, M - 1)];\n"
        "    z[i] = w[if x[i] > 1.0 { floor(x[i]) as i32 % 4 } else { 0 }];\n"
        "    o[i] = min(max(floor(x[i]) as i32, 1), 3);\n}",
        {"N": 5, "M": 4},
        {"x": tensor("f32", [5], values), "w": tensor("f32", [4], row)},
        {
            "y": tensor("f32", [5], [row[min(max(math.floor(v), 0), 3)] for v in values]),
            "z": tensor("f32", [5], [row[math.floor(v) % 4 if v > 1 else 0] for v in values]),
            "o": tensor("i32", [5], [min(max(math.floor(v), 1), 3) for v in values]),
        },
    )
    table, scores = noise(42, [5, 2]), noise(43, [3, 5])
    best = [max(range(5), key=lambda v: scores[5 * s + v]) for s in range(3)]
    case(
        "promise/an output's range makes it a subscript elsewhere",
        "pub fn pick<S, V>(x: f32[S, V]) -> (t: i32[S] in 0..V, u: i64[S] in 0..2 * V) where V >= 1 {\n"
        "    let i[s] = argmax[v](x[s, v]); t[s] = i[s] as i32; u[s] = i[s] + 1;\n}\n"
        "pub fn f<S, V, D>(x: f32[S, V], w: f32[V, D], z: f32[2 * V]) -> (y: f32[S, D], n: f32[S]) where V >= 1, D >= 1 {\n"
        "    let (t[s], u[s]) = pick(x); y[s, d] = w[t[s], d]; n[s] = z[u[s]] + w[pick(x).t[s], 0 * s];\n}",
        {"S": 3, "V": 5, "D": 2},
        {"x": tensor("f32", [3, 5], scores), "w": tensor("f32", [5, 2], table), "z": tensor("f32", [10], vector := noise(44, [10]))},
        {
            "y": tensor("f32", [3, 2], [table[2 * v + d] for v in best for d in range(2)]),
            "n": tensor("f32", [3], [vector[v + 1] + table[2 * v] for v in best]),
        },
    )
    size, heads = 4, 2
    x = noise(38, [size])
    case(
        "closure/in a closure",
        "pub fn kept<N>(x: f32[N], keep: |i| -> bool) -> y: f32 { y = sum[i](x[i] where keep(i)); }\n"
        "pub fn rows<N, M>(x: f32[N], row: |i| -> f32) -> y: f32[M] { y[m] = row(m); }\n"
        "pub fn f<N, M>(x: f32[N]) -> y: f32[M, M] {\n"
        "    y[h, m] = rows(x, row = |a| kept(x, keep = |b| b <= a + h), M = M)[m];\n}",
        {"N": size, "M": heads},
        {"x": tensor("f32", [size], x)},
        {
            "y": tensor("f32", [heads, heads], [
                math.fsum(x[b] for b in range(size) if b <= a + h) for h in range(heads) for a in range(heads)
            ])
        },
    )
    rows, codes, table = 4, [0, 5, 7, 2, 3, 6, 1, 4], noise(40, [8])
    ones = lambda value: bin(value).count("1")
    clip = lambda value, lo, hi: max(lo, min(value, hi))
    case(
        "closure/computed positions",
        "pub fn clip(v: i32, lo: i32, hi: i32) -> y: i32 { y = clamp(v, lo, hi); }\n"
        "pub fn pairs<N>(x: f32[N], score: |i, j, v| -> f32) -> y: f32[N, N] { y[i, j] = score(i, j, round(x[i]) as i32); }\n"
        "pub fn f<N, R>(x: f32[N], t: i32[N, R] in 0..8, q: f32[8]) -> y: f32[N, N] {\n"
        "    y[i, j] = pairs(x, score = |a, b, v|\n"
        "        sum[r](q[popcount(t[a, r] ^ b) & 7] * (q[clamp(t[b, r] + clip(a - b, -1, 1), 0, 7)] or 0.0))\n"
        "        + q[clamp(clip(b - a, 0, 2) + 1, 0, 7)] + (q[v] or 100.0) + (q[v * v - 1] or 0.0))[i, j];\n}",
        {"N": rows, "R": 2},
        {
            "x": tensor("f32", [rows], [0.0, 2.7, -3.0, 9.0]),
            "t": tensor("i32", [rows, 2], codes),
            "q": tensor("f32", [8], table),
        },
        {
            "y": tensor("f32", [rows, rows], [
                math.fsum(
                    table[ones(codes[2 * a + r] ^ b) & 7] * table[clip(codes[2 * b + r] + clip(a - b, -1, 1), 0, 7)]
                    for r in range(2)
                )
                + table[clip(clip(b - a, 0, 2) + 1, 0, 7)]
                + (table[v] if 0 <= v < 8 else 100.0)
                + (table[v * v - 1] if 0 <= v * v - 1 < 8 else 0.0)
                for a, v in enumerate([0, 3, -3, 9]) for b in range(rows)
            ])
        },
        4e-6,
    )
    table, width = noise(39, [3, 4]), 2
    case(
        "closure/a part of a tensor passed in a closure",
        "pub fn dot<C>(a: f32[C], b: f32[C]) -> y: f32 { y = sum[c](a[c] * b[c]); }\n"
        "pub fn scores<S>(x: f32[S], score: |i, j| -> f32) -> y: f32[S, S] { y[i, j] = x[i] + score(i, j); }\n"
        "pub fn f<S>(x: f32[S], q: f32[S, 4], u: f32[2]) -> y: f32[S, S] {\n"
        "    y[i, j] = scores(x, score = |a, b| dot(q[a, 1..3], q[b, 0..2]) + dot(q[a, 2..], u))[i, j];\n}",
        {"S": 3},
        {"x": tensor("f32", [3], x[:3]), "q": tensor("f32", [3, 4], table), "u": tensor("f32", [2], [2.0, -1.0])},
        {
            "y": tensor("f32", [3, 3], [
                x[i]
                + math.fsum(table[4 * i + 1 + c] * table[4 * j + c] for c in range(width))
                + 2 * table[4 * i + 2] - table[4 * i + 3]
                for i in range(3) for j in range(3)
            ])
        },
        4e-6,
    )


def small_float(code, exponent, mantissa, bias):
    """The number that a code of a small float stands for (OCP 8-bit floating point, OCP microscaling)."""
    sign = -1.0 if code >> (exponent + mantissa) & 1 else 1.0
    e, m = code >> mantissa & (1 << exponent) - 1, code & (1 << mantissa) - 1
    if (exponent, mantissa, e, m) == (4, 3, 15, 7):
        return NAN
    if (exponent, mantissa, e) == (5, 2, 31):
        return NAN if m else sign * INF
    size = math.ldexp(m, 1 - bias - mantissa) if e == 0 else math.ldexp((1 << mantissa) + m, e - bias - mantissa)
    return sign * size


SMALL = {"f8e4m3": (4, 3, 7), "f8e5m2": (5, 2, 15), "f4e2m1": (2, 1, 1)}


def nearest(dtype, value):
    """The number of the type that is nearest, the even code at a tie; beyond the largest, the largest."""
    if math.isnan(value):
        return NAN
    if dtype == "f8e8m0":
        codes = [(code, 2.0 ** (code - 127)) for code in range(255)]
    else:
        exponent, mantissa, bias = SMALL[dtype]
        codes = [(code, small_float(code, exponent, mantissa, bias)) for code in range(1 << exponent + mantissa)]
        codes = [(code, size) for code, size in codes if math.isfinite(size)]
    sign = math.copysign(1.0, value) if dtype != "f8e8m0" else 1.0
    size = abs(value) if dtype != "f8e8m0" else value
    if size >= codes[-1][1]:
        return sign * codes[-1][1]
    if size <= codes[0][1]:
        return sign * codes[0][1]
    # A power of two has no mantissa whose last bit could be even: half way goes up.
    best = min(codes, key=lambda pair: (abs(pair[1] - size), -pair[0] if dtype == "f8e8m0" else pair[0] % 2))
    return sign * best[1]


def narrow():
    """Types of 8 and 4 bits: every code read, values of every kind written."""
    for dtype, (exponent, mantissa, bias) in SMALL.items():
        codes = [small_float(code, exponent, mantissa, bias) for code in range(1 << 1 + exponent + mantissa)]
        count = len(codes)
        case(
            f"narrow/every number of {dtype} is read",
            f"pub fn f<N>(x: {dtype}[N]) -> y: f32[N] {{ y[i] = x[i]; }}",
            {"N": count},
            {"x": tensor(dtype, [count], codes)},
            {"y": tensor("f32", [count], codes)},
            0.0,
        )
        case(
            f"narrow/{dtype} by rows, columns and positions",
            f"pub fn f<N, M>(x: {dtype}[N, M], t: i32[N] in 0..M) -> (r: f32[N], c: f32[M], g: f32[N]) where M >= 1 {{\n"
            "    r[i] = sum[j](x[i, j]); c[j] = sum[i](x[i, j]); g[i] = x[i, t[i]] + x[N - 1 - i, M - 1];\n}",
            {"N": 3, "M": 6},
            {"x": tensor(dtype, [3, 6], few := codes[1:7] + codes[3:9][:1] * 6 + codes[0:6]), "t": tensor("i32", [3], [0, 5, 3])},
            {
                "r": tensor("f32", [3], [math.fsum(few[6 * i : 6 * i + 6]) for i in range(3)]),
                "c": tensor("f32", [6], [math.fsum(few[j::6]) for j in range(6)]),
                "g": tensor("f32", [3], [few[6 * i + t] + few[6 * (2 - i) + 5] for i, t in enumerate([0, 5, 3])]),
            },
        )
    powers = [2.0 ** (code - 127) for code in range(255)] + [NAN]
    case(
        "narrow/every number of f8e8m0 is read",
        "pub fn f<N>(x: f8e8m0[N]) -> y: f32[N] { y[i] = x[i]; }",
        {"N": 256},
        {"x": tensor("f8e8m0", [256], powers)},
        {"y": tensor("f32", [256], powers)},
        0.0,
    )
    for dtype in ("f8e4m3", "f8e5m2", "f8e8m0", "f4e2m1"):
        if dtype == "f8e8m0":
            numbers = [2.0 ** (code - 127) for code in range(255)]
        else:
            numbers = sorted({abs(v) for v in (small_float(c, *SMALL[dtype]) for c in range(256 if dtype != "f4e2m1" else 16)) if math.isfinite(v)})
        between = [(a + b) / 2 for a, b in zip(numbers, numbers[1:])]
        near = [f32(v * (1 + d)) for v in between for d in (-1e-6, 0.0, 1e-6)] + numbers
        beyond = [numbers[-1] * 1.01, INF if dtype != "f8e8m0" else 3e38, 0.0]
        values = [v for v in near + beyond if abs(v) < 3.3e38 or v == INF]
        values += [-v for v in (values if dtype != "f8e8m0" else values[:9])]
        # Multiplying by one keeps them from being constants of the program.
        case(
            f"narrow/values are rounded to {dtype}",
            f"pub fn f<N>(x: f32[N]) -> y: f32[N] {{ y[i] = x[i] as {dtype}; }}",
            {"N": len(values)},
            {"x": tensor("f32", [len(values)], values)},
            {"y": tensor("f32", [len(values)], [nearest(dtype, v) for v in values])},
            0.0,
        )
        if dtype != "f4e2m1":
            case(
                f"narrow/an output of {dtype}",
                f"pub fn f<N>(x: f32[N]) -> y: {dtype}[N] {{ y[i] = x[i]; }}",
                {"N": len(values)},
                {"x": tensor("f32", [len(values)], values)},
                {"y": tensor(dtype, [len(values)], [nearest(dtype, v) for v in values])},
                0.0,
            )
        case(
            f"narrow/a let of {dtype} that is stored",
            f"pub fn f<N>(x: f32[N]) -> y: f32[N] {{\n"
            f"    let s[i in 0..N]: {dtype} = sum[j](x[j] where j <= i); y[i] = sum[j](s[j] where j <= i);\n}}",
            {"N": 7},
            {"x": tensor("f32", [7], steps := [1.0, 0.25, 2.25, -1.5, 3.0, 0.125, 1.0])},
            {
                "y": tensor("f32", [7], [
                    math.fsum(nearest(dtype, math.fsum(steps[: j + 1])) for j in range(i + 1)) for i in range(7)
                ])
            },
        )
    for dtype, low in (("u4", 0), ("i4", -8)):
        codes = list(range(low, low + 16))
        flat = codes + codes[::-1] + codes[3:] + codes[:3]
        case(
            f"narrow/every number of {dtype} is read",
            f"pub fn f<N, M>(x: {dtype}[N, M], t: i32[N] in 0..M) -> (y: i32[N, M], r: i32[N], c: i32[M], g: i32[N]) {{\n"
            "    y[i, j] = x[i, j]; r[i] = sum[j](x[i, j] * j as i32); c[j] = sum[i](x[i, j]); g[i] = x[i, t[i]];\n}",
            {"N": 3, "M": 16},
            {"x": tensor(dtype, [3, 16], flat), "t": tensor("i32", [3], [0, 7, 15])},
            {
                "y": tensor("i32", [3, 16], flat),
                "r": tensor("i32", [3], [sum(j * flat[16 * i + j] for j in range(16)) for i in range(3)]),
                "c": tensor("i32", [16], [sum(flat[j::16]) for j in range(16)]),
                "g": tensor("i32", [3], [flat[0], flat[16 + 7], flat[32 + 15]]),
            },
        )
    # Two elements share a byte: rows of odd and even lengths, of one element, and of more than any block has.
    for rows, columns in ((1, 4), (3, 5), (2, 1), (1, 601), (2, 258)):
        shape = [rows, columns]
        values = [(7 * at + 3) % 29 - 9 for at in range(rows * columns)]
        for dtype, least, most in (("u4", 0, 15), ("i4", -8, 7)):
            case(
                f"narrow/elements of four bits are given: {dtype}[{rows}, {columns}]",
                "pub fn f<M, N>(x: i32[M, N]) -> y: %s[M, N] { y[m, n] = x[m, n]; }" % dtype,
                {"M": rows, "N": columns},
                {"x": tensor("i32", shape, values)},
                {"y": tensor(dtype, shape, [min(max(value, least), most) for value in values])},
            )
        halves = [value / 4 for value in values]
        case(
            f"narrow/elements of four bits are given: f4e2m1[{rows}, {columns}]",
            "pub fn f<M, N>(x: f32[M, N]) -> y: f4e2m1[M, N] { y[m, n] = x[m, n] * 2.0; }",
            {"M": rows, "N": columns},
            {"x": tensor("f32", shape, [value / 2 for value in halves])},
            {"y": tensor("f4e2m1", shape, [nearest("f4e2m1", value) for value in halves])},
        )
    case(
        "narrow/elements of four bits are given and read, transposed, by a sum",
        "pub fn f<M, N>(x: i32[M, N]) -> (y: u4[N, M], s: i32[M]) { y[n, m] = x[m, n] + 1; s[m] = sum[n](y[n, m]); }",
        {"M": 3, "N": 5},
        {"x": tensor("i32", [3, 5], range(15))},
        {
            "y": tensor("u4", [5, 3], [min(5 * m + n + 1, 15) for n in range(5) for m in range(3)]),
            "s": tensor("i32", [3], [sum(min(5 * m + n + 1, 15) for n in range(5)) for m in range(3)]),
        },
    )


def json_number(value):
    if isinstance(value, float):
        if math.isnan(value):
            return "nan"
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        # Readers of JSON are exact on few digits only.
        if value and (abs(value) < 1e-3 or abs(value) > 1e6):
            return repr(value)
    return value


def main():
    for build in (elementwise, binary, integers, conversions, reductions, softmaxes, documents, attention, products, indices, presence, programs, loops, types_and_closures, narrow):
        build()
    scans(case, tensor, noise)
    for entry in CASES:
        for side in ("inputs", "outputs"):
            for value in entry[side].values():
                value["data"] = [json_number(number) for number in value["data"]]
    path = HERE / "semantics.json"
    path.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in CASES) + "\n]\n")
    print(f"{path}: {len(CASES)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
