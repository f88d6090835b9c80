"""What torch does on the same GPU: the rows of `sawmill bench attention|contraction|stream --engine cuda`, by torch.

    python3 tests/reference/gpu_peers.py [--flex] [--json FILE]

In: a machine with an NVIDIA GPU, torch 2.5 or later. Out: one line a row, with the op and shape of our rows, and the same as JSON. Times
are medians of samples between events, after calls that are not counted. Attention: the fastest of the backends of
`scaled_dot_product_attention`; with --flex masks and score modifiers by compiled `flex_attention` (each compiles for some seconds).
Operations counted are those of pairs that the mask admits; bytes are those of inputs and outputs.
"""

import argparse
import json
import statistics
import warnings

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

POSITIONS, HEADS, CHANNELS, WINDOW, PREFIX, CAP = 8192, 16, 128, 1024, 1024, 30.0
DOCUMENTS = [1500, 300, 2200, 96, 4096]
ROWS, WIDTH, SIZE = 16384, 8192, 8192
BACKENDS = [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
ROW = []


def seconds(call):
    """Median seconds of a call: seven samples of at least 20 ms each."""
    for _ in range(3):
        call()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def sample(count):
        begin.record()
        for _ in range(count):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    count = max(1, min(500, round(0.02 / max(sample(1), 1e-9))))
    return statistics.median(sample(count) / count for _ in range(7))


def show(suite, op, shape, took, amount, unit, engine="torch"):
    value = amount / took / {"TFLOP/s": 1e12, "GB/s": 1e9}[unit]
    print(f"{suite:<11} {op:<20} {shape:<26} {engine:<14} {1e3 * took:>10.3f} ms {value:>10.1f} {unit}", flush=True)
    row = dict(suite=suite, op=op, shape=shape, dtype="bf16", engine=engine, median_ms=1e3 * took, value=value, unit=unit)
    ROW.append(dict(row, device=torch.cuda.get_device_name()))


def noise(*shape):
    return (2 * torch.rand(*shape, device="cuda") - 1).to(torch.bfloat16)


def fastest(suite, op, shape, amount, unit, call):
    """The row of the fastest backend that takes the shape."""
    best = None
    for backend in BACKENDS:
        try:
            with sdpa_kernel(backend):
                took = seconds(call)
        except RuntimeError:
            continue
        if best is None or took < best[0]:
            best = (took, backend.name.split("_")[0].lower())
    if best:
        show(suite, op, shape, best[0], amount, unit, f"torch {best[1]}")


def up_to(keys):
    return keys * (keys + 1) // 2


def long_sequences():
    for batch, causal, key_heads in [(1, False, 16), (2, False, 16), (1, True, 16), (2, True, 16), (1, True, 4)]:
        q = noise(batch, HEADS, POSITIONS, CHANNELS)
        k, v = (noise(batch, key_heads, POSITIONS, CHANNELS) for _ in range(2))
        pairs = up_to(POSITIONS) if causal else POSITIONS**2
        call = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=key_heads != HEADS)
        shape = f"B{batch} S{POSITIONS} D{CHANNELS} H{HEADS}/{key_heads}"
        amount = 4 * CHANNELS * pairs * batch * HEADS
        fastest("attention", "causal" if causal else "bidirectional", shape, amount, "TFLOP/s", call)


def decoding():
    for batch, keys in [(16, 8192), (1, 65536)]:
        q = noise(batch, 32, 1, CHANNELS)
        k, v = (noise(batch, 8, keys, CHANNELS) for _ in range(2))
        shape = f"B{batch} S{keys} D{CHANNELS} H32/8"
        amount = 2 * k.numel() * k.element_size()
        fastest("attention", "decode", shape, amount, "GB/s", lambda: F.scaled_dot_product_attention(q, k, v, enable_gqa=True))


def modifiers():
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    flex = torch.compile(flex_attention, dynamic=False)
    lengths = []
    while sum(lengths) < POSITIONS:
        lengths.append(min(DOCUMENTS[len(lengths) % len(DOCUMENTS)], POSITIONS - sum(lengths)))
    doc = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).cuda()
    causal = lambda b, h, i, j: j <= i
    masks = {
        "sliding_window": (lambda b, h, i, j: (j <= i) & (i - j < WINDOW), up_to(WINDOW) + (POSITIONS - WINDOW) * WINDOW),
        "prefix_lm": (lambda b, h, i, j: (j <= i) | (j < PREFIX), up_to(POSITIONS) + PREFIX * (PREFIX - 1) // 2),
        "documents": (lambda b, h, i, j: (j <= i) & (doc[i] == doc[j]), sum(up_to(n) for n in lengths)),
        "alibi": (causal, up_to(POSITIONS)),
        "softcap": (causal, up_to(POSITIONS)),
    }
    scores = {
        "alibi": lambda z, b, h, i, j: z - torch.exp2(-8.0 * (h + 1) / HEADS) * (i - j),
        "softcap": lambda z, b, h, i, j: CAP * torch.tanh(z / CAP),
    }
    q, k, v = (noise(1, HEADS, POSITIONS, CHANNELS) for _ in range(3))
    shape = f"B1 S{POSITIONS} D{CHANNELS} H{HEADS}/{HEADS}"
    for op, (mask, pairs) in masks.items():
        blocks = create_block_mask(mask, None, None, POSITIONS, POSITIONS, device="cuda")
        took = seconds(lambda: flex(q, k, v, score_mod=scores.get(op), block_mask=blocks))
        show("attention", op, shape, took, 4 * CHANNELS * pairs * HEADS, "TFLOP/s", "torch flex")


def streams():
    x, y = noise(ROWS, WIDTH), noise(ROWS, WIDTH)
    w, b = noise(WIDTH), noise(WIDTH)
    gate = torch.compile(lambda g, u: F.silu(g) * u)
    rms = torch.compile(lambda x, w: F.rms_norm(x, (WIDTH,), w, 1e-6))
    calls = [
        ("copy", 2, lambda: y.copy_(x)),
        ("rms_rows", 2, lambda: rms(x, w)),
        ("layer_rows", 2, lambda: F.layer_norm(x, (WIDTH,), w, b)),
        ("gate", 3, lambda: gate(x, y)),
        ("add", 3, lambda: x + y),
    ]
    for op, arrays, call in calls:
        show("stream", op, f"{ROWS}x{WIDTH}", seconds(call), arrays * x.numel() * x.element_size(), "GB/s")


def product():
    a, b = noise(SIZE, SIZE), noise(SIZE, SIZE)
    show("contraction", "product", f"{SIZE}^3", seconds(lambda: a @ b), 2 * SIZE**3, "TFLOP/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flex", action="store_true", help="masks and score modifiers too")
    parser.add_argument("--json", help="also write the rows to this file")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    # Each backend says at length why it does not take a shape.
    warnings.filterwarnings("ignore")
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    product()
    streams()
    long_sequences()
    decoding()
    if arguments.flex:
        modifiers()
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(ROW, file, indent=1)


main()
