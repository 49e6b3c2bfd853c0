"""The second paper's tables of weights: profiles, norms, low rank, asymmetry, drift between two models."""

from ..report.analysis.read import Analysis, is_effect
from ..report.page import Cell, Table, words
from ..report.papers import LAYERS, figures, printed
from ..report.text import number, p_value, ranges
from .first_paper import figure
from .measured import HOLDS, NOT, NULL, PART, SAME, Both, Over, Part, Quantity, by_layer, effects_of, over, verdict, waiting

KLS = (("Q", "K"), ("Q", "V"), ("Q", "MP"), ("K", "MP"), ("V", "MP"))
TWINS = 0.0014  # the paper's largest KL of Q and K
NEARLY_RANDOM = 0.009  # its largest of V and Marchenko and Pastur's law
GROWS = 0.7  # rank correlation of a figure with depth: with eight layers chance gives it once in forty


def weights(subject: str, measure: str) -> dict[str, object]:
    return {"head": None, "subject": subject, "measure": measure}


def _layer_figures(entries: dict[str, dict[str, float]], name: str) -> dict[str, float]:
    return {n: row[name] for n, row in entries.items()}


def profiles(both: Both) -> Part:
    title, paper = "Paper 2: spectral profiles of Q, K and V", figures()["second"]["profiles"]
    quantities = [
        Quantity(
            f"KL({first}‖{second})",
            "profiles",
            {"first": first, "second": second},
            _layer_figures(paper, f"{first}‖{second}"),
            "",
            4,
            shown=(0, 1, 4, 7),
        )
        for first, second in KLS
    ]
    (qk, qv, _, _, vmp), before = ([q.of(a) for q in quantities] for a in (both.trained, both.untrained))
    a = both.trained
    twins = a.row("twinning", first="Q", second="K") if a else None
    if a is None or qk is None or qv is None or vmp is None or twins is None or None in (twins["value"], twins["null"], twins["p"]):
        return waiting(title, "analysis")
    table = by_layer(
        both,
        "KL of singular profiles",
        quantities,
        SAME + " Random weights are twins as well. MP: Marchenko and Pastur's law, the profile of a random matrix.",
    )
    rows = [
        [
            words(f"{r['first']}‖{r['second']}"),
            Cell(number(r["value"], 4), "effect" if r["p"] is not None and r["p"] < 0.01 else ""),
            Cell(f"{number(r['null'], 4)} ± {number(r['null_sd'], 4)}", "null"),
            Cell(p_value(r["p"], a.smallest_p)),
        ]
        for r in a.rows("twinning")
    ]
    others = Table(
        "Twins: KL of a layer's own, and with other layers' (mean over layers)", ["KL of", "own layer", "other layers", "p"], rows
    )
    close, apart = max(qk.values) <= TWINS, qv.mean > 10 * qk.mean
    real = twins["p"] < 0.01 and twins["value"] < twins["null"]
    untrained = f" (before training {number(before[0].mean, 4)} and {number(before[1].mean, 4)})" if before[0] and before[1] else ""
    says = (
        f"KL(Q‖K) is {number(qk.mean, 4)} and KL(Q‖V) {number(qv.mean, 4)} in the mean{untrained}, "
        f"in the paper below 0.0014 and above 0.015: "
        f"V is {'' if apart else 'not '}ten times as far from Q as K is. Q is {number(twins['value'], 4)} from its own layer's K and "
        f"{number(twins['null'], 4)} from other layers' (p {p_value(twins['p'], a.smallest_p)}): "
        f"{'they are twins' if real else 'that they are alike says only that all layers are'}. "
        f"V is {'nearly random' if max(vmp.values) <= NEARLY_RANDOM else 'not random'} by its spectrum: KL(V‖MP) is at most "
        f"{number(max(vmp.values), 4)} (paper: {NEARLY_RANDOM})."
    )
    return Part(title, says, HOLDS if real and close and apart else PART if real else NULL if close else NOT, [table, others])


def norms(both: Both) -> Part:
    title, paper = "Paper 2: norms and V/Q", figures()["second"]["norms"]
    quantities = [
        Quantity(name, "weights", weights(subject, measure), _layer_figures(paper, subject), "", digits, shown=(0, 2, 5, 6, 7))
        for subject, name, measure, digits in (
            ("V/Q", "‖V‖/‖Q‖", "norm_ratio", 3),
            ("Q", "‖Q‖", "norm", 2),
            ("K", "‖K‖", "norm", 2),
            ("V", "‖V‖", "norm", 2),
        )
    ]
    trained, before = quantities[0].of(both.trained), quantities[0].of(both.untrained)
    if trained is None:
        return waiting(title, "analysis")
    table = by_layer(
        both,
        "Norms",
        quantities,
        "A norm has no null: the untrained model's is what it began at. V/Q: that of random layers of one size; bold: an effect.",
    )
    v, depth = trained.values, with_depth(trained.values)
    grows = v[-1] > v[0] and depth >= GROWS
    says = (
        f"‖V‖/‖Q‖ goes from {number(v[0])} in the first layer to {number(v[-1])} in the last (paper: 0.354 to 0.833), its rank correlation "
        f"with depth is {number(depth, 2)}{f'; untrained it is {ranges(before.values)}' if before else ''}. "
        + (
            f"V grows with depth, {number(v[-1] / v[0], 2)} times (paper: 2.35 times)."
            if grows
            else "V ends larger, but does not grow steadily."
            if v[-1] > 1.1 * v[0]
            else "V does not grow with depth."
        )
    )
    found = HOLDS if grows and v[-1] >= 1.5 * v[0] else PART if grows or v[-1] > 1.1 * v[0] else NOT
    return Part(
        title,
        says,
        found,
        [table],
        [figure(both, quantities[0], "V against Q over depth", "‖V‖ / ‖Q‖", "Random layers have 1: training and init set it.", zero=True)],
    )


def with_depth(values: list[float]) -> float:
    """Spearman's rank correlation with the layer's number; 0 for one layer."""
    n = len(values)
    order = sorted(range(n), key=lambda i: values[i])
    return 1 - 6 * sum((rank - layer) ** 2 for rank, layer in enumerate(order)) / (n * (n * n - 1)) if n > 1 else 0.0


def low_rank(both: Both) -> Part:
    title, paper = "Paper 2: low rank of QKᵀ", figures()["second"]["QKt"]
    layers = {n: row for n, row in paper.items() if n != "mean"}
    quantities = [
        Quantity(
            name,
            "weights",
            weights("QKt", measure),
            _layer_figures(layers, measure),
            number(paper["mean"][measure], digits),
            digits,
            shown=(0, 1, 6),
        )
        for name, measure, digits in (
            ("effective rank", "effective_rank", 1),
            ("top-8 energy", "top8_energy", 3),
            ("top-32 energy", "top32_energy", 3),
        )
    ]
    rank, top8 = quantities[0].of(both.trained), quantities[1].of(both.trained)
    if rank is None or top8 is None:
        return waiting(title, "analysis")
    before = quantities[1].of(both.untrained)
    more = sum(is_effect(r) and r["value"] > r["null"] for r in top8.rows)
    low, high = (end([row["effective_rank"] for row in layers.values()]) for end in (min, max))
    by_energy = verdict(lambda values: min(values) >= 0.69, top8, before)
    found = PART if by_energy == HOLDS and rank.mean > high or by_energy == NOT and 2 * more > len(top8.rows) else by_energy
    says = (
        f"The strongest 8 directions hold {ranges(top8.values, 2)} of the energy (paper: 0.70 to 0.92), "
        f"of random weights {number(top8.null, 2)}"
        f"{f', untrained {number(before.mean, 2)}' if before else ''}; the effective rank is {ranges(rank.values, 1)} "
        f"({number(low, 1)} to {number(high, 1)}), random {number(rank.null, 1)}. "
        f"Training lowers the rank in {more} of {len(top8.rows)} layers"
        + {
            HOLDS: ", as in the paper.",
            PART: ", by one of the two measures not as far as in the paper.",
            NULL: ".",
            NOT: ": this is not the paper's low rank.",
        }[found]
    )
    return Part(
        title,
        says,
        found,
        [by_layer(both, "Effective rank and energy of Q@Kᵀ", quantities)],
        [figure(both, quantities[1], "Energy in QKᵀ's strongest 8 directions", "share", "1 would be a matrix of rank 8.", zero=True)],
    )


def direction(both: Both) -> Part:
    title, second = "Paper 2: asymmetry of QᵀK", figures()["second"]
    names = {"difference_ratio": "‖W − Wᵀ‖/‖W‖", "real_share": "real eigenvalue mass"}
    quantities = [Quantity(name, "weights", weights("QK", measure), None, ranges(second[measure], 2)) for measure, name in names.items()]
    (difference, real), before = ([q.of(a) for q in quantities] for a in (both.trained, both.untrained))
    if difference is None or real is None:
        return waiting(title, "analysis")

    def of(measure: str, x: Over, untrained: Over | None) -> str:
        low, high = second[measure]
        return verdict(lambda values: low - 0.005 <= min(values) and max(values) <= high + 0.005, x, untrained)

    inside = all(
        x.null is not None and second[measure][0] <= x.null <= second[measure][1]
        for measure, x in (("difference_ratio", difference), ("real_share", real))
    )
    each = of("difference_ratio", difference, before[0]), of("real_share", real, before[1])
    found = each[0] if each[0] == each[1] else PART
    says = (
        f"‖W − Wᵀ‖/‖W‖ is {ranges(difference.values, 2)} (paper: 1.37 to 1.44), of random weights {number(difference.null)} (√2 = 1.414)"
        f"{f', untrained {number(before[0].mean)}' if before[0] else ''}; "
        f"real eigenvalue mass is {ranges(real.values, 2)} (0.61 to 0.70), of random "
        f"weights {number(real.null)} (2/π = 0.637){f', untrained {number(before[1].mean)}' if before[1] else ''}. "
        f"The nulls lie {'within' if inside else 'outside'} the paper's ranges; ours differ from them in "
        f"{effects_of(difference)} ({_side(difference)}) "
        f"and {effects_of(real)}."
    )
    note = SAME + " The paper gives only the range over layers."
    return Part(title, says, found, [by_layer(both, "Asymmetric bilinear form", quantities, note)])


def _side(x: Over) -> str:
    above = x.effects - x.below
    side = "more symmetric" if not above else "less symmetric" if not x.below else f"{x.below} more symmetric, {above} less"
    return side if x.effects else "neither more nor less symmetric"


DRIFTS = (
    ("SFT drift (Q)", "Q", "drift", "Q drift"),
    ("SFT drift (V)", "V", "drift", "V drift"),
    ("corr(SFT_Q, V1_Q)", "Q", "correlation", "Q correlation"),
    ("corr(SFT_V, V1_V)", "V", "correlation", "V correlation"),
    ("QK over tokens", "QK", "token_correlation", ""),
    ("OV over tokens", "OV", "token_correlation", ""),
)


def drift(both: Both) -> Part:
    title = "Paper 2: drift, and the two models"
    a, between = both.crystallised, both.trained
    moved = [over(a, "drift", subject=s, measure="drift") for s in ("Q", "V")]
    r = [over(between, "drift", subject=s, measure="correlation") for s in ("Q", "V")]
    tokens = [over(between, "drift", subject=s, measure="token_correlation") for s in ("QK", "OV")]
    q, v, (rq, rv), (qk, ov) = moved[0], moved[1], r, tokens
    if a is None or between is None or q is None or v is None or rq is None or rv is None or qk is None or ov is None:
        return waiting(title, "analysis")
    rows = [
        _drift_row(a if measure == "drift" else between, n, name, subject, measure, key)
        for name, subject, measure, key in DRIFTS
        for n in range(both.layers)
    ]
    table = Table(
        "Drift of the crystallised model from its start, and its correlation with the sgd model",
        ["figure", "layer", "paper", "ours", "null", "p"],
        rows,
        (),
        "Null: the second model with coordinates exchanged and signs flipped. Over tokens: correlation of E QK Eᵀ (U OV Eᵀ) of the two "
        "models, which no turn of coordinates can change. Bold: an effect.",
    )
    ratios = [y / x for x, y in zip(q.values, v.values) if x]
    effects, circuits = rq.effects + rv.effects, qk.effects + ov.effects
    further = bool(ratios) and min(ratios) >= 4
    says = (
        (f"V moves {ranges(ratios, 1)} times as far as Q, each relative to its own start" if ratios else "Q does not move")
        + f" (paper: 4.7 to 6.6). Q and V of the two models correlate by at most "
        f"{number(max(map(abs, rq.values + rv.values)), 4)} (paper: below 0.01), "
        f"with {effects} effects in {len(rq.rows) + len(rv.rows)}. Over tokens, where turned coordinates do not matter, QK correlates by "
        f"{number(qk.mean)} and OV by {number(ov.mean)} in the mean, with {circuits} effects in {len(qk.rows) + len(ov.rows)}: "
        f"{'the two solutions are not unrelated' if circuits else 'the two solutions are unrelated there, too'}."
    )
    return Part(title, says, HOLDS if further and not effects + circuits else NOT if not further and effects else PART, [table])


def _drift_row(a: Analysis, layer: int, name: str, subject: str, measure: str, key: str) -> list[Cell]:
    row = a.row("drift", layer=layer, subject=subject, measure=measure)
    paper = figures()["second"]["drift"].get(str(layer))
    digits = 3 if measure == "drift" else 4
    theirs = printed(paper[key] if key and paper and a.layers == LAYERS else None, digits)
    if row is None or row["value"] is None:
        return [words(name), words(layer), theirs, Cell(""), Cell("", "null"), Cell("")]
    null = f"{number(row['null'], digits)} ± {number(row['null_sd'], digits)}" if row["null"] is not None else ""
    return [
        words(name),
        words(layer),
        theirs,
        Cell(number(row["value"], digits), "effect" if is_effect(row) else ""),
        Cell(null, "null"),
        Cell(a.p(row) if row["p_family"] is not None else ""),
    ]
