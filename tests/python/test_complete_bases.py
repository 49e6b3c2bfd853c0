"""complete on bases as people have them: a tied head stored twice, other names, quantised, sharded, damaged; and the command line."""

import json
import os
import shutil
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

from aloft import InitError, OutputExistsError, UsageError, complete_checkpoint
from conftest import ROOT
from test_complete_checkpoint import GPT2, designed, gpt2, init_file, refused
from test_wrapped_models import LLAMA, NEOX, UNTIED, llama

TIED = GPT2 | {"tied_head": "true"}


def base_of(model, folder):
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def rewritten(folder, change):
    """Changes the tensors of folder/model.safetensors in place."""
    tensors = load_torch_file(folder / "model.safetensors")
    change(tensors)
    save_file({k: v.contiguous() for k, v in tensors.items()}, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


def configured(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    config.update(changes)
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return folder


def test_a_tied_head_that_is_stored_too_becomes_the_embedding(tmp_path):
    """transformers 5 unties a head that differs from the embedding."""
    base = rewritten(base_of(gpt2(), tmp_path / "base"), lambda t: t.update({"lm_head.weight": t["transformer.wte.weight"].clone()}))
    replaced = complete_checkpoint(base, init_file(tmp_path, metadata=TIED), tmp_path / "out")
    assert sorted(replaced) == sorted(designed())
    out = load_file(tmp_path / "out/model.safetensors")
    assert np.array_equal(out["lm_head.weight"], designed()["transformer.wte.weight"])
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    for weight in (model.lm_head.weight, model.transformer.wte.weight):
        assert np.array_equal(weight.detach().numpy(), designed()["transformer.wte.weight"])
    rest = {k: v for k, v in designed().items() if "wte" not in k}  # a recipe that designs no embedding leaves both
    complete_checkpoint(base, init_file(tmp_path, rest, TIED), tmp_path / "rest")
    out, kept = load_file(tmp_path / "rest/model.safetensors"), load_file(base / "model.safetensors")
    assert all(np.array_equal(out[n], kept[n]) for n in ("lm_head.weight", "transformer.wte.weight"))


@pytest.mark.parametrize("model_type, tied", [("gpt2", True), ("llama", False), ("qwen2", False), ("gpt_neox", False), ("starcoder2", True)])
def test_a_config_that_says_nothing_ties_as_its_type_does(tmp_path, model_type, tied):
    model = gpt2(tie_word_embeddings=False)
    base = configured(base_of(model, tmp_path / "base"), tie_word_embeddings=None, model_type=model_type)
    head = {"lm_head.weight": np.ones((11, 8), np.float32)}
    if tied:
        refused(base, init_file(tmp_path, designed() | head), tmp_path / "out", "ties it")
        complete_checkpoint(base, init_file(tmp_path, metadata=TIED), tmp_path / "out")
    else:
        refused(base, init_file(tmp_path, metadata=TIED), tmp_path / "out", "has its own, lm_head.weight")
        complete_checkpoint(base, init_file(tmp_path, designed() | head), tmp_path / "out")


def test_a_head_of_its_own_that_the_base_does_not_store_is_refused(tmp_path):
    base = configured(base_of(gpt2(), tmp_path / "base"), tie_word_embeddings=False)
    refused(base, init_file(tmp_path, metadata=TIED), tmp_path / "out", "has its own, lm_head.weight")
    (base / "config.json").unlink()
    complete_checkpoint(base, init_file(tmp_path, metadata=TIED), tmp_path / "out")  # nobody says that it has one


@pytest.mark.parametrize("here, there", [("embed_out", "lm_head"), ("lm_head", "embed_out"), ("embed_out", "embed_out")])
def test_neox_heads_of_either_name(tmp_path, here, there):
    model = transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, vocab_size=11))
    base = rewritten(base_of(model, tmp_path / "base"),
                     lambda t: t.update({f"{there}.weight": t.pop("embed_out.weight" if "embed_out.weight" in t else "lm_head.weight")}))
    values = {k.replace("embed_out", here): v for k, v in NEOX.items()}
    metadata = UNTIED | {"architecture": "neox", "tables": f"gpt_neox.embed_in.weight {here}.weight"}
    complete_checkpoint(base, init_file(tmp_path, values, metadata), tmp_path / "out")
    out = load_file(tmp_path / "out/model.safetensors")
    assert np.array_equal(out[f"{there}.weight"], NEOX["embed_out.weight"]) and len(out) == len(load_file(base / "model.safetensors"))
    current = "lm_head.weight" in model.state_dict()
    if current or there == "embed_out":  # transformers 5.14 and later read both names
        loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
        assert np.array_equal(loaded.get_output_embeddings().weight.detach().float().numpy(), NEOX["embed_out.weight"])


def test_base_models_have_no_head(tmp_path):
    base = base_of(llama().model, tmp_path / "base")
    refused(base, init_file(tmp_path, LLAMA, UNTIED), tmp_path / "out", "has no lm_head.weight; with 'model.' left out, 9 of 10 names fit")
    values = {k: v for k, v in LLAMA.items() if k != "lm_head.weight"}
    complete_checkpoint(base, init_file(tmp_path, values, UNTIED), tmp_path / "out")
    assert np.array_equal(load_file(tmp_path / "out/model.safetensors")["embed_tokens.weight"], LLAMA["model.embed_tokens.weight"])


def test_further_layers_and_other_heads(tmp_path):
    base = base_of(gpt2(), tmp_path / "base")
    values = {k: v for k, v in designed().items() if ".h.1." not in k}
    refused(base, init_file(tmp_path, values), tmp_path / "out", "has 2 layers, of which the file holds 1: transformer.h.1", "--partial")
    assert len(complete_checkpoint(base, init_file(tmp_path, values), tmp_path / "out", partial=True)) == len(values)
    refused(base, init_file(tmp_path, metadata=GPT2 | {"heads": "4", "kv_heads": "4"}), tmp_path / "x", "designed for heads 4", "has 2")
    base = base_of(llama(num_key_value_heads=2), tmp_path / "llama")
    refused(base, init_file(tmp_path, LLAMA, UNTIED | {"heads": "2", "kv_heads": "2", "rope_base": "500000"}), tmp_path / "x",
            "designed for rope base 500000", "has 10000")
    refused(base, init_file(tmp_path, LLAMA, UNTIED | {"heads": "2", "kv_heads": "1"}), tmp_path / "x", "designed for kv heads 1", "has 2")
    scaled = init_file(tmp_path, LLAMA, UNTIED | {"rope_base": "10000", "rope_scaling": "linear 4"})
    refused(base, scaled, tmp_path / "x", "designed for RoPE scaling linear 4", "has none: design with --model-config")
    complete_checkpoint(base, init_file(tmp_path, LLAMA, UNTIED | {"heads": "2", "kv_heads": "2", "rope_base": "10000"}), tmp_path / "x")


def raw(path, changed):
    """Gives tensors of a file another dtype of the same size, as fp8 files have it, which not every torch knows."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + size])
    for name, dtype in changed.items():
        header[name]["dtype"] = dtype
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size:])


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "I8", "U8"])
def test_quantised_bases(tmp_path, dtype):
    name, other = "transformer.h.1.attn.c_attn.weight", "transformer.h.1.mlp.c_fc.weight"
    base = rewritten(base_of(gpt2(), tmp_path / "base"), lambda t: t.update({n: torch.ones(t[n].shape, dtype=torch.uint8) for n in (name, other)}))
    raw(base / "model.safetensors", {name: dtype, other: dtype})
    refused(base, init_file(tmp_path), tmp_path / "out", f"{name} is {dtype}, quantised: start from a checkpoint in BF16, F16 or F32")
    zeros = designed() | {name: np.zeros((8, 24), np.float32)}
    refused(base, init_file(tmp_path, zeros), tmp_path / "out", "quantised")
    rest = {k: v for k, v in designed().items() if k != name}  # what nobody designs is copied as it is
    complete_checkpoint(base, init_file(tmp_path, rest), tmp_path / "out", partial=True)
    assert (tmp_path / "out/model.safetensors").stat().st_size >= (base / "model.safetensors").stat().st_size - 8
    scaled = rewritten(base_of(gpt2(), tmp_path / "scaled"), lambda t: t.update({name + "_scale_inv": torch.ones(1)}))
    refused(scaled, init_file(tmp_path), tmp_path / "x", "comes with transformer.h.1.attn.c_attn.weight_scale_inv")
    raw(base / "model.safetensors", {name: "F9_X"})
    refused(base, init_file(tmp_path), tmp_path / "x", f"{name} is F9_X, a type that is not known here")


def sharded(folder):
    gpt2().save_pretrained(folder, safe_serialization=True, max_shard_size="1KB")
    return folder, json.loads((folder / "model.safetensors.index.json").read_text())


def test_an_index_that_lies_is_refused(tmp_path):
    base, index = sharded(tmp_path / "base")
    said = index["weight_map"]
    name = "transformer.h.1.attn.c_attn.weight"
    path = base / "model.safetensors.index.json"
    wrong = next(shard for shard in said.values() if shard != said[name])
    for change, says in ((said | {name: wrong}, f"says that {name} is in {wrong}"), (said | {name: "absent.safetensors"}, "names absent.safetensors"),
                         (said | {name: "../base/" + said[name]}, "names ../base/"), (said | {name: 3}, "")):
        path.write_text(json.dumps(index | {"weight_map": change}))
        refused(base, init_file(tmp_path), tmp_path / "out", says)
    for text in ("[]", "{", '{"weight_map": [1]}', "[" * 100000):
        path.write_text(text)
        refused(base, init_file(tmp_path), tmp_path / "out", "no index of shards")


def test_what_hugging_face_would_not_load_is_not_written_into(tmp_path):
    base, index = sharded(tmp_path / "base")
    for stale in ("model-00099-of-00099.safetensors", "consolidated.safetensors"):
        save_numpy({k: np.zeros_like(v) for k, v in designed().items()}, str(base / stale))
    (base / "pytorch_model.bin").write_text("weights")
    (base / "extra").mkdir()
    save_numpy(designed(), str(base / "extra/other.safetensors"))
    complete_checkpoint(base, init_file(tmp_path), tmp_path / "out")
    wanted = {*index["weight_map"].values(), *(p.name for p in base.iterdir() if p.suffix == ".json"), "extra"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == wanted and (tmp_path / "out/extra/other.safetensors").exists()
    single = base_of(gpt2(), tmp_path / "single")  # model.safetensors wins over an index
    shutil.copy(base / "model.safetensors.index.json", single)
    complete_checkpoint(single, init_file(tmp_path), tmp_path / "one")
    assert np.array_equal(load_file(tmp_path / "one/model.safetensors")["transformer.ln_f.weight"], designed()["transformer.ln_f.weight"])


def test_places_that_cannot_be(tmp_path):
    base, init = base_of(gpt2(), tmp_path / "base"), init_file(tmp_path)
    with pytest.raises(UsageError, match="lies in the base checkpoint"):
        complete_checkpoint(base, init, base / "out")
    with pytest.raises(UsageError, match="no such folder: make it first"):
        complete_checkpoint(base, init, tmp_path / "a/b")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(OutputExistsError):
        complete_checkpoint(base, init, tmp_path / "link")
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial/mine").write_text("a user's own")
    complete_checkpoint(base, init, tmp_path / "out")
    assert (tmp_path / "out.partial/mine").exists() and sorted(p.name for p in tmp_path.glob("out*")) == ["out", "out.partial"]
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapter_config.json").write_text("{}")
    refused(tmp_path / "adapter", init, tmp_path / "x", "PEFT adapter", "merge")


def test_a_failure_while_writing_leaves_nothing(tmp_path, monkeypatch):
    base, init = base_of(gpt2(), tmp_path / "base"), init_file(tmp_path)
    monkeypatch.setattr("aloft.checkpoint.write_tensors", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        complete_checkpoint(base, init, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
    monkeypatch.setattr("aloft.checkpoint.write_tensors", lambda path, tensors, said: shutil.copy(base / "model.safetensors", path))
    with pytest.raises(InitError, match="is not what was written"):
        complete_checkpoint(base, init, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_the_command_line_says_one_line(tmp_path):
    base, init = base_of(gpt2(), tmp_path / "base"), init_file(tmp_path)
    (tmp_path / "run").mkdir()
    shutil.copy(init, tmp_path / "run")
    (tmp_path / "nothing").mkdir()
    (base / "pytorch_model.bin").write_text("weights")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tools/python")}

    def run(*words):
        return subprocess.run([sys.executable, "-m", "aloft", *map(str, words)], env=environment, capture_output=True, text=True)

    done = run("complete", base, tmp_path / "run", tmp_path / "out")
    assert done.returncode == 0 and done.stdout == f"{tmp_path / 'out'}: {len(designed())} tensors replaced\n", done.stderr
    assert done.stderr == "aloft: note: pytorch_model.bin was not copied: it holds the base's weights\n"
    for words, code, says in (
            (("complete", base, tmp_path / "nothing", tmp_path / "x"), 3, "nothing: a folder without init.safetensors"),
            (("complete", base, tmp_path / "absent", tmp_path / "x"), 3, "absent: No such file or directory"),
            (("complete", tmp_path / "absent", init, tmp_path / "x"), 3, "absent: no such folder: the folder of a checkpoint"),
            (("complete", init, init, tmp_path / "x"), 3, "init.safetensors: is a file: the folder of a checkpoint"),
            (("complete", base, init), 2, "the following arguments are required: output (aloft complete --help)"),
            (("complete", base, init, tmp_path / "x", "--odd"), 2, "unrecognized arguments: --odd"),
            (("finish",), 2, "invalid choice: 'finish'"), ((), 2, "required: command"),
            (("trial", "small", "--output", tmp_path / "t", "--workers", "x"), 2, "invalid int value: 'x'")):
        done = run(*words)
        assert done.returncode == code and done.stdout == "", (words, done)
        line, = done.stderr.splitlines()
        assert line.startswith("aloft: ") and says in line, line
    assert run("complete", "--help").returncode == 0
