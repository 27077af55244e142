#!/usr/bin/env python3
"""Measures how fast PyTorch and transformers decode a decoder-only model, in f32 and bf16, and train it in f32.

    python torch_llama.py --model DIR [--device cpu] [--threads 2] [--source-tokens 32] [--new-tokens 64] [--repeats 5]

DIR is a model folder in Hugging Face's format. The prompts are random and of equal length. Greedy decoding with a key-value
cache by the bare model, which is faster than `generate`; the time includes the prompts. "prompt" is the time of one long
prompt and one new token; its `tokens_per_second` counts the prompt's tokens.

"train" is one step over about --batch-tokens target tokens, each target behind a source: forward with logits of the targets
only, cross-entropy with label smoothing 0.1, backward, the gradient's norm and AdamW, without dropout. "train-lora" is the
same step with adapters of rank --lora-rank (PEFT) at the queries and values. `tokens_per_second` counts target tokens.

The script prints one JSON object per line. The fields have the names of torch_t5.py; `dtype` is the format of the model.
"""

import argparse
import os
import platform
from pathlib import Path

import measure

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", type=Path, required=True)
parser.add_argument("--device", default="cpu")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--source-tokens", type=int, default=32)
parser.add_argument("--new-tokens", type=int, default=64)
parser.add_argument("--prompt-tokens", type=int, default=512, help="length of the long prompt")
parser.add_argument("--batches", type=int, nargs="+", default=[1, 16], help="batch sizes")
parser.add_argument("--target-tokens", type=int, default=32, help="length of a target in training")
parser.add_argument("--batch-tokens", type=int, default=512, help="target tokens in a training batch")
parser.add_argument("--lora-rank", type=int, default=16)
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
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(args.threads)
torch.set_num_interop_threads(1)
torch.manual_seed(args.seed)


@torch.inference_mode()
def decode(model, prompts: torch.Tensor, new_tokens: int) -> None:
    out = model(prompts, use_cache=True, logits_to_keep=1)
    for _ in range(new_tokens - 1):
        token = out.logits[:, -1:].argmax(-1)
        out = model(token, past_key_values=out.past_key_values, use_cache=True)
    # A GPU works on after the call; this waits for it.
    out.logits[0, -1].argmax().item()


def report(what: str, run, tokens: int, **more) -> None:
    measure.report(
        "torch",
        what,
        measure.seconds(run, args.repeats),
        tokens,
        **more,
        device=args.device,
        threads=args.threads,
        torch=torch.__version__,
        transformers=transformers.__version__,
        processor=platform.processor() or platform.machine(),
    )


def measure_decoding(model, dtype: str) -> None:
    def prompts(batch: int, length: int) -> torch.Tensor:
        return torch.randint(3, model.config.vocab_size, (batch, length), device=args.device)

    for batch in args.batches:
        texts = prompts(batch, args.source_tokens)
        report(
            "decode",
            lambda: decode(model, texts, args.new_tokens),
            batch * args.new_tokens,
            dtype=dtype,
            batch=batch,
            source_tokens=args.source_tokens,
            new_tokens=args.new_tokens,
        )
    long = prompts(1, args.prompt_tokens)
    report(
        "prompt",
        lambda: decode(model, long, 1),
        args.prompt_tokens,
        dtype=dtype,
        batch=1,
        source_tokens=args.prompt_tokens,
        new_tokens=1,
    )


def measure_training(model, what: str) -> None:
    rows = max(1, round(args.batch_tokens / args.target_tokens))
    ids = torch.randint(3, model.config.vocab_size, (rows, args.source_tokens + args.target_tokens), device=args.device)
    # The logits at a position are those of the next token.
    targets = ids[:, args.source_tokens :].flatten()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        logits = model(ids[:, :-1], use_cache=False, logits_to_keep=args.target_tokens).logits
        loss = F.cross_entropy(logits.flatten(0, 1), targets, label_smoothing=0.1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        # A GPU works on after the call; this waits for it.
        loss.item()

    report(
        what,
        step,
        targets.numel(),
        dtype="f32",
        batch=rows,
        source_tokens=args.source_tokens,
        target_tokens=args.target_tokens,
    )


def load(dtype: torch.dtype):
    return AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype).eval().to(args.device)


if not args.no_decoding:
    for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        measure_decoding(load(dtype), name)

# `train` turns dropout on, which these models do not have.
measure_training(load(torch.float32).train(), "train")
adapters = LoraConfig(r=args.lora_rank, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
measure_training(get_peft_model(load(torch.float32), adapters).train(), "train-lora")
