"""The models of trial/models.py, from a folder as papers/checkpoints.py writes it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..tensors import read_tensors, widened
from ..trial.models import ATTENTION, Model, Shape, probabilities
from .runner import Ids, Runner, Values

SIZES = {"arch": "style", "layers": "layers", "heads": "heads", "d-model": "width", "context": "context", "vocab": "vocab"}


def small_model(folder: Path) -> Runner:
    """InputError where the folder's files do not make a model."""
    return runner_of(_loaded(folder), str(folder))


def _loaded(folder: Path) -> Model:
    path = folder / "model.json"
    try:
        sizes = json.loads(path.read_text())
        shape = Shape(**{SIZES[name]: value for name, value in sizes.items()})
        if min(shape.layers, shape.heads, shape.context, shape.vocab) < 1:
            raise ValueError("a size below 1")
        model = Model(shape)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ArithmeticError) as error:
        what = f"{error.args[0]!r} is no size of a model here" if isinstance(error, KeyError) else str(error)
        what = what.removeprefix("trial: section model: ")
        raise InputError(f"attention: {path}: {what}: a folder of `python -m aloft papers` is needed") from None
    weights = {name: torch.from_numpy(widened(stored)) for name, stored in read_tensors(folder / "model.safetensors")[0].items()}
    wanted = model.state_dict()
    for name, value in wanted.items():
        if name not in weights or weights[name].shape != value.shape:
            has = f"has it as {list(weights[name].shape)}" if name in weights else "lacks it"
            raise InputError(f"attention: {folder}: model.json wants {name} {list(value.shape)}, model.safetensors {has}")
    model.load_state_dict({name: weights[name] for name in wanted})
    return model


def runner_of(model: Model, path: str = "model") -> Runner:
    """Hooks beside the forward pass, which is the one that trains: each computes once more what its layer attends to."""
    shape = model.shape
    layers = [module for module in model.modules() if isinstance(module, ATTENTION)]

    def attention(ids: Ids) -> Iterator[Values]:
        seen: list[Values] = []

        def look(module: Any, inputs: tuple[Any, ...]) -> None:
            x, mask, rope = inputs
            q, k, _ = module.projected(x, rope)
            seen.append(_array(probabilities(q, k, mask)[0]))

        hooks = [layer.register_forward_pre_hook(look) for layer in layers]
        try:
            with torch.no_grad():
                model.final(torch.from_numpy(ids)[None])
        finally:
            for hook in hooks:
                hook.remove()
        return iter(seen)

    return Runner("aloft", path, shape.layers, shape.heads, shape.context, shape.vocab, attention)


def _array(values: Tensor) -> Values:
    out: Values = np.asarray(values.detach().cpu().float().numpy())
    return out
