"""`python -m aloft papers`: every step whose results are not there yet, one after the other."""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

import torch

from ..errors import InputError, UsageError
from ..trial.jobs import Trial, found_program
from ..trial.models import Model
from ..trial.spec import same_trial
from .checkpoints import write_json
from .settings import Settings
from .steps import STEPS, Numbers, Run, Step


def run_papers(settings: Settings, text: str | os.PathLike[str], folder: str | os.PathLike[str], program: str,
               only: tuple[str, ...] = ()) -> Numbers:
    """All steps, or those in `only`; returns what papers.json holds. Another command may be at another step meanwhile."""
    unknown = [name for name in only if name not in [step.name for step in STEPS]]
    if unknown:
        raise UsageError(f"papers: --only: {unknown[0]} is none of {', '.join(step.name for step in STEPS)}")
    if not Path(text).is_file():
        raise InputError(f"papers: the text {text} is not there: give --text FILE")
    wanted = [step for step in STEPS if not only or step.name in only]
    if any(step.needs_program for step in wanted):
        found_program(program)  # before any work
    for limit in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[limit] = str(settings.threads)
    torch.set_num_threads(settings.threads)
    spec = settings.spec(text)
    same_trial(spec, folder)
    run = Run(settings, Trial(spec, folder, program), Path(folder))
    for step in wanted:
        with run.trial.alone(f"papers_{step.name}"):
            if not _result_path(run.folder, step).exists():
                write_json(_result_path(run.folder, step), step.work(run))
        _write_papers(run)
    return _write_papers(run)


def _result_path(folder: Path, step: Step) -> Path:
    return folder / "results" / f"{step.name}.json"


def _write_papers(run: Run) -> Numbers:
    """papers.json from the steps that are done."""
    s = run.settings
    shape = {k: v for k, v in asdict(s.shape).items() if k != "style"}
    numbers: Numbers = {"settings": shape | {
        "parameters": sum(p.numel() for p in Model(s.shape).parameters()), "steps": s.steps, "batch": s.batch,
        "tokens_a_step": s.batch * s.shape.context, "peak": s.peak, "warmup": s.warmup(s.steps), "seed": s.seed,
        "validation_tokens": s.validation_tokens, "embedding_norm": s.embedding_norm, "embedding_rows": s.embedded,
        "injection_steps": s.injection_steps, "injection_seeds": s.injection_seeds, "threads": s.threads}}
    with run.trial.alone("papers"):  # another command may have ended a step, too
        for step in STEPS:
            path = _result_path(run.folder, step)
            if not path.exists():
                continue
            try:
                numbers[step.name] = json.loads(path.read_text())
            except ValueError:
                raise InputError(f"papers: {path} is damaged: remove it, and its step will run again") from None
        write_json(run.folder / "papers.json", numbers)
    return numbers


def main(arguments: argparse.Namespace) -> None:
    a = arguments
    settings = Settings(steps=a.steps, batch=a.batch, peak=a.peak, seed=a.seed, embedding_norm=a.embedding_norm,
                        embedding_vocab=a.embedding_vocab, injection_seeds=a.injection_seeds, threads=a.threads, quiet=a.quiet)
    run_papers(settings, a.text, a.output, a.program, tuple(a.only.split(",")) if a.only else ())
    print(f"{arguments.output}/papers.json")
