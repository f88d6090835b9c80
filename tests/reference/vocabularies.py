"""Token ids of small vocabularies of every kind that GGUF files hold, by llama.cpp's tokenizer.

Writes vocabularies.json next to this file: a byte-level BPE vocabulary under each way of splitting text that
`runtime/cli` knows, and a SentencePiece vocabulary, all learned from the texts of llama.py. Needed only to regenerate.
In a virtual environment:

    pip install torch transformers gguf safetensors tokenizers xllamacpp sentencepiece
    python tests/reference/vocabularies.py
"""

import io
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy
import sentencepiece
import tokenizers

from llama import HERE, PROMPT, TEXTS, LlamaCpp

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
SPLITS = ["smollm", "gpt-2", "llama-bpe", "qwen2"]
CORPUS = [text.replace("\u0000", "") for text in TEXTS] + [PROMPT] * 4


def byte_level():
    """Tokens with their types, and merges."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    # Whitespace stays with its neighbours, so that merges cross the borders of every way of splitting.
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<s>", "</s>", "<|im_start|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        max_token_length=12,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    vocab = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(vocab["vocab"], key=vocab["vocab"].get)
    merges = [" ".join(merge) for merge in vocab["merges"]]
    return {"tokens": tokens, "types": [CONTROL] * 3 + [NORMAL] * (len(tokens) - 3), "merges": merges}


def sentence_piece():
    """Tokens with their types and scores."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 3),
        model_writer=model,
        model_type="bpe",
        vocab_size=700,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["<|im_start|>"],
        character_coverage=0.98,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(processor.get_piece_size())

    def kind(id):
        if processor.is_unknown(id):
            return UNKNOWN
        if processor.is_control(id):
            return CONTROL
        if processor.is_byte(id):
            return BYTE
        return USER_DEFINED if processor.id_to_piece(id) == "<|im_start|>" else NORMAL

    return {
        "tokens": [processor.id_to_piece(id) for id in ids],
        "types": [kind(id) for id in ids],
        "scores": [processor.get_score(id) for id in ids],
    }


def write_gguf(path, vocabulary):
    """A model of one layer around the vocabulary, so that llama.cpp opens it."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary["tokens"]))
    writer.add_rope_dimension_count(32)
    writer.add_tokenizer_model(vocabulary["model"])
    writer.add_tokenizer_pre(vocabulary["pre"])
    writer.add_token_list(vocabulary["tokens"])
    writer.add_token_types(vocabulary["types"])
    if "merges" in vocabulary:
        writer.add_token_merges(vocabulary["merges"])
    else:
        writer.add_token_scores(vocabulary["scores"])
    begin = vocabulary["tokens"].index("<s>")
    writer.add_bos_token_id(begin)
    writer.add_eos_token_id(begin + 1)
    rows = {"token_embd": (len(vocabulary["tokens"]), 32), "output_norm": (32,)}
    for part in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]:
        rows[f"blk.0.{part}"] = (32, 32)
    for part in ["attn_norm", "ffn_norm"]:
        rows[f"blk.0.{part}"] = (32,)
    for name, shape in rows.items():
        writer.add_tensor(f"{name}.weight", numpy.ones(shape, numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def ids(vocabulary):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.gguf"
        write_gguf(path, vocabulary)
        peer = LlamaCpp(path)
        # With the beginning token where the vocabulary has one by default.
        ask = lambda text: peer.ask("/tokenize", content=text, add_special=True, parse_special=True)["tokens"]
        return [{"text": text, "ids": ask(text)} for text in TEXTS if "\u0000" not in text]


def main():
    # llama.cpp's server is global to a process: one process a vocabulary.
    if len(sys.argv) == 2:
        vocabulary = json.loads(sys.stdin.read())
        pathlib.Path(sys.argv[1]).write_text(json.dumps(ids(vocabulary)))
        return
    vocabularies = [{"model": "gpt2", "pre": pre, **byte_level()} for pre in SPLITS]
    vocabularies.append({"model": "llama", "pre": "default", **sentence_piece()})
    for vocabulary in vocabularies:
        with tempfile.TemporaryDirectory() as folder:
            answer = pathlib.Path(folder) / "ids.json"
            subprocess.run([sys.executable, __file__, answer], input=json.dumps(vocabulary), text=True, check=True)
            vocabulary["texts"] = json.loads(answer.read_text())
    lines = ",\n".join(
        "{" + ",\n ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in vocabulary.items()) + "}"
        for vocabulary in vocabularies
    )
    path = HERE / "vocabularies.json"
    path.write_text(f"[\n{lines}\n]\n")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
