"""How fragile an init is: what one optimiser step does to its loss.

Adam's first step moves every weight by the learning rate, along the sign of its gradient, whatever the gradient's size. A
design can be undone by that step: what is written to a small residual stream drowns in what the step writes there
(docs/science.md, section 5.4). `fragility` measures it.
"""

import copy
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .apply import apply_init
from .errors import AloftError, InputError, UsageError
from .names import init_file
from .tensors import DTYPES, FilePath, Stored, read_tensors

SIZES = (1e-4, 1e-3)
BREAK = 0xFFFFFFFF  # between documents, among the ids of a slice


def sign_steps(weights: Iterable[Any], gradient_loss: Callable[[], Any], held_loss: Callable[[], float],
               sizes: Sequence[float] = SIZES) -> dict[str, float]:
    """held_loss() after one step of each size against the sign of gradient_loss()'s gradient, on all of `weights` (torch
    parameters) but frozen ones, keyed by the size ("0.0001"). The weights are as before afterwards, without gradients."""
    import torch

    weights = [w for w in weights if w.requires_grad]
    if not weights:
        raise UsageError("fragility: no parameter of the model requires a gradient")
    for w in weights:
        w.grad = None
    with torch.enable_grad():
        loss = gradient_loss()
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.requires_grad:
            raise UsageError("fragility: the loss is to be one number that depends on the parameters (a torch tensor)")
        loss.backward()
    moved = [(w, w.detach().clone(), w.grad.sign()) for w in weights if w.grad is not None]
    out = {}
    try:
        for size in sizes:
            with torch.no_grad():
                for w, start, sign in moved:
                    w.copy_(start - size * sign)
            out[f"{size:.9g}"] = float(held_loss())
    finally:
        with torch.no_grad():
            for w, start, _ in moved:
                w.copy_(start)
                w.grad = None
    return out


def fragility(model: Any, file: FilePath, ids: Any = None, *, sizes: Sequence[float] = SIZES, context: int | None = None,
              loss: Callable[[Any, Any], Any] | None = None) -> dict[str, float]:
    """The loss (nats a token) of `model` with the init of `file` (init.safetensors or its run's folder) before any step
    ("before"), and after one step of each size against the gradient's sign on all weights ("0.0001", "0.001").

    model: a torch module as apply_init() takes it; it is copied, and left alone. ids: token ids of text that the model knows
    nothing of (a 1-D array of integers); the first half gives the gradient, the second the losses, in windows of `context`
    tokens (default: 256, or the model's context where that is shorter and known). Without them: the slice of the corpus that
    the run's own counts held out. loss: (model, windows [n, length + 1]) -> mean cross-entropy; only needed for models that
    are neither Hugging Face's nor nanoGPT's nor return logits. Raises what apply_init() raises, and UsageError or InputError
    where the ids, sizes or the model do not do.
    """
    import torch

    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"fragility: a torch module is needed, and no {type(model).__name__}")
    if not isinstance(sizes, (list, tuple)) or not all(isinstance(s, (int, float)) and 0 < s < 1e6 for s in sizes):
        raise UsageError("fragility: sizes are to be a list of numbers above 0")
    if context is not None and (not isinstance(context, int) or context < 1):
        raise UsageError(f"fragility: context is to be a whole number above 0, and is {context!r}")
    if not os.path.isfile(init_file(file)):
        raise UsageError(f"fragility: {os.fspath(file)} is not there: give init.safetensors, or its run's folder")
    length = context or min(256, _context_of(model, file))
    windows = _windows(ids, length) if ids is not None else _held_out(file, length)
    if len(windows) < 2:
        raise UsageError(f"fragility: {len(windows)} windows of {windows.shape[1] - 1} tokens are too few: give more ids")
    try:
        mine = copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise UsageError(f"fragility: the model cannot be copied: {error}") from None
    apply_init(mine, file)
    _refuse_foreign_ids(windows, file)
    device = next(mine.parameters()).device
    tokens = torch.from_numpy(windows.astype(np.int64)).to(device)
    first, second = tokens[: len(tokens) // 2], tokens[len(tokens) // 2 :]
    of = loss or next_token_loss
    mine.eval()  # no dropout

    def held() -> float:
        with torch.no_grad():
            return float(sum(of(mine, part).item() * len(part) for part in second.split(16)) / len(second))

    try:
        return {"before": held()} | sign_steps(mine.parameters(), lambda: of(mine, first[:16]), held, sizes)
    except AloftError:
        raise
    except Exception as error:  # of a stranger's model or loss: whatever they raise
        raise UsageError(f"fragility: the model, or its loss, failed on windows of {windows.shape[1] - 1} tokens: {error}") from error


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


def _context_of(model: Any, file: FilePath) -> int:
    """Tokens that the model takes, as its config or the run's manifest says; 256 where neither does."""
    config = getattr(model, "config", None)
    for name in ("max_position_embeddings", "n_positions", "block_size"):
        if isinstance(value := getattr(config, name, None), int):
            return value
    try:
        return int(json.loads((_folder_of(file) / "manifest.json").read_text())["manifest"]["model"]["context"])
    except (OSError, ValueError, KeyError, TypeError):
        return 256


def _folder_of(file: FilePath) -> Path:
    return Path(file) if os.path.isdir(file) else Path(file).parent


def _windows(ids: Any, context: int) -> Any:
    """[n, context + 1]"""
    if hasattr(ids, "detach"):
        ids = ids.detach().cpu()
    try:
        array = np.asarray(ids)
    except (ValueError, TypeError):
        raise UsageError("fragility: ids are to be an array of integers") from None
    if array.ndim != 1:
        raise UsageError(f"fragility: ids are to be one array of one dimension, and these have {array.ndim}")
    if array.dtype.kind not in "iu":
        raise UsageError(f"fragility: ids are to be integers, and these are {array.dtype}")
    count = (len(array) - 1) // context
    return np.stack([array[i * context : (i + 1) * context + 1] for i in range(count)]) if count > 0 else np.zeros((0, context + 1), np.int64)


def _refuse_foreign_ids(windows: Any, file: FilePath) -> None:
    """Ids that the design's tables have no row for."""
    tensors, metadata = read_tensors(init_file(file))
    names = metadata.get("tables", "").split()
    rows = next((tensors[name].shape[0] for name in names[:2] if name in tensors), None)
    if int(windows.min()) < 0 or (rows is not None and int(windows.max()) >= rows):
        raise InputError(f"fragility: an id is {int(windows.min()) if int(windows.min()) < 0 else int(windows.max())}, and the design has "
                         f"{rows if rows is not None else 'no'} tokens: give ids of its vocabulary")


def _held_out(file: FilePath, context: int) -> Any:
    """Windows of the slice in the counts beside `file`: runs of tokens, cut to one length."""
    counts = _folder_of(file) / "counts.safetensors"
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
