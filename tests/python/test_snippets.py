"""The code in README.md and docs/running.md, as it stands there: it loads what fits, and fails where something would be lost."""

import copy
import re

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

import nanogpt
from conftest import ROOT
from test_layouts import CASES, gpt2, llama, neox


def blocks(document, heading):
    """The Python blocks under a heading."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)[1]
    return re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


README, = blocks("README.md", "Load the file")
PACKAGE, PLAIN = blocks("docs/running.md", "Loading the file")
CASE = {case.name: case for case in CASES}
BUILD = {"gpt2": gpt2, "llama": llama, "neox": neox, "nanogpt": CASE["nanogpt"].build, "nanogpt-rope": CASE["nanogpt-rope"].build}
HUGGING_FACE = ["gpt2", "llama", "neox"]


def model_of(name, **options):
    torch.manual_seed(17)
    return (BUILD[name](CASE[name], **options))[0]


@pytest.fixture
def place(tmp_path, monkeypatch, emitted):
    """Makes the current folder one with run/, as `aloft init` of a case writes it, and config.json."""
    def prepare(name, config=None):
        (tmp_path / "run").symlink_to(emitted(CASE[name]))
        if config is not None:
            config.to_json_file(tmp_path / "config.json")
        monkeypatch.chdir(tmp_path)

    return prepare


def arrived(model):
    """Every tensor of the file is in the model, under its own or GPT-NeoX's new name, and nothing ties what the file keeps apart."""
    state = model.state_dict()
    for name, value in load_file("run/init.safetensors").items():
        found = state[name if name in state else "lm_head.weight"]
        assert np.array_equal(found.float().numpy(), value), name


def copied(case, emitted, folder):
    """The case's run with a table of its own in it, which the recipe `random` does not write: tied or not."""
    from safetensors.numpy import save_file
    from safetensors import safe_open

    path = emitted(case) / "init.safetensors"
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    random = np.random.default_rng(4)
    for name in metadata["tables"].split()[: 1 if metadata["tied_head"] == "true" else 2]:
        tensors[name] = random.normal(size=(case.vocab, case.d_model)).astype(np.float32)
    (folder / "run").mkdir()
    save_file(tensors, folder / "run/init.safetensors", metadata=metadata)


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_the_readmes_snippet(place, name):
    place(name, model_of(name).config)
    scope = {}
    exec(README, scope)
    arrived(scope["model"])


@pytest.mark.parametrize("snippet", [PACKAGE, PLAIN], ids=["package", "plain torch"])
@pytest.mark.parametrize("name", [*HUGGING_FACE, "nanogpt", "nanogpt-rope"])
def test_what_fits_arrives(tmp_path, monkeypatch, emitted, snippet, name):
    copied(CASE[name], emitted, tmp_path)
    monkeypatch.chdir(tmp_path)
    model = model_of(name)
    if snippet == PLAIN and name == "neox" and "embed_out.weight" not in model.state_dict():
        with pytest.raises(AssertionError, match="embed_out"):  # the head's new name: the package knows it
            exec(snippet, {"model": model})
        return
    exec(snippet, {"model": model})
    arrived(model)
    half = model_of(name).to(torch.bfloat16)
    exec(snippet, {"model": half})


def deeper(name):
    case = copy.copy(CASE[name])
    case.layers = 5
    return BUILD[name](case)[0]


def on_meta(name):
    return model_of(name).to("meta")


def untied(name):
    """The model of a tied architecture with a head of its own."""
    model = model_of(name)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    return model


def tied(name):
    return model_of(name, tie_word_embeddings=True)


# What load_state_dict(strict=False) takes without a word.
LOST = [("gpt2", deeper), ("nanogpt", deeper), ("llama", deeper), ("neox", deeper), ("gpt2", untied), ("nanogpt", untied), ("llama", tied),
        ("gpt2", on_meta), ("llama", on_meta)]


@pytest.mark.parametrize("snippet", [PACKAGE, PLAIN], ids=["package", "plain torch"])
@pytest.mark.parametrize("name, change", LOST, ids=lambda value: getattr(value, "__name__", value))
def test_what_would_be_lost_is_an_error(tmp_path, monkeypatch, emitted, snippet, name, change):
    copied(CASE[name], emitted, tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception) as caught:
        exec(snippet, {"model": change(name)})
    assert type(caught.value).__name__ in ("InitError", "AssertionError", "NotImplementedError"), repr(caught.value)


def test_the_file_says_what_it_was_designed_for(emitted):
    from safetensors import safe_open

    with safe_open(emitted(CASE["llama"]) / "init.safetensors", "np") as file:
        said = file.metadata()
    assert (said["heads"], said["kv_heads"], said["rope_base"]) == ("8", "2", "10000")
    with safe_open(emitted(CASE["gpt2"]) / "init.safetensors", "np") as file:
        assert "rope_base" not in file.metadata()


def test_other_heads_of_the_same_shape_are_refused(tmp_path, monkeypatch, emitted):
    from aloft import InitError, apply_init

    file = emitted(CASE["llama"]) / "init.safetensors"
    case = copy.copy(CASE["llama"])
    case.heads, case.kv_heads = 4, 1  # heads of 16 rows for 8: the same shapes
    with pytest.raises(InitError, match="designed for heads 8, the model has 4"):
        apply_init(llama(case)[0], file)
    case.heads, case.kv_heads = 8, 2
    old = {"rope_theta": 5e5} if int(transformers.__version__.split(".")[0]) < 5 else {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}
    with pytest.raises(InitError, match="designed for rope base 10000, the model has 500000"):
        apply_init(llama(case, **old)[0], file)
    config = nanogpt.Config(CASE["nanogpt"].layers, 4, CASE["nanogpt"].d_model, CASE["nanogpt"].context, CASE["nanogpt"].vocab)
    model = nanogpt.GPT(config)
    model.config = config  # as nanoGPT's own
    with pytest.raises(InitError, match="designed for heads 8, the model has 4"):
        apply_init(model, emitted(CASE["nanogpt"]) / "init.safetensors")
