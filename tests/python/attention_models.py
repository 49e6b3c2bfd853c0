"""Checkpoints and ids for the tests of `python -m aloft attention`."""

import json
import shutil

import numpy as np
import pytest

from aloft.papers.checkpoints import write_checkpoint
from aloft.trial.models import Model, Shape, initialise


def ids_file(path, count=4000, vocab=64, seed=0):
    np.random.default_rng(seed).integers(1, vocab, count).astype("<u2").tofile(path)
    return path


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64, "max_position_embeddings": 32,
         "tie_word_embeddings": False, "intermediate_size": Shape("llama", width=32).mlp}
CONFIGS = {
    "llama": SIZES | {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "rms_norm_eps": 1e-6},
    "gpt2": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64,
             "n_positions": 32},
}


def folder_of(style, folder, seed=0):
    """The same model twice: as `aloft papers` has it, and with what transformers needs."""
    pytest.importorskip("transformers")
    model = initialise(Model(Shape(style, layers=2, heads=4, width=32, context=32, vocab=64)), seed, std=0.3)
    write_checkpoint(folder / "ours", model, {"format": "pt"})
    shutil.copytree(folder / "ours", folder / "theirs")
    (folder / "theirs/model.json").unlink()
    (folder / "theirs/config.json").write_text(json.dumps(CONFIGS[style]))
    return folder / "ours", folder / "theirs"
