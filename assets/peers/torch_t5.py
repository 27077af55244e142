#!/usr/bin/env python3
"""Measures how fast PyTorch and transformers decode and train a T5.

    python torch_t5.py --model DIR [--device cpu] [--threads 2] [--source-tokens 32] [--new-tokens 64] [--repeats 5]

DIR holds config.json and model.safetensors in Hugging Face's format. Weights of any type are computed in f32. The script
prints one JSON object per line. The field `what` says what was measured:

- "model": the name and the number of parameters.
- "decode": greedy decoding with a key-value cache at batch 1 and 32. The sources are random and of equal length. The end of
  the sequence is suppressed, so that every row has --new-tokens. `how` is "loop" (the bare model, the fastest fair way) or
  "generate" (what most people use). `tokens_per_second` counts the new tokens of all rows. The time includes the encoder,
  which alone takes `encode_ms`.
- "train": one step over about --batch-tokens target tokens: forward, cross-entropy with label smoothing 0.1, backward and
  AdamW, with dropout. `tokens_per_second` counts target tokens.

Times are medians of --repeats runs after one warm-up. `spread` is (slowest - fastest) / median.
"""

import argparse
import json
import os
import platform
import statistics
from pathlib import Path

import measure

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", type=Path, required=True)
parser.add_argument("--device", default="cpu")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--source-tokens", type=int, default=32)
parser.add_argument("--new-tokens", type=int, default=64)
parser.add_argument("--target-tokens", type=int, default=32, help="length of a target in training")
parser.add_argument("--batch-tokens", type=int, default=1536, help="target tokens in a training batch")
parser.add_argument("--batches", type=int, nargs="+", default=[1, 32], help="batch sizes for decoding")
parser.add_argument("--no-decoding", action="store_true", help="measure training only")
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

# The libraries read these variables when they are imported.
os.environ["OMP_NUM_THREADS"] = str(args.threads)
os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
import transformers  # noqa: E402
from transformers import GenerationConfig, T5ForConditionalGeneration  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(args.threads)
torch.set_num_interop_threads(1)
torch.manual_seed(args.seed)


def seconds(run) -> list[float]:
    def finished() -> None:
        run()
        if args.device != "cpu":
            torch.accelerator.synchronize()

    return measure.seconds(finished, args.repeats)


def report(what: str, times: list[float], tokens: int, **more) -> None:
    measure.report(
        "torch",
        what,
        times,
        tokens,
        **more,
        device=args.device,
        threads=args.threads,
        torch=torch.__version__,
        transformers=transformers.__version__,
        processor=platform.processor() or platform.machine(),
    )


def random_ids(config, rows: int, length: int) -> torch.Tensor:
    """Random token ids, without padding and end of sequence. Every T5 vocabulary has these two at 0 and 1."""
    return torch.randint(2, config.vocab_size, (rows, length), device=args.device)


@torch.inference_mode()
def decode(model, source: torch.Tensor, mask: torch.Tensor, new_tokens: int) -> torch.Tensor:
    """Greedy ids [rows, new_tokens]. The encoder runs once; then each step decodes one token with the cache."""
    encoded = model.encoder(input_ids=source, attention_mask=mask)
    token = torch.full((source.shape[0], 1), model.config.decoder_start_token_id, device=args.device)
    cache, written = None, []
    for _ in range(new_tokens):
        out = model(
            encoder_outputs=encoded,
            attention_mask=mask,
            decoder_input_ids=token,
            past_key_values=cache,
            use_cache=True,
        )
        cache = out.past_key_values
        logits = out.logits[:, -1]
        logits[:, model.config.eos_token_id] = float("-inf")
        token = logits.argmax(dim=-1, keepdim=True)
        written.append(token)
    return torch.cat(written, dim=1)


@torch.inference_mode()
def generate(model, source: torch.Tensor, mask: torch.Tensor, new_tokens: int) -> torch.Tensor:
    ids = model.generate(
        input_ids=source,
        attention_mask=mask,
        num_beams=1,
        do_sample=False,
        min_new_tokens=new_tokens,
        max_new_tokens=new_tokens,
        # That of the folder may forbid repetitions, which costs time and changes the text.
        generation_config=GenerationConfig.from_model_config(model.config),
    )
    return ids[:, 1:]


def measure_decoding(model) -> None:
    model.eval()
    for batch in args.batches:
        source = random_ids(model.config, batch, args.source_tokens)
        source[:, -1] = model.config.eos_token_id
        mask = torch.ones_like(source)
        with torch.inference_mode():
            encode_ms = 1000 * statistics.median(
                seconds(lambda: model.encoder(input_ids=source, attention_mask=mask))
            )
        written = {}
        for how, function in (("loop", decode), ("generate", generate)):
            written[how] = function(model, source, mask, args.new_tokens)
            assert written[how].shape == (batch, args.new_tokens), written[how].shape
            report(
                "decode",
                seconds(lambda: function(model, source, mask, args.new_tokens)),
                batch * args.new_tokens,
                how=how,
                batch=batch,
                source_tokens=args.source_tokens,
                new_tokens=args.new_tokens,
                encode_ms=round(encode_ms, 3),
            )
        # Texts of random prompts have many near ties, at which the two ways can part.
        first = (written["loop"][:, 0] == written["generate"][:, 0]).all()
        assert first, "the two ways to decode give different first tokens"


def measure_training(model) -> None:
    model.train()
    rows = max(1, round(args.batch_tokens / args.target_tokens))
    source = random_ids(model.config, rows, args.source_tokens)
    mask = torch.ones_like(source)
    labels = random_ids(model.config, rows, args.target_tokens)
    labels[:, -1] = model.config.eos_token_id
    start = torch.full((rows, 1), model.config.decoder_start_token_id, device=args.device)
    decoder_ids = torch.cat([start, labels[:, :-1]], dim=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        logits = model(
            input_ids=source, attention_mask=mask, decoder_input_ids=decoder_ids, use_cache=False
        ).logits
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=0.1)
        loss.backward()
        optimizer.step()

    report(
        "train",
        seconds(step),
        labels.numel(),
        batch=rows,
        source_tokens=args.source_tokens,
        target_tokens=args.target_tokens,
    )


def main() -> None:
    model = T5ForConditionalGeneration.from_pretrained(args.model, local_files_only=True).float().to(args.device)
    # The flags give the length of a text. A generation_config.json beside the weights must not.
    model.generation_config.max_length = None
    parameters = sum(weight.numel() for weight in model.parameters())
    print(json.dumps(dict(peer="torch", what="model", name=args.model.name, parameters=parameters)), flush=True)
    if not args.no_decoding:
        measure_decoding(model)
    measure_training(model)


if __name__ == "__main__":
    main()
