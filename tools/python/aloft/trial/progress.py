"""How far a training is, on stderr."""

import sys
import time
from collections.abc import Callable
from typing import Protocol


class Training(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def steps(self) -> int: ...


class ProgressLines:
    """A line on stderr every few seconds about one job, which may take an hour: its step, its rate, what is left."""

    def __init__(self, job: Training, every: float = 10, now: Callable[[], float] = time.monotonic) -> None:
        self.job, self.every, self.now = job, every, now
        self.first: tuple[int, float] | None = None  # step and time of the first call: a run that goes on begins late
        self.last = now() + 2 - every  # the first line soon: that it trains at all

    def __call__(self, step: int, loss: float) -> None:
        now = self.now()
        begun, since = self.first = self.first or (step, now)
        if now < self.last + self.every or step == begun:
            return
        self.last = now
        seconds = (now - since) / (step - begun)
        left = seconds * (self.job.steps - step)
        print(f"{self.job.name}: step {step} of {self.job.steps}, loss {loss:.4f}, {seconds:.3g} s a step, about "
              f"{f'{left / 60:.0f} min' if left > 90 else f'{left:.0f} s'} left", file=sys.stderr, flush=True)
