"""How fragile an init is: what one optimiser step does to its loss.

Adam's first step moves every weight by the learning rate, along the sign of its gradient, whatever the gradient's size. A
design can be undone by that step: what is written to a small residual stream drowns in what the step writes there
(docs/science.md, section 5.4). `fragility` measures it.
"""

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .apply import apply_init
from .errors import InputError, UsageError
from .tensors import DTYPES, FilePath, Stored, read_tensors

SIZES = (1e-4, 1e-3)
BREAK = 0xFFFFFFFF  # between documents, among the ids of a slice


def sign_steps(weights: Iterable[Any], gradient_loss: Callable[[], Any], held_loss: Callable[[], float],
               sizes: Sequence[float] = SIZES) -> dict[str, float]:
    """held_loss() after one step of each size against the sign of gradient_loss()'s gradient, on all of `weights` (torch
    parameters), keyed by the size ("0.0001"). The weights are as before afterwards, without gradients."""
    import torch

    weights = [w for w in weights if w.requires_grad]
    for w in weights:
        w.grad = None
    gradient_loss().backward()
    moved = [(w, w.detach().clone(), w.grad.sign()) for w in weights if w.grad is not None]
    out = {}
    try:
        for size in sizes:
            with torch.no_grad():
                for w, start, sign in moved:
                    w.copy_(start - size * sign)
            out[f"{size:g}"] = float(held_loss())
    finally:
        with torch.no_grad():
            for w, start, _ in moved:
                w.copy_(start)
                w.grad = None
    return out


def fragility(model: Any, file: FilePath, ids: Any = None, *, sizes: Sequence[float] = SIZES, context: int = 256,
              loss: Callable[[Any, Any], Any] | None = None) -> dict[str, float]:
    """The loss (nats a token) of `model` with the init of `file` (init.safetensors or its run's folder) before any step
    ("before"), and after one step of each size against the gradient's sign on all weights ("0.0001", "0.001").

    model: a torch module as apply_init() takes it; it is copied, and left alone. ids: token ids of text that the model knows
    nothing of (a 1-D array); the first half gives the gradient, the second the losses, in windows of `context` tokens.
    Without them: the slice of the corpus that the run's own counts held out. loss: (model, windows [n, length + 1]) -> mean
    cross-entropy; only needed for models that are neither Hugging Face's nor nanoGPT's nor return logits.
    Raises what apply_init() raises, and UsageError where there are no ids or too few.
    """
    import torch

    mine = copy.deepcopy(model)
    apply_init(mine, file)
    windows = _windows(np.asarray(ids), context) if ids is not None else _held_out(file, context)
    if len(windows) < 2:
        raise UsageError(f"fragility: {len(windows)} windows of {windows.shape[1] - 1} tokens are too few: give more ids")
    device = next(mine.parameters()).device
    tokens = torch.from_numpy(windows.astype(np.int64)).to(device)
    first, second = tokens[: len(tokens) // 2], tokens[len(tokens) // 2 :]
    of = loss or next_token_loss
    mine.eval()  # no dropout

    def held() -> float:
        with torch.no_grad():
            return float(sum(of(mine, part).item() * len(part) for part in second.split(16)) / len(second))

    return {"before": held()} | sign_steps(mine.parameters(), lambda: of(mine, first[:16]), held, sizes)


def next_token_loss(model: Any, tokens: Any) -> Any:
    """Mean cross-entropy of windows [n, length + 1] by a model that returns logits, alone, first in a tuple, or as `.logits`
    (Hugging Face); nanoGPT, which makes them for the last place only, is asked for its own loss."""
    from torch.nn import functional

    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    out = model(inputs)
    logits = out.logits if hasattr(out, "logits") else out[0] if isinstance(out, tuple) else out
    if logits.shape[1] != inputs.shape[1]:
        return model(inputs, targets.contiguous())[1]
    return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def _windows(ids: Any, context: int) -> Any:
    """[n, context + 1]"""
    if ids.ndim != 1:
        raise UsageError(f"fragility: ids are to be one array of one dimension, and these have {ids.ndim}")
    count = (len(ids) - 1) // context
    return np.stack([ids[i * context : (i + 1) * context + 1] for i in range(count)]) if count > 0 else np.zeros((0, context + 1), np.int64)


def _held_out(file: FilePath, context: int) -> Any:
    """Windows of the slice in the counts beside `file`: runs of tokens, cut to one length."""
    folder = Path(file) if os.path.isdir(file) else Path(file).parent
    counts = folder / "counts.safetensors"
    if not counts.exists():
        raise UsageError(f"fragility: {counts} is not there, which holds a slice of the corpus: give ids")
    tensors, _ = read_tensors(counts)
    if not {"holdout.ids", "holdout.blocks"} <= tensors.keys():
        raise InputError(f"fragility: {counts} holds no slice of its corpus: give ids")
    ids, blocks = (_integers(tensors[name]) for name in ("holdout.ids", "holdout.blocks"))
    lengths = blocks[:, 1:].sum(1)
    length = min(int(np.median(lengths)) if len(lengths) else 0, context + 1)
    runs = [ids[first : first + length] for first, have in zip(blocks[:, 0], lengths) if have >= length]
    whole = [run for run in runs if not (run == BREAK).any()]
    return np.stack(whole) if whole and length > 1 else np.zeros((0, 2), np.int64)


def _integers(stored: Stored) -> Any:
    return np.frombuffer(stored.data, DTYPES[stored.dtype]).reshape(stored.shape).astype(np.int64)
