"""The step `attention`: what heads look at when the run's models read its held-out ids (docs/analysis.md, "Attention on tokens").

FOLDER/analysis/NAME/attention.json, attention_*.csv     what `python -m aloft attention` writes, beside the analysis of the same model
FOLDER/analysis/NAME/attention_of.json                   what of: files by their SHA-256, and the numbers of the page; written last
"""

import contextlib
import functools
import json
import time
from pathlib import Path
from typing import Any

from ..attention.output import FILE, counted_labels
from ..attention.run import Options, measure_attention
from .analyses import TRAINED, UNTRAINED, Pair, analysis_path, hash_of, weights_of
from .checkpoints import write_json
from .results import Numbers, Run

PAIRS = (UNTRAINED, TRAINED)  # the first model of each
MOST = ("previous_token", "induction", "duplicate")


def attended(run: Run) -> Numbers:
    """Those that are there, of the same files, stay. InputError where a checkpoint is not there."""
    hashed = functools.cache(hash_of)
    return {
        pair.name: _attended(run, pair, {str(path.relative_to(run.folder)): hashed(path)
                                         for path in (weights_of(run, pair.first, "attention"), run.trial.held_path)})
        for pair in PAIRS
    }


def _attended(run: Run, pair: Pair, files: dict[str, str]) -> Numbers:
    folder = analysis_path(run.folder, pair).parent
    stamp = folder / "attention_of.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # not there, or damaged: it is made
        found: Numbers = json.loads(stamp.read_text())
        if found["files"] == files and (folder / FILE).is_file():
            return found
    stamp.unlink(missing_ok=True)
    s, begun = run.settings, time.monotonic()
    data = measure_attention(run.folder / pair.first, folder, Options(threads=s.threads, seed=s.seed, quiet=s.quiet, force=True),
                             ids=Path(run.trial.held_path))
    made: Numbers = {"checkpoint": pair.first, "seconds": time.monotonic() - begun, "files": files} | _numbers(data)
    write_json(stamp, made)
    return made


def _numbers(data: dict[str, Any]) -> Numbers:
    """What the page needs of attention.json."""
    table = data["tables"]["attention_heads"]
    columns = [c["name"] for c in table["columns"]]
    rows = [dict(zip(columns, row)) for row in table["rows"]]
    of = {name: [r for r in rows if r["measure"] == name] for name in (*MOST, "first_token")}
    most = {name: max(of[name], key=lambda r: float(r["value"])) for name in MOST}
    return {
        "heads": len(data["tables"]["attention_labels"]["rows"]),
        "windows": data["tokens"]["windows"],
        "length": data["tokens"]["length"],
        "uniform": data["nulls"]["uniform"],
        "labels": counted_labels(data),
        "most": {name: {key: row[key] for key in ("layer", "head", "value", "null", "p_family")} for name, row in most.items()},
        "first_token": sum(r["value"] for r in of["first_token"]) / len(of["first_token"]),
    }
