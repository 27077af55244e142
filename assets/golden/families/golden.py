#!/usr/bin/env python3
"""Makes tiny checkpoints of many architectures with random weights, and what transformers computes with them.

    python golden.py [NAME...]      # writes the named fixtures, or all of them, beside this file

`fixtures.py` lists the fixtures, `weights.py` draws their weights, `compute.py` asks transformers. Every number is computed
in f32 on one CPU thread, from the seed that each golden file names. A seed is taken only if the fixture is sensitive: each
field of the config and each tensor of the file moves some logit by more than 100 tolerances. ../README.md has the versions.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from compute import (
    NEW_TOKENS,
    TOLERANCE,
    all_logits,
    argmax_loop,
    bad_words,
    end_ids,
    generated,
    load,
    logits,
    quiet,
    read_json,
    score_deviation,
    write_json,
)
from fixtures import ABSENT, FIXTURES, Fixture
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel
from weights import draw, scale_output

HERE = Path(__file__).resolve().parent
# Longer than all windows, and than the original length of llama3's rope.
LENGTHS = (18, 12, 7)
SMALLEST_MOVE = 100 * TOLERANCE
# The smallest difference of the two highest logits in a greedy step. Below it, rounding could change the greedy ids.
SMALLEST_LEAD = 0.01
SMALLEST_SCORE_DEVIATION = 0.9
# The largest difference of the logits in f32 and in f64.
LARGEST_ROUNDING = TOLERANCE / 5
SEEDS = 5000


class Unfair(Exception):
    """A seed does not give a good fixture. The message says why."""


def require(holds: bool, why: str) -> None:
    if not holds:
        raise Unfair(why)


def draw_rows(fixture: Fixture, generator: torch.Generator) -> list[dict]:
    rows = []
    for length in LENGTHS:
        middle = length - len(fixture.prefix) - len(fixture.suffix)
        ids = torch.randint(*fixture.ordinary, (middle,), generator=generator).tolist()
        row = dict(source=[*fixture.prefix, *ids, *fixture.suffix])
        if fixture.config.get("is_encoder_decoder"):
            ids = torch.randint(*fixture.ordinary, (length - 1,), generator=generator).tolist()
            row["target"] = [fixture.config["decoder_start_token_id"], *ids]
        rows.append(row)
    return rows


def save_weights(weights: dict[str, torch.Tensor], path: Path) -> None:
    save_file({name: value.contiguous() for name, value in weights.items()}, path, metadata={"format": "pt"})


def make(fixture: Fixture, seed: int, folder: Path) -> list[dict]:
    """Writes the checkpoint of a fixture to an empty folder, and returns its rows."""
    generator = torch.Generator().manual_seed(seed)
    rows = draw_rows(fixture, generator)
    write_json(folder / "config.json", fixture.config)
    if fixture.generation is not None:
        write_json(folder / "generation_config.json", fixture.generation)

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    weights = draw(auto.from_config(config), fixture.untied, generator)
    save_weights(weights, folder / "model.safetensors")
    scale_output(load(folder)[0], weights, lambda model: all_logits(model, rows))
    save_weights(fixture.edit(weights), folder / "model.safetensors")

    if fixture.resaved:
        model = load(folder)[0]
        for path in folder.iterdir():
            path.unlink()
        model.save_pretrained(folder, **({"max_shard_size": fixture.shards} if fixture.shards else {}))
    return rows


def all_weights(folder: Path) -> dict[str, torch.Tensor]:
    weights = {}
    for path in sorted(folder.glob("model*.safetensors")):
        weights |= load_file(path)
    return weights


def golden(model: PreTrainedModel, rows: list[dict], seed: int) -> dict:
    """The golden file. Raises Unfair if rounding could change its ids or if they cover too little."""
    config, generation = model.config, model.generation_config
    ends, forbidden = end_ids(model), bad_words(model)
    forced = {}
    if generation.forced_bos_token_id is not None:
        forced[0] = generation.forced_bos_token_id
    if generation.forced_eos_token_id is not None:
        forced[NEW_TOKENS - 1] = generation.forced_eos_token_id

    texts = [generated(model, row) for row in rows]
    lengths = [len(text) - config.is_encoder_decoder for text in texts]
    require(any(2 <= length < NEW_TOKENS for length in lengths), "no text ends early")
    require(NEW_TOKENS in lengths, "every text ends early")

    out, leads = [], []
    for row, text, length in zip(rows, texts, lengths, strict=True):
        # `generate` uses a cache. The loop does not, and must find the same ids.
        looped, lead = argmax_loop(model, row, forbidden, forced)
        if looped[:length] != text[config.is_encoder_decoder :]:
            require(lead <= SMALLEST_LEAD, "`generate` differs from the loop")
            raise Unfair("the lead is small")
        greedy, greedy_lead = argmax_loop(model, row, sorted({*ends, *forbidden}), {})
        leads += [lead, greedy_lead]
        require(config.pad_token_id not in greedy, "greedy ids hold padding")
        out.append(row | dict(logits=logits(model, row), greedy=greedy, generated=text))
    require(min(leads) > SMALLEST_LEAD, "the lead is small")
    require(max(len(set(row["greedy"])) for row in out) >= 6, "greedy ids repeat")

    return dict(
        kind="encoder-decoder" if config.is_encoder_decoder else "decoder-only",
        tolerance_note=f"The logits were computed in f32 and rounded to 5 decimals. Compare them within {TOLERANCE:.0e}: "
        f"each field of config.json that matters moves some logit by more than {SMALLEST_MOVE:.0e}.",
        seed=seed,
        smallest_lead=round(min(leads), 4),
        # `greedy` never takes these ids: those that end a text, and those that the generation config forbids.
        suppressed=sorted({*ends, *forbidden}),
        rows=out,
    )


def change(value: dict, alteration: dict) -> dict:
    """A copy of a JSON object in which the values at some paths are others or absent."""
    value = json.loads(json.dumps(value))
    for path, new in alteration.items():
        *parents, last = path.split(".")
        inner = value
        for parent in parents:
            inner = inner[parent]
        inner.pop(last, None)
        if new is not ABSENT:
            inner[last] = new
    return value


def changed_copy(folder: Path, file: str, alteration: dict) -> tempfile.TemporaryDirectory:
    """A folder with the same weights in which one JSON file is altered."""
    copy = tempfile.TemporaryDirectory()
    for path in folder.iterdir():
        (Path(copy.name) / path.name).symlink_to(path)
    target = Path(copy.name) / file
    target.unlink()
    write_json(target, change(read_json(folder / file), alteration))
    return copy


def field_moves(fixture: Fixture, folder: Path, rows: list[dict], expected: torch.Tensor) -> dict[str, float]:
    """By how much the logits move if one field of config.json is another."""
    moves = {}
    for name, alteration in fixture.fields.items():
        with changed_copy(folder, "config.json", alteration) as copy:
            moves[name] = (all_logits(load(Path(copy))[0], rows) - expected).abs().max().item()
    return moves


def tensor_moves(folder: Path, rows: list[dict], expected: torch.Tensor) -> dict[str, float]:
    """By how much the logits move if one tensor of the file is another: neutral, transposed or upside down."""
    moves = {}
    model = load(folder)[0]
    parameters = model.state_dict()
    for name in all_weights(folder):
        # Without rotary positions, the bias of the keys adds the same to all scores of a query: it changes nothing.
        if name.endswith("k_proj.bias") and model.config.is_encoder_decoder:
            continue
        held = parameters[name].clone()
        if name.endswith("bias"):
            other = torch.zeros_like(held)
        elif held.dim() == 1:
            other = torch.ones_like(held)
        elif held.shape[0] == held.shape[1]:
            other = held.T.clone()
        else:
            other = held.flip(0)
        parameters[name].copy_(other)
        moves[name] = (all_logits(model, rows) - expected).abs().max().item()
        parameters[name].copy_(held)
    return moves


def check_generation(fixture: Fixture, folder: Path, rows: list[dict], texts: list[list[int]]) -> None:
    """Raises Unfair unless each generation field changes what `generate` returns."""
    file = "config.json" if fixture.generation is None else "generation_config.json"
    for name, alteration in fixture.generation_fields.items():
        with changed_copy(folder, file, alteration) as copy:
            model = load(Path(copy))[0]
            require([generated(model, row) for row in rows] != texts, f"`generate` is the same without {name}")


def json_ready(value):
    if isinstance(value, torch.Tensor):
        return [[round(number, 5) for number in row] for row in value.tolist()]
    if isinstance(value, dict):
        return {key: json_ready(inner) for key, inner in value.items()}
    return [json_ready(inner) for inner in value] if isinstance(value, list) else value


def write_golden(path: Path, made: dict) -> None:
    path.write_text(json.dumps(json_ready(made), separators=(",", ":")) + "\n", encoding="utf-8")


def write_copy(folder: Path, name: str, dtype: torch.dtype, rows: list[dict], seed: int) -> None:
    """The weights in half precision, and what they compute in f32."""
    low = {key: value.to(dtype) for key, value in load_file(folder / "model.safetensors").items()}
    with tempfile.TemporaryDirectory() as rounded:
        for path in folder.glob("*config.json"):
            shutil.copy(path, rounded)
        save_weights({key: value.float() for key, value in low.items()}, Path(rounded) / "model.safetensors")
        write_golden(folder / f"golden.{name}.json", golden(load(Path(rounded))[0], rows, seed))
    save_weights(low, folder / f"model.{name}.safetensors")


def attempt(fixture: Fixture, seed: int, folder: Path) -> str:
    """Makes a fixture in an empty folder and describes it. Raises Unfair if the seed is not good."""
    rows = make(fixture, seed, folder)
    model, report = load(folder)
    wrong = {key: found for key, found in report.items() if found}
    if wrong:
        raise SystemExit(f"{fixture.name}: transformers does not load the file: {wrong}")
    made = golden(model, rows, seed)
    check_generation(fixture, folder, rows, [row["generated"] for row in made["rows"]])
    expected = torch.cat([row["logits"] for row in made["rows"]])
    uneven = score_deviation(folder, rows)
    require(uneven > SMALLEST_SCORE_DEVIATION, "attention is even")
    rounding = (all_logits(load(folder)[0].double(), rows) - expected).abs().max().item()
    require(rounding < LARGEST_ROUNDING, "rounding matters too much")
    fields = field_moves(fixture, folder, rows, expected)
    tensors = tensor_moves(folder, rows, expected)
    for name, move in {**fields, **tensors}.items():
        require(move > SMALLEST_MOVE, f"{name} matters too little")
    write_golden(folder / "golden.json", made)
    if fixture.copies:
        write_copy(folder, "f16", torch.float16, rows, seed)
        write_copy(folder, "bf16", torch.bfloat16, rows, seed)

    least = min(tensors, key=tensors.get)
    lines = [
        f"{fixture.name}: seed {seed}, logits' deviation {expected.std().item():.2f}, scores' deviation {uneven:.2f}, "
        f"lead {made['smallest_lead']:.3f}, rounding {rounding:.0e}",
        *(f"    {move:9.4f}  {name}" for name, move in fields.items()),
        f"    {tensors[least]:9.4f}  the tensor that matters least of {len(tensors)}: {least}",
        *(f"    {row['generated']}" for row in made["rows"]),
    ]
    return "\n".join(lines)


def main() -> None:
    quiet()
    names = sys.argv[1:]
    unknown = set(names) - {fixture.name for fixture in FIXTURES}
    if unknown:
        raise SystemExit(f"no such fixture: {sorted(unknown)}")
    for fixture in FIXTURES:
        if names and fixture.name not in names:
            continue
        reasons: dict[str, int] = {}
        for seed in range(SEEDS):
            with tempfile.TemporaryDirectory() as temporary:
                try:
                    description = attempt(fixture, seed, Path(temporary))
                except Unfair as unfair:
                    reasons[str(unfair)] = reasons.get(str(unfair), 0) + 1
                    continue
                target = HERE / fixture.name
                shutil.rmtree(target, ignore_errors=True)
                target.mkdir()
                for path in sorted(Path(temporary).iterdir()):
                    # Not `copy`: transformers makes its weight files unreadable for others.
                    shutil.copyfile(path, target / path.name)
                print(description, flush=True)
                break
        else:
            raise SystemExit(f"{fixture.name}: no seed gives a fair fixture: {reasons}")


if __name__ == "__main__":
    main()
