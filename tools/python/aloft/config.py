"""What a model's configuration says about the head and the attention that a file was designed for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import InitError

# Hugging Face ties the head to the embedding where a configuration says nothing, but for these types.
UNTIED = frozenset({"llama", "mistral", "mixtral", "qwen2", "qwen3", "gpt_neox", "phi", "phi3", "olmo", "olmo2", "olmo3", "gptj", "persimmon",
                    "stablelm", "arcee", "helium", "nanochat", "granite", "seed_oss", "qwen2_moe", "qwen3_moe", "deepseek_v3", "codegen", "glm"})
HEADS = ("num_attention_heads", "n_head")


def read_config(folder: Path) -> dict[str, Any] | None:
    """config.json of a checkpoint; None where there is none."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise InitError(f"{path}: {error}") from None
    if not isinstance(config, dict):
        raise InitError(f"{path}: no configuration: an object is needed")
    return config


def tied_head(config: Mapping[str, Any] | None) -> bool:
    """As Hugging Face reads it."""
    if config is None:
        return False
    said = config.get("tie_word_embeddings")
    return config.get("model_type") not in UNTIED if said is None else bool(said)


def refuse_another_attention(path: object, owner: str, metadata: Mapping[str, str], config: object) -> None:
    """Projections of 8 heads fit a model of 4 by their shape, and mean something else there; so does another RoPE base. Older
    files do not say theirs. config: an object, a mapping or None."""
    pairs = {"heads": _first(config, HEADS), "kv_heads": _first(config, ("num_key_value_heads",)), "rope_base": _rope_base(config)}
    for key, found in pairs.items():
        said = metadata.get(key)
        if said is not None and isinstance(found, (int, float)) and abs(float(said) - found) > 1e-6 * abs(found):
            raise InitError(f"{path}: it was designed for {key.replace('_', ' ')} {said}, {owner} has {found:g}: "
                            "design with --model-config of this model")


def _first(config: object, keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = config.get(key) if isinstance(config, Mapping) else getattr(config, key, None)
        if value is not None:
            return value
    return None


def _rope_base(config: object) -> Any:
    """Since transformers 5 in `rope_parameters`; nested by layer type it is no one number."""
    nested = _first(config, ("rope_parameters",))
    if isinstance(nested, Mapping) and nested:
        return nested.get("rope_theta")
    return _first(config, ("rope_theta", "rotary_emb_base"))
