#!/usr/bin/env python3
"""Makes the golden files beside this script: texts, and the ids that llama.cpp expects for them from three tokenizers.

    pip download --no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36
    tar xzf llama_cpp_python-0.3.36.tar.gz
    python golden.py llama_cpp_python-0.3.36/vendor/llama.cpp/models OUT

The first folder holds a vocabulary for each tokenizer, ggml-vocab-NAME.gguf, the texts with the suffix .inp and the ids with
the suffix .out. The script also writes OUT/NAME/tokenizer.json from each vocabulary, and checks that Hugging Face's tokenizers
library computes the same ids with it. The golden files hold no vocabulary: tests take the tokenizer.json of OUT, or of a model
that has the same tokenizer. ../README.md has the versions.
"""

import json
import sys
from pathlib import Path

from gguf import GGUFReader
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
END_OF_TEXT = "\n__ggml_vocab_test__\n"
# GGUF's types of tokens. All others are padding here.
NORMAL, CONTROL = 1, 3

# The models that the tokenizers belong to.
MODELS = {"gpt-2": "openai-community/gpt2", "llama-bpe": "meta-llama/Meta-Llama-3-8B", "qwen2": "Qwen/Qwen2.5-0.5B"}

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def split(digits: str) -> dict:
    """The pre-tokenizer of Llama 3 and Qwen 2. They differ in how many digits form a word."""
    regex = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    words = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [words, BYTE_LEVEL | {"use_regex": False}]}


PRE_TOKENIZERS = {"gpt-2": BYTE_LEVEL, "llama-bpe": split(r"\p{N}{1,3}"), "qwen2": split(r"\p{N}")}


def tokenizer(name: str, vocabulary: Path) -> dict:
    fields = GGUFReader(vocabulary).fields
    tokens, types, merges = (
        fields[f"tokenizer.ggml.{part}"].contents() for part in ("tokens", "token_type", "merges")
    )
    special = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": tokens[id], **special} for id, kind in enumerate(types) if kind == CONTROL],
        "normalizer": {"type": "NFC"} if name == "qwen2" else None,
        "pre_tokenizer": PRE_TOKENIZERS[name],
        "post_processor": None,
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            # Llama 3 takes a word that is a token as it is, even if the merges do not lead to it.
            "ignore_merges": name == "llama-bpe",
            "vocab": {token: id for id, token in enumerate(tokens) if types[id] == NORMAL},
            "merges": merges,
        },
    }


def examples(vocabulary: Path) -> list[tuple[str, list[int]]]:
    # Line ends are part of the texts, so that they must not be translated.
    texts = Path(f"{vocabulary}.inp").read_bytes().decode().split(END_OF_TEXT)
    lines = Path(f"{vocabulary}.out").read_text(encoding="utf-8").split("\n")
    # Both files end with a separator, and nothing follows it.
    assert len(texts) == len(lines) and texts.pop() == lines.pop() == "", vocabulary
    return [(text, [int(id) for id in line.split()]) for text, line in zip(texts, lines)]


def compact(value: object) -> str:
    # ASCII only, so that control characters and white space are visible.
    return json.dumps(value, separators=(",", ":"))


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    vocabularies, out = map(Path, sys.argv[1:])
    for name, model in MODELS.items():
        vocabulary = vocabularies / f"ggml-vocab-{name}.gguf"
        path = out / name / "tokenizer.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(tokenizer(name, vocabulary), ensure_ascii=False) + "\n", encoding="utf-8")

        pairs = examples(vocabulary)
        made = Tokenizer.from_file(str(path))
        for text, ids in pairs:
            assert made.encode(text, add_special_tokens=False).ids == ids, (name, text)
        rows = ",\n".join(compact(dict(text=text, ids=ids)) for text, ids in pairs)
        golden = f'{{\n"model":{compact(model)},\n"texts":[\n{rows}\n]\n}}\n'
        (HERE / f"{name}.json").write_text(golden, encoding="utf-8")
        print(name, len(pairs), "texts")


if __name__ == "__main__":
    main()
