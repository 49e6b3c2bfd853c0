"""safetensors files as numpy arrays, BF16 included (which numpy does not know)."""

import functools
import json
import math
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InitError
from .unfinished import unfinished_name

FilePath = str | os.PathLike[str]
Bytes = NDArray[np.uint8]
DTYPES: dict[str, Any] = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I16": np.int16,
          "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_}
WEIGHTS = ("F64", "F32", "F16", "BF16")  # what can hold weights as they are
# What numpy does not know is copied from file to file as it is: bits of an element.
BITS = {"BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
        "C64": 64}


class _Source:
    """A file, open as long as a tensor of it is in use: what replaces it under its name later is not read."""

    def __init__(self, path: FilePath) -> None:
        self.path, self.file = path, open(path, "rb", buffering=0)
        self.size = os.fstat(self.file.fileno()).st_size

    def read(self, begin: int, count: int) -> Bytes:
        """Not mapped: a file that is cut meanwhile would be a signal, and here is an error."""
        out = np.empty(count, np.uint8)
        view, done = out.data, 0
        self.file.seek(begin)
        while done < count and (got := self.file.readinto(view[done:])):  # 2 GiB at a time
            done += got
        if done < count:
            raise InitError(f"{self.path}: ends at byte {begin + done}, while it was read: is it still being written?")
        return out

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()


class Stored:
    """A tensor as it lies in a file, or new. `data`: its bytes, read when they are asked for."""

    def __init__(self, dtype: str, shape: tuple[int, ...], data: Bytes | Callable[[], Bytes], size: int | None = None) -> None:
        self.dtype, self.shape, self._data = dtype, shape, data
        self.size = len(data) if isinstance(data, np.ndarray) else size or 0  # bytes

    @property
    def data(self) -> Bytes:
        return self._data if isinstance(self._data, np.ndarray) else self._data()


def read_tensors(path: FilePath) -> tuple[dict[str, Stored], dict[str, str]]:
    """name -> Stored, and the file's metadata. InitError when it is no safetensors file."""
    source = _Source(path)
    size = struct.unpack("<Q", source.read(0, 8).tobytes())[0] if source.size >= 8 else 0
    if not 2 <= size <= source.size - 8:
        raise InitError(f"{path}: not a safetensors file")
    try:
        header = json.loads(source.read(8, size).tobytes())
    except (ValueError, RecursionError) as error:
        raise InitError(f"{path}: not a safetensors file: {error}") from None
    try:
        metadata = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
        for name, info in header.items():
            if isinstance(info["dtype"], str) and info["dtype"] not in DTYPES and info["dtype"] not in BITS:
                raise InitError(f"{path}: {name} is {info['dtype']}, a type that is not known here")
        out = {name: _stored(info, source, 8 + size) for name, info in header.items()}
    except InitError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InitError(f"{path}: a damaged header: {error}") from None
    return out, metadata


def _stored(info: dict[str, Any], source: _Source, start: int) -> Stored:
    begin, end = info["data_offsets"]
    bits = BITS.get(info["dtype"]) or 8 * np.dtype(DTYPES[info["dtype"]]).itemsize
    if any(type(size) is not int or size < 0 for size in [*info["shape"], begin, end]):
        raise ValueError(f"{info}: sizes and offsets are whole numbers, none negative")
    if not begin <= end <= source.size - start or 8 * (end - begin) != bits * math.prod(info["shape"]):
        raise ValueError(f"{info} does not fit into {source.size - start} bytes")
    return Stored(info["dtype"], tuple(info["shape"]), functools.partial(source.read, start + begin, end - begin), end - begin)


def widened(stored: Stored) -> NDArray[np.float32]:
    """float32 values of a floating tensor."""
    if stored.dtype == "BF16":
        wide = stored.data.view(np.uint16).astype(np.uint32) << 16
        return wide.view(np.float32).reshape(stored.shape)
    if stored.dtype not in WEIGHTS:
        raise InitError(f"a tensor of {stored.dtype} holds no weights")
    values: NDArray[Any] = stored.data.view(DTYPES[stored.dtype])
    return values.reshape(stored.shape).astype(np.float32)


def narrowed(values: NDArray[np.float32], dtype: str) -> bytes:
    """Raw bytes of float32 values as `dtype`; BF16 rounds to nearest even, what is too large becomes infinite."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes()
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values).astype(DTYPES[dtype]).tobytes()


def fits_dtype(values: NDArray[np.float32], rounded: NDArray[np.float32]) -> bool:
    """Whether a type holds these values: no further from them than BF16 takes them, by the largest of them."""
    with np.errstate(invalid="ignore"):
        difference = float(np.abs(rounded - values).max(initial=0))
    return difference <= 2**-7 * max(float(np.abs(values).max(initial=0)), 1e-30)


def write_tensors(path: FilePath, tensors: Mapping[str, Stored], metadata: Mapping[str, str]) -> None:
    """tensors: name -> Stored. Written beside `path` first, then renamed: never half a file."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, t in tensors.items():
        size = t.size
        header[name] = {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    partial = unfinished_name(Path(path))
    try:
        with open(partial, "xb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for t in tensors.values():
                file.write(np.ascontiguousarray(t.data).data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
