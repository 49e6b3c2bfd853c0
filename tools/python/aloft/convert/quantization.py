"""How far a quantised tensor must be from what was quantised.

A stored weight stands for every number that rounds to it: those within half a step of the grid of its block. If the number was
anywhere there with equal chance, its square distance from the middle is step²/12 on average (the variance of a uniform number;
Bennett, "Spectra of quantized signals", 1948). So the relative Frobenius error to expect is

    sqrt(Σ step² / 12) / ‖stored‖

with the step of each weight. It is read off the file itself: the codes of a block are set to 0 and to 1, both are dequantised, and
the difference is the step, whatever the type makes of its scales. Numbers beyond the last code of a block were cut off to it, and
scales that were searched for the least error of important weights err more elsewhere: neither is in the figure, which is why it is
called a floor, not a bound. F16 and BF16 count by the spacing of their numbers; F32 counts as exact. Types without an even grid
(IQ..., TQ..., MXFP4) have no figure."""

import math

import numpy as np
from gguf import GGML_QUANT_SIZES, quants
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray

from ..errors import InputError

ROWS_BYTES = 1 << 18  # handled at a time
# type -> (bytes of a block that are codes: begin, end), (those with the codes' lowest bits), the pattern that sets all of these
CODES = {Type.Q4_0: ((2, 18), (2, 18), 0x11), Type.Q4_1: ((4, 20), (4, 20), 0x11), Type.Q5_0: ((2, 22), (6, 22), 0x11),
         Type.Q5_1: ((4, 24), (8, 24), 0x11), Type.Q8_0: ((2, 34), (2, 34), 0x01), Type.Q2_K: ((16, 80), (16, 80), 0x55),
         Type.Q3_K: ((0, 96), (32, 96), 0x55), Type.Q4_K: ((16, 144), (16, 144), 0x11), Type.Q5_K: ((16, 176), (48, 176), 0x11),
         Type.Q6_K: ((0, 192), (0, 128), 0x11)}
PLAIN = (Type.F32, Type.F16, Type.BF16)
METHOD = "sqrt(sum(step^2)/12)/norm, step: of the block's grid around each weight"


def is_weight(kind: Type) -> bool:
    return kind in PLAIN or (kind.name[0] not in "IF" or kind.name.startswith("IQ"))  # no I8, I32, F64


def dequantised(rows: NDArray[np.uint8], kind: Type, what: str) -> tuple[NDArray[np.float32], float | None]:
    """rows: [n, bytes of a row] -> float32 [n, columns], and the relative error to expect (None: not known). what: for errors."""
    parts, error, norm, known = [], 0.0, 0.0, True
    at_once = max(1, ROWS_BYTES // max(1, rows.shape[1]))
    try:
        for begin in range(0, len(rows), at_once):
            part = np.ascontiguousarray(rows[begin:begin + at_once])
            values = np.asarray(quants.dequantize(part, kind), np.float32).reshape(len(part), -1)
            steps = _steps(part, values, kind)
            known = known and steps is not None
            if steps is not None:
                error += float(np.sum(np.square(steps, dtype=np.float64))) / 12
            norm += float(np.sum(np.square(values, dtype=np.float64)))
            parts.append(values)
    except NotImplementedError:
        raise InputError(f"{what}: is {kind.name}, which the installed gguf package cannot read: another quantisation is needed") from None
    if not math.isfinite(norm):
        raise InputError(f"{what}: holds numbers that are not finite: the file is damaged")
    return np.concatenate(parts), math.sqrt(error / norm) if known and norm > 0 else (0.0 if known else None)


def _steps(rows: NDArray[np.uint8], values: NDArray[np.float32], kind: Type) -> NDArray[np.float32] | None:
    """The distance of neighbouring numbers of the grid, at each weight."""
    if kind == Type.F32:
        return np.zeros(1, np.float32)
    if kind == Type.F16:
        return np.asarray(np.spacing(np.abs(values).astype(np.float16)), np.float32)
    if kind == Type.BF16:
        return np.asarray(np.ldexp(np.float32(1), np.frexp(values)[1] - 8) * (values != 0), np.float32)
    if kind not in CODES:
        return None
    (begin, end), (low, high), pattern = CODES[kind]
    codes = rows.copy()  # whole rows: gguf goes through them some at a time, and blocks by themselves would be many
    blocks = codes.reshape(-1, GGML_QUANT_SIZES[kind][1])
    blocks[:, begin:end] = 0
    zero = quants.dequantize(codes, kind)
    blocks[:, low:high] = pattern
    return np.asarray(np.abs(quants.dequantize(codes, kind) - zero), np.float32)
