"""What the command does, step by step. A step is given the Run, leaves its files in the run's folder and returns its numbers.

A step that was stopped goes on where it was when it is called again: training from its state, injection from the runs it has.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..tensors import read_tensors, widened
from ..trial import corpus
from ..trial.jobs import Trial
from ..trial.models import Model, initialise
from ..trial.progress import ProgressLines
from ..trial.training import Progress, train, validation_loss
from .analyses import analysed
from .attended import attended
from .checkpoints import write_checkpoint, write_json
from .results import Numbers, Run
from .settings import INJECTED

FEW = 8  # windows: to compare norms of the embedding on


@dataclass(frozen=True)
class Training:
    name: str
    steps: int


class Timed:
    """Progress that measures what a step takes, evaluations included."""

    def __init__(self, say: Progress | None) -> None:
        self.say, self.first, self.last = say, (-1, 0.0), (-1, 0.0)

    def __call__(self, step: int, loss: float) -> None:
        self.last = step, time.monotonic()
        if self.first[0] < 0:
            self.first = self.last
        if self.say:
            self.say(step, loss)

    @property
    def seconds_a_step(self) -> float | None:
        steps = self.last[0] - self.first[0]
        return (self.last[1] - self.first[1]) / steps if steps else None


def prepared(run: Run) -> Numbers:
    """The ids are there once the Trial is; here is how much they are, and what tables of counts know."""
    train_ids, held_ids = corpus.load(run.trial.train_path), corpus.load(run.trial.held_path)
    held, vocab = run.trial.windows().numpy(), run.settings.shape.vocab
    return {"train_tokens": len(train_ids), "held_tokens": len(held_ids), "unknown": float((held_ids == 0).mean()),
            "unigram": corpus.unigram_loss(train_ids, held, vocab), "bigram": corpus.bigram_loss(train_ids, held, vocab)}


def sgd(run: Run) -> Numbers:
    return _trained(run, "sgd", initialise(Model(run.settings.shape), run.settings.weights_seed["sgd"]))


def crystallised(run: Run) -> Numbers:
    """The papers' embedding, rows at the norm that the settings say, frozen and with it the tied head."""
    settings = run.settings
    seed = settings.weights_seed["crystallised"]
    rows = frozen_rows(run)
    model = initialise(Model(settings.shape), seed)
    model.embedding.requires_grad_(False)
    held, untrained, usual = run.trial.windows()[:FEW], [], 0.02 * math.sqrt(settings.shape.width)
    for norm in sorted({settings.embedding_norm, *(usual * factor for factor in (0.25, 0.5, 1, 2, 4, 8, 16))}):
        model.embedding.copy_(rows * norm)
        untrained.append([norm, validation_loss(model, held)])
    model.embedding.copy_(rows * settings.embedding_norm)
    numbers = _trained(run, "crystallised", model)
    return numbers | {"embedding_rows": settings.embedded, "embedding_norm": settings.embedding_norm, "untrained": untrained}


def frozen_rows(run: Run) -> Tensor:
    """[vocab, width]: the papers' embedding, each row of unit length; directions drawn at random for ids that it has no row for."""
    s = run.settings
    path = _embedding_trial(run).init_file("crystallised", s.seed)
    if path is None:
        raise InputError("papers: there is no arm crystallised")
    values = widened(read_tensors(path)[0]["transformer.wte.weight"])
    others = np.random.default_rng(s.weights_seed["crystallised"]).standard_normal((s.shape.vocab - s.embedded, s.shape.width))
    rows = np.concatenate([values[: s.embedded], others])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (norms > 0).all() or not np.isfinite(norms).all():
        raise InputError(f"papers: {path}: the embedding has rows without a direction: remove its folder")
    return torch.from_numpy((rows / norms).astype(np.float32))


def _embedding_trial(run: Run) -> Trial:
    """Where the embedding is from: the run's corpus, or the same with its rarer words unknown. (Ids are in order of frequency.)"""
    count, folder = run.settings.embedded, run.folder / "mobius"
    if count == run.settings.shape.vocab:
        return run.trial
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    for path in (run.trial.train_path, run.trial.held_path):
        ids = corpus.load(path)
        ids[ids >= count] = 0
        partial = folder / "corpus" / f"{path.name}.partial"
        ids.tofile(partial)
        partial.rename(folder / "corpus" / path.name)
    return Trial(run.trial.spec | {"model": run.trial.spec["model"] | {"vocab": count}}, folder, run.trial.program)


def _trained(run: Run, name: str, model: Model) -> Numbers:
    s = run.settings
    seed = s.weights_seed[name]
    write_checkpoint(run.folder / name / "initial", model, {"step": "0", "weights_seed": str(seed)})
    clock = Timed(None if s.quiet else ProgressLines(Training(name, s.steps)))
    history = train(model, corpus.load(run.trial.train_path), run.trial.windows(), steps=s.steps, peak=s.peak, seed=s.seed, batch=s.batch,
                    context=s.shape.context, warmup=s.warmup(s.steps), every=max(1, s.steps // 10), state=run.folder / name / "state.pt",
                    save_every=s.save_every, progress=clock)
    write_checkpoint(run.folder / name / "trained", model, {"step": str(s.steps), "weights_seed": str(seed)})
    return {"initial": history[0][1], "final": history[-1][1], "history": history, "weights_seed": seed,
            "seconds_a_step": clock.seconds_a_step}


def injection(run: Run) -> Numbers:
    """The first paper's experiment, for several seeds: what is random, the order of the batches, both from the seed."""
    s = run.settings
    runs = [_injected(run, arm, s.seed + k) for k in range(s.injection_seeds) for arm in INJECTED]
    return {"steps": s.injection_steps, "warmup": s.warmup(s.injection_steps), "peak": s.peak, "runs": runs, "arms": compared(runs)}


def _injected(run: Run, arm: str, seed: int) -> Numbers:
    s = run.settings
    path = run.folder / "injection" / f"{arm}_{seed}.json"
    if path.exists():
        numbers: Numbers = json.loads(path.read_text())
        return numbers
    model, _ = run.trial.build(arm, seed)
    say = None if s.quiet else ProgressLines(Training(f"injection, {arm}, seed {seed}", s.injection_steps))
    history = train(model, corpus.load(run.trial.train_path), run.trial.windows(), steps=s.injection_steps, peak=s.peak, seed=seed,
                    batch=s.batch, context=s.shape.context, warmup=s.warmup(s.injection_steps), every=max(1, s.injection_steps // 5),
                    progress=say)
    numbers = {"arm": arm, "seed": seed, "initial": history[0][1], "final": history[-1][1], "history": history}
    write_json(path, numbers)
    return numbers


def compared(runs: list[Numbers]) -> Numbers:
    """Per arm the losses over seeds, and by how much they are below the random init's of the same seed."""
    random = {r["seed"]: r for r in runs if r["arm"] == "random"}
    out: Numbers = {}
    for arm in dict.fromkeys(r["arm"] for r in runs):
        mine = [r for r in runs if r["arm"] == arm]
        out[arm] = {when: _spread([r[when] for r in mine]) for when in ("initial", "final")}
        if arm != "random":
            leads = {when: _spread([random[r["seed"]][when] - r[when] for r in mine]) for when in ("initial", "final")}
            out[arm] |= {f"lead_{when}": lead for when, lead in leads.items()}
            out[arm]["percent"] = 100 * leads["final"]["mean"] / out["random"]["final"]["mean"]
    return out


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": math.fsum(values) / len(values), "least": min(values), "most": max(values)}


def page(run: Run) -> None:
    """papers.html and papers.md (page.py)."""
    from .page import write_pages  # needs matplotlib and jinja2, which the others do not

    write_pages(run)


@dataclass(frozen=True)
class Step:
    """again: it is done even if it was done before, and finds by itself what is to be done."""

    name: str
    work: Callable[[Run], Numbers | None]
    needs_program: bool
    again: bool = False


STEPS = (  # in their order; each finds what those before it left
    Step("corpus", prepared, False),
    Step("sgd", sgd, False),
    Step("crystallised", crystallised, True),
    Step("injection", injection, True),
    Step("analysis", analysed, True, again=True),
    Step("attention", attended, False, again=True),
    Step("page", page, False, again=True),
)
