"""attention.json and a CSV file of each of its tables, all or none of them."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..unfinished import sync_folder, unfinished_name
from .distances import Doubles
from .measures import LABELS, UNIFORM, Heads
from .runner import Runner

FORMAT, VERSION = "aloft-attention", 1
FILE = "attention.json"
LABEL_COLUMNS = ("layer", "head", "label")
HEAD_COLUMNS = ("layer", "head", "measure", "value", "sd", "null", "null_sd", "p", "p_family", "shuffled")
DISTANCE_COLUMNS = ("layer", "head", "distance", "mass", "shuffled")
ABOUT = {
    "attention_labels": ("What each head is, words joined by a space; empty: none of them", LABEL_COLUMNS),
    "attention_heads": ("Each head's figures, mean and deviation over windows, beside their nulls", HEAD_COLUMNS),
    "attention_distances": ("Mean attention by distance on windows of the text, and on the same shuffled", DISTANCE_COLUMNS),
}


def tables_of(found: Heads, heads: int) -> dict[str, list[list[Any]]]:
    """heads: of a layer."""
    places = [divmod(i, heads) for i in range(len(found.labels))]
    labels = [[*place, " ".join(found.labels[i])] for i, place in enumerate(places)]
    rows = [[*place, name, *(_at(x, i) for x in (m.value, m.sd, m.null, m.null_sd, m.p, m.p_family, m.shuffled))]
            for i, place in enumerate(places) for name, m in found.measures.items()]
    distances = [[*place, d, _at(found.by_distance[i], d), _at(found.by_distance_shuffled[i], d)]
                 for i, place in enumerate(places) for d in range(found.by_distance.shape[1])]
    return {"attention_labels": labels, "attention_heads": rows, "attention_distances": distances}


def _at(values: Doubles | None, i: int) -> float | None:
    """Nine digits, as much as attention in single precision has."""
    return None if values is None else float(f"{values[i]:.9g}")


def document(run: Runner, found: Heads, tokens: dict[str, Any], nulls: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    checkpoint = {"path": run.path, "run_by": run.kind, "layers": run.layers, "heads": run.heads, "context": run.context,
                  "vocab": run.vocab}
    tables = {
        name: {"about": ABOUT[name][0], "columns": [{"name": c} for c in ABOUT[name][1]], "rows": rows}
        for name, rows in tables_of(found, run.heads).items()
    }
    return {"format": FORMAT, "version": VERSION, "checkpoint": checkpoint, "tokens": tokens,
            "nulls": nulls | {"uniform": float(f"{found.uniform:.9g}")}, "tables": tables, "notes": notes}


def counted_labels(data: dict[str, Any]) -> dict[str, int]:
    """Of what attention.json holds: label -> how many heads have it."""
    given = [label for row in data["tables"]["attention_labels"]["rows"] for label in row[2].split()]
    return {label: given.count(label) for label in (*LABELS, UNIFORM)}


def check_output(folder: Path, force: bool) -> None:
    """Before any work: UsageError where something is in the way."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"attention: {folder} is a file: name a folder as --output")
    if (folder / FILE).exists() and not force:
        raise UsageError(f"attention: {folder / FILE} exists: use --force to replace it")


def write(folder: Path, data: dict[str, Any]) -> None:
    """Everything under other names first; then attention.json goes last, so that with it the others are there."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {f"{name}.csv": _csv(table) for name, table in data["tables"].items()} | {FILE: json.dumps(data, indent=None) + "\n"}
    partials = {folder / name: unfinished_name(folder / name) for name in texts}
    try:
        for path, partial in partials.items():
            with open(partial, "x", encoding="utf8", newline="") as file:
                file.write(texts[path.name])
                file.flush()
                os.fsync(file.fileno())
        (folder / FILE).unlink(missing_ok=True)  # of a former run: never beside tables of this one
        for path, partial in partials.items():
            os.replace(partial, path)
        sync_folder(folder)
    except BaseException:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
        raise


def _csv(table: dict[str, Any]) -> str:
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow([column["name"] for column in table["columns"]])
    lines.writerows([["" if cell is None else cell for cell in row] for row in table["rows"]])
    return out.getvalue()
