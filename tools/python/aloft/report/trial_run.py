"""The page of a trial's folder: curves of every arm, and the table of arms beside the baseline."""

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ..errors import InputError
from ..trial import results
from .charts import losses
from .grids import bars
from .page import Cell, Figure, Finding, Page, Section, Table, words
from .text import EMPTY, grouped, listed, number

READING = (
    "Every arm is the same model trained in the same way from another init, at the best of the peak learning rates that were tried. A lower"
    " loss before training is no gain by itself; what counts is the loss at the end of a completed schedule, and how many steps reach the"
    " baseline's."
)
MOST_CURVES = 8
NOISE = 0.01  # nats: what one seed differs from another by, about (docs/recipes.md)


@dataclass
class Budget:
    """Of one arm: the runs of one length at its best peak rate, a seed each."""

    arm: str
    steps: int
    peak: float
    tried: int
    runs: list[results.Result]

    def _mean(self, name: str) -> float | None:
        found = [r[name] for r in self.runs if name in r]
        return mean(found) if len(found) == len(self.runs) else None

    @property
    def final(self) -> float:
        return mean(float(r["final"]) for r in self.runs)

    @property
    def initial(self) -> float:
        return mean(float(r["initial"]) for r in self.runs)

    @property
    def test(self) -> float | None:
        return self._mean("test")

    @property
    def spread(self) -> float | None:
        finals = [r["final"] for r in self.runs]
        return stdev(finals) if len(finals) > 1 and all(map(math.isfinite, finals)) else None

    @property
    def curve(self) -> list[tuple[float, float]]:
        return [(float(at[0][0]), mean(loss for _, loss in at)) for at in zip(*(r["history"] for r in self.runs))]

    @property
    def middle(self) -> float:
        return min(self.curve, key=lambda point: abs(point[0] - self.steps // 2))[1]

    def steps_to(self, target: float) -> float | None:
        """Where the mean curve first comes down to it, interpolated. Of a schedule that goes on: one that ends there may need fewer."""
        points = self.curve
        if points[0][1] <= target:
            return points[0][0]
        for (s, high), (t, low) in zip(points, points[1:]):
            if low <= target < high and math.isfinite(high):
                return s + (t - s) * (high - target) / (high - low)
        return None


def page_of(folder: Path) -> Page:
    """results.jsonl, and what summary.json adds where the trial is finished. InputError where one is damaged or has no runs."""
    found = results.read(folder / "results.jsonl")
    if not found:
        raise InputError(f"{folder / 'results.jsonl'}: no run has finished yet: go on with the trial, then report")
    more = _summary(folder / "summary.json")
    budgets = _budgets(found)
    steps = Counter(b.steps for b in budgets).most_common(1)[0][0]
    at = {b.arm: b for b in budgets if b.steps == steps and math.isfinite(b.final)}
    arms = sorted({b.arm for b in budgets})
    baseline = "random" if "random" in arms else arms[0]
    facts = [
        ("runs", f"{len(found)} of {len(arms)} arms, {grouped(steps)} steps for most"),
        *_model_facts(more),
    ]
    curves = Section("Loss while training", f"Runs of {grouped(steps)} steps, each arm at its own best peak rate; mean over its seeds.")
    if at:
        curves.figures = [_curves(at, baseline, more), _needed(at, baseline, steps)] if baseline in at else [_curves(at, baseline, more)]
    return Page(
        "Trial of inits",
        f"folder {folder.resolve().name}",
        facts,
        READING,
        _findings(budgets, at, baseline, steps, more),
        [curves, _table(budgets, baseline, more), _swept(found, steps)],
    )


def _summary(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf8"))
        if not isinstance(data, dict) or not isinstance(data.get("arms", {}), dict) or not isinstance(data.get("targets", []), list):
            raise ValueError("not what a trial writes")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged: {error}: the trial's command writes it again") from None
    return data


def _budgets(found: dict[results.Key, results.Result]) -> list[Budget]:
    """By arm and length. The peak is the best at seed 0, or at any seed where that is missing."""
    out = []
    for arm, steps in sorted({(a, s) for a, _, s, _ in found}):
        finals = [(r["final"], k, p) for (a, p, s, k), r in found.items() if (a, s) == (arm, steps)]
        peak = min(finals, key=lambda f: (f[1] != min(k for _, k, _ in finals), f[0]))[2]
        out.append(
            Budget(
                arm,
                steps,
                peak,
                len({p for _, _, p in finals}),
                [r for (a, p, s, _), r in found.items() if (a, p, s) == (arm, peak, steps)],
            )
        )
    return out


def _model_facts(more: dict[str, Any]) -> list[tuple[str, str]]:
    out = [
        (name, ", ".join(f"{k} {v}" for k, v in more[name].items() if isinstance(v, (str, int, float))))
        for name in ("model", "training")
        if isinstance(more.get(name), dict)
    ]
    if _level(more, "unigram_loss") is not None:
        out.append(
            ("same text", f"unigram {number(_level(more, 'unigram_loss'))}, smoothed bigram {number(_level(more, 'bigram_loss'))} nats")
        )
    return out


def _level(more: dict[str, Any], name: str) -> float | None:
    x = more.get(name)
    return float(x) if isinstance(x, (int, float)) else None


def early_only(b: Budget, base: Budget) -> bool:
    """A lead before training that half of training has used up."""
    return b.initial < base.initial - 0.05 and b.middle > base.middle - 0.005


def _findings(budgets: list[Budget], at: dict[str, Budget], baseline: str, steps: int, more: dict[str, Any]) -> list[Finding]:
    out, base = [], at.get(baseline)
    seeds = Counter(len(b.runs) for b in at.values()).most_common(1)[0][0] if at else 0
    if base:
        others = sorted((b for b in at.values() if b.arm != baseline), key=lambda b: b.final)
        if others:
            best, lead = others[0], base.final - others[0].final
            needed = best.steps_to(base.final)
            seed = "one seed" if len(best.runs) == 1 else f"{len(best.runs)} seeds"
            out.append(
                Finding(
                    "effect" if lead > NOISE else "no effect",
                    f"{best.arm} ({seed}) ends lowest, at {number(best.final)} nats after {grouped(steps)} steps; {baseline} at"
                    f" {number(base.final)}"
                    + (
                        f", {number(lead)} above. It passes {baseline}'s final loss at step {number(needed, 0)} of its schedule."
                        if lead > 0 and needed is not None
                        else "."
                    ),
                )
            )
            ahead, behind = [b for b in others if base.final - b.final > NOISE], [b for b in others if b.final - base.final > NOISE]
            out.append(
                Finding(
                    "described",
                    f"Of {len(others)} arms {len(ahead)} end more than {NOISE:g} nats (about what seeds differ by) below {baseline},"
                    f" {len(behind)} more than that above it"
                    + (f" ({listed([b.arm for b in behind])})" if 0 < len(behind) <= 5 else "")
                    + ".",
                )
            )
            early = [b.arm for b in others if early_only(b, base)]
            if early:
                out.append(Finding("no effect", f"Ahead before training only, and no more half-way: {listed(early)}."))
    for target in more.get("targets", []):
        if (
            isinstance(target, dict)
            and {"arm", "steps", "loss", "baseline", "budget", "baseline_loss", "met"} <= target.keys()
            and None not in target.values()
        ):
            out.append(
                Finding(
                    "effect" if target["met"] else "no effect",
                    f"{target['arm']} with {grouped(target['steps'])} steps, its schedule completed, ends at {number(target['loss'])};"
                    f" {target['baseline']} with {grouped(target['budget'])} at {number(target['baseline_loss'])}:"
                    f" {'reached' if target['met'] else 'not reached'}.",
                )
            )
    lost = sorted({b.arm for b in budgets if not math.isfinite(b.final)})
    if lost:
        out.append(Finding("described", f"No finite loss at any rate tried: {listed(lost)}."))
    out.append(
        Finding(
            "described",
            f"{'One seed' if seeds == 1 else f'{seeds} seeds'} for most arms:"
            f" {'differences of a hundredth of a nat mean nothing' if seeds < 3 else 'enough to look; five are needed to claim'}.",
        )
    )
    return out


def _curves(at: dict[str, Budget], baseline: str, more: dict[str, Any]) -> Figure:
    order = sorted(at.values(), key=lambda b: b.final)
    shown = order[:MOST_CURVES]
    if baseline in at and at[baseline] not in shown:
        shown = [*shown[:-1], at[baseline]]
    low, high = min(b.final for b in shown), max(b.middle for b in shown if math.isfinite(b.middle))
    unigram, bigram = _level(more, "unigram_loss"), _level(more, "bigram_loss")
    top = max(high, unigram or 0, low + 0.5) + 0.1
    levels = {name: y for name, y in (("smoothed bigram table", bigram), ("unigram", unigram)) if y is not None}
    left = f" The {len(shown)} lowest of {len(at)} arms." if len(shown) < len(at) else ""
    return Figure(
        "Validation loss against steps",
        losses({b.arm: b.curve for b in shown}, "Validation loss against steps by arm", levels, (low - 0.1, top)),
        f"Arms in the order of their final loss, blue lowest. A gain that lasts is a gap at the right end.{left}",
    )


def _needed(at: dict[str, Budget], baseline: str, steps: int) -> Figure:
    target = at[baseline].final
    others = sorted(
        (b for b in at.values() if b.arm != baseline), key=lambda b: (b.steps_to(target) is None, b.steps_to(target) or 0, b.final)
    )[:30]
    needed = [b.steps_to(target) for b in others]
    notes = [f"never: {number(b.final)}" if x is None else f"{x:.0f}" for b, x in zip(others, needed)]
    return Figure(
        f"Steps to {baseline}'s final loss ({number(target)})",
        bars([b.arm for b in others], needed, f"Steps to {baseline}'s final loss by arm", "steps", float(steps), notes),
        f"Read off each arm's own {grouped(steps)}-step schedule: one that ends there may need fewer. The line is {baseline}'s own.",
    )


def _table(budgets: list[Budget], baseline: str, more: dict[str, Any]) -> Section:
    rows = []
    with_test, about = any(b.test is not None for b in budgets), {
        name: str(arm.get("about", "")) for name, arm in more.get("arms", {}).items() if isinstance(arm, dict)
    }
    for b in sorted(budgets, key=lambda b: (b.steps, b.final)):
        base = next((x for x in budgets if x.arm == baseline and x.steps == b.steps), None)
        gain = (
            ""
            if base is None or b.arm == baseline
            else f"{b.final - base.final:+.3f}".replace("-", "−") if math.isfinite(b.final - base.final) else EMPTY
        )
        early = " (early only)" if base is not None and b.arm != baseline and early_only(b, base) else ""
        spread = f" ± {number(b.spread)}" if b.spread is not None else ""
        rows.append(
            [
                words(b.arm),
                Cell(grouped(b.steps)),
                Cell(f"{b.peak:g} (of {b.tried})"),
                Cell(str(len(b.runs))),
                Cell(number(b.initial)),
                Cell(number(b.middle)),
                Cell(number(b.final) + spread),
                Cell(gain + early),
                *([Cell(number(b.test))] if with_test else []),
                *([words(about.get(b.arm, ""))] if about else []),
            ]
        )
    columns = [
        "arm",
        "steps",
        "peak rate",
        "seeds",
        "before training",
        "half-way",
        "final",
        f"against {baseline}",
        *(["test"] if with_test else []),
        *(["what it is"] if about else []),
    ]
    return Section(
        "Every arm",
        "Validation loss in nats; lower is better.",
        tables=[
            Table(
                "Arms, by steps and final loss",
                columns,
                rows,
                (),
                "Early only: ahead before training by more than 0.05, and half-way no more."
                + (" Test: later text that no choice has seen." if with_test else ""),
            )
        ],
    )


def _swept(found: dict[results.Key, results.Result], steps: int) -> Section:
    peaks = sorted({p for _, p, s, k in found if s == steps and k == 0})
    rows = []
    for arm in sorted({a for a, _, s, _ in found if s == steps}):
        row = [found.get((arm, p, steps, 0)) for p in peaks]
        finals = [r["final"] for r in row if r]
        if finals:
            rows.append(
                [
                    words(arm),
                    *(
                        Cell(
                            number(r["final"]) if r else "",
                            "effect" if r and r["final"] == min(finals) and math.isfinite(r["final"]) else "",
                        )
                        for r in row
                    ),
                ]
            )
    return Section(
        "Peak learning rates",
        tables=(
            [
                Table(
                    f"Final loss by peak rate, {grouped(steps)} steps, first seed",
                    ["arm", *(f"{p:g}" for p in peaks)],
                    rows,
                    (),
                    "Bold: an arm's best. One at an edge might do better beyond it.",
                )
            ]
            if rows and peaks
            else []
        ),
    )
