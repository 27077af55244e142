#!/usr/bin/env python3
"""Measures how fast llama.cpp decodes a GGUF file.

    python llama_gguf.py --model FILE.gguf [--threads 2] [--source-tokens 32] [--new-tokens 64] [--repeats 5]

The prompts are random. Greedy decoding of one text; the time includes the prompt. "prompt" is the time of one long prompt and
one new token; its `tokens_per_second` counts the prompt's tokens.

The script prints one JSON object per line. The fields have the names of torch_llama.py; `dtype` is the format of the weights,
from the name of the file.
"""

import argparse
import itertools
import platform
import random
from pathlib import Path

import llama_cpp
import measure

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", type=Path, required=True)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--source-tokens", type=int, default=32)
parser.add_argument("--new-tokens", type=int, default=64)
parser.add_argument("--prompt-tokens", type=int, default=512, help="length of the long prompt")
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

random.seed(args.seed)
model = llama_cpp.Llama(
    str(args.model),
    n_ctx=max(args.source_tokens + args.new_tokens, args.prompt_tokens + 1),
    n_batch=args.prompt_tokens,
    n_ubatch=args.prompt_tokens,
    n_threads=args.threads,
    n_threads_batch=args.threads,
    verbose=False,
)


def decode(prompt: list[int], new_tokens: int) -> None:
    # Without this, a prompt that was read before is not read again.
    model.reset()
    for _ in itertools.islice(model.generate(prompt, temp=0.0), new_tokens):
        pass


for what, source_tokens, new_tokens in (
    ("decode", args.source_tokens, args.new_tokens),
    ("prompt", args.prompt_tokens, 1),
):
    prompt = [random.randrange(3, model.n_vocab()) for _ in range(source_tokens)]
    measure.report(
        "llama.cpp",
        what,
        measure.seconds(lambda: decode(prompt, new_tokens), args.repeats),
        new_tokens if what == "decode" else source_tokens,
        dtype=args.model.stem.rpartition(".")[2].lower(),
        batch=1,
        source_tokens=source_tokens,
        new_tokens=new_tokens,
        device="cpu",
        threads=args.threads,
        llama_cpp_python=llama_cpp.__version__,
        processor=platform.processor() or platform.machine(),
    )
