"""The header of a GGUF, checked against the file's length before anything is believed. Data are read when asked for.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray

from ..errors import InputError

STRING, ARRAY = 8, 9
SCALARS = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8"}
MOST_TENSORS, MOST_KEYS, MOST_DIMENSIONS = 10**6, 10**5, 4


@dataclass(frozen=True)
class Tensor:
    """shape: as Hugging Face has it, rows first (GGUF says the columns first). Bytes [begin, begin + size) of the file."""

    name: str
    type: GGMLQuantizationType
    shape: tuple[int, ...]
    begin: int
    size: int


class GgufFile:
    """metadata: key -> number, string, boolean, or a list of them. tensors: name -> Tensor, in the file's order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "rb") as file:
            header = _Header(path, file)
            self.metadata, self.tensors = header.metadata, header.tensors

    def rows(self, tensor: Tensor) -> NDArray[np.uint8]:
        """[rows, bytes of a row]: the tensor's bytes as they lie in the file."""
        with open(self.path, "rb", buffering=0) as file:
            data = np.fromfile(file, np.uint8, tensor.size, offset=tensor.begin)
        if len(data) != tensor.size:
            raise InputError(f"{self.path}: ends within {tensor.name}, while it was read: is it still being written?")
        return data.reshape(int(np.prod(tensor.shape[:-1], dtype=np.int64)), -1)


class _Header:
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.size = os.fstat(file.fileno()).st_size
        magic, version = self.take(4), self.number("<I")
        if magic != b"GGUF" or version not in (2, 3):
            raise InputError(f"{path}: is no GGUF of version 2 or 3 (version {version})")
        tensors, keys = self.number("<Q"), self.number("<Q")
        if tensors > MOST_TENSORS or keys > MOST_KEYS:
            raise InputError(f"{path}: a damaged header: {tensors} tensors, {keys} keys")
        self.metadata: dict[str, Any] = {}
        for _ in range(keys):
            key = self.text()
            if key in self.metadata:
                raise InputError(f"{path}: a damaged header: the key {key} appears twice")
            self.metadata[key] = self.value(self.number("<I"))
        found = [self.tensor() for _ in range(tensors)]
        self.tensors = {t.name: t for t in self.placed(found)}

    def take(self, count: int) -> bytes:
        if count > self.size - self.file.tell():
            raise InputError(f"{self.path}: a damaged header, or a file cut short: {count} bytes are to follow at {self.file.tell()}, "
                             f"the file has {self.size}")
        return self.file.read(count)

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def text(self) -> str:
        try:
            return self.take(self.number("<Q")).decode("utf8")
        except UnicodeDecodeError:
            raise InputError(f"{self.path}: a damaged header: a name before byte {self.file.tell()} is no UTF-8") from None

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            inner, count = self.number("<I"), self.number("<Q")
            if inner == STRING:
                if 8 * count > self.size - self.file.tell():
                    raise InputError(f"{self.path}: a damaged header: {count} strings do not fit into the file")
                # a tokenizer's tokens: the text of one may be no UTF-8 by itself
                return [self.take(self.number("<Q")).decode("utf8", errors="replace") for _ in range(count)]
            return self.scalars(inner, count)
        return self.scalars(kind, 1)[0]

    def scalars(self, kind: int, count: int) -> list[Any]:
        if kind not in SCALARS:
            raise InputError(f"{self.path}: a damaged header: there is no type {kind} of values")
        dtype = np.dtype(SCALARS[kind])
        return list(np.frombuffer(self.take(count * dtype.itemsize), dtype).tolist())

    def tensor(self) -> Tensor:
        name, dimensions = self.text(), self.number("<I")
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise InputError(f"{self.path}: {name} has {dimensions} dimensions, at most {MOST_DIMENSIONS} are known")
        shape = tuple(reversed([self.number("<Q") for _ in range(dimensions)]))
        kind, offset = self.number("<I"), self.number("<Q")
        try:
            block, width = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        except (ValueError, KeyError):
            raise InputError(f"{self.path}: {name} is of type {kind}, which the installed gguf package does not know: a newer one may"
                             ) from None
        elements = 1
        for extent in shape:
            elements *= extent
        if shape[-1] % block:
            raise InputError(f"{self.path}: {name}: rows of {shape[-1]} are no whole blocks of {block}")
        return Tensor(name, GGMLQuantizationType(kind), shape, offset, elements // block * width)

    def placed(self, tensors: list[Tensor]) -> list[Tensor]:
        """With the data's begin added, each within the file."""
        align = self.metadata.get("general.alignment", 32)
        if type(align) is not int or align < 1 or align & (align - 1):
            raise InputError(f"{self.path}: general.alignment {align} is no power of two")
        start = -(-self.file.tell() // align) * align
        out = []
        for t in tensors:
            if start + t.begin + t.size > self.size:
                raise InputError(f"{self.path}: {t.name} ends at byte {start + t.begin + t.size}, the file has {self.size}: "
                                 "it was cut short")
            out.append(Tensor(t.name, t.type, t.shape, start + t.begin, t.size))
        if len({t.name for t in out}) != len(out):
            raise InputError(f"{self.path}: a damaged header: a tensor's name appears twice")
        return out
