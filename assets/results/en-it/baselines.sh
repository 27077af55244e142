#!/usr/bin/env bash
# Compares methods of distillation at equal wall time, with the embedded English-Italian teacher and one student:
#
#     assets/results/en-it/baselines.sh DATA OUT
#
# DATA is a folder that examples/prepare wrote: cargo run --release --example prepare -- --out DATA --language it
# All methods start from the same student, and have the time that 500 steps of `constrained` take, from steps timed in turn.
# Nothing else should run: the last lines tell the times, which should be equal. It takes half an hour on two cores, and goes
# on where it was stopped. It needs Python for grow.py: pip install torch transformers safetensors
set -euo pipefail
data=$(realpath "${1:?usage: baselines.sh DATA OUT}")/debian-en-it
mkdir -p "${2:?usage: baselines.sh DATA OUT}"
out=$(realpath "$2")
cd "$(dirname "$0")/../../.."
teacher=assets/models/en-it/teacher
wheels() { cargo run --quiet --release --bin wheels -- "$@"; }

# An earlier student, made larger: the start of the embedded student too.
if [ ! -f "$out/start/config.json" ]; then
    mkdir -p "$out/small"
    git archive 8f0f442 assets/models/en-it/student | tar -x -C "$out/small" --strip-components=4
    python3 assets/models/en-it/grow.py --model "$out/small" --out "$out/start" --d-model 128 --layers 3 --decoder-layers 1
fi

distill() { # FROM NAME METHOD STEPS LEARNING_RATE
    [ -f "$out/$2/model.safetensors" ] || wheels distill --teacher $teacher --student "$out/$1" \
        --data "$data.train.jsonl" --valid "$data.valid.jsonl" --out "$out/$2" --method "$3" --steps "$4" \
        --calibration-texts 20 --set trainer.learning_rate="$5" --set trainer.warmup_steps=50 \
        --set trainer.validate_every="$4" --set rollout.constraint.frozen_steps=100
    [ -f "$out/$2-results/results.json" ] || wheels evaluate --data "$data.test.jsonl" --student "$out/$2" \
        --teacher $teacher --decoders draft:4 --out "$out/$2-results"
}
distill start supervised supervised 747 0.002
distill start forward-kl forward-kl 747 0.002
distill start sequence sequence 545 0.002
distill start gkd gkd:0.5 512 0.002
distill start constrained constrained 500 0.002
# First off-policy, then the whole recipe for a third of the time, as the embedded student was trained.
distill start words forward-kl 498 0.002
distill words schedule constrained 167 0.001

for name in supervised forward-kl sequence gkd constrained words schedule; do
    seconds=$(sed -n 's/.*"seconds":\([0-9.]*\).*/\1/p' "$out/$name/metrics.jsonl" | awk '{ sum += $1 } END { printf "%.0f", sum }')
    echo "$name: $seconds seconds of training"
    grep '| student |' "$out/$name-results/table.md" | head -1
done
