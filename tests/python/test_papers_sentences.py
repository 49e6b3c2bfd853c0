"""What the page of `python -m aloft papers` says of losses and injection, from numbers made by hand. (Of analyses: test_papers.py.)"""

from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from aloft.papers import first_paper, second_paper  # noqa: E402
from aloft.papers import page as page_of_papers  # noqa: E402
from test_report_words import made, match  # noqa: E402


@pytest.mark.parametrize("percent, least, verdict, said", [(0.03, -0.001, "holds", "next to nothing"), (5.0, 0.2, "not here", "it helps, for every seed"),
                                                          (5.0, -0.2, "in part", "seeds do not agree")])
def test_the_sentence_of_the_injection(percent, least, verdict, said):
    lead = {"mean": 0.3, "least": least, "most": 0.5}
    arm = {"initial": lead, "final": lead, "lead_initial": lead, "lead_final": lead, "percent": percent}
    part = first_paper.injection({"injection": {"steps": 9, "runs": [{"seed": 0}], "arms": {
        "random": {"initial": lead, "final": lead}, "asymmetry": arm, "asymmetry-attention": arm}}})
    assert part.verdict == verdict and said in part.says


@pytest.mark.parametrize("start, end, verdict, said", [(2.0, 3.0, "holds", "2.61 below a uniform guess"), (4.605, 3.0, "in part", "at a uniform guess"),
                                                      (5.0, 3.5, "not here", "64.9% worse in perplexity than full SGD (paper: 2.7% worse), which is not")])
def test_the_sentence_of_the_losses(start, end, verdict, said):
    arms = {"sgd": {"initial": 4.6, "final": 3.0, "history": [[0, 4.6], [9, 3.0]]},
            "crystallised": {"initial": start, "final": end, "history": [[0, start], [9, end]]}}
    part = page_of_papers.losses({"settings": {"vocab": 100, "steps": 9}, **arms})
    assert part.verdict == verdict and said in part.says


def test_rank_correlation_with_depth():
    assert [second_paper.with_depth(v) for v in ([1, 2, 3], [3, 2, 1], [1, 3, 2], [5])] == pytest.approx([1, -1, 0.5, 0])


@pytest.mark.parametrize("first, verdict", [(0.001, "holds"), (1.0, "its null")])
def test_a_match_of_layer_0_is_no_effect_of_another_layer(first, verdict, tmp_path):
    """Layer 1 is an effect in either case, and far below its null."""
    cosine = {"part": "antisymmetric", "measure": "spectral_cosine", "shuffled": 0.3}
    trained = made(tmp_path, match=[match(value=0.9, null=0.2, p_family=first, **cosine),
                                    match(layer=1, value=0.1, null=0.5, p_family=0.001, **cosine)])
    part = first_paper.alike(SimpleNamespace(trained=trained, untrained=None, layers=2))
    assert part.verdict == verdict and part.says.startswith("Layer 0 has 0.900 (paper: 0.923), the most of all")
    assert [[cell.text for cell in row] for row in part.tables[1].rows] == [["0", "1", "1 (0.900)", "", "1 (0.300)"],
                                                                            ["1", "2", "1 (0.100)", "", "1 (0.300)"]]


def test_what_is_left_of_the_lead_at_the_papers_step():
    paper = {"washed_out": 20, "percent": 0.03, "final": {"random": 5.6, "asymmetry": 5.5}}
    runs = [{"arm": arm, "seed": seed, "history": [[0, 9.0], [20, loss]]} for arm, seed, loss in
            (("random", 0, 7.0), ("random", 1, 7.5), ("asymmetry", 0, 6.9), ("asymmetry", 1, 7.2))]
    rows = first_paper._leads({"random": {}, "asymmetry": {"percent": -0.5}}, runs, paper)
    assert [[cell.text for cell in row] for row in rows] == [
        ["lead at step 20: asymmetry, with its embedding", "", "", "washed out", "0.2000", "0.1000 to 0.3000"],
        ["final lead: asymmetry, with its embedding", "", "", "0.03%", "−0.50%", ""]]
    assert [row[0].text for row in first_paper._leads({"asymmetry": {"percent": 1.0}}, [{**r, "history": [[0, 9.0]]} for r in runs], paper)] == [
        "final lead: asymmetry, with its embedding"]
