"""aloft.complete_checkpoint: a Hugging Face folder in, the same folder out with the designed tensors replaced."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import load_file as load_torch_file
from safetensors.torch import save_file

from aloft import InitError, complete_checkpoint
from aloft.unfinished import unfinished_folder
from conftest import ROOT

GPT2 = {"format": "pt", "architecture": "gpt2", "orientation": "in_out", "tables": "transformer.wte.weight lm_head.weight transformer.wpe.weight"}


def gpt2(**options):
    torch.manual_seed(1)
    config = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, n_positions=8, vocab_size=11, **options)
    return transformers.GPT2LMHeadModel(config)


def designed(seed=0):
    random = np.random.default_rng(seed)
    shapes = {"transformer.wte.weight": (11, 8), "transformer.h.0.attn.c_attn.weight": (8, 24),
              "transformer.h.1.attn.c_attn.weight": (8, 24), "transformer.ln_f.weight": (8,)}
    return {k: random.normal(size=s).astype(np.float32) for k, s in shapes.items()}


def init_file(folder, values=None, metadata=GPT2):
    path = folder / "init.safetensors"
    save_numpy(values or designed(), str(path), metadata=metadata)
    return path


def refused(base, init, output, *mentions):
    before = {p: p.read_bytes() for p in base.rglob("*") if p.is_file()}
    with pytest.raises(InitError) as caught:
        complete_checkpoint(base, init, output)
    for text in mentions:
        assert text in str(caught.value)
    assert {p: p.read_bytes() for p in base.rglob("*") if p.is_file()} == before
    assert not list(output.parent.rglob(".*aloft-partial*"))


def test_a_single_file(tmp_path):
    gpt2().save_pretrained(tmp_path / "base", safe_serialization=True)
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    replaced = complete_checkpoint(tmp_path / "base", init_file(tmp_path), tmp_path / "out")
    assert sorted(replaced) == sorted(designed())
    base, out = load_file(tmp_path / "base/model.safetensors"), load_file(tmp_path / "out/model.safetensors")
    assert base.keys() == out.keys()
    for name, value in base.items():
        wanted = designed().get(name, value)
        assert np.array_equal(out[name], wanted), name
    for path in (tmp_path / "base").iterdir():
        assert path.name == "model.safetensors" or (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    for name, value in designed().items():
        assert np.array_equal(model.state_dict()[name].numpy(), value), name
    assert torch.equal(model.lm_head.weight, model.transformer.wte.weight)


def test_shards_and_dtypes_stay(tmp_path):
    gpt2().to(torch.bfloat16).save_pretrained(tmp_path / "base", safe_serialization=True, max_shard_size="1KB")
    shards = sorted(p.name for p in (tmp_path / "base").glob("*.safetensors"))
    assert len(shards) > 2 and (tmp_path / "base/model.safetensors.index.json").exists()
    complete_checkpoint(tmp_path / "base", init_file(tmp_path), tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").glob("*.safetensors")) == shards
    found = 0
    for shard in shards:
        base, out = load_torch_file(tmp_path / "base" / shard), load_torch_file(tmp_path / "out" / shard)
        assert base.keys() == out.keys()
        for name, value in out.items():
            assert value.dtype == torch.bfloat16
            if name in designed():
                found += 1
                assert torch.equal(value, torch.from_numpy(designed()[name]).to(torch.bfloat16)), name
            else:
                assert torch.equal(value, base[name]), name
    assert found == 4
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")


def test_checkpoints_of_the_base_model_alone(tmp_path):
    gpt2().transformer.save_pretrained(tmp_path / "base", safe_serialization=True)  # names without `transformer.`
    replaced = complete_checkpoint(tmp_path / "base", init_file(tmp_path), tmp_path / "out")
    assert sorted(replaced) == sorted(designed())
    out = load_file(tmp_path / "out/model.safetensors")
    assert np.array_equal(out["h.1.attn.c_attn.weight"], designed()["transformer.h.1.attn.c_attn.weight"])


def test_refusals_leave_nothing(tmp_path):
    base, out = tmp_path / "base", tmp_path / "out"
    gpt2().save_pretrained(base, safe_serialization=True)
    values = designed()
    refused(base, init_file(tmp_path, values | {"model.layers.0.x": np.ones(3, np.float32)}), out, "has no model.layers.0.x")
    refused(base, init_file(tmp_path, values | {"transformer.wte.weight": np.ones((12, 8), np.float32)}), out, "(12, 8)", "(11, 8)")
    refused(base, init_file(tmp_path, values | {"lm_head.weight": np.ones((11, 8), np.float32)}), out, "ties it")
    gpt2().half().save_pretrained(tmp_path / "half", safe_serialization=True)
    refused(tmp_path / "half", init_file(tmp_path, values | {"transformer.ln_f.weight": np.full(8, 1e6, np.float32)}), out, "F16")
    gpt2(tie_word_embeddings=False).save_pretrained(tmp_path / "own", safe_serialization=True)
    refused(tmp_path / "own", init_file(tmp_path, values, GPT2 | {"tied_head": "true"}), out, "has its own")
    assert not out.exists()
    complete_checkpoint(tmp_path / "own", init_file(tmp_path, values | {"lm_head.weight": np.ones((11, 8), np.float32)}), tmp_path / "own-out")
    (tmp_path / "none").mkdir()
    refused(tmp_path / "none", init_file(tmp_path), out, "no *.safetensors")
    out.mkdir()
    refused(base, init_file(tmp_path), out, "exists")


def test_from_the_command_line(tmp_path):
    gpt2().save_pretrained(tmp_path / "base", safe_serialization=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tools/python")}

    def run(*words):
        return subprocess.run([sys.executable, "-m", "aloft", "complete", *map(str, words)], env=environment, capture_output=True, text=True)

    init = init_file(tmp_path)
    done = run(tmp_path / "base", init, tmp_path / "out")
    assert done.returncode == 0 and "4 tensors replaced" in done.stdout, done.stderr
    again = run(tmp_path / "base", init, tmp_path / "out")
    assert again.returncode == 2 and again.stderr.startswith("aloft: ") and len(again.stderr.splitlines()) == 1
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/model.safetensors").write_bytes(b"not tensors")
    assert run(tmp_path / "broken", init, tmp_path / "x").returncode == 3
    assert run(tmp_path / "absent", init, tmp_path / "x").returncode == 3


def test_the_package_needs_no_torch():
    program = ("import sys, json; sys.modules['torch'] = None; sys.modules['safetensors'] = None\n"
               "import aloft, numpy\n"
               "print(json.dumps([m for m in ('torch', 'yaml', 'matplotlib', 'transformers') if sys.modules.get(m)]))")
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT / "tools/python")},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_numpy_alone_loads_a_file(tmp_path):
    init = init_file(tmp_path)
    program = (f"import sys; sys.modules['torch'] = None\nimport aloft, numpy\n"
               f"m = {{'transformer.ln_f.weight': numpy.zeros(8), 'transformer.wte.weight': numpy.zeros((11, 8)), "
               f"'transformer.h.0.attn.c_attn.weight': numpy.zeros((8, 24)), 'transformer.h.1.attn.c_attn.weight': numpy.zeros((8, 24))}}\n"
               f"aloft.apply_init(m, {str(init)!r}); print(all(v.any() for v in m.values()))")
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT / "tools/python")},
                          capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_what_a_killed_process_left_is_removed_and_nothing_that_lives(tmp_path):
    digits = "0123456789abcdef"
    (tmp_path / f".out.aloft-partial-{digits}").mkdir()
    (tmp_path / f".out.aloft-partial-{digits}/model.safetensors").write_text("half")
    (tmp_path / f".other.aloft-partial-{digits}").mkdir()
    (tmp_path / ".out.aloft-partial-mine").mkdir()
    with unfinished_folder(tmp_path / "out") as living, unfinished_folder(tmp_path / "out") as second:
        names = {p.name for p in tmp_path.iterdir()}
        assert names == {f".other.aloft-partial-{digits}", ".out.aloft-partial-mine", living.name, second.name}
        second.rename(tmp_path / "out")
    assert {p.name for p in tmp_path.iterdir()} >= {"out", living.name}
    with pytest.raises(KeyError), unfinished_folder(tmp_path / "other") as failed:
        raise KeyError
    assert not failed.exists()
