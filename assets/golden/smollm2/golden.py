#!/usr/bin/env python3
"""Writes what transformers computes with a language model: logits of a few tokens at a few positions, and greedy ids.

    python golden.py SmolLM2-135M-Instruct                                      # writes golden.json beside this file
    python golden.py Qwen2.5-Coder-1.5B-Instruct --prompts 5 --out qwen.json    # any causal model with a chat template

../../models/smollm2/fetch.py makes the folder SmolLM2-135M-Instruct. Every number is computed in f32 from the weights in the
folder, on one CPU thread, one prompt at a time. ../README.md has the versions.
"""

import argparse
import hashlib
import json
import resource
import time
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

HERE = Path(__file__).resolve().parent
# The number of tokens whose logits are kept. They are spread evenly over the vocabulary.
TOKENS = 64
NEW_TOKENS = 64
# The smallest difference of the two highest logits in a greedy step. Below it, rounding could change the greedy ids.
SMALLEST_LEAD = 1e-3

LONG = """\
A harbour town in the north had a lighthouse that no ship needed any more. The boats found their way by satellite, and the \
lamp had been dark for eleven years. Still, every evening at six, an old woman named Ingrid climbed the hundred and forty-two \
steps with a cloth in her hand and cleaned the glass of the lantern. Some people in the town thought that she was paid for it. \
She was not. Others thought that she was lonely, which was closer to the truth, but it was not the reason.

When a young teacher asked her why she did it, she took a long time to answer. "My father kept this light for thirty years," \
she said. "One night in November the generator failed, and he turned the lens by hand until the morning. Nobody knew. No ship \
passed that night. He told me about it only once, and he was not proud of it. He said that a light is a promise, and that you \
do not look whether anybody is watching before you keep a promise."

The teacher told the story to her pupils, and the pupils told it to their parents. In spring the town council met in the old \
school and talked for three hours about money, cables and the price of lamps. In the end they voted, and nine of the eleven \
hands went up. On the first of June the whole town stood on the pier and looked up at the tower. At six o'clock"""

# A text, or the messages of a chat. All kinds of text come first, since a large model computes only the first few.
PROMPTS: dict[str, str | list[dict[str, str]]] = {
    "English": "Water boils at a lower temperature on a mountain because",
    "chat": [dict(role="user", content="Name the three primary colours and say in one sentence what makes them primary.")],
    "code": (
        "def fibonacci(n: int) -> list[int]:\n"
        '    """The first n Fibonacci numbers."""\n'
        "    numbers = [0, 1]\n"
        "    while len(numbers) < n:\n"
    ),
    "long": LONG,
    "scripts and emoji": "你好，世界！ Привет, мир! こんにちは世界 👋🏽🌍 means:",
    "Italian": "La città di Firenze è famosa perché",
    "numbers": "2, 4, 8, 16, 32, 64, 128,",
    "one token": "The",
    "chat of several turns": [
        dict(role="system", content="You answer with one word."),
        dict(role="user", content="What colour is the sky on a clear day?"),
        dict(role="assistant", content="Blue."),
        dict(role="user", content="And grass?"),
    ],
    "white space and markup": "# Shopping list\n\n| Item   | Number |\n|--------|-------:|\n| Apples |      6 |\n|",
}


def seven_digits(values: list[float]) -> list[float]:
    return [float(f"{value:.7g}") for value in values]


@torch.no_grad()
def forward(model: PreTrainedModel, ids: list[int], kept: list[int]) -> list[dict]:
    """The logits after the first token, one and two thirds of the prompt, and all of it."""
    logits = model(torch.tensor([ids])).logits[0]
    last = len(ids) - 1
    rows = []
    for position in sorted({0, last // 3, 2 * last // 3, last}):
        row = logits[position]
        best = int(row.argmax())
        log_sum_exp = float(row.double().logsumexp(-1))
        numbers = seven_digits([log_sum_exp, float(row[best])])
        rows.append(
            dict(
                position=position,
                log_sum_exp=numbers[0],
                best=best,
                best_logit=numbers[1],
                logits=seven_digits(row[kept].tolist()),
            )
        )
    return rows


@torch.no_grad()
def greedy(model: PreTrainedModel, ids: list[int], ends: list[int]) -> tuple[list[int], float]:
    """The most probable token again and again, up to an end token, which is included, and the smallest lead."""
    made, lead, cache = [], float("inf"), None
    given = ids
    while len(made) < NEW_TOKENS and not (made and made[-1] in ends):
        out = model(torch.tensor([given]), past_key_values=cache, use_cache=True)
        best = out.logits[0, -1].topk(2)
        lead = min(lead, float(best.values[0] - best.values[1]))
        made.append(int(best.indices[0]))
        given, cache = made[-1:], out.past_key_values
    return made, lead


def prompt(tokenizer: PreTrainedTokenizerFast, name: str, content: str | list[dict[str, str]]) -> dict:
    if isinstance(content, str):
        return dict(name=name, text=content, ids=tokenizer(content).input_ids)
    text = tokenizer.apply_chat_template(content, add_generation_prompt=True, tokenize=False)
    # The template writes the special tokens, so that the tokenizer must add none.
    ids = tokenizer(text, add_special_tokens=False).input_ids
    return dict(name=name, messages=content, text=text, ids=ids)


def compact(value: object) -> str:
    # ASCII only, so that no reader takes a character for a line break.
    return json.dumps(value, separators=(",", ":"))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", type=Path, help="the folder of a model")
    arguments.add_argument("--out", type=Path, default=HERE / "golden.json")
    arguments.add_argument("--prompts", type=int, default=len(PROMPTS), help="compute only the first of the prompts")
    given = arguments.parse_args()

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    start = time.monotonic()
    model = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32, attn_implementation="eager").eval()
    # PreTrainedTokenizerFast takes tokenizer.json as it is. The classes of some families replace parts of it.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(given.model)
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    kept = [at * model.config.vocab_size // TOKENS for at in range(TOKENS)]

    rows, near_ties = [], []
    for name, content in list(PROMPTS.items())[: given.prompts]:
        row = prompt(tokenizer, name, content)
        made, lead = greedy(model, row["ids"], ends)
        row |= dict(
            positions=forward(model, row["ids"], kept),
            greedy=made,
            greedy_text=tokenizer.decode(made, skip_special_tokens=False),
            smallest_lead=float(f"{lead:.3g}"),
        )
        print(f"{name}: {len(row['ids'])} + {len(made)} tokens, lead {lead:.5f}, {row['greedy_text']!r}", flush=True)
        if lead < SMALLEST_LEAD:
            near_ties.append(name)
        rows.append(row)
    if near_ties:
        raise SystemExit(f"{', '.join(near_ties)}: two tokens are nearly equally probable in a step; change the prompt")

    with (given.model / "model.safetensors").open("rb") as weights:
        sha256 = hashlib.file_digest(weights, "sha256").hexdigest()
    head = dict(
        model=given.model.resolve().name,
        # Of model.safetensors.
        sha256=sha256,
        made_with=dict(torch=torch.__version__, transformers=transformers.__version__),
        end_ids=ends,
        max_new_tokens=NEW_TOKENS,
        # The ids whose logits `positions` hold.
        tokens=kept,
    )
    lines = [f"{compact(key)}:{compact(value)}," for key, value in head.items()]
    lines = ["{", *lines, '"prompts":[', ",\n".join(map(compact, rows)), "]", "}"]
    given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{given.out}: {len(rows)} prompts, {time.monotonic() - start:.0f} s, at most {peak:.1f} GiB of memory")


if __name__ == "__main__":
    main()
