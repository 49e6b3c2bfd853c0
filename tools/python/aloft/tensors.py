"""safetensors files as numpy arrays, BF16 included (which numpy does not know)."""

import json
import math
import os
import struct

import numpy as np

DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I16": np.int16,
          "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_}


class InitError(ValueError):
    """A file that does not fit, or is none; the message says which, why, and what to do."""


class Stored:
    """A tensor as it lies in the file."""

    def __init__(self, dtype, shape, data):
        self.dtype, self.shape, self.data = dtype, tuple(shape), data


def read_tensors(path):
    """name -> Stored, and the file's metadata. InitError when it is no safetensors file."""
    with open(path, "rb") as file:
        prefix = file.read(8)
        size = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= size <= os.path.getsize(path) - 8:
            raise InitError(f"{path}: not a safetensors file")
        try:
            header = json.loads(file.read(size))
        except ValueError as error:
            raise InitError(f"{path}: not a safetensors file: {error}") from None
        data = np.memmap(path, np.uint8, "r", offset=8 + size) if os.path.getsize(path) > 8 + size else np.empty(0, np.uint8)
    try:
        metadata = header.pop("__metadata__", {})
        out = {name: _stored(info, data) for name, info in header.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InitError(f"{path}: a damaged header: {error}") from None
    return out, metadata


def _stored(info, data):
    begin, end = info["data_offsets"]
    item = 2 if info["dtype"] == "BF16" else np.dtype(DTYPES[info["dtype"]]).itemsize
    if not 0 <= begin <= end <= len(data) or end - begin != item * math.prod(info["shape"]):
        raise ValueError(f"{info} does not fit into {len(data)} bytes")
    return Stored(info["dtype"], info["shape"], data[begin:end])


def widened(stored):
    """float32 values of a floating tensor."""
    if stored.dtype == "BF16":
        bits = stored.data.view(np.uint16).astype(np.uint32) << 16
        return bits.view(np.float32).reshape(stored.shape)
    if stored.dtype not in ("F64", "F32", "F16"):
        raise InitError(f"a tensor of {stored.dtype} holds no weights")
    return stored.data.view(DTYPES[stored.dtype]).reshape(stored.shape).astype(np.float32)


def narrowed(values, dtype):
    """Raw bytes of float32 values as `dtype`; BF16 rounds to nearest even, what is too large becomes infinite."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes()
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values).astype(DTYPES[dtype]).tobytes()


def write_tensors(path, tensors, metadata):
    """tensors: name -> Stored. Written beside `path` first, then renamed: never half a file."""
    header, offset = {"__metadata__": dict(metadata)}, 0
    for name, t in tensors.items():
        size = len(t.data)
        header[name] = {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    partial = f"{path}.partial-{os.getpid()}"
    with open(partial, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            file.write(memoryview(np.ascontiguousarray(t.data)) if isinstance(t.data, np.ndarray) else t.data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
