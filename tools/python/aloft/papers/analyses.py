"""The step `analysis`: `aloft analyze` (docs/analysis.md) on the run's checkpoints, against the counts of its training text.

FOLDER/analysis/NAME/analysis.json, *.csv     what the program wrote
FOLDER/analysis/NAME/made_of.json             what of: files by their SHA-256, and by which program; written last
"""

import contextlib
import functools
import hashlib
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, ProgramError
from ..trial.jobs import found_program
from ..trial.lifetime import end_with_parent
from .checkpoints import write_json
from .results import Numbers, Run

FLAGS = {"vocab": "model-vocab-size"}  # where a key of model.json is not called as the flag of `aloft analyze` is


@dataclass(frozen=True)
class Pair:
    """name: of its folder; first, second: checkpoints of the run."""

    name: str
    first: str
    second: str | None = None


UNTRAINED = Pair("untrained", "sgd/initial")  # what the same measurements say before any training: the best null of all
TRAINED = Pair("trained", "sgd/trained", "crystallised/trained")  # the model that the papers measure, and did the other become it?
CRYSTALLISED = Pair("crystallised", "crystallised/initial", "crystallised/trained")  # how far training moved: the paper's drift
PAIRS = (UNTRAINED, TRAINED, CRYSTALLISED)


def analysis_path(folder: Path, pair: Pair) -> Path:
    return folder / "analysis" / pair.name / "analysis.json"


def analysed(run: Run) -> Numbers:
    """Those that are there, of the same files and by the same program, stay. InputError where a checkpoint is not there, ProgramError where
    the program fails."""
    counts, program = run.trial.counts_file(), identity(run)
    hashed = functools.cache(hash_of)
    return {
        pair.name: _analysis(
            run, pair, counts, {str(path.relative_to(run.folder)): hashed(path) for path in (*_files(run, pair), counts)}, program
        )
        for pair in PAIRS
    }


def identity(run: Run) -> dict[str, str]:
    """version: the first line of `aloft --version` (the others are of the machine); sha256: of the program's file, for another build of
    a version may measure otherwise."""
    program = found_program(run.trial.program)
    said = subprocess.run([program, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    lines = said.stdout.splitlines()
    if said.returncode != 0 or not lines:
        raise ProgramError(f"papers: {run.trial.program} --version ended with {said.returncode}: is it aloft? give --program FILE")
    return {"version": lines[0].strip(), "sha256": run.trial.program_hash}


def _files(run: Run, pair: Pair) -> list[Path]:
    """model.safetensors of both checkpoints."""
    return [weights_of(run, name, "analysis") for name in (pair.first, pair.second) if name]


def weights_of(run: Run, checkpoint: str, step: str) -> Path:
    """model.safetensors of a checkpoint of the run. InputError where it is not there; step: who needs it."""
    path = run.folder / checkpoint / "model.safetensors"
    if not path.is_file():
        raise InputError(f"papers: the step {step} needs {path}: the step {path.parent.parent.name} leaves it")
    return path


def hash_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _analysis(run: Run, pair: Pair, counts: Path, made_of: dict[str, str], program: dict[str, str]) -> Numbers:
    folder = run.folder / "analysis" / pair.name
    stamp = folder / "made_of.json"
    with contextlib.suppress(OSError, ValueError):  # not there, or damaged: it is made
        found: Numbers = json.loads(stamp.read_text())
        if found["files"] == made_of and found.get("program") == program and (folder / "analysis.json").is_file():
            return found
    stamp.unlink(missing_ok=True)
    words = [
        *_model_flags(run.folder / pair.first / "model.json"),
        "--checkpoint",
        str(run.folder / pair.first / "model.safetensors"),
        *(["--second", str(run.folder / pair.second / "model.safetensors")] if pair.second else []),
        "--counts",
        str(counts),
        "--output",
        str(folder),
        "--force",
        "--threads",
        str(run.settings.threads),
        *(["--quiet"] if run.settings.quiet else []),
    ]
    begun = time.monotonic()
    _analyze(run.trial.program, pair.name, words)
    made: Numbers = {"first": pair.first, "second": pair.second, "seconds": time.monotonic() - begun, "files": made_of,
                     "program": program}
    write_json(stamp, made)
    return made


def _model_flags(path: Path) -> list[str]:
    try:
        sizes = json.loads(path.read_text())
        return [word for name, value in sizes.items() for word in (f"--{FLAGS.get(name, name)}", str(value))]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"papers: {path}: {error}: remove the results of its step, and it will run again") from None


def _analyze(program: str, name: str, words: list[str]) -> None:
    """Passes on what the program says, as it says it; its last line, where it fails, is the error's."""
    process = subprocess.Popen(
        [found_program(program), "analyze", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        preexec_fn=functools.partial(end_with_parent, signal.SIGTERM),
    )
    assert process.stderr is not None
    last = ""
    try:
        for line in process.stderr:
            if last:
                print(last, file=sys.stderr, flush=True)
            last = line.rstrip("\n")
        process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        process.stderr.close()
    failed, own = process.returncode != 0, last.startswith("aloft: ")
    if last and not (failed and own):
        print(last, file=sys.stderr, flush=True)
    if failed:
        code = process.returncode if 0 < process.returncode <= 5 else 1  # (killed by a signal: a failure)
        why = last.removeprefix("aloft: ") if own else f"{program} ended with {process.returncode}"
        raise ProgramError(f"papers: analysis {name}: {why}", code)
