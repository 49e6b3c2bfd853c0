"""One command: find out what the input is, read it, write the folder as a whole or not at all."""

import json
import os
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AloftError, InputError, OutputExistsError, UsageError
from ..tensors import DTYPES, FilePath, Stored, narrowed, write_tensors
from ..unfinished import sync_folder, unfinished_folder
from .source import Checkpoint, Weight

BYTES = {"F32": 4, "BF16": 2}
INDEX = ".bin.index.json"
SECONDS_BETWEEN_LINES = 3.0


def convert_checkpoint(source: FilePath, output: FilePath, *, dtype: str = "F32", progress: bool = False) -> list[str]:
    """source: a PyTorch file (.pt, .pth, .bin: a state dict, by itself or under "model" or "state_dict"), Hugging Face's
    pytorch_model.bin.index.json with its shards, a folder with one of these, or a .gguf. output: a folder that does not exist
    yet; it gets model.safetensors (floating tensors as `dtype`, F32 or BF16), config.json where the source says the sizes, and
    of a quantised GGUF quantization.json: how far each tensor must be from what was quantised (quantization.py). A .gguf also
    yields its tokens. progress: lines on stderr. Returns lines for people. Raises InputError where the file is damaged or holds
    something else than a model that is known, OutputExistsError, UsageError, and AloftError where a library is missing."""
    path, output = _input(Path(source)), Path(output)
    if dtype not in BYTES:
        raise UsageError(f"dtype {dtype}: one of {', '.join(BYTES)} is needed")
    if os.path.lexists(output):
        raise OutputExistsError(f"{output}: exists; give another name")
    if not output.parent.is_dir():
        raise UsageError(f"{output.parent}: no such folder: make it first")
    checkpoint = _reader(path)(path)
    if not checkpoint.weights:
        raise InputError(f"{path}: holds no tensor")
    with unfinished_folder(output) as folder:
        line = _Progress(checkpoint, progress)
        write_tensors(folder / "model.safetensors", {name: _stored(w, dtype, line) for name, w in checkpoint.weights.items()},
                      {"format": "pt"})
        files = dict(checkpoint.files())
        if checkpoint.config is not None:
            files["config.json"] = {**checkpoint.config, "torch_dtype": "float32" if dtype == "F32" else "bfloat16"}
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf8")
        checkpoint.save(folder)
        sync_folder(folder)
        folder.rename(output)
    sync_folder(output.parent)
    return [*checkpoint.notes, f"{output}: {len(checkpoint.weights)} tensors as {dtype}, {_described(checkpoint.config)}"]


def _described(config: dict[str, Any] | None) -> str:
    if config is None:
        return "no config.json: the source does not say the sizes"
    return f"config.json for model_type {config['model_type']}" if "model_type" in config else "sizes in config.json"


def _input(path: Path) -> Path:
    """The file that is meant."""
    if not path.exists():
        raise InputError(f"{path}: is not there")
    if not path.is_dir():
        return path
    for name in ("pytorch_model.bin", "pytorch_model" + INDEX):
        if (path / name).is_file():
            return path / name
    found = sorted(p for ending in ("*.gguf", "*.pt", "*.pth", "*.bin") for p in path.glob(ending) if p.name != "training_args.bin")
    if len(found) != 1:
        raise InputError(f"{path}: is a folder with {len(found)} files to convert (.pt, .pth, .bin, .gguf): give the file that is meant")
    return found[0]


def _reader(path: Path) -> Callable[[Path], Checkpoint]:
    """By content. Raises InputError for what cannot be converted, in words for what is known."""
    with open(path, "rb") as file:
        head = file.read(16)
    if not head:
        raise InputError(f"{path}: is empty")
    if head[:4] == b"GGUF":
        return _need("gguf", "pip install 'tools/python[convert]'", _gguf)
    if path.name.endswith(INDEX) or head[:1] == b"\x80" or (head[:4] == b"PK\3\4" and _is_torch_zip(path)):
        return _need("torch", "pip install torch", _torch)
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") < 10**8:
        raise InputError(f"{path}: is a safetensors file: aloft reads it as it is")
    kinds = {b"PK\3\4": "a zip archive, but not one that torch wrote", b"\x89HDF": "an HDF5 file (Keras, old TensorFlow)"}
    what = kinds.get(head[:4], "neither a PyTorch file nor a GGUF")
    raise InputError(f"{path}: is {what}: a state dict (.pt, .pth, .bin) or a .gguf is needed")


def _is_torch_zip(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise InputError(f"{path}: is a damaged zip archive, perhaps cut short") from None


def _gguf() -> Callable[[Path], Checkpoint]:
    from .gguf_checkpoint import read_gguf

    return read_gguf


def _torch() -> Callable[[Path], Checkpoint]:
    from .pickled import read_pickled

    return read_pickled


def _need(library: str, how: str, load: Callable[[], Callable[[Path], Checkpoint]]) -> Callable[[Path], Checkpoint]:
    try:
        return load()
    except ModuleNotFoundError as error:
        if error.name != library:
            raise AloftError(f"converting needs {error.name}, which is not installed: {how}") from None
        raise AloftError(f"converting such a file needs {library}, which is not installed: {how}") from None


class _Progress:
    """A line on stderr every few seconds: how much was read, how fast, how long it will take."""

    def __init__(self, checkpoint: Checkpoint, shown: bool) -> None:
        self.total, self.shown = sum(w.size for w in checkpoint.weights.values()), shown
        self.done, self.begun = 0, time.monotonic()
        self.last = self.begun

    def add(self, size: int) -> None:
        self.done += size
        now = time.monotonic()
        if not self.shown or now - self.last < SECONDS_BETWEEN_LINES:
            return
        self.last = now
        rate = self.done / (now - self.begun)
        left = round((self.total - self.done) / rate)
        print(f"aloft: {self.done / 1e9:.2f} of {self.total / 1e9:.2f} GB, {rate / 1e6:.0f} MB/s, ETA {left // 60}:{left % 60:02}",
              file=sys.stderr, flush=True)


def _stored(weight: Weight, dtype: str, progress: _Progress) -> Stored:
    kept = weight.dtype
    width = BYTES[dtype] if kept is None else np.dtype(DTYPES[kept]).itemsize
    count = int(np.prod(weight.shape, dtype=np.int64))

    def data() -> np.ndarray[Any, np.dtype[np.uint8]]:
        values = weight.load()
        raw = narrowed(values, dtype) if kept is None else np.ascontiguousarray(values).tobytes()
        progress.add(weight.size)
        return np.frombuffer(raw, np.uint8)

    return Stored(dtype if kept is None else kept, weight.shape, data, width * count)
