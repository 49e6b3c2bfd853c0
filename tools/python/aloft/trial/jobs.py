"""A trial is a set of jobs (arm, peak learning rate, steps, seed), each of which leaves one line in results.jsonl. Jobs that
have left theirs are not run again, so a trial that was stopped goes on where it was."""

import contextlib
import fcntl
import functools
import hashlib
import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from . import corpus, results
from .models import Model, Shape, initialise


@dataclass(frozen=True)
class Job:
    arm: str
    peak: float
    steps: int
    seed: int

    @property
    def name(self):
        return f"{self.arm}_{self.peak:g}_{self.steps}_{self.seed}"


class Trial:
    """spec: the YAML as a dict (presets/ has examples); folder: where everything goes."""

    def __init__(self, spec, folder, program="aloft"):
        self.spec, self.folder, self.program = spec, Path(folder), program
        self.shape = Shape(**spec["model"])
        self.train_path, self.held_path = corpus.prepare(
            spec["corpus"]["text"], self.folder / "corpus", self.shape.vocab,
            vocabulary_from=spec["corpus"].get("vocabulary_from", "training"))
        self.arms = spec["arms"]
        self.results_path = self.folder / "results.jsonl"

    def windows(self):
        """The validation windows: curves, choice of rates, targets."""
        from .training import windows

        return windows(corpus.load(self.held_path), self.shape.context, self._validation_windows())

    def test_windows(self):
        """Windows behind the validation windows, for a loss that no choice has seen; None where the spec asks for none."""
        from .training import windows

        count = self.spec["training"].get("test_tokens", 0) // self.shape.context
        return windows(corpus.load(self.held_path), self.shape.context, count, self._validation_windows()) if count else None

    def _validation_windows(self):
        return self.spec["training"].get("validation_tokens", 10240) // self.shape.context

    # -- init files

    def init_flags(self, arm):
        """The flags of `aloft init` for an arm; None when the arm is a plain init."""
        flags = self.arms[arm].get("init")
        if flags is None:
            return None
        s = self.shape
        common = {"arch": s.style, "layers": s.layers, "heads": s.heads, "d-model": s.width, "context": s.context,
                  "model-vocab-size": s.vocab, "mlp-width": s.mlp, "null-tokens": 0}
        return common | flags

    def init_file(self, arm, seed):
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
                command = [self.program, "init", "--counts", str(counts), "--output", str(folder), "--quiet", "--threads", "1"]
                for name, value in flags.items():
                    command += [f"--{name}"] if value is True else [] if value is False else [f"--{name}", str(value)]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return folder / "init.safetensors"

    @functools.cached_property
    def program_hash(self):
        """Of the executable: another build may design otherwise from the same flags."""
        path = shutil.which(self.program)
        if path is None:
            raise SystemExit(f"trial: there is no program {self.program}: give --program FILE")
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()

    @contextlib.contextmanager
    def alone(self, name):
        """Holds a lock of this name against the trial's other workers; it ends with the process."""
        (self.folder / "locks").mkdir(exist_ok=True)
        with open(self.folder / "locks" / name, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def counts_file(self):
        path = self.folder / "counts.safetensors"
        if not path.exists():
            subprocess.run([self.program, "count", "--corpus", str(self.train_path), "--format", self.train_path.suffix[1:],
                            "--vocab-size", str(self.shape.vocab), "--output", str(path), "--quiet"], check=True)
        return path

    # -- jobs

    def build(self, arm, seed):
        """The arm's model before any step."""
        from ..apply import apply_init

        a = self.arms[arm]
        model = initialise(Model(self.shape), seed, std=a.get("std", 0.02), mlp_std=a.get("mlp_std"),
                           zero_outputs=a.get("zero_outputs", False))
        path = self.init_file(arm, seed)
        report = apply_init(model, path) if path else None
        return model, report

    def run(self, job, progress=None):
        """Trains one job, unless its result is there already, and returns the result."""
        from .training import train, validation_loss

        done = results.read(self.results_path).get((job.arm, job.peak, job.steps, job.seed))
        if done is not None:
            return done
        model, _ = self.build(job.arm, job.seed)
        t = self.spec["training"]
        device = t.get("device", "cpu")
        model, test = model.to(device), self.test_windows()
        history = train(model, corpus.load(self.train_path), self.windows(), steps=job.steps, peak=job.peak, seed=job.seed,
                        batch=t["batch"], context=self.shape.context, warmup=t.get("warmup", 50),
                        every=t.get("every", 25), device=device, progress=progress)
        result = asdict(job) | {"history": history, "initial": history[0][1], "final": history[-1][1]}
        if test is not None:
            result["test"] = validation_loss(model, test.to(device))
        results.append(self.results_path, result)
        return result

    def done(self):
        """Every result of the trial's arms, by (arm, peak, steps, seed)."""
        return {key: r for key, r in results.read(self.results_path).items() if r["arm"] in self.arms}
