#!/usr/bin/env python3
"""How long SIGTERM takes to be answered, in every stage of every recipe and estimator.

    tests/interrupt_latency.py build/release/aloft --samples 5
    tests/interrupt_latency.py build/release/aloft --only 'tucker|invariants' --samples 40

A run without a signal shows how long each stage takes. Then runs are stopped in each of them, at moments spread evenly over its
length, which begins with the line that says that the stage before it is through; what an interrupted run had finished the next
one resumes. Printed: for every stage how many signals came in it, and the longest wait for the end of the process. A run must end
with exit code 5 and one line that says so, or be through, and leave neither lock nor partial file; anything else, a wait above
--limit, and a stage in which no signal came although it took longer than --shortest, fails.
"""

import argparse
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections import defaultdict
from pathlib import Path

INTERRUPTED = "aloft: interrupted; run the same command again to resume\n"
STARTING = 0.3  # seconds in which the program may still be loading its libraries


def write_corpus(path, tokens, vocab):
    """A first-order chain over Zipf's ids, so that there is something to design."""
    rng = random.Random(1)
    ids = array("H")
    last = 0
    for _ in range(tokens):
        last = (last * 7 + int(20 * rng.random())) % vocab if rng.random() < 0.6 else int(vocab ** rng.random()) - 1
        ids.append(last)
    path.write_bytes(ids.tobytes())


def cases(arguments, folder):
    model = ["--arch", "nanogpt-rope", "--layers", arguments.layers, "--heads", 8, "--d-model", arguments.width, "--context", 256]
    counts = ["--counts", folder / "counts.safetensors"]
    corpus = ["--corpus", folder / "corpus.u16", "--vocab-size", arguments.vocab]
    run = ["--output", folder / "run", *model]
    yield "count", ["count", *corpus, "--output", folder / "run/counts.safetensors"]
    yield "count sparse", ["count", *corpus, "--strategy", "sparse", "--output", folder / "run/counts.safetensors"]
    yield "offset discriminant", ["init", *counts, "--recipe", "offset", *run]
    fit = ["--kappa", 50]  # one for three of the grid on which the first case spends most of its time
    yield "offset tucker", ["init", *counts, "--recipe", "offset", "--estimator", "tucker", *fit, *run]
    yield "offset induction", ["init", *counts, "--recipe", "offset", "--induction", *fit, "--ridge", 1, *run]
    for expand in ("whiten", "stack", "none"):
        yield f"spread {expand}", ["init", *counts, "--recipe", "spread", "--expand", expand, *run]
    yield "spread mobius", ["init", *counts, "--recipe", "spread", "--embedding", "mobius", *run]
    for recipe in ("bigram-head", "embedding", "induction"):
        yield recipe, ["init", *counts, "--recipe", recipe, *fit, "--ridge", 1, *run]
    for recipe in ("unigram", "asymmetry"):
        yield recipe, ["init", *counts, "--recipe", recipe, *run]
    for recipe in ("random", "zero-proj", "orthogonal", "mimetic", "invariants"):
        yield recipe, ["init", "--recipe", recipe, "--model-vocab-size", arguments.vocab, *run]


STAGE = re.compile(r"^(\S+) +(?:[0-9.]+ s|resumed)$")
TRIES = 8
REST = "the rest"  # after the last stage that says that it is through; of `count`, all of it


class Measurement:
    def __init__(self, arguments):
        self.program, self.limit, self.shortest = str(Path(arguments.program).resolve()), arguments.limit, arguments.shortest
        self.samples, self.failures = arguments.samples, []

    def run(self, command, folder, after=None, delay=None):
        """Sends SIGTERM `delay` seconds after stage `after` is through (None: after the start). Returns exit code, what it said,
        the seconds at which each stage was through, those of all of it, that of the signal, and how long the end took from there."""
        if command[0] == "count":
            (folder / "run").mkdir(exist_ok=True)
        begin = time.monotonic()
        process = subprocess.Popen([self.program, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        sent = []

        def send():
            sent.append(time.monotonic())
            process.send_signal(signal.SIGTERM)

        timer = None if delay is None else threading.Timer(delay, send)
        if timer and after is None:
            timer.start()
        through, said = {}, []
        for line in process.stderr:
            said.append(line)
            if found := STAGE.match(line):
                through[found[1]] = time.monotonic() - begin
                if timer and found[1] == after:
                    timer.start()
        code = process.wait()
        end = time.monotonic()
        if timer:
            timer.cancel()
        return code, "".join(said), through, end - begin, *((sent[0] - begin, end - sent[0]) if sent else (None, None))

    def whole(self, name, command, folder):
        """The stages in their order and the seconds of each; nothing where the recipe refuses the request."""
        shutil.rmtree(folder / "run", ignore_errors=True)
        code, said, through, seconds, *_ = self.run(command, folder)
        if code != 0:
            self.failures.append(f"{name}: {said.strip()}")
            return None
        moments = [0, *through.values(), seconds]
        return {stage: moments[k + 1] - moments[k] for k, stage in enumerate([*through, REST])}

    def check(self, at, folder, code, said, wait):
        if code != 5 or not said.endswith(INTERRUPTED):
            self.failures.append(f"{at}: exit code {code}: {said[-200:]!r}")
        if left := [p.name for p in (folder / "run").rglob(".*") if "lock" in p.name or "partial" in p.name]:
            self.failures.append(f"{at}: leaves {left}")
        if wait > self.limit:
            self.failures.append(f"{at}: answered after {wait:.2f} s")

    def measure(self, name, command, folder):
        stages = self.whole(name, command, folder)
        if stages is None:
            return
        order, waits = list(stages), defaultdict(list)
        shutil.rmtree(folder / "run", ignore_errors=True)
        for k, stage in enumerate(order):
            for sample in range(self.samples):
                later = 0  # seconds: before it listens to signals, the program must be loaded
                for _ in range(TRIES):
                    delay = stages[stage] * (sample + 0.5) / self.samples + later
                    code, said, through, seconds, sent, wait = self.run(command, folder, order[k - 1] if k else None, delay)
                    in_it = next((s for s in order if s not in through or (sent is not None and through[s] > sent)), REST)
                    if stage in through or code == 0:  # it went further: it was faster, and the next run is to come here again
                        before = through.get(order[k - 1], 0) if k else 0
                        stages[stage] = max(through.get(stage, seconds) - before, 0)
                        shutil.rmtree(folder / "run", ignore_errors=True)
                    if code == -signal.SIGTERM and k == 0 and delay < STARTING:
                        later += 0.02
                    elif code != 0 and wait is not None:
                        self.check(f"{name}, {in_it}, {delay:.2f} s after {order[k - 1] if k else 'the start'}", folder, code, said, wait)
                        waits[in_it].append(wait)
                        break
            if waits[stage]:
                print(f"{name:<22}{stage:<12}{stages[stage]:>10.2f}{len(waits[stage]):>10}{max(waits[stage]):>18.2f}", flush=True)
            elif stages[stage] > self.shortest:
                self.failures.append(f"{name}, {stage}: no signal came in it, though it takes {stages[stage]:.2f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--only", default="", help="cases whose name this regular expression finds")
    parser.add_argument("--samples", type=int, default=5, help="signals a stage")
    parser.add_argument("--limit", type=float, default=1.0, help="seconds")
    parser.add_argument("--shortest", type=float, default=0.02, help="seconds")
    for name, default in (("vocab", 8192), ("width", 512), ("layers", 6), ("tokens", 3_000_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    measurement = Measurement(arguments)
    with tempfile.TemporaryDirectory(prefix="aloft-latency-") as name:
        folder = Path(name)
        write_corpus(folder / "corpus.u16", arguments.tokens, arguments.vocab)
        count = ["count", "--corpus", folder / "corpus.u16", "--vocab-size", arguments.vocab, "--output", folder / "counts.safetensors"]
        subprocess.run([measurement.program, *map(str, count), "--quiet"], check=True, stdout=subprocess.DEVNULL)
        print(f"{'case':<22}{'stage':<12}{'takes, s':>10}{'signals':>10}{'longest wait, s':>18}", flush=True)
        for case, command in cases(arguments, folder):
            if re.search(arguments.only, case):
                measurement.measure(case, command, folder)
    for failure in measurement.failures:
        print("FAILED", failure)
    return 1 if measurement.failures else 0


if __name__ == "__main__":
    sys.exit(main())
