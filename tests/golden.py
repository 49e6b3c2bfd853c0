#!/usr/bin/env python3
"""The bytes that a program writes for many command lines, as a table of hashes; and what differs between two tables.

    tests/golden.py PROGRAM [--jobs N] [--only PATTERN] > table
    tests/golden.py --compare TABLE TABLE [--only PATTERN]

A line is `case file hash`, or `case exit CODE MESSAGE` where the program refuses. Lines that begin with `info` hold what
people read (results, notes, manifests): --compare shows them too, but only the others make it fail. PATTERN is a regular
expression, searched in the names of cases. Tables are comparable on one machine: arithmetic differs between processors.
"""

import argparse
import difflib
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable, Iterator

from golden_cases import SIDES, WORDS, Case, all_cases
from golden_inputs import write_inputs

PREPARED = (f"count {WORDS} --lags 8 --output prepared/counts.safetensors --vocab-output prepared/vocab.json",
            f"init {SIDES['words']} --arch nanogpt --output prepared/run")
STAGES = ("counts", "embedding", "projections", "spectra", "expanded", "factors")
# What differs between two runs of one program, or two machines.
PASSING = [(r'"(seconds|memory_allowed_bytes|disk_free_bytes)": [-+.e\d]+', r'"\1": _'), (r"seconds [-+.e\d]+", "seconds _"),
           (r"\d+\.\d+ s\b", "_ s"), (r"[.\d]+ MiB (allowed|free)", r"_ MiB \1"),
           (r"(?m)^(\w[\w ]{20} *)[.\d]+ MiB", r"\1_ MiB"), (r"peak memory [.\d]+ MiB", "peak memory _ MiB")]
# What is told of keys and digests, which the hashes leave out too, and so of the files that hold them.
INNER = [(r'"(xxh3_128|key|digest)": "\w+"', r'"\1": "_"'), (r"\b(xxh3_128|key|digest): \w+", r"\1: _")]


# ---- One run


def above_the_least(text: str) -> str:
    """Planned memory has the program's own in it, some pages more or less from run to run: told above the least planned."""
    planned = r'(?<="memory_bytes": )\d+'
    least = min(map(int, re.findall(planned, text)), default=0)
    return re.sub(planned, lambda found: f"{int(found[0]) - least}", text)


@dataclass(frozen=True)
class Program:
    path: str
    folder: Path

    def run(self, words: Iterable[str]) -> subprocess.CompletedProcess[bytes]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ALOFT_")}
        return subprocess.run([self.path, *words], cwd=self.folder, env=kept | {"OPENBLAS_CORETYPE": "Haswell"},
                              stdin=subprocess.DEVNULL, capture_output=True)

    def shown(self, output: bytes) -> str:
        """Without what may differ from run to run, and without the folder's name."""
        text = output.decode("utf-8", "backslashreplace").replace(f"{self.folder}", ".")
        for pattern, replacement in PASSING + INNER:
            text = re.sub(pattern, replacement, text)
        return above_the_least(text)


def command_line(case: Case, output: Path) -> list[str]:
    words = case.words.split()
    if words[0] in ("init", "count", "plan") and "--help" not in words:
        words += ["--threads", "1", "--backend", "cpu"]
        words += [] if case.text else ["--quiet"]
    if words[0] == "init" and "--help" not in words:
        words += ["--output", f"{output}"]
    if words[0] == "count" and "--help" not in words:
        words += ["--output", f"{output}/counts.safetensors"]
        words += ["--vocab-output", f"{output}/vocab.json"] if "words.txt" in words else []
    return words


def short_hash(parts: Iterable[bytes]) -> str:
    out = hashlib.sha256()
    for part in parts:
        out.update(struct.pack("<Q", len(part)) + part)
    return out.hexdigest()[:32]


def artifact_parts(content: bytes) -> Iterator[bytes]:
    """What a stage's file says, tensor by tensor; its key and digest name the way it was made, which may change."""
    size = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8:8 + size]), content[8 + size:]
    metadata = header.pop("__metadata__", {})
    yield json.dumps({k: v for k, v in metadata.items() if k not in ("key", "digest")}, sort_keys=True).encode()
    for name, tensor in sorted(header.items()):
        begin, end = tensor["data_offsets"]
        yield json.dumps([name, tensor["dtype"], tensor["shape"]]).encode()
        yield data[begin:end]


def file_hash(path: Path) -> str:
    content = path.read_bytes()
    stage = path.suffix == ".safetensors" and path.stem in STAGES
    return short_hash(artifact_parts(content) if stage else [content])


def shown_as_hash(path: Path) -> bool:
    """Manifests hold times; hidden files, which an interrupted run leaves, the folder's name."""
    return path.name != "manifest.json" and not path.name.startswith(".")


def info(case: str, what: str, text: str) -> str:
    return f"info {case} {what} {json.dumps(text)}"


def refusal(case: Case, code: int, message: str) -> str:
    found = [line for line in message.splitlines() if line.startswith("aloft: ")] or message.splitlines() or ["(silent)"]
    return f"{case.name} exit {code} {found[0]}"


def texts(program: Program, case: Case, done: subprocess.CompletedProcess[bytes], output: Path) -> Iterator[str]:
    yield info(case.name, "stdout", program.shown(done.stdout))
    yield info(case.name, "stderr", program.shown(done.stderr))
    if (output / "manifest.json").exists():
        yield info(case.name, "manifest", program.shown((output / "manifest.json").read_bytes()))


def case_lines(program: Program, case: Case) -> list[str]:
    # "-" keeps a case's folder apart from those of cases whose names go on where its own ends.
    relative = Path("runs") / case.name / "-"
    output = program.folder / relative
    output.parent.mkdir(parents=True, exist_ok=True)
    if case.words.strip().startswith("count"):
        output.mkdir()
    done = program.run(command_line(case, relative))
    files = sorted(path for path in output.rglob("*") if path.is_file() and shown_as_hash(path))
    out = [f"{case.name} {path.relative_to(output)} {file_hash(path)}" for path in files]
    if done.returncode != 0:
        out.append(refusal(case, done.returncode, program.shown(done.stderr)))
    out += texts(program, case, done, output) if case.text else []
    shutil.rmtree(output, ignore_errors=True)
    return out or [f"{case.name} exit 0 nothing written"]


def table(path: str, jobs: int, wanted: Callable[[str], object]) -> None:
    cases = [case for case in all_cases() if wanted(case.name)]
    if len({case.name for case in cases}) != len(cases):
        raise SystemExit("golden: two cases of one name")
    with tempfile.TemporaryDirectory(prefix="aloft-golden-") as folder, ThreadPoolExecutor(jobs) as pool:
        program, start, count = Program(os.path.abspath(path), Path(folder).resolve()), time.monotonic(), 0
        write_inputs(program.folder)
        for file in sorted(program.folder.iterdir()):
            print("inputs", file.name, file_hash(file))
        (program.folder / "prepared").mkdir()
        for words in PREPARED:
            if (done := program.run(words.split() + ["--threads", "1", "--quiet"])).returncode != 0:
                raise SystemExit(f"golden: {words}: {done.stderr.decode()}")
        for lines in pool.map(lambda case: case_lines(program, case), cases):
            print(*lines, sep="\n", flush=True)
            count += len(lines)
    print(f"{len(cases)} cases, {count} lines, {time.monotonic() - start:.0f} s", file=sys.stderr)


# ---- Two tables


@dataclass
class Table:
    hashes: dict[str, str]  # "case file": the rest of the line
    texts: dict[str, str]


def read_table(path: str, wanted: Callable[[str], object]) -> Table:
    out = Table({}, {})
    for line in Path(path).read_text("utf-8").splitlines():
        kind, _, rest = line.partition(" ")
        words = (rest if kind == "info" else line).split(" ", 2)
        if len(words) != 3:
            raise SystemExit(f"golden: {path}: no line of a table: {line}")
        if wanted(words[0]):
            (out.texts if kind == "info" else out.hashes)[f"{words[0]} {words[1]}"] = words[2]
    return out


def differing(a: dict[str, str], b: dict[str, str]) -> list[str]:
    return [name for name in a | b if a.get(name) != b.get(name)]


def text_difference(name: str, a: Table, b: Table) -> str:
    old, new = (json.loads(t.texts.get(name, '""')).splitlines() for t in (a, b))
    changes = list(difflib.unified_diff(old, new, lineterm="", n=0))[2:]
    return "\n".join([f"text {name}", *(f"    {line}" for line in changes if not line.startswith("@@"))])


def compare(first: str, second: str, wanted: Callable[[str], object]) -> int:
    a, b = read_table(first, wanted), read_table(second, wanted)
    texts, hashes = differing(a.texts, b.texts), differing(a.hashes, b.hashes)
    for name in texts:
        print(text_difference(name, a, b))
    for name in hashes:
        print(f"DIFFERS {name}\n    - {a.hashes.get(name, '(absent)')}\n    + {b.hashes.get(name, '(absent)')}")
    print(f"{len(a.hashes)} and {len(b.hashes)} files and refusals: {len(hashes)} differ; "
          f"{len(a.texts)} and {len(b.texts)} texts: {len(texts)} to look at")
    return 1 if hashes or not a.hashes else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="", metavar="PATTERN")
    parser.add_argument("--compare", nargs=2, metavar="TABLE")
    asked = parser.parse_args()
    if (asked.program is None) == (asked.compare is None):
        parser.error("give a program, or --compare and two tables")
    wanted = re.compile(asked.only).search
    if asked.compare:
        return compare(*asked.compare, wanted)
    table(asked.program, asked.jobs, wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
