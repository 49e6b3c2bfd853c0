#!/usr/bin/env python3
"""How long SIGTERM takes to be answered, in every stage of every recipe and estimator.

    tests/interrupt_latency.py build/release/aloft --samples 12          # some 20 minutes on two processors
    tests/interrupt_latency.py build/release/aloft --only 'tucker|invariants' --samples 40

A run is stopped at moments spread evenly over its length, which one run without a signal has shown. Printed: for every stage
in which a signal came, how many came and the longest wait for the end of the process. A run must end with exit code 5 and one
line that says so, or be through, and leave neither lock nor partial file; anything else, and a wait above --limit, fails.
"""

import argparse
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
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
    for estimator in ("discriminant", "tucker"):
        yield f"offset {estimator}", ["init", *counts, "--recipe", "offset", "--estimator", estimator, *run]
    yield "offset induction", ["init", *counts, "--recipe", "offset", "--induction", *run]
    for expand in ("whiten", "stack", "none"):
        yield f"spread {expand}", ["init", *counts, "--recipe", "spread", "--expand", expand, *run]
    yield "spread mobius", ["init", *counts, "--recipe", "spread", "--embedding", "mobius", *run]
    for recipe in ("bigram-head", "embedding", "unigram", "induction", "asymmetry"):
        yield recipe, ["init", *counts, "--recipe", recipe, *run]
    for recipe in ("random", "zero-proj", "orthogonal", "mimetic", "invariants"):
        yield recipe, ["init", "--recipe", recipe, "--model-vocab-size", arguments.vocab, *run]


def finished_stages(stderr):
    return re.findall(r"^(\S+) +(?:[0-9.]+ s|resumed)$", stderr, re.MULTILINE)


class Measurement:
    def __init__(self, program, limit):
        self.program, self.limit, self.failures = program, limit, []

    def start(self, command, folder):
        shutil.rmtree(folder / "run", ignore_errors=True)
        if command[0] == "count":
            (folder / "run").mkdir()
        return subprocess.Popen([self.program, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def whole(self, name, command, folder):
        """Seconds, and the stages in their order; nothing where the recipe refuses the request."""
        begin = time.monotonic()
        process = self.start(command, folder)
        stderr = process.communicate()[1]
        if process.returncode != 0:
            self.failures.append(f"{name}: {stderr.strip()}")
            return None
        return time.monotonic() - begin, finished_stages(stderr)

    def interrupted(self, name, command, folder, delay, stages):
        """(stage, wait), or nothing when the run was through before the signal came."""
        process = self.start(command, folder)
        time.sleep(delay)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        stderr = process.communicate()[1]
        wait = time.monotonic() - begin
        done = finished_stages(stderr)
        stage = next((s for s in stages if s not in done), "end")
        at = f"{name}, {stage}, signal after {delay:.2f} s"
        if process.returncode == 0 or (process.returncode == -signal.SIGTERM and delay < STARTING):
            return None
        if process.returncode != 5 or not stderr.endswith(INTERRUPTED):
            self.failures.append(f"{at}: exit code {process.returncode}: {stderr[-200:]!r}")
        left = [p.name for p in (folder / "run").rglob(".*") if "lock" in p.name or "partial" in p.name]
        if left:
            self.failures.append(f"{at}: leaves {left}")
        if wait > self.limit:
            self.failures.append(f"{at}: answered after {wait:.2f} s")
        return stage, wait


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--only", default="", help="cases whose name this regular expression finds")
    parser.add_argument("--samples", type=int, default=12, help="signals a case")
    parser.add_argument("--limit", type=float, default=1.0, help="seconds")
    for name, default in (("vocab", 8192), ("width", 512), ("layers", 6), ("tokens", 3_000_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    measurement = Measurement(str(Path(arguments.program).resolve()), arguments.limit)
    with tempfile.TemporaryDirectory(prefix="aloft-latency-") as name:
        folder = Path(name)
        write_corpus(folder / "corpus.u16", arguments.tokens, arguments.vocab)
        count = ["count", "--corpus", folder / "corpus.u16", "--vocab-size", arguments.vocab, "--output", folder / "counts.safetensors"]
        subprocess.run([measurement.program, *map(str, count), "--quiet"], check=True, stdout=subprocess.DEVNULL)
        print(f"{'case':<22}{'stage':<12}{'signals':>8}{'longest wait, s':>18}", flush=True)
        for case, command in cases(arguments, folder):
            if not re.search(arguments.only, case):
                continue
            whole = measurement.whole(case, command, folder)
            if whole is None:
                continue
            length, stages = whole
            waits = defaultdict(list)
            for k in range(arguments.samples):
                sample = measurement.interrupted(case, command, folder, length * (k + 0.5) / arguments.samples, stages)
                if sample:
                    waits[sample[0]].append(sample[1])
            for stage, all_of_it in waits.items():
                print(f"{case:<22}{stage:<12}{len(all_of_it):>8}{max(all_of_it):>18.2f}", flush=True)
            print(f"{case:<22}{'(the run)':<12}{'':>8}{length:>18.2f}", flush=True)
    for failure in measurement.failures:
        print("FAILED", failure)
    return 1 if measurement.failures else 0


if __name__ == "__main__":
    sys.exit(main())
