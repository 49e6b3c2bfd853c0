"""What every format is read into."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Values = NDArray[Any]


@dataclass
class Weight:
    """A tensor of the source. load() gives its values, of `shape`: float32 where `dtype` is None, else as `dtype` (a name of
    tensors.DTYPES) has them. It is called once, when the tensor is written."""

    shape: tuple[int, ...]
    load: Callable[[], Values]
    size: int  # bytes in the source, for the progress
    dtype: str | None = None


@dataclass
class Checkpoint:
    """weights: name, as Hugging Face has it -> Weight, in the order to be written. config: for config.json, where it is known.
    notes: lines for people. files(): further JSON files, name -> content, asked for once every weight was loaded. save(folder):
    writes what else there is."""

    weights: dict[str, Weight]
    config: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    files: Callable[[], dict[str, Any]] = dict
    save: Callable[[Any], None] = lambda folder: None
