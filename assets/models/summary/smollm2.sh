#!/usr/bin/env bash
# Makes adapters (LoRA) with which SmolLM2-135M writes summaries, and a Llama of 11 million weights as its student, from
# public data:
#
#     assets/models/summary/smollm2.sh OUT
#
# It takes about two and a half hours on two cores, and goes on where it was stopped. Python needs gguf, safetensors and numpy.
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

valid=(--valid "$out/data/debian-summary-en.valid.jsonl" --valid-texts 100)
limits=(--max-new-tokens 40 --no-repeat-ngram-size 0)

# About 20,000 pairs, once: 740 steps of 2 micro-batches with about 13 pairs each. Sources have up to 96 tokens.
[ -f "$out/smollm2/adapter_model.safetensors" ] || wheels train --init "$base" --lora 16 --lora-alpha 32 \
    --lora-modules all-linear --max-tokens 100 --data "$out/data/debian-summary-en.train.jsonl" "${valid[@]}" \
    --validate-every 370 --steps 740 --batch-tokens 1024 --workers 2 --learning-rate 1e-3 --warmup 40 --label-smoothing 0 \
    "${limits[@]}" --half --out "$out/smollm2"

# The student: the references of all pairs of up to 110 tokens, about five times.
[ -f "$out/untrained/model.safetensors" ] || wheels student --from "$out/smollm2" --width 192 --layers 4 \
    --help-token teacher --out "$out/untrained"
student() { # FROM NAME STEPS LEARNING_RATE
    [ -f "$out/$2/model.safetensors" ] || wheels train --init "$out/$1" --out "$out/$2" --steps "$3" --learning-rate "$4" \
        --data "$out/data/debian-summary-en.train.jsonl" "${valid[@]}" --validate-every 500 --max-tokens 110 \
        --batch-tokens 2048 --workers 2 --warmup 100 --label-smoothing 0.1 "${limits[@]}" --half
}
student untrained references 2000 3e-3
student references student 2500 2e-3
