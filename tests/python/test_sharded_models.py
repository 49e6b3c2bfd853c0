"""apply_init on models that are spread over processes, or replicated: DDP, FSDP 1 and 2, tensor parallel, with gloo on the CPU.
What the model computes afterwards is compared with a plain model of the same tensors, on every process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import sharded_worker

WORKER = Path(__file__).with_name("sharded_worker.py")
METADATA = {"format": "pt", "architecture": "toy", "orientation": "out_in", "tables": "wte.weight lm_head.weight"}


def has_fsdp():
    try:
        from torch.distributed.fsdp import fully_shard  # noqa: F401
    except (ImportError, ValueError):  # Debian's 1.13 cannot import it with Python 3.11
        return False
    return True


pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
NAMES = [*sharded_worker.CASES, *sharded_worker.META]
PLAIN = [name for name in NAMES if name.startswith("ddp")]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """World size -> what each process says, by case."""
    folder = tmp_path_factory.mktemp("sharded")
    random = np.random.default_rng(0)
    shapes = {"wte.weight": (7, 6), "norm.weight": (6,)} | {f"h.{i}.{m}.weight": (6, 6) for i in range(2) for m in "ab"}
    values = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(values, str(folder / "tied.safetensors"), metadata=METADATA | {"tied_head": "true"})
    head = {"lm_head.weight": random.normal(size=(7, 6)).astype(np.float32)}
    save_file(values | head, str(folder / "untied.safetensors"), metadata=METADATA | {"tied_head": "false"})
    done = {}

    def of(world):
        if world not in done:
            words = [sys.executable, WORKER, world, folder, *(NAMES if has_fsdp() else PLAIN)]
            ran = subprocess.run(list(map(str, words)), env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300)
            assert ran.returncode == 0, ran.stderr
            done[world] = [json.loads((folder / f"results-{world}-{rank}.json").read_text()) for rank in range(world)]
        return done[world]

    return of


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_the_model_computes_what_the_file_says(results, name, world):
    if name not in PLAIN and not has_fsdp():
        pytest.skip(f"torch {torch.__version__} has no FSDP 2, and its FSDP 1 needs an older Python")
    for rank, said in enumerate(results(world)):
        if name in sharded_worker.META:
            assert said[name].startswith("InitError: ") and "meta device" in said[name] and "to_empty" in said[name], (rank, said[name])
        else:
            assert said[name] == "ok", (rank, said[name])
