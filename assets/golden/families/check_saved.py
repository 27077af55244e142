#!/usr/bin/env python3
"""Opens folders that Training Wheels saved, with transformers, and compares what it computes with the golden files.

    WHEELS_SAVED=DIR cargo test --release --test families saved_folders
    python check_saved.py DIR

DIR holds a folder with the name of each fixture. The exit code is 0 if no weight is missing, unexpected or of another shape,
and if all logits agree within the tolerance.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

HERE = Path(__file__).resolve().parent


def problems_of(folder: Path, golden: dict, tolerance: float) -> list[str]:
    encoder_decoder = AutoConfig.from_pretrained(folder).is_encoder_decoder
    auto = AutoModelForSeq2SeqLM if encoder_decoder else AutoModelForCausalLM
    model, report = auto.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    problems = [f"{what}: {sorted(map(str, keys))}" for what, keys in report.items() if keys]
    for row in golden["rows"]:
        inputs = {"input_ids": torch.tensor([row["source"]])}
        if encoder_decoder:
            inputs["decoder_input_ids"] = torch.tensor([row["target"]])
        with torch.no_grad():
            logits = model.eval()(**inputs).logits[0]
        largest = (logits - torch.tensor(row["logits"])).abs().max().item()
        # `not <=` instead of `>`, so that a NaN counts as a problem.
        if not largest <= tolerance:
            problems.append(f"the logits are off by {largest:.1e}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    wrong = 0
    for folder in sorted(path for path in args.dir.iterdir() if path.is_dir()):
        golden = json.loads((HERE / folder.name / "golden.json").read_text(encoding="utf-8"))
        problems = problems_of(folder, golden, args.tolerance)
        print(folder.name, "; ".join(problems) or "equal")
        wrong += bool(problems)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
