"""`python -m aloft report`: a page that loads nothing and says what its numbers say."""

import copy
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from aloft.__main__ import main
from aloft.errors import InputError
from aloft.report import write_report
from aloft.report.analysis import direction, nulls, qkv
from aloft.report.analysis.read import Analysis
from aloft.report.analysis.summary import findings
from aloft.report.text import number, p_value

from analysis_models import Shape, flags, write_checkpoint, write_corpus
from analysis_planted import drifted, planted_model
from conftest import PROGRAM, ROOT
from sample_text import dependent_words

VOID = {"meta", "link", "br", "img", "hr", "input", "col"}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in its turn, no id twice."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.links, self.tags, self.words, self.skipping = [], [], [], [], [], False
        self.feed(Path(path).read_text(encoding="utf8"))
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"{tag} ends inside {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def check(path):
    """A whole page by itself, whose inner links lead somewhere."""
    page = Page(path)
    source = Path(path).read_text(encoding="utf8")
    assert source.startswith("<!DOCTYPE html>") and page.tags[0] == "html"
    assert "script" not in page.tags and "link" not in page.tags and "@import" not in source
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links), page.links
    assert not re.search(r"url\((?!#)", source)
    assert "nan" not in re.findall(r"[a-z]+", page.text) and "None" not in page.text
    return page


def program(*words):
    subprocess.run([str(word) for word in (PROGRAM, *words, "--quiet")], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    """What the program says of a model in which something is to be found, as data."""
    folder = tmp_path_factory.mktemp("analysis")
    corpus = write_corpus(folder / "text.u16", vocab=60, length=20000)
    shape = Shape("planted", "nanogpt-rope", vocab=60, context=32)
    model = planted_model(corpus.counts, layers=3, heads=4, d=32, context=32)
    write_checkpoint(folder / "model", shape, model)
    write_checkpoint(folder / "second", shape, drifted(model))
    program("count", *corpus.flags, "--output", folder / "counts.safetensors")
    program("analyze", *flags(shape, folder / "model"), "--second", folder / "second", "--counts", folder / "counts.safetensors",
            "--permutations", 119, "--draws", 5, "--threads", 1, "--output", folder / "out")
    return json.loads((folder / "out/analysis.json").read_text())


HOSTILE = "<script>alert(1)</script> & <img src=x onerror=y>"


@pytest.fixture(scope="module")
def report(analysis, tmp_path_factory):
    """(the page, the folder that it is of); names in it would be markup."""
    folder = tmp_path_factory.mktemp("report")
    data = analysis | {"notes": [HOSTILE], "checkpoint": analysis["checkpoint"] | {"path": f"models/{HOSTILE.replace('/', '')}"}}
    (folder / "analysis.json").write_text(json.dumps(data))
    return check(write_report(folder)), folder


def read(folder, data):
    (folder / "analysis.json").write_text(json.dumps(data))
    return Analysis(folder / "analysis.json")


def summary_of(folder, data):
    """The page's first sentences, without the rest of it."""
    found = findings(read(folder, data))
    assert 8 <= len(found) <= 24
    return " ".join(f.text for f in found).replace("\N{NO-BREAK SPACE}", " ")


def rows(data, table, **where):
    columns = [c["name"] for c in data["tables"][table]["columns"]]
    return [row for row in data["tables"][table]["rows"] if all(row[columns.index(c)] == x for c, x in where.items())], columns


def changed(data, table, values, **where):
    """A copy with other values in some columns of some rows."""
    data = copy.deepcopy(data)
    found, columns = rows(data, table, **where)
    assert found
    for row in found:
        for name, x in values.items():
            row[columns.index(name)] = x
    return data


def test_an_analysis_becomes_one_page_with_its_numbers(analysis, report):
    page, _ = report
    for n in range(3):
        for subject, measure in (("QK", "asymmetry_ratio"), ("QKt", "effective_rank"), ("V/Q", "norm_ratio")):
            ((*_, value, null, _, _, _),), _ = rows(analysis, "weights", layer=n, head=None, subject=subject, measure=measure)
            digits = 1 if measure == "effective_rank" else 3
            assert number(value, digits) in page.text and number(null, digits) in page.text
    for row in rows(analysis, "profiles")[0]:
        assert number(row[3], 4) in page.text
    assert page.tags.count("svg") == 22
    assert "paper (8 layers, d = 256)" in page.text and "0.567 to 0.923" in page.text  # the paper's spectral cosines
    assert "0.0424" not in page.text  # the paper's layers stand beside no others
    assert f"{analysis['corpus']['tokens']:,} tokens, 60 ids, lags 1 to 3" in page.text
    for row in rows(analysis, "claims")[0]:
        assert nulls.CLAIMS[row[0]] in page.text


def test_names_from_files_are_text_and_no_markup(report):
    assert report[0].text.count("alert(1)") == 2 + 1  # title, heading and note
    assert HOSTILE in report[0].text


def test_columns_of_the_paper_are_there_where_it_has_something_to_say(analysis, tmp_path):
    (profiles, twins, sizes) = qkv.profiles(read(tmp_path, analysis)).tables
    assert "paper" not in profiles.columns and "paper" not in sizes.columns and "Paper" not in profiles.note
    ratios = direction.section(read(tmp_path, analysis)).tables[0]  # the paper's range over layers stands below those of the model
    assert "paper" not in ratios.columns and "paper" not in ratios.note
    assert [row[0].text for row in ratios.rows[-2:]] == ["mean", "paper (8 layers, d = 256)"]
    assert ratios.rows[-1][1].text.startswith("0.6") and ratios.rows[-1][2].text == "" and len(ratios.rows[-1]) == len(ratios.columns)


def test_the_same_analysis_gives_the_same_page(report):
    first = (report[1] / "report.html").read_text()
    write_report(report[1])
    assert re.sub(r"\bf\d+-", "", (report[1] / "report.html").read_text()) == re.sub(r"\bf\d+-", "", first)  # ids count up in a process


def test_a_model_of_eight_layers_has_the_papers_figures_by_layer(analysis, tmp_path):
    a = read(tmp_path, analysis | {"checkpoint": analysis["checkpoint"] | {"layers": 8}})
    tables = qkv.profiles(a).tables
    assert [row[3].text for row in tables[0].rows] == ["0.0006", "0.0014", "", "", "0.0007", "", "", "0.0009", ""]
    assert [row[-1].text for row in tables[2].rows] == ["0.354", "", "0.620", "", "", "0.765", "0.913", "0.833", ""]
    ratios = direction.section(a).tables[0].rows
    assert [row[4].text for row in ratios[:8]] == ["0.717", "0.667", "0.643", "0.704", "0.662", "0.646", "0.696", "0.664"]


ASYMMETRY = {"subject": "QK", "measure": "asymmetry_ratio", "head": None}
FOLLOWS = {"circuit": "QK", "measure": "matrix_cosine"}
NOTHING = {"p": 0.6, "p_family": 1.0}


@pytest.mark.parametrize("changes, said", [
    ([("weights", ASYMMETRY, {"value": 0.69, "null": 0.706} | NOTHING)],
     "Attention is no more asymmetric than random matrices are: 0.690 of the norm of QK is antisymmetric (mean over layers), 0.706"),
    ([("weights", ASYMMETRY, {"value": 0.9, "null": 0.706, "p_family": 0.001})],
     "Attention is more asymmetric than random matrices are, in all 3 layers"),
    ([("weights", ASYMMETRY, {"value": 0.9, "null": 0.706} | NOTHING),
      ("weights", ASYMMETRY | {"layer": 1}, {"value": 0.5, "p_family": 0.001})],
     "Attention is less asymmetric than random matrices are, in layer 1"),
    ([("match", FOLLOWS, NOTHING)], "No layer's QK (where tokens look) follows the corpus at any lag, nor a single one of 12 heads'"),
    ([("match", FOLLOWS, NOTHING), ("match", FOLLOWS | {"layer": 2, "head": None, "lag": 3, "part": "centred_forward"},
      {"value": 0.4567, "null": 0.001, "null_sd": 0.01, "p": 1 / 120, "p_family": 1 / 120, "shuffled": 0.02})],
     "Layer 2's QK (where tokens look) follows the corpus at lag 3, with frequencies taken out, in the text's direction (matrix cosine 0.457, null "
     "0.001 ± 0.010, p ≤ 0.0083; shuffled text 0.020); no "
     "other layer's does."),
    ([("match", FOLLOWS, NOTHING), ("match", FOLLOWS | {"layer": 1, "head": 3, "lag": 2, "part": "centred_forward"},
      {"value": -0.5, "null": 0.0, "null_sd": 0.01, "p": 1 / 120, "p_family": 1 / 120, "shuffled": -0.4})],
     "One of 12 heads opposes the corpus with its QK (where tokens look), with frequencies taken out, in the text's direction: layer 1's head 3 at lag 2 (matrix cosine −0.500, null 0.000 ± "
     "0.010, p ≤ 0.0083; shuffled text −0.400, so much of it is how frequent tokens are, not their order)"),
    ([("twinning", {"first": "Q", "second": "K"}, {"value": 0.001, "null": 0.02, "p": 1 / 120})], "Q and K of a layer are twins"),
    ([("twinning", {"first": "Q", "second": "K"}, {"value": 0.001, "null": 0.001, "p": 0.4})], "says only that all layers are"),
    ([("labels", {}, {"label": ""})], "Of 12 heads 0 look one token back, and 0 prefer no distance (from the weights alone)."),
    ([("labels", {}, {"label": ""}), ("labels", {"layer": 2, "head": 1}, {"label": "previous-token copying"})],
     "1 of 12 heads copies the token that it reads (layer 2's head 1)."),
    ([("correlations", {}, NOTHING), ("bands", {}, NOTHING)], "The energy of Q, K and V prefers no band"),
    ([("weights", {"subject": "V/Q", "layer": 0}, {"value": 0.1}), ("weights", {"subject": "V/Q", "layer": 1}, {"value": 0.2}),
      ("weights", {"subject": "V/Q", "layer": 2}, {"value": 0.5})],
     "‖V‖/‖Q‖ grows in every layer over depth, from 0.10 in the first layer to 0.50"),
    ([("drift", {"subject": "QK", "measure": "token_correlation"}, {"value": 0.5})],
     "QK over tokens correlates by 0.50: 25% of one is predicted by the other"),
], ids=lambda x: x[:40] if isinstance(x, str) else "")
def test_the_summary_says_what_the_numbers_say(analysis, changes, said, tmp_path):
    data = analysis
    for table, where, values in changes:
        data = changed(data, table, values, **where)
    assert said in summary_of(tmp_path, data)


def test_without_a_corpus_the_page_says_less(analysis, tmp_path):
    data = copy.deepcopy(analysis) | {"corpus": None, "second": None}
    for name in ("corpus", "correlations", "bands", "match", "frontier", "drift", "claims"):
        del data["tables"][name]
    data["tables"]["spectra"]["rows"] = rows(data, "spectra", lag=None)[0]
    (tmp_path / "analysis.json").write_text(json.dumps(data))
    page = check(write_report(tmp_path))
    assert "measured by itself (no corpus was given)" in page.text and "Which lag matches" not in page.text
    assert "The strongest 8 directions of Q Kᵀ hold" in page.text


def test_too_few_permutations_are_said(analysis, tmp_path):
    for permutations, said in ((19, True), (99, True), (100, False)):
        a = read(tmp_path, analysis | {"nulls": analysis["nulls"] | {"permutations": permutations}})
        assert ("nothing can be called an effect against the corpus" in " ".join(nulls.made(a).paragraphs)) == said


def without(data, *path):
    data = copy.deepcopy(data)
    at = data
    for name in path[:-1]:
        at = at[name]
    del at[path[-1]]
    return data


@pytest.mark.parametrize("damage, about", [
    (lambda a: "{", "not JSON"), (lambda a: "[]", "not an analysis"), (lambda a: json.dumps(a | {"version": 2}), "version 2"),
    (lambda a: json.dumps(without(a, "checkpoint", "layers")), "'layers' is missing"),
    (lambda a: json.dumps(a | {"checkpoint": a["checkpoint"] | {"layers": "many"}}), "checkpoint.layers"),
    (lambda a: json.dumps(without(a, "tables", "match", "columns", 3)), "table match has no column lag"),
    (lambda a: json.dumps(changed(a, "weights", {"value": "x"}, **ASYMMETRY)), "value is 'x'"),
    (lambda a: json.dumps(changed(a, "heads", {"value": float("nan")}, measure="copying")), "value is 'nan'"),
    (lambda a: json.dumps(without(a, "tables", "match", "rows", 7, -1)), "table match, row 7: not 12 cells"),
    (lambda a: json.dumps(a | {"corpus": {"tokens": 3}}), "'lags' is missing"),
])
def test_a_damaged_analysis_is_refused_in_one_line(analysis, damage, about, tmp_path, capsys):
    (tmp_path / "analysis.json").write_text(damage(analysis))
    assert main(["report", str(tmp_path)]) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and about in said and "analysis.json" in said, said
    assert not (tmp_path / "report.html").exists()


def test_a_folder_without_results_is_refused(tmp_path, capsys):
    for folder, about in ((tmp_path, "none of analysis.json"), (tmp_path / "gone", "no such folder")):
        assert main(["report", str(folder)]) == 3
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and about in said


def test_output_is_written_where_it_is_asked_for(report, tmp_path, capsys):
    assert main(["report", str(report[1]), "--output", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'page.html'}\n"
    assert main(["report", str(report[1]), "--output", str(tmp_path)]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html"]


# ---- runs

@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(dependent_words(20000))
    return path


@pytest.mark.parametrize("recipe", ["offset", "spread", "asymmetry", "random"])
def test_a_run_becomes_a_page(recipe, text, tmp_path):
    corpus = [] if recipe == "random" else ["--corpus", text, "--tokenizer", "words", "--vocab-size", 120, "--lags", 3]
    widened = ["--pr-target", 8] if recipe == "spread" else []
    program("init", *corpus, *widened, "--recipe", recipe, "--arch", "nanogpt-rope", "--layers", 2, "--heads", 4, "--d-model", 64,
            "--threads", 1, "--context", 32, "--model-vocab-size", 128, "--output", tmp_path / "run")
    page = check(write_report(tmp_path / "run"))
    assert f"Init tensors by {recipe}" in page.text and "Files" in page.text and "init.safetensors" in page.text
    if recipe in ("spread", "asymmetry"):
        data = json.loads((tmp_path / "run/spectra.json").read_text())
        for layer in data["layers"]:
            assert number(layer["after"]["pr_energy"], 2) in page.text and number(layer["matrix_cosine"]["value"]) in page.text
        assert number(data["lags"][0]["null_shuffled"]["counts_asymmetry"]["ratio"]) in page.text
        assert ("The kernels written have 8.0" in page.text) == (recipe == "spread")
        assert ("The kernels written keep it" in page.text) == (recipe == "asymmetry")
    if recipe == "offset":
        data = json.loads((tmp_path / "run/offset.json").read_text())
        assert number(data["chosen_on"]["loss"]) in page.text and f"Estimator {data['estimator']}" in page.text


def test_a_damaged_run_is_refused_in_one_line(tmp_path):
    for content in ("{", "[]", "{}", '{"recipe": "offset", "manifest": {"model": 3}}'):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(InputError, match="manifest.json"):
            write_report(tmp_path)


# ---- trials

def results(folder, finals):
    """finals: {(arm, peak, steps, seed): (initial, middle, final)}"""
    folder.mkdir()
    lines = [{"arm": a, "peak": p, "steps": s, "seed": k, "history": [[0, i], [s // 2, m], [s, f]], "initial": i, "final": f}
             for (a, p, s, k), (i, m, f) in finals.items()]
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


RUNS = {("random", 0.002, 100, 0): (7.0, 4.5, 4.2), ("random", 0.004, 100, 0): (7.0, 4.4, 4.1), ("random", 0.004, 100, 1): (7.0, 4.4, 4.11),
        ("design", 0.002, 100, 0): (5.0, 4.0, 3.9), ("design", 0.004, 100, 0): (5.0, 4.3, 4.0),
        ("early", 0.002, 100, 0): (5.0, 4.4, 4.3), ("lost", 0.002, 100, 0): (9.0, None, None)}


def test_a_trial_becomes_a_page(tmp_path):
    page = check(write_report(results(tmp_path / "trial", RUNS)))
    assert "design (one seed) ends lowest, at 3.900 nats after 100 steps; random at 4.105, 0.205 above." in page.text
    assert "It passes random's final loss at step 45 of its schedule." in page.text
    assert "Ahead before training only, and no more half-way: early." in page.text
    assert "No finite loss at any rate tried: lost." in page.text
    assert "0.004 (of 2)" in page.text and "−0.205" in page.text and "4.105 ± 0.007" in page.text


def test_a_finished_trial_has_its_levels_and_targets(tmp_path):
    folder = results(tmp_path / "trial", RUNS)
    target = {"baseline": "random", "budget": 200, "arm": "design", "fraction": 0.5, "steps": 100, "baseline_loss": 3.95, "loss": 3.9,
              "met": True}
    summary = {"model": {"layers": 4}, "unigram_loss": 5.1, "bigram_loss": 3.88, "arms": {"design": {"about": "what it is: <new>"}},
               "targets": [target]}
    (folder / "summary.json").write_text(json.dumps(summary))
    page = check(write_report(folder))
    assert "unigram 5.100, smoothed bigram 3.880 nats" in page.text and "what it is: <new>" in page.text
    assert "design with 100 steps, its schedule completed, ends at 3.900; random with 200 at 3.950: reached." in page.text
    (folder / "summary.json").write_text("[]")
    with pytest.raises(InputError, match="summary.json"):
        write_report(folder)


def test_a_trial_without_a_finished_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no run has finished yet"):
        write_report(results(tmp_path / "trial", {}))


# ---- numbers, and what is installed

@pytest.mark.parametrize("x, digits, text", [
    (0.69123, 3, "0.691"), (-0.5, 2, "−0.50"), (-0.0001, 3, "0.000"), (41.63, 1, "41.6"), (41.637, 3, "41.64"), (1234.5, 3, "1,234"),
    (0.00001234, 4, "0.000012"), (0.0009, 4, "0.0009"), (7, 3, "7"), (12345678, 3, "12,345,678"), (None, 3, "–"), (float("inf"), 3, "∞"),
])
def test_numbers_are_rounded_for_people(x, digits, text):
    assert number(x, digits) == text


@pytest.mark.parametrize("p, smallest, text", [
    (0.005, 0.005, "≤ 0.005"), (0.01, 0.005, "0.010"), (0.3, 0.005, "0.30"), (1.0, None, "1.00"), (1e-9, None, "1e-9"), (0.0, None, "< 1e-12"),
    (3e-13, 0.005, "< 1e-12"), (2e-5, 0.005, "2e-5"), (2 / 201, 1 / 201, "< 0.01"), (None, None, "–"), (0.00046, None, "0.0005"),
])
def test_p_values_are_bounds_where_they_are_the_smallest(p, smallest, text):
    assert p_value(p, smallest).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize("library", ["jinja2", "matplotlib"])
def test_what_is_not_installed_is_named(library, tmp_path):
    results(tmp_path / "trial", RUNS)
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'tools/python')!r}); sys.modules[{library!r}] = None; " \
           f"from aloft.__main__ import main; sys.exit(main(['report', {str(tmp_path / 'trial')!r}]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"needs {library}, which is not installed: pip install 'tools/python[report]'" in done.stderr
