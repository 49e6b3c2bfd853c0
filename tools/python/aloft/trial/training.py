"""One training run: the protocol that every arm goes through, identically.

AdamW (0.9, 0.95; decay 0.1 on matrices), linear warm-up, cosine to a tenth of the peak, completed at the budget; gradient
norm clipped at 1. Batches are drawn by the seed alone, so that all arms see the same data in the same order.
"""

import copy
import io
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, UsageError
from .corpus import Ids
from .loss import next_token_loss
from .models import Model

History = list[list[float]]  # [step, validation loss] of each evaluation
Progress = Callable[[int, float], None]  # called before every step and after the last with its number and the last validation loss


def windows(ids: Ids, context: int, count: int, first: int = 0, drawn: bool = False) -> Tensor:
    """`count` non-overlapping windows [count, context + 1] of held-out ids, from the window numbered `first` on. drawn: they
    are numbered in an order drawn once for all, so that any number of them comes from everywhere in the text."""
    if count < 1:
        raise InputError(f"trial: section training: validation_tokens is to be at least the context, {context}")
    if (first + count) * context + 1 > len(ids):
        raise InputError(f"{first + count} windows of {context} tokens and one more need {(first + count) * context + 1} "
                         f"held-out tokens; there are {len(ids)}: ask for fewer, or give a longer text")
    order = np.random.default_rng(0).permutation((len(ids) - 1) // context) if drawn else np.arange(first + count)
    return torch.from_numpy(np.stack([ids[i * context : (i + 1) * context + 1] for i in order[first : first + count]]).astype(np.int64))


def validation_loss(model: Model, held: Tensor, batch: int = 40, bf16: bool = False) -> float:
    """Mean cross-entropy in nats over all next tokens of the windows."""
    model.eval()
    total = 0.0
    with torch.no_grad():
        for part in held.split(batch):
            total += next_token_loss(model, part, bf16).item() * len(part)
    model.train()
    return float(total / len(held))


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    return peak * min(1, (step + 1) / warmup) * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1, step / max(steps, 1)))))


def optimizers_of(model: Model, name: str, peak: float) -> list[torch.optim.Optimizer]:
    """adamw: AdamW on everything. muon: Muon on the blocks' matrices, its steps at the size of Adam's (so that one rate does
    for both), AdamW on tables and gains."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    tables = {id(p) for p in model.tables()}
    by_muon = [p for p in matrices if id(p) not in tables] if name == "muon" else []
    if name not in ("adamw", "muon"):
        raise InputError(f"trial: section training: optimizer {name} is neither adamw nor muon")
    if by_muon and not hasattr(torch.optim, "Muon"):
        raise UsageError(f"trial: optimizer muon needs torch 2.9 or later (this is {torch.__version__})")
    muons = {id(p) for p in by_muon}
    out: list[torch.optim.Optimizer] = [torch.optim.AdamW(
        [{"params": [p for p in matrices if id(p) not in muons], "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=peak, betas=(0.9, 0.95))]
    if by_muon:
        out.append(torch.optim.Muon(by_muon, lr=peak, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"))
    return out


class Unfinished:
    """The state of a run under way in a file, from which it goes on; none where path is None."""

    def __init__(self, path: Path | None, model: Model, optimizers: Sequence[torch.optim.Optimizer], generator: torch.Generator,
                 every: int) -> None:
        self.path, self.parts, self.generator, self.every = path, [model, *optimizers], generator, every

    def save(self, step: int, history: History) -> None:
        if self.path is None or step == 0 or step % self.every:
            return
        partial = self.path.with_suffix(".partial")
        state = io.BytesIO()  # torch's own writing of a file says of a full disk that a stream failed
        torch.save({"step": step, "history": history, "generator": self.generator.get_state(),
                    "parts": [part.state_dict() for part in self.parts]}, state)
        partial.write_bytes(state.getbuffer())
        os.replace(partial, self.path)

    def load(self) -> tuple[int, History]:
        """Step and history to go on from. What cannot be read is begun anew."""
        if self.path is None or not self.path.exists():
            return 0, []
        fresh = [copy.deepcopy(part.state_dict()) for part in self.parts]
        try:
            state = torch.load(self.path, map_location="cpu")
            for part, saved in zip(self.parts, [state["parts"][i] for i in range(len(self.parts))]):
                part.load_state_dict(saved)
            step, history = int(state["step"]), [[int(at), float(loss)] for at, loss in state["history"]]
            self.generator.set_state(state["generator"])
            return step, history
        except Exception:  # torch raises many kinds for a file that is cut off, or holds something else
            for part, saved in zip(self.parts, fresh):
                part.load_state_dict(saved)
            return 0, []

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def train(model: Model, ids: Ids, held: Tensor, *, steps: int, peak: float, seed: int, batch: int, context: int, warmup: int = 50,
          every: int = 25, device: str = "cpu", optimizer: str = "adamw", bf16: bool = False, state: Path | None = None,
          save_every: int = 100, progress: Progress | None = None) -> History:
    """Trains in place. ids: uint16/32 array of the training stream. Returns [[step, validation loss], ...]. state: a file
    that holds the run every `save_every` steps; a run whose file is there goes on from it, to the same result."""
    generator = torch.Generator().manual_seed(1000 + seed)
    stream = torch.from_numpy(ids.astype(np.int64))
    optimizers = optimizers_of(model, optimizer, peak)
    unfinished = Unfinished(state, model, optimizers, generator, save_every)
    first, history = unfinished.load()
    held = held.to(device)
    for step in range(first, steps + 1):
        if step > first:
            unfinished.save(step, history)
        if (step % every == 0 or step == steps) and not (history and history[-1][0] == step):
            history.append([step, validation_loss(model, held, bf16=bf16)])
        if progress:
            progress(step, history[-1][1])
        if step == steps:
            break
        for group in [g for o in optimizers for g in o.param_groups]:
            group["lr"] = learning_rate(step, steps, peak, warmup)
        loss = next_token_loss(model, training_batch(stream, batch, context, generator).to(device), bf16)
        for o in optimizers:
            o.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for o in optimizers:
            o.step()
    unfinished.remove()
    return history


def training_batch(stream: Tensor, batch: int, context: int, generator: torch.Generator) -> Tensor:
    """Windows [batch, context + 1] of the training stream, where the generator says."""
    if len(stream) < context + 2:
        raise InputError(f"trial: the text to train on has {len(stream)} tokens, and a window of {context} needs more: give a longer text")
    at = torch.randint(0, len(stream) - context - 1, (batch,), generator=generator)
    return torch.stack([stream[i : i + context + 1] for i in at])
