"""Runs a trial: workers side by side, one torch thread each, resumable job by job."""

import argparse
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, ProgramError, UsageError
from ..processors import MOST_THREADS
from .jobs import Job, Trial, found_program
from .lifetime import end_with_parent
from .progress import ProgressLines
from .report import write
from .schedule import jobs_of, restricted
from .spec import Spec, load_spec, same_trial


@dataclass(frozen=True)
class Work:
    """What the workers of a trial share: where, until when (seconds since the epoch) they begin jobs, torch threads of each."""

    spec: Spec
    folder: str
    program: str
    until: float | None
    threads: int
    quiet: bool

    @property
    def is_over(self) -> bool:
        return self.until is not None and time.time() >= self.until


def _work(work: Work, job: Job) -> tuple[Job, float, float, float] | None:
    if work.is_over:  # asked here: workers are given their jobs long before they begin them
        return None
    import torch

    torch.set_num_threads(work.threads)
    start = time.time()
    result = Trial(work.spec, work.folder, work.program).run(job, None if work.quiet else ProgressLines(job))
    return job, result["initial"], result["final"], time.time() - start


def _begin(parent: int) -> None:
    """A worker. One whose trial was killed would train on for nobody."""
    end_with_parent()
    if os.getppid() != parent:  # gone already
        os._exit(1)


@contextlib.contextmanager
def _workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with the block, at once, whatever they are at. ProgramError where one of them is killed."""
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin, (os.getpid(),))
    try:
        yield pool
    except BrokenProcessPool:
        raise ProgramError("trial: a worker was killed (by the system, where memory ran out): the same command goes on; "
                           "fewer --workers need less memory") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.kill()


@contextlib.contextmanager
def _shielded() -> Iterator[None]:
    """Processes begun in the block never meet a key that interrupts, which all of a terminal's processes get: the trial itself
    makes something of it. (A handler of theirs would come too late: first they import.)"""
    signals = {signal.SIGINT}
    old = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def run_trial(spec: Spec, folder: str | os.PathLike[str], program: str, workers: int | None = None, only_init: bool = False,
              until: float | None = None, only: Collection[str] = (), threads: int = 1, quiet: bool = True) -> Trial:
    """Every job of the plan, or those of the arms in `only`; returns the Trial. until: a time (seconds since the epoch) after
    which no job is started. threads: of each worker. quiet: no progress within a job."""
    for limit in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[limit] = str(threads)
    wanted = restricted(spec, only)
    trial = Trial(spec, folder, program)
    trial.windows(), trial.test_windows(), trial.other_windows()
    trial.counts_file()
    if only_init:
        return trial
    work = Work(spec, str(folder), program, until, threads, quiet)
    with _workers(workers or os.cpu_count() or 1) as pool:
        while True:
            results = trial.done()
            jobs = [j for j in jobs_of(wanted, results) if (j.arm, j.peak, j.steps, j.seed) not in results]
            if not jobs:
                break
            start, done = time.time(), 0
            with _shielded():
                futures = [pool.submit(_work, work, job) for job in jobs]
            for future in as_completed(futures):
                result = future.result()
                if result is None:
                    continue
                job, initial, final, seconds = result
                done += 1
                left = (time.time() - start) / done * (len(jobs) - done)
                print(f"{job.name}: {initial:.3f} -> {final:.4f} in {seconds:.0f} s; {len(jobs) - done} jobs left in this phase, "
                      f"about {left / 60:.0f} min", flush=True)
            if work.is_over:
                print("time is up: run again to go on", file=sys.stderr)
                break
    return trial


def usable(device: str) -> None:
    """UsageError where torch cannot put a tensor there."""
    import torch

    try:
        torch.zeros(1, device=device).item()  # "meta" has no values
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"trial: device {device} cannot be used: {str(error).splitlines()[0]}") from None


def main(arguments: argparse.Namespace) -> None:
    spec = load_spec(arguments.spec)
    if arguments.threads > MOST_THREADS:
        raise UsageError(f"trial: --threads is to be from 1 to {MOST_THREADS}")
    if arguments.threads < 1 or (arguments.workers is not None and arguments.workers < 1):
        raise UsageError("trial: --threads and --workers are to be 1 or more")
    if arguments.minutes is not None and not arguments.minutes > 0:
        raise UsageError("trial: --minutes is to be above 0")
    if arguments.text:
        spec["corpus"]["text"] = arguments.text
    if not Path(spec["corpus"].get("text", "")).is_file():
        raise InputError(f"trial: the text {spec['corpus'].get('text')} is not there: give --text FILE")
    found_program(arguments.program)  # before any work
    usable(spec["training"].get("device", "cpu"))
    same_trial(spec, arguments.output)
    until = time.time() + 60 * arguments.minutes if arguments.minutes is not None else None
    trial = run_trial(spec, arguments.output, arguments.program, arguments.workers, until=until,
                      only=arguments.arms.split(",") if arguments.arms else (), threads=arguments.threads, quiet=arguments.quiet)
    write(trial)
    print((trial.folder / "table.md").read_text())
