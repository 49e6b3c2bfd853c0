"""What a trial is to do, read from a preset or a YAML file."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError, UsageError

Spec = dict[str, Any]  # presets/ has examples; the sections below
SECTIONS = ("model", "corpus", "training", "arms", "plan")
PRESETS = Path(__file__).with_name("presets")


def load_spec(name: str, depth: int = 0) -> Spec:
    """A preset's name, or a YAML file."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else PRESETS / f"{name}.yaml"
    if not path.exists():
        presets = ", ".join(sorted(p.stem for p in PRESETS.glob("*.yaml")))
        raise UsageError(f"trial: {name} is neither a file nor one of {presets}")
    try:
        spec = yaml.load(path.read_text(encoding="utf8"), _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"trial: {path}: {error}") from None
    except RecursionError:
        raise InputError(f"trial: {path}: it is nested too deeply") from None
    if isinstance(spec, dict):
        _refuse_unknown_sections(spec, str(path))
    if isinstance(spec, dict) and "extends" in spec:
        if not isinstance(spec["extends"], str):
            raise InputError(f"trial: {path}: extends is to be a preset's name or a YAML file, and is {spec['extends']!r}")
        if spec["extends"] == name or depth > 8:
            raise InputError(f"trial: {path} extends itself")
        beside = path.parent / spec["extends"]
        base = str(beside) if beside.suffix in (".yaml", ".yml") else spec["extends"]
        spec = _extended(load_spec(base, depth + 1), spec, str(path))
    missing = [s for s in SECTIONS if not isinstance(spec, dict) or not isinstance(spec.get(s), dict)]
    if missing:
        raise InputError(f"trial: {path} has no section {missing[0]}: it needs {', '.join(SECTIONS)}")
    out: Spec = spec
    check_spec(out, str(path))
    return out


class _Loader(yaml.SafeLoader):
    """Two entries of one name are an error: YAML's own reader keeps the second and says nothing."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise yaml.YAMLError(f"{twice[0]} is there twice (line {node.start_mark.line + 1} and after)")
        out: dict[Any, Any] = super().construct_mapping(node, deep)
        return out


def _refuse_unknown_sections(spec: Spec, path: str) -> None:
    unknown = [key for key in spec if key not in (*SECTIONS, "extends")]
    if unknown:
        raise InputError(f"trial: {path}: there is no section {unknown[0]}: give some of {', '.join(SECTIONS)}")


def _extended(base: Spec, more: Spec, path: str) -> Spec:
    """`extends: NAME`: the sections of another spec, entry by entry replaced; `arms: [names]` keeps those arms alone."""
    out: Spec = {}
    for section in SECTIONS:
        mine = more.get(section, {})
        if section == "arms" and isinstance(mine, list):
            unknown = [arm for arm in mine if not isinstance(arm, str) or arm not in base["arms"]]
            if unknown:
                raise InputError(f"trial: {path}: {more['extends']} has no arm {unknown[0]}")
            out[section] = {name: base["arms"][name] for name in mine}
            base = base | {"plan": _without_others(base["plan"], mine)}  # (arms come before the plan)
        elif isinstance(mine, dict):
            out[section] = base[section] | mine
        else:
            raise InputError(f"trial: {path}: section {section} is to hold entries, and is {mine!r}")
    return out


def _without_others(plan: Spec, arms: Collection[str]) -> Spec:
    """The plan with a plot and targets of these arms alone."""
    return plan | {"plot": [arm for arm in plan.get("plot", []) if arm in arms],
                   "targets": [t for t in plan.get("targets", []) if {t.get("arm"), t.get("baseline")} <= set(arms)]}


def _count(least: int) -> Callable[[Any], bool]:
    return lambda x: isinstance(x, int) and not isinstance(x, bool) and x >= least


def _number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x) and x > 0


def _among(*words: str) -> Callable[[Any], bool]:
    return lambda x: x in words


def _text(x: Any) -> bool:
    return isinstance(x, str)


def _names(x: Any) -> bool:
    return isinstance(x, list) and all(isinstance(name, str) for name in x)


def _rates(x: Any) -> bool:
    return isinstance(x, list) and bool(x) and all(map(_number, x))


def _entries(x: Any) -> bool:
    return isinstance(x, dict)


Entries = dict[str, tuple[Callable[[Any], bool], str]]
SIZE = (_count(1), "a whole number above 0")
FROM_ZERO = (_count(0), "a whole number")
NUMBER = (_number, "a number above 0")
WORD = (_text, "text")
ARMS = (_names, "a list of arms")
KNOWN: dict[str, Entries] = {
    "model": {"style": WORD, **dict.fromkeys(("layers", "heads", "width", "context", "vocab"), SIZE)},
    "corpus": {"text": WORD, "other_text": WORD, "tokenizer": WORD, "vocabulary_from": (_among("training", "all"), "training or all"),
               "windows": (_among("first", "drawn"), "first or drawn")},
    "training": {"batch": SIZE, "warmup": SIZE, "every": SIZE, "validation_tokens": SIZE, "test_tokens": FROM_ZERO, "device": WORD,
                 "optimizer": (_among("adamw", "muon"), "adamw or muon"), "precision": (_among("f32", "bf16"), "f32 or bf16")},
    "plan": {"baseline": WORD, "plot": ARMS, "sweep": (_entries, "entries"), "seeds": (_entries, "entries"),
             "budgets": (lambda x: isinstance(x, list), "a list"), "targets": (lambda x: isinstance(x, list), "a list")},
}
ARM: Entries = {"about": WORD, "init": (_entries, "flags of aloft init"), "std": NUMBER, "mlp_std": NUMBER,
                "zero_outputs": (lambda x: isinstance(x, bool), "true or false"),
                "gauges": (lambda x: isinstance(x, dict) and all(map(_number, x.values())), "names with numbers above 0")}
OWN_FLAGS = ("seed", "counts", "corpus", "output", "threads", "quiet", "json", "force", "config", "resume", "help", "version")
SWEEP: Entries = {"steps": SIZE, "peaks": (_rates, "a list of numbers above 0"), "arms": ARMS}
SEEDS: Entries = {"arms": ARMS, "count": SIZE}
BUDGET: Entries = {"steps": SIZE, "arms": ARMS, "peak_factors": (_rates, "a list of numbers above 0"), "seeds": SIZE}
TARGET: Entries = {"baseline": WORD, "arm": WORD, "budget": SIZE, "fraction": NUMBER}


def check_spec(spec: Spec, path: str) -> None:
    """InputError, saying where, for an entry that is not known, lacks or is of another kind: before hours of training."""
    def check(where: str, found: Any, known: Entries, needed: Sequence[str] = ()) -> None:
        if not isinstance(found, dict):
            raise InputError(f"trial: {path}: {where} is to hold entries, and is {found!r}")
        for key, value in found.items():
            if key not in known:
                raise InputError(f"trial: {path}: {where} knows no {key}: give some of {', '.join(known)}")
            if not known[key][0](value):
                raise InputError(f"trial: {path}: {where}: {key} is to be {known[key][1]}, and is {value!r}")
        for key in needed:
            if key not in found:
                raise InputError(f"trial: {path}: {where} lacks {key}")

    for section, known in KNOWN.items():
        check(f"section {section}", spec[section], known, {"training": ("batch",), "plan": ("sweep",)}.get(section, ()))
    for name, arm in spec["arms"].items():
        if not isinstance(name, str) or "/" in name or not name.isprintable() or not name.strip(".") or len(name) > 100:
            raise InputError(f"trial: {path}: arm {name!r}: give it a short name without /")
        check(f"arm {name}", arm, ARM)
        for flag, value in arm.get("init", {}).items():
            if not isinstance(flag, str) or not isinstance(value, (str, int, float)):
                raise InputError(f"trial: {path}: arm {name}: init: {flag}: {value!r} is no flag of aloft init with its value")
            if flag in OWN_FLAGS:
                raise InputError(f"trial: {path}: arm {name}: init: {flag} is the trial's own: leave it out")
    plan = spec["plan"]
    check("plan.sweep", plan["sweep"], SWEEP, ("steps", "peaks"))
    check("plan.seeds", plan.get("seeds", {}), SEEDS, ("arms", "count") if plan.get("seeds") else ())
    for number, budget in enumerate(plan.get("budgets", []), 1):
        check(f"budget {number} of the plan", budget, BUDGET, ("steps", "arms"))
    for number, target in enumerate(plan.get("targets", []), 1):
        check(f"target {number} of the plan", target, TARGET, tuple(TARGET))
    named = [*plan.get("plot", []), *(t[key] for t in plan.get("targets", []) for key in ("baseline", "arm"))]
    if unknown := [arm for arm in named if arm not in spec["arms"]]:
        raise InputError(f"trial: {path}: the plan's plot or targets name {unknown[0]}, which is no arm")
    if plan.get("baseline", "random") not in spec["arms"]:
        raise InputError(f"trial: {path}: the plan's baseline is {plan.get('baseline', 'random')}, which is no arm")


def same_trial(spec: Spec, folder: str | os.PathLike[str]) -> None:
    """Results of one folder are compared with each other: refuses one that holds those of another model, text, protocol or
    of an arm that meant something else."""
    corpus, training = spec["corpus"], spec["training"]
    mine = {"model": spec["model"], "training": {k: v for k, v in training.items() if k not in ("device", "test_tokens")},
            "vocabulary_from": corpus.get("vocabulary_from", "training"), "text_bytes": os.path.getsize(corpus["text"]),
            "test_tokens": training.get("test_tokens", 0), "text": _content(corpus["text"]),
            "tokenizer": corpus.get("tokenizer", "words"), "windows": corpus.get("windows", "first"),
            "other_text": _content(corpus["other_text"]) if corpus.get("other_text") else None,
            "arms": {name: {k: v for k, v in arm.items() if k != "about"} for name, arm in spec["arms"].items()}}
    path = Path(folder) / "trial.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        theirs = json.loads(path.read_text()) if path.exists() else {}
        known = theirs.setdefault("arms", {})
        if not isinstance(known, dict):
            raise ValueError(known)
        for key in ("test_tokens", "text", "tokenizer", "windows", "other_text"):
            theirs.setdefault(key, mine[key])  # of a time before there were any
    except (ValueError, AttributeError):
        raise InputError(f"trial: {path} is damaged: give another --output") from None
    for key, value in mine.items():
        if key != "arms" and theirs.setdefault(key, value) != value:
            raise UsageError(f"trial: {folder} holds a trial of another {key.replace('_', ' ')} ({theirs.get(key)}, not {value}): "
                             "give another --output")
    for name, arm in mine["arms"].items():
        if known.setdefault(name, arm) != arm:
            raise UsageError(f"trial: {folder} holds results of another arm {name} ({known[name]}, not {arm}): give it another name")
    partial = path.with_suffix(f".{os.getpid()}.partial")  # another trial may begin in this folder at the same moment
    partial.write_text(json.dumps(theirs, indent=1))
    os.replace(partial, path)


def _content(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16] if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read()).hexdigest()[:16]
