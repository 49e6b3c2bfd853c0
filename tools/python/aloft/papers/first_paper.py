"""The first paper's tables: asymmetry, spectra, injection."""

from ..report.analysis.read import Analysis, Row, figures_of, is_effect, mean, measured
from ..report.charts import Series
from ..report.charts import by_layer as plot
from ..report.page import Cell, Figure, Table, words
from ..report.papers import LAYERS, figures, summed
from ..report.text import counted, listed, number, percent, ranges
from .measured import COLUMNS, HOLDS, NOT, NULL, PART, SAME, Both, Part, Quantity, by_layer, effects_of, over, sentence, verdict, waiting
from .results import Numbers

RATIO = {"head": None, "subject": "QK", "measure": "asymmetry_ratio"}
WIDTH = {"head": None, "subject": "QK_antisymmetric", "measure": "pr_energy"}
ALIKE = {"circuit": "QK", "head": None, "lag": 1, "part": "antisymmetric", "measure": "spectral_cosine"}
INITS = {"random": "random", "asymmetry": "asymmetry, with its embedding", "asymmetry-attention": "asymmetry in attention alone"}
NEAR = 0.05  # of a cosine or a ratio: as good as another
CHANCE = 0.5**0.5  # the asymmetry of what has no structure


def parts(both: Both, numbers: Numbers) -> list[Part]:
    return [corpus(both), asymmetry(both), alike(both), widths(both), injection(numbers)]


def figure(both: Both, q: Quantity, title: str, ylabel: str, caption: str, zero: bool = False) -> Figure:
    """Trained, untrained, null and paper by layer."""
    layers = range(both.layers)
    rows, before = [q.row(both.trained, n) for n in layers], [q.row(both.untrained, n) for n in layers]
    series = [Series("trained", figures_of(rows), effects=[is_effect(r) for r in rows])]
    if any(r and r.get("null") is not None for r in rows):
        series.insert(0, Series("null ± 2 sd", figures_of(rows, "null"), "null", figures_of(rows, "null_sd")))
    if any(before):
        series.append(Series("untrained", figures_of(before), "#3a86b8"))
    if both.layers == LAYERS and q.paper is not None:
        series.append(Series("paper", q.paper if isinstance(q.paper, list) else [q.paper.get(str(n)) for n in layers], "paper"))
    return Figure(title, plot(series, f"{title} by layer", ylabel, zero=zero), caption)


def _of_corpus(a: Analysis | None, subject: str, measure: str) -> Row | None:
    """At lag 1; None where it, or its null, is not measured."""
    row = a.row("corpus", lag=1, subject=subject, measure=measure) if a else None
    return row if row and None not in (row["value"], row["null"]) else None


def corpus(both: Both) -> Part:
    title, paper = "Paper 1: asymmetry of corpus and attention", figures()["first"]
    ratio, before = over(both.trained, "weights", **RATIO), over(both.untrained, "weights", **RATIO)
    moves, counts = (_of_corpus(both.trained, subject, "asymmetry_ratio") for subject in ("transition", "counts"))
    if ratio is None or ratio.null is None or moves is None:
        return waiting(title, "analysis")

    def row(name: str, theirs: float | None, value: float, untrained: float | None, null: float, p: str = "") -> list[Cell]:
        return [
            words(name),
            Cell(percent(theirs) if theirs else "", "paper"),
            Cell(percent(value)),
            Cell(percent(untrained) if untrained else ""),
            Cell(percent(null), "null"),
            Cell(p),
        ]

    theirs = paper["corpus_transition_ratio"], paper["attention_ratio_mean"]
    rows = [row("corpus, transitions T", theirs[0], moves["value"], None, moves["null"])]
    rows += [row("corpus, counts J", None, counts["value"], None, counts["null"])] if counts else []
    rows.append(row("attention, QᵀK", theirs[1], ratio.mean, before.mean if before else None, ratio.null, effects_of(ratio)))
    rows += _energy(both)
    table = Table(
        "‖A‖/‖T‖ of the corpus at lag 1, ‖M_A‖/‖M‖ of attention (mean over layers)",
        ["figure", *COLUMNS],
        rows,
        (),
        "The corpus' null: shuffled text (one sample, no p). Attention's: layers of random weights. Without structure: 1/√2 = 70.7%, of "
        "the energy 50%. The papers' 37 to 44% is by how much ‖M − Mᵀ‖/‖M‖ is above 1, which is no share of energy.",
    )
    agree, empty = abs(ratio.mean - moves["value"]) <= NEAR, abs(moves["value"] - moves["null"]) < 0.02
    idle = agree and empty and abs(ratio.null - moves["value"]) <= NEAR
    says = (
        f"The two shares are {percent(moves['value'])} and {percent(ratio.mean)} here and {'agree' if agree else 'differ'}; "
        f"in the paper they are "
        f"{percent(theirs[0])} and {percent(theirs[1])}, both within {percent(max(abs(x - CHANCE) for x in theirs))} of 1/√2. "
        f"Shuffled text has {percent(moves['null'])}, random weights {percent(ratio.null)}: "
        + (
            "the agreement is that of two nulls."
            if idle
            else "the corpus' share is its own null, and no source of attention's."
            if empty
            else "the corpus' share is not its null."
        )
    )
    if counts:
        tells = counts["value"] > counts["null"] + NEAR
        says += (
            f" The direction of time {'is' if tells else 'is not even'} in the counts: {percent(counts['value'])}, shuffled "
            f"{percent(counts['null'])}."
        )
    return Part(title, says, NULL if idle else HOLDS if agree else NOT, [table])


def _energy(both: Both) -> list[list[Cell]]:
    """The share of energy that both papers state: 37 to 44%, the excess of ‖M − Mᵀ‖/‖M‖ over 1 and no share of anything."""
    energy, before = (over(a, "weights", **RATIO | {"measure": "asymmetry_energy"}) for a in (both.trained, both.untrained))
    if energy is None:
        return []
    low, high = figures()["first"]["attention_energy"]
    return [
        [
            words("attention, energy ‖M_A‖²/‖M‖²"),
            Cell(f"{percent(low, 0)} to {percent(high, 0)}", "paper"),
            Cell(percent(energy.mean)),
            Cell(percent(before.mean) if before else ""),
            Cell(percent(energy.null), "null"),
            Cell(effects_of(energy)),
        ]
    ]


def asymmetry(both: Both) -> Part:
    title, paper = "Paper 1: asymmetry by layer", figures()["first"]["asymmetry_ratio"]
    q = Quantity("‖M_A‖/‖M‖", "weights", RATIO, paper, summed(paper).text)
    trained, before = q.of(both.trained), q.of(both.untrained)
    if trained is None:
        return waiting(title, "analysis")
    top, most = trained.top, max(abs(r["value"] - r["null"]) for r in trained.rows)
    says = (
        sentence(f"{effects_of(trained)} differ from random weights, by {number(most)} at most; {trained.below} of them are below")
        + (f" (before training: {effects_of(before)})" if before else "")
        + f". Layer {top} is the most asymmetric{', as in the paper' if top == 0 else ', in the paper layer 0'}."
    )
    found = verdict(lambda values: values[0] == max(values) and max(values) - min(values) > 0.03, trained, before)
    plotted = figure(
        both, q, "Asymmetry of QK", "‖M_A‖ / ‖M‖", "Large dots are effects. In the grey band attention is as asymmetric as random matrices."
    )
    return Part(title, says, found if trained.effects else NULL, [by_layer(both, "Attention asymmetry", [q])], [plotted])


def alike(both: Both) -> Part:
    title, paper = "Paper 1: spectral cosine", figures()["first"]["spectral_cosine"]
    q = Quantity("spectral cosine", "match", ALIKE, paper, summed(paper).text)
    trained, before = q.of(both.trained), q.of(both.untrained)
    if trained is None:
        return waiting(title, "analysis")
    table = by_layer(
        both, "Spectral cosine of A_proj and M_A", [q], SAME + " Shuffled: the trained model with the projection of shuffled text."
    )
    shuffled = [r.get("shuffled") for r in trained.rows]
    known = [s for s in shuffled if s is not None]
    table.columns = [*table.columns, "shuffled"]
    table.rows = [[*row, Cell(number(x), "null")] for row, x in zip(table.rows, [*shuffled, mean(known)])]
    first, top = trained.values[0], trained.top
    untrained = before.values[0] if before else None
    others = {"random weights": trained.rows[0]["null"], "the untrained model": untrained, "shuffled text": shuffled[0]}
    there = {name: float(x) for name, x in others.items() if x is not None}
    reached = [name for name, x in there.items() if x >= min(first, paper[0]) - NEAR]
    says = (
        f"Layer 0 has {number(first)} (paper: {number(paper[0])})"
        + (", the most of all" if top == 0 else f", layer {top} the most, {number(max(trained.values))}")
        + f"; {', '.join(f'{name} {number(x)}' for name, x in there.items())}. {_meaning(reached)}"
    )
    matrix = over(both.trained, "match", **{**ALIKE, "measure": "matrix_cosine"})
    if matrix:
        says += f" Directions included, the matrices have cosines of {ranges(matrix.values)}; effects in {effects_of(matrix)}."
    more = is_effect(trained.rows[0]) and first > trained.rows[0]["null"]  # than random layers: an effect of other layers says nothing
    found = NOT if first < paper[0] - NEAR else NULL if reached or not more else HOLDS
    caption = "Of the antisymmetric parts of QK and of the projected corpus at lag 1."
    tables = [table, *_lags(both)]
    return Part(title, says, found, tables, [figure(both, q, "Spectral cosine with the corpus", "cosine of spectra", caption)])


def _lags(both: Both) -> list[Table]:
    """What the paper expects of deeper layers: longer lags. No table where there is one lag."""
    if both.trained is None or both.trained.lags < 2:
        return []

    def best(a: Analysis | None, layer: int, column: str = "value") -> Cell:
        rows = a.rows("match", **{name: x for name, x in ALIKE.items() if name != "lag"}, layer=layer) if a else []
        known = [r for r in rows if r.get(column) is not None]
        top = max(known, key=lambda r: float(r[column]), default=None)
        return Cell("" if top is None else f"{top['lag']} ({number(top[column])})", "null" if column == "shuffled" else "")

    rows = [
        [
            words(n),
            Cell(str(n + 1), "paper"),
            best(both.trained, n),
            best(both.untrained, n),
            best(both.trained, n, "shuffled"),
        ]
        for n in range(both.layers)
    ]
    return [
        Table(
            "The lag whose A_proj has the spectrum most alike to M_A's",
            ["layer", "paper expects", "ours, trained", "ours, untrained", "shuffled"],
            rows,
            (),
            "In brackets: its spectral cosine. Shuffled: the trained model with the projections of shuffled text, where no lag is another.",
        )
    ]


def _meaning(reached: list[str]) -> str:
    """Of what has as large a cosine without being a trained model of this text."""
    said = ["training does not bring it"] if reached not in ([], ["shuffled text"]) else []
    said += ["the order of words has no part in it"] if "shuffled text" in reached else []
    return f"So {listed(said)}." if said else "None of these reaches as much."


def widths(both: Both) -> Part:
    title, first = "Paper 1: participation ratios", figures()["first"]
    theirs = first["attention_pr"]
    q = Quantity("attention PR", "weights", WIDTH, theirs, summed(theirs, 1).text, 1)
    trained, before = q.of(both.trained), q.of(both.untrained)
    of_corpus, of_untrained = (_of_corpus(a, "projected_antisymmetric", "pr_energy") for a in (both.trained, both.untrained))
    same = of_corpus is not None and abs(of_corpus["value"] - of_corpus["null"]) < 0.5
    if trained is None or of_corpus is None:
        return waiting(title, "analysis")
    table = by_layer(
        both,
        "PR of the corpus' A_proj and of attention's M_A",
        [q],
        SAME + " The corpus is projected by each model's embedding; its null: shuffled text.",
    )
    table.rows = [
        [
            words("corpus PR"),
            words(""),
            Cell(number(first["corpus_pr"], 1), "paper"),
            measured(of_corpus, 1),
            measured(of_untrained, 1),
            Cell(number(of_corpus["null"], 1), "null"),
            Cell(""),
        ],
        *table.rows,
    ]
    narrower = 2 * trained.below > len(trained.rows)
    idle = not trained.effects or (before is not None and 2 * before.below > len(before.rows))
    like_paper = min(theirs) <= trained.mean <= max(theirs)
    says = (
        f"Attention spreads over {ranges(trained.values, 1)} directions (paper: 18 to 45), random weights over {number(trained.null, 1)}"
        f"{f', the untrained model over {number(before.mean, 1)}' if before else ''}: training concentrates it in "
        f"{counted(trained.below, len(trained.rows), 'layer')}{', rather than to spread a narrow signal' if narrower else ''}. "
        f"The corpus has {number(of_corpus['value'], 1)} (paper: 2.6), shuffled text {number(of_corpus['null'], 1)}"
        f"{': the same without any order of words' if same else ''}."
        f"{_goal(both)}"
    )
    return Part(
        title,
        says,
        NULL if idle else NOT if not narrower else HOLDS if like_paper else PART,
        [table],
        [figure(both, q, "Participation ratio of QK's antisymmetric part", "directions", "Lower is more concentrated.", zero=True)],
    )


def _goal(both: Both) -> str:
    """What the paper asks for next, beside the most that can be."""
    goal = figures()["first"]["goal"]
    row = both.trained.row("frontier", lag=1, target=goal["pr"]) if both.trained else None
    if row is None or row["pareto_cosine"] is None:
        return ""
    most, reached = row["pareto_cosine"], row["pareto_cosine"] >= goal["spectral_cosine"]
    return (
        f" The paper's goal, a spectral cosine of {number(goal['spectral_cosine'])} at a PR of {goal['pr']}, is "
        f"{'possible' if reached else 'not possible'} with this corpus at lag 1: {number(most)} is the most that any spectrum has there."
    )


def injection(numbers: Numbers) -> Part:
    title = "Paper 1: injection"
    if "injection" not in numbers:
        return waiting(title, "injection")
    paper, ours = figures()["first"]["injection"], numbers["injection"]
    arms, steps, seeds = ours["arms"], ours["steps"], len({r["seed"] for r in ours["runs"]})
    rows = []
    for when, name in (("initial", "initial loss"), ("final", f"loss at step {steps}")):
        theirs = paper[when]
        for arm, words_of in INITS.items():
            lead, known = arms[arm].get(f"lead_{when}"), arm in theirs and arm != "random"
            rows.append(
                [
                    words(f"{name}: {words_of}"),
                    Cell(number(theirs.get(arm)) if arm in theirs else "", "paper"),
                    Cell(number(arms[arm][when]["mean"])),
                    Cell(number(theirs["random"] - theirs[arm]) if known else "", "paper"),
                    Cell(number(lead["mean"], 4) if lead else ""),
                    Cell(f"{number(lead['least'], 4)} to {number(lead['most'], 4)}" if lead else ""),
                ]
            )
    rows += _leads(arms, ours["runs"], paper)
    columns = ["loss", "paper", "ours", "paper's lead", "our lead", "over seeds"]
    table = Table(
        f"Injection of the corpus' asymmetry, {seeds} seed{'s' if seeds > 1 else ''}",
        columns,
        rows,
        (),
        f"Lead: the random init's loss less this one's, of the same seed, data and steps. The paper took {paper['steps']} steps.",
    )
    alone, whole = arms["asymmetry-attention"], arms["asymmetry"]
    size, helps = alone["percent"], alone["lead_final"]["least"] > 0
    early, late, all_late = alone["lead_initial"]["mean"], alone["lead_final"]["mean"], whole["lead_final"]["mean"]
    says = (
        f"In attention alone the injection leads by {number(early, 4)} at the start and by {number(late, 4)} "
        f"({number(size, 2)}%) after {steps} steps "
        "(paper: 0.046 and 0.002, 0.03%): "
        + (
            "next to nothing, as in the paper."
            if abs(size) <= 1
            else "here it helps, for every seed."
            if size > 0 and helps
            else "seeds do not agree."
            if alone["lead_final"]["most"] > 0
            else "here it harms."
        )
        + f" With the corpus' embedding the lead is {number(all_late, 4)} ({number(whole['percent'], 2)}%)"
        + (", which is the embedding's." if abs(all_late) > 2 * abs(late) else ".")
    )
    return Part(title, says, HOLDS if abs(size) <= 1 else NOT if helps else PART, [table])


def _leads(arms: Numbers, runs: list[Numbers], paper: Numbers) -> list[list[Cell]]:
    """What is left at the step by which the paper's lead has washed out, where the runs have a loss of it; the final lead in percent."""
    losses = {(r["arm"], r["seed"]): dict(r.get("history", [])).get(paper["washed_out"]) for r in runs if "arm" in r}
    rows = []
    for arm, words_of in INITS.items():
        leads = [
            base - loss
            for (name, seed), loss in losses.items()
            if name == arm != "random" and loss is not None and (base := losses.get(("random", seed))) is not None
        ]
        if leads:
            rows.append(
                [
                    words(f"lead at step {paper['washed_out']}: {words_of}"),
                    Cell("", "paper"),
                    Cell(""),
                    Cell("washed out" if arm in paper["final"] else "", "paper"),
                    Cell(number(sum(leads) / len(leads), 4)),
                    Cell(f"{number(min(leads), 4)} to {number(max(leads), 4)}"),
                ]
            )
    for arm, words_of in INITS.items():
        if "percent" in arms.get(arm, {}):
            theirs = f"{paper['percent']}%" if arm in paper["final"] else ""
            ours = f"{number(arms[arm]['percent'], 2)}%"
            rows.append(
                [words(f"final lead: {words_of}"), Cell("", "paper"), Cell(""), Cell(theirs, "paper"), Cell(ours), Cell("")]
            )
    return rows
