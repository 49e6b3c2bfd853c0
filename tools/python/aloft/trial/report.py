"""From a trial's results to a table (Markdown, JSON) and plots."""

import json
from statistics import mean, stdev

from . import corpus
from .schedule import best_peak


def summary(trial):
    """Everything the table and the plots show, as plain data."""
    results, spec, base = trial.done(), trial.spec, trial.spec["plan"]["sweep"]["steps"]
    train, held = corpus.load(trial.train_path), trial.windows().numpy()
    out = {"model": spec["model"], "training": spec["training"], "base_steps": base,
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
            sweep = {f"{p:g}": r["final"] for (a, p, s, k), r in sorted(results.items()) if (a, s, k) == (arm, steps, 0)}
            budgets[steps] = {"peak": peak, "seeds": len(runs), "initial": mean(r["initial"] for r in runs),
                              "final": mean(finals), "spread": stdev(finals) if len(finals) > 1 else None,
                              "middle": mean(_at(r["history"], steps // 2) for r in runs), "sweep": sweep,
                              "histories": [r["history"] for r in runs]}
        if budgets:
            out["arms"][arm] = {"about": spec["arms"][arm].get("about", ""), "budgets": budgets}
    out["targets"] = targets(out, spec["plan"].get("targets", []))
    return out


def _at(history, step):
    return min(history, key=lambda entry: abs(entry[0] - step))[1]


def targets(data, wanted):
    """Each wanted: {baseline, budget, arm, fraction}: did a completed run of `arm` at fraction × budget end at or below the
    baseline's final loss at the whole budget?"""
    out = []
    for w in wanted:
        steps = round(w["budget"] * w["fraction"])
        baseline = data["arms"].get(w["baseline"], {}).get("budgets", {}).get(w["budget"])
        arm = data["arms"].get(w["arm"], {}).get("budgets", {}).get(steps)
        if baseline and arm:
            out.append(w | {"steps": steps, "baseline_loss": baseline["final"], "loss": arm["final"],
                            "met": arm["final"] <= baseline["final"]})
    return out


def early_only(arm, other, data, steps):
    """A lead over `other` before training that half of training has used up."""
    a, b = data["arms"][arm]["budgets"].get(steps), data["arms"].get(other, {}).get("budgets", {}).get(steps)
    return bool(a and b and a["initial"] < b["initial"] - 0.05 and a["middle"] > b["middle"] - 0.005)


def markdown(data, baseline="random"):
    rows = ["| arm | steps | peak LR | seeds | before training | half-way | final | against "
            f"{baseline} | what it is |", "|---|---|---|---|---|---|---|---|---|"]
    for arm, entry in data["arms"].items():
        for steps, b in entry["budgets"].items():
            base = data["arms"].get(baseline, {}).get("budgets", {}).get(steps)
            gain = f"{b['final'] - base['final']:+.3f}" if base else ""
            if base and arm != baseline and early_only(arm, baseline, data, steps):
                gain += " (early only)"
            spread = f" ± {b['spread']:.3f}" if b["spread"] is not None else ""
            rows.append(f"| {arm} | {steps} | {b['peak']:g} | {b['seeds']} | {b['initial']:.3f} | {b['middle']:.3f} | "
                        f"{b['final']:.3f}{spread} | {gain} | {entry['about']} |")
    lines = [f"On the same tokens: unigram {data['unigram_loss']:.3f}, smoothed bigram {data['bigram_loss']:.3f} nats.", "", *rows]
    for t in data["targets"]:
        lines += ["", f"{t['arm']} with {t['steps']} steps ends at {t['loss']:.3f}; {t['baseline']} with {t['budget']} at "
                  f"{t['baseline_loss']:.3f}: {'reached' if t['met'] else '**not reached**'}."]
    return "\n".join(lines) + "\n"


def plots(data, path, arms=None, steps=None):
    """Loss against steps with the seeds' spread, and the final losses as bars; one PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    steps = steps or data["base_steps"]
    shown = [a for a in (arms or data["arms"]) if steps in data["arms"].get(a, {}).get("budgets", {})]
    figure, (curves, bars) = pyplot.subplots(1, 2, figsize=(13, 5), gridspec_kw={"width_ratios": [3, 2]})
    for arm in shown:
        histories = data["arms"][arm]["budgets"][steps]["histories"]
        x = [s for s, _ in histories[0]]
        losses = [[h[i][1] for h in histories] for i in range(len(x))]
        line, = curves.plot(x, [mean(v) for v in losses], label=arm, linewidth=1.4)
        if len(histories) > 1:
            curves.fill_between(x, [min(v) for v in losses], [max(v) for v in losses], alpha=0.2, color=line.get_color())
    curves.axhline(data["bigram_loss"], color="gray", linestyle=":", linewidth=1, label="smoothed bigram table")
    curves.set(xlabel="steps", ylabel="validation loss (nats)", title=f"{steps} steps, each arm at its own best peak rate")
    curves.legend(fontsize=7)
    order = sorted(shown, key=lambda a: -data["arms"][a]["budgets"][steps]["final"])
    finals = [data["arms"][a]["budgets"][steps]["final"] for a in order]
    spreads = [data["arms"][a]["budgets"][steps]["spread"] or 0 for a in order]
    bars.barh(order, finals, xerr=spreads, color="steelblue")
    bars.set(xlabel="final validation loss (nats)", xlim=(min(finals) - 0.05, max(finals) + 0.05))
    bars.tick_params(axis="y", labelsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def write(trial):
    """summary.json, table.md and plot.png in the trial's folder."""
    data = summary(trial)
    (trial.folder / "summary.json").write_text(json.dumps(data, indent=1))
    (trial.folder / "table.md").write_text(markdown(data, trial.spec["plan"].get("baseline", "random")))
    if data["arms"]:
        try:
            plots(data, trial.folder / "plot.png")
        except ImportError:
            print("no matplotlib: no plot")
    return data
