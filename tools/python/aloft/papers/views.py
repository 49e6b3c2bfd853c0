"""The second paper's question, whether Q, K and V are views of the corpus: correlations, bands, and its tables of tests and invariants."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..report.analysis.qkv import VIEWS
from ..report.analysis.read import Analysis, Row, is_effect, mean
from ..report.page import Cell, Table, words
from ..report.papers import figures, printed
from ..report.text import number, p_value, ranges
from .measured import HOLDS, NOT, NULL, PART, Both, Over, Part, over, waiting
from .second_paper import weights

BASIS = "cooccurrence"  # the paper's, shared by all matrices
IN_PAPER = ("K2", "K2T", "K3_composed", "K3", "EtE", "I")
TESTS = (
    ("Q", "K2"),
    ("Q", "K2T"),
    ("Q", "K3_composed"),
    ("K", "K2T"),
    ("V", "K3_composed"),
    ("V", "K3"),
    ("Q", "attention_K2"),
    ("K", "attention_K2T"),
)
SMALL_NORMAL = 0.798  # mean of |x| of a standard normal, √(2/π)


def _figures(x: Over, before: Over | None) -> list[Cell]:
    """Mean of the trained and of the untrained model; bold where a layer is an effect."""
    return [
        Cell(number(x.mean, 4), "effect" if x.effects else ""),
        Cell(number(before.mean, 4) if before else "", "effect" if before and before.effects else ""),
    ]


def _judged(x: Over, a: Analysis) -> list[Cell]:
    """The smallest p of all layers, each for all layers together; how many are effects."""
    known = [r["p_family"] for r in x.rows if r["p_family"] is not None]
    return [Cell(p_value(min(known), a.smallest_p) if known else ""), Cell(f"{x.effects} of {len(x.rows)}")]


def _strongest(rows: Sequence[Row]) -> Row:
    return max(rows, key=lambda r: abs(float(r["value"])))


def correlations(both: Both) -> Part:
    title, a, paper = "Paper 2: correlations with the corpus", both.trained, figures()["second"]["correlations_mean"]
    rows: list[list[Cell]] = []
    found: dict[bool, list[Row]] = {False: [], True: []}  # of circuits or not
    for subject in ("Q", "K", "V", "QK", "OV"):
        for view in IN_PAPER:
            x, before = (over(of, "correlations", subject=subject, against=view, basis=BASIS) for of in (a, both.untrained))
            if a is None or x is None:
                continue
            found[len(subject) > 1] += x.rows
            theirs = paper.get(subject, {}).get(view)
            ours, untrained = _figures(x, before)
            rows.append(
                [
                    words(subject),
                    words(VIEWS[view]),
                    printed(theirs),
                    ours,
                    Cell(number(max(x.values, key=abs), 4)),
                    untrained,
                    Cell(f"± {number(mean([r['null_sd'] for r in x.rows]), 4)}", "null"),
                    *_judged(x, a),
                ]
            )
    if not found[False]:
        return waiting(title, "analysis")
    table = Table(
        "Correlations, mean over layers",
        ["matrix", "with", "paper", "ours, trained", "strongest layer", "ours, untrained", "null", "p", "effects"],
        rows,
        (),
        "In the eigenbasis of co-occurrence. Null: how far permuted coordinates scatter in a layer (their mean is 0; the paper's noise "
        "floor, 1/d = 0.004). p: the smallest of the layers', for all layers together. Bold: an effect in a layer. The paper has no QK and OV.",
    )
    effects, circuits = (sum(map(is_effect, found[which])) for which in (False, True))
    says = (
        f"Of Q, K and V {effects} of {len(found[False])} correlations are effects; {_named(_strongest(found[False]))}, "
        "in the paper 0.012 at most."
    )
    if found[True]:
        says += (
            f" A turn of a head's coordinates, which the model cannot see, changes these; it does not change QK and OV, "
            f"where {circuits} of "
            f"{len(found[True])} are effects; {_named(_strongest(found[True]))}: "
            f"{'attention does know the corpus' if circuits else 'these know nothing of the corpus either'}."
        )
    return Part(title, says, HOLDS if not effects + circuits else NOT if 10 * effects > len(found[False]) else PART, [table])


def _named(r: Row) -> str:
    where = f"{r['subject']} of layer {r['layer']} with {VIEWS[r['against']]}"
    return f"the strongest is {number(r['value'])} ({where}; null ± {number(r['null_sd'], 4)})"


def bands(both: Both) -> Part:
    title, a, paper = "Paper 2: energy in bands of K₂", both.trained, figures()["second"]["bands"]
    rows: list[list[Cell]] = []
    found: list[Row] = []
    for i, (low, high) in enumerate(sorted({(r["from"], r["to"]) for r in a.rows("bands")}) if a else []):
        for subject in ("Q", "K", "V"):
            x, before = (over(of, "bands", subject=subject, **{"from": low, "to": high}) for of in (a, both.untrained))
            if a is None or x is None:
                continue
            found += x.rows
            ours, untrained = [Cell(number(of.mean) if of else "", "effect" if of and of.effects else "") for of in (x, before)]
            rows.append(
                [
                    words(f"{low:g}–{high:g}"),
                    words(subject),
                    Cell(number(x.rows[0]["uniform"]), "null"),
                    Cell(number(paper[subject][i]) if i < len(paper[subject]) else "", "paper"),
                    ours,
                    untrained,
                    Cell(number(x.null), "null"),
                    *_judged(x, a),
                ]
            )
    if not found:
        return waiting(title, "analysis")
    table = Table(
        "Energy of Q, K, V in bands of K₂'s eigenvectors, mean over layers",
        ["band", "matrix", "uniform", "paper", "ours, trained", "ours, untrained", "null", "p", "effects"],
        rows,
        (),
        "Null: permuted coordinates. p: the smallest of the layers, for all layers together. Bold: an effect in a layer. Paper: of 256 "
        "eigenvectors.",
    )
    effects, far = sum(map(is_effect, found)), max(found, key=lambda r: abs(r["value"] / r["uniform"] - 1))
    says = (
        f"{effects} of {len(found)} shares are effects; the furthest from uniform is {number(far['value'])} "
        f"instead of {number(far['uniform'])} "
        f"({far['subject']} of layer {far['layer']}, band {far['from']:g}–{far['to']:g}). "
        + (
            "Trained matrices do prefer some of the corpus' directions; the paper finds all bands uniform."
            if effects
            else "As in the paper, Q, K and V prefer no band of the corpus' directions."
        )
    )
    return Part(title, says, HOLDS if not effects else NOT if 4 * effects > len(found) else PART, [table])


def tests(both: Both) -> Part:
    title, a, paper = "Paper 2: the table of tests", both.trained, figures()["second"]["correlations_mean_absolute"]
    strongest = figures()["second"]["correlations_largest"]
    asked = [
        (
            f"{subject} with {VIEWS[view]}",
            paper[subject].get(view),
            strongest[subject].get(view),
            [over(of, "correlations", subject=subject, against=view, basis=BASIS) for of in (a, both.untrained)],
        )
        for subject, view in TESTS
    ]
    asked += [(f"SFT_{s} with V1_{s}", paper["drift"][s], 0.01, [over(a, "drift", subject=s, measure="correlation"), None]) for s in ("Q", "V")]
    rows, significant, ratios = [], [], []
    for name, theirs, bound, (x, before) in asked:
        if x is None or a is None:
            continue
        value, scatter = sum(map(abs, x.values)) / len(x.values), mean([r["null_sd"] for r in x.rows])
        null = None if scatter is None else SMALL_NORMAL * scatter
        ratios += [value / null] if null else []
        significant += [name] if x.effects else []
        rows.append(
            [
                words(name),
                Cell(number(theirs, 4), "paper"),
                words("no"),
                Cell(number(value, 4), "effect" if x.effects else ""),
                Cell(number(mean([abs(v) for v in before.values]), 4) if before else ""),
                Cell(number(null, 4), "null"),
                Cell("" if bound is None else f"< {number(bound)}", "paper"),
                Cell(number(max(map(abs, x.values)), 4)),
                _judged(x, a)[0],
                words("yes" if x.effects else "no"),
            ]
        )
    if not rows:
        return waiting(title, "analysis")
    table = Table(
        "Mean |r| over layers",
        ["test", "paper", "significant there", "ours, trained", "ours, untrained", "null", "paper, strongest", "strongest layer", "p", "significant here"],
        rows,
        (),
        "Null: the mean |r| of permuted coordinates. p: the smallest of the layers', for all layers together; significant: below 0.01. "
        "Strongest: the largest |r| of any layer.",
    )
    named = f" ({'; '.join(significant)})" if significant else ""
    says = (
        f"{len(significant)} of {len(rows)} tests find something{named}, in the paper none. "
        f"Mean |r| is up to {number(max(ratios, default=None), 1)} times that of permuted matrices"
        f"{': more than the tests can tell, and more than nothing' if not significant and max(ratios, default=0) > 2 else ''}."
    )
    return Part(
        title, says, NOT if 2 * len(significant) > len(rows) else PART if significant or max(ratios, default=0) > 2 else HOLDS, [table]
    )


@dataclass(frozen=True)
class Invariant:
    """paper: its range over layers."""

    name: str
    paper: Sequence[float]
    digits: int
    trained: Sequence[float]
    untrained: Sequence[float] = ()
    nulls: Sequence[float] = ()

    def has(self, values: Sequence[float]) -> bool:
        """Whether the mean of these is in the paper's range."""
        return bool(values) and self.paper[0] <= sum(values) / len(values) <= self.paper[1]


def invariants(both: Both) -> Part:
    title = "Paper 2: the invariants"
    found = _invariants(both)
    if not found:
        return waiting(title, "analysis")
    rows = [
        [
            words(i.name),
            Cell(ranges(i.paper, i.digits), "paper"),
            Cell(ranges(i.trained, i.digits)),
            Cell(ranges(i.untrained, i.digits) if i.untrained else ""),
            Cell(number(mean(i.nulls), i.digits) if i.nulls else "", "null"),
        ]
        for i in found
    ]
    there = [i for i in found if i.has(i.trained)]
    named = f" ({', '.join(i.name for i in there)})" if there else ""
    idle = [i for i in there if i.has(i.nulls) or i.has(i.untrained)]
    says = (
        f"Of {len(found)} invariants {len(there)} {'has its' if len(there) == 1 else 'have their'} mean over layers in the paper's range "
        f"here{named}; "
        + (
            f"random weights or the untrained model have {'it' if len(idle) == 1 else 'them'} there as well: "
            f"{', '.join(i.name for i in idle)}."
            if idle
            else "random weights and the untrained model have none of these there."
            if there
            else "so this model has other ones."
        )
    )
    verdict = NOT if not there else NULL if len(idle) == len(there) else HOLDS if len(there) == len(found) and not idle else PART
    return Part(
        title,
        says,
        verdict,
        [
            Table(
                "Invariants: range over layers",
                ["invariant", "paper", "ours, trained", "ours, untrained", "null"],
                rows,
                (),
                "Null: mean over random layers. A drift has none.",
            )
        ],
    )


def _invariants(both: Both) -> list[Invariant]:
    """Those that are measured."""
    paper = figures()["second"]
    ranks, tops = ([row[name] for n, row in paper["QKt"].items() if n != "mean"] for name in ("effective_rank", "top8_energy"))
    growth = [row["V/Q"] for row in paper["norms"].values()]
    asked: list[tuple[str, Sequence[float], int, str, dict[str, object]]] = [
        ("KL(Q‖K)", (0, 0.0014), 4, "profiles", {"first": "Q", "second": "K"}),
        ("KL(V‖MP)", (0, 0.0090), 4, "profiles", {"first": "V", "second": "MP"}),
        ("‖V‖/‖Q‖", (min(growth), max(growth)), 3, "weights", weights("V/Q", "norm_ratio")),
        ("effective rank of QKᵀ", (min(ranks), max(ranks)), 1, "weights", weights("QKt", "effective_rank")),
        ("top-8 energy of QKᵀ", (min(tops), max(tops)), 3, "weights", weights("QKt", "top8_energy")),
        ("asymmetry of QᵀK", paper["difference_ratio"], 2, "weights", weights("QK", "difference_ratio")),
    ]
    out = []
    for name, ends, digits, table, where in asked:
        x, before = (over(a, table, **where) for a in (both.trained, both.untrained))
        out += [Invariant(name, ends, digits, x.values, before.values if before else (), x.nulls)] if x else []
    q, v = (over(both.crystallised, "drift", subject=s, measure="drift") for s in ("Q", "V"))
    if out and q and v and all(q.values):
        out.append(Invariant("V drift / Q drift", paper["drift_ratio"], 1, [y / x for x, y in zip(q.values, v.values)]))
    return out
