"""The loss of the next token, without ever storing positions x vocabulary: logits of some rows at a time, and their gradients at once.
"""

from typing import Any

import torch
from torch import Tensor

ENTRIES = {"cpu": 1 << 23, "cuda": 1 << 28}  # logits at a time


class HeadLoss(torch.autograd.Function):
    """apply(final [n, d], head [V, d], targets [n], dtype) -> mean cross-entropy in nats of the logits final @ head.T, whose
    products are taken in dtype and whose sums in f32."""

    @staticmethod
    def forward(ctx: Any, final: Tensor, head: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        count, wanted = len(targets), ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        rows, weight = final.to(dtype), head.to(dtype)
        total = torch.zeros((), device=final.device)
        d_rows, d_weight = (torch.empty_like(rows), torch.zeros_like(head, dtype=torch.float32)) if wanted else (rows, head)
        step = max(1, ENTRIES.get(final.device.type, 1 << 26) // len(head))
        for first in range(0, count, step):
            part, target = rows[first : first + step], targets[first : first + step, None]
            logits = (part @ weight.t()).float()
            norm = logits.logsumexp(-1, keepdim=True)
            total += (norm - logits.gather(1, target)).sum()
            if wanted:
                error = logits.sub_(norm).exp_().scatter_add_(1, target, -torch.ones_like(norm)).to(dtype)
                d_rows[first : first + step] = error @ weight
                if ctx.needs_input_grad[1]:  # not of a frozen head
                    d_weight += error.t() @ part
        if wanted:
            ctx.save_for_backward(d_rows, d_weight)
            ctx.count, ctx.dtypes = count, (final.dtype, head.dtype)
        return total / count

    @staticmethod
    def backward(ctx: Any, upper: Tensor) -> tuple[Tensor, Tensor, None, None]:
        d_rows, d_weight = ctx.saved_tensors
        scale = upper / ctx.count
        return (d_rows * scale).to(ctx.dtypes[0]), (d_weight * scale).to(ctx.dtypes[1]), None, None


def next_token_loss(model: Any, tokens: Tensor, bf16: bool = False) -> Tensor:
    """Mean cross-entropy in nats over the next tokens of windows [batch, length + 1]. bf16: products in bfloat16 (autocast)."""
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=bf16):
        final = model.final(tokens[:, :-1])
    loss: Tensor = HeadLoss.apply(final.flatten(0, 1), model.head, tokens[:, 1:].flatten(), torch.bfloat16 if bf16 else torch.float32)
    return loss
