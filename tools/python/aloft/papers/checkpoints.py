"""Folders with a model and its sizes, as `aloft analyze` takes them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..tensors import Stored, write_tensors
from ..trial.models import Model
from ..unfinished import unfinished_name


def write_checkpoint(folder: Path, model: Model, metadata: Mapping[str, str]) -> None:
    """folder/model.safetensors, F32, under the architecture's names, and model.json: flags of `aloft` that describe it."""
    folder.mkdir(parents=True, exist_ok=True)
    s = model.shape
    write_json(folder / "model.json", {"arch": s.style, "layers": s.layers, "heads": s.heads, "d-model": s.width, "context": s.context,
                                       "vocab": s.vocab})
    tensors = {name: np.ascontiguousarray(weight.detach().cpu().numpy(), np.float32) for name, weight in model.state_dict().items()}
    write_tensors(folder / "model.safetensors",
                  {name: Stored("F32", values.shape, values.reshape(-1).view(np.uint8)) for name, values in tensors.items()}, metadata)


def write_json(path: Path, data: Any) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = unfinished_name(path)
    try:
        partial.write_text(json.dumps(data, indent=1) + "\n")
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
