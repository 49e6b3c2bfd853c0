"""config.json files of Hugging Face's models: what fits is designed for as the library builds it, what does not is refused."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch.nn import functional as F

from conftest import PROGRAM, ROOT
from sample_text import dependent_words
from aloft import InitError, apply_init
from aloft.trial.corpus import TOKEN

VOCAB, CONTEXT = 128, 32
ARCHITECTURES = [json.loads(path.read_text()) for path in sorted((ROOT / "tools/architectures").glob("*.json"))]
DEFAULTS = {name: what["defaults"] for a in ARCHITECTURES for name, what in a.get("model_types", {}).items()}
TINY = {"vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 4, "max_position_embeddings": CONTEXT}
GPT2 = {"vocab_size": VOCAB, "n_embd": 64, "n_layer": 4, "n_head": 4, "n_positions": CONTEXT}
LONG = {"rope_type": "longrope", "short_factor": [1.0, 1.5, 2.0, 3.0, 4.0, 5.0], "long_factor": [1.0, 2.0, 4.0, 6.0, 8.0, 9.0],
        "original_max_position_embeddings": 16}

# name -> model type, and what its config says beside the sizes. Every mapped type, and what of it has to be taken into account.
MAPPED = {
    "llama": ("llama", {}),
    "llama-grouped": ("llama", {"num_key_value_heads": 2}),
    "llama-tied": ("llama", {"tie_word_embeddings": True}),
    "mistral": ("mistral", {"sliding_window": 16}),
    "qwen2": ("qwen2", {}),
    "seed_oss": ("seed_oss", {"head_dim": 16}),
    "granite": ("granite", {"attention_multiplier": 0.25}),
    "granite-multiplied": ("granite", {"embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0,
                                       "attention_multiplier": 0.0625}),
    "granite-tied": ("granite", {"embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0,
                                 "attention_multiplier": 0.0625, "tie_word_embeddings": True}),
    "smollm3": ("smollm3", {"tie_word_embeddings": False, "no_rope_layer_interval": 2, "pad_token_id": None}),
    "smollm3-tied": ("smollm3", {"no_rope_layers": [1, 0, 1, 1], "pad_token_id": None}),
    "mixtral": ("mixtral", {"num_local_experts": 2}),
    "qwen2_moe": ("qwen2_moe", {"num_experts": 2, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32}),
    "granitemoe": ("granitemoe", {"num_local_experts": 2, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0,
                                  "attention_multiplier": 0.0625}),
    "arcee": ("arcee", {}),
    "olmo": ("olmo", {}),
    "starcoder2": ("starcoder2", {}),
    "starcoder2-untied": ("starcoder2", {"tie_word_embeddings": False}),
    "phi3": ("phi3", {"num_key_value_heads": 2, "pad_token_id": None}),
    "phi3-partial": ("phi3", {"partial_rotary_factor": 0.75, "pad_token_id": None}),
    "phi3-long": ("phi3", {"partial_rotary_factor": 0.75, "pad_token_id": None, "rope_scaling": LONG}),
    "gpt2": ("gpt2", {}),
    "gpt_neox": ("gpt_neox", {"num_attention_heads": 2, "attention_bias": True}),
}


def run(*words):
    return subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True)


def config_of(model_type, options):
    """Hugging Face's config of a tiny model, or a skip where this version has no such class."""
    if model_type not in transformers.CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no {model_type}")
    sizes = GPT2 if model_type == "gpt2" else TINY
    if model_type == "gpt_neox":  # which has no such field
        sizes = {key: value for key, value in TINY.items() if key != "num_key_value_heads"}
    return transformers.CONFIG_MAPPING[model_type](**(sizes | options))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Folder with the counts of a small text, and a held-out part of it as ids."""
    folder = tmp_path_factory.mktemp("corpus")
    text = dependent_words(40000, types=110)
    cut = text.index("\n", len(text) * 9 // 10)
    (folder / "train.txt").write_text(text[:cut])
    done = run("count", "--corpus", folder / "train.txt", "--tokenizer", "words", "--vocab-size", VOCAB, "--output",
               folder / "counts.safetensors", "--vocab-output", folder / "vocab.json", "--quiet")
    assert done.returncode == 0, done.stderr
    ids = {token: i for i, token in enumerate(json.loads((folder / "vocab.json").read_text())["tokens"])}
    held = torch.tensor([ids.get(token, 0) for token in TOKEN.findall(text[cut:])])
    return folder, held[: len(held) // (CONTEXT + 1) * (CONTEXT + 1)].view(-1, CONTEXT + 1)[:48]


def loss_of(model, held):
    model.eval()
    with torch.no_grad():
        return F.cross_entropy(model(held[:, :-1]).logits.flatten(0, 1), held[:, 1:].flatten()).item()


def designed(config, corpus, folder, *more):
    (folder / "config.json").write_text(config.to_json_string())
    done = run("init", "--counts", corpus[0] / "counts.safetensors", "--model-config", folder / "config.json", "--output",
               folder / "run", *more)
    assert done.returncode == 0, done.stderr
    return folder / "run", done.stderr


def start(name, corpus, folder):
    """Losses on held-out text of the real class: with the library's own init, and with the design for its config."""
    config = config_of(*MAPPED[name])
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(config)
    random = loss_of(model, corpus[1])
    apply_init(model, designed(config, corpus, folder)[0] / "init.safetensors")
    return random, loss_of(model, corpus[1])


@pytest.fixture(scope="module")
def llama(corpus, tmp_path_factory):
    return start("llama", corpus, tmp_path_factory.mktemp("llama"))


@pytest.mark.parametrize("name", MAPPED)
def test_a_design_for_a_mapped_type_starts_as_low_as_a_llama(name, corpus, llama, tmp_path):
    random, loss = start(name, corpus, tmp_path)
    print(f"{name}: {loss:.3f}, random {random:.3f}, llama {llama[1]:.3f}")
    assert abs(random - llama[0]) < 0.1 and llama[1] < llama[0] - 1.3
    # GPT-NeoX rotates a quarter of a head: with heads of 32 rows four pairs tell distances apart, not eight
    assert loss < llama[1] + (0.3 if name == "gpt_neox" else 0.06)


@pytest.mark.parametrize("model_type", [t for t in DEFAULTS if t in transformers.CONFIG_MAPPING])
def test_what_a_file_leaves_out_is_what_the_library_builds(model_type, tmp_path):
    """For a file that says its type alone, and for one that the library itself wrote."""
    config = transformers.CONFIG_MAPPING[model_type]()
    heads = config.num_attention_heads
    rope = getattr(config, "rope_parameters", None) or {}
    wanted = {"layers": config.num_hidden_layers, "heads": heads, "d_model": config.hidden_size, "vocab": config.vocab_size,
              "kv_heads": getattr(config, "num_key_value_heads", None) or heads, "context": config.max_position_embeddings,
              "head_dim": getattr(config, "head_dim", None) or config.hidden_size // heads, "init_std": config.initializer_range,
              "tied_head": config.tie_word_embeddings,
              "mlp_width": getattr(config, "intermediate_size", None) or 4 * config.hidden_size}
    base = rope.get("rope_theta", getattr(config, "rope_theta", getattr(config, "rotary_emb_base", None)))
    if base is not None:
        wanted["rope_base"] = base
    for text in (json.dumps({"model_type": model_type}), config.to_json_string(use_diff=True)):
        (tmp_path / "config.json").write_text(text)
        done = run("inspect", tmp_path / "config.json", "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        found.setdefault("kv_heads", found["heads"])
        found.setdefault("mlp_width", 4 * found["d_model"])
        assert "refused_by_init" not in found
        assert {key: found.get(key) for key in wanted} == wanted


REFUSED = {"gemma": "norm gains that count from 1", "gemma2": "soft caps", "gemma3_text": "QK-norm", "olmo2": "no norm before attention",
           "olmo3": "QK-norm", "cohere": "rotary pairs of neighbouring rows", "cohere2": "layers without positions", "qwen3": "QK-norm",
           "helium": "rotary pairs of neighbouring rows", "nanochat": "a norm on the embedding", "stablelm": "LayerNorm",
           "gpt_neo": "learned positions", "gptj": "LayerNorm", "bloom": "ALiBi", "falcon": "LayerNorm",
           "bert": "attention to both sides", "roberta": "it is an encoder", "electra": "it is an encoder", "t5": "an encoder"}


@pytest.mark.parametrize("model_type", REFUSED)
def test_what_does_not_fit_is_refused_by_name_with_and_without_an_architecture(model_type, tmp_path):
    written = transformers.CONFIG_MAPPING[model_type]().to_json_string() if model_type in transformers.CONFIG_MAPPING else \
        json.dumps(TINY | {"model_type": model_type})
    (tmp_path / "config.json").write_text(written)
    for more in ([], ["--arch", "llama"]):
        done = run("plan", "--tokens", 1000, "--vocab-size", 100, "--model-config", tmp_path / "config.json", *more)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
        assert f"model_type '{model_type}' has " in done.stderr and REFUSED[model_type] in done.stderr
    seen = run("inspect", tmp_path / "config.json", "--json")
    assert seen.returncode == 0 and REFUSED[model_type] in json.loads(seen.stdout)["refused_by_init"]


@pytest.mark.parametrize("scaling", [
    {"rope_type": "linear", "factor": 4.0},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    {"rope_type": "longrope", "factor": 2.0, "short_factor": [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], "long_factor": [2.0] * 8,
     "original_max_position_embeddings": 64},
], ids=lambda s: s["rope_type"])
def test_heads_are_designed_for_the_frequencies_that_the_model_has(scaling, corpus, llama, tmp_path):
    if not hasattr(transformers, "modeling_rope_utils"):
        pytest.skip(f"transformers {transformers.__version__} knows linear scaling alone")
    config = config_of("llama", {"rope_scaling": scaling | {"rope_theta": 5000.0}, "rope_theta": 5000.0})
    model = transformers.AutoModelForCausalLM.from_config(config)
    folder, _ = designed(config, corpus, tmp_path)
    found = json.loads((folder / "offset.json").read_text())["frequencies"]
    assert found == pytest.approx(model.model.rotary_emb.inv_freq.tolist(), rel=1e-6)
    apply_init(model, folder / "init.safetensors")
    loss = loss_of(model, corpus[1])
    assert loss < llama[1] + 0.5  # slower rotations tell neighbours apart less well
    (tmp_path / "unscaled").mkdir()
    unscaled, _ = designed(config_of("llama", {"rope_theta": 5000.0}), corpus, tmp_path / "unscaled")
    with pytest.raises(InitError, match=f"designed for RoPE scaling none, the model has {scaling['rope_type']}"):
        apply_init(model, unscaled / "init.safetensors")
    model.load_state_dict(load_file(unscaled / "init.safetensors"), strict=False)
    # longrope's factors here are near 1: little is lost without them
    assert loss < loss_of(model, corpus[1]) + (0.01 if scaling["rope_type"] == "longrope" else 0)
