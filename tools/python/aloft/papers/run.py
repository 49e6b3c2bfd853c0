"""`python -m aloft papers`: every step whose results are not there yet, one after the other."""

import argparse
import os
from pathlib import Path

import torch

from ..errors import InputError, UsageError
from ..trial.jobs import Trial, found_program
from ..trial.spec import same_trial
from .checkpoints import write_json
from .results import Numbers, Run, collected, result_path
from .settings import Settings
from .steps import STEPS


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
            path = result_path(run.folder, step.name)
            if (step.again or not path.exists()) and (found := step.work(run)) is not None:
                write_json(path, found)
        _write_papers(run)
    return _write_papers(run)


def _write_papers(run: Run) -> Numbers:
    """papers.json from the steps that are done."""
    with run.trial.alone("papers"):  # another command may have ended a step, too
        numbers = collected(run)
        write_json(run.folder / "papers.json", numbers)
    return numbers


def main(arguments: argparse.Namespace) -> None:
    a = arguments
    settings = Settings(steps=a.steps, batch=a.batch, peak=a.peak, seed=a.seed, embedding_norm=a.embedding_norm,
                        embedding_vocab=a.embedding_vocab, injection_seeds=a.injection_seeds, threads=a.threads, quiet=a.quiet)
    run_papers(settings, a.text, a.output, a.program, tuple(a.only.split(",")) if a.only else ())
    print(f"{arguments.output}/papers.json")
