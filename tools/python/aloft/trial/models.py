"""The two small models of the trial, with Hugging Face's parameter names, so that files for `gpt2` and `llama` load.

`gpt2`: learned positions, LayerNorm, biases, GELU (its tanh form, as GPT-2 has it), tied head. `llama`: RoPE (half-rotate), RMSNorm, SwiGLU, no biases,
untied head. Every weight matrix starts from a normal distribution of standard deviation `std` (GPT-2: 0.02), output
projections of both sub-layers divided by sqrt(2 * layers); the head of the untied model has `std`, too.
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    style: str = "llama"  # or "gpt2"
    layers: int = 4
    heads: int = 4
    width: int = 128
    context: int = 64
    vocab: int = 2048

    @property
    def mlp(self) -> int:
        return 4 * self.width if self.style == "gpt2" else 8 * self.width // 3 // 8 * 8


Rope = tuple[Tensor, Tensor]  # cosines and sines, [length, head_dim / 2] each


class Conv1D(nn.Module):
    """Hugging Face's projection: weight [in, out]."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """q, k, v [batch, heads, length, head_dim]; mask [length, length] is added."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + mask
    batch, heads, length, head_dim = q.shape
    return (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, heads * head_dim)


def split(x: Tensor, heads: int) -> Tensor:
    batch, length, width = x.shape
    return x.view(batch, length, heads, width // heads).transpose(1, 2)


class GPT2Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.c_attn = Conv1D(3 * shape.width, shape.width)
        self.c_proj = Conv1D(shape.width, shape.width)

    def forward(self, x: Tensor, mask: Tensor, _: Rope) -> Tensor:
        q, k, v = (split(part, self.heads) for part in self.c_attn(x).split(x.shape[-1], dim=2))
        return self.c_proj(attend(q, k, v, mask))


class GPT2MLP(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.c_fc = Conv1D(shape.mlp, shape.width)
        self.c_proj = Conv1D(shape.width, shape.mlp)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class GPT2Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(shape.width), GPT2Attention(shape)
        self.ln_2, self.mlp = nn.LayerNorm(shape.width), GPT2MLP(shape)

    def forward(self, x: Tensor, mask: Tensor, rope: Rope) -> Tensor:
        x = x + self.attn(self.ln_1(x), mask, rope)
        return x + self.mlp(self.ln_2(x))


class LlamaAttention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(shape.width, shape.width, bias=False))

    def forward(self, x: Tensor, mask: Tensor, rope: Rope) -> Tensor:
        cos, sin = rope

        def turned(rows: Tensor) -> Tensor:
            a, b = rows.chunk(2, -1)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

        q, k = turned(split(self.q_proj(x), self.heads)), turned(split(self.k_proj(x), self.heads))
        return self.o_proj(attend(q, k, split(self.v_proj(x), self.heads), mask))


class LlamaMLP(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.mlp, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.mlp, bias=False)
        self.down_proj = nn.Linear(shape.mlp, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaBlock(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm, self.self_attn = RMSNorm(shape.width), LlamaAttention(shape)
        self.post_attention_layernorm, self.mlp = RMSNorm(shape.width), LlamaMLP(shape)

    def forward(self, x: Tensor, mask: Tensor, rope: Rope) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), mask, rope)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nn.Module):
    """forward(ids [batch, length]) -> logits [batch, length, vocab]."""

    def __init__(self, shape: Shape, base: float = 10000.0) -> None:
        super().__init__()
        self.shape = shape
        half = shape.width // shape.heads // 2
        angles = torch.arange(shape.context).float()[:, None] * base ** (-torch.arange(half).float() / half)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        mask = torch.full((shape.context, shape.context), -math.inf).triu(1)
        self.register_buffer("mask", mask, persistent=False)
        if shape.style == "gpt2":
            self.transformer = nn.ModuleDict({
                "wte": nn.Embedding(shape.vocab, shape.width),
                "wpe": nn.Embedding(shape.context, shape.width),
                "h": nn.ModuleList(GPT2Block(shape) for _ in range(shape.layers)),
                "ln_f": nn.LayerNorm(shape.width),
            })
        else:
            self.model = nn.ModuleDict({
                "embed_tokens": nn.Embedding(shape.vocab, shape.width),
                "layers": nn.ModuleList(LlamaBlock(shape) for _ in range(shape.layers)),
                "norm": RMSNorm(shape.width),
            })
            self.lm_head = nn.Linear(shape.width, shape.vocab, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        mask, rope = self.mask[:length, :length], (self.cos[:length], self.sin[:length])
        if self.shape.style == "gpt2":
            t = self.transformer
            x = t["wte"](ids) + t["wpe"].weight[:length]
            blocks, norm, head = t["h"], t["ln_f"], t["wte"].weight
        else:
            x = self.model["embed_tokens"](ids)
            blocks, norm, head = self.model["layers"], self.model["norm"], self.lm_head.weight
        for block in blocks:
            x = block(x, mask, rope)
        return norm(x) @ head.t()


RESIDUAL = ("c_proj.weight", "o_proj.weight", "down_proj.weight")  # what writes into the residual stream
MLP_IN = ("c_fc.weight", "gate_proj.weight", "up_proj.weight")

M = TypeVar("M", bound=Model)


def initialise(model: M, seed: int, std: float = 0.02, mlp_std: float | None = None, zero_outputs: bool = False) -> M:
    """The usual init, in place. mlp_std: of the MLPs' input projections (default std)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() < 2:
                continue
            size = std
            if name.endswith(RESIDUAL):
                size = 0.0 if zero_outputs else std / math.sqrt(2 * model.shape.layers)
            elif name.endswith(MLP_IN) and mlp_std is not None:
                size = mlp_std
            weight.normal_(0, 1, generator=generator).mul_(size)
    return model
