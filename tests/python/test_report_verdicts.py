"""The verdicts of the page of an analysis: one a statement, of the part that it is about; what cannot be told; how far figures reach."""

import json
import math

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from aloft.report import write_report
from aloft.report.analysis import about, copying, nulls
from aloft.report.analysis.read import NOT_OF_ORDER
from aloft.report.analysis.summary import findings
from aloft.report.analysis.tokens import _pair

from test_report import check
from test_report_words import EFFECT, made, match, said

FOUND = {"value": 0.0077, "shuffled": 0.001, **EFFECT}


def verdicts(a, words):
    return [f.verdict for f in findings(a) if words in f.text]


def test_a_sentence_names_its_part_and_weighs_it_against_backward(tmp_path):
    rows = [match(circuit="OV", layer=1, lag=2, **FOUND), match(circuit="OV")]
    text = said(made(tmp_path, match=rows))
    assert "Layer 1's OV (what is added) follows the corpus at lag 2, with frequencies taken out, in the text's direction (" in text
    assert "no other layer's does." in text and "resemblance" not in text
    for value, like in ((0.0151, True), (0.0077, True), (0.0076, False), (-0.0151, False)):
        backward = match(circuit="OV", layer=1, lag=2, part="centred_reversed", value=value)
        text = said(made(tmp_path, match=[*rows, backward]))
        assert ("than forward (0.008): a resemblance, not a direction" in text) == like
        assert ("It is as alike or more alike backward (0.015) than" in text) == (value == 0.0151)


def test_no_other_layer_does_means_in_no_part(tmp_path):
    rows = [match(circuit="OV", layer=1, **FOUND), match(circuit="OV"), match(circuit="OV", part="reversed", **FOUND | {"value": 0.018})]
    text = said(made(tmp_path, match=rows))
    assert "no other layer's does in this part." in text and "no other layer's does." not in text
    assert "Layer 0's OV follows the corpus with frequencies left in, backward in time, at lag 1 (matrix cosine 0.018" in text
    text = said(made(tmp_path, match=[match(circuit="OV"), rows[-1]]))
    assert "at any lag, with frequencies taken out, in the text's direction, nor a single one" in text
    skew = match(circuit="OV", part="antisymmetric", value=0.02, shuffled=0.0, **EFFECT)
    assert "raises what comes before it in the corpus more than what comes after it" in said(made(tmp_path, match=[match(circuit="OV"), skew]))


@pytest.mark.parametrize("shuffled, verdict", [(0.5, NOT_OF_ORDER), (0.49, NOT_OF_ORDER), (0.4, "effect"), (-0.5, "effect"), (None, "effect")])
def test_what_random_order_gives_too_has_a_verdict_of_its_own(shuffled, verdict, tmp_path):
    spread = [{"layer": n, "subject": "QK_antisymmetric", "measure": "pr_energy", "value": 3.0, "null": 4.0} for n in (0, 1)]
    claim = {"claim": "qk_follows_corpus", "layer": 1, "lag": 1, "detail": "QK centred_forward matrix_cosine", "value": 0.5, "null": 0.0, "p": 0.005,
             "found": 1}
    other = {"claim": "circuits_correlate", "layer": 1, "detail": "OV I embedding", "value": 0.4, "null": 0.0, "p": 0.005, "found": 1}
    a = made(tmp_path, weights=spread, claims=[claim, other], match=[
        match(layer=1, value=0.5, shuffled=shuffled, **EFFECT), match(),
        match(part="antisymmetric", measure="spectral_cosine", value=0.5, shuffled=shuffled, **EFFECT)])
    assert verdicts(a, "follows the corpus") == [verdict] and verdicts(a, "spectrum is the most alike") == [verdict]
    (table,) = nulls.claims(a).tables
    assert [row[0].text for row in table.rows] == [verdict, "effect"] and ("shuffled" in table.columns) == (shuffled is not None)
    if shuffled is not None:
        assert [row[table.columns.index("shuffled")].text for row in table.rows] == [f"{shuffled:.3f}".replace("-", "−"), ""]
    text = write_report(tmp_path).read_text()
    assert ('class="verdict effect-not-of-word-order"' in text) == (verdict == NOT_OF_ORDER)
    assert text.count("--fair:") == 3 and ".verdict.effect-not-of-word-order {" in text  # light, dark, print


def test_correlations_and_bands_have_a_verdict_each(tmp_path):
    views = [{"layer": 0, "subject": "Q", "against": "K2", "basis": "embedding", "value": 0.005, "null": 0, "null_sd": 0.01, "p_family": 1}]
    bands = [{"layer": 0, "subject": "Q", "from": 0, "to": 1, "uniform": 0.125, "value": 0.3, "null": 0.1, "p_family": 0.001}]
    a = made(tmp_path, correlations=views, bands=bands)
    assert verdicts(a, "no views of the corpus") == ["no effect"] and verdicts(a, "prefers some bands") == ["effect"]


def test_the_largest_results_are_told(tmp_path):
    views = [{"layer": n, "subject": "OV", "against": "I", "basis": "embedding", "value": x, "null": 0.0, "null_sd": 0.002, "p_family": p}
             for n, x, p in ((0, -0.1, 0.001), (1, 0.451, 0.001))]
    overlap = match(layer=1, lag=2, part="forward", measure="subspace_overlap", value=0.042, null=0.014, null_sd=0.003, **EFFECT)
    text = said(made(tmp_path, correlations=views, match=[match(), match(layer=1), overlap]))
    assert "correlation with the identity is 0.451 in layer 1 (null 0.000 ± 0.002), an effect in all 2 layers (1 of them below 0)." in text
    assert "the strongest 8 overlap by 0.042, unrelated ones by 0.014 (layer 1 at lag 2, as a whole, forward in time; p ≤ 0.005)" in text
    for row in views:
        row["p_family"] = 0.5
    text = said(made(tmp_path, correlations=views, match=[match(), overlap | {"p_family": 0.5}, overlap | {"value": 0.001, "layer": 0}]))
    assert "identity" not in text and "strongest 8 overlap" not in text


# ---- heads

@pytest.mark.parametrize("t, degrees, p", [
    (1.0, 1, 0.25), (1.0, 2, (1 - 1 / math.sqrt(3)) / 2), (2.571, 5, 0.025), (2.764, 10, 0.01), (2.539, 19, 0.01), (-2.571, 5, 0.975), (1.96, 10**5, 0.025),
])
def test_students_t_is_that_of_the_tables(t, degrees, p):
    assert copying.student_upper(t, degrees) == pytest.approx(p, rel=2e-3)


@pytest.mark.parametrize("sd, verdict, words", [
    (0.5, "described", "cannot be told here: even a perfect head would have p\N{NO-BREAK SPACE}0.13."),
    (0.1, "no effect", "No head copies the token that it reads more than random heads may."),
])
def test_whether_heads_copy_may_be_beyond_the_test(sd, verdict, words, tmp_path):
    heads = [{"layer": n, "head": h, "measure": "copying", "value": v, "null": 0.04, "null_sd": sd, "p_family": 0.2}
             for n, h, v in ((0, 0, 0.95), (0, 1, 0.2), (1, 0, 0.91), (1, 1, 0.9))]
    labels = [{"layer": n, "head": h, "label": ""} for n in (0, 1) for h in (0, 1)]
    a = made(tmp_path, heads=heads, labels=labels)
    t = 0.96 / (sd * math.sqrt(1 + 1 / 40))  # 20 random layers of 2 heads
    assert copying.perfect_p(a) == pytest.approx(4 * copying.student_upper(t, 39))
    assert verdicts(a, words) == [verdict]
    assert "2 of 4 heads are above 0.9" in said(a)


# ---- where figures come from

def test_the_first_screen_says_how_far_figures_reach(tmp_path):
    a = made(tmp_path, match=[match(), match(layer=1)])
    assert about.caveat(a) == about.STREAM and about.STREAM in check(write_report(tmp_path)).text
    a.notes = ["note: m: queries, keys and values are read as they act behind the gains of 'x' and its like"]
    assert about.caveat(a) == about.STREAM
    a.notes = ["note: m: the gains of its norms ('x', ...) are not part of the heads that are read"]
    assert about.caveat(a) == f"{about.STREAM} {about.GAINS}"
    a.corpus = None
    assert about.caveat(a) == about.GAINS
    assert about.once(["note: a", "a", "b: note: c"]) == ["a", "b: note: c"]
    assert "measured against a corpus of 1,000 tokens of 30 ids" in check(tmp_path / "report.html").text


def test_a_quantised_file_is_named_with_its_floor(tmp_path):
    assert about.quantised(None) == about.quantised("") == about.quantised(tmp_path) == about.quantised(tmp_path / "gone") == ""
    file = tmp_path / "quantization.json"
    tensors = {"l.0.self_attn.q_proj.weight": {"relative_error": 0.08}, "l.0.self_attn.k_proj.weight": {"relative_error": 0.0907},
               "l.0.self_attn.k_proj.bias": {"relative_error": 0.0}, "l.0.mlp.up.weight": {"relative_error": 0.5}}
    file.write_text(json.dumps({"source": "m.Q4_1.gguf", "tensors": tensors}))
    for path in (tmp_path, tmp_path / "model.safetensors"):
        assert about.quantised(path) == ("weights from a quantised file (m.Q4_1.gguf): those of attention are at least 8.0% to 9.1% of their norm from"
                                         " what was quantised")
    tensors["l.0.self_attn.q_proj.weight"]["relative_error"] = None
    file.write_text(json.dumps({"source": "m.gguf", "tensors": tensors}))
    assert about.quantised(tmp_path).endswith("at least 9.1% of their norm from what was quantised; how far 1 of them are is not known")
    for damaged in ("{", "[]", '{"source": "x", "tensors": [1]}', '{"source": "x", "tensors": {"attn": {"relative_error": "much"}}}'):
        file.write_text(damaged)
        assert about.quantised(tmp_path).endswith("quantization.json beside them cannot be read")


@pytest.mark.parametrize("value, null, shown", [
    (0.2, 0.1, ("0.200", "0.100", "")), (0.0102, 0.0101, ("0.0102", "0.0101", "")), (0.00002, 0.00001, ("0.00002", "0.00001", "")),
    (0.01, 0.01, ("0.010", "0.010", ", a difference too small to count")),
])
def test_a_value_and_its_null_are_told_apart(value, null, shown):
    assert _pair({"value": value, "null": null}) == shown
