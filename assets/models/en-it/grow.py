#!/usr/bin/env python3
"""Makes a wider and deeper T5 that computes what a small one does, so that its training goes on from there.

    pip install torch transformers safetensors
    python grow.py --model small --out grown --d-model 320 --layers 4 --decoder-layers 3 --dropout 0.1

Hidden states get new dimensions, which are zero at first; attention gets new heads and feed-forward layers new units,
whose outputs are zero at first; so are the outputs of new blocks, which come last. All else that is new is random. The
heads of a distilled student grow too, and its other files are copied.
"""

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", type=Path, required=True, help="folder of a T5 with tied embeddings")
parser.add_argument("--out", type=Path, required=True, help="folder for the new model")
parser.add_argument("--d-model", type=int, required=True, help="new width; heads keep theirs, feed-forward layers 4 times it")
parser.add_argument("--layers", type=int, required=True, help="new number of encoder blocks")
parser.add_argument("--decoder-layers", type=int, required=True)
parser.add_argument("--dropout", type=float, default=0.0, help="dropout rate of the new model")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

torch.manual_seed(args.seed)
small = T5ForConditionalGeneration.from_pretrained(args.model).float().eval()
config = T5Config.from_dict(
    small.config.to_dict()
    | {
        "d_model": args.d_model,
        "d_ff": 4 * args.d_model,
        "num_heads": args.d_model // small.config.d_kv,
        "num_layers": args.layers,
        "num_decoder_layers": args.decoder_layers,
        "dropout_rate": args.dropout,
    }
)
large = T5ForConditionalGeneration(config).eval()
old, new = small.state_dict(), large.state_dict()
# A norm divides by the root of the mean square, and the mean gets smaller by the dimensions that are zero.
ratio = (small.config.d_model / config.d_model) ** 0.5

for name, weight in new.items():
    zero_rows = zero_columns = False
    writes = name.endswith((".o.weight", ".wo.weight"))
    if name not in old:
        if writes:
            weight.zero_()
        continue
    known = old[name]
    if "layer_norm" in name:
        # The decoder's last norm is followed by a division by the root of the width.
        weight[: len(known)] = known * (1.0 if name == "decoder.final_layer_norm.weight" else ratio)
        weight[len(known) :] = ratio
        continue
    rows, columns = known.shape
    if writes:
        weight.zero_()
    elif name in ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
        weight[:, columns:] = 0
    weight[:rows, :columns] = known

large.load_state_dict(new)
ids = torch.randint(2, config.vocab_size, (4, 40))
with torch.inference_mode():
    expected, found = (model(input_ids=ids, decoder_input_ids=ids.flip(1)).logits for model in (small, large))
worst = (expected - found).abs().max().item()
assert worst < 1e-3, f"the logits differ by {worst}"
large.save_pretrained(args.out)
for file in args.model.iterdir():
    if file.suffix == ".json" and file.name != "config.json":
        shutil.copy(file, args.out / file.name)
heads = args.model / "heads.safetensors"
if heads.exists():
    tensors = load_file(heads)
    # These read the hidden state first, and then what the logits and the prompt say.
    for name in ("distance.inner.weight", "values.inner.weight"):
        states, facts = tensors[name].float().split([small.config.d_model, tensors[name].shape[1] - small.config.d_model], 1)
        unread = torch.zeros(len(states), config.d_model - small.config.d_model)
        # The last norm gives larger states: see above.
        tensors[name] = torch.cat([states * ratio, unread, facts], 1)
    save_file(tensors, args.out / "heads.safetensors")
print(f"{sum(p.numel() for p in large.parameters()):,} parameters; logits within {worst:.1e}")
