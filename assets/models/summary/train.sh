#!/usr/bin/env bash
# Makes the teacher and the student of summaries from public data:
#
#     assets/models/summary/train.sh OUT
#
# It takes about ten hours on two cores, and goes on where it was stopped. SCALE=100 divides all steps by 100, for a trial of the
# script.
set -euo pipefail
mkdir -p "${1:?usage: train.sh OUT}"
out=$(realpath "$1")
cd "$(dirname "$0")/../../.."
scale=${SCALE:-1}
steps() { echo $((($1 + scale - 1) / scale)); }
wheels() { cargo run --quiet --release --bin wheels -- "$@"; }

[ -d "$out/data" ] || cargo run --release --example prepare -- --out "$out/data" --language it
translations=("--data" "$out/data/debian-en-it.train.jsonl" "--valid" "$out/data/debian-en-it.valid.jsonl")
summaries=("--data" "$out/data/debian-summary-en.train.jsonl" "--valid" "$out/data/debian-summary-en.valid.jsonl")

train() { # NAME STEPS FLAGS...
    [ -f "$out/$1/model.safetensors" ] || wheels train --out "$out/$1" --steps "$(steps "$2")" --half "${@:3}"
}
distill() { # FROM NAME STEPS FLAGS...
    [ -f "$out/$2/model.safetensors" ] || wheels distill "${summaries[@]}" --teacher "$out/teacher" \
        --student "$out/$1" --out "$out/$2" --steps "$(steps "$3")" --max-tokens 192 --half "${@:4}"
}

# Both models learn to translate first, because there are twice as many translations.
train translating-teacher 9700 "${translations[@]}" --d-model 192 --layers 3 --decoder-layers 2 --batch-tokens 4096
train translating-student 5500 "${translations[@]}" --tokenizer "$out/translating-teacher" --help-token teacher \
    --d-model 96 --layers 1 --decoder-layers 1 --batch-tokens 2048 --learning-rate 4e-3
limits=(--max-tokens 192 --max-prompt 512 --max-new-tokens 48 --no-repeat-ngram-size 0)
train teacher 5000 "${summaries[@]}" --init "$out/translating-teacher" --batch-tokens 4096 "${limits[@]}"

# The student: from references, from the teacher's distributions, then with help.
train words 500 "${summaries[@]}" --init "$out/translating-student" --batch-tokens 4096 "${limits[@]}"
distill words more-words 2000 --method forward-kl
distill more-words student 2500 --calibration-texts 300
