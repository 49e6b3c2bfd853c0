"""Tables in the papers' form: a row a layer; of every quantity what is measured, what a null gives, and what the paper has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..page import Cell, Table, words
from ..papers import HEADING, of_layer
from ..text import number
from .read import Analysis, Row, mean, measured, null_of

SAME = "Bold: an effect (family-wise p below 0.01)."


@dataclass
class Quantity:
    """title; row(layer) of the analysis; paper: a list by layer, an object by layer's name, a number for all, or None; summary: of the
    paper's layers together."""

    title: str
    row: Callable[[int], Row | None]
    paper: Any = None
    summary: Cell | None = None
    digits: int = 3
    with_p: bool = False
    permuted: bool = False  # whether p is a permutation's


def by_layer(a: Analysis, caption: str, quantities: Sequence[Quantity], note: str = SAME) -> Table:
    """Quantities without a row in any layer are left out, columns of nulls where there is none, and the paper's where it has nothing to say
    of a model with so many layers: what it says of all of its layers is then a row below their mean."""
    shown = [q for q in quantities if any(q.row(n) is not None for n in range(a.layers))]
    with_paper = {q.title for q in shown if any(_paper(q, n, a.layers).text for n in range(a.layers))}
    below = {q.title for q in shown if q.summary is not None} - with_paper  # the paper's layers are no layers of this model
    with_null = {q.title for q in shown if any(row["null"] is not None for row in map(q.row, range(a.layers)) if row)}
    columns, groups = ["layer"], [("", 1)]
    for q in shown:
        some = [
            "measured",
            *(["null"] if q.title in with_null else []),
            *(["p"] if q.with_p else []),
            *([HEADING if len(shown) < 3 else "paper"] if q.title in with_paper else []),
        ]
        columns += some
        groups.append((q.title, len(some)))
    rows: list[list[Cell]] = []
    for n in range(a.layers):
        row = [words(n)]
        for q in shown:
            found = q.row(n)
            row += [measured(found, q.digits), *([null_of(found, q.digits)] if q.title in with_null else [])]
            if q.with_p:
                row.append(Cell("" if found is None else a.p(found, permuted=q.permuted)))
            if q.title in with_paper:
                row.append(_paper(q, n, a.layers))
        rows.append(row)
    if a.layers > 1 and shown:
        rows.append(_means(a, shown, with_paper, with_null))
    if below:
        rows.append(_papers(shown, with_paper, with_null, below))
    if len(shown) >= 3 and with_paper:
        note += f" {HEADING[0].upper()}{HEADING[1:]}."
    return Table(caption, columns, rows, groups if shown else [], note)


def _paper(q: Quantity, layer: int, layers: int) -> Cell:
    values = q.paper
    if isinstance(values, Mapping):
        values = [values.get(str(i)) for i in range(8)]
    return of_layer(values, layer, layers, q.digits)


def _means(a: Analysis, shown: Sequence[Quantity], with_paper: set[str], with_null: set[str]) -> list[Cell]:
    out = [words("mean")]
    for q in shown:
        found = [row for row in map(q.row, range(a.layers)) if row is not None]
        out.append(Cell(number(mean([r["value"] for r in found]), q.digits)))
        if q.title in with_null:
            out.append(Cell(number(mean([r["null"] for r in found]), q.digits), "null"))
        out += [Cell("")] * q.with_p
        if q.title in with_paper:
            out.append(q.summary or Cell("", "paper"))
    return out


def _papers(shown: Sequence[Quantity], with_paper: set[str], with_null: set[str], below: set[str]) -> list[Cell]:
    out = [words(HEADING)]
    for q in shown:
        out.append((q.summary if q.title in below else None) or Cell("", "paper"))
        out += [Cell("")] * ((q.title in with_null) + q.with_p + (q.title in with_paper))
    return out
