"""`python -m aloft attention`: load a model, run it on sequences, measure its heads, write what was found."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import AloftError, InputError, UsageError
from ..processors import MOST_THREADS
from .measures import LEVEL, looks_of, measured
from .output import check_output, counted_labels, document, write
from .runner import Runner
from .significance import smallest_p
from .tokens import ids_of_file, ids_of_text, is_papers_folder, sequences

LONGEST = 256  # tokens of a window, unless more are asked for
SHORTEST = 16  # so that each half has distances to tell apart
KINDS = 4  # sequences for each window


@dataclass(frozen=True)
class Options:
    """length: None: the context, at most LONGEST. form: of ids; None: by extension."""

    windows: int = 16
    length: int | None = None
    seed: int = 0
    threads: int = 1
    form: str | None = None
    force: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.windows < 2:
            raise UsageError("attention: --windows is to be 2 or more")
        if self.length is not None and (self.length < SHORTEST or self.length % 2):
            raise UsageError(f"attention: --length is to be an even number, {SHORTEST} or more")
        if not 0 <= self.seed < 1 << 63:
            raise UsageError("attention: --seed is to be 0 or more, and below 2^63")
        if not 1 <= self.threads <= MOST_THREADS:
            raise UsageError(f"attention: --threads is to be from 1 to {MOST_THREADS}")


def measure_attention(checkpoint: Path, output: Path, options: Options, ids: Path | None = None,
                      text: Path | None = None) -> dict[str, Any]:
    """Writes attention.json and its tables into `output`; returns what attention.json holds. One of ids and text is given."""
    check_output(output, options.force)
    source = ids if ids is not None else text
    assert source is not None
    if not source.is_file():
        raise InputError(f"attention: {source}: there is no such file")
    torch.set_num_threads(options.threads)
    run = runner(checkpoint)
    length = options.length or min(run.context or LONGEST, LONGEST) // 2 * 2
    if run.context is not None and length > run.context or length < SHORTEST:
        raise UsageError(f"attention: windows of {length} tokens: the model takes {run.context}, and {SHORTEST} are needed")
    if ids is not None:
        tokens = ids_of_file(source, options.form, run.vocab)
    else:
        tokens = ids_of_text(source, checkpoint / "tokenizer.json", run.vocab)
    parts = sequences(tokens, options.windows, length, run.vocab, options.seed)
    found = measured(looks_of(run, parts, Lines(KINDS * options.windows, options.quiet)), options.seed)
    smallest = smallest_p(options.windows)
    notes = [f"{options.windows} windows: no p is below {smallest:.2g}, so that no head can be labelled but uniform"] * (smallest >= LEVEL)
    data = document(run, found, {"source": source.name, "ids": len(tokens), "windows": options.windows, "length": length},
                    {"seed": options.seed, "smallest_p": smallest}, notes)
    write(output, data)
    return data


def runner(folder: Path) -> Runner:
    """By the files in it. InputError where there is no model."""
    if is_papers_folder(folder):
        from .small_models import small_model

        return small_model(folder)
    if not (folder / "config.json").is_file():
        what = ("there is no such folder" if not folder.exists() else "no folder" if not folder.is_dir()
                else "neither config.json nor model.json is there")
        raise InputError(f"attention: {folder}: {what}: a Hugging Face folder, or a checkpoint of `python -m aloft papers` is needed")
    try:
        from .hugging_face import hugging_face

        return hugging_face(folder)
    except ModuleNotFoundError as error:
        raise AloftError(f"attention: such a checkpoint needs {error.name}, which is not installed: pip install "
                         "'tools/python[attention]'") from None


class Lines:
    """A line on stderr every few seconds: how many sequences were run, how fast, how long it will take."""

    def __init__(self, total: int, quiet: bool, every: float = 3.0, now: Callable[[], float] = time.monotonic) -> None:
        self.total, self.quiet, self.every, self.now = total, quiet, every, now
        self.done, self.begun = 0, now()
        self.last = self.begun

    def __call__(self) -> None:
        self.done += 1
        now = self.now()
        if self.quiet or now - self.last < self.every:
            return
        self.last = now
        rate = self.done / (now - self.begun)
        left = round((self.total - self.done) / rate)
        print(f"aloft: attention: {self.done} of {self.total} sequences, {rate:.3g} a second, ETA {left // 60}:{left % 60:02}",
              file=sys.stderr, flush=True)


def main(arguments: argparse.Namespace) -> None:
    a = arguments
    options = Options(a.windows, a.length, a.seed, a.threads, a.format, a.force, a.quiet)
    if (a.ids is None) == (a.text is None):
        raise UsageError("attention: give --ids FILE, or --text FILE where the checkpoint has a tokenizer.json")
    if a.text is not None and a.format is not None:
        raise UsageError("attention: --format is of --ids")
    data = measure_attention(Path(a.checkpoint), Path(a.output), options, Path(a.ids) if a.ids else None, Path(a.text) if a.text else None)
    labels = ", ".join(f"{count} {label}" for label, count in counted_labels(data).items())
    print(f"{a.output}/attention.json: of {len(data['tables']['attention_labels']['rows'])} heads {labels}")
