"""Speed of llama.cpp on a GGUF file, beside `sawmill bench llm` in the same minutes. Needs `xllamacpp` from PyPI.

    python3 tests/reference/llama_cpp_speed.py MODEL.gguf [threads]

Prints a line per run: prompt tokens, prefill and decode tokens/s, 128 new tokens each.
"""

import json
import sys

import xllamacpp

PROMPTS = ["The capital of France is", "Once upon a time, in a quiet village by the sea, " * 40]
RUNS = 3

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx = 2048
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(sys.argv[2]) if len(sys.argv) > 2 else 2
params.warmup = True
params.verbosity = 0
server = xllamacpp.Server(params)
for prompt in PROMPTS:
    for _ in range(RUNS):
        request = {"prompt": prompt, "max_tokens": 128, "temperature": 0.0, "cache_prompt": False, "ignore_eos": True}
        reply = server.handle_completions(request)
        timings = (reply if isinstance(reply, dict) else json.loads(reply))["timings"]
        print(timings["prompt_n"], round(timings["prompt_per_second"], 1), round(timings["predicted_per_second"], 1))
