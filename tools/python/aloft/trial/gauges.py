"""Other ways to write the same function: scales that one weight gains and another loses.

They change nothing before training and how far a step of the optimiser goes afterwards, as the scale of the stream does
(`--stream-scale`). A trial's arm names them as `gauges: {values: 4}`.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ..errors import InputError
from .models import Model


def _blocks(model: Model) -> Iterator[nn.Module]:
    yield from model.model["layers"] if model.shape.style == "llama" else model.transformer["h"]


def _rows(model: Model, block: nn.Module) -> dict[str, Tensor]:
    """Views of one block's weights as [out, in]: query, key, value, output, mlp_in (what nothing but the input enters
    linearly), mlp_out."""
    if model.shape.style == "llama":
        a, m = block.self_attn, block.mlp
        return {"query": a.q_proj.weight, "key": a.k_proj.weight, "value": a.v_proj.weight, "output": a.o_proj.weight,
                "gate": m.gate_proj.weight, "up": m.up_proj.weight, "mlp_out": m.down_proj.weight}
    weights = [block.attn.c_attn.weight, block.attn.c_proj.weight, block.mlp.c_fc.weight, block.mlp.c_proj.weight]
    fused, output, up, mlp_out = [w.t() for w in weights] if model.shape.style == "gpt2" else weights
    query, key, value = fused.chunk(3, 0)
    return {"query": query, "key": key, "value": value, "output": output, "up": up, "mlp_out": mlp_out}


def _norms(model: Model, block: nn.Module) -> tuple[Tensor, Tensor]:
    if model.shape.style == "llama":
        return block.input_layernorm.weight, block.post_attention_layernorm.weight
    return block.ln_1.weight, block.ln_2.weight


def _values(model: Model, g: float) -> None:
    """Values times g, outputs divided by it."""
    for block in _blocks(model):
        rows = _rows(model, block)
        rows["value"].mul_(g), rows["output"].div_(g)


def _queries(model: Model, g: float) -> None:
    """Queries times g, keys divided by it."""
    for block in _blocks(model):
        rows = _rows(model, block)
        rows["query"].mul_(g), rows["key"].div_(g)


def _gains(model: Model, g: float) -> None:
    """Gains of the blocks' norms times g, all that reads them divided by it."""
    for block in _blocks(model):
        for norm in _norms(model, block):
            norm.mul_(g)
        rows = _rows(model, block)
        for name in ("query", "key", "value", "gate", "up"):
            if name in rows:
                rows[name].div_(g)


def _head(model: Model, g: float) -> None:
    """An untied head times g, the final gain divided by it."""
    model.head.mul_(g)
    model.model["norm"].weight.div_(g)


def _mlp(model: Model, g: float) -> None:
    """SwiGLU's linear half times g, the outputs divided by it."""
    for block in _blocks(model):
        rows = _rows(model, block)
        rows["up"].mul_(g), rows["mlp_out"].div_(g)


GAUGES = {"values": _values, "queries": _queries, "gains": _gains, "head": _head, "mlp": _mlp}


LLAMA_ONLY = {"head": "the model's head is its embedding: scale the stream instead", "mlp": "GELU is not linear in any of its inputs"}


def check_gauges(style: str, gauges: Mapping[str, float]) -> None:
    """InputError for one that there is not, or not for models of this style."""
    for name in gauges:
        if name not in GAUGES:
            raise InputError(f"trial: gauge {name} is none of {', '.join(GAUGES)}")
        if name in LLAMA_ONLY and style != "llama":
            raise InputError(f"trial: gauge {name}: {LLAMA_ONLY[name]}")


def turn_gauges(model: Model, gauges: Mapping[str, float]) -> None:
    """Applies them in place; the model's function stays."""
    check_gauges(model.shape.style, gauges)
    for name, g in gauges.items():
        with torch.no_grad():
            GAUGES[name](model, g)
