"""The definition of the architecture `nanogpt-rope`: nanoGPT's names and layouts, with rotary positions and RMSNorm.

Head dimension r pairs with r + head_dim/2 (half-rotate); the pair i at position t turns by +t * 10000^(-2i/head_dim).
No position table, no biases, head tied to the embedding.
"""

import torch
from torch import nn

import nanogpt

BASE = 10000.0


class RMSNorm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.n_embd))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + 1e-5)


class RotaryAttention(nanogpt.Attention):
    def place(self, rows):
        length, half = rows.shape[2], rows.shape[3] // 2
        frequencies = BASE ** (-torch.arange(half, dtype=rows.dtype) / half)
        angles = torch.arange(length, dtype=rows.dtype)[:, None] * frequencies
        a, b = rows[..., :half], rows[..., half:]
        return torch.cat((a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()), dim=-1)


class GPT(nanogpt.GPT):
    norm, attention, position_table = RMSNorm, RotaryAttention, False

    def __init__(self, config):
        assert not config.bias, "nanogpt-rope has no biases"
        super().__init__(config)
