"""Converts SmolLM2-135M-Instruct from GGUF to a Hugging Face folder."""

import json
from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.numpy import save

CONTEXT = 8192
HEADS, KEY_VALUE_HEADS = 9, 3
UNKNOWN, BOS, EOS, PAD = 0, 1, 2, 2
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
            case ["token_embd", "weight"]:
                name = "model.embed_tokens.weight"
            case ["output_norm", "weight"]:
                name = "model.norm.weight"
            case ["blk", layer, part, "weight"]:
                name = f"model.layers.{layer}.{PARTS[part]}.weight"
                if part in ("attn_q", "attn_k"):
                    values = half_split(values, HEADS if part == "attn_q" else KEY_VALUE_HEADS)
            case _:
                raise ValueError(f"{tensor.name}: a tensor that this model does not have")
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


def write_json(path: Path, value: dict, **layout) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, **layout) + "\n", encoding="utf-8", newline="\n")


def convert(gguf: Path, folder: Path) -> None:
    """Writes the five files of the model into an existing folder."""
    reader = GGUFReader(gguf)
    tokens, types, merges, chat_template = (
        reader.fields[f"tokenizer.{name}"].contents()
        for name in ("ggml.tokens", "ggml.token_type", "ggml.merges", "chat_template")
    )
    tokenizer_config = {
        # The class that takes tokenizer.json as it is.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[BOS],
        "eos_token": tokens[EOS],
        "pad_token": tokens[PAD],
        "unk_token": tokens[UNKNOWN],
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
        "chat_template": chat_template,
    }
    write_json(folder / "config.json", CONFIG, indent=2)
    write_json(folder / "generation_config.json", GENERATION_CONFIG, indent=2)
    write_json(folder / "tokenizer_config.json", tokenizer_config, indent=2)
    write_json(folder / "tokenizer.json", tokenizer(tokens, types, merges), separators=(",", ":"))
    (folder / "model.safetensors").write_bytes(save(weights(reader), metadata={"format": "pt"}))
