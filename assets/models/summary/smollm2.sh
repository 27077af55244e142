#!/usr/bin/env bash
# Makes adapters (LoRA) with which SmolLM2-135M writes summaries, from public data:
#
#     assets/models/summary/smollm2.sh OUT
#
# It takes about 70 minutes on two cores, and goes on where it was stopped. Python needs gguf, safetensors and numpy.
set -euo pipefail
mkdir -p "${1:?usage: smollm2.sh OUT}"
out=$(realpath "$1")
cd "$(dirname "$0")/../../.."
wheels() { cargo run --quiet --release --bin wheels -- "$@"; }

[ -d "$out/data" ] || cargo run --release --example prepare -- --out "$out/data" --language it
base=$(python3 assets/models/smollm2/fetch.py "$out/models")
cat >"$base/prompt.json" <<'JSON'
{"prefix": "", "suffix": "\nSynopsis:", "budget": "none", "max_tokens": 512}
JSON

# About 20,000 pairs, once: 740 steps of 2 micro-batches with about 13 pairs each. Sources have up to 96 tokens.
wheels train --init "$base" --lora 16 --lora-alpha 32 --lora-modules all-linear --max-tokens 100 \
    --data "$out/data/debian-summary-en.train.jsonl" --valid "$out/data/debian-summary-en.valid.jsonl" --valid-texts 100 \
    --validate-every 370 --steps 740 --batch-tokens 1024 --workers 2 --learning-rate 1e-3 --warmup 40 --label-smoothing 0 \
    --max-new-tokens 40 --no-repeat-ngram-size 0 --half --out "$out/smollm2"
