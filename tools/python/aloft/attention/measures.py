"""Every head's figures beside their nulls, and the labels that follow from them (formulas and rules: docs/analysis.md)."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .distances import Doubles, look, uniform_mass
from .runner import Runner
from .significance import above_zero, strength
from .tokens import Sequences

KEPT = 64  # distances
LEVEL = 0.01  # of p_family
LEAST = {"previous_token": 0.1, "induction": 0.1, "duplicate": 0.1, "first_token": 0.5}  # of all attention, for a label
TIMES = 3.0  # the null, for a label
EVEN_ENTROPY, EVEN_TIMES = 0.95, 2.0  # of a uniform head: at least, and at most
LABELS = {"previous-token": "previous_token", "induction": "induction", "duplicate": "duplicate", "first-token": "first_token"}
UNIFORM = "uniform"


@dataclass
class Looks:
    """What was seen; heads of all layers in one row, layer by layer. Each [windows, heads], by_distance [windows, heads, length]."""

    by_distance: Doubles
    shuffled: Doubles  # [heads, length], mean over windows
    first: Doubles
    first_shuffled: Doubles
    entropy: Doubles
    entropy_shuffled: Doubles
    repeated: Doubles  # [windows, heads, 2]: mass at length/2 - 1 (induction) and length/2 (duplicate)
    unrepeated: Doubles


@dataclass
class Measure:
    """Of each head: mean and deviation over windows, those of the null, and p; null values where there is none of it."""

    value: Doubles
    sd: Doubles
    null: Doubles
    null_sd: Doubles | None = None
    p: Doubles | None = None
    p_family: Doubles | None = None
    shuffled: Doubles | None = None


@dataclass
class Heads:
    uniform: float  # mass of even attention at one distance
    measures: dict[str, Measure]
    by_distance: Doubles  # [heads, kept]
    by_distance_shuffled: Doubles
    labels: list[list[str]] = field(default_factory=list)


def looks_of(run: Runner, s: Sequences, progress: Callable[[], None]) -> Looks:
    """Runs the model on every sequence, one at a time. progress is called after each."""
    windows, length = s.corpus.shape
    heads, half = run.layers * run.heads, length // 2
    def zeros() -> Doubles:
        return np.zeros((windows, heads))

    out = Looks(np.zeros((windows, heads, length)), np.zeros((heads, length)), zeros(), zeros(), zeros(), zeros(),
                np.zeros((windows, heads, 2)), np.zeros((windows, heads, 2)))
    for k in range(windows):
        for kind in ("corpus", "shuffled", "repeated", "unrepeated"):
            for layer, attention in enumerate(run(getattr(s, kind)[k])):
                seen, at = look(attention), slice(layer * run.heads, (layer + 1) * run.heads)
                if kind == "corpus":
                    out.by_distance[k, at], out.first[k, at], out.entropy[k, at] = seen.by_distance, seen.first, seen.entropy
                elif kind == "shuffled":
                    out.shuffled[at] += seen.by_distance / windows
                    out.first_shuffled[k, at], out.entropy_shuffled[k, at] = seen.first, seen.entropy
                else:
                    getattr(out, kind)[k, at] = seen.by_distance[:, [half - 1, half]]
            progress()
    return out


def measured(looks: Looks, seed: int) -> Heads:
    windows, heads, length = looks.by_distance.shape
    uniform = uniform_mass(length)
    kept = min(KEPT, length // 2)
    even = np.full((windows, heads), uniform)
    previous = _compared(looks.by_distance[:, :, 1], _nearest_rival(looks.by_distance), seed)
    previous.shuffled = looks.shuffled[:, 1]
    first = _compared(looks.first, even, seed)
    first.shuffled, first.null_sd = looks.first_shuffled.mean(0), None
    measures = {
        "previous_token": previous,
        "first_token": first,
        "entropy": Measure(looks.entropy.mean(0), looks.entropy.std(0, ddof=1), np.ones(heads), shuffled=looks.entropy_shuffled.mean(0)),
        "induction": _compared(looks.repeated[:, :, 0], looks.unrepeated[:, :, 0], seed),
        "duplicate": _compared(looks.repeated[:, :, 1], looks.unrepeated[:, :, 1], seed),
    }
    out = Heads(uniform, measures, looks.by_distance.mean(0)[:, :kept], looks.shuffled[:, :kept])
    out.labels = [labels_of(out, head) for head in range(heads)]
    return out


def _nearest_rival(by_distance: Doubles) -> Doubles:
    """[windows, heads]: the mass at that distance other than 1 which comes nearest to the mass at 1."""
    apart = strength(by_distance[:, :, 1:2] - by_distance)  # [heads, length]
    apart[:, 1] = np.inf
    rival = apart.argmin(1)
    out: Doubles = np.take_along_axis(by_distance, rival[None, :, None], 2)[:, :, 0]
    return out


def _compared(values: Doubles, nulls: Doubles, seed: int) -> Measure:
    """Paired over windows; both [windows, heads]."""
    p, p_family = above_zero(values - nulls, seed)
    return Measure(values.mean(0), values.std(0, ddof=1), nulls.mean(0), nulls.std(0, ddof=1), p, p_family)


def labels_of(found: Heads, head: int) -> list[str]:
    """A difference that is no chance, and large: p_family below LEVEL, TIMES the null, LEAST of all attention."""
    out = []
    for label, name in LABELS.items():
        m = found.measures[name]
        assert m.p_family is not None
        if m.p_family[head] < LEVEL and m.value[head] >= max(TIMES * m.null[head], LEAST[name]):
            out.append(label)
    largest = max(found.by_distance[head].max(), found.measures["first_token"].value[head])
    if found.measures["entropy"].value[head] >= EVEN_ENTROPY and largest <= EVEN_TIMES * found.uniform:
        out.append(UNIFORM)
    return out
