"""Runs a trial: workers side by side, one torch thread each, resumable job by job."""

import multiprocessing
import os
import sys
import time
from pathlib import Path

import yaml

from .jobs import Trial
from .report import write
from .schedule import jobs_of

PRESETS = Path(__file__).with_name("presets")


def load_spec(name):
    """A preset's name, or a YAML file."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else PRESETS / f"{name}.yaml"
    if not path.exists():
        raise SystemExit(f"trial: {name} is neither a file nor one of {', '.join(sorted(p.stem for p in PRESETS.glob('*.yaml')))}")
    return yaml.safe_load(path.read_text())


def _work(arguments):
    spec, folder, program, job = arguments
    import torch

    torch.set_num_threads(1)
    start = time.time()
    result = Trial(spec, folder, program).run(job)
    return job, result["initial"], result["final"], time.time() - start


def run_trial(spec, folder, program, workers=None, only_init=False, until=None):
    """Every job of the plan; returns the Trial. until: a time (seconds since the epoch) after which no job is started."""
    for limit in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[limit] = "1"
    trial = Trial(spec, folder, program)
    trial.counts_file()
    if only_init:
        return trial
    workers = workers or os.cpu_count()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        while True:
            results = trial.done()
            jobs = [j for j in jobs_of(spec, results) if (j.arm, j.peak, j.steps, j.seed) not in results]
            if not jobs:
                break
            start, done = time.time(), 0
            queue = ((spec, str(folder), program, j) for j in jobs if until is None or time.time() < until)
            for job, initial, final, seconds in pool.imap_unordered(_work, queue):
                done += 1
                left = (time.time() - start) / done * (len(jobs) - done)
                print(f"{job.name}: {initial:.3f} -> {final:.4f} in {seconds:.0f} s; {len(jobs) - done} jobs left in this phase, "
                      f"about {left / 60:.0f} min", flush=True)
            if until is not None and time.time() >= until:
                print("time is up: run again to go on", file=sys.stderr)
                break
    return trial


def main(arguments):
    spec = load_spec(arguments.spec)
    if arguments.text:
        spec["corpus"]["text"] = arguments.text
    if not Path(spec["corpus"]["text"]).exists():
        raise SystemExit(f"trial: the text {spec['corpus']['text']} is not there: give --text FILE")
    until = time.time() + 60 * arguments.minutes if arguments.minutes else None
    trial = run_trial(spec, arguments.output, arguments.program, arguments.workers, until=until)
    write(trial)
    print((trial.folder / "table.md").read_text())
