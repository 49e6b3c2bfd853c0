"""Runs a trial: workers side by side, one torch thread each, resumable job by job."""

import argparse
import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path

from ..errors import InputError, UsageError
from .jobs import Job, Trial, found_program
from .report import write
from .schedule import jobs_of, restricted
from .spec import Spec, load_spec, same_trial

Task = tuple[Spec, str, str, Job, float | None, int]


def _work(task: Task) -> tuple[Job, float, float, float] | None:
    spec, folder, program, job, until, threads = task
    if until is not None and time.time() >= until:  # asked here: a pool takes its queue in long before it is worked off
        return None
    import torch

    torch.set_num_threads(threads)
    start = time.time()
    result = Trial(spec, folder, program).run(job)
    return job, result["initial"], result["final"], time.time() - start


def _end_with(parent: int) -> None:
    """A worker whose trial was killed trains on for nobody: on Linux it is killed, too."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # gone already
        os._exit(1)


def run_trial(spec: Spec, folder: str | os.PathLike[str], program: str, workers: int | None = None, only_init: bool = False,
              until: float | None = None, only: Collection[str] = (), threads: int = 1) -> Trial:
    """Every job of the plan, or those of the arms in `only`; returns the Trial. until: a time (seconds since the epoch) after
    which no job is started. threads: of each worker."""
    for limit in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[limit] = str(threads)
    wanted = restricted(spec, only)
    trial = Trial(spec, folder, program)
    trial.windows(), trial.test_windows(), trial.other_windows()
    trial.counts_file()
    if only_init:
        return trial
    with multiprocessing.get_context("spawn").Pool(workers or os.cpu_count(), _end_with, (os.getpid(),)) as pool:
        while True:
            results = trial.done()
            jobs = [j for j in jobs_of(wanted, results) if (j.arm, j.peak, j.steps, j.seed) not in results]
            if not jobs:
                break
            start, done = time.time(), 0
            tasks: list[Task] = [(spec, str(folder), program, j, until, threads) for j in jobs]
            for result in pool.imap_unordered(_work, tasks):
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


def usable(device: str) -> None:
    """UsageError where torch cannot put a tensor there."""
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"trial: device {device} cannot be used: {str(error).splitlines()[0]}") from None


def main(arguments: argparse.Namespace) -> None:
    spec = load_spec(arguments.spec)
    if arguments.threads < 1 or (arguments.workers is not None and arguments.workers < 1):
        raise UsageError("trial: --threads and --workers are to be 1 or more")
    if arguments.text:
        spec["corpus"]["text"] = arguments.text
    if not Path(spec["corpus"].get("text", "")).is_file():
        raise InputError(f"trial: the text {spec['corpus'].get('text')} is not there: give --text FILE")
    found_program(arguments.program)  # before any work
    usable(spec["training"].get("device", "cpu"))
    same_trial(spec, arguments.output)
    until = time.time() + 60 * arguments.minutes if arguments.minutes else None
    trial = run_trial(spec, arguments.output, arguments.program, arguments.workers, until=until,
                      only=arguments.arms.split(",") if arguments.arms else (), threads=arguments.threads)
    write(trial)
    print((trial.folder / "table.md").read_text())
