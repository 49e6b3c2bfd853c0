"""A trial's results, one JSON object a line (JSON Lines), in a file that several workers append to.

A line is written whole, under a lock, by one call. What a killed writer left of a line has no newline at its end: readers
pass over it, and the next writer cuts it off. A line with an end that is no result is damage, and says so. JSON has no number for a
loss that is not finite: such a one, of a run that diverged, is null in the file and infinity to readers.
"""

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError

Result = dict[str, Any]  # arm, peak, steps, seed, history [[step, loss], ...], initial, final, and test where there is one
Key = tuple[str, float, int, int]  # arm, peak, steps, seed


def key_of(result: Result) -> Key:
    return result["arm"], result["peak"], result["steps"], result["seed"]


def finite_or_null(data: Any) -> Any:
    """The same with None for every number that is not finite: for JSON."""
    if isinstance(data, dict):
        return {key: finite_or_null(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [finite_or_null(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _loss(value: Any) -> float:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise TypeError(value)
    return float(value) if value is not None and math.isfinite(value) else math.inf


def _checked(line: bytes) -> Result:
    """ValueError, KeyError, TypeError or AttributeError for what is no result."""
    r: Result = json.loads(line)
    known = isinstance(r["arm"], str) and isinstance(r["steps"], int) and isinstance(r["seed"], int) and isinstance(r["peak"], (int, float))
    if not known or not r["history"]:
        raise ValueError(line)
    losses = {name: _loss(r[name]) for name in ("initial", "final", "test", "other") if name in r or name in ("initial", "final")}
    after = {"fragility": {size: _loss(loss) for size, loss in r["fragility"].items()}} if "fragility" in r else {}
    return r | losses | after | {"history": [[int(step), _loss(loss)] for step, loss in r["history"]]}


def read(path: str | os.PathLike[str]) -> dict[Key, Result]:
    """Every result by (arm, peak, steps, seed), sorted by that; of two of one job, the first. {} where there is no file."""
    path = Path(path)
    out: dict[Key, Result] = {}
    text = path.read_bytes() if path.exists() else b""
    *lines, _unfinished = text.split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            result = _checked(line)
            out.setdefault(key_of(result), result)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"trial: line {number} of {path} is no result: remove it, and its job will run again") from None
    return dict(sorted(out.items()))


def append(path: str | os.PathLike[str], result: Result) -> None:
    """Adds one line. Safe against other writers, and against being killed half-way."""
    line = json.dumps(finite_or_null(result)).encode() + b"\n"
    with _alone(path) as file:
        end = _end_of_last_line(file)
        os.ftruncate(file, end)
        while line:
            written = os.pwrite(file, line, end)
            line, end = line[written:], end + written
        os.fsync(file)


@contextlib.contextmanager
def _alone(path: str | os.PathLike[str]) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)  # and with it the lock


def _end_of_last_line(file: int, block: int = 1 << 16) -> int:
    end = os.fstat(file).st_size
    while end > 0:
        start = max(0, end - block)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
