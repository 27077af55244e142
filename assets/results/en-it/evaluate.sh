#!/usr/bin/env bash
# Measures the embedded English-Italian pair: the files of this folder, and the time of each decoder at batch 1.
#
#     assets/results/en-it/evaluate.sh DATA OUT
#
# DATA is a folder that examples/prepare wrote: cargo run --release --example prepare -- --out DATA --language it
# Nothing else should run, because times are measured. It goes on where it was stopped.
set -euo pipefail
data=$(realpath "${1:?usage: evaluate.sh DATA OUT}")/debian-en-it
mkdir -p "${2:?usage: evaluate.sh DATA OUT}"
out=$(realpath "$2")
cd "$(dirname "$0")/../../.."
wheels() { cargo run --quiet --release --bin wheels -- evaluate --data "$data.test.jsonl" "$@"; }

quality=calibrated,learned,max-prob,random,bild:3,draft:2,draft:4,draft:8,adaptive:4
wheels --valid "$data.valid.jsonl" --valid-texts 200 --decoders "$quality" --out "$out/quality"
wheels --valid "$data.valid.jsonl" --valid-texts 100 --decoders "$quality" --limit 300 --batch 1 --out "$out/batch-1"
