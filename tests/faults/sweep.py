#!/usr/bin/env python3
"""Lets the calls of aloft fail one after another, or kills it there, and looks at what it leaves.

    tests/faults/sweep.py --build build/release --faults 3000 --kills 500 --jobs 2

Needs the program and tests/faults/libaloft_faults.so in the build folder, and numpy. Every scenario is a small command
in a folder. It runs once undisturbed; then again and again, each time with one fault (faults.cpp says which there are),
and then once more without. What must hold:

- it ends with a documented exit code (docs/running.md), a failure with exactly one line on stderr, `aloft: ...`;
- with exit code 0 every file is as after the undisturbed run, byte for byte (but seconds and `resumed` in a manifest);
- otherwise every file is as before or as after, whole; a run folder holds the whole old run or the whole new one,
  which may wait in .aloft-new to be moved; a failure that was no kill leaves no lock and nothing half-written, unless
  memory ran out, or removing or locking was what failed;
- the same command, repeated, brings the folder to what it is after the undisturbed run: nothing else stays there.
"""

import argparse
import concurrent.futures
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
ERRORS = {"open": ["EMFILE", "EACCES", "EIO"], "read": ["EIO", "short", "EINTR"],
          "write": ["ENOSPC", "ENOSPC+", "EIO", "EFBIG", "short", "EINTR"], "fsync": ["EIO", "ENOSPC"],
          "rename": ["EIO", "EACCES"], "unlink": ["EACCES", "EIO"], "mkdir": ["ENOSPC", "EACCES"],
          "flock": ["EIO", "ENOLCK", "EINTR", "gone"], "stat": ["EIO"], "list": ["EMFILE"]}
TRANSIENT = re.compile(r"(^|/)(\.aloft-lock|\.aloft-state\.json|\..+\.aloft-partial-[0-9a-f]{16}(/.*)?)$|^[^/]+/\.aloft-new(/|$)")
HALF = re.compile(r"(^|/)(\.aloft-lock|\..+\.aloft-partial-[0-9a-f]{16})$")
SWEEPING = ("unlink", "open", "flock", "stat", "list")  # where they fail, what should be removed may stay until the next run

Files = dict[str, bytes]


@dataclass
class Scenario:
    name: str
    command: list[str]
    prepare: Callable[["Bench", Path], None]
    former: str = ""  # a run's folder that holds a finished one which this command replaces
    allocations: bool = True
    finished: tuple[str, ...] = ("finished run", "already exists", ": exists")  # what a repetition may say of a whole result


@dataclass
class Trial:
    scenario: str
    fault: str
    hit: bool = False
    code: int | None = None
    wrong: list[str] = field(default_factory=list)


def text() -> str:
    numbers = random.Random(5)
    words = ["".join(numbers.choice("abcdefgh") for _ in range(4)) for _ in range(60)]
    return "\n".join(" ".join(words[min(numbers.randrange(60), numbers.randrange(60))] for _ in range(12)) for _ in range(150))


WORDS = ["--corpus", "corpus.txt", "--vocab-size", "40", "--threads", "1", "--backend", "cpu", "--lags", "2", "--quiet"]
SIZES = ["--layers", "1", "--d-model", "8", "--heads", "2"]
SPREAD = ["init", "--recipe", "spread", "--pr-target", "3", "--arch", "gpt2", "--output", "run", *SIZES, *WORDS]
OFFSET = ["init", "--recipe", "offset", "--arch", "nanogpt-rope", "--context", "16", "--output", "run", *SIZES, *WORDS]
COUNT = ["count", "--output", "counts.safetensors", "--vocab-output", "vocab.json", *WORDS]
COMPLETE = ["-m", "aloft", "complete", "base", "init.safetensors", "out"]


def _corpus(bench: "Bench", folder: Path) -> None:
    (folder / "corpus.txt").write_text(text(), encoding="utf8")


def _older_counts(bench: "Bench", folder: Path) -> None:
    _corpus(bench, folder)
    bench.must(folder, [*COUNT, "--vocab-size", "30"])


def _older_run(bench: "Bench", folder: Path) -> None:
    _corpus(bench, folder)
    bench.must(folder, [*SPREAD, "--seed", "9", "--save-heads"])


def _half_a_run(bench: "Bench", folder: Path) -> None:
    _corpus(bench, folder)
    for number in range(1, 400):
        shutil.rmtree(folder / "run", ignore_errors=True)
        done = bench.run(folder, SPREAD, f"rename:{number}:kill")
        if (folder / "run/embedding.safetensors").exists():
            return
    raise SystemExit(f"no run stopped after its embedding: {done.stderr}")


def _half_a_replacement(bench: "Bench", folder: Path) -> None:
    _older_run(bench, folder)
    for number in range(1, 400):
        bench.run(folder, [*SPREAD, "--force"], f"rename:{number}:kill")
        if (folder / "run/.aloft-new/embedding.safetensors").exists():
            return
    raise SystemExit("no replacement stopped after its embedding")


def _checkpoint(bench: "Bench", folder: Path) -> None:
    _corpus(bench, folder)
    bench.must(folder, SPREAD)
    shutil.copy(folder / "run/init.safetensors", folder / "init.safetensors")
    (folder / "base").mkdir()
    shutil.copy(folder / "run/init.safetensors", folder / "base/model.safetensors")
    (folder / "base/config.json").write_text("{}")
    raw = (folder / "init.safetensors").read_bytes()
    header = json.loads(raw[8:8 + int.from_bytes(raw[:8], "little")])
    (folder / "model.json").write_text(json.dumps({n: t["shape"] for n, t in header.items() if n != "__metadata__"}))
    shutil.rmtree(folder / "run")


SCENARIOS = [
    Scenario("count", COUNT, _corpus),
    Scenario("count --force", [*COUNT, "--force"], _older_counts),
    Scenario("init spread", SPREAD, _corpus),
    Scenario("init offset", OFFSET, _corpus),
    Scenario("resume", SPREAD, _half_a_run),
    Scenario("init --force", [*SPREAD, "--force"], _older_run, former="run"),
    Scenario("resume --force", [*SPREAD, "--force"], _half_a_replacement, former="run"),
    Scenario("complete", COMPLETE, _checkpoint, allocations=False),
    Scenario("apply", [str(SOURCE / "tests/faults/apply.py"), "model.json", "init.safetensors"], _checkpoint, allocations=False),
]


class Bench:
    """A folder in which scenarios are tried, always under the same path: what a run remembers of its inputs has it."""

    def __init__(self, build: Path, place: Path):
        self.program = build / "aloft"
        self.library = build / "tests/faults/libaloft_faults.so"
        for needed in (self.program, self.library):
            if not needed.exists():
                raise SystemExit(f"{needed}: is not there; build it first (ALOFT_TESTS=ON)")
        self.place = place
        self.ready: dict[str, tuple[Path, Files, dict[str, int]]] = {}

    def run(self, folder: Path, words: list[str], fault: str = "", count: bool = False) -> subprocess.CompletedProcess[str]:
        """Exit code None of a hang is an exception: subprocess.TimeoutExpired."""
        environment = dict(os.environ, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive", PYTHONPATH=str(SOURCE / "tools/python"),
                           PYTHONDONTWRITEBYTECODE="1", PYTHONSAFEPATH="1")  # it looks for modules elsewhere than in the folder
        if fault or count:
            environment.update(LD_PRELOAD=str(self.library), ALOFT_FAULT_ROOT=str(folder),
                               ALOFT_FAULT_LOG=str(self.place / "calls"))
        if fault:
            environment["ALOFT_FAULT"] = fault
        (self.place / "calls").unlink(missing_ok=True)
        start = [sys.executable] if words[0].startswith("-") or words[0].endswith(".py") else [str(self.program)]
        return subprocess.run(start + words, cwd=folder, env=environment, capture_output=True, text=True, errors="replace",
                              stdin=subprocess.DEVNULL, timeout=120, check=False)

    def must(self, folder: Path, words: list[str]) -> None:
        done = self.run(folder, words)
        if done.returncode != 0:
            raise SystemExit(f"{words}: exit code {done.returncode}: {done.stderr}")

    def snapshot(self, folder: Path) -> Files:
        files: Files = {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            files[name] = b"folder" if path.is_dir() else _comparable(path, folder)
        return files

    def prepared(self, scenario: Scenario) -> tuple[Path, Files, dict[str, int]]:
        """The folder before the command, what it holds after it, and how many calls that took."""
        if scenario.name not in self.ready:
            folder, before = self.place / "trial", self.place / ("before " + scenario.name)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            scenario.prepare(self, folder)
            shutil.copytree(folder, before)
            done = self.run(folder, scenario.command, count=True)
            if done.returncode != 0:
                raise SystemExit(f"{scenario.name}: exit code {done.returncode}: {done.stderr}")
            after = self.snapshot(folder)
            after["stdout"] = done.stdout.encode()
            calls = {k: int(v) for k, v in (line.split() for line in (self.place / "calls").read_text().splitlines())}
            self.ready[scenario.name] = (before, after, calls)
        return self.ready[scenario.name]

    def attempt(self, scenario: Scenario, fault: str) -> Trial:
        trial, folder = Trial(scenario.name, fault), self.place / "trial"
        template, after, _ = self.prepared(scenario)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder)
        before = self.snapshot(folder)
        try:
            done = self.run(folder, scenario.command, fault)
        except subprocess.TimeoutExpired:
            trial.wrong.append("hung")
            return trial
        log = self.place / "calls"
        killed = fault.endswith("kill") and done.returncode == -9
        trial.hit = not log.exists() or "hit" in log.read_text()  # absent: it ended at once, by a signal or _exit()
        trial.code = done.returncode
        now = self.snapshot(folder)
        whole = {name: value for name, value in after.items() if name != "stdout"}
        if not killed:
            trial.wrong += _wrong_ending(done)
        if done.returncode == 0:
            tolerated = {n: v for n, v in now.items() if n in whole or not TRANSIENT.search(n) or not fault.startswith(SWEEPING)}
            trial.wrong += _differences(whole, tolerated, "with exit code 0")
            if "apply.py" in scenario.command[0] and done.stdout.encode() != after["stdout"]:
                trial.wrong.append("another result with exit code 0")
        else:
            trial.wrong += _wrong_leftovers(scenario, before, whole, now, fault, killed)
        again = self.run(folder, scenario.command)
        finished = any(words in again.stderr for words in scenario.finished) and again.returncode == 2
        if again.returncode != 0 and not finished:
            trial.wrong.append(f"repeated: exit code {again.returncode}: {again.stderr.strip()}")
        trial.wrong += _differences(whole, self.snapshot(folder), "after the repetition")
        return trial


def _comparable(path: Path, folder: Path) -> bytes:
    content = path.read_bytes()
    if path.name != "manifest.json":
        return content
    try:
        manifest = json.loads(content)
        for stage in manifest["manifest"]["stages"]:
            stage["seconds"], stage["resumed"] = 0, False
        return json.dumps(manifest).encode()
    except (ValueError, KeyError):
        return content  # cut off: then it is like no other


def _wrong_ending(done: subprocess.CompletedProcess[str]) -> list[str]:
    if done.returncode not in range(6):
        return [f"exit code {done.returncode}: {done.stderr.strip()[-300:]}"]
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("libgomp: ")]  # which then calls exit()
    if done.returncode != 0 and (len(lines) != 1 or not lines[0].startswith("aloft: ") or len(lines[0]) < 10):
        return [f"exit code {done.returncode}, but stderr is not one line of aloft's: {done.stderr[-300:]!r}"]
    return []


def _differences(wanted: Files, found: Files, when: str) -> list[str]:
    wrong = [f"{name} is missing {when}" for name in wanted if name not in found]
    wrong += [f"{name} is left {when}" for name in found if name not in wanted]
    return wrong + [f"{name} differs {when}" for name in wanted if name in found and wanted[name] != found[name]]


def _wrong_leftovers(scenario: Scenario, before: Files, after: Files, now: Files, fault: str, killed: bool) -> list[str]:
    wrong = []
    for name, value in now.items():
        known = [files[name] for files in (before, after) if name in files]
        if name.startswith("run/.aloft-new/"):
            known += [after[n] for n in [name.replace(".aloft-new/", "")] if n in after]
        if known and value not in known:
            wrong.append(f"{name} is neither the old one nor the new one")
        if not known and not TRANSIENT.search(name):
            wrong.append(f"{name} was left")
        if not killed and HALF.search(name) and name not in before and not fault.startswith(("unlink", "alloc", "flock")):
            wrong.append(f"{name} was left by a failure that could have removed it")
    old = {n for n in before if n not in now or now[n] != before[n]} - {n for n in before if TRANSIENT.search(n)}
    if scenario.former and old:
        new = {n for n in after if now.get(n) != after[n]}
        waiting = "run/.aloft-new/manifest.json" in now and "run/manifest.json" not in now
        if waiting:
            new = {n for n in new if now.get(n.replace("run/", "run/.aloft-new/")) != after[n]}
        if new:
            wrong.append(f"neither the whole old run ({min(old)}) nor the whole new one ({min(new)})")
    elif old - set(after):
        wrong.append(f"{min(old)} is gone")
    return wrong


def points(bench: Bench, scenarios: list[Scenario], faults: int, kills: int, seed: int) -> list[tuple[str, str]]:
    """Which faults: as many as are asked for, spread evenly over all calls; half of them allocations where there are enough."""
    chosen, numbers = [], random.Random(seed)
    on_files, on_memory, deadly = [], [], []
    for s in scenarios:
        calls = bench.prepared(s)[2]
        for operation, errors in ERRORS.items():
            on_files += [(s.name, f"{operation}:{n}:{e}") for n in range(1, calls[operation] + 1) for e in errors]
        if s.allocations:
            # Most allocations make the command line's options, the same ones in every scenario: one in twenty of those.
            numbered = [*range(1, calls["start"] + 1, 20), *range(calls["start"] + 1, calls["alloc"] + 1)]
            on_memory += [(s.name, f"alloc:{n}:ENOMEM{'+' * (k % 2)}") for k, n in enumerate(numbered)]
        deadly += [(s.name, f"file:{n}:kill") for n in range(1, calls["file"] + 1)]
    memory = max(faults // 2, faults - len(on_files)) if on_memory else 0
    for all_of_them, wanted in ((on_memory, memory), (on_files, faults - memory), (deadly, kills)):
        if len(all_of_them) >= wanted > 0:
            step = len(all_of_them) / wanted
            start = numbers.random() * step
            all_of_them = [all_of_them[int(start + k * step) % len(all_of_them)] for k in range(wanted)]
        chosen += all_of_them if wanted > 0 else []
    return chosen


def sweep(build: Path, faults: int, kills: int, seed: int = 1, jobs: int = 1, only: Scenario | None = None) -> list[Trial]:
    scenarios = [only] if only is not None else SCENARIOS
    by_name = {s.name: s for s in scenarios}
    with tempfile.TemporaryDirectory(prefix="aloft-faults-") as place:
        benches = []
        for k in range(jobs):
            (Path(place) / str(k)).mkdir()
            benches.append(Bench(build.resolve(), Path(place) / str(k)))
        chosen = points(benches[0], scenarios, faults, kills, seed)

        def work(k: int) -> list[Trial]:
            return [benches[k].attempt(by_name[name], fault) for name, fault in chosen[k::jobs]]

        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            return [trial for trials in pool.map(work, range(jobs)) for trial in trials]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=SOURCE / "build/release")
    parser.add_argument("--faults", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", choices=[s.name for s in SCENARIOS], help="one scenario")
    arguments = parser.parse_args()
    trials = sweep(arguments.build, arguments.faults, arguments.kills, arguments.seed, arguments.jobs,
                   next((s for s in SCENARIOS if s.name == arguments.only), None))
    print(f"{'scenario':<16}{'faults':>8}{'kills':>8}{'wrong':>8}  exit codes")
    for name in dict.fromkeys(t.scenario for t in trials):
        mine = [t for t in trials if t.scenario == name and t.hit]
        codes = Counter(t.code for t in mine)
        kills = sum(t.fault.endswith("kill") for t in mine)
        print(f"{name:<16}{len(mine) - kills:>8}{kills:>8}{sum(bool(t.wrong) for t in mine):>8}  "
              + ", ".join(f"{c}: {n}" for c, n in sorted(codes.items(), key=str)))
    wrong = [t for t in trials if t.wrong]
    for t in wrong:
        print(f"WRONG {t.scenario}, {t.fault}: {'; '.join(t.wrong)}")
    hits = [t for t in trials if t.hit]
    kills = sum(t.fault.endswith("kill") for t in hits)
    print(f"{len(hits) - kills} faults, {kills} kills, {len(wrong)} wrong; {len(trials) - len(hits)} were never reached")
    return 1 if wrong or not hits else 0


if __name__ == "__main__":
    sys.exit(main())
