"""Of a run of `spread` or `asymmetry` (spectra.json): what the corpus says of direction at each lag, and what was made of it."""

from typing import Any

from .charts import Series, by_layer, frontier, spectra
from .page import Cell, Figure, Finding, Section, Table, words
from .papers import HEADING, figures, of_layer
from .text import grouped, number, percent, ranges

Data = dict[str, Any]


def of_spectra(data: Data) -> tuple[list[Finding], list[Section]]:
    """What is to be said, and the sections on the corpus and on the layers."""
    lags, layers = data["lags"], data["layers"]
    before, after = ([layer[when]["pr_energy"] for layer in layers] for when in ("before", "after"))
    cosines, nulls = ([layer["matrix_cosine"][what] for layer in layers] for what in ("value", "null"))
    random = data["null_gaussian"]["attention_kernel"]["antisymmetric"]["pr_energy"]
    width, shuffled = lags[0]["antisymmetric"]["pr_energy"], _null(lags[0], "antisymmetric", "pr_energy")
    directions = " ".join(
        _said(what, lags[0][f"{name}_asymmetry"]["ratio"], _null(lags[0], f"{name}_asymmetry", "ratio"))
        for name, what in (("counts", "counts of neighbours"), ("transition", "transitions"))
    )
    widened = any(abs(x - y) > 0.05 for x, y in zip(before, after))
    kept = min(cosines) > 5 * max(nulls)
    alike = "They still point where the corpus does, by" if kept else "They do not point where the corpus does:"
    cost = " More width costs alignment: the frontier below is the most that is possible." if kept and min(cosines) < 0.99 else ""
    findings = [
        directions,
        (
            f"What the corpus says of direction lies in {'few' if width < random / 2 else 'many'} directions: a participation ratio of "
            f"{number(width, 1)} at lag 1 (shuffled text {number(shuffled, 1)}; random attention {number(random, 1)})."
        ),
        (
            f"The kernels written have {ranges(after, 1)}, by {layers[0]['method']}, from {ranges(before, 1)}."
            if widened
            else f"The kernels written keep it: {ranges(after, 1)}."
        ),
        f"{alike} a matrix cosine of {ranges(cosines, 2)} (random directions {number(max(nulls), 3)}).{cost}",
    ]
    return [Finding("described", text) for text in findings], [_corpus(lags), _layers(lags[0], layers)]


def _corpus(lags: list[Data]) -> Section:
    series = []
    for name, title, style in (("counts", "counts", "measured"), ("transition", "transitions", "#3a86b8")):
        series.append(Series(title, [lag[f"{name}_asymmetry"]["ratio"] for lag in lags], style))
        series.append(Series(f"{title}, shuffled", [_null(lag, f"{name}_asymmetry", "ratio") for lag in lags], "null"))
    shuffled = lags[0].get("null_shuffled")
    curves = spectra(
        {f"lag {lag['lag']}": _scaled(lag["antisymmetric"]["sigma"]) for lag in lags},
        "Spectra of A_n by lag",
        "σ / largest σ",
        {"shuffled, lag 1": _scaled(shuffled["antisymmetric"]["sigma"])} if shuffled else {},
    )
    return Section(
        "The corpus by lag",
        "How asymmetric counts and transitions are, and over how many directions their antisymmetric part, projected by "
        "the embedding, is spread.",
        [
            Figure(
                "Asymmetry by lag",
                by_layer(series, "Asymmetry by lag", "ratio", "lag", zero=True, first=1),
                "Where a line lies above its dashed one, the text has a direction that shuffled text lacks.",
            ),
            Figure(
                "Spectra by lag",
                curves,
                "Singular values of the antisymmetric part: the earlier a curve falls, the fewer directions matter.",
            ),
        ],
        [_lag_table(lags)],
    )


def _layers(first: Data, layers: list[Data]) -> Section:
    curves = spectra(
        {f"layer {layer['layer']}": _scaled(layer["after"]["sigma"]) for layer in layers},
        "Spectra written by layer",
        "σ / largest σ",
        {"corpus, lag 1": _scaled(first["antisymmetric"]["sigma"])},
    )
    shown = [Figure("Spectra written", curves, "What each layer's kernel has, beside the corpus' own (dashed).")]
    edge = layers[0].get("frontier") or []
    if edge:
        x: list[float | None] = [f["pr_target"] for f in edge]
        possible = {
            f"most possible, lag {layers[0]['lag']}": (x, [f["pareto_cosine"] for f in edge]),
            "tempering": (x, [f["temper_cosine"] for f in edge]),
        }
        points = [(str(layer["layer"]), layer["after"]["pr_energy"], layer["spectral_cosine"]) for layer in layers]
        paper = figures()["first"]
        plot = frontier(
            possible, points, list(zip(paper["attention_pr"], paper["spectral_cosine"])), "Spectral cosine against participation ratio"
        )
        shown.append(
            Figure(
                "Width against alignment",
                plot,
                "The most alike to the corpus that a spectrum of some width can be (solid), and the "
                "layers written (their number). Layers of other lags have other curves.",
            )
        )
    return Section(
        "The layers",
        "What was made of it. Cosines compare with the corpus' own matrix; their nulls are random directions.",
        shown,
        [_layer_table(layers)],
    )


def _said(what: str, ratio: float, null: float | None) -> str:
    if null is None:
        return f"Of the norm of the {what} {number(ratio)} is antisymmetric (no null was made)."
    shows = (
        "The direction of time shows"
        if ratio > null + 0.05
        else "It does not show" if abs(ratio - null) < 0.05 else "There is less of it than in shuffled text"
    )
    return f"{shows} in the {what}: {number(ratio)} of their norm is antisymmetric, {number(null)} for shuffled text."


def _null(lag: Data, *path: str) -> float | None:
    found: Any = lag.get("null_shuffled")
    for name in path:
        found = found[name] if found is not None else None
    return None if found is None else float(found)


def _scaled(sigma: list[float]) -> list[tuple[float, float]]:
    top = max(sigma, default=0)
    return [(float(i), x / top) for i, x in enumerate(sigma, 1)] if top > 0 else []


def _lag_table(lags: list[Data]) -> Table:
    paper, rows = figures()["first"], []
    for lag in lags:
        first = lag["lag"] == 1
        rows.append(
            [
                words(lag["lag"]),
                Cell(grouped(lag["pairs"])),
                Cell(number(lag["counts_asymmetry"]["ratio"])),
                Cell(number(_null(lag, "counts_asymmetry", "ratio")), "null"),
                Cell(number(lag["transition_asymmetry"]["ratio"])),
                Cell(number(_null(lag, "transition_asymmetry", "ratio")), "null"),
                Cell(number(paper["corpus_transition_ratio"]) if first else "", "paper"),
                Cell(number(lag["antisymmetric"]["pr_energy"], 2)),
                Cell(number(_null(lag, "antisymmetric", "pr_energy"), 2), "null"),
                Cell(number(paper["corpus_pr"], 1) if first else "", "paper"),
                Cell(number(lag["antisymmetric"]["effective_rank"], 1)),
                Cell(percent(lag["antisymmetric"]["top8_energy"])),
            ]
        )
    return Table(
        "Lags",
        [
            "lag",
            "pairs",
            "measured",
            "shuffled",
            "measured",
            "shuffled",
            "paper",
            "measured",
            "shuffled",
            "paper",
            "effective rank",
            "top-8 energy",
        ],
        rows,
        [("", 2), ("counts: ‖M_A‖/‖M‖", 2), ("transitions: ‖M_A‖/‖M‖", 3), ("PR of A", 3), ("A", 2)],
        f"{HEADING[0].upper()}{HEADING[1:]}.",
    )


def _layer_table(layers: list[Data]) -> Table:
    paper, rows = figures()["first"], []
    for n, layer in enumerate(layers):
        overlap, residual = layer.get("subspace_overlap") or {}, (layer.get("composition") or {}).get("truncation_residual")
        rows.append(
            [
                words(layer["layer"]),
                words(layer["lag"]),
                words(layer["method"]),
                Cell(number(layer["before"]["pr_energy"], 2)),
                Cell(number(layer["after"]["pr_energy"], 2)),
                of_layer(paper["attention_pr"], n, len(layers), 1),
                Cell(number(layer["spectral_cosine"])),
                of_layer(paper["spectral_cosine"], n, len(layers)),
                Cell(number(layer["matrix_cosine"]["value"])),
                Cell(number(layer["matrix_cosine"]["null"]), "null"),
                Cell(number(overlap.get("value"))),
                Cell(number(overlap.get("null")), "null"),
                Cell(number(residual)),
            ]
        )
    return Table(
        "Layers",
        ["layer", "lag", "method", "before", "after", "paper", "design", "paper", "design", "null", "design", "null", "left out"],
        rows,
        [("", 3), ("participation ratio", 3), ("spectral cosine", 2), ("matrix cosine", 2), ("overlap of 8 directions", 2), ("", 1)],
        "Left out: what does not fit into the heads' rank. The paper's figures are of trained attention"
        f" ({HEADING.removeprefix('paper (')}.",
    )
