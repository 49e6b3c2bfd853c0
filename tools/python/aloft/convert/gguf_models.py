"""What llama.cpp's names, orders of rows and metadata are in Hugging Face's terms, for the families that aloft describes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InputError
from .source import Values

LLAMA = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LLAMA_LAYER = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
               "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
               "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
GPT2 = {"token_embd": "transformer.wte", "position_embd": "transformer.wpe", "output_norm": "transformer.ln_f", "output": "lm_head"}
GPT2_LAYER = {"attn_norm": "ln_1", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_norm": "ln_2", "ffn_up": "mlp.c_fc",
              "ffn_down": "mlp.c_proj"}
NEOX = {"token_embd": "gpt_neox.embed_in", "output_norm": "gpt_neox.final_layer_norm", "output": "embed_out"}
NEOX_LAYER = {"attn_norm": "input_layernorm", "attn_qkv": "attention.query_key_value", "attn_output": "attention.dense",
              "ffn_norm": "post_attention_layernorm", "ffn_up": "mlp.dense_h_to_4h", "ffn_down": "mlp.dense_4h_to_h"}
PHI3_LAYER = {**LLAMA_LAYER, "attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"}
STARCODER2_LAYER = {**LLAMA_LAYER, "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}


@dataclass(frozen=True)
class Sizes:
    heads: int
    kv_heads: int


Fix = Callable[[Values, Sizes], Values]


def unpermuted(rows: Values, heads: int) -> Values:
    """[heads·head_dim, ...]. llama.cpp turns neighbouring rows of a head as a pair, Hugging Face's llama rows half a head apart;
    its converter puts row half·(head_dim/2) + i of a head at 2·i + half. This undoes it."""
    if len(rows) % (2 * heads):
        raise InputError(f"{len(rows)} rows are no {heads} heads of pairs")
    return rows.reshape(heads, len(rows) // heads // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def by_head(rows: Values, heads: int) -> Values:
    """All queries, all keys, all values -> head by head its query, key and value, as GPT-NeoX has them."""
    if len(rows) % (3 * heads):
        raise InputError(f"{len(rows)} rows are no queries, keys and values of {heads} heads")
    return rows.reshape(3, heads, len(rows) // heads // 3, *rows.shape[1:]).swapaxes(0, 1).reshape(rows.shape)


def conv1d(values: Values, _: Sizes) -> Values:
    """GPT-2's weights are [in, out]; its biases stay."""
    return values.T if values.ndim == 2 else values


@dataclass(frozen=True)
class Family:
    """A general.architecture of GGUF. fixes: kind of tensor -> what makes Hugging Face's of its values."""

    model_type: str
    classes: str
    top: Mapping[str, str] = field(default_factory=lambda: LLAMA)
    layer: Mapping[str, str] = field(default_factory=lambda: LLAMA_LAYER)
    prefix: str = "model.layers."
    fixes: Mapping[str, Fix] = field(default_factory=dict)


PERMUTED: Mapping[str, Fix] = {"attn_q": lambda x, s: unpermuted(x, s.heads), "attn_k": lambda x, s: unpermuted(x, s.kv_heads)}
FAMILIES = {
    "llama": Family("llama", "LlamaForCausalLM", fixes=PERMUTED),
    "granite": Family("granite", "GraniteForCausalLM", fixes=PERMUTED),
    "smollm3": Family("smollm3", "SmolLM3ForCausalLM", fixes=PERMUTED),
    "arcee": Family("arcee", "ArceeForCausalLM", fixes=PERMUTED),
    "olmo": Family("olmo", "OlmoForCausalLM", fixes=PERMUTED),
    "qwen2": Family("qwen2", "Qwen2ForCausalLM"),
    "seed_oss": Family("seed_oss", "SeedOssForCausalLM"),
    "phi3": Family("phi3", "Phi3ForCausalLM", layer=PHI3_LAYER),
    "starcoder2": Family("starcoder2", "Starcoder2ForCausalLM", layer=STARCODER2_LAYER),
    "gpt2": Family("gpt2", "GPT2LMHeadModel", GPT2, GPT2_LAYER, "transformer.h.",
                   {kind: conv1d for kind in ("attn_qkv", "attn_output", "ffn_up", "ffn_down")}),
    "gptneox": Family("gpt_neox", "GPTNeoXForCausalLM", NEOX, NEOX_LAYER, "gpt_neox.layers.",
                      {"attn_qkv": lambda x, s: by_head(x, s.heads)}),
}


def hugging_face_name(family: Family, name: str) -> tuple[str, str] | None:
    """GGUF's name -> Hugging Face's, and the kind of tensor; None for one that Hugging Face has no such tensor for."""
    found = re.fullmatch(r"(?:blk\.(\d+)\.)?([a-z0-9_]+)\.(weight|bias)", name)
    if not found:
        return None
    layer, kind, ending = found.groups()
    there = family.top.get(kind) if layer is None else family.layer.get(kind)
    if there is None:
        return None
    return (f"{there}.{ending}" if layer is None else f"{family.prefix}{layer}.{there}.{ending}"), kind


class Metadata:
    """The keys of one architecture, checked to be the numbers that they should be."""

    def __init__(self, path: object, values: Mapping[str, Any]) -> None:
        self.path, self.values = path, values
        self.architecture = str(values.get("general.architecture", ""))

    def size(self, key: str, default: int | None = None) -> int:
        """A positive whole number; of a list, one for each layer, which must all be the same."""
        full = f"{self.architecture}.{key}"
        value = self.values.get(full, default)
        if isinstance(value, list) and value and all(x == value[0] for x in value):
            value = value[0]
        if isinstance(value, list):
            raise InputError(f"{self.path}: {full} differs from layer to layer, which no architecture of aloft has")
        if type(value) is not int or not 0 < value < 2**40:
            raise InputError(f"{self.path}: {full} is {value!r}, a positive whole number is needed")
        return value

    def real(self, key: str) -> float | None:
        value = self.values.get(f"{self.architecture}.{key}")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
            raise InputError(f"{self.path}: {self.architecture}.{key} is {value!r}, a number is needed")
        return float(f"{value:.7g}")  # float32 in the file: 1e-05, not 9.999999747378752e-06

    def text(self, key: str) -> str | None:
        value = self.values.get(f"{self.architecture}.{key}")
        return value if isinstance(value, str) else None


def family_of(path: object, meta: Metadata) -> Family:
    family = FAMILIES.get(meta.architecture)
    if family is None:
        raise InputError(f"{path}: its general.architecture is '{meta.architecture[:60]}', which aloft does not describe: one of "
                         f"{', '.join(FAMILIES)} is needed")
    if (meta.real("expert_count") or 0) > 0:
        raise InputError(f"{path}: a mixture of experts, which is not converted: its safetensors from Hugging Face are needed")
    return family


def config_of(meta: Metadata, family: Family, vocab: int, tied: bool, biased: bool) -> dict[str, Any]:
    """Hugging Face's config.json. vocab: rows of the embedding. biased: its queries have biases."""
    width, heads = meta.size("embedding_length"), meta.size("attention.head_count")
    config: dict[str, Any] = {"model_type": family.model_type, "architectures": [family.classes], "vocab_size": vocab,
                              "tie_word_embeddings": tied}
    names = (("n_embd", "n_layer", "n_head", "n_positions", "n_inner") if family.model_type == "gpt2" else
             ("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings", "intermediate_size"))
    keys = ("embedding_length", "block_count", "attention.head_count", "context_length", "feed_forward_length")
    config.update({name: meta.size(key) for name, key in zip(names, keys)})
    epsilon = meta.real("attention.layer_norm_rms_epsilon")
    if epsilon is not None:
        config["rms_norm_eps"] = epsilon
    elif (epsilon := meta.real("attention.layer_norm_epsilon")) is not None:
        config["norm_epsilon" if family.model_type == "starcoder2" else
               "layer_norm_epsilon" if family.model_type == "gpt2" else "layer_norm_eps"] = epsilon
    for use, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):  # null: some classes' own default is no token of this model
        token = meta.values.get(f"tokenizer.ggml.{key}_token_id")
        config[f"{use}_token_id"] = token if type(token) is int and token < vocab else None
    if family.model_type == "gpt2":
        return config
    head_dim = meta.size("attention.key_length", width // heads)
    turning = meta.size("rope.dimension_count", head_dim) / head_dim
    base = meta.real("rope.freq_base") or 10000.0
    if family.model_type == "gpt_neox":
        parallel = meta.values.get("gptneox.use_parallel_residual", True)
        return {**config, "rotary_pct": turning, "rotary_emb_base": base, "use_parallel_residual": bool(parallel)}
    config |= {"num_key_value_heads": meta.size("attention.head_count_kv", heads), "rope_theta": base}
    if head_dim * heads != width:
        config["head_dim"] = head_dim
    if turning != 1:
        config["partial_rotary_factor"] = turning
    if family.model_type in ("llama", "granite", "smollm3", "arcee", "olmo") and biased:
        config["attention_bias"] = True
    for key, name in (("attention.scale", "attention_multiplier"), ("embedding_scale", "embedding_multiplier"),
                      ("residual_scale", "residual_multiplier"), ("logit_scale", "logits_scaling"), ("attention.clamp_kqv", "clip_qkv")):
        if (value := meta.real(key)) is not None:
            config[name] = value
    return config


def rope_scaling_of(path: object, meta: Metadata, factors: Mapping[str, Values]) -> dict[str, Any] | None:
    """factors: the tensors rope_freqs, rope_factors_short and rope_factors_long, where there are some."""
    original = meta.values.get(f"{meta.architecture}.rope.scaling.original_context_length")
    further = {"original_max_position_embeddings": original} if type(original) is int else {}
    if "rope_freqs" in factors:
        return _llama3(path, meta, factors["rope_freqs"])
    if "rope_factors_short" in factors and "rope_factors_long" in factors:
        return {"rope_type": "longrope", "short_factor": [float(x) for x in factors["rope_factors_short"].ravel()],
                "long_factor": [float(x) for x in factors["rope_factors_long"].ravel()], **further}
    kind, factor = meta.text("rope.scaling.type"), meta.real("rope.scaling.factor") or meta.real("rope.scale_linear")
    if kind in (None, "none") and (factor is None or factor == 1):
        return None
    if factor is None:
        raise InputError(f"{path}: RoPE scaling '{kind}' without a factor")
    return {"rope_type": kind if kind not in (None, "none") else "linear", "factor": factor, **further}


def _llama3(path: object, meta: Metadata, factors: Values) -> dict[str, Any]:
    """llama.cpp stores what each frequency is divided by. Which parameters made it is tried with those that Llama 3 has: checked,
    not believed."""
    factors = factors.ravel().astype(np.float64)
    base, low, high, original = meta.real("rope.freq_base") or 10000.0, 1.0, 4.0, 8192
    turns = original * base ** (-np.arange(len(factors)) / len(factors)) / (2 * np.pi)
    kept = np.clip((turns - low) / (high - low), 0, 1)
    for factor in (round(float(factors.max()), 6), 8.0, 32.0):  # the largest, unless no pair turns so slowly
        if np.allclose(1 / ((1 - kept) / factor + kept), factors, rtol=1e-3):
            return {"rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
                    "original_max_position_embeddings": original}
    raise InputError(f"{path}: rope_freqs: its factors are none of Llama 3's: the model's safetensors and config.json are needed")
