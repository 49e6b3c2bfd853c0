#!/usr/bin/env python3
"""Times other libraries on the inputs of the benchmark program, after checking that they compute what aloft computed.

    aloft_benchmarks --write-inputs D --write-results D        # inputs and aloft's own results, as .npy
    python3 profiles/peers.py --folder D --output peers.json

CPU peers: NumPy, SciPy, torch. GPU peers, where a GPU and the library are there: CuPy, torch. A library that is missing is
reported as missing; a peer whose result differs from aloft's is reported as unequal and not timed. Counts must be equal
exactly; projections to 1e-12 of their norm and singular values to 1e-12 of the largest (double precision throughout).
"""
import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import time

import numpy as np

import peers_cpu
import peers_gpu
from peer_cases import cases_in

TOLERANCE = {"B1": 0, "B2": 0, "B3": 0, "B4": 1e-12, "B5": 1e-12}


class Clock:
    """Median seconds of a function, repeated until `seconds` have passed (but min_runs to max_runs times)."""

    def __init__(self, seconds, min_runs=3, max_runs=200):
        self.seconds, self.min_runs, self.max_runs = seconds, min_runs, max_runs

    def median(self, once):
        """once() -> seconds it took. Returns (median, runs). The comparison before was the warm-up: it ran the same calls."""
        times, spent = [], 0.0
        while len(times) < self.min_runs or (spent < self.seconds and len(times) < self.max_runs):
            times.append(once())
            spent += times[-1]
        return statistics.median(times), len(times)


def measure(case, peer, clock):
    """One row of the report: the peer's result compared with aloft's, then, if equal, its rate."""
    row = {"case": case.name, "peer": peer.name, "device": peer.device, "unit": case.unit}
    try:
        prepared = peer.prepare(case)
        difference = case.difference(peer.fetch(prepared.result()))
        row["difference"] = difference
        if not difference <= TOLERANCE[case.benchmark]:
            return {**row, "status": "unequal", "reason": f"differs from aloft's result by {difference:.3g}"}
        seconds, runs = clock.median(lambda: peer.timed(prepared.work))
        return {**row, "status": "ok", "median_seconds": seconds, "runs": runs, "rate": prepared.items / seconds}
    except MemoryError:
        return {**row, "status": "failed", "reason": "out of memory"}
    except Exception as error:  # a peer's failure is a row of the report, never the end of it
        return {**row, "status": "failed", "reason": f"{type(error).__name__}: {error}".splitlines()[0][:200]}


def versions():
    found = {"python": platform.python_version(), "numpy": np.__version__}
    for name in ("scipy", "torch", "cupy"):
        module = peers_cpu.optional(name)
        found[name] = getattr(module, "__version__", None)
    return found


def blas():
    """Every BLAS that is loaded: library, version, kernel (the processor it believes in) and threads; [] if threadpoolctl is missing."""
    control = peers_cpu.optional("threadpoolctl")
    if control is None:
        return []
    return [
        {k: pool.get(k) for k in ("prefix", "version", "architecture", "threading_layer", "num_threads")}
        for pool in control.threadpool_info()
        if pool.get("user_api") == "blas"
    ]


def processor():
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def write(path, rows):
    """The report so far: after every row, so that a run cut short has lost one row at most."""
    report = {
        "command": "python3 profiles/peers.py " + " ".join(sys.argv[1:]),
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "processors": len(os.sched_getaffinity(0)),
        "gpu": peers_gpu.gpu_name(),
        "versions": versions(),
        "blas": blas(),
        "peers": rows,
    }
    with open(path + ".part", "w") as out:
        json.dump(report, out, indent=1)
        out.write("\n")
    os.replace(path + ".part", path)


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--folder", required=True, help="where the benchmark program wrote inputs and results")
    flags.add_argument("--output", required=True, help="JSON file to write")
    flags.add_argument("--cases", default="", help="regular expression: only cases whose name matches")
    flags.add_argument("--device", choices=("cpu", "gpu", "all"), default="all")
    flags.add_argument("--seconds", type=float, default=1.0, help="time to spend on one peer of one case, about")
    flags.add_argument("--lags", type=int, default=0, help="compare the counts of this many lags only (default: all that were written)")
    flags.add_argument("--deadline", type=float, default=float("inf"), help="this many seconds after the imports start no further peer")
    flags = flags.parse_args()

    available = []
    if flags.device != "gpu":
        available += peers_cpu.peers()
    if flags.device != "cpu":
        available += peers_gpu.peers()
    rows, start = [], time.monotonic()  # importing and finding a GPU took their time already
    write(flags.output, rows)
    for case in cases_in(flags.folder, flags.cases, flags.lags):
        for peer in available:
            if case.benchmark not in peer.benchmarks or not peer.takes(case):
                continue
            if peer.device != {"cpu": "cpu", "cuda": "gpu"}[case.backend]:
                continue  # each backend's inputs are of its own size
            row = {"case": case.name, "peer": peer.name, "device": peer.device, "unit": case.unit}
            if peer.missing:
                rows.append({**row, "status": "missing", "reason": peer.missing})
            elif time.monotonic() - start > flags.deadline:
                rows.append({**row, "status": "not run", "reason": "out of time"})
            else:
                rows.append(measure(case, peer, Clock(flags.seconds)))
            write(flags.output, rows)
            shown = rows[-1]
            text = f"{shown['rate']:.4g} {shown['unit']}" if shown["status"] == "ok" else f"{shown['status']} ({shown['reason']})"
            print(f"{shown['case']:42} {shown['device']:4} {shown['peer']:44} {text}", file=sys.stderr, flush=True)
    bad = [r for r in rows if r["status"] in ("unequal", "failed")]
    if not rows:
        print(f"peers: no case in {flags.folder} has a result to compare with", file=sys.stderr)
    raise SystemExit(1 if bad or not rows else 0)


if __name__ == "__main__":
    main()
