#!/usr/bin/env python3
"""Measures how fast PyTorch and transformers decode a decoder-only model on this machine's CPU, in f32 and bf16.

    python torch_llama.py --model DIR [--threads 2] [--source-tokens 32] [--new-tokens 64] [--repeats 5]

DIR is a model folder in Hugging Face's format. The prompts are random and of equal length. Greedy decoding with a key-value
cache by the bare model, which is faster than `generate`; the time includes the prompts. The script prints one JSON object per
line, with the fields of torch_t5.py and `dtype`.
"""

import argparse
import os
from pathlib import Path

import measure

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", type=Path, required=True)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--source-tokens", type=int, default=32)
parser.add_argument("--new-tokens", type=int, default=64)
parser.add_argument("--batches", type=int, nargs="+", default=[1, 16], help="batch sizes")
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

# The libraries read these variables when they are imported.
os.environ["OMP_NUM_THREADS"] = str(args.threads)
os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(args.threads)
torch.set_num_interop_threads(1)
torch.manual_seed(args.seed)


@torch.inference_mode()
def decode(model, prompts: torch.Tensor) -> None:
    out = model(prompts, use_cache=True, logits_to_keep=1)
    for _ in range(args.new_tokens - 1):
        token = out.logits[:, -1:].argmax(-1)
        out = model(token, past_key_values=out.past_key_values, use_cache=True)


for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype).eval()
    for batch in args.batches:
        prompts = torch.randint(3, model.config.vocab_size, (batch, args.source_tokens))
        measure.report(
            "torch",
            "decode",
            measure.seconds(lambda: decode(model, prompts), args.repeats),
            batch * args.new_tokens,
            dtype=name,
            batch=batch,
            threads=args.threads,
            torch=torch.__version__,
            transformers=transformers.__version__,
        )
