"""A trial is a set of jobs (arm, peak learning rate, steps, seed), each of which leaves one line in results.jsonl. Jobs that
have left theirs are not run again, so a trial that was stopped goes on where it was."""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..apply import Report, apply_init
from ..errors import InputError, ProgramError, UsageError
from ..fragility import sign_steps
from . import corpus, results
from .gauges import check_gauges, turn_gauges
from .lifetime import end_with_parent
from .loss import next_token_loss
from .models import Model, Shape, initialise
from .results import Result
from .spec import Spec
from .training import Progress, train, training_batch, validation_loss, windows

FRAGILITY_WINDOWS = 32


@dataclass(frozen=True)
class Job:
    arm: str
    peak: float
    steps: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm}_{self.peak:g}_{self.steps}_{self.seed}"


def found_program(name: str) -> str:
    """Its path. UsageError where there is no such program."""
    path = shutil.which(name)
    if path is None:
        raise UsageError(f"trial: there is no program {name}: give --program FILE")
    return path


class Trial:
    """spec: the YAML as a dict (presets/ has examples); folder: where everything goes."""

    def __init__(self, spec: Spec, folder: str | os.PathLike[str], program: str = "aloft") -> None:
        self.spec, self.folder, self.program = spec, Path(folder), program
        try:
            self.shape = Shape(**spec["model"])
        except TypeError as error:
            raise InputError(f"trial: section model: {str(error).removeprefix('Shape.__init__() ')}") from None
        for arm in spec["arms"].values():
            check_gauges(self.shape.style, arm.get("gauges", {}))
        self.train_path, self.held_path = corpus.prepare(
            spec["corpus"]["text"], self.folder / "corpus", self.shape.vocab,
            vocabulary_from=spec["corpus"].get("vocabulary_from", "training"), tokenizer=spec["corpus"].get("tokenizer", "words"))
        self.arms: dict[str, Any] = spec["arms"]
        self.results_path = self.folder / "results.jsonl"

    def windows(self) -> Tensor:
        """The validation windows: curves, choice of rates, targets."""
        return self._held_windows(self._validation_windows(), 0)

    def test_windows(self) -> Tensor | None:
        """Windows behind the validation windows, for a loss that no choice has seen; None where the spec asks for none."""
        count = self.spec["training"].get("test_tokens", 0) // self.shape.context
        return self._held_windows(count, self._validation_windows()) if count else None

    def other_windows(self) -> Tensor | None:
        """Windows of a text of another kind, in the same vocabulary; None where the spec names none."""
        text, count = self.spec["corpus"].get("other_text"), self.spec["training"].get("test_tokens", 0) // self.shape.context
        if not text or not count:
            return None
        with self.alone("other"):
            path = self.folder / "corpus" / "other.npy"
            if not path.exists():
                with open(path.with_suffix(".partial"), "wb") as file:
                    np.save(file, corpus.other_ids(text, self.folder / "corpus", self.spec["corpus"].get("tokenizer", "words")))
                path.with_suffix(".partial").rename(path)
        return windows(np.load(path), self.shape.context, count, drawn=True)

    def _held_windows(self, count: int, first: int) -> Tensor:
        return windows(corpus.load(self.held_path), self.shape.context, count, first,
                       drawn=self.spec["corpus"].get("windows") == "drawn")

    def _validation_windows(self) -> int:
        return int(self.spec["training"].get("validation_tokens", 10240)) // self.shape.context

    # -- init files

    COUNT_A_NULL = ("spread", "asymmetry")  # for their reports, which a trial does not read
    NO_NULL: dict[str, Any] = {"null-tokens": 0}

    def init_flags(self, arm: str) -> dict[str, Any] | None:
        """The flags of `aloft init` for an arm; None when the arm is a plain init."""
        flags: dict[str, Any] | None = self.arms[arm].get("init")
        if flags is None:
            return None
        s = self.shape
        return {"arch": s.style, "layers": s.layers, "heads": s.heads, "d-model": s.width, "context": s.context,
                "model-vocab-size": s.vocab, "mlp-width": s.mlp} | (self.NO_NULL if flags.get("recipe") in self.COUNT_A_NULL else {}) | flags

    def init_file(self, arm: str, seed: int) -> Path | None:
        """The arm's init.safetensors, designed if need be. None when the arm is a plain init."""
        flags = self.init_flags(arm)
        if flags is None:
            return None
        flags = flags | {"seed": seed}
        key = hashlib.sha256(json.dumps([flags, self.program_hash], sort_keys=True).encode()).hexdigest()[:12]
        folder = self.folder / "inits" / f"{arm}_{seed}_{key}"
        with self.alone(f"{arm}_{seed}_{key}"):  # an arm's jobs at several rates may begin at once
            if not (folder / "manifest.json").exists():
                counts = self.counts_file()
                words = ["--counts", str(counts), "--output", str(folder), "--quiet", "--threads", "1"]
                for name, value in flags.items():
                    words += [f"--{name}"] if value is True else [] if value is False else [f"--{name}", str(value)]
                self._call("init", *words)
        return folder / "init.safetensors"

    @functools.cached_property
    def program_hash(self) -> str:
        """Of the executable: another build may design otherwise from the same flags."""
        return hashlib.sha256(Path(found_program(self.program)).read_bytes()).hexdigest()

    def _call(self, command: str, *words: str) -> None:
        done = subprocess.run([found_program(self.program), command, *words], stdout=subprocess.DEVNULL,
                              preexec_fn=functools.partial(end_with_parent, signal.SIGTERM))
        if done.returncode != 0:
            code = done.returncode if 0 < done.returncode <= 5 else 1  # (killed by a signal: a failure)
            raise ProgramError(f"trial: {self.program} {command} {' '.join(words)} ended with {done.returncode}", code)

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Holds a lock of this name against the trial's other workers; it ends with the process."""
        (self.folder / "locks").mkdir(exist_ok=True)
        with open(self.folder / "locks" / name, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def counts_file(self) -> Path:
        path = self.folder / "counts.safetensors"
        with self.alone("counts"):
            if not path.exists():
                self._call("count", "--corpus", str(self.train_path), "--format", self.train_path.suffix[1:],
                           "--vocab-size", str(self.shape.vocab), "--output", str(path), "--quiet")
        return path

    # -- jobs

    def build(self, arm: str, seed: int) -> tuple[Model, Report | None]:
        """The arm's model before any step."""
        a = self.arms[arm]
        model = initialise(Model(self.shape), seed, std=a.get("std", 0.02), mlp_std=a.get("mlp_std"),
                           zero_outputs=a.get("zero_outputs", False))
        path = self.init_file(arm, seed)
        report = apply_init(model, path) if path else None
        turn_gauges(model, a.get("gauges", {}))
        return model, report

    def run(self, job: Job, progress: Progress | None = None) -> Result:
        """Trains one job, unless its result is there already, and returns the result."""
        with self.alone(f"job_{job.name}"):  # against another trial in this folder
            done = results.read(self.results_path).get((job.arm, job.peak, job.steps, job.seed))
            return done if done is not None else self._train(job, progress)

    def _train(self, job: Job, progress: Progress | None) -> Result:
        model, _ = self.build(job.arm, job.seed)
        t = self.spec["training"]
        device, bf16 = t.get("device", "cpu"), t.get("precision", "f32") == "bf16"
        model.to(device)
        ids, held = corpus.load(self.train_path), self.windows()
        generator = torch.Generator().manual_seed(job.seed)
        tokens = training_batch(torch.from_numpy(ids.astype(np.int64)), t["batch"], self.shape.context, generator)
        some = held[:FRAGILITY_WINDOWS].to(device)
        fragility = sign_steps(model.parameters(), lambda: next_token_loss(model, tokens.to(device)), lambda: validation_loss(model, some))
        (self.folder / "unfinished").mkdir(exist_ok=True)
        history = train(model, ids, held, steps=job.steps, peak=job.peak, seed=job.seed, batch=t["batch"],
                        context=self.shape.context, warmup=t.get("warmup", 50), every=t.get("every", 25), device=device,
                        optimizer=t.get("optimizer", "adamw"), bf16=bf16, state=self.folder / "unfinished" / f"{job.name}.pt",
                        progress=progress)
        result: Result = asdict(job) | {"history": history, "initial": history[0][1], "final": history[-1][1], "fragility": fragility}
        for name, some in (("test", self.test_windows()), ("other", self.other_windows())):
            if some is not None:
                result[name] = validation_loss(model, some.to(device), bf16=bf16)
        results.append(self.results_path, result)
        return result

    def done(self) -> dict[results.Key, Result]:
        """Every result of the trial's arms, by (arm, peak, steps, seed)."""
        return {key: r for key, r in results.read(self.results_path).items() if r["arm"] in self.arms}
