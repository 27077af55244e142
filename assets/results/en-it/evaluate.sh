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
wheels --valid "$data.valid.jsonl" --valid-texts 200 --decoders "$quality" --token-budgets 1,2,3,5,10,15 --out "$out/quality"
wheels --decoders uncalibrated --budgets 5,8,10,20,25,30,45,50 --out "$out/uncalibrated"

# Times, with the calibration for calls, and with one for time.
wheels --limit 800 --batch 1 --decoders calibrated,draft:2,draft:4,draft:8 --out "$out/calls"
if [ ! -d "$out/by-time" ]; then
    rm -rf "$out/unfinished"
    cp -r assets/models/en-it/student "$out/unfinished"
    cargo run --quiet --release --bin wheels -- calibrate --student "$out/unfinished" --teacher assets/models/en-it/teacher \
        --data "$data.valid.jsonl" --texts 500 --optimise time
    mv "$out/unfinished" "$out/by-time"
fi
wheels --student "$out/by-time" --teacher assets/models/en-it/teacher --valid "$data.valid.jsonl" --valid-texts 150 --limit 800 \
    --batch 1 --decoders calibrated,max-prob,bild:3,draft:4 --budgets 5,10,15,20,30,40,50 --out "$out/by-time-results"
