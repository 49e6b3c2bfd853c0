"""Runs a trial: workers side by side, one torch thread each, resumable job by job."""

import json
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


def same_trial(spec, folder):
    """Results of one folder are compared with each other: refuses one that holds those of another model, text or protocol."""
    mine = {"model": spec["model"], "training": {k: v for k, v in spec["training"].items() if k not in ("device", "test_tokens")},
            "vocabulary_from": spec["corpus"].get("vocabulary_from", "training"),
            "text_bytes": os.path.getsize(spec["corpus"]["text"]), "test_tokens": spec["training"].get("test_tokens", 0)}
    path = Path(folder) / "trial.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(mine, indent=1))
    theirs = json.loads(path.read_text())
    theirs.setdefault("test_tokens", mine["test_tokens"])  # of a time before there were any: its results have no test loss
    for key, value in mine.items():
        if theirs.get(key) != value:
            raise SystemExit(f"trial: {folder} holds a trial of another {key.replace('_', ' ')} ({theirs.get(key)}, not {value}): "
                             "give another --output")


def _work(arguments):
    spec, folder, program, job, until = arguments
    if until is not None and time.time() >= until:  # asked here: a pool takes its queue in long before it is worked off
        return None
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
    try:
        trial.windows(), trial.test_windows()
    except ValueError as error:
        raise SystemExit(f"trial: {error}")
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
            for result in pool.imap_unordered(_work, [(spec, str(folder), program, j, until) for j in jobs]):
                if result is None:
                    continue
                job, initial, final, seconds = result
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
    same_trial(spec, arguments.output)
    until = time.time() + 60 * arguments.minutes if arguments.minutes else None
    trial = run_trial(spec, arguments.output, arguments.program, arguments.workers, until=until)
    write(trial)
    print((trial.folder / "table.md").read_text())
