#!/usr/bin/env bash
# Makes the English-Italian teacher and student from public data:
#
#     assets/models/en-it/train.sh OUT
#
# It takes about a day on two cores, and goes on where it was stopped. SCALE=100 divides all steps by 100, for a trial of the
# script. It needs Python for grow.py: pip install torch transformers safetensors
set -euo pipefail
mkdir -p "${1:?usage: train.sh OUT}"
out=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."
scale=${SCALE:-1}
steps() { echo $((($1 + scale - 1) / scale)); }
wheels() { cargo run --quiet --release --bin wheels -- "$@"; }

[ -d "$out/data" ] || cargo run --release --example prepare -- --out "$out/data" --language it
data=("--data" "$out/data/debian-en-it.train.jsonl" "--valid" "$out/data/debian-en-it.valid.jsonl")

train() { # NAME STEPS FLAGS...
    [ -f "$out/$1/model.safetensors" ] || wheels train "${data[@]}" --out "$out/$1" --steps "$(steps "$2")" --half "${@:3}"
}
grow() { # FROM NAME FLAGS...
    [ -f "$out/$2/config.json" ] || python3 "$here/grow.py" --model "$out/$1" --out "$out/$2" "${@:3}"
}
distill() { # FROM NAME STEPS FLAGS...
    [ -f "$out/$2/model.safetensors" ] || wheels distill --teacher "$out/teacher" --student "$out/$1" "${data[@]}" \
        --out "$out/$2" --steps "$(steps "$3")" --set prices.texts=1800 --set calibration.texts=200 --half "${@:4}"
}

# The teacher: first small, then larger twice as long.
train small-teacher 9700 --d-model 192 --layers 3 --decoder-layers 2 --batch-tokens 4096
grow small-teacher grown-teacher --d-model 320 --layers 4 --decoder-layers 3 --dropout 0.1
train half-teacher 2200 --init "$out/grown-teacher" --learning-rate 1.5e-3 --warmup 150 --batch-tokens 4096
train teacher 3000 --init "$out/half-teacher" --learning-rate 1.5e-3 --warmup 100 --batch-tokens 4096 --seed 8

# The student: from references, then larger, from the teacher's distributions, then with help.
train small-student 5500 --tokenizer "$out/teacher" --help-token teacher --d-model 96 --layers 1 --decoder-layers 1 \
    --batch-tokens 2048 --learning-rate 4e-3
grow small-student grown-student --d-model 128 --layers 3 --decoder-layers 1
distill grown-student words 4000 --method forward-kl --set trainer.learning_rate=0.002
distill words student 1500 --set trainer.learning_rate=0.001
