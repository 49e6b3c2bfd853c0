"""Ids to run a model on: windows of a text, the same shuffled, and sequences of random tokens with and without a repetition."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AloftError, InputError, UsageError
from .runner import Ids

FORMATS = {"u16": "<u2", "u32": "<u4", "u64": "<u8"}  # as `aloft --format` has them
CHUNK = 1 << 22  # ids that are widened at a time


@dataclass(frozen=True)
class Sequences:
    """Each [windows, length]. Row k of `unrepeated` has the second half of row k of `repeated`; what comes before it is other."""

    corpus: Ids
    shuffled: Ids  # the tokens of each window in random order
    repeated: Ids  # length/2 tokens drawn by frequency, twice
    unrepeated: Ids  # length tokens drawn by frequency


def ids_of_file(path: Path, form: str | None, vocab: int) -> NDArray[Any]:
    """Raw little-endian ids, not all in memory. form: of FORMATS; None: by the file's extension. InputError where one is outside the
    vocabulary."""
    form = form or path.suffix.removeprefix(".")
    if form not in FORMATS:
        raise UsageError(f"attention: {path}: how wide its ids are is not known: give --format {', '.join(FORMATS)}")
    kind = np.dtype(FORMATS[form])
    size = path.stat().st_size
    if not size or size % kind.itemsize:
        raise InputError(f"attention: {path}: {size} bytes are no whole number of {form} ids: is it another format (--format)?")
    ids: NDArray[Any] = np.memmap(path, kind, "r")
    return _inside(ids, vocab, path)


def ids_of_text(path: Path, tokenizer: Path, vocab: int) -> NDArray[Any]:
    """The text's ids by a tokenizer.json, without tokens that mark its beginning or end."""
    if not tokenizer.is_file():
        raise InputError(f"attention: there is no {tokenizer} to read a text with: give ids (--ids FILE)")
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:
        raise AloftError("attention: a text needs tokenizers, which is not installed: pip install 'tools/python[attention]'") from None
    try:
        text = path.read_text(encoding="utf8")
    except UnicodeDecodeError as error:
        raise InputError(f"attention: {path}: not UTF-8 at byte {error.start}: give a text, or ids (--ids FILE)") from None
    try:
        encoded = Tokenizer.from_file(str(tokenizer)).encode(text, add_special_tokens=False).ids
    except Exception as error:  # the library has no exceptions of its own
        raise InputError(f"attention: {tokenizer}: {' '.join(str(error).split())[:200]}") from None
    return _inside(np.array(encoded, np.uint32), vocab, path)


def _inside(ids: NDArray[Any], vocab: int, path: Path) -> NDArray[Any]:
    for begin in range(0, len(ids), CHUNK):
        chunk = ids[begin:begin + CHUNK]
        if chunk.max() >= vocab:
            at = begin + int(np.argmax(chunk >= vocab))
            raise InputError(f"attention: {path}: id {int(ids[at])} at position {at} is not below the model's {vocab}: are the ids another "
                             "tokenizer's, or of another width (--format)?")
    return ids


def sequences(ids: NDArray[Any], windows: int, length: int, vocab: int, seed: int) -> Sequences:
    """Windows that do not overlap, drawn from everywhere. InputError where there are too few ids."""
    blocks = len(ids) // length
    if blocks < windows:
        raise InputError(f"attention: {len(ids)} ids hold {blocks} windows of {length}, and {windows} are asked for: give more ids, or "
                         "fewer --windows or a shorter --length")
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.choice(blocks, windows, replace=False)) * length
    corpus = np.stack([ids[s:s + length] for s in starts]).astype(np.int64)
    cumulative = np.cumsum(_counts(ids, vocab))

    def drawn(count: int) -> Ids:
        out: Ids = np.searchsorted(cumulative, rng.integers(cumulative[-1], size=(windows, count)), side="right")
        return out

    shuffled = rng.permuted(corpus, axis=1)
    second, before = drawn(length // 2), drawn(length - length // 2)
    return Sequences(corpus, shuffled, np.hstack([second, second]), np.hstack([before, second]))


def _counts(ids: NDArray[Any], vocab: int) -> Ids:
    out: Ids = np.zeros(vocab, np.int64)
    for begin in range(0, len(ids), CHUNK):
        out += np.bincount(ids[begin:begin + CHUNK].astype(np.int64), minlength=vocab)
    return out


def is_papers_folder(folder: Path) -> bool:
    """Whether model.json describes the model (papers/checkpoints.py)."""
    try:
        return "arch" in json.loads((folder / "model.json").read_text())
    except (OSError, ValueError, TypeError):
        return False
