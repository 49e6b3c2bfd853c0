"""Loads an `init.safetensors` into a model, and makes sure that it really is in there."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InitError
from .tensors import FilePath, Stored, read_tensors, widened

Target = Any  # a numpy array or a torch tensor; torch is no dependency of this package
Values = NDArray[np.float32]
Plan = list[tuple[str, Target, Target]]  # the file's name, where it goes, its values in the target's dtype

PREFIXES = ("_orig_mod.", "module.")  # torch.compile, (distributed) data parallel: in any order, repeated


@dataclass
class Report:
    """What apply_init() did. Names are the file's."""

    loaded: list[str] = field(default_factory=list)
    transposed: list[str] = field(default_factory=list)  # stored [out, in], the model's module wants [in, out], or the reverse
    untouched: list[str] = field(default_factory=list)  # the model's own parameters, which the file does not hold
    rounded: float = 0.0  # largest difference that the model's dtype made

    def __str__(self) -> str:
        return (f"{len(self.loaded)} tensors loaded, {len(self.transposed)} of them transposed, "
                f"{len(self.untouched)} parameters keep the model's own init")


def plain(name: str) -> str:
    """The name without the wrappers' prefixes, wherever they are."""
    for prefix in PREFIXES:
        while name.startswith(prefix):
            name = plain(name[len(prefix):])
        name = name.replace("." + prefix, ".")
    return name


def apply_init(model: Any, path: FilePath) -> Report:
    """Copies every tensor of the file `path` into `model`, in place, and verifies the values.

    model: a torch module (wrapped by torch.compile or data parallel or not), or a dict name -> numpy array. Raises
    InitError, with the model unchanged, when a tensor has no place in the model, another shape or values that its dtype
    cannot hold, or when only one of model and file ties the head to the embedding. Returns a Report. Transposes what a
    file for Conv1D ([in, out]) brings to Linear modules and the reverse; a dict is taken to lie as the file does.
    """
    tensors, metadata = read_tensors(path)
    targets, parameters, conv1d = _targets(model)
    report = Report()
    plan: Plan = []
    for name, stored in tensors.items():
        target = targets.get(name, targets.get(plain(name)))
        if target is None:
            raise InitError(f"{path}: the model has no {name}: it was written for another architecture "
                            f"({metadata.get('architecture', 'unknown')}); use --arch for this model")
        value = widened(stored)
        flip = _needs_transposing(plain(name), stored, conv1d, metadata)
        if flip:
            value = value.T
            report.transposed.append(name)
        if tuple(value.shape) != tuple(target.shape):
            raise InitError(f"{path}: {name} is {tuple(value.shape)} and the model's {tuple(target.shape)}: give aloft the "
                            "model's own sizes (a padded vocabulary: --model-vocab-size)")
        rounded = _as(target, value)
        difference = float(np.abs(_numpy(rounded) - value).max(initial=0))
        if not difference <= 2**-7 * max(float(np.abs(value).max(initial=0)), 1e-30):
            raise InitError(f"{path}: the values of {name} cannot be held by the model's {target.dtype}")
        report.rounded = max(report.rounded, difference)
        plan.append((name, target, rounded))
    _refuse_conflicts(path, plan)
    _refuse_another_head(path, targets, plan, metadata)
    for name, target, value in plan:
        _copy(target, value)
        report.loaded.append(name)
    for name, target, value in plan:
        if not np.array_equal(_numpy(target), _numpy(value)):
            raise InitError(f"{path}: {name} is not what was copied into the model")
    reached = {_place(target) for _, target, _ in plan}
    report.untouched = sorted(name for name in parameters if _place(targets[name]) not in reached)
    return report


def _targets(model: Any) -> tuple[dict[str, Target], set[str], set[str] | None]:
    """name -> array or tensor to write into; the names that are parameters (a tied one once); names that belong to
    Conv1D modules ([in, out]), None where unknown."""
    if isinstance(model, dict):
        return {plain(k): v for k, v in model.items()}, {plain(k) for k in model}, None
    conv1d = {plain(name + ".weight") for name, module in model.named_modules() if type(module).__name__ == "Conv1D"}
    targets = {plain(name): value for name, value in model.state_dict().items()}
    return targets, {plain(name) for name, _ in model.named_parameters()} & set(targets), conv1d


def _needs_transposing(name: str, stored: Stored, modules: set[str] | None, metadata: dict[str, str]) -> bool:
    """The file says how its projections lie; a module called Conv1D wants [in, out], a Linear [out, in]."""
    lies, tables = metadata.get("orientation"), metadata.get("tables", "").split(" ")
    if lies is None or modules is None or len(stored.shape) != 2 or name in tables:
        return False
    return (lies == "in_out") != (name in modules)


def _refuse_conflicts(path: FilePath, plan: Plan) -> None:
    """Two tensors of the file for one parameter of the model (a tied head) must agree."""
    seen: dict[tuple[int, tuple[int, ...]], tuple[str, Target]] = {}
    for name, target, value in plan:
        other = seen.setdefault((_place(target), tuple(target.shape)), (name, value))
        if other[0] != name and not np.array_equal(_numpy(other[1]), _numpy(value)):
            raise InitError(f"{path}: the model ties {name} to {other[0]}, the file holds two different tensors: write it for "
                            "a tied head (tie_word_embeddings in --model-config, or an architecture with tied_head)")


def _refuse_another_head(path: FilePath, targets: dict[str, Target], plan: Plan, metadata: dict[str, str]) -> None:
    """A file for a tied head leaves a model's own head as it was: at random."""
    tables, placed = metadata.get("tables", "").split(" "), {plain(name): target for name, target, _ in plan}
    if metadata.get("tied_head") != "true" or len(tables) < 2 or plain(tables[0]) not in placed:
        return
    head = targets.get(plain(tables[1]))
    if head is not None and plain(tables[1]) not in placed and _place(head) != _place(placed[plain(tables[0])]):
        raise InitError(f"{path}: it was written for a head tied to the embedding, and the model has its own, "
                        f"{tables[1]}: tie them, or design for an untied head (tie_word_embeddings in --model-config)")


def _place(target: Target) -> int:
    """Its address: tied parameters share one."""
    return int(target.data_ptr() if hasattr(target, "data_ptr") else target.ctypes.data)


def _as(target: Target, value: Values) -> Target:
    """The values in the target's dtype."""
    if isinstance(target, np.ndarray):
        with np.errstate(over="ignore", invalid="ignore"):
            return value.astype(target.dtype)
    import torch

    return torch.from_numpy(np.ascontiguousarray(value)).to(target.dtype)


def _copy(target: Target, value: Target) -> None:
    if isinstance(target, np.ndarray):
        target[...] = value
        return
    import torch

    with torch.no_grad():
        target.copy_(value)


def _numpy(target: Target) -> Values:
    values: Values = target.astype(np.float32) if isinstance(target, np.ndarray) else target.detach().float().cpu().numpy()
    return values
