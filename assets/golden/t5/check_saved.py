#!/usr/bin/env python3
"""Opens a folder that Training Wheels saved, with transformers, and compares what it computes with a golden file.

    python check_saved.py DIR GOLDEN [--tolerance 1e-4]

DIR holds config.json and model.safetensors. GOLDEN is a golden.json of this folder. The exit code is 0 if the encoder's last
hidden state (where the mask is 1) and the logits agree within the tolerance and the greedy ids are the same. It is 1 if
they differ, or if a weight is missing, unexpected or of another shape.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from transformers import T5ForConditionalGeneration


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    parser.add_argument("golden", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args()

    model, report = T5ForConditionalGeneration.from_pretrained(
        args.dir, local_files_only=True, output_loading_info=True
    )
    model = model.float().eval()
    golden = json.loads(args.golden.read_text(encoding="utf-8"))
    inputs = {
        key: torch.tensor(golden[key]) for key in ("input_ids", "attention_mask", "decoder_input_ids")
    }
    with torch.no_grad():
        out = model(**inputs)
        ids = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            num_beams=1,
            do_sample=False,
            max_new_tokens=golden["max_new_tokens"],
        )

    problems = [f"{what}: {sorted(map(str, keys))}" for what, keys in report.items() if keys]
    mask = inputs["attention_mask"].bool()
    for name, ours, theirs in (
        ("encoder", out.encoder_last_hidden_state[mask], torch.tensor(golden["encoder_last_hidden_state"])[mask]),
        ("logits", out.logits, torch.tensor(golden["logits"])),
    ):
        if ours.shape != theirs.shape:
            problems.append(f"{name}: shape {tuple(ours.shape)} is not {tuple(theirs.shape)}")
            continue
        largest = (ours - theirs).abs().max().item()
        print(f"{name}: largest difference {largest:.2e}")
        # `not <=` instead of `>`, so that a NaN counts as a problem.
        if not largest <= args.tolerance:
            problems.append(f"{name}: {largest:.2e} is over {args.tolerance:.0e}")
    if ids.tolist() != golden["generated"]:
        problems.append(f"greedy ids: {ids.tolist()} are not {golden['generated']}")

    print(*problems, sep="\n") if problems else print("equal")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
