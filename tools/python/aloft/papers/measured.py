"""The analyses of the trained and of the untrained model side by side, and tables of them beside the papers'."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..report.analysis.read import Analysis, Row, is_effect, mean, measured, null_of
from ..report.page import Cell, Figure, Section, Table, words
from ..report.papers import LAYERS, of_layer
from ..report.text import counted, number
from .analyses import CRYSTALLISED, TRAINED, UNTRAINED, analysis_path

COLUMNS = ["paper", "ours, trained", "ours, untrained", "null", "p"]
SAME = (
    "Bold: an effect (p below 0.01). Null: mean ± sd. p: of the trained model, for all layers together; of a mean: how many layers are "
    "effects."
)
HOLDS, PART, NULL, NOT = "holds", "in part", "its null", "not here"  # verdicts; page.READING says what they mean


class Both:
    """What is there of a run's analyses."""

    def __init__(self, folder: Path) -> None:
        self.trained, self.untrained, self.crystallised = (
            Analysis(path) if (path := analysis_path(folder, pair)).is_file() else None for pair in (TRAINED, UNTRAINED, CRYSTALLISED)
        )

    @property
    def layers(self) -> int:
        return self.trained.layers if self.trained else 0


@dataclass(frozen=True)
class Over:
    """One quantity in every layer: rows by layer."""

    rows: Sequence[Row]

    @property
    def values(self) -> list[float]:
        return [float(r["value"]) for r in self.rows]

    @property
    def nulls(self) -> list[float]:
        return [float(r["null"]) for r in self.rows if r.get("null") is not None]

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)

    @property
    def null(self) -> float | None:
        return mean(self.nulls)

    @property
    def top(self) -> int:
        """The layer of the largest."""
        return int(max(self.rows, key=lambda r: float(r["value"]))["layer"])

    @property
    def effects(self) -> int:
        return sum(map(is_effect, self.rows))

    @property
    def below(self) -> int:
        """Layers that are effects, and below their null."""
        return sum(is_effect(r) and r["value"] < r["null"] for r in self.rows)


def effects_of(x: Over) -> str:
    """0 of 8 layers, all 8 layers"""
    return counted(x.effects, len(x.rows), "layer") if x.effects else f"0 of {len(x.rows)} layers"


def sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def over(a: Analysis | None, table: str, **where: Any) -> Over | None:
    """None where there is no such analysis, or no figure in it."""
    rows = [r for r in a.rows(table, **where) if r["value"] is not None] if a else []
    return Over(rows) if rows else None


def verdict(claim: Callable[[list[float]], bool], trained: Over, untrained: Over | None) -> str:
    """Of a statement about a figure of all layers: is it true of the trained model, and of what knows nothing as well?"""
    if not claim(trained.values):
        return NOT
    nulls = bool(trained.nulls) and (claim(trained.nulls) or not trained.effects)
    return NULL if nulls or (untrained is not None and claim(untrained.values)) else HOLDS


@dataclass(frozen=True)
class Quantity:
    """A figure by layer. paper: a list by layer, or an object by layer's name; summary: of its layers together."""

    title: str
    table: str
    where: Mapping[str, Any]
    paper: Any = None
    summary: str = ""
    digits: int = 3
    permuted: bool = False  # whether p is a permutation's
    shown: Sequence[int] = ()  # layers; none: all

    def of(self, a: Analysis | None) -> Over | None:
        return over(a, self.table, **self.where)

    def row(self, a: Analysis | None, layer: int) -> Row | None:
        return a.row(self.table, layer=layer, **self.where) if a else None


def by_layer(both: Both, caption: str, quantities: Sequence[Quantity], note: str = SAME) -> Table:
    """A row for each quantity and layer, then its mean. No rows where the trained model is not analysed."""
    rows: list[list[Cell]] = []
    for q in quantities:
        trained, untrained = q.of(both.trained), q.of(both.untrained)
        if both.trained is None or trained is None:
            continue
        for n in q.shown if q.shown and both.layers == LAYERS else range(both.layers):
            row, values = q.row(both.trained, n), q.paper
            if isinstance(values, Mapping):
                values = [values.get(str(i)) for i in range(LAYERS)]
            p = "" if row is None or row.get("p_family") is None else both.trained.p(row, permuted=q.permuted)
            rows.append(
                [
                    words(q.title),
                    words(n),
                    of_layer(values, n, both.layers, q.digits),
                    measured(row, q.digits),
                    measured(q.row(both.untrained, n), q.digits),
                    null_of(row, q.digits, spread=True),
                    Cell(p),
                ]
            )
        judged = any(r.get("p_family") is not None for r in trained.rows)
        rows.append(
            [
                words(q.title),
                words("mean"),
                Cell(q.summary, "paper"),
                Cell(number(trained.mean, q.digits)),
                Cell(number(untrained.mean, q.digits) if untrained else ""),
                Cell(number(trained.null, q.digits) if trained.nulls else "", "null"),
                Cell(effects_of(trained) if judged else ""),
            ]
        )
    return Table(caption, ["figure", "layer", *COLUMNS], rows, (), note)


@dataclass
class Part:
    """A table of a paper. verdict: one of the above, "described", or "" where there is nothing to judge yet."""

    title: str
    says: str  # the sentences that follow from the numbers
    verdict: str
    tables: list[Table]
    figures: list[Figure] = field(default_factory=list)

    @property
    def section(self) -> Section:
        return Section(self.title, self.says, self.figures, self.tables) if self.tables else Section(self.title, paragraphs=[self.says])


def waiting(title: str, step: str) -> Part:
    """step: a name, or several."""
    has = "s {} have" if " and " in step else " {} has"
    return Part(title, f"Not measured yet: the step{has.format(step)} not run.", "", [])
