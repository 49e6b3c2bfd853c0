"""A model's tensors as they really are: not the copies that state_dict() may give, each named, written and read in place."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InitError
from .names import plain

Tensor = Any  # a numpy array or a torch tensor; torch is no dependency of this package
Values = NDArray[np.float32]


@dataclass
class Place:
    """One tensor of a model."""

    name: str  # the model's own, with what wrappers put into it
    tensor: Tensor
    trained: bool  # a parameter

    @property
    def identity(self) -> object:
        """Equal for tied parameters alone. An address says so only where there is memory: tensors on `meta`, and a process'
        empty shards, all have address 0."""
        tensor = self.tensor
        if isinstance(tensor, np.ndarray):
            return ("memory", tensor.ctypes.data, tensor.shape) if tensor.size else ("object", id(tensor))
        local: Tensor = getattr(tensor, "_local_tensor", tensor)
        try:
            address = local.data_ptr()
        except (RuntimeError, ValueError):  # a lazy module's, a fake one
            address = 0
        return ("memory", str(local.device), address, tuple(tensor.shape)) if address else ("object", id(tensor))


def places_of(model: Any) -> list[Place]:
    """Every parameter and buffer under every name it has."""
    if isinstance(model, dict):
        return [Place(name, value, True) for name, value in model.items()]
    out = []
    for module_name, module in model.named_modules(remove_duplicate=False):
        for store, trained in ((module._parameters, True), (module._buffers, False)):
            for name, tensor in store.items():
                if tensor is not None:
                    out.append(Place(f"{module_name}.{name}" if module_name else name, tensor, trained))
    return out


def conv1d_weights(model: Any) -> set[str] | None:
    """Plain names of the weights that lie as [in, out]; None where unknown (a dict)."""
    if isinstance(model, dict):
        return None
    return {plain(name + ".weight") for name, module in model.named_modules(remove_duplicate=False) if type(module).__name__ == "Conv1D"}


def config_of(model: Any) -> object:
    """The configuration of the first module that has one with attention heads; None where there is none."""
    if isinstance(model, dict):
        return None
    for module in model.modules():
        config = getattr(module, "config", None)
        if any(getattr(config, key, None) is not None for key in ("num_attention_heads", "n_head")):
            return config
    return None


def says_tied(model: Any) -> bool:
    """Whether its configuration ties the head to the embedding."""
    return getattr(config_of(model), "tie_word_embeddings", None) is True


@contextmanager
def whole(model: Any, write: bool) -> Iterator[None]:
    """While it lasts, every parameter is there under its own name, and what is written stays. FSDP 1 hides them in flat
    shards, and every process has to take part; FSDP 2 may still show a gathered copy that it is going to throw away."""
    fsdp = None
    if not isinstance(model, dict):
        for module in model.modules():
            bases = {base.__name__ for base in type(module).__mro__}
            if "FSDPModule" in bases:
                module.reshard()
            elif "DeepSpeedEngine" in bases:
                raise InitError("DeepSpeed's optimizer has copies of the weights already, which its first step would put back: "
                                "load the file before deepspeed.initialize()")
            elif "FullyShardedDataParallel" in bases and hasattr(type(module), "summon_full_params"):
                fsdp = type(module)
    if fsdp is None:
        yield
        return
    if any(parameter.is_meta for parameter in model.parameters()):
        raise InitError(f"the model {ON_META}")
    with fsdp.summon_full_params(model, writeback=write):
        yield


ON_META = ("is on the meta device, where nothing has values: materialise it first (model.to_empty(device=...), its own init, "
           "tie_weights()), then load")


def why_not(tensor: Tensor) -> str | None:
    """Why a tensor cannot take values, as the end of a sentence; None where it can."""
    if isinstance(tensor, np.ndarray):
        if not tensor.flags.writeable:
            return "is read-only"
        return None if np.issubdtype(tensor.dtype, np.floating) else f"is {tensor.dtype}, which holds no weights"
    if hasattr(tensor, "materialize"):
        return "has no values yet (a lazy module): run one batch first"
    if tensor.is_meta or type(tensor).__name__ == "FakeTensor":
        return ON_META
    if not tensor.dtype.is_floating_point:
        return f"is {tensor.dtype}, which holds no weights as they are: load the file before quantising"
    if hasattr(tensor, "__tensor_flatten__") and not _sharded(tensor):
        return f"is a {type(tensor).__name__}, which is computed from other tensors: load the file before converting the model"
    return None


def in_dtype_of(tensor: Tensor, values: Values) -> Tensor:
    """The values in the tensor's dtype, whole."""
    if isinstance(tensor, np.ndarray):
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(tensor.dtype)
    import torch

    return torch.from_numpy(np.ascontiguousarray(values)).to(tensor.dtype)


def write(tensor: Tensor, values: Tensor) -> None:
    """Copies the whole tensor's values into it; of a sharded one, into this process' part."""
    if isinstance(tensor, np.ndarray):
        tensor[...] = values
        return
    import torch

    part = _part(tensor, values)
    with torch.inference_mode() if tensor.is_inference() else torch.no_grad():
        (tensor.to_local() if _sharded(tensor) else tensor).copy_(part)


def holds(tensor: Tensor, values: Tensor) -> bool:
    """Whether it has these values, bit for bit; a sharded one is gathered from all processes."""
    if isinstance(tensor, np.ndarray):
        return np.array_equal(tensor, values)
    import torch

    with torch.no_grad():
        found = tensor.full_tensor() if _sharded(tensor) else tensor
        return bool(torch.equal(found.detach().cpu(), values.cpu()))


def any_nonzero(tensor: Tensor) -> bool:
    """Of a sharded one, in this process' part."""
    local = tensor.to_local() if _sharded(tensor) else tensor
    return bool((local != 0).any())


def as_float32(tensor: Tensor) -> Values:
    values: Values = tensor.astype(np.float32) if isinstance(tensor, np.ndarray) else tensor.detach().float().cpu().numpy()
    return values


def _sharded(tensor: Tensor) -> bool:
    """A DTensor: FSDP 2, tensor parallel. Without the module that has it nothing can be one."""
    module = sys.modules.get("torch.distributed.tensor") or sys.modules.get("torch.distributed._tensor")
    return module is not None and hasattr(module, "DTensor") and isinstance(tensor, module.DTensor)


def _part(tensor: Tensor, values: Tensor) -> Tensor:
    """Of the whole values, those that this process' part of the tensor has."""
    if not _sharded(tensor):
        return values
    module: Any = sys.modules.get("torch.distributed.tensor") or sys.modules["torch.distributed._tensor"]
    mesh, placements = tensor.device_mesh, tensor.placements
    values = values.to(tensor.to_local().device)
    try:  # every process has read the file: nothing need be sent
        return module.distribute_tensor(values, mesh, placements, src_data_rank=None).to_local()
    except TypeError:  # torch before 2.6
        return module.distribute_tensor(values, mesh, placements).to_local()
