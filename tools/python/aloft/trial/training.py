"""One training run: the protocol that every arm goes through, identically.

AdamW (0.9, 0.95; decay 0.1 on matrices), linear warm-up, cosine to a tenth of the peak, completed at the budget; gradient
norm clipped at 1. Batches are drawn by the seed alone, so that all arms see the same data in the same order.
"""

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from .corpus import Ids
from .models import Model

History = list[list[float]]  # [step, validation loss] of each evaluation
Progress = Callable[[int, float, float], None]  # called with the step, its validation loss, the seconds so far


def windows(ids: Ids, context: int, count: int, first: int = 0) -> Tensor:
    """`count` non-overlapping windows [count, context + 1] of held-out ids, from the window numbered `first` on."""
    if (first + count) * context + 1 > len(ids):
        raise InputError(f"{first + count} windows of {context} tokens and one more need {(first + count) * context + 1} "
                         f"held-out tokens; there are {len(ids)}: ask for fewer, or give a longer text")
    return torch.from_numpy(np.stack([ids[i * context : (i + 1) * context + 1] for i in range(first, first + count)]).astype(np.int64))


def validation_loss(model: Model, held: Tensor, batch: int = 40) -> float:
    """Mean cross-entropy in nats over all next tokens of the windows."""
    model.eval()
    total = 0.0
    with torch.no_grad():
        for part in held.split(batch):
            logits = model(part[:, :-1])
            total += F.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum").item()
    model.train()
    return float(total / (held.shape[0] * (held.shape[1] - 1)))


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    return peak * min(1, (step + 1) / warmup) * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1, step / max(steps, 1)))))


def train(model: Model, ids: Ids, held: Tensor, *, steps: int, peak: float, seed: int, batch: int, context: int, warmup: int = 50,
          every: int = 25, device: str = "cpu", progress: Progress | None = None) -> History:
    """Trains in place. ids: uint16/32 array of the training stream. Returns [[step, validation loss], ...]."""
    generator = torch.Generator().manual_seed(1000 + seed)
    stream = torch.from_numpy(ids.astype(np.int64))
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], lr=peak, betas=(0.9, 0.95))
    history: History = []
    start = time.time()
    held = held.to(device)
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            history.append([step, validation_loss(model, held)])
            if progress:
                progress(step, history[-1][1], time.time() - start)
        if step == steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, peak, warmup)
        at = torch.randint(0, len(stream) - context - 1, (batch,), generator=generator)
        tokens = torch.stack([stream[i : i + context + 1] for i in at]).to(device)
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return history
