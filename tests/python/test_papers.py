"""`python -m aloft papers` end to end on a tiny model: what it leaves, that it goes on where it stopped, what it refuses."""

import hashlib
import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
import torch  # noqa: E402

from aloft import InputError, UsageError  # noqa: E402
from aloft.errors import ProgramError  # noqa: E402
from aloft.papers import analyses, attended, first_paper, second_paper, views  # noqa: E402
from aloft.papers import steps as papers_steps  # noqa: E402
from aloft.papers.measured import Both  # noqa: E402
from aloft.papers.run import run_papers  # noqa: E402
from aloft.papers.settings import INJECTED, Settings  # noqa: E402
from aloft.papers.steps import STEPS, compared  # noqa: E402
from aloft.tensors import read_tensors, widened  # noqa: E402
from aloft.trial import corpus  # noqa: E402
from aloft.trial.models import Model, Shape  # noqa: E402
from aloft.trial.training import validation_loss, windows  # noqa: E402
from conftest import PROGRAM  # noqa: E402
from sample_text import dependent_words  # noqa: E402

PROGRAM_IS = {"version": subprocess.run([PROGRAM, "--version"], capture_output=True, text=True).stdout.split("\n")[0],
              "sha256": hashlib.sha256(Path(PROGRAM).read_bytes()).hexdigest()}
SHAPE = Shape("nanogpt-rope", layers=2, heads=2, width=32, context=32, vocab=151)
TINY = Settings(shape=SHAPE, steps=20, batch=2, validation_tokens=640, injection_steps=10, injection_seeds=2, save_every=5, quiet=True)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(dependent_words(50000))
    return path


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """A run that nothing stopped, and its numbers."""
    folder = tmp_path_factory.mktemp("papers") / "whole"
    return folder, run_papers(TINY, text, folder, PROGRAM)


def weights(folder):
    return {name: widened(stored) for name, stored in read_tensors(folder / "model.safetensors")[0].items()}


def loaded(folder):
    model = Model(SHAPE)
    model.load_state_dict({name: torch.from_numpy(values) for name, values in weights(folder).items()})
    return model


def checkpoints(folder):
    return {path.relative_to(folder): path.read_bytes() for name in ("sgd", "crystallised") for path in sorted((folder / name).rglob("*"))
            if path.is_file()}


def test_a_run_leaves_what_its_numbers_are_of(whole):
    folder, numbers = whole
    assert json.loads((folder / "papers.json").read_text()) == numbers
    assert list(numbers) == ["settings", *(step.name for step in STEPS if step.name != "page")]
    held = windows(corpus.load(folder / "corpus" / "held.u16"), SHAPE.context, 20, drawn=True)
    for name in ("sgd", "crystallised"):
        for when, at in (("initial", "initial"), ("trained", "final")):
            assert validation_loss(loaded(folder / name / when), held) == pytest.approx(numbers[name][at], abs=1e-6)
        assert numbers[name]["final"] < numbers[name]["initial"] - 0.1
        assert [step for step, _ in numbers[name]["history"]] == list(range(0, 21, 2))
        assert json.loads((folder / name / "trained" / "model.json").read_text()) == {
            "arch": "nanogpt-rope", "layers": 2, "heads": 2, "d-model": 32, "context": 32, "vocab": 151}
        assert sorted(path.name for path in (folder / name).iterdir()) == ["initial", "trained"]
    assert numbers["settings"]["tokens_a_step"] == 64 and numbers["settings"]["parameters"] == sum(
        values.size for values in weights(folder / "sgd" / "trained").values())
    ids = np.concatenate([corpus.load(folder / "corpus" / f"{part}.u16") for part in ("train", "held")])
    assert numbers["corpus"]["train_tokens"] + numbers["corpus"]["held_tokens"] == len(ids)


def test_names_and_shapes_are_the_architectures(whole):
    folder, _ = whole
    tensors, _ = read_tensors(next((folder / "inits").glob("asymmetry_0_*")) / "init.safetensors")
    mine = {name: stored.shape for name, stored in read_tensors(folder / "sgd" / "trained" / "model.safetensors")[0].items()}
    assert tensors and {name: mine.get(name) for name in tensors} == {name: stored.shape for name, stored in tensors.items()}


def test_the_papers_embedding_is_there_and_stays(whole):
    folder, numbers = whole
    before, after = weights(folder / "crystallised" / "initial"), weights(folder / "crystallised" / "trained")
    rows = before["transformer.wte.weight"].astype(np.float64)
    assert np.array_equal(rows, after["transformer.wte.weight"])
    assert [name for name in before if np.array_equal(before[name], after[name])] == ["transformer.wte.weight"]
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), TINY.embedding_norm, rtol=1e-5)
    # all that it knows is the difference of two ids (docs/science.md, section 2)
    products = rows @ rows.T
    turned = np.stack([np.roll(products[i], -i) for i in range(len(rows))])
    assert np.abs(turned - turned[0]).max() < 1e-6 and np.ptp(turned[0]) > 0.01
    losses = dict(numbers["crystallised"]["untrained"])
    held = windows(corpus.load(folder / "corpus" / "held.u16"), SHAPE.context, 8, drawn=True)
    model = loaded(folder / "crystallised" / "initial")
    assert losses[TINY.embedding_norm] == pytest.approx(validation_loss(model, held), abs=1e-6) and len(losses) == 8


def test_the_embedding_of_fewer_ids(text, tmp_path):
    """Its rows are those of the text whose rarer words are unknown; the others' are nobody's."""
    some = Settings(**{**vars(TINY), "steps": 1, "embedding_vocab": 64})
    run_papers(some, text, tmp_path, PROGRAM, only=("crystallised",))
    rows = weights(tmp_path / "crystallised" / "initial")["transformer.wte.weight"].astype(np.float64)
    ids = corpus.load(corpus.prepare(text, tmp_path / "fewer", 64)[0])
    assert np.array_equal(corpus.load(tmp_path / "mobius" / "corpus" / "train.u16"), ids)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), some.embedding_norm, rtol=1e-5)
    products = rows[:64] @ rows[:64].T
    assert np.abs(np.stack([np.roll(products[i], -i) for i in range(64)]) - products[0]).max() < 1e-6
    others = (rows @ rows.T)[64:, 64:][np.triu_indices(87, 1)] / some.embedding_norm**2
    assert others.std() == pytest.approx(1 / np.sqrt(SHAPE.width), rel=0.1)


def test_the_two_models_begin_at_weights_of_their_own(whole):
    folder, _ = whole
    a, b = (weights(folder / name / "initial")["transformer.h.0.attn.c_attn.weight"].ravel() for name in ("sgd", "crystallised"))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.1


def test_injection_compares_within_a_seed(whole):
    folder, numbers = whole
    runs = {(run["arm"], run["seed"]): run for run in numbers["injection"]["runs"]}
    assert set(runs) == {(arm, seed) for arm in INJECTED for seed in (0, 1)}
    arms = numbers["injection"]["arms"]
    leads = [runs["random", seed]["final"] - runs["asymmetry", seed]["final"] for seed in (0, 1)]
    assert arms["asymmetry"]["lead_final"] == {"mean": pytest.approx(sum(leads) / 2), "least": min(leads), "most": max(leads)}
    assert len({run["initial"] for run in runs.values()}) == 6  # three inits, two seeds: none is another
    assert "lead_final" not in arms["random"]
    # by hand
    made = [{"arm": arm, "seed": seed, "initial": 9.0, "final": final} for arm, seed, final in
            (("random", 0, 5.0), ("random", 1, 4.0), ("x", 0, 4.5), ("x", 1, 4.2))]
    assert compared(made)["x"]["lead_final"] == pytest.approx({"mean": 0.15, "least": -0.2, "most": 0.5})
    assert compared(made)["x"]["percent"] == pytest.approx(100 * 0.15 / 4.5)


class StopsAt:
    """Progress that interrupts at a step of a training whose name begins with `name`, as Ctrl-C would."""

    seen: list[tuple[str, int]] = []

    def __init__(self, name, step):
        self.name, self.step = name, step

    def __call__(self, training):
        def say(step, _loss):
            StopsAt.seen.append((training.name, step))
            if training.name.startswith(self.name) and step == self.step:
                raise KeyboardInterrupt

        return say


def test_a_stopped_run_goes_on_to_the_same_end(whole, text, tmp_path, monkeypatch):
    folder, numbers = whole
    loud = Settings(**{**vars(TINY), "quiet": False})
    for name, step in (("sgd", 13), ("crystallised", 13), ("injection, asymmetry, seed 0", 4)):
        monkeypatch.setattr(papers_steps, "ProgressLines", StopsAt(name, step))
        with pytest.raises(KeyboardInterrupt):
            run_papers(loud, text, tmp_path / "papers", PROGRAM)
    StopsAt.seen = []
    monkeypatch.setattr(papers_steps, "ProgressLines", StopsAt("nothing", 0))
    again = run_papers(loud, text, tmp_path / "papers", PROGRAM, only=("corpus", "sgd", "crystallised", "injection"))
    first = StopsAt.seen[0]
    assert first == ("injection, asymmetry, seed 0", 0)  # random's run, sgd and crystallised were there
    assert checkpoints(tmp_path / "papers") == checkpoints(folder)
    for part in ("corpus", "injection"):
        assert again[part] == numbers[part]
    for name in ("sgd", "crystallised"):
        assert again[name]["history"] == numbers[name]["history"]


def test_a_stopped_training_goes_on_from_its_last_state(text, tmp_path, monkeypatch):
    loud = Settings(**{**vars(TINY), "quiet": False})
    for step in (13, 17):
        monkeypatch.setattr(papers_steps, "ProgressLines", StopsAt("sgd", step))
        StopsAt.seen = []
        with pytest.raises(KeyboardInterrupt):
            run_papers(loud, text, tmp_path, "no-program", only=("sgd",))  # which needs none
    assert StopsAt.seen[0] == ("sgd", 10)


def test_what_is_done_is_not_done_again(whole, text, monkeypatch):
    folder, numbers = whole
    monkeypatch.setattr(papers_steps, "train", None)
    monkeypatch.setattr(analyses, "_analyze", None)
    monkeypatch.setattr(attended, "measure_attention", None)
    done = tuple(step.name for step in STEPS if step.name != "page")
    assert run_papers(TINY, text, folder, PROGRAM, only=done) == numbers


def test_another_budget_is_refused(whole, text):
    folder, _ = whole
    for change in ({"steps": 21}, {"batch": 3}, {"peak": 0.001}, {"embedding_norm": 0.5}, {"seed": 1}):
        with pytest.raises(UsageError, match="another"):
            run_papers(Settings(**{**vars(TINY), **change}), text, folder, PROGRAM)


def test_a_damaged_result_is_named(whole, text, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "sgd.json").write_text("{")
    with pytest.raises(InputError, match="sgd.json is damaged: remove it"):
        run_papers(TINY, text, tmp_path, PROGRAM, only=("corpus",))


# -- the steps analysis and page


@pytest.fixture
def copied(whole, tmp_path):
    """The whole run once more, to change."""
    shutil.copytree(whole[0], tmp_path / "run")
    return tmp_path / "run"


def test_the_analyses_are_of_the_runs_files(whole):
    folder, numbers = whole
    assert list(numbers["analysis"]) == ["untrained", "trained", "crystallised"]
    for name, first, second in (("untrained", "sgd/initial", None), ("trained", "sgd/trained", "crystallised/trained"),
                                ("crystallised", "crystallised/initial", "crystallised/trained")):
        made = json.loads((folder / "analysis" / name / "analysis.json").read_text())
        assert made["checkpoint"]["path"] == str(folder / first / "model.safetensors") and made["checkpoint"]["vocab"] == 151
        assert made["corpus"]["tokens"] == numbers["corpus"]["train_tokens"]
        assert (made["second"] or {}).get("path") == (str(folder / second / "model.safetensors") if second else None)
        of = [f"{checkpoint}/model.safetensors" for checkpoint in (first, second) if checkpoint] + ["counts.safetensors"]
        assert numbers["analysis"][name]["program"] == PROGRAM_IS
        assert numbers["analysis"][name]["files"] == {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in of}


def test_an_analysis_is_made_again_only_of_other_files(copied, text, monkeypatch):
    calls = []
    monkeypatch.setattr(analyses, "_analyze", lambda _program, name, _words: calls.append(name))
    run_papers(TINY, text, copied, PROGRAM, only=("analysis",))
    assert calls == []
    with open(copied / "sgd" / "initial" / "model.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    run_papers(TINY, text, copied, PROGRAM, only=("analysis",))
    assert calls == ["untrained"]
    (copied / "analysis" / "crystallised" / "made_of.json").write_text("{")
    (copied / "analysis" / "trained" / "analysis.json").unlink()
    run_papers(TINY, text, copied, PROGRAM, only=("analysis",))
    assert calls == ["untrained", "trained", "crystallised"]


def test_an_analysis_of_another_program_is_made_again(copied, text, tmp_path, monkeypatch):
    """Of another version, of another build of a version, or of one that was not recorded."""
    calls = []
    monkeypatch.setattr(analyses, "_analyze", lambda _program, name, _words: calls.append(name))
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    for made in (f"#!/bin/sh\necho '{said}'\necho 'another machine'\n", f"#!/bin/sh\necho '{said}' # another build\n", "#!/bin/sh\necho 'aloft 9'\n"):
        program = tmp_path / "program"
        program.write_text(made)
        program.chmod(0o755)
        for expected in (["untrained", "trained", "crystallised"], []):
            calls.clear()
            numbers = run_papers(TINY, text, copied, str(program), only=("analysis",))
            assert calls == expected
        assert numbers["analysis"]["trained"]["program"] == {"version": made.split("'")[1], "sha256": hashlib.sha256(made.encode()).hexdigest()}
    stamp = copied / "analysis" / "trained" / "made_of.json"
    stamp.write_text(json.dumps({name: x for name, x in json.loads(stamp.read_text()).items() if name != "program"}))
    calls.clear()
    run_papers(TINY, text, copied, str(program), only=("analysis",))
    assert calls == ["trained"]
    program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(ProgramError, match="--version ended with 1: is it aloft"):
        run_papers(TINY, text, copied, str(program), only=("analysis",))


def test_what_analyze_says_is_the_error(copied, text, tmp_path, capfd):
    (copied / "counts.safetensors").write_bytes(b"nothing")
    with pytest.raises(ProgramError, match=r"papers: analysis untrained: .*counts\.safetensors") as raised:
        run_papers(TINY, text, copied, PROGRAM, only=("analysis",))
    assert raised.value.exit_code == 3 and "\n" not in str(raised.value)
    assert not (copied / "analysis" / "untrained" / "made_of.json").exists()
    program = tmp_path / "program"
    for last, code, said in (("aloft: no room: free some", 4, "papers: analysis x: no room: free some"), ("half way", 7, f"{program} ended with 7")):
        program.write_text(f"#!/bin/sh\necho 'note: this' >&2\necho '{last}' >&2\nexit {code}\n")
        program.chmod(0o755)
        capfd.readouterr()
        with pytest.raises(ProgramError, match=said) as raised:
            analyses._analyze(str(program), "x", [])
        assert raised.value.exit_code == (4 if code == 4 else 1)
        # passed on, and said once; behind what a library may have said of the fork
        assert capfd.readouterr().err.endswith("note: this\n" if code == 4 else "note: this\nhalf way\n")


def table_of(folder, name, table, **where):
    """Rows of an analysis, by their columns."""
    data = json.loads((folder / "analysis" / name / "analysis.json").read_text())["tables"][table]
    found = [dict(zip([c["name"] for c in data["columns"]], row)) for row in data["rows"]]
    return [row for row in found if all(row[name] == x for name, x in where.items())]


def cells(markdown, first, column):
    """Of the rows of a page that begin with this cell, the cell at `column`, without its bold."""
    rows = [[cell.strip().strip("*") for cell in line.strip("|").split(" | ")] for line in markdown.splitlines() if line.startswith("|")]
    return [row[column] for row in rows if row[0] == first]


def test_the_page_has_every_table_beside_the_runs_numbers(whole, text):
    folder, numbers = whole
    page, html = ((folder / f"papers.{kind}").read_text() for kind in ("md", "html"))
    assert "Not measured" not in page and page.count("\n## ") == 17  # what was found, and sixteen tables
    assert "not yet" not in page.split("##")[0]
    assert cells(page, "full SGD, 20 steps", 3) == [f"{numbers['sgd']['final']:.3f}"]
    assert cells(page, "the papers' embedding (no training)", 3) == [f"{numbers['crystallised']['initial']:.3f}"]
    assert cells(page, "null: uniform guess", 3) == [f"{math.log(151):.3f}"]
    assert cells(page, "loss at step 10: random", 2) == [f"{numbers['injection']['arms']['random']['final']['mean']:.3f}"]
    for column, name in ((3, "trained"), (4, "untrained")):
        table = json.loads((folder / "analysis" / name / "analysis.json").read_text())["tables"]["weights"]
        at = [c["name"] for c in table["columns"]].index("value")
        ratios = [row[at] for row in table["rows"] if row[:4] == [row[0], None, "QK", "asymmetry_ratio"]]
        assert len(ratios) == 2 and cells(page, "‖M_A‖/‖M‖", column) == [f"{x:.3f}" for x in (*ratios, sum(ratios) / 2)]
    assert cells(page, "heads labelled uniform", 2) == [f"{numbers['attention']['untrained']['labels']['uniform']} of 4"] == ["4 of 4"]
    assert cells(page, "‖M_A‖/‖M‖", 2)[-1].startswith("0.675") and cells(page, "attention, energy ‖M_A‖²/‖M‖²", 1) == ["37% to 44%"]
    assert cells(page, "full SGD, 20 steps", 2) == ["79.9"] and cells(page, "random init (no training)", 2) == ["15,007"]
    percent = numbers["injection"]["arms"]["asymmetry"]["percent"]
    assert cells(page, "final lead: asymmetry, with its embedding", 3) == ["0.03%"]
    assert cells(page, "final lead: asymmetry, with its embedding", 4) == [f"{percent:.2f}%".replace("-", "−")]
    assert cells(page, "Q with K₂ by attention", 6) == ["< 0.009"] and cells(page, "Q with K₂", 1) == ["0.0023"]
    expected = [row for row in re.findall(r"^\| (\d) \| (\d) \| (\d) \(([\d.]+)\) \|", page, re.M)]
    cosines = table_of(folder, "trained", "match", circuit="QK", head=None, part="antisymmetric", measure="spectral_cosine")
    assert [(int(n), int(theirs)) for n, theirs, _, _ in expected] == [(0, 1), (1, 2)]
    for n, _, lag, cosine in expected:
        top = max((row for row in cosines if row["layer"] == int(n)), key=lambda row: row["value"])
        assert (int(lag), cosine) == (top["lag"], f"{top['value']:.3f}")
    possible = table_of(folder, "trained", "frontier", lag=1, target=30)[0]["pareto_cosine"]
    assert f"at a PR of 30, is not possible with this corpus at lag 1: {possible:.3f} is the most" in page
    assert page.count("\n- **bands**: ") == 1 and html.count('id="term-bands"') == 1
    assert "--text text.txt --output papers --steps 20 --batch 2 --injection-seeds 2" in page
    for made in (page, html):
        assert str(folder) not in made and str(text.parent) not in made
    assert html.count("<svg") == 6 and not re.search(r"(src|href)=\"(?!#)", html)
    for table in re.findall(r"(?:^\|.*\n)+", page, re.M):  # of each, all rows are as wide
        assert len({row.replace("\\|", "").count("|") for row in table.splitlines()}) == 1, table


def test_the_sentences_follow_the_numbers(copied):
    path = copied / "analysis" / "trained" / "analysis.json"
    whole_analysis = json.loads(path.read_text())

    def changed(shown, table, value, p_family=0.0, **where):
        """The part, of an analysis in which these rows have other figures; value: of each row's number (by layer)."""
        data = json.loads(json.dumps(whole_analysis))
        columns = [c["name"] for c in data["tables"][table]["columns"]]
        rows = [row for row in data["tables"][table]["rows"] if all(row[columns.index(c)] == x for c, x in where.items())]
        assert rows
        for i, row in enumerate(rows):
            row[columns.index("value")] = value(i)
            for p in {"p", "p_family"} & set(columns):
                row[columns.index(p)] = p_family
        path.write_text(json.dumps(data))
        return shown(Both(copied))

    ratio = {"subject": "QK", "measure": "asymmetry_ratio", "head": None}
    part = changed(first_paper.corpus, "weights", lambda _: 0.3, **ratio)
    assert part.verdict == "not here" and "30.0% here and differ" in part.says
    part = changed(first_paper.corpus, "weights", lambda _: 0.7, **ratio)
    assert part.verdict == "holds" and "the corpus' share is not its null" in part.says  # of this text
    transitions = next(row for row in whole_analysis["tables"]["corpus"]["rows"] if row[:3] == [1, "transition", "asymmetry_ratio"])
    transitions[3:5] = 0.71, 0.705
    part = changed(first_paper.corpus, "weights", lambda _: 0.7, **ratio)
    assert part.verdict == "its null" and "the agreement is that of two nulls" in part.says
    part = changed(first_paper.asymmetry, "weights", lambda _: 0.7, p_family=1.0, **ratio)
    assert part.verdict == "its null" and part.says.startswith("0 of 2 layers differ")
    assert changed(first_paper.asymmetry, "weights", lambda i: 0.6 - i / 10, **ratio).verdict == "holds"
    cosine = {"circuit": "QK", "head": None, "lag": 1, "part": "antisymmetric", "measure": "spectral_cosine"}
    assert changed(first_paper.alike, "match", lambda _: 0.5, **cosine).verdict == "not here"
    growth = {"subject": "V/Q", "measure": "norm_ratio"}
    part = changed(second_paper.norms, "weights", lambda i: 0.4 + 0.4 * i, **growth)
    assert part.verdict == "holds" and "from 0.400 in the first layer to 0.800" in part.says
    assert changed(second_paper.norms, "weights", lambda i: 0.4 - 0.1 * i, **growth).verdict == "not here"
    top = {"subject": "QKt", "measure": "top8_energy", "head": None}
    assert changed(second_paper.low_rank, "weights", lambda _: 0.3, p_family=1.0, **top).verdict == "not here"
    difference = {"subject": "QK", "measure": "difference_ratio", "head": None}
    assert "ours differ from them in 2 of 2" not in changed(second_paper.direction, "weights", lambda _: 1.0, p_family=1.0, **difference).says
    part = changed(views.bands, "bands", lambda _: 0.25, p_family=1.0)
    assert part.verdict == "holds" and part.says.startswith("0 of ")
    assert changed(views.bands, "bands", lambda _: 0.25).verdict == "not here"
    part = changed(views.correlations, "correlations", lambda _: 0.001, p_family=1.0)
    assert part.verdict == "holds" and "know nothing of the corpus either" in part.says
    assert "attention does know the corpus" in changed(views.correlations, "correlations", lambda _: 0.4, subject="QK").says
    twins = {"first": "Q", "second": "K"}
    assert "they are twins" in changed(second_paper.profiles, "twinning", lambda _: 0.0, **twins).says
    assert "only that all layers are" in changed(second_paper.profiles, "twinning", lambda _: 0.0, p_family=0.5, **twins).says
    tokens = {"measure": "token_correlation"}
    assert "not unrelated" in changed(second_paper.drift, "drift", lambda _: 0.3, **tokens).says
    assert "unrelated there, too" in changed(second_paper.drift, "drift", lambda _: 0.3, p_family=0.5, **tokens).says
