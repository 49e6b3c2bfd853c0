"""Which jobs a trial needs, in the order that makes an interrupted one most useful.

1. `sweep`: every arm at every peak learning rate, one seed.
2. `seeds`: further seeds of every arm named there, at the arm's own best rate.
3. `budgets`: longer or shorter schedules, each completed: steps to reach the tuned baseline's final loss are shown by
   a run whose schedule ends there, never read off the middle of a longer one.
"""

import math
from collections.abc import Collection, Mapping

from ..errors import InputError, UsageError
from .jobs import Job
from .results import Key, Result
from .spec import Spec


def best_peak(results: Mapping[Key, Result], arm: str, steps: int, seed: int = 0) -> float | None:
    """The peak of lowest final loss among the finished runs of this arm and budget at `seed`; None if there are none. A run that
    diverged is the last choice."""
    runs = [(r["final"] if math.isfinite(r["final"]) else math.inf, peak)
            for (a, peak, s, k), r in results.items() if a == arm and s == steps and k == seed]
    return min(runs)[1] if runs else None


def jobs_of(spec: Spec, results: Mapping[Key, Result]) -> list[Job]:
    """The jobs that can be named now, each once; call again when they are done, later phases need earlier results."""
    return list(dict.fromkeys(_jobs_of(spec, results)))


def _best(results: Mapping[Key, Result], arm: str, steps: int) -> float:
    """The same where an earlier phase has left results."""
    peak = best_peak(results, arm, steps)
    if peak is None:
        raise InputError(f"trial: {arm} has no finished run of {steps} steps at seed 0")
    return peak


def restricted(spec: Spec, arms: Collection[str]) -> Spec:
    """The same trial with the jobs of these arms alone (all, where there are none): later phases then wait for no other arm."""
    unknown = [arm for arm in arms if arm not in spec["arms"]]
    if unknown:
        raise UsageError(f"trial: --arms: {unknown[0]} is none of {', '.join(spec['arms'])}")
    if not arms:
        return spec
    plan = spec["plan"]
    swept: list[str] = plan["sweep"].get("arms", list(spec["arms"]))
    apart = [arm for arm in arms if arm not in swept]
    if apart:
        raise UsageError(f"trial: --arms: the plan has no runs of {apart[0]}: give some of {', '.join(swept)}")

    def some(phase: Spec) -> Spec:
        of: list[str] = phase.get("arms", list(spec["arms"]))
        return phase | {"arms": [arm for arm in of if arm in arms]}

    return spec | {"plan": plan | {"sweep": some(plan["sweep"]), "seeds": some(plan["seeds"]) if plan.get("seeds") else {},
                                   "budgets": [some(budget) for budget in plan.get("budgets", [])]}}


def rate(peak: float) -> float:
    """A peak learning rate as its job's name has it, so that 0.9 * 0.004 and 0.0036 are one."""
    return float(f"{float(peak):g}")


def _jobs_of(spec: Spec, results: Mapping[Key, Result]) -> list[Job]:
    plan, base = spec["plan"], spec["plan"]["sweep"]["steps"]
    out: list[Job] = []
    arms = plan["sweep"].get("arms", list(spec["arms"]))
    for phase in [plan["sweep"] | {"arms": arms}, plan.get("seeds", {}), *plan.get("budgets", [])]:
        for arm in phase.get("arms", []):
            if arm not in spec["arms"] or arm not in arms:
                raise InputError(f"trial: the plan names {arm}, which is not an arm of the sweep")
    for peak in plan["sweep"]["peaks"]:  # every arm at one rate before any at the next
        out += [Job(arm, rate(peak), base, 0) for arm in arms]
    if any((j.arm, j.peak, j.steps, j.seed) not in results for j in out):
        return out
    for arm in plan.get("seeds", {}).get("arms", []):
        for seed in range(1, plan["seeds"]["count"]):
            out.append(Job(arm, _best(results, arm, base), base, seed))
    for budget in plan.get("budgets", []):
        for arm in budget["arms"]:
            best = _best(results, arm, base)
            peaks = {rate(best * factor) for factor in budget.get("peak_factors", [1.0])}
            out += [Job(arm, peak, budget["steps"], 0) for peak in sorted(peaks)]
    if any((j.arm, j.peak, j.steps, j.seed) not in results for j in out):
        return out
    for budget in plan.get("budgets", []):
        for arm in budget["arms"]:
            for seed in range(1, budget.get("seeds", 1)):
                out.append(Job(arm, _best(results, arm, budget["steps"]), budget["steps"], seed))
    return out
