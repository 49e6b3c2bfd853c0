"""Files to test: `aloft init` writes them. ALOFT_PROGRAM names the program (default build/release/aloft)."""

import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "python"))
PROGRAM = os.environ.get("ALOFT_PROGRAM", str(ROOT / "build/release/aloft"))


def from_program(folder, case):
    architecture = case.built_in
    if architecture is None:
        architecture = str(folder / "architecture.json")
        Path(architecture).write_text(json.dumps(case.architecture))
    command = [PROGRAM, "init", "--recipe", "random", "--arch", architecture, "--layers", case.layers, "--heads", case.heads]
    command += ["--kv-heads", case.kv_heads, "--d-model", case.d_model, "--context", case.context]
    command += ["--model-vocab-size", case.vocab, "--seed", 3, "--save-heads", "--output", folder]
    subprocess.run([str(word) for word in command], check=True)
    return folder


@pytest.fixture(scope="session")
def emitted(tmp_path_factory):
    """case -> folder with init.safetensors and heads.safetensors; each case is written once."""
    written = {}

    def write(case):
        if case.name not in written:
            folder = tmp_path_factory.mktemp(case.name)
            written[case.name] = from_program(folder, case)
        return written[case.name]

    return write
