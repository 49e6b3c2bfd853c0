"""aloft.apply_init: every tensor arrives where the model reads it, or nothing changes and the message says why."""

import copy
import json
import os
import struct

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import save_file
from torch import nn

from aloft import InitError, apply_init
from aloft.names import plain
from aloft.tensors import read_tensors, widened

LINEAR = {"format": "pt", "architecture": "toy", "orientation": "out_in", "tables": "wte.weight"}


class Conv1D(nn.Module):  # Hugging Face's: [in, out]
    def __init__(self, outputs, inputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))


class Toy(nn.Module):
    def __init__(self, projection=lambda o, i: nn.Linear(i, o, bias=False), tie=True):
        super().__init__()
        self.wte = nn.Embedding(7, 4)
        self.square, self.wide = projection(4, 4), projection(12, 4)
        self.norm = nn.LayerNorm(4)
        self.lm_head = nn.Linear(4, 7, bias=False)
        if tie:
            self.lm_head.weight = self.wte.weight


def tensors(seed=0):
    random = np.random.default_rng(seed)
    shapes = {"wte.weight": (7, 4), "square.weight": (4, 4), "wide.weight": (12, 4), "norm.weight": (4,)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write(path, values, metadata=LINEAR):
    save_file({k: np.ascontiguousarray(v) for k, v in values.items()}, str(path), metadata=metadata)
    return path


def state(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def refused(model, path, *mentions):
    """apply_init refuses, says so, and the model is as it was."""
    before = copy.deepcopy(model) if isinstance(model, dict) else state(model)
    with pytest.raises(InitError) as caught:
        apply_init(model, path)
    for text in mentions:
        assert text in str(caught.value)
    after = model if isinstance(model, dict) else model.state_dict()
    for name, value in before.items():
        same = np.array_equal(after[name], value) if isinstance(value, np.ndarray) else torch.equal(after[name], value)
        assert same, name


def test_every_tensor_arrives_and_the_report_says_what_did_not(tmp_path):
    values, model = tensors(), Toy()
    report = apply_init(model, write(tmp_path / "i.safetensors", values))
    for name, value in values.items():
        assert np.array_equal(model.state_dict()[name].numpy(), value), name
    assert torch.equal(model.lm_head.weight, model.wte.weight)
    assert sorted(report.loaded) == sorted(values) and not report.transposed and report.rounded == 0
    assert report.untouched == ["norm.bias"]  # the tied head is no parameter of its own
    assert "4 tensors loaded, 0 of them transposed, 1 parameters" in str(report)


def test_wrappers_prefixes_are_seen_through(tmp_path):
    class Wrapper(nn.Module):
        def __init__(self, inner, name):
            super().__init__()
            self.add_module(name, inner)

    path = write(tmp_path / "i.safetensors", tensors(1))
    for names in (["_orig_mod"], ["module"], ["module", "_orig_mod"], ["_orig_mod", "module"]):
        inner = Toy()
        model = inner
        for name in names:
            model = Wrapper(model, name)
        assert len(apply_init(model, path).loaded) == 4
        assert np.array_equal(inner.wide.weight.detach().numpy(), tensors(1)["wide.weight"])
    within = Toy()  # one compiled block inside a model that is not
    within.wide = Wrapper(within.wide, "_orig_mod")
    apply_init(within, path)
    assert np.array_equal(within.wide._orig_mod.weight.detach().numpy(), tensors(1)["wide.weight"])
    assert plain("module._orig_mod.a.module.b") == "a.b" and plain("modules.a") == "modules.a"


def test_a_module_that_is_called_module_is_still_found(tmp_path):
    model = nn.ModuleDict({"module": Toy()})
    values = {f"module.{k}": v for k, v in tensors().items()}
    assert sorted(apply_init(model, write(tmp_path / "i.safetensors", values, LINEAR | {"tables": "module.wte.weight"})).loaded) == sorted(values)


@pytest.mark.parametrize("lies", ["out_in", "in_out"])
@pytest.mark.parametrize("modules", ["Linear", "Conv1D"])
def test_orientation_is_the_modules_and_tables_stay(tmp_path, lies, modules):
    values = tensors(2)
    stored = {k: v.T if lies == "in_out" and k in ("square.weight", "wide.weight") else v for k, v in values.items()}
    path = write(tmp_path / "i.safetensors", stored, LINEAR | {"orientation": lies})
    model = Toy() if modules == "Linear" else Toy(Conv1D)
    report = apply_init(model, path)
    for name in ("square.weight", "wide.weight"):  # the square one has the same shape either way
        found = model.state_dict()[name].numpy()
        assert np.array_equal(found if modules == "Linear" else found.T, values[name]), name
    assert np.array_equal(model.wte.weight.detach().numpy(), values["wte.weight"])
    assert len(report.transposed) == (2 if (lies == "in_out") != (modules == "Conv1D") else 0)


def test_hugging_face_conv1d_is_recognised(tmp_path):
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, n_positions=8, vocab_size=11))
    weight = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    name = "transformer.h.0.attn.c_proj.weight"
    apply_init(model, write(tmp_path / "i.safetensors", {name: weight}, LINEAR | {"orientation": "in_out"}))
    assert np.array_equal(model.state_dict()[name].numpy(), weight)
    apply_init(model, write(tmp_path / "o.safetensors", {name: weight}, LINEAR))
    assert np.array_equal(model.state_dict()[name].numpy().T, weight)


def test_what_does_not_fit_is_refused_and_nothing_changes(tmp_path):
    values = tensors()
    path = tmp_path / "i.safetensors"
    refused(Toy(), write(path, values | {"other.weight": values["norm.weight"]}), "no other.weight", "another architecture (toy)")
    refused(Toy(), write(path, values | {"wte.weight": np.ones((8, 4), np.float32)}), "wte.weight is (8, 4)", "(7, 4)", "--model-vocab-size")
    refused(Toy(), write(path, values | {"norm.weight": np.full(4, np.nan, np.float32)}), "norm.weight")
    refused(Toy().half(), write(path, values | {"norm.weight": np.full(4, 1e6, np.float32)}), "norm.weight", "float16")
    refused(Toy(), write(path, values | {"norm.weight": np.ones(4, np.int32)}), "holds no weights")


def test_heads_that_only_one_side_ties_are_refused(tmp_path):
    values, path = tensors(), tmp_path / "i.safetensors"
    head = {"lm_head.weight": values["wte.weight"] + 1}
    refused(Toy(), write(path, values | head), "ties", "lm_head.weight")
    apply_init(Toy(), write(path, values | {"lm_head.weight": values["wte.weight"]}))  # the same twice is one
    model = Toy(tie=False)
    apply_init(model, write(path, values | head))
    assert np.array_equal(model.lm_head.weight.detach().numpy(), head["lm_head.weight"])
    tied = LINEAR | {"tables": "wte.weight lm_head.weight", "tied_head": "true"}
    refused(Toy(tie=False), write(path, values, tied), "has its own, lm_head.weight")
    apply_init(Toy(), write(path, values, tied))
    apply_init(Toy(tie=False), write(path, values, tied | {"tied_head": "false"}))  # a recipe that designs no head
    apply_init(Toy(tie=False), write(path, {"norm.weight": values["norm.weight"]}, tied))  # nor an embedding


def test_bf16_files_and_models(tmp_path):
    values = tensors(3)
    model = Toy().to(torch.bfloat16)
    report = apply_init(model, write(tmp_path / "i.safetensors", values))
    assert 0 < report.rounded < 2**-7 * max(np.abs(v).max() for v in values.values())
    for name, value in values.items():
        assert torch.equal(model.state_dict()[name], torch.from_numpy(value).to(torch.bfloat16)), name
    from safetensors.torch import save_file as save_torch

    rounded = {k: torch.from_numpy(v).to(torch.bfloat16) for k, v in values.items()}
    save_torch(rounded, str(tmp_path / "b.safetensors"), metadata=LINEAR)
    full = Toy()
    assert apply_init(full, tmp_path / "b.safetensors").rounded == 0
    for name, value in rounded.items():
        assert torch.equal(full.state_dict()[name], value.float()), name


def test_a_dict_of_arrays(tmp_path):
    values = tensors(4)
    model = {f"_orig_mod.{k}": np.zeros(v.shape, np.float64) for k, v in values.items()} | {"more": np.ones(3)}
    report = apply_init(model, write(tmp_path / "i.safetensors", values))
    for name, value in values.items():
        assert np.array_equal(model[f"_orig_mod.{name}"], value)
    assert report.untouched == ["more"]
    refused(model | {"_orig_mod.wte.weight": np.zeros((3, 3))}, tmp_path / "i.safetensors", "wte.weight is (7, 4)")
    whole = {k: np.zeros(v.shape, np.int64) for k, v in values.items()}
    refused(whole, tmp_path / "i.safetensors", "int64")


def test_files_that_are_none_are_refused(tmp_path):
    path = tmp_path / "i.safetensors"
    write(path, tensors())
    sound = path.read_bytes()
    size = struct.unpack("<Q", sound[:8])[0]
    header = json.loads(sound[8 : 8 + size])

    def with_header(change):
        changed = copy.deepcopy(header)
        change(changed)
        text = json.dumps(changed).encode()
        return struct.pack("<Q", len(text)) + text + sound[8 + size :]

    broken = {
        "empty": b"", "short": b"abc", "text": b"this is a text and no file of tensors",
        "length": struct.pack("<Q", 1 << 40) + sound[8:], "json": sound[:9] + b"x" + sound[10:], "cut": sound[:-40],
        "list": struct.pack("<Q", 2) + b"[]",
        "offsets": with_header(lambda h: h["wte.weight"].update(data_offsets=[0, 10**6])),
        "dtype": with_header(lambda h: h["wte.weight"].update(dtype="F7")),
        "shape": with_header(lambda h: h["wte.weight"].update(shape=[7, 5])),
        "no offsets": with_header(lambda h: h["wte.weight"].pop("data_offsets")),
        "a number": with_header(lambda h: h.update({"wte.weight": 3})),
        "negative": with_header(lambda h: h["wte.weight"].update(shape=[-7, -4])),
        "no whole number": with_header(lambda h: h["wte.weight"].update(data_offsets=[0.0, 112])),
        "nested": struct.pack("<Q", 200000) + b"[" * 200000, "no tensors": with_header(lambda h: [h.pop(name) for name in tensors()]),
    }
    for name, content in broken.items():
        path.write_bytes(content)
        refused(Toy(), path, "i.safetensors")
    with pytest.raises(OSError):
        apply_init(Toy(), tmp_path / "absent.safetensors")


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path):
    path = write(tmp_path / "i.safetensors", tensors())
    stored, _ = read_tensors(path)
    os.truncate(path, path.stat().st_size - 40)
    with pytest.raises(InitError, match="i.safetensors: ends at byte .*, while it was read"):
        [t.data for t in stored.values()]
    stored, _ = read_tensors(write(path, tensors()))
    write(tmp_path / "other.safetensors", tensors(9)).replace(path)  # the file that was opened is read to its end
    assert all(np.array_equal(widened(stored[name]), value) for name, value in tensors().items())
