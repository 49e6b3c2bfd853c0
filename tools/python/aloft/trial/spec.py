"""What a trial is to do, read from a preset or a YAML file."""

import json
import os
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError, UsageError

Spec = dict[str, Any]  # presets/ has examples; the sections below
SECTIONS = ("model", "corpus", "training", "arms", "plan")
PRESETS = Path(__file__).with_name("presets")


def load_spec(name: str) -> Spec:
    """A preset's name, or a YAML file."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else PRESETS / f"{name}.yaml"
    if not path.exists():
        presets = ", ".join(sorted(p.stem for p in PRESETS.glob("*.yaml")))
        raise UsageError(f"trial: {name} is neither a file nor one of {presets}")
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf8"))
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"trial: {path}: {error}") from None
    if isinstance(spec, dict) and isinstance(spec.get("extends"), str):
        spec = _extended(load_spec(spec["extends"]), spec)
    missing = [s for s in SECTIONS if not isinstance(spec, dict) or not isinstance(spec.get(s), dict)]
    if missing:
        raise InputError(f"trial: {path} has no section {missing[0]}: it needs {', '.join(SECTIONS)}")
    out: Spec = spec
    return out


def _extended(base: Spec, more: Spec) -> Spec:
    """`extends: NAME`: the sections of another spec, entry by entry replaced; `arms: [names]` keeps those arms alone."""
    out: Spec = {}
    for section in SECTIONS:
        mine = more.get(section, {})
        if section == "arms" and isinstance(mine, list):
            unknown = [name for name in mine if name not in base["arms"]]
            if unknown:
                raise InputError(f"trial: {more['extends']} has no arm {unknown[0]}")
            out[section] = {name: base["arms"][name] for name in mine}
        else:
            out[section] = base[section] | mine
    return out


def same_trial(spec: Spec, folder: str | os.PathLike[str]) -> None:
    """Results of one folder are compared with each other: refuses one that holds those of another model, text or protocol."""
    mine = {"model": spec["model"], "training": {k: v for k, v in spec["training"].items() if k not in ("device", "test_tokens")},
            "vocabulary_from": spec["corpus"].get("vocabulary_from", "training"),
            "text_bytes": os.path.getsize(spec["corpus"]["text"]), "test_tokens": spec["training"].get("test_tokens", 0)}
    path = Path(folder) / "trial.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(mine, indent=1))
    try:
        theirs = json.loads(path.read_text())
        theirs.setdefault("test_tokens", mine["test_tokens"])  # of a time before there were any: its results have no test loss
    except (ValueError, AttributeError):
        raise InputError(f"trial: {path} is damaged: give another --output") from None
    for key, value in mine.items():
        if theirs.get(key) != value:
            raise UsageError(f"trial: {folder} holds a trial of another {key.replace('_', ' ')} ({theirs.get(key)}, not {value}): "
                             "give another --output")
