"""What aloft writes, loaded into real models: their attention must compute the canonical form."""

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.numpy import load_file

import nanogpt
import nanogpt_rope
from canonical import load_and_compare, load_init

ARCHITECTURES = Path(__file__).resolve().parents[2] / "tools" / "architectures"


def built_in(name):
    return json.loads((ARCHITECTURES / f"{name}.json").read_text())


def hugging_face(model):
    """Model, attention modules by layer, and how to get its attention probabilities."""
    modules = [m for n, m in model.named_modules() if n.endswith((".attn", ".self_attn", ".attention"))]
    return model, modules, lambda ids: model(ids, output_attentions=True, use_cache=False).attentions


def plain(model):
    modules = [block.attn for block in model.transformer.h]

    def run(ids):
        model(ids)
        return [module.probabilities for module in modules]

    return model, modules, run


@dataclass
class Case:
    name: str
    built_in: str | None  # None: the user's own file
    architecture: dict
    build: Callable
    layers: int = 2
    heads: int = 8
    kv_heads: int = 8
    d_model: int = 64
    context: int = 64
    vocab: int = 97
    norms: str = "norm"  # part of the names of the norms before attention
    projections: tuple = ()  # the fused or the query tensor, and the output tensor, of layer 0


def llama(case, **options):
    return hugging_face(transformers.LlamaForCausalLM(transformers.LlamaConfig(
        hidden_size=case.d_model, intermediate_size=96, num_hidden_layers=case.layers, vocab_size=case.vocab,
        num_attention_heads=case.heads, num_key_value_heads=case.kv_heads, max_position_embeddings=case.context,
        attn_implementation="eager", **options)))


def gpt2(case):
    return hugging_face(transformers.GPT2LMHeadModel(transformers.GPT2Config(
        n_embd=case.d_model, n_layer=case.layers, n_head=case.heads, n_positions=case.context, vocab_size=case.vocab,
        attn_implementation="eager")))


def neox(case):
    return hugging_face(transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(
        hidden_size=case.d_model, intermediate_size=96, num_hidden_layers=case.layers, vocab_size=case.vocab,
        num_attention_heads=case.heads, max_position_embeddings=case.context, rotary_pct=0.25,
        attn_implementation="eager")))


def gptj(case):
    return hugging_face(transformers.GPTJForCausalLM(transformers.GPTJConfig(
        n_embd=case.d_model, n_layer=case.layers, n_head=case.heads, n_positions=case.context, vocab_size=case.vocab,
        rotary_dim=8, attn_implementation="eager")))


def of_type(model_type, **options):
    """A model of Hugging Face's model_type; a skip where this version has no such class."""
    def build(case):
        if model_type not in transformers.CONFIG_MAPPING:
            pytest.skip(f"transformers {transformers.__version__} has no {model_type}")
        return hugging_face(transformers.AutoModelForCausalLM.from_config(transformers.CONFIG_MAPPING[model_type](
            hidden_size=case.d_model, intermediate_size=96, num_hidden_layers=case.layers, vocab_size=case.vocab,
            num_attention_heads=case.heads, num_key_value_heads=case.kv_heads, max_position_embeddings=case.context, **options),
            attn_implementation="eager"))
    return build


def nano(module):
    return lambda case: plain(module.GPT(nanogpt.Config(case.layers, case.heads, case.d_model, case.context, case.vocab)))


# A user's own file: GPT-J pairs rows 2i and 2i + 1 in the first rotary_dim rows of each head.
GPTJ = {
    "name": "gptj",
    "tensors": {
        "fusion": "separate", "orientation": "out_in",
        "query": "transformer.h.{layer}.attn.q_proj.weight", "key": "transformer.h.{layer}.attn.k_proj.weight",
        "value": "transformer.h.{layer}.attn.v_proj.weight", "output": "transformer.h.{layer}.attn.out_proj.weight",
        "embedding": "transformer.wte.weight", "head": "lm_head.weight",
    },
    "tied_head": False,
    "norm": "layernorm",
    "attention": {"grouped_query": False, "free_head_dim": False, "bias": False, "qk_norm": False},
    "position": {"kind": "rope", "pairing": "interleaved", "base": 10000, "fraction": 0.5},
    "init": {"std": 0.02, "residual_scaled": False},
}
LINEAR = built_in("llama")
LINEAR["name"] = "llama-linear"
LINEAR["position"] |= {"scaling": "linear", "scaling_factor": 4}

FUSED = ("transformer.h.0.attn.c_attn.weight", "transformer.h.0.attn.c_proj.weight")
LLAMA = ("model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.o_proj.weight")
CASES = [
    Case("gpt2", "gpt2", built_in("gpt2"), gpt2, norms="ln_1", projections=FUSED),
    Case("nanogpt", "nanogpt", built_in("nanogpt"), nano(nanogpt), norms="ln_1", projections=FUSED),
    Case("nanogpt-rope", "nanogpt-rope", built_in("nanogpt-rope"), nano(nanogpt_rope), norms="ln_1", projections=FUSED),
    Case("llama", "llama", built_in("llama"), llama, kv_heads=2, projections=LLAMA),
    Case("arcee", "arcee", built_in("arcee"), of_type("arcee"), kv_heads=2, projections=LLAMA),
    Case("starcoder2", "starcoder2", built_in("starcoder2"), of_type("starcoder2"), kv_heads=2, projections=LLAMA),
    Case("phi3", "phi3", built_in("phi3"), of_type("phi3", pad_token_id=None), kv_heads=2,
         projections=("model.layers.0.self_attn.qkv_proj.weight", "model.layers.0.self_attn.o_proj.weight")),
    Case("llama-linear", None, LINEAR, lambda c: llama(c, rope_scaling={"type": "linear", "factor": 4.0}), kv_heads=4,
         projections=LLAMA),
    Case("neox", "neox", built_in("neox"), neox, heads=4, kv_heads=4,
         projections=("gpt_neox.layers.0.attention.query_key_value.weight", "gpt_neox.layers.0.attention.dense.weight")),
    Case("gptj", None, GPTJ, gptj, heads=4, kv_heads=4, norms="ln_1",
         projections=("transformer.h.0.attn.q_proj.weight", "transformer.h.0.attn.out_proj.weight")),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def model_for(case):
    """Random everywhere else; uneven norm gains, large enough that scores are of the order of 1."""
    torch.manual_seed(11)
    model, modules, run = case.build(case)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".weight") and case.norms in name:
                parameter.uniform_(2, 6)
            if name.endswith(".bias") and any(name.startswith(n + ".") for n, m in model.named_modules() if m in modules):
                assert torch.count_nonzero(parameter) == 0, "attention biases start at zero in these models"
    return model.eval(), modules, run


def check(case, folder, change=None):
    ids = torch.randint(case.vocab, (1, 24), generator=torch.Generator().manual_seed(5))
    return load_and_compare(*model_for(case), folder / "init.safetensors", folder / "heads.safetensors",
                            case.architecture, ids, change)


@each_case
def test_the_model_computes_the_canonical_attention(case, emitted):
    scores, outputs = check(case, emitted(case))
    print(f"{case.name}: scores to {scores:.1e}, outputs to {outputs:.1e}")


@each_case
def test_a_transposed_output_is_noticed(case, emitted):
    def transpose(tensors):
        name = case.projections[1]
        tensors[name] = tensors[name].T.contiguous()

    with pytest.raises(AssertionError, match="outputs deviate"):
        check(case, emitted(case), transpose)


@each_case
def test_displaced_query_rows_are_noticed(case, emitted):
    def displace(tensors):
        name = case.projections[0]
        rows_axis = 1 if case.architecture["tensors"]["orientation"] == "in_out" else 0
        tensors[name] = tensors[name].roll(1, dims=rows_axis)

    with pytest.raises(AssertionError, match="scores deviate"):
        check(case, emitted(case), displace)


@pytest.mark.parametrize("error", [{"pairing": "other"}, {"sign": -1}], ids=["pairing", "sign"])
@pytest.mark.parametrize("case", [c for c in CASES if c.architecture["position"]["kind"] == "rope"], ids=lambda c: c.name)
def test_a_wrong_description_of_the_rotation_is_noticed(case, error, emitted):
    wrong = copy.deepcopy(case.architecture)
    wrong["position"] |= error
    if "pairing" in error:
        wrong["position"]["pairing"] = "half" if case.architecture["position"]["pairing"] == "interleaved" else "interleaved"
    folder = emitted(replace(case, name=f"{case.name}-{'-'.join(error)}", built_in=None, architecture=wrong))
    with pytest.raises(AssertionError, match="scores deviate"):
        check(case, folder)


def test_a_missing_or_foreign_tensor_is_noticed():
    model = nanogpt.GPT(nanogpt.Config(1, 2, 8, 16, 11))
    with pytest.raises(AssertionError, match="the model has no x"):
        load_init(model, {"x": torch.zeros(2)})
    with pytest.raises(AssertionError, match="c_proj"):
        load_init(model, {"transformer.h.0.attn.c_proj.weight": torch.zeros(8, 4)})


@each_case
def test_the_safetensors_library_reads_both_files(case, emitted):
    folder = emitted(case)
    for name in ("init.safetensors", "heads.safetensors"):
        with safe_open(folder / name, framework="np") as file:
            assert file.metadata()["format"] == "pt"
            names = set(file.keys())
        tensors = load_file(folder / name)
        assert set(tensors) == names and all(t.dtype == np.float32 for t in tensors.values())
        assert all(np.isfinite(t).all() and t.std() > 0 for t in tensors.values())
    heads = load_file(folder / "heads.safetensors")
    head_dim = case.d_model // case.heads
    assert len(heads) == 4 * case.layers
    assert heads["layer1.query"].shape == heads["layer1.output"].shape == (case.heads, head_dim, case.d_model)
    assert heads["layer1.key"].shape == heads["layer1.value"].shape == (case.kv_heads, head_dim, case.d_model)
