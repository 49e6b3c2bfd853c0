"""PyTorch files: a state dict, by itself or inside a training checkpoint. Read by an unpickler for weights alone, which runs no
code of the file's."""

import json
import pickle
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import read_config
from ..errors import InputError
from .source import Checkpoint, Values, Weight

WRAPPERS = ("model", "state_dict", "model_state_dict", "module")  # where training scripts put the state dict
# nanoGPT's model_args -> the names of GPT-2's config.json
NANOGPT = {"n_layer": "n_layer", "n_head": "n_head", "n_embd": "n_embd", "block_size": "n_positions", "vocab_size": "vocab_size"}
KEPT = {torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}
PLAIN_CLASSES = {("collections", "OrderedDict"), ("torch", "Size"), ("torch", "device"), ("torch._utils", "_rebuild_tensor"),
                 ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter"), ("torch._utils", "_rebuild_sparse_tensor"),
                 ("torch.serialization", "_get_layout")}
SAVE_WEIGHTS = "save the weights alone: torch.save(model.state_dict(), FILE)"


def read_pickled(path: Path) -> Checkpoint:
    """path: a file of torch.save, or an index of such shards. Tensors that share their memory (a tied head) come once."""
    top = _shards(path) if path.name.endswith(".index.json") else _load(path)
    if not isinstance(top, Mapping):
        raise InputError(f"{path}: holds {_kind(top)}, no state dict: {SAVE_WEIGHTS}")
    state = _state_dict(path, top)
    weights: dict[str, Weight] = {}
    seen: dict[tuple[Any, ...], str] = {}
    shared: list[str] = []
    for name, value in state.items():
        _check(path, name, value)
        place = (value.data_ptr(), tuple(value.shape), tuple(value.stride()), value.dtype)
        if value.numel() and place in seen:
            shared.append(f"{name} = {seen[place]}")
            continue
        seen[place] = name
        weights[name] = _weight(value)
    config = _config(path, top, any(name.endswith("wpe.weight") for name in weights))
    notes = [f"{path}: note: {', '.join(shared[:3])}: the same memory, written once"] if shared else []
    if config is not None and str(config.get("model_type")).startswith("nanogpt"):
        notes.append(f"{path}: note: a checkpoint of nanoGPT's train.py: aloft reads it with --arch {config['model_type']}")
    return Checkpoint(weights, config, notes)


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


class _Unpickler(pickle.Unpickler):
    """Makes tensors and plain values, and calls nothing that a file names beyond the functions that make these."""

    def find_class(self, module: str, name: str) -> Any:
        dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if dtype or (module, name) in PLAIN_CLASSES:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"Unsupported class {module}.{name}")


def _load_as_torch_1(path: Path) -> Any:
    """torch 1.13 has a reader for weights alone, which knows no floating-point numbers as training checkpoints hold them, and
    ignores the pickle_module that it is given. So this is what its load() does, with our unpickler."""
    own = types.SimpleNamespace(__name__="aloft", Unpickler=_Unpickler, load=lambda file, **options: _Unpickler(file, **options).load())
    inside = torch.serialization
    with open(path, "rb") as file:
        if not inside._is_zipfile(file):
            return inside._legacy_load(file, "cpu", own, encoding="utf-8")
        with inside._open_zipfile_reader(file) as archive:
            return inside._load(archive, "cpu", own, encoding="utf-8")


def _load(path: Path) -> Any:
    try:
        if int(torch.__version__.split(".")[0]) < 2:
            return _load_as_torch_1(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file ends in whatever the unpickler comes upon
        text = " ".join(str(error).split())
        other = re.search(r"(?:Unsupported class|GLOBAL) ([\w.]+)", text)
        if other:
            raise InputError(f"{path}: holds {other[1]}, something else than tensors and plain values: {SAVE_WEIGHTS}") from None
        raise InputError(f"{path}: cannot be read as a PyTorch file, it is damaged or was cut short: {text[:200]}") from None


def _shards(index: Path) -> dict[str, Any]:
    """The state dicts of all shards in one."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{index}: no index of shards: {error!r}") from None
    out: dict[str, Any] = {}
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not (index.parent / name).is_file():
            raise InputError(f"{index}: names {name}, which is not in {index.parent}: fetch the whole checkpoint")
        part = _load(index.parent / name)
        if not isinstance(part, Mapping):
            raise InputError(f"{index.parent / name}: holds {_kind(part)}, no state dict")
        out.update(part)
    return out


def _state_dict(path: Path, top: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The mapping that holds tensors: the top one, or the one under a known name."""
    if any(isinstance(value, torch.Tensor) for value in top.values()):
        inner = [key for key in WRAPPERS if isinstance(top.get(key), Mapping)]
        if not inner:  # (a training checkpoint may have a loss beside its model)
            return top
    for key in WRAPPERS:
        value = top.get(key)
        if isinstance(value, Mapping) and any(isinstance(v, torch.Tensor) for v in value.values()):
            return value
    found = ", ".join(sorted(map(str, top))[:5]) or "nothing"
    raise InputError(f"{path}: holds no state dict, neither by itself nor under {', '.join(WRAPPERS)} (it has {found}): {SAVE_WEIGHTS}")


def _check(path: Path, name: object, value: object) -> None:
    if not isinstance(name, str) or not isinstance(value, torch.Tensor):
        raise InputError(f"{path}: {name} is {_kind(value)}, no tensor: {SAVE_WEIGHTS}")
    if value.is_quantized or value.layout != torch.strided or value.is_complex() or not (value.is_floating_point() or value.dtype in KEPT):
        kind = f"{value.dtype} ({value.layout})".replace("torch.", "")
        raise InputError(f"{path}: {name} is {kind}, which is quantised or sparse: the weights before that are needed")


def _weight(value: Any) -> Weight:
    kept = KEPT.get(value.dtype)

    def load() -> Values:
        plain = value.detach().contiguous()
        return np.asarray((plain.float() if kept is None else plain).numpy())

    return Weight(tuple(value.shape), load, value.numel() * value.element_size(), kept)


def _config(path: Path, top: Mapping[Any, Any], table: bool) -> dict[str, Any] | None:
    """Of nanoGPT's model_args, or the config.json that lies beside the file. table: there is one of positions."""
    args = top.get("model_args")
    if isinstance(args, Mapping) and all(type(args.get(key)) is int for key in NANOGPT):
        sizes = {theirs: args[ours] for ours, theirs in NANOGPT.items()}
        return {"model_type": "nanogpt" if table else "nanogpt-rope", **sizes, "tie_word_embeddings": True}
    return read_config(path.parent)
