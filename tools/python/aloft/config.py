"""What a model's configuration says about the head and the attention that a file was designed for."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import InitError

# Hugging Face ties the head to the embedding where a configuration says nothing, but for these types.
UNTIED = frozenset({"llama", "mistral", "mixtral", "qwen2", "qwen3", "gpt_neox", "phi", "phi3", "olmo", "olmo2", "olmo3", "gptj", "persimmon",
                    "stablelm", "arcee", "helium", "nanochat", "granite", "granitemoe", "seed_oss", "qwen2_moe", "qwen3_moe", "deepseek_v3",
                    "codegen", "glm"})
LEARNED_POSITIONS = (["wpe", "weight"], ["embed_positions", "weight"], ["position_embeddings", "weight"])
# Types that no built-in architecture describes: the list of pipeline/model/misfits.cpp (a test compares them).
NO_BUILT_IN = frozenset({"afmoe", "albert", "apertus", "bamba", "bart", "bert", "bert-generation", "big_bird", "bigbird_pegasus", "biogpt", "bitnet",
                         "blenderbot", "blenderbot-small", "bloom", "camembert", "canine", "codegen", "cohere", "cohere2", "cohere2_moe", "convbert", "ctrl",
                         "data2vec-text", "dbrx", "deberta", "deberta-v2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "diffllama",
                         "distilbert", "doge", "dots1", "electra", "encoder-decoder", "ernie", "ernie4_5", "ernie4_5_moe",
                         "ernie4_5_vl_moe_text", "ernie_m", "esm", "eurobert", "exaone4", "exaone_moe", "falcon", "falcon_h1", "falcon_mamba",
                         "flaubert", "flex_olmo", "fnet", "fsmt", "funnel", "gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n",
                         "gemma3n_text", "gemma4", "gemma4_text", "glm", "glm4", "glm4_moe", "glm4_moe_lite", "glm4v_moe_text", "glm4v_text",
                         "glm_moe_dsa", "gpt_bigcode", "gpt_neo", "gpt_neox_japanese", "gpt_oss", "gptj", "granite_swa", "granitemoe_swa",
                         "granitemoehybrid", "gte", "helium", "hunyuan_v1_dense", "hunyuan_v1_moe", "hunyuan_vl_text", "hy_v3", "ibert",
                         "jais2", "jamba", "jetmoe", "jina_embeddings_v3", "kimi_k2", "kimi_linear", "layoutlm", "layoutlmv2", "layoutlmv3",
                         "led", "lfm2", "lfm2_moe", "lilt", "llama4", "llama4_text", "longcat_flash", "longformer", "longt5", "luke", "lxmert",
                         "m2m_100", "mamba", "mamba2", "marian", "markuplm", "mbart", "mega", "megatron-bert", "mimo_v2_flash", "minicpm3",
                         "minimax", "minimax_m2", "mistral4", "mobilebert", "modernbert", "mpnet", "mpt", "mra", "mt5", "mvp", "nanochat",
                         "nemotron", "nemotron_h", "nezha", "nllb-moe", "nomic_bert", "nystromformer", "olmo2", "olmo3", "olmo_hybrid", "olmoe",
                         "openai-gpt", "opt", "pegasus", "pegasus_x", "perceiver", "persimmon", "phi", "phimoe", "plbart", "prophetnet",
                         "qdqbert", "qwen3", "qwen3_5", "qwen3_5_moe", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_moe", "qwen3_next",
                         "qwen3_omni_moe_text", "qwen3_vl_moe_text", "qwen3_vl_text", "recurrent_gemma", "rembert", "roberta",
                         "roberta-prelayernorm", "roc_bert", "roformer", "rwkv", "speech_to_text", "splinter", "squeezebert", "stablelm",
                         "switch_transformers", "t5", "t5gemma", "t5gemma2", "tapas", "transfo-xl", "trocr", "umt5", "visual_bert", "whisper",
                         "xglm", "xlm", "xlm-prophetnet", "xlm-roberta", "xlm-roberta-xl", "xlnet", "xlstm", "xmod", "yoso", "youtu", "zamba",
                         "zamba2"})
BUILT_IN = frozenset({"arcee", "gpt2", "llama", "mixtral", "nanogpt", "nanogpt-rope", "neox", "olmo", "phi3", "starcoder2"})
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
    files do not say theirs. So does attention of another kind, with QK-norm for example. config: an object, a mapping or None."""
    kind, architecture = _first(config, ("model_type",)), metadata.get("architecture")
    if kind in NO_BUILT_IN and architecture in BUILT_IN:
        raise InitError(f"{path}: it was designed for {architecture}, and {owner} is a {kind}, whose attention computes something else: "
                        "`aloft init --model-config` says what differs")
    pairs = {"heads": _first(config, HEADS), "kv_heads": _first(config, ("num_key_value_heads",)), "rope_base": _rope_base(config)}
    for key, found in pairs.items():
        said = metadata.get(key)
        if said is not None and isinstance(found, (int, float)) and abs(float(said) - found) > 1e-6 * abs(found):
            raise InitError(f"{path}: it was designed for {key.replace('_', ' ')} {said}, {owner} has {found:g}: "
                            "design with --model-config of this model")
    rotations = metadata.get("rope_scaling")
    if rotations is not None and pairs["rope_base"] is not None and not _same_scaling(rotations, config):
        raise InitError(f"{path}: it was designed for RoPE scaling {rotations}, {owner} has {_rope_scaling(config)[0]}: design with --model-config of "
                        "this model")


def refuse_learned_positions(path: object, owner: str, metadata: Mapping[str, str], names: Iterable[str]) -> None:
    """A design for rotary positions fits a model with a table of positions by its shapes, and finds no rotations there."""
    table = next((name for name in names if name.rsplit(".", 2)[-2:] in LEARNED_POSITIONS), None)
    if "rope_base" in metadata and table is not None:
        raise InitError(f"{path}: it was designed for rotary positions ({metadata.get('architecture', 'unknown')}), {owner} has a table of positions, "
                        f"{table}: design with the --arch of this model")


def _first(config: object, keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = config.get(key) if isinstance(config, Mapping) else getattr(config, key, None)
        if value is not None:
            return value
    return None


def _same_scaling(said: str, config: object) -> bool:
    kind, _, factor = said.partition(" ")
    found, by = _rope_scaling(config)
    return kind == found and (not factor or not isinstance(by, (int, float)) or abs(float(factor) - by) <= 1e-6 * abs(by))


def _rope_scaling(config: object) -> tuple[str, Any]:
    """Kind and factor, by the names that the program has for them: `dynamic` scales nothing within the context."""
    scaling = _first(config, ("rope_scaling", "rope_parameters"))
    if not isinstance(scaling, Mapping):
        return "none", None
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if scaling.get("short_factor") or kind == "su":
        return "longrope", None
    return ("none" if kind in ("default", "dynamic", "mrope") else str(kind)), scaling.get("factor")


def _rope_base(config: object) -> Any:
    """Since transformers 5 in `rope_parameters`; nested by layer type it is no one number."""
    nested = _first(config, ("rope_parameters",))
    if isinstance(nested, Mapping) and nested:
        return nested.get("rope_theta")
    return _first(config, ("rope_theta", "rotary_emb_base"))
