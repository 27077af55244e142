#!/usr/bin/env python3
"""Opens adapters that Training Wheels saved, with PEFT, and compares what it computes with the golden files.

    WHEELS_SAVED=DIR cargo test --release --test lora saved_adapters
    python check_saved.py DIR

DIR/adapter and DIR/merged hold a folder with the name of each fixture: an adapter, and a whole model with the adapter added
to its weights. The exit code is 0 if all logits agree within the tolerance.
"""

import argparse
import sys
from pathlib import Path

import torch
from peft import PeftModel

HERE = Path(__file__).resolve().parent
FAMILIES = HERE.parent / "families"
sys.path.insert(0, str(FAMILIES))

from compute import TOLERANCE, load, logits, quiet, read_json  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    saved = parser.parse_args().dir
    quiet()
    wrong = 0
    for folder in sorted((saved / "adapter").iterdir()):
        rows = read_json(HERE / folder.name / "golden.json")["rows"]
        adapted = PeftModel.from_pretrained(load(FAMILIES / folder.name)[0], folder).eval()
        merged, report = load(saved / "merged" / folder.name)
        for kind, model in (("adapter", adapted), ("merged", merged)):
            pairs = [(logits(model, row), torch.tensor(row["logits"])) for row in rows]
            largest = max((found - expected).abs().max().item() for found, expected in pairs)
            print(f"{folder.name}, {kind}: the largest difference of the logits is {largest:.1e}")
            # `not <=` instead of `>`, so that a NaN counts as a problem.
            wrong += not largest <= TOLERANCE
        wrong += any(report.values())
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
