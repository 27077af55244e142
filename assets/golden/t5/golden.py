#!/usr/bin/env python3
"""Makes the T5 fixtures: tiny models with random weights, and what transformers computes with them.

    python golden.py            # writes v1.0/ and v1.1/ beside this file

Every number is computed in f32 on one CPU thread, from the seed that each golden file names. ../README.md has the versions.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration

HERE = Path(__file__).resolve().parent
PAD, EOS, VOCAB = 0, 1, 64
SOURCE_LENGTHS = (40, 23, 7)
DECODER_LENGTH = 12
NEW_TOKENS = 20
# The smallest difference of the two highest logits in a greedy step. Below it, rounding could change the greedy ids.
SMALLEST_LEAD = 0.01

KINDS = {
    "v1.0": dict(feed_forward_proj="relu", tie_word_embeddings=True),
    "v1.1": dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False),
}


def config(kind: str) -> T5Config:
    return T5Config(
        vocab_size=VOCAB,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=16,
        dropout_rate=0.1,
        layer_norm_epsilon=1e-6,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
        architectures=["T5ForConditionalGeneration"],
        **KINDS[kind],
    )


def spread(shape: torch.Size, name: str, tied: bool) -> float:
    """The standard deviation of a weight. It is so large that logits, attention and position biases are not flat."""
    if "relative_attention_bias" in name:
        return 1.0
    if name == "shared.weight":
        # A tied table must be small beside what the layers add. Otherwise the decoder only repeats its input.
        return 0.2 if tied else 1.0
    if name == "lm_head.weight":
        return 0.4
    if name.endswith((".q.weight", ".k.weight")):
        return 0.2
    return 1.0 * shape[-1] ** -0.5


def model(kind: str, seed: int) -> T5ForConditionalGeneration:
    made = T5ForConditionalGeneration(config(kind))
    tied = made.config.tie_word_embeddings
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(made.named_parameters()):
            if "layer_norm" in name:
                weight.copy_(0.5 + torch.rand(weight.shape, generator=generator))
                if tied and name == "decoder.final_layer_norm.weight":
                    weight.mul_(10.0)  # makes up for the small embeddings
            else:
                weight.copy_(torch.randn(weight.shape, generator=generator) * spread(weight.shape, name, tied))
            if name == ("shared.weight" if tied else "lm_head.weight"):
                weight[PAD] *= 0.3  # PAD is rarely the best token.
                weight[EOS] *= 1.5  # EOS sometimes is, so that some texts end early.
    return made.eval()


def batch(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    width = max(SOURCE_LENGTHS)
    source = torch.full((len(SOURCE_LENGTHS), width), PAD)
    mask = torch.zeros_like(source)
    for row, length in enumerate(SOURCE_LENGTHS):
        source[row, : length - 1] = torch.randint(2, VOCAB, (length - 1,), generator=generator)
        source[row, length - 1] = EOS
        mask[row, :length] = 1
    decoder = torch.randint(2, VOCAB, (len(SOURCE_LENGTHS), DECODER_LENGTH), generator=generator)
    decoder[:, 0] = PAD
    return dict(input_ids=source, attention_mask=mask, decoder_input_ids=decoder)


@torch.no_grad()
def outputs(made: T5ForConditionalGeneration, inputs: dict[str, torch.Tensor]) -> dict:
    forward = made(**inputs)
    generated = made.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        num_beams=1,
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        return_dict_in_generate=True,
        output_scores=True,
    )
    leads = [float("inf")]
    for step, scores in enumerate(generated.scores):
        best = scores.topk(2).values
        running = generated.sequences[:, step + 1] != PAD
        leads += (best[:, 0] - best[:, 1])[running].tolist()
    return dict(
        encoder=forward.encoder_last_hidden_state,
        logits=forward.logits,
        generated=generated.sequences,
        lead=min(leads),
    )


def fair(out: dict) -> bool:
    """Whether rounding cannot change the greedy ids, texts end both by EOS and by length, and they are varied."""
    rows = out["generated"][:, 1:].tolist()
    texts = [row[: row.index(EOS)] if EOS in row else row for row in rows]
    return (
        out["lead"] > SMALLEST_LEAD
        and any(len(text) == NEW_TOKENS for text in texts)
        and any(3 <= len(text) < NEW_TOKENS for text in texts)
        and all(text and PAD not in text for text in texts)
        and max(len(set(text)) for text in texts) >= 6
    )


def seven_digits(values: torch.Tensor) -> list:
    if values.dim() > 1:
        return [seven_digits(value) for value in values]
    return [float(f"{value:.7g}") for value in values.tolist()]


def write_golden(path: Path, seed: int, inputs: dict[str, torch.Tensor], out: dict) -> None:
    golden = dict(
        seed=seed,
        input_ids=inputs["input_ids"].tolist(),
        attention_mask=inputs["attention_mask"].tolist(),
        decoder_input_ids=inputs["decoder_input_ids"].tolist(),
        # [batch, source time, d_model]; compare only where attention_mask is 1.
        encoder_last_hidden_state=seven_digits(out["encoder"]),
        # [batch, time, vocab]
        logits=seven_digits(out["logits"]),
        # As `generate` returns it: first the decoder's start token, and padding after the end of the sequence.
        generated=out["generated"].tolist(),
        max_new_tokens=NEW_TOKENS,
        smallest_lead=round(out["lead"], 4),
    )
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n", encoding="utf-8")


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for kind in KINDS:
        folder = HERE / kind
        folder.mkdir(exist_ok=True)
        for seed in range(10_000):
            made, inputs = model(kind, seed), batch(seed)
            out = outputs(made, inputs)
            if fair(out):
                break
        else:
            raise SystemExit(f"{kind}: no seed gives a fair fixture")
        made.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        write_golden(folder / "golden.json", seed, inputs, out)
        print(kind, "seed", seed, "lead", round(out["lead"], 3), "logits std", round(out["logits"].std().item(), 3))
        print(*out["generated"].tolist(), sep="\n")

        if kind == "v1.0":
            weights = load_file(folder / "model.safetensors")
            for name, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
                low = {key: value.to(dtype).contiguous() for key, value in weights.items()}
                save_file(low, folder / f"model.{name}.safetensors", metadata={"format": "pt"})
                with torch.no_grad():
                    for key, weight in made.named_parameters():
                        weight.copy_(low[key].float())
                write_golden(folder / f"golden.{name}.json", seed, inputs, outputs(made, inputs))


if __name__ == "__main__":
    main()
