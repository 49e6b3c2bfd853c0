"""What single heads do: where they look by distance alone, and whether they copy."""

from ..charts import masses
from ..grids import heat_map
from ..page import Figure, Section, Table, words
from ..text import grouped, percent
from .match import map_of, strongest
from .read import Analysis, Row, measured, null_of

KINDS = ("previous-token", "copying", "uniform")
MOST_CURVES, MOST_FAINT, MOST_ROWS = 5, 60, 24


def section(a: Analysis) -> Section:
    out = Section(
        "Heads",
        "A head whose queries and keys prefer a distance looks there whatever the tokens are: a previous-token head looks one token back. A"
        " copying head raises the very token that it reads. Both are read from the weights, without running the model.",
    )
    grids = (
        (
            "previous_token",
            "Attention one token back",
            (
                "The share of a head's attention one token back when every token is the average one. Outlined: more than random heads"
                " have."
            ),
        ),
        (
            "copying",
            "Copying",
            "Above 0: what the head writes raises the token that it read; below 0: it lowers it. At +1 all of it does. Outlined: more"
                " than random heads have.",
        ),
        (
            "profile_entropy",
            "Spread over distances",
            (
                "1: attention is even over all distances; near 0: it looks at one. Warm: more even than random heads of that size are;"
                " cool: more pointed."
            ),
        ),
    )
    for measure, title, caption in grids:
        rows = {(r["layer"], r["head"]): r for r in a.rows("heads", measure=measure)}
        if rows:
            out.figures.append(_map(a, rows, title, caption))
    for circuit in ("QK", "OV"):
        rows = {(r["layer"], r["head"]): r for r in strongest(a, circuit, whole=False)}
        if rows:
            out.figures.append(
                _map(
                    a,
                    rows,
                    f"{circuit} of single heads against the corpus",
                    "Matrix cosine at each head's strongest lag, forward in time, frequencies taken out. Outlined cells are effects.",
                )
            )
    curves = _curves(a)
    if curves:
        out.figures.append(curves)
    if a.rows("labels") or a.tables.get("labels"):
        out.tables.append(_labels(a))
    return out


def _map(a: Analysis, rows: dict[tuple[int, int], Row], title: str, caption: str) -> Figure:
    grid = [[rows.get((n, h)) for h in range(a.heads)] for n in range(a.layers)]
    svg = heat_map(
        map_of(grid, [str(n) for n in range(a.layers)], [str(h) for h in range(a.heads)], "layer", "head"), f"{title} by layer and head"
    )
    return Figure(title, svg, caption)


def labelled(a: Analysis, kind: str) -> list[tuple[int, int]]:
    """(layer, head) of the heads that have this label."""
    return [(r["layer"], r["head"]) for r in a.tables.get("labels", []) if kind in r["label"].split()]


def _curves(a: Analysis) -> Figure | None:
    heads: dict[tuple[int, int], list[float]] = {}
    for r in sorted(a.tables.get("positions", []), key=lambda r: (r["layer"], r["head"], r["distance"])):
        heads.setdefault((r["layer"], r["head"]), []).append(r["mass"])
    if not heads:
        return None
    first = labelled(a, "previous-token")
    rest = sorted((key for key in heads if key not in first), key=lambda key: -max(heads[key]))
    named = (first + rest)[:MOST_CURVES]
    others = [heads[key] for key in heads if key not in named]
    faint = others[:: 1 + len(others) // MOST_FAINT]
    return Figure(
        "Attention by distance",
        masses({f"{n}.{h}": heads[n, h] for n, h in named}, faint, "Share of attention by distance for the most pointed heads"),
        "The heads (layer.head) whose attention is most pointed; a previous-token head has its peak at 1.",
    )


def _labels(a: Analysis) -> Table:
    found = [r for r in a.tables["labels"] if r["label"]]
    rows = []
    for r in sorted(
        found, key=lambda r: (min((KINDS.index(k) for k in r["label"].split() if k in KINDS), default=9), r["layer"], r["head"])
    )[:MOST_ROWS]:
        row = [words(r["layer"]), words(r["head"]), words(r["label"].replace(" ", ", "))]
        for measure in ("previous_token", "profile_entropy", "copying"):
            x = a.row("heads", layer=r["layer"], head=r["head"], measure=measure)
            digits = 4 if measure == "previous_token" else 3
            row += [measured(x, digits), null_of(x, digits, spread=True)]
        rows.append(row)
    total = a.layers * a.heads
    counts = ", ".join(f"{len(labelled(a, kind))} {kind}" for kind in KINDS)
    more = f" The first {MOST_ROWS} of {len(found)}." if len(found) > MOST_ROWS else ""
    return Table(
        f"Labelled heads: {grouped(len(found))} of {grouped(total)} ({percent(len(found) / max(total, 1), 0)}): {counts}",
        ["layer", "head", "label", *(c for _ in range(3) for c in ("measured", "null ± sd"))],
        rows,
        [("", 3), ("attention one token back", 2), ("spread over distances", 2), ("copying", 2)],
        "Previous-token: at least three times as much attention there as anywhere else, and more than random heads have (p of this head"
        " alone below 0.01). Copying: an effect. Uniform: no distance has twice the mean. The papers have nothing per head."
        + more,
    )
