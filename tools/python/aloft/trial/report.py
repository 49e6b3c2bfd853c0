"""From a trial's results to a table (Markdown, JSON) and plots."""

import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from statistics import mean, stdev
from typing import Any

from . import corpus
from .jobs import Trial
from .results import finite_or_null
from .schedule import best_peak

Data = dict[str, Any]  # what summary() makes, and summary.json holds
Histories = Sequence[Sequence[Sequence[float]]]  # of each seed: [[step, loss], ...]


def summary(trial: Trial) -> Data:
    """Everything the table and the plots show, as plain data."""
    results, spec, base = trial.done(), trial.spec, trial.spec["plan"]["sweep"]["steps"]
    train, held = corpus.load(trial.train_path), trial.windows().numpy()
    out: Data = {"model": spec["model"], "training": spec["training"], "base_steps": base,
                 "unigram_loss": corpus.unigram_loss(train, held, trial.shape.vocab),
                 "bigram_loss": corpus.bigram_loss(train, held, trial.shape.vocab), "arms": {}}
    for arm in spec["arms"]:
        budgets = {}
        for steps in sorted({s for (a, _, s, _) in results if a == arm}):
            peak = best_peak(results, arm, steps)
            if peak is None:
                continue
            runs = [r for (a, p, s, _), r in results.items() if (a, p, s) == (arm, peak, steps)]
            finals = [r["final"] for r in runs]
            steps_after = [r["fragility"] for r in runs if "fragility" in r]
            tests = [r["test"] for r in runs if "test" in r]
            sweep = {f"{p:g}": r["final"] for (a, p, s, k), r in sorted(results.items()) if (a, s, k) == (arm, steps, 0)}
            budgets[steps] = {"peak": peak, "seeds": len(runs), "initial": mean(r["initial"] for r in runs),
                              "final": mean(finals), "spread": stdev(finals) if len(finals) > 1 and all(map(math.isfinite, finals)) else None,
                              "test": mean(tests) if len(tests) == len(runs) else None,
                              "other": mean(r["other"] for r in runs) if all("other" in r for r in runs) else None,
                              "fragility": {k: mean(f[k] for f in steps_after) for k in steps_after[0]} if steps_after else None,
                              "middle": mean(_at(r["history"], steps // 2) for r in runs), "sweep": sweep,
                              "histories": [r["history"] for r in runs]}
        if budgets:
            out["arms"][arm] = {"about": spec["arms"][arm].get("about", ""), "budgets": budgets}
    out["targets"] = targets(out, spec["plan"].get("targets", []))
    return out


def _at(history: Sequence[Sequence[float]], step: int) -> float:
    return min(history, key=lambda entry: abs(entry[0] - step))[1]


def targets(data: Data, wanted: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each wanted: {baseline, budget, arm, fraction}: did a completed run of `arm` at fraction × budget end at or below the
    baseline's final loss at the whole budget?"""
    out = []
    for w in wanted:
        steps = round(w["budget"] * w["fraction"])
        baseline = data["arms"].get(w["baseline"], {}).get("budgets", {}).get(w["budget"])
        arm = data["arms"].get(w["arm"], {}).get("budgets", {}).get(steps)
        if baseline and arm:
            out.append(w | {"steps": steps, "baseline_loss": baseline["final"], "loss": arm["final"],
                            "met": arm["final"] <= baseline["final"],
                            "baseline_test": baseline["test"], "test": arm["test"]})
    return out


def early_only(arm: str, other: str, data: Data, steps: int) -> bool:
    """A lead over `other` before training that half of training has used up."""
    a, b = data["arms"][arm]["budgets"].get(steps), data["arms"].get(other, {}).get("budgets", {}).get(steps)
    return bool(a and b and a["initial"] < b["initial"] - 0.05 and a["middle"] > b["middle"] - 0.005)


def _optional_columns(data: Data) -> list[tuple[str, Callable[[Data], str]]]:
    """Columns of figures that older results, or other specs, lack: the title, and a budget's cell."""
    def cell(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    def after(b: Data) -> str:
        return ", ".join(f"{loss:.2f}" for loss in (b.get("fragility") or {}).values())

    budgets = [b for e in data["arms"].values() for b in e["budgets"].values()]
    columns: list[tuple[str, Callable[[Data], str]]] = [
        ("test", lambda b: cell(b["test"])), ("other text", lambda b: cell(b.get("other"))), ("after a sign step of 1e-4, 1e-3", after)]
    return [(title, of) for title, of in columns if any(of(b) for b in budgets)]


def markdown(data: Data, baseline: str = "random") -> str:
    more = _optional_columns(data)
    rows = ["| arm | steps | peak LR (of) | seeds | before training | half-way | final | against "
            f"{baseline} | {''.join(title + ' | ' for title, _ in more)}what it is |", "|---" * (9 + len(more)) + "|"]
    for arm, entry in data["arms"].items():
        for steps, b in entry["budgets"].items():
            base = data["arms"].get(baseline, {}).get("budgets", {}).get(steps)
            gain = f"{b['final'] - base['final']:+.3f}" if base else ""
            if base and arm != baseline and early_only(arm, baseline, data, steps):
                gain += " (early only)"
            spread = f" ± {b['spread']:.3f}" if b["spread"] is not None else ""
            swept = f" ({len(b['sweep'])})"
            cells = "".join(f"{of(b)} | " for _, of in more)
            rows.append(f"| {arm} | {steps} | {b['peak']:g}{swept} | {b['seeds']} | {b['initial']:.3f} | {b['middle']:.3f} | "
                        f"{b['final']:.3f}{spread} | {gain} | {cells}{entry['about']} |")
    lines = [f"On the same tokens: unigram {data['unigram_loss']:.3f}, smoothed bigram {data['bigram_loss']:.3f} nats.", "", *rows]
    for t in data["targets"]:
        lines += ["", f"{t['arm']} with {t['steps']} steps ends at {t['loss']:.3f}; {t['baseline']} with {t['budget']} at "
                  f"{t['baseline_loss']:.3f}: {'reached' if t['met'] else '**not reached**'}"
                  + (f" (test {t['test']:.3f} and {t['baseline_test']:.3f})." if None not in (t["test"], t["baseline_test"]) else ".")]
    return "\n".join(lines) + "\n"


def steps_to(histories: Histories, target: float) -> float | None:
    """The step at which the mean curve first comes down to `target`, interpolated; None if it never does. Read off a schedule
    that goes on, so a shorter one that is completed may need fewer."""
    curve = [(entries[0][0], mean(loss for _, loss in entries)) for entries in zip(*histories)]
    for (s, high), (t, low) in zip(curve, curve[1:]):
        if low <= target < high:
            return float(s + (t - s) * (high - target) / (high - low))
    return curve[0][0] if curve and curve[0][1] <= target else None


def plots(data: Data, path: str | os.PathLike[str], baseline: str = "random", arms: Sequence[str] | None = None,
          steps: int | None = None) -> None:
    """Loss against steps with the seeds' spread for `arms` (default: all), and for every arm the steps to the baseline's final
    loss; one PNG. Runs that diverged are left out; where no others are, there is no plot."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    steps = steps or data["base_steps"]
    runs = {a: e["budgets"][steps] for a, e in data["arms"].items() if steps in e["budgets"] and math.isfinite(e["budgets"][steps]["final"])}
    if not runs:
        return
    height = max(5, 0.2 * len(runs) + 1)
    figure, (curves, bars) = pyplot.subplots(1, 2, figsize=(13, height), gridspec_kw={"width_ratios": [3, 2]})
    for arm in [a for a in (arms or runs) if a in runs]:
        histories = runs[arm]["histories"]
        x = [s for s, _ in histories[0]]
        losses = [[h[i][1] for h in histories] for i in range(len(x))]
        line, = curves.plot(x, [mean(v) for v in losses], label=arm, linewidth=1.4)
        if len(histories) > 1:
            curves.fill_between(x, [min(v) for v in losses], [max(v) for v in losses], alpha=0.2, color=line.get_color())
    curves.axhline(data["bigram_loss"], color="gray", linestyle=":", linewidth=1, label="smoothed bigram table")
    shown = [runs[a] for a in {*(arms or runs), baseline} if a in runs]
    highest = max(data["unigram_loss"], *(r["middle"] for r in shown if math.isfinite(r["middle"])))  # of a short run that is far above
    lowest = min(min(h[-1][1] for h in r["histories"]) for r in runs.values())
    curves.set(xlabel="steps", ylabel="validation loss (nats)", ylim=(lowest - 0.1, highest + 0.1),
               title=f"{steps} steps, each arm at its own best peak rate")
    curves.legend(fontsize=8)

    if baseline in runs:
        target = runs[baseline]["final"]
        needed = {a: steps_to(r["histories"], target) for a, r in runs.items() if a != baseline}
        order = sorted(needed, key=lambda a: (needed[a] is not None, -(needed[a] or 0), a))
        never = steps * 1.04
        for i, arm in enumerate(order):
            steps_needed = needed[arm]
            reached = steps_needed is not None
            bars.barh(arm, steps_needed if steps_needed is not None else never, color="steelblue" if reached else "lightgray")
            label = f"never: {runs[arm]['final']:.3f}" if steps_needed is None else f"{steps_needed:.0f}" if steps_needed else "0: before any step"
            bars.text(steps * 0.015, i, label, va="center", fontsize=7, color="white" if reached and steps_needed else "black")
        bars.axvline(steps, color="gray", linewidth=1)
        bars.set(xlabel=f"steps to {baseline}'s final loss ({target:.3f})", title=f"within the arm's own {steps}-step schedule")
        bars.tick_params(axis="y", labelsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def write(trial: Trial) -> Data:
    """summary.json, table.md and plot.png in the trial's folder."""
    data = summary(trial)
    (trial.folder / "summary.json").write_text(json.dumps(finite_or_null(data), indent=1))
    (trial.folder / "table.md").write_text(markdown(data, trial.spec["plan"].get("baseline", "random")))
    if data["arms"]:
        try:
            plan = trial.spec["plan"]
            plots(data, trial.folder / "plot.png", plan.get("baseline", "random"), plan.get("plot"))
        except ImportError:
            print("no matplotlib: no plot")
    return data
