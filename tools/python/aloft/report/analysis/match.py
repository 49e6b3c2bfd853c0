"""Which lag of the corpus matches which layer and head: the first paper's hypothesis, with directions as well as spectra."""

from collections.abc import Sequence

from ..grids import Map, heat_map
from ..page import Cell, Figure, Section, Table, words
from ..papers import figures, summed
from ..text import number
from . import tables
from .read import Analysis, Row, figures_of, is_effect, mean, measured, null_of

PARTS = {
    "antisymmetric": "antisymmetric part",
    "forward": "as a whole, forward in time",
    "reversed": "as a whole, backward in time",
    "centred_antisymmetric": "antisymmetric part, frequencies taken out",
    "centred_forward": "forward in time, frequencies taken out",
    "centred_reversed": "backward in time, frequencies taken out",
}
MEASURES = {
    "matrix_cosine": "matrix cosine",
    "spectral_cosine": "spectral cosine",
    "subspace_overlap": "overlap of the strongest 8 directions",
}
MAPS = (
    (
        "QK",
        "centred_forward",
        "matrix_cosine",
        (
            "Does the layer's QK, element by element, follow what comes n places later? Warm: forward in time, as a causal model "
            "would; cool: backward."
        ),
    ),
    (
        "QK",
        "antisymmetric",
        "matrix_cosine",
        "The direction of time alone. Negative (cool) is causal: the kernel follows what comes later.",
    ),
    (
        "QK",
        "antisymmetric",
        "spectral_cosine",
        (
            "The first paper's figure: singular values alone, no directions. It is high for random matrices too; colour shows what is"
            " beyond them."
        ),
    ),
    (
        "QK",
        "centred_forward",
        "subspace_overlap",
        "How far the strongest directions of QK and corpus are the same ones: 1 is the same space; the null is 8/d.",
    ),
    ("OV", "centred_forward", "matrix_cosine", "Does what the layer writes raise the tokens that come n places later? Warm: it does."),
    ("OV", "centred_forward", "subspace_overlap", "How far the directions that OV reads and writes are the corpus' strongest ones."),
)
MOST_HEADS = 15  # rows of the table of heads


def section(a: Analysis) -> Section:
    chance = (
        "by exact variance (normal law) less than one signed permutation of the corpus' coordinates in a hundred"
        if a.by_formula
        else "no signed permutation of the corpus' coordinates in a hundred"
    )
    out = Section(
        "Which lag matches which depth",
        "Each layer's QK and OV, summed over heads, against the corpus at each lag. Colour is the distance from the null: warm above it,"
        f" cool below. Outlined cells are effects: {chance} comes so far in any layer and lag. “Frequencies taken out” means without what"
        " follows from how often each token comes.",
    )
    if not a.rows("match"):
        return Section(out.title)
    for circuit, part, measure, caption in MAPS:
        figure = _map(a, circuit, part, measure, caption)
        if figure:
            out.figures.append(figure)
    out.tables += [_spectral(a), _heads(a)]
    return out


def _map(a: Analysis, circuit: str, part: str, measure: str, caption: str) -> Figure | None:
    rows = a.rows("match", circuit=circuit, head=None, part=part, measure=measure)
    if not rows:
        return None
    found = {(r["layer"], r["lag"]): r for r in rows}
    grid = [[found.get((n, lag)) for lag in range(1, a.lags + 1)] for n in range(a.layers)]
    title = f"{circuit}: {MEASURES[measure]}"
    svg = heat_map(
        map_of(grid, [str(n) for n in range(a.layers)], [str(lag) for lag in range(1, a.lags + 1)], "layer", "lag"),
        f"{title}, {PARTS[part]}, by lag and layer",
    )
    return Figure(f"{title}, {PARTS[part]}", svg, caption)


def map_of(grid: Sequence[Sequence[Row | None]], rows: Sequence[str], columns: Sequence[str], row_title: str, column_title: str) -> Map:
    """Cells hold figures; their colour is the distance from the null."""
    return Map(
        [figures_of(row) for row in grid],
        [[is_effect(r) for r in row] for row in grid],
        rows,
        columns,
        row_title,
        column_title,
        [figures_of(row, "null") for row in grid],
        mean([r.get("null_sd") for row in grid for r in row if r]) or 0.0,
    )


def _spectral(a: Analysis) -> Table:
    paper = figures()["first"]

    def cosine(n: int) -> Row | None:
        return a.row("match", circuit="QK", layer=n, head=None, lag=1, part="antisymmetric", measure="spectral_cosine")

    def ratio(n: int) -> Row | None:
        return a.row("weights", layer=n, head=None, subject="QK_antisymmetric", measure="pr_energy")

    def corpus_ratio(_: int) -> Row | None:
        return a.row("corpus", lag=1, subject="projected_antisymmetric", measure="pr_energy")

    def turned(n: int) -> Row | None:
        return a.row("match", circuit="QK", layer=n, head=None, lag=1, part="antisymmetric", measure="matrix_cosine")

    return tables.by_layer(
        a,
        "Spectra of the antisymmetric parts, lag 1 (first paper: spectral cosine, corpus PR, attention PR)",
        [
            tables.Quantity("spectral cosine, A₁ and M_A", cosine, paper["spectral_cosine"], summed(paper["spectral_cosine"]), with_p=True),
            tables.Quantity("matrix cosine (not in the paper)", turned, with_p=True, permuted=True),
            tables.Quantity(
                "corpus PR (null: shuffled text)", corpus_ratio, paper["corpus_pr"], Cell(number(paper["corpus_pr"], 1), "paper"), 1
            ),
            tables.Quantity("attention PR (null: random layer)", ratio, paper["attention_pr"], summed(paper["attention_pr"], 1), 1),
        ],
        tables.SAME + " PR: over how many equal directions the energy would be spread.",
    )


def strength(row: Row) -> float:
    """How far from the null, in its standard deviations."""
    if row["value"] is None or row["null"] is None or not row["null_sd"]:
        return 0.0
    return float(abs(row["value"] - row["null"]) / row["null_sd"])


def strongest(a: Analysis, circuit: str, whole: bool, part: str = "centred_forward", measure: str = "matrix_cosine") -> list[Row]:
    """Of each layer (or head) the lag that is furthest from the null; strongest first."""
    best: dict[tuple[int, int | None], Row] = {}
    for row in a.rows("match", circuit=circuit, part=part, measure=measure):
        key = (row["layer"], row["head"])
        if (row["head"] is None) == whole and (key not in best or strength(row) > strength(best[key])):
            best[key] = row
    return sorted(best.values(), key=lambda r: (-strength(r), r["layer"], r["head"] or 0))


def _heads(a: Analysis) -> Table:
    rows = sorted((r for circuit in ("QK", "OV") for r in strongest(a, circuit, whole=False)), key=strength, reverse=True)
    effects = [r for r in rows if is_effect(r)]
    shown = (effects or rows)[:MOST_HEADS]
    cells = [
        [
            words(r["circuit"]),
            words(r["layer"]),
            words(r["head"]),
            words(r["lag"]),
            measured(r),
            null_of(r, spread=True),
            Cell(number(r["shuffled"]), "null"),
            Cell(a.p(r)),
        ]
        for r in shown
    ]
    said = f"{len(effects)} of {len(rows)} are effects" if effects else "No head is an effect; these are the largest"
    return Table(
        "Single heads: matrix cosine at their strongest lag, forward, frequencies taken out",
        ["circuit", "layer", "head", "lag", "measured", "null ± sd", "shuffled text", "p"],
        cells,
        (),
        f"{said}{f' (the first {MOST_HEADS} shown)' if len(effects) > MOST_HEADS else ''}. The papers have nothing per head. "
        "Shuffled text: the same figure for one text without order; where it is as large, the match need not be one of order.",
    )
