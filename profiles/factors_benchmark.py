#!/usr/bin/env python3
"""B6, the stage `factors` of `aloft init`, and B7, the whole of it: beside NumPy and SciPy (factors_peer.py) and the rate of a GEMM.

    python3 profiles/factors_benchmark.py run --aloft build/release/aloft --folder DIR --ids ids.u32 --ids-vocab 100277 --doc-sep-id 0 \\
      --cases 32768:512:discriminant,100277:768:tucker --whole 100277:768:tucker
    python3 profiles/factors_benchmark.py table --folder DIR --markdown table.md
    python3 profiles/factors_benchmark.py vocabulary --ids ids.u32 --ids-vocab 100277 --doc-sep-id 0 \\
      --vocab-size 32768 --output ids-32768.u32

ids.u32: raw uint32 ids of any tokenizer. A case is V:d:estimator. Where V is not the vocabulary of the ids, the stream is folded or split
to it (make_vocabulary). Every step is kept in DIR/V-d-estimator.json and not done again; a case of which something failed goes on there.
Both programs run one after the other on all processors (--threads, and OPENBLAS_NUM_THREADS for the peer), with the ids in the page cache.
"""
import argparse
import datetime
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time

import numpy as np
from safetensors import safe_open

from factors_tables import tables
from peers import processor

HERE = os.path.dirname(os.path.abspath(__file__))
FALLBACK = 256  # ids that all rare tokens share in a smaller vocabulary


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


# ---- inputs


def make_vocabulary(ids, ids_vocab, vocab, separator):
    """The stream uint32 [N] with another number of ids; `separator` stays what it is.

    Smaller: the most frequent tokens keep an id of their own, by rank; every other one becomes one of 256 shared ids (its number modulo
    256), about what a smaller tokenizer does with bytes, but one id for each. Larger: the most frequent tokens get a second id, which
    stands where the number of the token before is odd. Either is a stream for timing: nobody's tokenizer makes it."""
    own = np.bincount(ids, minlength=ids_vocab)
    by_rank = np.argsort(-own, kind="stable").astype(np.uint32)
    if separator is not None:
        by_rank = by_rank[by_rank != separator]
    if vocab < ids_vocab:
        kept = vocab - FALLBACK - (separator is not None)
        free = np.delete(np.arange(vocab, dtype=np.uint32), [] if separator is None else [separator])
        new = free[kept + np.arange(ids_vocab) % FALLBACK]
        new[by_rank[:kept]] = free[:kept]
        if separator is not None:
            new[separator] = separator
        return new[ids]
    second = np.arange(ids_vocab, dtype=np.uint32)
    split = by_rank[: vocab - ids_vocab]
    second[split] = ids_vocab + np.arange(len(split))
    odd = np.concatenate([[False], ids[:-1] % 2 == 1])
    return np.where(odd, second[ids], ids)


def write_vocabulary(flags):
    ids = np.fromfile(flags.ids, np.uint32)
    if not FALLBACK + 2 < flags.vocab_size <= 2 * flags.ids_vocab:
        raise SystemExit(f"factors_benchmark: a vocabulary of {flags.vocab_size} cannot be made of {flags.ids_vocab} ids")
    make_vocabulary(ids, flags.ids_vocab, flags.vocab_size, flags.doc_sep_id).tofile(flags.output + ".part")
    os.replace(flags.output + ".part", flags.output)


def print_rates(flags):
    """flop/s of a large square GEMM, the median of five after one."""
    rates, n = {}, flags.size
    for name, kind in (("single", np.float32), ("double", np.float64)):
        a, times = np.random.default_rng(0).standard_normal((n, n)).astype(kind), []
        for _ in range(6):
            start = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - start)
        rates[name] = 2 * n**3 / statistics.median(times[1:])
    print(json.dumps(rates))


# ---- a case


class Failed(Exception):
    pass


def run(command, folder, limit=None):
    """({"seconds", "cpu_seconds", "peak_bytes"}, JSON on stdout). This process stays small: a child's peak begins with its parent's."""
    say("  " + shlex.join(command))
    out, start = os.path.join(folder, ".stdout"), time.perf_counter()
    with open(out, "w+") as stdout:
        child = subprocess.Popen(command, stdout=stdout)
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            if limit and time.perf_counter() - start > limit:
                child.kill()
                os.wait4(child.pid, 0)
                raise Failed(f"stopped after {limit:g} s")
            time.sleep(0.02)
        seconds = time.perf_counter() - start
        stdout.seek(0)
        text = stdout.read()
    child.returncode = os.waitstatus_to_exitcode(status)
    os.remove(out)
    if child.returncode not in (0, 1) or not text.startswith("{"):
        raise Failed(f"{os.path.basename(command[0])} {command[1]} ended with {child.returncode}")
    used = {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024}
    return used, json.loads(text)


class Case:
    """One V:d:estimator, with the steps done so far in DIR/NAME.json."""

    def __init__(self, flags, text):
        vocab, width, self.estimator = text.split(":")
        self.vocab, self.width, self.flags = int(vocab), int(width), flags
        self.name = f"{vocab}-{width}-{self.estimator}"
        self.path = os.path.join(flags.folder, self.name + ".json")
        self.output = os.path.join(flags.folder, "run-" + self.name)
        self.record = {"vocab": self.vocab, "width": self.width, "estimator": self.estimator, "ids_vocab": flags.ids_vocab}
        if os.path.exists(self.path):
            with open(self.path) as file:
                self.record = json.load(file)

    def keep(self, step, value):
        self.record[step] = value
        self.record["date"], self.record["processor"] = datetime.date.today().isoformat(), processor()
        self.record["processors"] = len(os.sched_getaffinity(0))
        with open(self.path + ".part", "w") as out:
            json.dump(self.record, out, indent=1)
        os.replace(self.path + ".part", self.path)

    def ids(self):
        """The stream of this vocabulary, made where it is not there."""
        flags = self.flags
        if self.vocab == flags.ids_vocab:
            return flags.ids
        path = os.path.join(flags.folder, f"ids-{self.vocab}.u32")
        if not os.path.exists(path):
            command = [sys.executable, __file__, "vocabulary", "--ids", flags.ids, "--ids-vocab", str(flags.ids_vocab)]
            command += ["--vocab-size", str(self.vocab), "--output", path] + self.separator()
            say("  " + shlex.join(command))
            subprocess.run(command, check=True)
        return path

    def separator(self):
        return [] if self.flags.doc_sep_id is None else ["--doc-sep-id", str(self.flags.doc_sep_id)]

    def corpus(self):
        return ["--corpus", self.ids(), "--format", "u32", "--vocab-size", str(self.vocab), *self.separator()]

    def counts(self):
        for given in self.flags.counts:
            vocab, _, path = given.partition("=")
            if int(vocab) == self.vocab:
                return path
        path = os.path.join(self.flags.folder, f"counts-{self.vocab}.safetensors")
        if not os.path.exists(path):
            words = ["--lags", "8", "--backend", "cpu", "--threads", str(self.flags.threads), "--output", path, "--json", "--quiet"]
            run([self.flags.aloft, "count", *self.corpus(), *words], self.flags.folder)
        return path

    def model(self):
        heads = max(1, self.width // self.flags.head_dim)
        sizes = f"--arch nanogpt-rope --layers {self.flags.layers} --heads {heads} --d-model {self.width} --lags 8 --backend cpu"
        return [*sizes.split(), "--threads", str(self.flags.threads), "--estimator", self.estimator, "--json", "--quiet"]

    def peer(self, *words, limit=None):
        return run([sys.executable, os.path.join(HERE, "factors_peer.py"), *words], self.flags.folder, limit)[1]

    # -- steps

    def init(self, step, source):
        """`aloft plan` and `aloft init`; source: --counts or --corpus."""
        needed_by = {"aloft": "check", "whole": "whole_peer" if self.flags.peer else "whole"}[step]
        if step in self.record and (os.path.exists(self.factors()) or self.done(needed_by)):
            return
        planned = run([self.flags.aloft, "plan", *source, *self.model(), "--output", self.output], self.flags.folder)[1]
        command = [self.flags.aloft, "init", *source, *self.model(), "--force", "--output", self.output]
        used, out = run(command, self.flags.folder)
        with open(os.path.join(self.output, "offset.json")) as file:
            chosen = json.load(file)
        with safe_open(self.factors(), "np") as file:
            lags, d_s, d_o = file.get_slice("cores").get_shape()
        with safe_open(os.path.join(self.output, "counts.safetensors"), "np") as file:
            entries = [file.get_slice(f"lag{lag}.columns").get_shape()[0] for lag in range(1, lags + 1)]
        found = {"command": shlex.join(command), **used, "stages": {s["name"]: s["seconds"] for s in out["stages"]}}
        found |= {"planned_bytes": planned["memory_bytes"], "lags": lags, "d_s": d_s, "d_o": d_o, "entries": entries}
        found |= {"tokens": out["corpus"]["tokens"], "scalars": chosen["scalars"], "chosen_on": chosen.get("chosen_on", {})}
        self.keep(step, found)

    def done(self, step):
        return step in self.record and "failed" not in self.record[step]

    def factors(self):
        return os.path.join(self.output, "factors.safetensors")

    def step(self, name, work):
        """What fails is kept as {"failed": why}, and tried again by the next run."""
        if self.done(name):
            return
        try:
            self.keep(name, work())
        except (Failed, subprocess.CalledProcessError) as error:
            say(f"  {name}: {error}")
            self.keep(name, {"failed": str(error)})

    def rates(self):
        words = [sys.executable, __file__, "rates", "--size", str(self.flags.gemm)]
        return run(words, self.flags.folder)[1]

    def time_peer(self):
        sizes = self.record["aloft"]
        words = ["time", "--counts", self.counts(), "--estimator", self.estimator, "--lags", str(sizes["lags"])]
        return self.peer(*words, "--d-s", str(sizes["d_s"]), "--d-o", str(sizes["d_o"]), limit=self.flags.peer_limit)

    def run_factors(self):
        self.init("aloft", ["--counts", self.counts()])
        self.step("rates", self.rates)
        files = ["--counts", os.path.join(self.output, "counts.safetensors"), "--factors", self.factors()]
        self.step("check", lambda: self.peer("check", *files))
        if self.flags.peer and self.record["check"].get("equal"):
            self.step("peer", self.time_peer)

    def whole_peer(self):
        file = os.path.join(self.flags.folder, "peer.safetensors")
        words = ["whole", "--ids", self.ids(), "--vocab-size", str(self.vocab), *self.separator(), "--like", self.output, "--output", file]
        out = self.peer(*words, limit=self.flags.peer_limit)
        os.remove(file)
        return out

    def run_whole(self):
        self.init("whole", self.corpus())
        if self.flags.peer:
            self.step("whole_peer", self.whole_peer)

    def clean(self):
        if not self.flags.keep:
            shutil.rmtree(self.output, ignore_errors=True)


def run_cases(flags):
    os.makedirs(flags.folder, exist_ok=True)
    bad = False
    for kind, texts in (("factors", flags.cases), ("whole", flags.whole)):
        for k, text in enumerate(filter(None, texts.split(","))):
            case = Case(flags, text)
            say(f"{kind} {k + 1} of {len(texts.split(','))}: {case.name}")
            try:
                case.run_factors() if kind == "factors" else case.run_whole()
            except (Failed, subprocess.CalledProcessError) as error:
                say(f"  {error}")
                bad = True
            bad |= not case.record.get("check", {"equal": True}).get("equal")
            bad |= not case.record.get("whole_peer", {}).get("counts_equal", True)
            case.clean()
    write_tables(flags)
    raise SystemExit(1 if bad else 0)


def write_tables(flags):
    """Markdown of all records in the folder."""
    records = []
    for name in sorted(os.listdir(flags.folder)):
        if name.endswith(".json"):
            with open(os.path.join(flags.folder, name)) as file:
                records.append(json.load(file))
    text = tables(records)
    if flags.markdown:
        with open(flags.markdown, "w") as out:
            out.write(text)
    print(text)


def arguments():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = flags.add_subparsers(dest="command", required=True)
    one, two, three, four = (commands.add_parser(name) for name in ("run", "table", "vocabulary", "rates"))
    one.add_argument("--aloft", default="build/release/aloft")
    one.add_argument("--cases", default="", help="V:d:estimator,... for B6")
    one.add_argument("--whole", default="", help="V:d:estimator,... for B7")
    one.add_argument("--counts", action="append", default=[], metavar="V=FILE", help="of the ids, 8 lags (default: made in the folder)")
    one.add_argument("--layers", type=int, default=12)
    one.add_argument("--head-dim", type=int, default=64)
    one.add_argument("--threads", type=int, default=0, help="aloft's; 0: all processors")
    one.add_argument("--gemm", type=int, default=6144, help="rows of the square GEMM")
    one.add_argument("--no-peer", dest="peer", action="store_false")
    one.add_argument("--peer-limit", type=float, help="stop a peer after this many seconds")
    one.add_argument("--keep", action="store_true", help="leave the runs' folders where they are")
    for command in (one, two):
        command.add_argument("--folder", required=True, help="for results, counts and runs")
        command.add_argument("--markdown", help="also write the tables here")
    for command in (one, three):
        command.add_argument("--ids", required=True, help="raw uint32")
        command.add_argument("--ids-vocab", type=int, required=True)
        command.add_argument("--doc-sep-id", type=int)
    three.add_argument("--vocab-size", type=int, required=True)
    three.add_argument("--output", required=True)
    four.add_argument("--size", type=int, default=6144)
    return flags


def main():
    flags = arguments().parse_args()
    {"run": run_cases, "table": write_tables, "vocabulary": write_vocabulary, "rates": print_rates}[flags.command](flags)


if __name__ == "__main__":
    main()
