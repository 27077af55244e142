"""What the measurements of the peers share: times of repeated runs, and the lines that are printed."""

import json
import statistics
import time


def seconds(run, repeats: int) -> list[float]:
    """The times of some runs, after one to warm up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def report(peer: str, what: str, times: list[float], tokens: int, **more) -> None:
    """Prints a JSON object with the median of the times of `tokens` tokens."""
    median = statistics.median(times)
    line = dict(peer=peer, what=what, **more)
    line |= dict(
        tokens_per_second=round(tokens / median, 1),
        ms=round(1000 * median, 3),
        spread=round((max(times) - min(times)) / median, 3),
        repeats=len(times),
    )
    print(json.dumps(line), flush=True)
