"""What transformers computes with the checkpoint in a folder: logits, greedy ids and the ids of `generate`."""

import json
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel
from transformers.utils import logging

NEW_TOKENS = 12
TOLERANCE = 1e-4


def quiet() -> None:
    """One thread, the same numbers in every run, and no progress bars."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def load(folder: Path, **options) -> tuple[PreTrainedModel, dict]:
    """The model in a folder, in f32, and the keys that were missing, unexpected or of another shape."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model, report = auto.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32, output_loading_info=True, **options
    )
    return model.eval(), report


def inputs(row: dict) -> dict[str, torch.Tensor]:
    """The arguments of `forward` for one row alone, without padding."""
    source = torch.tensor([row["source"]])
    given = dict(input_ids=source, attention_mask=torch.ones_like(source))
    if "target" in row:
        given["decoder_input_ids"] = torch.tensor([row["target"]])
    return given


@torch.no_grad()
def logits(model: PreTrainedModel, row: dict) -> torch.Tensor:
    """[time, vocab]: the logits at every target position, or at every source position of a decoder-only model."""
    return model(**inputs(row), use_cache=False).logits[0]


def all_logits(model: PreTrainedModel, rows: list[dict]) -> torch.Tensor:
    return torch.cat([logits(model, row) for row in rows])


def argmax_loop(model: PreTrainedModel, row: dict, suppressed: list[int], forced: dict[int, int]) -> tuple[list[int], float]:
    """The `NEW_TOKENS` ids that follow the start, each the best one that is not suppressed, without a cache.

    `forced` maps a step to the id that it takes. Also returns the smallest difference of the two highest logits.
    """
    grown, key = (dict(row, target=row["target"][:1]), "target") if "target" in row else (dict(row), "source")
    start, lead = len(grown[key]), float("inf")
    for step in range(NEW_TOKENS):
        last = logits(model, grown)[-1]
        last[suppressed] = -float("inf")
        best = last.topk(2)
        if step in forced:
            token = forced[step]
        else:
            token = best.indices[0].item()
            lead = min(lead, (best.values[0] - best.values[1]).item())
        grown[key] = grown[key] + [token]
    return grown[key][start:], lead


@torch.no_grad()
def generated(model: PreTrainedModel, row: dict) -> list[int]:
    """What `generate` returns: the start token first, or without the prompt for a decoder-only model."""
    source = torch.tensor([row["source"]])
    ids = model.generate(
        input_ids=source,
        attention_mask=torch.ones_like(source),
        do_sample=False,
        num_beams=1,
        max_new_tokens=NEW_TOKENS,
    )[0].tolist()
    return ids if "target" in row else ids[len(row["source"]) :]


def end_ids(model: PreTrainedModel) -> list[int]:
    """The ids that end a text, in config.json or in the generation config."""
    ids = set()
    for given in (model.config.eos_token_id, model.generation_config.eos_token_id):
        ids.update(given if isinstance(given, list) else [] if given is None else [given])
    return sorted(ids)


def bad_words(model: PreTrainedModel) -> list[int]:
    """The single ids that the generation config forbids."""
    return [word[0] for word in model.generation_config.bad_words_ids or [] if len(word) == 1]


@torch.no_grad()
def score_deviation(folder: Path, rows: list[dict]) -> float:
    """How uneven attention is: the standard deviation of its scores over the keys, in the layer where it is smallest.

    Softmax shifts scores by a constant only, so that the deviation of the log-probs is that of the scores.
    """
    model, _ = load(folder, attn_implementation="eager")
    smallest = float("inf")
    for kind in ("attentions", "encoder_attentions", "decoder_attentions", "cross_attentions"):
        per_layer: dict[int, list[float]] = {}
        for row in rows:
            out = model(**inputs(row), use_cache=False, output_attentions=True)
            for layer, weights in enumerate(getattr(out, kind, None) or ()):
                for query in weights.flatten(0, 2):
                    visible = query[query > 0]
                    if len(visible) >= 4:
                        per_layer.setdefault(layer, []).append(visible.log().std().item())
        smallest = min([smallest] + [sum(values) / len(values) for values in per_layer.values()])
    return smallest


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: dict) -> None:
    """In the form of transformers' own files."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
