"""A run of `aloft papers` and the numbers that its steps leave in its folder."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..trial.jobs import Trial
from ..trial.models import Model
from .settings import Settings

Numbers = dict[str, Any]
LEAVE_NUMBERS = ("corpus", "sgd", "crystallised", "injection", "analysis", "attention")  # steps, in their order


@dataclass(frozen=True)
class Run:
    settings: Settings
    trial: Trial  # its corpus, held-out windows, files of `aloft init`
    folder: Path


def result_path(folder: Path, step: str) -> Path:
    return folder / "results" / f"{step}.json"


def collected(run: Run) -> Numbers:
    """What papers.json holds: settings, and the numbers of the steps that are done."""
    s = run.settings
    shape = {k: v for k, v in asdict(s.shape).items() if k != "style"}
    numbers: Numbers = {
        "settings": shape
        | {
            "parameters": sum(p.numel() for p in Model(s.shape).parameters()),
            "steps": s.steps,
            "batch": s.batch,
            "tokens_a_step": s.batch * s.shape.context,
            "peak": s.peak,
            "warmup": s.warmup(s.steps),
            "seed": s.seed,
            "validation_tokens": s.validation_tokens,
            "embedding_norm": s.embedding_norm,
            "embedding_rows": s.embedded,
            "injection_steps": s.injection_steps,
            "injection_seeds": s.injection_seeds,
            "threads": s.threads,
        }
    }
    for step in LEAVE_NUMBERS:
        path = result_path(run.folder, step)
        if not path.exists():
            continue
        try:
            numbers[step] = json.loads(path.read_text())
        except ValueError:
            raise InputError(f"papers: {path} is damaged: remove it, and its step will run again") from None
    return numbers
