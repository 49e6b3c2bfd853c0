"""How asymmetric corpus and attention are: the first paper's tables 1 and 2, and the second's fifth invariant."""

from ..charts import Series, by_layer
from ..page import Cell, Figure, Section, Table, words
from ..papers import HEADING, figures, summed
from ..text import number, ranges
from . import tables
from .read import Analysis, figures_of, mean, measured, null_of


def section(a: Analysis) -> Section:
    out = Section(
        "Asymmetry",
        "A kernel M that is not symmetric treats “a before b” and “b before a” differently. The ratio is the norm of its antisymmetric"
        " part, (M − Mᵀ)/2, over that of M. For any matrix without structure it is 1/√2 = 0.707, so only what differs from the null says"
        " something.",
    )
    out.figures += [figure for figure in (_layers(a), _corpus(a)) if figure]
    out.tables += [_by_layer(a)]
    if a.corpus is not None:
        out.tables.append(_corpus_table(a))
    return out


def _layers(a: Analysis) -> Figure:
    rows = [a.row("weights", layer=n, head=None, subject="QK", measure="asymmetry_ratio") for n in range(a.layers)]
    paper = [float(x) for x in figures()["first"]["asymmetry_ratio"]]
    series = [
        Series("null ± 2 sd", figures_of(rows, "null"), "null", figures_of(rows, "null_sd")),
        Series("measured", figures_of(rows), effects=[r is not None and measured(r).kind == "effect" for r in rows]),
    ]
    if a.layers == len(paper):
        series.append(Series("paper", list(paper), "paper"))
    return Figure(
        "Asymmetry of QK by layer",
        by_layer(series, "Asymmetry ratio of QK by layer with its null", "‖M_A‖ / ‖M‖"),
        "Large dots are effects. Where the dots lie in the grey band, attention is as asymmetric as random matrices are.",
    )


def _corpus(a: Analysis) -> Figure | None:
    if a.corpus is None:
        return None
    counts = [a.row("corpus", lag=n, subject="counts", measure="asymmetry_ratio") for n in range(1, a.lags + 1)]
    moves = [a.row("corpus", lag=n, subject="transition", measure="asymmetry_ratio") for n in range(1, a.lags + 1)]
    series = [
        Series("counts", figures_of(counts)),
        Series("shuffled", figures_of(counts, "null"), "null"),
        Series("transitions", figures_of(moves), "#3a86b8"),
        Series("shuffled, transitions", figures_of(moves, "null"), "null"),
    ]
    return Figure(
        "Asymmetry of the corpus by lag",
        by_layer(series, "Asymmetry of counts and transitions by lag, with shuffled text", "ratio", "lag", zero=True, first=1),
        "Where a line lies above its dashed one, the text has a direction that shuffled text lacks. Ratios of transitions, whose rows are "
        "normalised, are near 1/√2 for any text.",
    )


def _by_layer(a: Analysis) -> Table:
    def of(measure: str) -> tables.Quantity:
        return tables.Quantity(measure, lambda n: a.row("weights", layer=n, head=None, subject="QK", measure=measure))

    paper, second = figures()["first"]["asymmetry_ratio"], figures()["second"]
    ratio, difference, real = of("asymmetry_ratio"), of("difference_ratio"), of("real_share")
    ratio.title, ratio.paper, ratio.summary, ratio.with_p = "‖M_A‖/‖M‖ of QK", paper, summed(paper), True
    difference.title, difference.summary = "‖M − Mᵀ‖/‖M‖", Cell(ranges(second["difference_ratio"], 2), "paper")
    real.title, real.summary = "share of real eigenvalues", Cell(ranges(second["real_share"], 2), "paper")
    return tables.by_layer(
        a, "Asymmetry of attention (first paper: per-layer attention asymmetry; second paper: asymmetry of Qᵀ@K)", [ratio, difference, real]
    )


def _corpus_table(a: Analysis) -> Table:
    kinds = (
        ("counts", "asymmetry_ratio", "counts J: ‖M_A‖/‖M‖"),
        ("transition", "asymmetry_ratio", "transitions T"),
        ("projected", "asymmetry_ratio", "projected P"),
        ("projected_antisymmetric", "pr_energy", "participation ratio of A"),
    )
    paper = figures()["first"]
    of_paper = {
        "transition": Cell(number(paper["corpus_transition_ratio"]), "paper"),
        "projected_antisymmetric": Cell(number(paper["corpus_pr"], 1), "paper"),
    }
    rows = []
    for lag in range(1, a.lags + 1):
        row = [words(lag)]
        for subject, measure, _ in kinds:
            found = a.row("corpus", lag=lag, subject=subject, measure=measure)
            row += [
                measured(found),
                null_of(found),
                *([of_paper[subject] if lag == 1 else Cell("", "paper")] if subject in of_paper else []),
            ]
        rows.append(row)
    groups = [("", 1), *((title, 3 if subject in of_paper else 2) for subject, _, title in kinds)]
    columns = ["lag", *(c for subject, _, _ in kinds for c in ("measured", "shuffled", *(["paper"] if subject in of_paper else [])))]
    return Table(
        "The corpus (first paper: corpus transition asymmetry, 70.7%)",
        columns,
        rows,
        groups,
        f"Shuffled: as many tokens drawn independently by frequency, one sample. {HEADING[0].upper()}{HEADING[1:]}.",
    )


def summary_values(a: Analysis) -> tuple[float | None, float | None, list[int], list[int]]:
    """Mean ratio of QK, mean of its null, layers whose ratio is an effect below, and above the null."""
    rows = a.rows("weights", head=None, subject="QK", measure="asymmetry_ratio")
    effects = [r for r in rows if measured(r).kind == "effect"]
    return (
        mean([r["value"] for r in rows]),
        mean([r["null"] for r in rows]),
        [r["layer"] for r in effects if r["value"] < r["null"]],
        [r["layer"] for r in effects if r["value"] > r["null"]],
    )
