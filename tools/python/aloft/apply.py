"""Loads an `init.safetensors` into a model, and makes sure that it really is in there."""

from dataclasses import dataclass, field

import numpy as np

from .tensors import read_tensors, widened

PREFIXES = ("_orig_mod.", "module.")  # torch.compile, (distributed) data parallel: in any order, repeated


class InitError(ValueError):
    """The file does not fit the model; the message says which tensor, why, and what to do."""


@dataclass
class Report:
    """What apply_init() did. Names are the file's."""

    loaded: list = field(default_factory=list)
    transposed: list = field(default_factory=list)  # stored [out, in], the model's module wants [in, out], or the reverse
    untouched: list = field(default_factory=list)  # the model's own parameters that the file does not hold
    rounded: float = 0.0  # largest difference that the model's dtype made

    def __str__(self):
        return (f"{len(self.loaded)} tensors loaded, {len(self.transposed)} of them transposed, "
                f"{len(self.untouched)} parameters keep the model's own init")


def plain(name):
    """The name without the wrappers' prefixes, wherever they stand."""
    for prefix in PREFIXES:
        while name.startswith(prefix):
            name = plain(name[len(prefix):])
        name = name.replace("." + prefix, ".")
    return name


def apply_init(model, path):
    """Copies every tensor of the file `path` into `model`, in place, and verifies the values.

    model: a torch module (wrapped by torch.compile or data parallel or not), or a dict name -> numpy array. Raises
    InitError, with the model unchanged, when a tensor has no place in the model or another shape, or when the model ties
    its head and the file holds another one. Returns a Report.
    """
    tensors, metadata = read_tensors(path)
    targets, conv1d = _targets(model)
    report, plan = Report(), []
    for name, stored in tensors.items():
        target = targets.get(name)
        if target is None:
            raise InitError(f"{path}: the model has no {name}: it was written for another architecture "
                            f"({metadata.get('architecture', 'unknown')}); use --arch for this model")
        value = widened(stored)
        flip = _needs_transposing(name, stored, conv1d, metadata)
        if flip:
            value = value.T
            report.transposed.append(name)
        if tuple(value.shape) != tuple(target.shape):
            raise InitError(f"{path}: {name} is {tuple(value.shape)} and the model's {tuple(target.shape)}: give aloft the "
                            "model's own sizes (a padded vocabulary: --model-vocab-size)")
        plan.append((name, target, value))
    _refuse_conflicts(path, plan)
    for name, target, value in plan:
        _copy(target, value)
        report.loaded.append(name)
    for name, target, value in plan:
        there = _numpy(target)
        difference = float(np.abs(there - value).max(initial=0))
        if not difference <= 2**-7 * max(float(np.abs(value).max(initial=0)), 1e-30):
            raise InitError(f"{path}: {name} is not what was copied into the model (off by {difference})")
        report.rounded = max(report.rounded, difference)
    report.untouched = sorted(set(targets) - set(tensors))
    return report


def _targets(model):
    """name -> array or tensor to write into; names that belong to Conv1D modules ([in, out]), None where unknown."""
    if isinstance(model, dict):
        return {plain(k): v for k, v in model.items()}, None
    conv1d = {plain(name + ".weight") for name, module in model.named_modules() if type(module).__name__ == "Conv1D"}
    return {plain(name): value for name, value in model.state_dict().items()}, conv1d


def _needs_transposing(name, stored, modules, metadata):
    """The file says how its projections lie; a module called Conv1D wants [in, out], a Linear [out, in]."""
    lies, tables = metadata.get("orientation"), metadata.get("tables", "").split(" ")
    if lies is None or modules is None or len(stored.shape) != 2 or name in tables:
        return False
    return (lies == "in_out") != (name in modules)


def _refuse_conflicts(path, plan):
    """Two tensors of the file for one parameter of the model (a tied head) must agree."""
    seen = {}
    for name, target, value in plan:
        place = target.data_ptr() if hasattr(target, "data_ptr") else target.ctypes.data
        other = seen.setdefault((place, tuple(target.shape)), (name, value))
        if other[0] != name and not np.array_equal(other[1], value):
            raise InitError(f"{path}: the model ties {name} to {other[0]}, the file holds two different tensors: write it for "
                            "a tied head (tie_word_embeddings in --model-config, or an architecture with tied_head)")


def _copy(target, value):
    if isinstance(target, np.ndarray):
        target[...] = value
        return
    import torch

    with torch.no_grad():
        target.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def _numpy(target):
    return target.astype(np.float32) if isinstance(target, np.ndarray) else target.detach().float().cpu().numpy()
