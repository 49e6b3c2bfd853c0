"""Files to test: `aloft init` writes them. ALOFT_PROGRAM names the program (default build/release/aloft).

ALOFT_SAMPLE_WRITER=build/release/tests/aloft_tests lets the C++ test program write them instead, without the CLI.
"""

import json
import os
import subprocess
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def from_program(folder, case):
    program = os.environ.get("ALOFT_PROGRAM", str(ROOT / "build/release/aloft"))
    architecture = case.built_in
    if architecture is None:
        architecture = str(folder / "architecture.json")
        Path(architecture).write_text(json.dumps(case.architecture))
    command = [program, "init", "--recipe", "random", "--arch", architecture, "--layers", case.layers, "--heads", case.heads]
    command += ["--kv-heads", case.kv_heads, "--d-model", case.d_model, "--context", case.context]
    command += ["--model-vocab-size", case.vocab, "--seed", 3, "--save-heads", "--output", folder]
    subprocess.run([str(word) for word in command], check=True)
    return folder


def from_sample_writer(writer, folder, case):
    request = {"name": "sample", "layers": case.layers, "heads": case.heads, "kv_heads": case.kv_heads}
    request |= {"head_dim": case.d_model // case.heads, "d_model": case.d_model, "context": case.context}
    request |= {"vocab": case.vocab, "architecture": case.architecture}
    (folder / "requests.json").write_text(json.dumps([request]))
    command = [writer, "--gtest_filter=Emit.WritesSamplesOnRequest", "--gtest_brief=1"]
    subprocess.run(command, check=True, env={**os.environ, "ALOFT_SAMPLES": str(folder)})
    return folder / "sample"


@pytest.fixture(scope="session")
def emitted(tmp_path_factory):
    """case -> folder with init.safetensors and heads.safetensors; each case is written once."""
    written = {}

    def write(case):
        if case.name not in written:
            folder = tmp_path_factory.mktemp(case.name)
            writer = os.environ.get("ALOFT_SAMPLE_WRITER")
            written[case.name] = from_sample_writer(writer, folder, case) if writer else from_program(folder, case)
        return written[case.name]

    return write
