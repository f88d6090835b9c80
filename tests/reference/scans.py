"""Recurrences: what a `scan` means, step by step in plain Python. Cases of semantics.py; imported by it."""

import math


def scans(case, tensor, noise):
    """Adds the cases."""
    for build in (gated, normalised, delta, reversed_decay, documents, stabilised, nonlinear, selective, nested, integers, shapes, wide, narrow):
        build(case, tensor, noise)


def outer(a, b):
    return [[x * y for y in b] for x in a]


def rows(flat, width):
    return [flat[at : at + width] for at in range(0, len(flat), width)]


def flat(nested):
    return [value for part in nested for value in flat(part)] if isinstance(nested, list) else [nested]


def column_sums(state, weights):
    """sum over i of state[i][j] * weights[i]."""
    return [math.fsum(state[i][j] * weights[i] for i in range(len(weights))) for j in range(len(state[0]))]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


GATED = (
    "pub fn f<H, T, const K, const V>(q, k: f32[H, T, K], v: f32[H, T, V], a: f32[H, T], s0: f32[H, K, V])\n"
    "    -> (o: f32[H, T, V], s: f32[H, K, V]) {\n"
    "    scan t in 0..T carry s[h, i, j] = s0[h, i, j] {\n"
    "        s[h, i, j] = a[h, t] * s[h, i, j] + k[h, t, i] * v[h, t, j];\n"
    "        o[h, t, j] = sum[i](s[h, i, j] * q[h, t, i]);\n    }\n}"
)


def gated(case, tensor, noise):
    """A decay that is a number for each step, the state after the write."""
    for name, heads, steps, width, columns in [
        ("a few steps", 2, 5, 3, 4), ("one step", 2, 1, 3, 4), ("no step", 2, 0, 3, 4), ("no head", 0, 4, 3, 4),
        ("odd sizes", 2, 3, 17, 33), ("wide", 1, 2, 64, 40),
    ]:
        q, k = noise(61, [heads * steps * width]), noise(62, [heads * steps * width])
        v, start = noise(63, [heads * steps * columns]), noise(64, [heads * width * columns])
        a = [sigmoid(x) for x in noise(65, [heads * steps])]
        given = {
            "q": tensor("f32", [heads, steps, width], q),
            "k": tensor("f32", [heads, steps, width], k),
            "v": tensor("f32", [heads, steps, columns], v),
            "a": tensor("f32", [heads, steps], a),
            "s0": tensor("f32", [heads, width, columns], start),
        }
        a = given["a"]["data"]
        out, last = [], []
        for h in range(heads):
            state = rows(start[h * width * columns :][: width * columns], columns)
            for t in range(steps):
                at = h * steps + t
                write = outer(k[at * width :][:width], v[at * columns :][:columns])
                state = [[a[at] * s + w for s, w in zip(*pair)] for pair in zip(state, write)]
                out += column_sums(state, q[at * width :][:width])
            last += flat(state)
        results = {"o": tensor("f32", [heads, steps, columns], out), "s": tensor("f32", [heads, width, columns], last)}
        dims = {"H": heads, "T": steps, "K": width, "V": columns}
        case(f"scan/a gate for each step: {name}", GATED, dims, given, results, 2e-5)


def normalised(case, tensor, noise):
    """Two carries of different ranks; the final values are not asked for."""
    steps, width, columns = 6, 4, 5
    q, k, v = ([abs(x) for x in noise(71 + n, [steps, w])] for n, w in enumerate((width, width, columns)))
    given = {name: tensor("f32", [steps, len(x) // steps], x) for name, x in (("q", q), ("k", k), ("v", v))}
    state, total, out = [[0.0] * columns for _ in range(width)], [0.0] * width, []
    for t in range(steps):
        at = lambda x: x[t * (len(x) // steps) :][: len(x) // steps]
        write = outer(at(k), at(v))
        state = [[s + w for s, w in zip(*pair)] for pair in zip(state, write)]
        total = [z + x for z, x in zip(total, at(k))]
        weight = math.fsum(z * x for z, x in zip(total, at(q)))
        out += [value / weight for value in column_sums(state, at(q))]
    case(
        "scan/two carries of different ranks",
        "pub fn f<T, const K, const V>(q, k: f32[T, K], v: f32[T, V]) -> o: f32[T, V] {\n"
        "    scan t in 0..T carry s[i, j] = 0.0, z[i] = 0.0 {\n"
        "        s[i, j] = s[i, j] + k[t, i] * v[t, j];\n"
        "        z[i] = z[i] + k[t, i];\n"
        "        o[t, j] = sum[i](s[i, j] * q[t, i]) / sum[i](z[i] * q[t, i]);\n    }\n}",
        {"T": steps, "K": width, "V": columns},
        given,
        {"o": tensor("f32", [steps, columns], out)},
        2e-5,
    )


def delta(case, tensor, noise):
    """A step that reads what it is about to overwrite; one that reads before it writes."""
    steps, width, columns = 6, 5, 4
    q, k, v = noise(81, [steps, width]), noise(82, [steps, width], 0.4), noise(83, [steps, columns])
    g, beta = [-abs(x) for x in noise(84, [steps])], [sigmoid(x) for x in noise(85, [steps])]
    given = {
        "q": tensor("f32", [steps, width], q), "k": tensor("f32", [steps, width], k),
        "v": tensor("f32", [steps, columns], v), "g": tensor("f32", [steps], g), "beta": tensor("f32", [steps], beta),
    }
    beta = given["beta"]["data"]
    state, out, before = [[0.0] * columns for _ in range(width)], [], []
    for t in range(steps):
        key = k[t * width :][:width]
        before += column_sums(state, q[t * width :][:width])
        decayed = [[math.exp(g[t]) * s for s in row] for row in state]
        error = [x - y for x, y in zip(v[t * columns :][:columns], column_sums(decayed, key))]
        state = [[s + beta[t] * key[i] * e for s, e in zip(decayed[i], error)] for i in range(width)]
        out += column_sums(state, q[t * width :][:width])
    case(
        "scan/a gated delta rule, read before and after the write",
        "pub fn f<T, const K, const V>(q, k: f32[T, K], v: f32[T, V], g, beta: f32[T]) -> (o: f32[T, V], r: f32[T, V], s: f32[K, V]) {\n"
        "    scan t in 0..T carry s[i, j] = 0.0 {\n"
        "        r[t, j] = sum[i](s[i, j] * q[t, i]);\n"
        "        let decayed[i, j] = exp(g[t]) * s[i, j];\n"
        "        let error[j] = v[t, j] - sum[i](decayed[i, j] * k[t, i]);\n"
        "        s[i, j] = decayed[i, j] + beta[t] * k[t, i] * error[j];\n"
        "        o[t, j] = sum[i](s[i, j] * q[t, i]);\n    }\n}",
        {"T": steps, "K": width, "V": columns},
        given,
        {
            "o": tensor("f32", [steps, columns], out),
            "r": tensor("f32", [steps, columns], before),
            "s": tensor("f32", [width, columns], flat(state)),
        },
        2e-5,
    )


def reversed_decay(case, tensor, noise):
    """From the end, a decay for each channel, and what was collected is read after the scan."""
    steps, width = 5, 6
    x, g = noise(91, [steps, width]), [sigmoid(x) for x in noise(92, [steps, width])]
    given = {"x": tensor("f32", [steps, width], x), "g": tensor("f32", [steps, width], g)}
    g = given["g"]["data"]
    state, states = [0.0] * width, [None] * steps
    for t in reversed(range(steps)):
        state = [g[t * width + d] * state[d] + x[t * width + d] for d in range(width)]
        states[t] = state
    norms = [math.sqrt(math.fsum(s * s for s in state)) for state in states]
    case(
        "scan/from the end, collected and normalised after",
        "pub fn f<T, D>(x, g: f32[T, D]) -> (y: f32[T, D], last: f32[D]) {\n"
        "    scan t in rev 0..T carry h[d] = 0.0 {\n"
        "        h[d] = g[t, d] * h[d] + x[t, d];\n        let c[t, d] = h[d];\n    }\n"
        "    y[t, d] = c[t, d] / sqrt(sum[e](c[t, e] * c[t, e]));\n    last[d] = h[d];\n}",
        {"T": steps, "D": width},
        given,
        {
            "y": tensor("f32", [steps, width], [s / n for state, n in zip(states, norms) for s in state]),
            "last": tensor("f32", [width], state),
        },
        2e-5,
    )


def documents(case, tensor, noise):
    """Carries go back to their initial values where a document starts, in each row at its own steps."""
    batch, steps, width = 2, 7, 3
    starts = [0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 1, 1, 0]
    x, start = noise(101, [batch, steps, width]), noise(102, [batch, width])
    sums, counts = [], []
    for b in range(batch):
        state, count = start[b * width :][:width], 0
        for t in range(steps):
            if starts[b * steps + t]:
                state, count = start[b * width :][:width], 0
            state = [0.5 * s + v for s, v in zip(state, x[(b * steps + t) * width :][:width])]
            count += 1
            sums += state
            counts.append(count)
    case(
        "scan/reset where a document starts",
        "pub fn f<B, T, D>(x: f32[B, T, D], first: f32[B, D], starts: i32[B, T])\n"
        "    -> (y: f32[B, T, D], n: i32[B, T]) {\n"
        "    scan t in 0..T carry s[b, d] = first[b, d], c[b]: i32 = 0 as i32 reset where starts[b, t] == 1 {\n"
        "        s[b, d] = 0.5 * s[b, d] + x[b, t, d];\n        c[b] = c[b] + 1;\n"
        "        y[b, t, d] = s[b, d];\n        n[b, t] = c[b];\n    }\n}",
        {"B": batch, "T": steps, "D": width},
        {
            "x": tensor("f32", [batch, steps, width], x),
            "first": tensor("f32", [batch, width], start),
            "starts": tensor("i32", [batch, steps], starts),
        },
        {"y": tensor("f32", [batch, steps, width], sums), "n": tensor("i32", [batch, steps], counts)},
        2e-6,
    )


def stabilised(case, tensor, noise):
    """RWKV-4: a weighted mean whose exponents are kept relative to a running maximum."""
    steps, width = 6, 5
    k, v = noise(111, [steps, width], 60.0), noise(112, [steps, width])
    w, u = [abs(x) for x in noise(113, [width])], noise(114, [width])
    out = []
    for t in range(steps):
        for c in range(width):
            scores = [k[j * width + c] - (t - 1 - j) * w[c] for j in range(t)] + [u[c] + k[t * width + c]]
            top = max(scores)
            weights = [math.exp(s - top) for s in scores]
            out.append(math.fsum(p * v[j * width + c] for j, p in enumerate(weights)) / math.fsum(weights))
    case(
        "scan/relative to a running maximum",
        "pub fn f<T, C>(k, v: f32[T, C], w, u: f32[C]) -> o: f32[T, C] {\n"
        "    scan t in 0..T carry num[c] = 0.0, den[c] = 0.0, top[c] = -inf {\n"
        "        let bonus[c] = max(top[c], u[c] + k[t, c]);\n"
        "        let a[c] = exp(top[c] - bonus[c]);\n        let b[c] = exp(u[c] + k[t, c] - bonus[c]);\n"
        "        o[t, c] = (a[c] * num[c] + b[c] * v[t, c]) / (a[c] * den[c] + b[c]);\n"
        "        let next[c] = max(top[c] - w[c], k[t, c]);\n"
        "        let x[c] = exp(top[c] - w[c] - next[c]);\n        let y[c] = exp(k[t, c] - next[c]);\n"
        "        num[c] = x[c] * num[c] + y[c] * v[t, c];\n        den[c] = x[c] * den[c] + y[c];\n"
        "        top[c] = next[c];\n    }\n}",
        {"T": steps, "C": width},
        {
            "k": tensor("f32", [steps, width], k), "v": tensor("f32", [steps, width], v),
            "w": tensor("f32", [width], w), "u": tensor("f32", [width], u),
        },
        {"o": tensor("f32", [steps, width], out)},
        5e-5,
    )


def nonlinear(case, tensor, noise):
    """A cell whose gates read its last output through a matrix of each head."""
    heads, steps, width = 2, 5, 6
    z, r = noise(121, [heads, steps, width]), noise(122, [heads, width, width], 0.4)
    out, last = [], []
    for h in range(heads):
        y, c = [0.0] * width, [0.0] * width
        for t in range(steps):
            seen = [math.fsum(r[(h * width + d) * width + e] * y[e] for e in range(width)) for d in range(width)]
            gates = [z[(h * steps + t) * width + d] + seen[d] for d in range(width)]
            c = [sigmoid(g) * x + math.tanh(g) for g, x in zip(gates, c)]
            y = [math.tanh(x) for x in c]
            out += y
        last += c
    case(
        "scan/a body that is not linear",
        "pub fn f<H, T, const D>(z: f32[H, T, D], r: f32[H, D, D]) -> (o: f32[H, T, D], c: f32[H, D]) {\n"
        "    scan t in 0..T carry y[h, d] = 0.0, c[h, d] = 0.0 {\n"
        "        let g[h, d] = z[h, t, d] + sum[e](r[h, d, e] * y[h, e]);\n"
        "        c[h, d] = sigmoid(g[h, d]) * c[h, d] + tanh(g[h, d]);\n"
        "        y[h, d] = tanh(c[h, d]);\n        o[h, t, d] = y[h, d];\n    }\n}",
        {"H": heads, "T": steps, "D": width},
        {"z": tensor("f32", [heads, steps, width], z), "r": tensor("f32", [heads, width, width], r)},
        {"o": tensor("f32", [heads, steps, width], out), "c": tensor("f32", [heads, width], last)},
        2e-5,
    )


def selective(case, tensor, noise):
    """A decay for each channel and each component of its state, computed from the step's input."""
    steps, width, states = 5, 7, 4
    x, dt = noise(131, [steps, width]), [abs(v) for v in noise(132, [steps, width])]
    b, c = noise(133, [steps, states]), noise(134, [steps, states])
    a = noise(135, [width, states], 0.5)
    given = {
        "x": tensor("f32", [steps, width], x), "dt": tensor("f32", [steps, width], dt),
        "b": tensor("f32", [steps, states], b), "c": tensor("f32", [steps, states], c),
        "a": tensor("f32", [width, states], a),
    }
    state, out = [[0.0] * states for _ in range(width)], []
    for t in range(steps):
        for d in range(width):
            step = dt[t * width + d]
            for n in range(states):
                decay = math.exp(-step * math.exp(a[d * states + n]))
                state[d][n] = decay * state[d][n] + step * b[t * states + n] * x[t * width + d]
            out.append(math.fsum(state[d][n] * c[t * states + n] for n in range(states)))
    case(
        "scan/a decay for each channel and component",
        "pub fn f<T, D, const N>(x, dt: f32[T, D], b, c: f32[T, N], a: f32[D, N]) -> y: f32[T, D] {\n"
        "    scan t in 0..T carry h[d, n] = 0.0 {\n"
        "        h[d, n] = exp(-dt[t, d] * exp(a[d, n])) * h[d, n] + dt[t, d] * b[t, n] * x[t, d];\n"
        "        y[t, d] = sum[n](h[d, n] * c[t, n]);\n    }\n}",
        {"T": steps, "D": width, "N": states},
        given,
        {"y": tensor("f32", [steps, width], out)},
        2e-5,
    )


def nested(case, tensor, noise):
    """Scans in scans: a product of several rank-1 steps, and an inner state that starts from the outer one."""
    steps, inner, width = 3, 2, 4
    k, v = noise(141, [steps, inner, width], 0.5), noise(142, [steps, inner, width])
    state, out = [[0.0] * width for _ in range(width)], []
    for t in range(steps):
        for n in range(inner):
            at = (t * inner + n) * width
            key, value = k[at : at + width], v[at : at + width]
            error = [x - y for x, y in zip(value, column_sums(state, key))]
            state = [[s + key[i] * e for s, e in zip(state[i], error)] for i in range(width)]
        out += flat(state)
    case(
        "scan/several writes in a step",
        "pub fn f<T, N, const K>(k, v: f32[T, N, K]) -> o: f32[T, K, K] {\n"
        "    scan t in 0..T carry s[i, j] = 0.0 {\n"
        "        for n in 0..N {\n"
        "            let error[j] = v[t, n, j] - sum[i](s[i, j] * k[t, n, i]);\n"
        "            s[i, j] = s[i, j] + k[t, n, i] * error[j];\n        }\n"
        "        o[t, i, j] = s[i, j];\n    }\n}",
        {"T": steps, "N": inner, "K": width},
        {"k": tensor("f32", [steps, inner, width], k), "v": tensor("f32", [steps, inner, width], v)},
        {"o": tensor("f32", [steps, width, width], out)},
        5e-5,
    )
    chunks, size, width = 3, 4, 5
    x = noise(143, [chunks, size, width])
    state, seen = [1.0] * width, []
    for n in range(chunks):
        local = list(state)
        for c in range(size):
            at = (n * size + c) * width
            local = [0.5 * s + state[d] * x[at + d] for d, s in enumerate(local)]
            seen += local
        state = [math.tanh(s) for s in local]
    case(
        "scan/an inner carry starts from the outer one",
        "pub fn f<N, C, T, D>(x: f32[T, D]) -> (y: f32[T, D], m: f32[D]) where T == N * C, C >= 1 {\n"
        "    scan n in 0..N carry m[d] = 1.0 {\n"
        "        scan c in 0..C carry r[d] = m[d] {\n"
        "            r[d] = 0.5 * r[d] + m[d] * x[n * C + c, d];\n            let u[n, c, d] = r[d];\n        }\n"
        "        m[d] = tanh(r[d]);\n    }\n"
        "    y[t, d] = u[t / C, t % C, d];\n}",
        {"N": chunks, "C": size, "T": chunks * size, "D": width},
        {"x": tensor("f32", [chunks * size, width], x)},
        {"y": tensor("f32", [chunks * size, width], seen), "m": tensor("f32", [width], state)},
        2e-5,
    )


def integers(case, tensor, noise):
    """Carries that count, remember, and choose what is read."""
    steps, rows_, table = 7, 3, noise(151, [5])
    x = noise(152, [rows_, steps])
    best, place, flags, values = [], [], [], []
    for r in range(rows_):
        top, at, seen = -math.inf, 0, False
        for t in range(steps):
            value = x[r * steps + t]
            if value > top:
                top, at = value, t
            seen = seen or value > 1.0
            flags.append(int(seen))
            values.append(table[at % 5] + value)
        best.append(top)
        place.append(at)
    case(
        "scan/integers and truth values are carried, and choose",
        "pub fn f<R, T>(x: f32[R, T], table: f32[5]) -> (best: f32[R], at: i64[R], any: bool[R, T], y: f32[R, T]) {\n"
        "    scan t in 0..T carry best[r] = -inf, at[r] = 0, seen[r] = false {\n"
        "        let better[r] = x[r, t] > best[r];\n"
        "        at[r] = if better[r] { t } else { at[r] };\n"
        "        best[r] = max(best[r], x[r, t]);\n"
        "        seen[r] = seen[r] || x[r, t] > 1.0;\n"
        "        any[r, t] = seen[r];\n        y[r, t] = table[at[r] % 5] + x[r, t];\n    }\n}",
        {"R": rows_, "T": steps},
        {"x": tensor("f32", [rows_, steps], x), "table": tensor("f32", [5], table)},
        {
            "best": tensor("f32", [rows_], best), "at": tensor("i64", [rows_], place),
            "any": tensor("bool", [rows_, steps], flags), "y": tensor("f32", [rows_, steps], values),
        },
        2e-6,
    )


def shapes(case, tensor, noise):
    """Carries of rank 0 and of run-time sizes, whose elements read each other; a carry that moves."""
    steps = 6
    x = noise(161, [steps])
    total, sums = 0.0, []
    for value in x:
        sums.append(total)
        total += value
    case(
        "scan/a number is carried",
        "pub fn f<T>(x: f32[T]) -> (y: f32[T], s: f32) {\n"
        "    scan t in 0..T carry s = 0.0 { y[t] = s; s = s + x[t]; }\n}",
        {"T": steps},
        {"x": tensor("f32", [steps], x)},
        {"y": tensor("f32", [steps], sums), "s": tensor("f32", [], [total])},
        2e-6,
    )
    for width in (3, 40):
        x, a = noise(162, [steps, width]), noise(163, [width, width], 1 / width)
        state, out = [0.0] * width, []
        for t in range(steps):
            state = [math.fsum(a[i * width + j] * state[j] for j in range(width)) + x[t * width + i] for i in range(width)]
            out += state
        case(
            f"scan/a vector of run-time size through a matrix: {width}",
            "pub fn f<T, N>(x: f32[T, N], a: f32[N, N]) -> y: f32[T, N] {\n"
            "    scan t in 0..T carry s[i] = 0.0 { s[i] = sum[j](a[i, j] * s[j]) + x[t, i]; y[t, i] = s[i]; }\n}",
            {"T": steps, "N": width},
            {"x": tensor("f32", [steps, width], x), "a": tensor("f32", [width, width], a)},
            {"y": tensor("f32", [steps, width], out)},
            2e-5,
        )
    width = 4
    x = noise(164, [steps, width])
    state, out = [[0.0] * width for _ in range(width)], []
    for t in range(steps):
        row = x[t * width :][:width]
        state = [[0.5 * state[j][(i + 1) % width] + row[i] * (j + 1) for j in range(width)] for i in range(width)]
        out += [math.fsum(state[i][i] for i in range(width))]
    case(
        "scan/a carry is turned and moved",
        "pub fn f<T, const N>(x: f32[T, N]) -> (y: f32[T], s: f32[N, N]) {\n"
        "    scan t in 0..T carry s[i, j] = 0.0 {\n"
        "        s[i, j] = 0.5 * s[j, (i + 1) % N] + x[t, i] * (j + 1);\n        y[t] = sum[i](s[i, i]);\n    }\n}",
        {"T": steps, "N": width},
        {"x": tensor("f32", [steps, width], x)},
        {"y": tensor("f32", [steps], out), "s": tensor("f32", [width, width], flat(state))},
        2e-5,
    )
    state, out = [[0.0] * width for _ in range(width)], []
    for t in range(steps):
        row = x[t * width :][:width]
        moved = [[math.fsum(state[j][m] * state[i][m] for m in range(width)) for j in range(width)] for i in range(width)]
        state = [[math.tanh(moved[i][j]) + row[i] * row[j] for j in range(width)] for i in range(width)]
        out += [state[1][2] + state[0][t % width]]
    case(
        "scan/a carry times its transpose, and single elements of it",
        "pub fn f<T, const N>(x: f32[T, N]) -> (y: f32[T], s: f32[N, N]) where N >= 3 {\n"
        "    scan t in 0..T carry s[i, j] = 0.0 {\n"
        "        s[i, j] = tanh(sum[m](s[j, m] * s[i, m])) + x[t, i] * x[t, j];\n"
        "        y[t] = s[1, 2] + s[0, t % N];\n    }\n}",
        {"T": steps, "N": width},
        {"x": tensor("f32", [steps, width], x)},
        {"y": tensor("f32", [steps], out), "s": tensor("f32", [width, width], flat(state))},
        2e-5,
    )


def wide(case, tensor, noise):
    """Rows that are independent, more than a tile holds, of a run-time number."""
    steps, width = 4, 300
    x, g = noise(171, [steps, width]), [sigmoid(v) for v in noise(172, [width])]
    given = {"x": tensor("f32", [steps, width], x), "g": tensor("f32", [width], g)}
    g = given["g"]["data"]
    state, out = [0.0] * width, []
    for t in range(steps):
        state = [g[d] * state[d] + (1 - g[d]) * x[t * width + d] for d in range(width)]
        out += state
    case(
        "scan/many rows",
        "pub fn f<T, D>(x: f32[T, D], g: f32[D]) -> (y: f32[T, D], h: f32[D]) {\n"
        "    scan t in 0..T carry h[d] = 0.0 { h[d] = g[d] * h[d] + (1.0 - g[d]) * x[t, d]; y[t, d] = h[d]; }\n}",
        {"T": steps, "D": width},
        given,
        {"y": tensor("f32", [steps, width], out), "h": tensor("f32", [width], state)},
        2e-5,
    )


def narrow(case, tensor, noise):
    """A carry that is stored in 16 bits is rounded in each step."""
    import struct

    def half(value):
        return struct.unpack("e", struct.pack("e", value))[0]

    steps, width = 6, 3
    x = noise(181, [steps, width])
    state, out = [1.0] * width, []
    for t in range(steps):
        state = [half(0.75 * s + x[t * width + d]) for d, s in enumerate(state)]
        out += state
    case(
        "scan/a carry of 16 bits",
        "pub fn f<T, D>(x: f32[T, D]) -> y: f32[T, D] {\n"
        "    scan t in 0..T carry s[d]: f16 = 1.0 { s[d] = 0.75 * s[d] + x[t, d]; y[t, d] = s[d]; }\n}",
        {"T": steps, "D": width},
        {"x": tensor("f32", [steps, width], x)},
        {"y": tensor("f32", [steps, width], out)},
        1e-6,
    )
