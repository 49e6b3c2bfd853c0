"""What the page of an analysis says in words: of shuffled text, of nulls by formula, of terms. Analyses made by hand."""

import json

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from aloft.report import write_report
from aloft.report.analysis import nulls
from aloft.report.analysis.read import COLUMNS, Analysis
from aloft.report.analysis.summary import findings
from aloft.report.glossary import TERMS, pieces, used
from aloft.report.page import Finding, Page, Section, render

from test_report import check

SIZES = {"layers": 2, "heads": 2, "kv_heads": 2, "head_dim": 4, "context": 16, "vocab": 30}
EFFECT = {"p": 1 / 201, "p_family": 1 / 201}


def made(folder, permutations=200, d_model=8, **tables):
    """An analysis of these rows; columns that a row does not name are null. A layer's and head's asymmetry is there in any case."""
    tables.setdefault("weights", [{"layer": n, "subject": "QK", "measure": "asymmetry_ratio", "value": 0.7, "null": 0.706} for n in (0, 1)])
    columns = {name: [*dict.fromkeys([*COLUMNS[name], *(c for row in rows for c in row)])] for name, rows in tables.items()}
    data = {"format": "aloft-analysis", "version": 1, "checkpoint": {"path": "m", "architecture": "gpt2", **SIZES, "d_model": d_model}, "second": None,
            "corpus": {"hash": "0", "tokens": 1000, "vocab": 30, "lags": 2},
            "nulls": {"permutations": permutations, "draws": 20, "shuffled_tokens": 1000, "seed": 0}, "notes": [],
            "tables": {name: {"about": "", "columns": [{"name": c, "about": ""} for c in columns[name]],
                              "rows": [[row.get(c) for c in columns[name]] for row in rows]} for name, rows in tables.items()}}
    (folder / "analysis.json").write_text(json.dumps(data))
    return Analysis(folder / "analysis.json")


def match(**row):
    return {"circuit": "QK", "layer": 0, "lag": 1, "part": "centred_forward", "measure": "matrix_cosine", "null": 0.0, "null_sd": 0.01,
            "p": 0.5, "p_family": 1.0, "value": 0.001, **row}


def said(a):
    return " ".join(f.text for f in findings(a)).replace("\N{NO-BREAK SPACE}", " ")


ORDERLESS, LARGE = "as much without any order of words, so this is no sign of it", "so much of it is how frequent tokens are, not their order"
OTHER = "of the other sign, so it does not explain this, but shows that a text without order can give"


@pytest.mark.parametrize("value, shuffled, words", [
    (0.5, 0.6, f"shuffled text 0.600, {ORDERLESS})"), (-0.5, -0.6, f"shuffled text −0.600, {ORDERLESS})"),
    (0.5, 0.3, f"shuffled text 0.300, {LARGE})"), (-0.5, -0.3, f"shuffled text −0.300, {LARGE})"),
    (0.5, 0.1, "shuffled text 0.100)"), (-0.5, -0.1, "shuffled text −0.100)"), (0.5, 0.0, "shuffled text 0.000)"),
    (0.5, -0.1, "shuffled text −0.100, of the other sign)"), (-0.5, 0.1, "shuffled text 0.100, of the other sign)"),
    (0.5, -0.3, f"shuffled text −0.300, {OTHER} more than half as much)"), (0.5, -0.6, f"shuffled text −0.600, {OTHER} as much)"),
    (0.5, None, "p ≤ 0.005)"),
])
def test_a_figure_stands_beside_that_of_shuffled_text(value, shuffled, words, tmp_path):
    for head in (None, 1):
        row = match(head=head, value=value, shuffled=shuffled, **EFFECT)
        text = said(made(tmp_path, match=[row, match(layer=1), match(layer=1, head=0)]))
        assert words in text and ("no sign" in text) == (words.endswith(f"{ORDERLESS})"))


def test_a_figure_that_is_no_effect_has_no_need_of_shuffled_text(tmp_path):
    text = said(made(tmp_path, match=[match(value=0.03, shuffled=-0.05), match(layer=1)]))
    assert "No layer's QK (where tokens look) follows the corpus at any lag" in text and "shuffled" not in text


@pytest.mark.parametrize("value, null, shuffled, p, words", [
    (0.9, 0.2, 0.89, 0.001, "without its order it is as alike"), (0.9, 0.2, 0.69, 0.001, "an effect, of which 70% is there without the text's"),
    (0.9, 0.2, 0.4, 0.001, "and that is an effect"), (0.9, 0.2, 0.95, 1.0, "which is no effect"), (0.1, 0.2, 0.1, 0.001, "less than random layers"),
])
def test_a_spectrum_stands_between_random_layers_and_shuffled_text(value, null, shuffled, p, words, tmp_path):
    rows = [{"layer": n, "subject": "QK_antisymmetric", "measure": "pr_energy", "value": 3.0, "null": 4.0} for n in (0, 1)]
    text = said(made(tmp_path, weights=rows, match=[
        match(part="antisymmetric", measure="spectral_cosine", value=value, null=null, shuffled=shuffled, p_family=p)]))
    assert words in text


def test_layers_that_oppose_the_corpus_are_counted_apart(tmp_path):
    rows = [match(layer=n, head=h, value=value, **EFFECT) for n, value in ((0, 0.5), (1, -0.4)) for h in (None, 0)]
    text = said(made(tmp_path, match=rows))
    assert "in all 2 layers (1 of them against its direction)" in text and "2 of 2 heads follow or oppose the corpus" in text


def test_to_look_back_is_a_label_and_no_effect(tmp_path):
    for label, verdict in (("previous-token", "no effect"), ("uniform copying", "effect"), ("", "no effect")):
        found = findings(made(tmp_path, labels=[{"layer": 0, "head": 0, "label": label}]))
        assert [f.verdict for f in found if "head" in f.text] == ["described", verdict]


# ---- nulls by formula

FORMULA = {"value": 0.4, "p": 1e-40, "p_family": 1e-38, "shuffled": 0.0}


@pytest.mark.parametrize("permutations", [0, 200])  # as it is recorded now, and as it was
def test_a_wide_models_p_is_the_normal_laws(permutations, tmp_path):
    claim = {"claim": "qk_follows_corpus", "layer": 0, "lag": 1, "detail": "", "value": 0.4, "null": 0.0, "p": 3e-9, "found": 1}
    a = made(tmp_path, permutations, 1024, match=[match(**FORMULA), match(layer=1), match(layer=1, head=0)], claims=[claim])
    assert a.by_formula and a.can_find
    page = check(write_report(tmp_path)).text.replace("\N{NO-BREAK SPACE}", " ")
    assert "p < 1e-12" in page and " 3e-9 " in page and "≤" not in page
    assert "by exact variance (normal law)" in page and "exact variances of permutations" in page
    assert "permutations can give" not in page and "at least 100 are needed" not in page and "0 permutations" not in page


def test_permutations_are_said_to_be_some(tmp_path):
    a = made(tmp_path, 200, match=[match(value=0.4, **EFFECT), match(layer=1)])
    assert not a.by_formula
    page = check(write_report(tmp_path)).text.replace("\N{NO-BREAK SPACE}", " ")
    assert "p ≤ 0.005" in page and "20 random layers, 200 permutations" in page and "200 permutations can give is 0.005" in page
    assert "normal law" not in page


def test_no_permutations_of_a_narrow_model_find_nothing(tmp_path):
    a = made(tmp_path, 0, match=[match(p=None, p_family=None, null=None, null_sd=None)])
    assert not a.by_formula and not a.can_find and a.smallest_p is None
    assert "With no permutations no p is below 0.01" in " ".join(nulls.made(a).paragraphs)


def test_what_has_no_null_in_a_wide_model_is_described(tmp_path):
    rows = [{"layer": 0, "subject": s, "measure": m, "value": 0.5} for s, m in
            (("Q", "drift"), ("V", "drift"), ("QK", "token_correlation"), ("OV", "token_correlation"))]
    (found,) = [f for f in findings(made(tmp_path, 0, drift=rows)) if "two checkpoints" in f.text]
    assert found.verdict == "described" and "no null of it" in found.text
    rows[2] |= {"null": 0.0, "p_family": 0.001}
    (found,) = [f for f in findings(made(tmp_path, 200, drift=rows)) if "two checkpoints" in f.text]
    assert found.verdict == "effect"


# ---- terms

def test_terms_are_explained_where_they_are_used_first():
    a, b = pieces(["QKt and QK, then QK again: PR", "EᵀE in bands; ‖QK‖ and OV"], TERMS)
    assert [(p.text, p.term.name if p.term else None) for p in a] == [("QKt and ", None), ("QK", "QK"), (", then QK again: ", None),
                                                                      ("PR", "participation ratio")]
    assert [p.text for p in b if p.term] == ["EᵀE", "bands", "OV"] and "".join(p.text for p in b) == "EᵀE in bands; ‖QK‖ and OV"
    assert [t.name for t in used(["nothing of that", "a bandstand", "twins"])] == ["twins"]
    assert len({t.anchor for t in TERMS}) == len(TERMS)


def test_the_page_links_the_first_use_of_a_term_to_its_meaning(tmp_path):
    page = Page("t", "s", findings=[Finding("effect", "bands <b> and bands")], sections=[Section("Spectra", "of transitions")], terms=TERMS)
    text = render(page)
    assert text.count('href="#term-bands"') == 1 and text.count('id="term-bands"') == 1 and "&lt;b&gt; and bands" in text
    assert 'id="term-transitions"' in text and 'href="#term-transitions"' not in text and 'id="term-twins"' not in text
    (tmp_path / "page.html").write_text(text)
    check(tmp_path / "page.html")
    assert "Terms" not in render(Page("t", "s", findings=page.findings))


def test_the_first_screen_says_what_its_words_mean(tmp_path):
    corpus = [{"lag": 1, "subject": s, "measure": "asymmetry_ratio", "value": v, "null": n} for s, v, n in
              (("counts", 0.4, 0.1), ("transition", 0.7, 0.7))]
    views = [{"layer": 0, "subject": "Q", "against": "EtE", "basis": "embedding", "value": 0.05, "null": 0, "null_sd": 0.01, "p_family": 0.001}]
    bands = [{"layer": 0, "subject": "Q", "from": 0, "to": 1, "uniform": 0.125, "value": 0.3, "null": 0.1, "p_family": 0.001}]
    a = made(tmp_path, corpus=corpus, correlations=views, bands=bands)
    text = said(a)
    assert "counts of neighbours (how often b comes after a: 0.400; shuffled text 0.100)" in text
    assert "transitions (these counts as shares of all that comes after a: 0.700 and 0.700)" in text
    assert "Q with EᵀE, the embedding alone;" in text and "bands of the corpus' directions (from the strongest to the weakest, in four groups)" in text
    page = check(write_report(tmp_path))
    for term in ("bands", "EᵀE", "counts of neighbours", "transitions", "antisymmetric"):
        anchor = next(t.anchor for t in TERMS if t.name == term)
        assert anchor in page.ids and f"#{anchor}" in page.links
