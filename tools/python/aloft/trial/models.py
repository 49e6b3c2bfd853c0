"""The small models of the trial, with the parameter names of the architectures they are called after, so that files for those load.

`gpt2`: learned positions, LayerNorm, biases, GELU (its tanh form, as GPT-2 has it), tied head. `llama`: RoPE (half-rotate), RMSNorm, SwiGLU, no biases,
untied head. `nanogpt-rope`: RoPE, RMSNorm, GELU, no biases, one tensor for query, key and value, tied head (the papers' model). Every
weight matrix starts from a normal distribution of standard deviation `std` (GPT-2: 0.02), output projections of both
sub-layers divided by sqrt(2 * layers); the head of the untied model has `std`, too.
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError

STYLES = ("llama", "gpt2", "nanogpt-rope")


@dataclass(frozen=True)
class Shape:
    style: str = "llama"  # or "gpt2", "nanogpt-rope"
    layers: int = 4
    heads: int = 4
    width: int = 128
    context: int = 64
    vocab: int = 2048

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise InputError(f"trial: section model: style {self.style} is none of {', '.join(STYLES)}")
        if self.width % (2 * self.heads):
            raise InputError(f"trial: section model: width {self.width} is to be an even number of coordinates for each of {self.heads} heads")
        if self.mlp < 1:
            raise InputError(f"trial: section model: width {self.width} leaves its MLPs no hidden unit")

    @property
    def mlp(self) -> int:
        return 8 * self.width // 3 // 8 * 8 if self.style == "llama" else 4 * self.width


Rope = tuple[Tensor, Tensor]  # cosines and sines, [length, head_dim / 2] each
Heads = tuple[Tensor, Tensor, Tensor]  # queries, keys (turned by their positions where there is RoPE) and values, as attend takes them


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


def probabilities(q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
    """How much query t attends to key s: [batch, heads, length, length], rows sum to 1; arguments as attend's."""
    return (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + mask).softmax(-1)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """q, k, v [batch, heads, length, head_dim]; mask [length, length] is added: minus infinity above the diagonal."""
    batch, heads, length, head_dim = q.shape
    if hasattr(F, "scaled_dot_product_attention"):  # torch 2: scores are not stored
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        out = probabilities(q, k, mask) @ v
    return out.transpose(1, 2).reshape(batch, length, heads * head_dim)


def split(x: Tensor, heads: int) -> Tensor:
    batch, length, width = x.shape
    return x.view(batch, length, heads, width // heads).transpose(1, 2)


class GPT2Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.c_attn = Conv1D(3 * shape.width, shape.width)
        self.c_proj = Conv1D(shape.width, shape.width)

    def projected(self, x: Tensor, _: Rope) -> Heads:
        q, k, v = (split(part, self.heads) for part in self.c_attn(x).split(x.shape[-1], dim=2))
        return q, k, v

    def forward(self, x: Tensor, mask: Tensor, rope: Rope) -> Tensor:
        return self.c_proj(attend(*self.projected(x, rope), mask))


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


def turned(rows: Tensor, rope: Rope) -> Tensor:
    """Queries or keys [batch, heads, length, head_dim]: coordinates i and i + head_dim/2 turn together."""
    cos, sin = rope
    a, b = rows.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class LlamaAttention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(shape.width, shape.width, bias=False))

    def projected(self, x: Tensor, rope: Rope) -> Heads:
        q, k = turned(split(self.q_proj(x), self.heads), rope), turned(split(self.k_proj(x), self.heads), rope)
        return q, k, split(self.v_proj(x), self.heads)

    def forward(self, x: Tensor, mask: Tensor, rope: Rope) -> Tensor:
        return self.o_proj(attend(*self.projected(x, rope), mask))


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


class NanoGPTAttention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.c_attn = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.c_proj = nn.Linear(shape.width, shape.width, bias=False)

    def projected(self, x: Tensor, rope: Rope) -> Heads:
        q, k, v = (split(part, self.heads) for part in self.c_attn(x).split(x.shape[-1], dim=2))
        return turned(q, rope), turned(k, rope), v

    def forward(self, x: Tensor, mask: Tensor, rope: Rope) -> Tensor:
        return self.c_proj(attend(*self.projected(x, rope), mask))


ATTENTION = (GPT2Attention, LlamaAttention, NanoGPTAttention)  # `projected` is also for who looks at what they attend to


class NanoGPTMLP(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.c_fc = nn.Linear(shape.width, shape.mlp, bias=False)
        self.c_proj = nn.Linear(shape.mlp, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))


class NanoGPTBlock(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ln_1, self.attn = RMSNorm(shape.width), NanoGPTAttention(shape)
        self.ln_2, self.mlp = RMSNorm(shape.width), NanoGPTMLP(shape)

    def forward(self, x: Tensor, mask: Tensor, rope: Rope) -> Tensor:
        x = x + self.attn(self.ln_1(x), mask, rope)
        return x + self.mlp(self.ln_2(x))


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
        if shape.style == "llama":
            self.model = nn.ModuleDict({
                "embed_tokens": nn.Embedding(shape.vocab, shape.width),
                "layers": nn.ModuleList(LlamaBlock(shape) for _ in range(shape.layers)),
                "norm": RMSNorm(shape.width),
            })
            self.lm_head = nn.Linear(shape.width, shape.vocab, bias=False)
        else:
            gpt2 = shape.style == "gpt2"
            self.transformer = nn.ModuleDict({
                "wte": nn.Embedding(shape.vocab, shape.width),
                **({"wpe": nn.Embedding(shape.context, shape.width)} if gpt2 else {}),
                "h": nn.ModuleList((GPT2Block if gpt2 else NanoGPTBlock)(shape) for _ in range(shape.layers)),
                "ln_f": (nn.LayerNorm if gpt2 else RMSNorm)(shape.width),
            })

    @property
    def embedding(self) -> Tensor:
        """[vocab, width]."""
        return (self.model["embed_tokens"] if self.shape.style == "llama" else self.transformer["wte"]).weight

    @property
    def head(self) -> Tensor:
        """[vocab, width]; of a tied model the embedding."""
        return self.lm_head.weight if self.shape.style == "llama" else self.transformer["wte"].weight

    def tables(self) -> list[Tensor]:
        """What has a row for each token or position: embedding, head, positions."""
        positions = [self.transformer["wpe"].weight] if self.shape.style == "gpt2" else []
        return [*({id(t): t for t in (self.embedding, self.head)}.values()), *positions]

    def final(self, ids: Tensor) -> Tensor:
        """What the head reads: [batch, length, width]."""
        length = ids.shape[1]
        mask, rope = self.mask[:length, :length], (self.cos[:length], self.sin[:length])
        x = F.embedding(ids, self.embedding)
        if self.shape.style == "llama":
            blocks, norm = self.model["layers"], self.model["norm"]
        else:
            blocks, norm = self.transformer["h"], self.transformer["ln_f"]
        if self.shape.style == "gpt2":
            x = x + self.transformer["wpe"].weight[:length]
        for block in blocks:
            x = block(x, mask, rope)
        return norm(x)

    def forward(self, ids: Tensor) -> Tensor:
        return self.final(ids) @ self.head.t()


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
