"""What the pages say of attention.json: a section beside an analysis, and a table of `papers`."""

import hashlib
import json
import shutil
import subprocess
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from aloft.__main__ import main  # noqa: E402
from aloft.errors import InputError  # noqa: E402
from aloft.papers import attended, on_tokens  # noqa: E402
from aloft.papers.checkpoints import write_checkpoint  # noqa: E402
from aloft.papers.settings import Settings  # noqa: E402
from aloft.report import write_report  # noqa: E402
from aloft.trial.models import Model, Shape, initialise  # noqa: E402
from attention_models import ids_file  # noqa: E402
from conftest import PROGRAM  # noqa: E402
from test_report import HOSTILE, changed, check, without  # noqa: E402

SHAPE = Shape("nanogpt-rope", layers=3, heads=4, width=32, context=32, vocab=64)


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    """What the program says of a random model, from its weights alone."""
    folder = tmp_path_factory.mktemp("analysis")
    write_checkpoint(folder / "model", initialise(Model(SHAPE), 0), {})
    words = [PROGRAM, "analyze", "--checkpoint", folder / "model/model.safetensors", "--arch", "nanogpt-rope", "--layers", 3, "--heads", 4,
             "--d-model", 32, "--context", 32, "--model-vocab-size", 64, "--draws", 5, "--threads", 1, "--output", folder / "out", "--quiet"]
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
    return json.loads((folder / "out/analysis.json").read_text())


def attention_json(labels, masses=None):
    """attention.json of the analysis' model, of three layers of four heads: labels and masses by layer and head."""
    places = [(n, h) for n in range(3) for h in range(4)]
    columns = {"attention_labels": ["layer", "head", "label"], "attention_distances": ["layer", "head", "distance", "mass", "shuffled"],
               "attention_heads": ["layer", "head", "measure", "value", "sd", "null", "null_sd", "p", "p_family", "shuffled"]}
    values = {(n, h, m): (masses or {}).get((n, h, m), (0.01, 0.01, 0.01)) for n, h in places
              for m in ("previous_token", "induction", "duplicate", "first_token", "entropy")}
    cells = {"attention_labels": [[n, h, labels.get((n, h), "")] for n, h in places],
             "attention_distances": [[n, h, d, 0.1 if d == 1 else 0.01, 0.02] for n, h in places for d in range(16)],
             "attention_heads": [[n, h, m, value, 0.001, null, 0.001, 0.5, 0.00024, shuffled] for (n, h, m), (value, null, shuffled)
                                 in values.items()]}
    return {"format": "aloft-attention", "version": 1, "checkpoint": {"layers": 3, "heads": 4}, "notes": [HOSTILE],
            "tokens": {"windows": 16, "length": 32}, "nulls": {"smallest_p": 0.00024, "uniform": 0.04},
            "tables": {name: {"columns": [{"name": c} for c in columns[name]], "rows": rows} for name, rows in cells.items()}}


@pytest.mark.parametrize("labels, masses, said", [
    ({}, {(1, 2, "previous_token"): (0.2, 0.15, 0.1)},
     ["no effect When the model reads tokens, of 12 heads 0 look one token back and 0 look at what followed last time (16 windows of 32",
      "No head is a previous-token head: the most is layer 1's head 2, with 0.200 of its attention there, 0.150 at the nearest other distance.",
      "No head is an induction head, which looks at what followed its token the last time: the most is layer 0's head 0, with 0.010",
      "no head rests on it, with half of what it has or more. No head attends evenly."]),
    ({(1, 2): "previous-token", (2, 0): "induction first-token", (2, 1): "induction", (0, 0): "uniform"},
     {(1, 2, "previous_token"): (0.8, 0.1, 0.75), (2, 1, "induction"): (0.6, 0.02, 0)},
     ["effect When the model reads tokens, of 12 heads 1 looks one token back, 2 look at what followed last time, 1 rests on the first token "
      "and 1 prefers nothing",
      "1 of 12 heads looks one token back (layer 1's head 2): the first has 0.800 of its attention there, 0.100 at the nearest other "
      "distance. On the same tokens in random order they do so with 0.750 instead of 0.800 (mean), so it is position that they follow.",
      "2 of 12 heads look at what followed their token the last time (layer 2's head 1 and layer 2's head 0): the first has 0.600 of its attention where random tokens "
      "repeat, 0.020 where they do not (p ≤ 0.00024).", "Heads labelled on tokens: 4 of 12: 1 previous-token, 2 induction, 0 duplicate"]),
    ({(1, 2): "previous-token"}, {(1, 2, "previous_token"): (0.8, 0.1, 0.05)}, ["so it is what the tokens are that they follow"]),
    ({(1, 2): "previous-token"}, {(1, 2, "previous_token"): (0.8, 0.1, 0.4)}, ["so it is position in part"]),
])
def test_attention_on_tokens_is_a_section_of_its_own(analysis, labels, masses, said, tmp_path):
    (tmp_path / "analysis.json").write_text(json.dumps(analysis))
    before = check(write_report(tmp_path)).text
    assert "Attention on tokens" not in before and "When the model reads tokens" not in before
    (tmp_path / "attention.json").write_text(json.dumps(attention_json(labels, masses)))
    page = check(write_report(tmp_path))
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    for words in said:
        assert words in text, text[text.index("Attention on tokens"):][:3000]
    assert HOSTILE in text


@pytest.mark.parametrize("change, about", [
    (lambda d: "[", "not JSON"),
    (lambda d: json.dumps(d | {"format": "x"}), "no attention on tokens"),
    (lambda d: json.dumps(d | {"version": 2}), "version 2 is not known"),
    (lambda d: json.dumps({k: v for k, v in d.items() if k != "nulls"}), "damaged: 'nulls' is missing"),
    (lambda d: json.dumps(without(d, "tables", "attention_heads")), "damaged: 'attention_heads' is missing"),
    (lambda d: json.dumps(changed(d, "attention_labels", {"label": "wonderful"}, layer=0)), "label 'wonderful' is not known"),
    (lambda d: json.dumps(changed(d, "attention_heads", {"value": "x"}, layer=0)), "value is 'x'"),
    (lambda d: json.dumps(changed(d, "attention_heads", {"head": 9}, layer=0, head=1)), "not of the heads that have labels"),
    (lambda d: json.dumps(d | {"checkpoint": {"layers": 2, "heads": 4}}), "the labels are not of 2 layers of 4 heads"),
    (lambda d: json.dumps({"tables": {}} | {k: v for k, v in d.items() if k != "tables"}), "damaged"),
])
def test_damaged_attention_is_refused_in_one_line(analysis, change, about, tmp_path, capsys):
    (tmp_path / "analysis.json").write_text(json.dumps(analysis))
    (tmp_path / "attention.json").write_text(change(attention_json({})))
    assert main(["report", str(tmp_path)]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and about in error and "attention.json" in error, error
    assert not (tmp_path / "report.html").exists()


def test_attention_of_another_model_is_refused(analysis, tmp_path):
    (tmp_path / "analysis.json").write_text(json.dumps(analysis | {"checkpoint": analysis["checkpoint"] | {"layers": 5}}))
    (tmp_path / "attention.json").write_text(json.dumps(attention_json({})))
    with pytest.raises(InputError, match="is of a model of 3 layers of 4 heads, and analysis.json of 5 of 4"):
        write_report(tmp_path)


# -- of a run of `papers`


@pytest.fixture
def run(tmp_path):
    """What the step needs of a run."""
    for seed, when in enumerate(("initial", "trained")):
        write_checkpoint(tmp_path / "sgd" / when, initialise(Model(SHAPE), seed), {})
    (tmp_path / "corpus").mkdir()
    held = ids_file(tmp_path / "corpus/held.u16")
    return SimpleNamespace(folder=tmp_path, trial=SimpleNamespace(held_path=held), settings=Settings(shape=SHAPE, quiet=True))


def test_papers_measures_its_checkpoints_on_held_out_ids(run, monkeypatch):
    numbers = attended.attended(run)
    assert list(numbers) == ["untrained", "trained"]
    for name, checkpoint in (("untrained", "sgd/initial"), ("trained", "sgd/trained")):
        of, made = numbers[name], json.loads((run.folder / "analysis" / name / "attention.json").read_text())
        assert made["checkpoint"]["path"] == str(run.folder / checkpoint) and made["tokens"]["source"] == "held.u16"
        assert of["checkpoint"] == checkpoint and of["heads"] == 12 and (of["windows"], of["length"]) == (16, 32)
        assert of["files"] == {file: hashlib.sha256((run.folder / file).read_bytes()).hexdigest()
                               for file in (f"{checkpoint}/model.safetensors", "corpus/held.u16")}
        rows = [row for row in made["tables"]["attention_heads"]["rows"] if row[2] == "induction"]
        assert of["most"]["induction"]["value"] == max(row[3] for row in rows)
        assert of["labels"] == {"previous-token": 0, "induction": 0, "duplicate": 0, "first-token": 0, "uniform": 12}
    # made again of other files alone
    calls, measure = [], attended.measure_attention

    def counted(checkpoint, *words, **more):
        calls.append(checkpoint.name)
        return measure(checkpoint, *words, **more)

    monkeypatch.setattr(attended, "measure_attention", counted)
    assert attended.attended(run) == numbers and calls == []
    (run.folder / "analysis/untrained/attention.json").unlink()
    shutil.copy(run.folder / "sgd/initial/model.safetensors", run.folder / "sgd/trained/model.safetensors")
    again = attended.attended(run)
    assert calls == ["initial", "trained"] and again["untrained"]["most"] == again["trained"]["most"] == numbers["untrained"]["most"]
    (run.folder / "analysis/trained/attention_of.json").write_text("{")
    assert attended.attended(run)["trained"]["most"] == again["trained"]["most"] and calls == ["initial", "trained", "trained"]
    shutil.rmtree(run.folder / "sgd")
    with pytest.raises(InputError, match="the step attention needs .*model.safetensors: the step sgd leaves it"):
        attended.attended(run)


def test_the_table_of_papers_says_what_heads_do(run):
    numbers = {"attention": attended.attended(run)}
    shown = on_tokens.part(numbers)
    assert shown.verdict == "described" and shown.says.startswith("Of 12 heads of the trained model 0 (untrained 0) look one token back")
    numbers["attention"]["trained"]["labels"]["induction"] = 3
    numbers["attention"]["trained"]["most"]["induction"] |= {"value": 0.75, "null": 0.004, "layer": 1, "head": 0}
    shown = on_tokens.part(numbers)
    assert "and 3 (untrained 0) at what followed" in shown.says and "0.750 by induction (0.004 without a repetition)" in shown.says
    row = next(row for row in shown.tables[0].rows if row[0].text == "most on what followed last time")
    assert row[1].text == "0.750 (1.0)" and row[3].text == "0.004"
    assert "the step attention has not run" in on_tokens.part({}).says
