#!/usr/bin/env python3
"""Makes LoRA adapters with random factors for three models of ../families, and what PEFT computes with them.

    python golden.py      # writes a folder for each adapter beside this file

A folder is named after its base model. It holds what PEFT's `save_pretrained` writes, and golden.json with rows of ids and
their logits, computed in f32 on one CPU thread. The adapters differ: default modules, all linear layers with rslora, and
named modules with a whole name among them. ../README.md has the versions.
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model

HERE = Path(__file__).resolve().parent
FAMILIES = HERE.parent / "families"
sys.path.insert(0, str(FAMILIES))

from compute import TOLERANCE, load, logits, quiet, read_json, write_json  # noqa: E402

ADAPTERS = {
    # The default modules of PEFT for the model type.
    "bart": dict(r=3, lora_alpha=12, task_type="SEQ_2_SEQ_LM"),
    "llama2": dict(r=4, lora_alpha=6, use_rslora=True, target_modules="all-linear", task_type="CAUSAL_LM"),
    "t5-v1.1": dict(
        r=2,
        lora_alpha=5,
        lora_dropout=0.1,
        target_modules=["EncDecAttention.q", "v", "wi_1", "decoder.block.1.layer.2.DenseReluDense.wo"],
        task_type="SEQ_2_SEQ_LM",
    ),
}
SMALLEST_MOVE = 100 * TOLERANCE


def main() -> None:
    quiet()
    for name, settings in ADAPTERS.items():
        base = load(FAMILIES / name)[0]
        base.name_or_path = f"../families/{name}"
        rows = read_json(FAMILIES / name / "golden.json")["rows"][2:]
        before = [logits(base, row) for row in rows]
        torch.manual_seed(7)
        # Without initialisation, B is random, too.
        model = get_peft_model(base, LoraConfig(init_lora_weights=False, **settings)).eval()
        model.peft_config["default"].init_lora_weights = True
        model.save_pretrained(HERE / name)
        (HERE / name / "README.md").unlink()
        (HERE / name / "adapter_model.safetensors").chmod(0o644)
        config = read_json(HERE / name / "adapter_config.json")
        # A set has another order in every run.
        write_json(HERE / name / "adapter_config.json", dict(config, target_modules=sorted(config["target_modules"])))

        again = PeftModel.from_pretrained(load(FAMILIES / name)[0], HERE / name).eval()
        golden = []
        for row, old in zip(rows, before, strict=True):
            new = logits(again, row)
            assert (new - old).abs().max() > SMALLEST_MOVE, "the adapter hardly changes the logits"
            kept = {key: row[key] for key in ("source", "target") if key in row}
            golden.append(dict(kept, logits=[[round(value, 5) for value in at] for at in new.tolist()]))
        (HERE / name / "golden.json").write_text(json.dumps({"rows": golden}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
