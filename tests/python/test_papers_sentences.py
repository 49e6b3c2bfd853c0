"""What the page of `python -m aloft papers` says of losses and injection, from numbers made by hand. (Of analyses: test_papers.py.)"""

import pytest

pytest.importorskip("torch")

from aloft.papers import first_paper, second_paper  # noqa: E402
from aloft.papers import page as page_of_papers  # noqa: E402


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
