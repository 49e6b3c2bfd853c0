"""How attention's energy is spread over directions: spectra, low rank, and how alike to the corpus a spectrum of some width can be."""

from ..charts import frontier, spectra
from ..page import Cell, Figure, Section, Table
from ..papers import figures, summed
from ..text import number
from . import tables
from .read import Analysis, Row


def section(a: Analysis) -> Section:
    out = Section(
        "Spectra",
        "The singular values of a matrix say over how many directions its energy is spread. The participation ratio (PR) counts them: "
        "as many equal ones would be as concentrated.",
    )
    out.figures += [
        figure
        for figure in (
            _curves(a, "QK_antisymmetric", "Antisymmetric part of QK", "projected_antisymmetric"),
            _curves(a, "OV", "OV", "projected"),
            _frontier(a),
        )
        if figure
    ]
    out.tables += [_low_rank(a), _widths(a)]
    return out


def _curves(a: Analysis, subject: str, title: str, corpus: str) -> Figure | None:
    def curve(rows: list[Row]) -> list[tuple[float, float]]:
        sigma = sorted((float(r["index"]), float(r["sigma"])) for r in rows)
        top = max((x for _, x in sigma), default=0)
        return [(i, x / top) for i, x in sigma] if top > 0 else []

    layers = {f"layer {n}": found for n in range(a.layers) if (found := curve(a.rows("spectra", subject=subject, layer=n)))}
    if not layers:
        return None
    lags = {f"corpus, lag {lag}": found for lag in (1, a.lags) if (found := curve(a.rows("spectra", subject=corpus, lag=lag)))}
    return Figure(
        f"Spectrum: {title}",
        spectra(layers, f"Singular values of {title} by layer and of the corpus", "σ / largest σ", lags),
        "A curve that falls early is concentrated in few directions. Dashed and dotted: the corpus. Blue is the first layer, orange the"
        " last.",
    )


def _low_rank(a: Analysis) -> Table:
    paper = figures()["second"]["QKt"]

    def of(measure: str, title: str, digits: int) -> tables.Quantity:
        values = {n: entry[measure] for n, entry in paper.items() if n != "mean"}
        return tables.Quantity(
            title,
            lambda n: a.row("weights", layer=n, head=None, subject="QKt", measure=measure),
            values,
            Cell(number(paper["mean"][measure], digits), "paper"),
            digits,
        )

    return tables.by_layer(
        a,
        "Low rank of Q Kᵀ (second paper: effective rank, top-8 energy, top-32 energy)",
        [of("effective_rank", "effective rank", 1), of("top8_energy", "top-8 energy", 3), of("top32_energy", "top-32 energy", 3)],
        tables.SAME + " Effective rank: the exponential of the entropy of the singular values.",
    )


def _widths(a: Analysis) -> Table:
    paper = figures()["first"]["attention_pr"]

    def of(subject: str, title: str, values: list[float] | None = None) -> tables.Quantity:
        return tables.Quantity(
            title,
            lambda n: a.row("weights", layer=n, head=None, subject=subject, measure="pr_energy"),
            values,
            summed(values, 1) if values else None,
            1,
        )

    return tables.by_layer(
        a,
        "Participation ratios (first paper: attention PR, of QK's antisymmetric part)",
        [of("QK_antisymmetric", "QK, antisymmetric", paper), of("QK", "QK"), of("OV", "OV"), of("Q", "Q"), of("K", "K"), of("V", "V")],
    )


def _frontier(a: Analysis) -> Figure | None:
    curves: dict[str, tuple[list[float | None], list[float | None]]] = {}
    for lag in (1, a.lags) if a.lags > 1 else (1,):
        rows = sorted(a.rows("frontier", lag=lag), key=lambda r: float(r["target"]))
        start = a.row("corpus", lag=lag, subject="projected_antisymmetric", measure="pr_energy")
        x, first = [r["target"] for r in rows], [start["value"]] if start and rows else []
        if rows:
            curves[f"most possible, lag {lag}"] = ([*first, *x], [*([1.0] if first else []), *(r["pareto_cosine"] for r in rows)])
            curves[f"tempering, lag {lag}"] = ([*first, *x], [*([1.0] if first else []), *(r["temper_cosine"] for r in rows)])
    if not curves:
        return None
    points = []
    for n in range(a.layers):
        width = a.row("weights", layer=n, head=None, subject="QK_antisymmetric", measure="pr_energy")
        alike = a.row("match", circuit="QK", layer=n, head=None, lag=1, part="antisymmetric", measure="spectral_cosine")
        if width and alike and None not in (width["value"], alike["value"]):
            points.append((str(n), width["value"], alike["value"]))
    first_paper = figures()["first"]
    paper = list(zip(first_paper["attention_pr"], first_paper["spectral_cosine"]))
    return Figure(
        "Width against alignment",
        frontier(curves, points, paper, "Spectral cosine with the corpus against participation ratio"),
        "No spectrum of a given participation ratio is more alike to the corpus' than the solid curve of that lag. Where a layer (its"
        " number) lies near it, its spectrum is the corpus', widened; the paper's model has another corpus, hence another curve.",
    )
