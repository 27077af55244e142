"""Runs a training and checks that its memory does not grow in the second half of its steps.

    python3 .ci/memory.py OUT STEPS COMMAND...

OUT is the folder of the run, whose metrics.jsonl says how far it is. Linux only.
"""

import pathlib
import statistics
import subprocess
import sys
import time

out, steps, command = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
run = subprocess.Popen(command)
samples = []
while run.poll() is None:
    time.sleep(1)
    metrics = out / "metrics.jsonl"
    step = sum(1 for _ in metrics.open()) if metrics.exists() else 0
    try:
        status = pathlib.Path(f"/proc/{run.pid}/status").read_text()
        samples.append((step, int(status.split("VmRSS:")[1].split()[0]) / 1000))
    except (OSError, IndexError):
        break
assert run.wait() == 0, "the run failed"
quarters = [[mb for step, mb in samples if q * steps <= 4 * step < (q + 1) * steps] for q in range(4)]
for number, quarter in enumerate(quarters, 1):
    assert quarter, f"no sample in quarter {number}: the run needs more steps"
    print(f"quarter {number} of {steps} steps: {min(quarter):.0f} to {max(quarter):.0f} MB resident")
# The pool of buffers is complete after up to half of the steps. The end of a run needs more for a moment: a checkpoint, and
# the model.
assert statistics.median(quarters[3]) <= 1.025 * statistics.median(quarters[2]), "the memory grows"
