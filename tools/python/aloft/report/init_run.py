"""The page of a run folder of `aloft init`: what was asked, what the corpus holds, what was designed."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .grids import bars
from .init_offset import of_offset
from .init_spectra import of_spectra
from .page import Cell, Figure, Finding, Page, Section, Table, words
from .text import grouped, number, percent

Data = dict[str, Any]
READING = (
    "A lag n compares with which token comes n places later in the corpus. A null is the same figure for something without information:"
    " shuffled text, or random directions. Whether a design helps, only training can tell (python -m aloft trial)."
)
CONSUMED = ("corpus-hash", "manifest")


def page_of(folder: Path) -> Page:
    """manifest.json, and spectra.json or offset.json where there is one. InputError where one is damaged."""
    manifest = _read(folder / "manifest.json")
    spread = _read(folder / "spectra.json") if (folder / "spectra.json").is_file() else None
    offset = _read(folder / "offset.json") if (folder / "offset.json").is_file() else None
    name = "manifest.json"
    try:
        recipe, about = str(manifest["recipe"]), manifest["manifest"]
        facts = _facts(manifest, about)
        name = "spectra.json"
        findings, sections = of_spectra(spread) if spread is not None else ([], [])
        name = "offset.json"
        if offset is not None:
            findings, sections = of_offset(offset)
        name = "manifest.json"
        sections = [*sections, _stages(about), _files(about), _request(manifest)]
        if not findings:
            findings = [
                Finding("described", f"The recipe {recipe} keeps no statistics beside its tensors: what is known of the run is below.")
            ]
    except KeyError as error:
        raise InputError(f"{folder / name}: damaged: {error} is missing") from None
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{folder / name}: damaged: {error}") from None
    return Page(f"Init tensors by {recipe}", f"run folder {folder.resolve().name}", facts, READING, findings, sections)


def _read(path: Path) -> Data:
    try:
        data = json.loads(path.read_text(encoding="utf8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: damaged: no object")
    return data


def _facts(manifest: Data, about: Data) -> list[tuple[str, str]]:
    model = about["model"]
    groups = "" if model["kv_heads"] == model["heads"] else f" ({model['kv_heads']} key/value)"
    size = (
        f"{manifest.get('arch', 'model')}: {model['layers']} layers, {model['heads']} heads{groups} of {model['head_dim']}, width"
        f" {model['d_model']}, context {model['context']}"
        + (f", {grouped(model['vocab'])} ids" if "vocab" in model else "")
    )
    out = [("recipe", str(manifest["recipe"])), ("model", size)]
    if "tokens" in about:
        unknown = about.get("unknown_tokens")
        share = f", {percent(unknown / max(about['tokens'], 1))} unknown" if unknown is not None else ""
        out.append(
            ("corpus", f"{grouped(about['tokens'])} tokens, {grouped(about['corpus_vocab'])} ids, {about.get('corpus_format', '')}{share}")
        )
    out.append(("seed", f"{manifest.get('seed', 0)}, {manifest.get('dtype', 'f32')}, backend {about.get('backend', 'cpu')}"))
    return out


# ---- of every run


def _stages(about: Data) -> Section:
    stages = about.get("stages") or []
    out = Section("Time")
    if stages:
        seconds = [float(s["seconds"]) for s in stages]
        out.figures = [
            Figure(
                "Seconds by stage",
                bars(
                    [str(s["name"]) for s in stages],
                    seconds,
                    "Seconds of each stage",
                    "seconds",
                    None,
                    [f"{number(t, 1)}{' (taken from before)' if s.get('resumed') else ''}" for s, t in zip(stages, seconds)],
                ),
                f"{number(math.fsum(seconds), 1)} seconds in all, on backend {about.get('backend', 'cpu')}.",
            )
        ]
    return out


def _files(about: Data) -> Section:
    files: Mapping[str, Data] = about.get("files") or {}
    return Section(
        "Files",
        tables=(
            [
                Table(
                    "What the folder holds",
                    ["file", "bytes", "hash (XXH3)"],
                    [[words(name), Cell(grouped(f["bytes"])), words(f["xxh3_128"])] for name, f in files.items()],
                )
            ]
            if files
            else []
        ),
    )


def _request(manifest: Data) -> Section:
    rows = [
        [words(name), words(", ".join(map(str, value)) if isinstance(value, list) else value)]
        for name, value in manifest.items()
        if name not in CONSUMED
    ]
    return Section(
        "What was asked",
        "`aloft init --config manifest.json --output NEW/` repeats the run.",
        tables=[Table("Flags", ["flag", "value"], rows)],
    )
