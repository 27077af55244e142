#!/usr/bin/env python3
"""Measures how fast CTranslate2 decodes a T5 on this machine's CPU, in f32.

    python ctranslate2_t5.py --model DIR [--threads 1 2] [--source-tokens 32] [--new-tokens 64] [--repeats 5]

DIR is a model folder in Hugging Face's format. It is converted into a temporary folder. The sources are random and of equal
length, and every row has --new-tokens new ones. The script prints one JSON object per line, with the fields of torch_t5.py.
With few rows, one thread can be faster than several, so each number of threads is measured.
"""

import argparse
import json
import random
import shutil
import tempfile
from pathlib import Path

import ctranslate2
import measure
from ctranslate2.converters import TransformersConverter

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", type=Path, required=True)
parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
parser.add_argument("--source-tokens", type=int, default=32)
parser.add_argument("--new-tokens", type=int, default=64)
parser.add_argument("--batches", type=int, nargs="+", default=[1, 32], help="batch sizes")
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

random.seed(args.seed)
with tempfile.TemporaryDirectory() as scratch:
    # Without this file, transformers takes every tokenizer of a T5 for a Unigram model.
    source, folder = Path(scratch) / "source", Path(scratch) / "model"
    shutil.copytree(args.model, source)
    config = source / "tokenizer_config.json"
    if not config.exists():
        special = dict(pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
        config.write_text(json.dumps(dict(tokenizer_class="PreTrainedTokenizerFast", **special)))
    TransformersConverter(str(source)).convert(str(folder), quantization="float32")
    words = json.loads((folder / "shared_vocabulary.json").read_text())
    # Padding and the end of a text have the ids 0 and 1.
    sources = {
        batch: [random.choices(words[2:], k=args.source_tokens) for _ in range(batch)] for batch in args.batches
    }
    for threads in args.threads:
        translator = ctranslate2.Translator(
            str(folder), device="cpu", compute_type="float32", inter_threads=1, intra_threads=threads
        )
        for batch in args.batches:
            results = []

            def decode():
                results[:] = translator.translate_batch(
                    sources[batch],
                    beam_size=1,
                    max_batch_size=batch,
                    min_decoding_length=args.new_tokens,
                    max_decoding_length=args.new_tokens,
                )

            times = measure.seconds(decode, args.repeats)
            assert all(len(result.hypotheses[0]) == args.new_tokens for result in results)
            measure.report(
                "ctranslate2",
                "decode",
                times,
                batch * args.new_tokens,
                batch=batch,
                threads=threads,
                ctranslate2=ctranslate2.__version__,
            )
