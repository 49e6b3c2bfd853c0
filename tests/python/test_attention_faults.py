"""What `python -m aloft attention` refuses, in one line and with nothing written; what an interruption leaves."""

import json
import shutil
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
import torch  # noqa: E402

from aloft.__main__ import main  # noqa: E402
from aloft.attention import run as attention_run  # noqa: E402
from aloft.papers.checkpoints import write_checkpoint  # noqa: E402
from aloft.trial.models import Model, Shape, initialise  # noqa: E402
from attention_models import CONFIGS, folder_of, ids_file  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_checkpoint(folder / "m", initialise(Model(Shape("nanogpt-rope", layers=1, heads=2, width=16, context=32, vocab=64)), 0), {})
    return folder / "m"


def refused(words, code, said, tmp_path, capsys):
    assert main(["attention", *map(str, words), "--output", str(tmp_path / "out")]) == code
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and error.startswith("aloft: "), error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flags, code, said", [
    (["--windows", "1"], 2, "--windows is to be 2 or more"),
    (["--length", "31"], 2, "--length is to be an even number, 16 or more"),
    (["--length", "64"], 2, "windows of 64 tokens: the model takes 32"),
    (["--seed", "-1"], 2, "--seed is to be 0 or more"),
    (["--threads", "0"], 2, "--threads is to be from 1 to"),
    (["--threads", "100000"], 2, "--threads is to be from 1 to"),
    (["--windows", "126"], 3, "4000 ids hold 125 windows of 32, and 126 are asked for"),
    (["--format", "u8"], 2, "invalid choice: 'u8'"),
    (["--text", "x.txt"], 2, "give --ids FILE, or --text FILE"),
])
def test_flags_that_cannot_be(flags, code, said, model, tmp_path, capsys):
    refused([model, "--ids", ids_file(tmp_path / "ids.u16"), *flags], code, said, tmp_path, capsys)


def test_ids_that_cannot_be(model, tmp_path, capsys):
    ids = ids_file(tmp_path / "ids.u16")
    refused([model], 2, "give --ids FILE", tmp_path, capsys)
    refused([model, "--ids", tmp_path / "absent.u16"], 3, "absent.u16: there is no such file", tmp_path, capsys)
    refused([model, "--text", ids], 3, "tokenizer.json to read a text with", tmp_path, capsys)
    refused([model, "--text", ids, "--format", "u16"], 2, "--format is of --ids", tmp_path, capsys)
    (tmp_path / "other.u16").write_bytes(ids.read_bytes() + np.array([1, 64], "<u2").tobytes())
    refused([model, "--ids", tmp_path / "other.u16"], 3, "id 64 at position 4001 is not below the model's 64", tmp_path, capsys)
    (tmp_path / "odd.u16").write_bytes(ids.read_bytes() + b"\0")
    refused([model, "--ids", tmp_path / "odd.u16"], 3, "8001 bytes are no whole number of u16 ids", tmp_path, capsys)
    refused([model, "--ids", ids, "--format", "u64"], 3, "is not below the model's 64: are the ids another tokenizer's", tmp_path, capsys)
    shutil.copy(ids, tmp_path / "ids.bin")
    refused([model, "--ids", tmp_path / "ids.bin"], 2, "give --format u16, u32, u64", tmp_path, capsys)
    (tmp_path / "empty.u16").touch()
    refused([model, "--ids", tmp_path / "empty.u16"], 3, "0 bytes are no whole number", tmp_path, capsys)


def test_folders_that_hold_no_model(model, tmp_path, capsys):
    flags = ["--ids", ids_file(tmp_path / "ids.u16")]
    refused([tmp_path / "gone", *flags], 3, "there is no such folder", tmp_path, capsys)
    refused([flags[1], *flags], 3, "no folder", tmp_path, capsys)
    refused([tmp_path, *flags], 3, "neither config.json nor model.json is there", tmp_path, capsys)
    shutil.copytree(model, tmp_path / "m")
    sizes = json.loads((model / "model.json").read_text())
    for change, said in (({"layers": 2}, "model.json wants transformer.h.1."),
                         ({"vocab": 65}, "wte.weight [65, 16], model.safetensors has it as [64, 16]"),
                         ({"arch": "rwkv"}, "model.json: style rwkv is none of"), ({"width": 16}, "'width' is no size of a model here"),
                         ({"layers": "x"}, "model.json: "), ({"heads": 0}, "model.json: ")):
        (tmp_path / "m/model.json").write_text(json.dumps(sizes | change))
        refused([tmp_path / "m", *flags], 3, said, tmp_path, capsys)
    shutil.copy(model / "model.json", tmp_path / "m/model.json")
    (tmp_path / "m/model.safetensors").write_bytes(b"nothing at all")
    refused([tmp_path / "m", *flags], 3, "not a safetensors file", tmp_path, capsys)
    (tmp_path / "m/model.safetensors").unlink()
    refused([tmp_path / "m", *flags], 3, "model.safetensors: No such file", tmp_path, capsys)


def test_hugging_face_folders_that_cannot_be_run(tmp_path, capsys):
    _, theirs = folder_of("llama", tmp_path)
    flags = ["--ids", ids_file(tmp_path / "ids.u16")]
    (theirs / "config.json").write_text(json.dumps(CONFIGS["llama"] | {"num_hidden_layers": 3}))
    refused([theirs, *flags], 3, "layers.2.", tmp_path, capsys)
    (theirs / "config.json").write_text(json.dumps(CONFIGS["llama"] | {"model_type": "nobody"}))
    refused([theirs, *flags], 3, "transformers cannot load it: ", tmp_path, capsys)
    (theirs / "config.json").write_text("{")
    refused([theirs, *flags], 3, "transformers cannot load it: ", tmp_path, capsys)
    (theirs / "config.json").write_text(json.dumps(CONFIGS["llama"]))
    (theirs / "model.safetensors").unlink()
    refused([theirs, *flags], 3, "transformers cannot load it: ", tmp_path, capsys)
    import transformers
    transformers.BertModel(transformers.BertConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                                   intermediate_size=16)).save_pretrained(tmp_path / "bert")
    capsys.readouterr()
    refused([tmp_path / "bert", *flags, "--length", "32"], 3, "layer 0 looks at later tokens: a causal language model is needed", tmp_path, capsys)


@pytest.mark.parametrize("library", ["transformers", "tokenizers"])
def test_what_is_not_installed_is_named(library, tmp_path, capsys, monkeypatch):
    _, theirs = folder_of("llama", tmp_path)
    (theirs / "tokenizer.json").write_text("{}")
    if library == "transformers":
        monkeypatch.delitem(sys.modules, "aloft.attention.hugging_face", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    text = ids_file(tmp_path / "text.txt")
    refused([theirs, "--text", text], 1, f"needs {library}, which is not installed: pip install", tmp_path, capsys)


def test_damaged_weights_are_said(model, tmp_path, capsys):
    broken = initialise(Model(Shape("nanogpt-rope", layers=1, heads=2, width=16, context=32, vocab=64)), 0)
    with torch.no_grad():
        broken.embedding[3] = float("nan")
    write_checkpoint(tmp_path / "m", broken, {})
    ids = ids_file(tmp_path / "ids.u16")
    refused([tmp_path / "m", "--ids", ids], 3, "attention that is not finite: are the weights damaged?", tmp_path, capsys)


def test_what_is_interrupted_leaves_what_was_there(model, tmp_path, capsys, monkeypatch):
    out, ids = tmp_path / "out", ids_file(tmp_path / "ids.u16")
    assert main(["attention", str(model), "--ids", str(ids), "--output", str(out)]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(attention_run, "looks_of", stop)
    capsys.readouterr()
    assert main(["attention", str(model), "--ids", str(ids), "--output", str(out), "--force", "--seed", "1"]) == 5
    assert capsys.readouterr().err == "aloft: interrupted: nothing was written\n"
    monkeypatch.undo()
    monkeypatch.setattr("aloft.attention.output.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert main(["attention", str(model), "--ids", str(ids), "--output", str(out), "--force", "--seed", "1"]) == 4
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}


def test_progress_says_how_far_how_fast_how_long(capsys):
    times = iter([0.0, 1.0, 4.0, 5.0, 8.0])
    lines = attention_run.Lines(40, False, now=lambda: next(times))
    for _ in range(4):
        lines()
    assert capsys.readouterr().err == ("aloft: attention: 2 of 40 sequences, 0.5 a second, ETA 1:16\n"
                                       "aloft: attention: 4 of 40 sequences, 0.5 a second, ETA 1:12\n")
