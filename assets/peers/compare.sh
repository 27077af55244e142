#!/usr/bin/env bash
# Measures decoding and training of one checkpoint, with this library and with its peers in turn on the same two cores, and
# prints the ratios: a T5 with PyTorch and CTranslate2, and a decoder-only model with PyTorch (which also needs peft) and, if
# there is a GGUF file of the same model, with llama.cpp (which needs llama-cpp-python).
# Usage: assets/peers/compare.sh MODEL_FOLDER [GGUF_FILE]
# The environment variable PYTHON names an interpreter with torch, transformers and ctranslate2; the default is python3.
set -euo pipefail
model=${1:?usage: compare.sh MODEL_FOLDER [GGUF_FILE]}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
cargo build --quiet --release --example speed
speed() { cargo run --quiet --release --example speed -- --model "$model" "$@" | tee -a "$lines"; }
if grep -q '"model_type": *"t5"' "$model/config.json"; then
  speed --dtype f32
  speed --dtype f16 --no-training
  "$python" "$here/torch_t5.py" --model "$model" --threads 2 | tee -a "$lines"
  "$python" "$here/ctranslate2_t5.py" --model "$model" --threads 1 2 | tee -a "$lines"
else
  for dtype in f32 f16; do speed --dtype "$dtype" --no-training --batches 1,16 --prompt-tokens 512; done
  speed --no-decoding --batch-tokens 512 --lora-rank 16
  "$python" "$here/torch_llama.py" --model "$model" --threads 2 | tee -a "$lines"
  [ -z "${2:-}" ] || "$python" "$here/llama_gguf.py" --model "$2" --threads 2 | tee -a "$lines"
fi
"$python" - "$lines" <<'PY'
import json, sys

ours, theirs = {}, {}
for line in map(json.loads, open(sys.argv[1])):
    if line["what"] in ("decode", "prompt", "train", "train-lora"):
        peer, dtype = line["peer"], line.get("dtype", "f32")
        key = (line["what"], line.get("batch") if line["what"] in ("decode", "prompt") else None)
        side = ours.setdefault(dtype, {}) if peer == "training-wheels" else theirs.setdefault(f"{peer} {dtype}", {})
        # PyTorch decodes a T5 in two ways, CTranslate2 with one thread or two: the faster one counts.
        side[key] = max(side.get(key, 0.0), line["tokens_per_second"])
for dtype, rates in ours.items():
    for (what, batch), rate in rates.items():
        label = f"{what} in {dtype}" + (f" at batch {batch}" if batch else "")
        for peer, other in theirs.items():
            if (what, batch) in other:
                print(f"{label}: {rate / other[(what, batch)]:.2f} x the tokens/s of {peer}")
PY
