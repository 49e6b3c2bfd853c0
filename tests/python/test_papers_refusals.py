"""`python -m aloft papers`: what it refuses, what it says before it has trained, what freezing a model's head leaves as it is."""

import numpy as np
import pytest

pytest.importorskip("torch")
import torch  # noqa: E402

from aloft import InputError  # noqa: E402
from aloft.__main__ import main  # noqa: E402
from aloft.papers.run import run_papers  # noqa: E402
from aloft.papers.settings import Settings  # noqa: E402
from aloft.trial.loss import next_token_loss  # noqa: E402
from aloft.trial.models import Model, Shape, initialise  # noqa: E402
from conftest import PROGRAM, ROOT  # noqa: E402
from sample_text import dependent_words  # noqa: E402

SHAPE = Shape("nanogpt-rope", layers=2, heads=2, width=32, context=32, vocab=151)
TINY = Settings(shape=SHAPE, steps=20, batch=2, validation_tokens=640, quiet=True)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(dependent_words(50000))
    return path


@pytest.mark.parametrize("words, code, said", [
    (["--steps", "0"], 2, "papers: --steps is to be 1 or more"),
    (["--peak", "nan"], 2, "papers: a rate and a norm are to be above 0"),
    (["--embedding-norm", "-1"], 2, "papers: a rate and a norm are to be above 0"),
    (["--embedding-vocab", "100"], 2, "papers: --embedding-vocab is to be from 256 to 15007"),
    (["--seed", "-1"], 2, "papers: --seed is to be from 0"),
    (["--only", "sgd,pages"], 2, "papers: --only: pages is none of corpus, sgd, crystallised, injection, analysis, attention, page"),
    (["--text", "absent.txt"], 3, "papers: the text absent.txt is not there: give --text FILE"),
    (["--program", "absent"], 2, "there is no program absent: give --program FILE"),
    (["--batch", "x"], 2, "invalid int value"),
])
def test_what_cannot_be_is_refused_in_a_line(tmp_path, capsys, words, code, said):
    assert main(["papers", "--text", str(ROOT / "README.md"), "--output", str(tmp_path / "out"), *words]) == code
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1, error
    assert not (tmp_path / "out").exists()


def test_a_frozen_head_leaves_the_other_gradients_as_they_are():
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 151, (2, 33)))
    free, frozen = (initialise(Model(SHAPE), 0) for _ in range(2))
    # the embedding's own part of the gradient ends at the embedding: what flows into the blocks is the same
    frozen.embedding.requires_grad_(False)
    for model in (free, frozen):
        next_token_loss(model, ids).backward()
    assert frozen.embedding.grad is None
    for (name, a), (_, b) in zip(free.named_parameters(), frozen.named_parameters()):
        if a is not free.embedding:
            assert torch.equal(a.grad, b.grad), name


def test_an_analysis_of_what_is_not_trained_is_refused(text, tmp_path):
    with pytest.raises(InputError, match="the step analysis needs .*model.safetensors: the step sgd leaves it"):
        run_papers(TINY, text, tmp_path, PROGRAM, only=("analysis",))


def test_what_is_not_measured_yet_is_said(text, tmp_path):
    run_papers(TINY, text, tmp_path, PROGRAM, only=("corpus", "page"))
    page = (tmp_path / "papers.md").read_text()
    assert page.count("Not measured yet: the step analysis has not run.") == 13
    assert "Not measured yet: the step injection has not run." in page and "Not measured yet: the step attention has not run." in page
    assert "Not measured yet: the steps sgd and crystallised have not run." in page
    assert "| ‖M_A‖/‖M‖ |" not in page and "- **not yet**: finished: sgd, crystallised, injection, analysis and attention" in page
