"""A load test: many clients at once, against one client that sends its requests in sequence.

    python3 crates/serve/tests/load.py SERVER [--clients 64] [--seconds 120]

SERVER is the command that serves, such as "target/release/wheels serve". Every request must end in 200 or 429, and the
memory of the server must be flat. Throughput is reported as a ratio, because both parts run on the same machine.
"""

import argparse
import collections
import http.client
import json
import random
import re
import subprocess
import sys
import threading
import time

WORDS = "a small fast web browser text editor for the desktop with plugins that reads and writes many formats".split()


def body(rng):
    """A request with a budget of its own. Some stream, and some sample."""
    prompt = " ".join(rng.choices(WORDS, k=rng.randint(3, 16)))
    request = {"prompt": prompt, "budget": rng.choice(["0%", "10%", "20%", "50%", "3 tokens", "100%"])}
    if rng.random() < 0.3:
        request["temperature"] = 0.7
    if rng.random() < 0.3:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    return request


class Client(threading.Thread):
    """Sends one request after the other until it is told to stop. One in 50 clients leaves before its answer."""

    def __init__(self, address, seed, until):
        super().__init__()
        self.address, self.rng, self.until = address, random.Random(seed), until
        self.statuses, self.tokens, self.seconds = collections.Counter(), 0, []

    def run(self):
        connection = http.client.HTTPConnection(*self.address, timeout=150)
        while time.monotonic() < self.until:
            request = body(self.rng)
            started = time.monotonic()
            connection.request("POST", "/v1/completions", json.dumps(request), {"Content-Type": "application/json"})
            if self.rng.random() < 0.02:
                connection.close()
                self.statuses["left"] += 1
                continue
            response = connection.getresponse()
            text = response.read().decode()
            self.statuses[response.status] += 1
            if response.status == 429:
                time.sleep(float(response.headers["Retry-After"]) * self.rng.random())
            elif response.status == 200:
                frames = re.findall(r"^data: (\{.*\})$", text, re.M) if request.get("stream") else [text]
                answer = json.loads(frames[-1])
                if "error" in answer:
                    self.statuses["error in a stream"] += 1
                else:
                    self.tokens += answer["usage"]["completion_tokens"]
                    self.seconds.append(time.monotonic() - started)


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) / 1024


def run(address, pid, clients, seconds):
    """Statuses, tokens per second, times of requests, and the memory every second."""
    started = time.monotonic()
    threads = [Client(address, seed, started + seconds) for seed in range(clients)]
    for thread in threads:
        thread.start()
    memory = []
    while any(thread.is_alive() for thread in threads):
        memory.append(resident_mb(pid))
        time.sleep(1)
    elapsed = time.monotonic() - started
    statuses = sum((thread.statuses for thread in threads), collections.Counter())
    tokens = sum(thread.tokens for thread in threads)
    return statuses, tokens / elapsed, sorted(s for thread in threads for s in thread.seconds), memory


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120)
    flags = parser.parse_args()
    server = subprocess.Popen([*flags.server.split(), "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    try:
        line = next(line for line in server.stderr if "http://" in line)
        host, port = re.search(r"http://([^:]+):(\d+)", line).groups()
        address = (host, int(port))
        run(address, server.pid, 1, 2)
        _, alone, _, _ = run(address, server.pid, 1, min(10, flags.seconds))
        statuses, together, seconds, memory = run(address, server.pid, flags.clients, flags.seconds)
    finally:
        server.terminate()
    code = server.wait(60)
    quarter = max(1, len(memory) // 4)
    second, last = (sorted(part)[len(part) // 2] for part in (memory[quarter : 2 * quarter] or memory, memory[-quarter:]))
    print(f"statuses    {dict(statuses)}")
    print(f"throughput  {together / alone:.2f} times that of one client ({together:.0f} and {alone:.0f} tokens/s)")
    print(f"times       median {seconds[len(seconds) // 2]:.2f} s, 99th percentile {seconds[int(0.99 * len(seconds))]:.2f} s")
    print(f"memory      {second:.0f} MB in the second quarter, {last:.0f} MB in the last one (medians)")
    wrong = [status for status in statuses if status not in (200, 429, "left")]
    assert not wrong, f"requests ended in {wrong}"
    assert last < 1.05 * second + 5, "the memory grows"
    assert code == 0, f"the server ended with {code}"


if __name__ == "__main__":
    sys.exit(main())
