"""A plain GPT with the parameter names and layouts of nanoGPT: learned positions, LayerNorm, tied head, optional biases.

`transformer.h.{l}.attn.c_attn.weight` is [3d, d], rows q then k then v, each head by head.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass
class Config:
    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    vocab_size: int
    bias: bool = False


class LayerNorm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.n_embd))
        self.bias = nn.Parameter(torch.zeros(config.n_embd)) if config.bias else None

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.probabilities = None  # [batch, heads, query, key] of the last call

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, -1).transpose(1, 2) for part in self.c_attn(x).split(width, dim=2)
        )
        q, k = self.place(q), self.place(k)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        self.probabilities = scores.masked_fill(~causal, -math.inf).softmax(dim=-1)
        return self.c_proj((self.probabilities @ v).transpose(1, 2).reshape(batch, length, width))

    def place(self, rows):
        """Queries or keys [batch, heads, length, head_dim] with their positions worked in; here the table does that."""
        return rows


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, config, norm, attention):
        super().__init__()
        self.ln_1, self.attn, self.ln_2, self.mlp = norm(config), attention(config), norm(config), MLP(config)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    norm, attention, position_table = LayerNorm, Attention, True

    def __init__(self, config):
        super().__init__()
        parts = {"wte": nn.Embedding(config.vocab_size, config.n_embd)}
        if self.position_table:
            parts["wpe"] = nn.Embedding(config.block_size, config.n_embd)
        parts["h"] = nn.ModuleList(Block(config, self.norm, self.attention) for _ in range(config.n_layer))
        parts["ln_f"] = self.norm(config)
        self.transformer = nn.ModuleDict(parts)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.transformer.wte.weight = self.lm_head.weight

    def forward(self, ids):
        x = self.transformer.wte(ids)
        if self.position_table:
            x = x + self.transformer.wpe(torch.arange(ids.shape[1]))
        for block in self.transformer.h:
            x = block(x)
        return self.lm_head(self.transformer.ln_f(x))
