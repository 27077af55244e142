#!/usr/bin/env bash
# Measures decoding and training of one checkpoint, with this library and with PyTorch in turn on the same two cores, and
# prints the ratios.
# Usage: assets/peers/compare.sh MODEL_FOLDER
# The environment variable PYTHON names an interpreter with torch and transformers; the default is python3.
set -euo pipefail
model=${1:?usage: compare.sh MODEL_FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
cargo build --quiet --release --example speed
cargo run --quiet --release --example speed -- --model "$model" | tee "$lines"
"${PYTHON:-python3}" "$here/torch_t5.py" --model "$model" --threads 2 | tee -a "$lines"
"${PYTHON:-python3}" - "$lines" <<'PY'
import json, sys

ours, theirs = {}, {}
for line in map(json.loads, open(sys.argv[1])):
    if line["what"] in ("decode", "train"):
        side = theirs if line["peer"] == "torch" else ours
        key = (line["what"], line.get("batch") if line["what"] == "decode" else None)
        # PyTorch decodes in two ways, and the faster one counts.
        side[key] = max(side.get(key, 0.0), line["tokens_per_second"])
for (what, batch), rate in ours.items():
    label = f"{what} at batch {batch}" if batch else what
    print(f"{label}: {rate / theirs[(what, batch)]:.2f} x PyTorch's tokens/s")
PY
