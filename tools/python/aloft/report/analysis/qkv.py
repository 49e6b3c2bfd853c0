"""Q, K and V as the second paper looks at them: profiles, norms, correlations with the corpus, bands of its eigenvectors."""

from ..charts import Series, by_layer
from ..grids import Map, heat_map
from ..page import Cell, Figure, Section, Table, words
from ..papers import HEADING, figures
from ..text import number, p_value
from . import tables
from .read import Analysis, Row, figures_of, is_effect, mean, null_of

PAIRS = (("Q", "K"), ("Q", "V"), ("K", "V"), ("Q", "MP"), ("K", "MP"), ("V", "MP"))
VIEWS = {
    "K2": "K₂",
    "K2T": "K₂ᵀ",
    "K3": "K₃ (lag 2)",
    "K3_composed": "K₃ (lag 1 twice)",
    "EtE": "EᵀE",
    "I": "I",
    "attention_K2": "K₂ by attention",
    "attention_K2T": "(K₂ by attention)ᵀ",
}
MEANINGS = {  # of the views, for whom has not read the papers
    "K2": "counts of neighbours",
    "K2T": "counts of neighbours, backward",
    "K3": "counts of tokens two apart",
    "K3_composed": "counts of neighbours, taken twice",
    "EtE": "the embedding alone",
    "I": "the identity",
    "attention_K2": "counts of neighbours, weighted by attention",
    "attention_K2T": "counts of neighbours, weighted by attention, backward",
}


def profiles(a: Analysis) -> Section:
    out = Section(
        "Q, K and V: profiles and sizes",
        "How alike the sorted singular values of two matrices are, as a divergence (KL; 0 is equal). MP is what a random matrix of that"
        " shape has (Marchenko and Pastur). All layers tend to be alike, so a small divergence of Q and K means something only if it is"
        " smaller than that of Q and another layer's K.",
    )
    out.figures += [figure for figure in (_divergences(a), _sizes(a)) if figure]
    out.tables += [_profile_table(a), _norm_table(a)]
    if a.rows("twinning"):
        out.tables.insert(1, _twinning(a))
    return out


def _divergences(a: Analysis) -> Figure | None:
    series = []
    for (first, second), colour in zip((("Q", "K"), ("Q", "V"), ("V", "MP")), ("measured", "#3a86b8", "#7d58c2")):
        rows = [a.row("profiles", layer=n, first=first, second=second) for n in range(a.layers)]
        if any(rows):
            series.append(Series(f"{first}‖{second}", figures_of(rows), colour, effects=[is_effect(r) for r in rows]))
    if not series:
        return None
    return Figure(
        "Divergence of profiles",
        by_layer(series, "KL of singular profiles by layer", "KL", zero=True),
        "Large dots differ from random layers. The paper finds Q‖K lowest by far, and V nearly random (V‖MP near 0).",
    )


def _sizes(a: Analysis) -> Figure | None:
    rows = [a.row("weights", layer=n, head=None, subject="V/Q", measure="norm_ratio") for n in range(a.layers)]
    if not any(rows):
        return None
    paper = figures()["second"]["norms"]
    series = [Series("‖V‖ / ‖Q‖", figures_of(rows))]
    if a.layers == 8:
        series.append(Series("paper", [paper[str(n)]["V/Q"] if str(n) in paper else None for n in range(8)], "paper"))
    return Figure(
        "V against Q over depth",
        by_layer(series, "Norm of V over norm of Q by layer", "‖V‖ / ‖Q‖", zero=True),
        "The paper sees V grow with depth, from 0.35 to 0.91 of Q. A ratio of 1 is what equal inits give.",
    )


def _profile_table(a: Analysis) -> Table:
    paper = figures()["second"]["profiles"]

    def of(first: str, second: str) -> tables.Quantity:
        name = f"{first}‖{second}"
        values = {n: entry[name] for n, entry in paper.items() if name in entry}
        return tables.Quantity(f"KL({name})", lambda n: a.row("profiles", layer=n, first=first, second=second), values or None, digits=4)

    return tables.by_layer(
        a,
        "Spectral profiles (second paper: Q and K have nearly identical singular value profiles)",
        [of(*pair) for pair in PAIRS],
        tables.SAME + " Null: layers of random weights.",
    )


def _twinning(a: Analysis) -> Table:
    rows = [
        [
            words(f"{r['first']}‖{r['second']}"),
            Cell(number(r["value"], 4), "effect" if r["p"] is not None and r["p"] < 0.01 else ""),
            null_of(r, 4, spread=True),
            Cell(p_value(r["p"], a.smallest_p)),
            Cell("all below 0.0014" if (r["first"], r["second"]) == ("Q", "K") else "", "paper"),
        ]
        for r in a.rows("twinning")
    ]
    return Table(
        "Are Q and K of a layer twins? Mean over layers, against other layers' matrices",
        ["KL of", "own layer", "other layers ± sd", "p", HEADING],
        rows,
        (),
        "Bold: p below 0.01. Without this null a small divergence only says that all layers are alike.",
    )


def _norm_table(a: Analysis) -> Table:
    paper = figures()["second"]["norms"]

    def of(subject: str, title: str, measure: str) -> tables.Quantity:
        values = {n: entry[subject] for n, entry in paper.items() if subject in entry}
        return tables.Quantity(
            title,
            lambda n: a.row("weights", layer=n, head=None, subject=subject, measure=measure),
            values or None,
            digits=2 if measure == "norm" else 3,
        )

    return tables.by_layer(
        a,
        "Sizes (second paper: norms of Q, K, V and V/Q)",
        [
            of("Q", "‖Q‖", "norm"),
            of("K", "‖K‖", "norm"),
            of("V", "‖V‖", "norm"),
            of("O", "‖O‖", "norm"),
            of("V/Q", "‖V‖/‖Q‖", "norm_ratio"),
        ],
        tables.SAME + " A norm has no null; that of the ratio is equal sizes.",
    )


def views(a: Analysis) -> Section:
    out = Section(
        "Q, K and V against the corpus",
        "The second paper's question: is Q, K or V a view of co-occurrence? Correlations over all elements with K₂ (pairs at lag 1), its"
        " transpose, K₃ and others, projected by the embedding. Q, K and V alone depend on a basis that the model cannot see, so QK and OV,"
        " which do not, stand beside them.",
    )
    rows = a.rows("correlations")
    if not rows:
        return Section(out.title)
    out.figures += [
        _map(a, basis, title) for basis, title in (("embedding", "as they are"), ("cooccurrence", "in the co-occurrence eigenbasis"))
    ]
    out.tables.append(_correlations(a))
    if a.rows("bands"):
        out.tables.append(_bands(a))
    return out


def _subjects(a: Analysis) -> list[str]:
    return [s for s in ("Q", "K", "V", "QK", "OV") if a.rows("correlations", subject=s)]


def _strongest(rows: list[Row]) -> Row | None:
    return max((r for r in rows if r["value"] is not None), key=lambda r: abs(r["value"]), default=None)


def _map(a: Analysis, basis: str, title: str) -> Figure:
    subjects, views_here = _subjects(a), [v for v in VIEWS if a.rows("correlations", against=v)]
    grid = [[_strongest(a.rows("correlations", subject=s, against=v, basis=basis)) for v in views_here] for s in subjects]
    effects = [[any(is_effect(r) for r in a.rows("correlations", subject=s, against=v, basis=basis)) for v in views_here] for s in subjects]
    svg = heat_map(
        Map(
            [figures_of(row) for row in grid],
            effects,
            subjects,
            [v.replace("attention_", "att ").replace("_composed", "c") for v in views_here],
            "",
            "",
        ),
        f"Strongest correlation of any layer, {title}",
        limit=max([0.1, *(abs(r["value"]) for row in grid for r in row if r)]),
    )
    return Figure(
        f"Strongest correlation of any layer, {title}",
        svg,
        "Outlined: an effect in at least one layer. The paper finds none above 0.012 in size.",
    )


def _correlations(a: Analysis) -> Table:
    paper, subjects = figures()["second"], _subjects(a)
    columns, groups, rows = ["matrix"], [("", 1)], [[words(s)] for s in subjects]
    for view, title in VIEWS.items():
        if not a.rows("correlations", against=view):
            continue
        with_paper = any(view in entry for entry in paper["correlations_mean"].values())
        columns += ["mean r", "null sd", "effects", *(["paper"] if with_paper else [])]
        groups.append((title, 4 if with_paper else 3))
        for row, s in zip(rows, subjects):
            found = a.rows("correlations", subject=s, against=view, basis="embedding")
            effects = sum(map(is_effect, found))
            row += [
                Cell(number(mean([r["value"] for r in found])), "effect" if effects else ""),
                Cell(number(mean([r["null_sd"] for r in found])), "null"),
                Cell(f"{effects} of {len(found)}"),
            ]
            if with_paper:
                of_paper = paper["correlations_mean"].get(s, {}).get(view)
                row.append(Cell("" if of_paper is None else f"{of_paper:.4f}".replace("-", "−"), "paper"))
    return Table(
        "Correlations with views of the corpus, mean over layers (second paper: Q, K, V against K_2, K_2ᵀ, K_3, EᵀE, I)",
        columns,
        rows,
        groups,
        "Null sd: how far permuted coordinates scatter in a layer; the mean of their r is 0. Effects: layers in which r is one."
        f" {HEADING[0].upper()}{HEADING[1:]}.",
    )


def _bands(a: Analysis) -> Table:
    paper, d = figures()["second"]["bands"], a.checkpoint["d_model"]
    edges = sorted({(r["from"], r["to"], r["uniform"]) for r in a.rows("bands")})
    subjects = [s for s in ("Q", "K", "V") if a.rows("bands", subject=s)]
    rows = []
    for i, (low, high, uniform) in enumerate(edges):
        row = [words(f"{low:g}–{high:g}"), Cell(number(uniform), "null")]
        for s in subjects:
            found = a.rows("bands", subject=s, **{"from": low, "to": high})
            effects = sum(map(is_effect, found))
            row += [
                Cell(number(mean([r["value"] for r in found])), "effect" if effects else ""),
                Cell(number(mean([r["null"] for r in found])), "null"),
                Cell(f"{effects} of {len(found)}"),
                Cell(number(paper[s][i]) if len(edges) == 4 else "", "paper"),
            ]
        rows.append(row)
    return Table(
        f"Energy in bands of K₂'s eigenvectors, mean over layers (second paper: bands 0–32, 32–64, 64–128, 128–256 of 256; here of {d})",
        ["band", "uniform", *(c for _ in subjects for c in ("measured", "null", "effects", "paper"))],
        rows,
        [("", 2), *((s, 4) for s in subjects)],
        f"A matrix that knows nothing of the corpus has the uniform share. {HEADING[0].upper()}{HEADING[1:]}.",
    )
