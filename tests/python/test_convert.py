"""aloft.convert: PyTorch files and what is neither of them nor a GGUF."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

import nanogpt
from aloft import InputError, OutputExistsError, UsageError
from aloft.__main__ import main
from aloft.convert import convert_checkpoint
from conftest import PROGRAM, ROOT

SIZES = {"n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 6, "vocab_size": 11, "bias": True, "dropout": 0.0}


def saved_nanogpt(path, prefix=""):
    """As nanoGPT's train.py saves it, optimizer and all. Returns the model's tensors."""
    torch.manual_seed(1)
    model = nanogpt.GPT(nanogpt.Config(**{k: v for k, v in SIZES.items() if k != "dropout"}))
    optimizer = torch.optim.AdamW(model.parameters())
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    state = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save({"model": state, "optimizer": optimizer.state_dict(), "model_args": SIZES, "iter_num": 3, "best_val_loss": torch.tensor(2.5),
                "config": {"dataset": "x", "device": "cpu"}}, path)
    return {name: value.numpy() for name, value in state.items()}


@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_a_checkpoint_of_nanogpt(tmp_path, prefix):
    expected = saved_nanogpt(tmp_path / "ckpt.pt", prefix)
    lines = convert_checkpoint(tmp_path / "ckpt.pt", tmp_path / "out")
    written = load_file(tmp_path / "out/model.safetensors")
    del expected[prefix + "lm_head.weight"]  # the embedding's memory
    assert written.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(written[name], value)
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config == {"model_type": "nanogpt", "n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 6, "vocab_size": 11,
                      "tie_word_embeddings": True, "torch_dtype": "float32"}
    assert any("--arch nanogpt" in line for line in lines) and any("lm_head.weight" in line for line in lines)
    assert sorted(os.listdir(tmp_path)) == ["ckpt.pt", "out"]


def test_the_program_takes_the_sizes(tmp_path):
    saved_nanogpt(tmp_path / "ckpt.pt")
    convert_checkpoint(tmp_path / "ckpt.pt", tmp_path / "out")
    subprocess.run([PROGRAM, "init", "--quiet", "--recipe", "random", "--arch", "nanogpt", "--model-config",
                    str(tmp_path / "out/config.json"), "--output", str(tmp_path / "run")], check=True)
    init, mine = load_file(tmp_path / "run/init.safetensors"), load_file(tmp_path / "out/model.safetensors")
    assert init and all(mine[name].shape == value.shape for name, value in init.items())


def small_llama():
    torch.manual_seed(2)
    config = transformers.LlamaConfig(hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2,
                                      num_key_value_heads=1, vocab_size=11, max_position_embeddings=16)
    return transformers.LlamaForCausalLM(config)


@pytest.mark.parametrize("kind", ["plain", "state_dict", "old", "parameters"])
def test_a_state_dict_with_hugging_faces_names(tmp_path, kind):
    state = small_llama().state_dict()
    if kind == "plain":
        torch.save(state, tmp_path / "m.bin")
    elif kind == "old":
        torch.save(dict(state), tmp_path / "m.bin", _use_new_zipfile_serialization=False)
    elif kind == "parameters":
        torch.save({name: torch.nn.Parameter(value) for name, value in state.items()}, tmp_path / "m.bin")
    else:
        torch.save({"state_dict": state, "epoch": 3, "loss": torch.tensor(1.0)}, tmp_path / "m.bin")
    lines = convert_checkpoint(tmp_path / "m.bin", tmp_path / "out")
    written = load_file(tmp_path / "out/model.safetensors")
    assert {k: v.tolist() for k, v in written.items()} == {k: v.tolist() for k, v in state.items()}
    assert sorted(os.listdir(tmp_path / "out")) == ["model.safetensors"] and "no config.json" in lines[-1]


def test_a_folder_of_hugging_face_with_its_config(tmp_path):
    model = small_llama()
    model.save_pretrained(tmp_path / "base")
    (tmp_path / "base/model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "base/pytorch_model.bin")
    convert_checkpoint(tmp_path / "base", tmp_path / "out")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_shards_become_one_file(tmp_path):
    state = small_llama().state_dict()
    names, half = list(state), len(state) // 2
    torch.save({n: state[n] for n in names[:half]}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({n: state[n] for n in names[half:]}, tmp_path / "pytorch_model-00002-of-00002.bin")
    where = {n: f"pytorch_model-0000{1 + (i >= half)}-of-00002.bin" for i, n in enumerate(names)}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))
    convert_checkpoint(tmp_path, tmp_path.parent / (tmp_path.name + "-out"))
    written = load_file(tmp_path.parent / (tmp_path.name + "-out") / "model.safetensors")
    assert {k: v.tolist() for k, v in written.items()} == {k: v.tolist() for k, v in state.items()}
    (tmp_path / "pytorch_model-00002-of-00002.bin").unlink()
    refused(tmp_path / "pytorch_model.bin.index.json", tmp_path / "out", "pytorch_model-00002-of-00002.bin", "fetch the whole checkpoint")


def test_dtypes(tmp_path):
    values = torch.linspace(-3, 3, 12).reshape(3, 4)
    state = {"half": values.half(), "brain": values.bfloat16(), "double": values.double(), "turned": values.t(), "ids": torch.arange(3),
             "mask": torch.tensor([True, False])}
    torch.save(state, tmp_path / "m.pt")
    convert_checkpoint(tmp_path / "m.pt", tmp_path / "f32")
    written = load_file(tmp_path / "f32/model.safetensors")
    for name in ("half", "brain", "double", "turned"):
        assert written[name].dtype == np.float32
        np.testing.assert_array_equal(written[name], state[name].float().numpy())
    assert written["ids"].tolist() == [0, 1, 2] and written["mask"].tolist() == [True, False]
    convert_checkpoint(tmp_path / "m.pt", tmp_path / "bf16", dtype="BF16")
    from safetensors.torch import load_file as load_torch_file

    written = load_torch_file(tmp_path / "bf16/model.safetensors")
    assert torch.equal(written["double"], values.bfloat16()) and written["ids"].dtype == torch.int64


class Unwelcome:
    def __reduce__(self):
        return os.mkdir, ("should-not-be-run",)


def refused(source, output, *mentions, error=InputError):
    with pytest.raises(error) as caught:
        convert_checkpoint(source, output)
    for text in mentions:
        assert text in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)
    assert not output.exists() and not [p for p in output.parent.iterdir() if "aloft-partial" in p.name]
    return caught.value


def test_what_holds_more_than_tensors_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"w": torch.ones(2)}, "extra": Unwelcome()}, "m.pt")
    refused(tmp_path / "m.pt", tmp_path / "out", "something else than tensors", "torch.save(model.state_dict(), FILE)")
    torch.save(torch.nn.Linear(2, 2), "whole.pt")
    refused(tmp_path / "whole.pt", tmp_path / "out", "torch.nn.modules.linear.Linear", "torch.save(model.state_dict(), FILE)")
    assert not (tmp_path / "should-not-be-run").exists()


def test_what_is_no_checkpoint(tmp_path):
    def saved(name, value, **options):
        torch.save(value, tmp_path / name, **options)
        return tmp_path / name

    def written(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    out = tmp_path / "out"
    refused(saved("list.pt", [torch.ones(2)]), out, "holds builtins.list, no state dict")
    refused(saved("none.pt", {"epoch": 3, "lr": 0.1}), out, "no state dict", "epoch, lr")
    refused(saved("empty.pt", {}), out, "it has nothing")
    refused(saved("mixed.pt", {"a": torch.ones(2), "b": 3}), out, "b is builtins.int, no tensor")
    refused(saved("keys.pt", {1: torch.ones(2)}), out, "1 is torch.Tensor, no tensor")
    refused(saved("sparse.pt", {"a": torch.eye(2).to_sparse()}), out, "a is float32 (sparse_coo)")
    refused(saved("complex.pt", {"a": torch.ones(2, dtype=torch.complex64)}), out, "a is complex64")
    refused(written("void.pt", b""), out, "is empty")
    refused(written("text.pt", b"once upon a time"), out, "neither a PyTorch file nor a GGUF")
    refused(written("cut.pt", saved("whole.pt", {"a": torch.ones(2000)}).read_bytes()[:3000]), out, "damaged zip archive")
    refused(written("old.pt", saved("old.pt", {"a": torch.ones(2000)}, _use_new_zipfile_serialization=False).read_bytes()[:300]), out,
            "cut short")
    refused(written("keras.h5", b"\x89HDF\r\n\x1a\n" + bytes(20)), out, "an HDF5 file")
    refused(written("done.safetensors", (2).to_bytes(8, "little") + b"{}"), out, "is a safetensors file: aloft reads it as it is")
    with zipfile.ZipFile(tmp_path / "arrays.npz", "w") as archive:
        archive.writestr("a.npy", b"x")
    refused(tmp_path / "arrays.npz", out, "not one that torch wrote")
    refused(tmp_path / "nowhere.pt", out, "is not there")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", out, "0 files to convert")


def test_outputs(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "m.pt")
    (tmp_path / "there").mkdir()
    with pytest.raises(OutputExistsError):
        convert_checkpoint(tmp_path / "m.pt", tmp_path / "there")
    with pytest.raises(UsageError, match="no such folder"):
        convert_checkpoint(tmp_path / "m.pt", tmp_path / "none/out")
    with pytest.raises(UsageError, match="dtype"):
        convert_checkpoint(tmp_path / "m.pt", tmp_path / "out", dtype="I8")


def test_the_command(tmp_path, capsys):
    saved_nanogpt(tmp_path / "ckpt.pt")
    assert main(["convert", str(tmp_path / "ckpt.pt"), str(tmp_path / "out"), "--dtype", "bf16"]) == 0
    said = capsys.readouterr()
    assert said.out.strip().endswith("tensors as BF16, config.json for model_type nanogpt") and "note" in said.err
    assert main(["convert", str(tmp_path / "ckpt.pt"), str(tmp_path / "out")]) == 2
    assert main(["convert", str(tmp_path / "none.pt"), str(tmp_path / "new")]) == 3
    assert main(["convert", str(tmp_path / "ckpt.pt")]) == 2
    assert all(line.startswith("aloft: ") for line in capsys.readouterr().err.splitlines())


def test_names_in_notes_do_nothing_to_a_terminal(tmp_path, capsys):
    shared = torch.ones(2)
    torch.save({"a\x1b[2J\n": shared, "b\x9b": shared}, tmp_path / "m.pt")
    assert main(["convert", str(tmp_path / "m.pt"), str(tmp_path / "o\x1b[31m")]) == 0
    said = capsys.readouterr()
    assert all(c.isprintable() for c in (said.out + said.err).replace("\n", "")) and "\\x1b[2J\\n" in said.err
    assert said.err.count("\n") == said.out.count("\n") == 1


@pytest.mark.parametrize("library, content", [("gguf", b"GGUF" + bytes(20)), ("torch", b"\x80\x02}q\x00.")])
def test_a_library_that_is_missing_is_named(tmp_path, library, content):
    (tmp_path / "m").write_bytes(content)
    program = (f"import sys; sys.modules['{library}'] = None\n"
               "from aloft.__main__ import main\n"
               f"sys.exit(main(['convert', {str(tmp_path / 'm')!r}, {str(tmp_path / 'out')!r}]))")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tools/python")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and f"needs {library}, which is not installed: pip install" in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1
