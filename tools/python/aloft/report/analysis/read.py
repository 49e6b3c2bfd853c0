"""analysis.json (docs/analysis.md) with its tables looked up by their columns."""

import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..page import Cell
from ..text import number, p_value

Row = dict[str, Any]
LEVEL = 0.01  # a figure whose family-wise p is below this is called an effect
NOT_OF_ORDER = "effect, not of word order"  # a verdict
WIDEST_PERMUTED = 768  # docs/analysis.md, Nulls
COLUMNS = {
    "corpus": ("lag", "subject", "measure", "value", "null"),
    "weights": ("layer", "head", "subject", "measure", "value", "null", "p_family"),
    "profiles": ("layer", "first", "second", "value", "null", "p_family"),
    "twinning": ("first", "second", "value", "null", "p"),
    "correlations": ("layer", "subject", "against", "basis", "value", "null", "null_sd", "p_family"),
    "bands": ("layer", "subject", "from", "to", "uniform", "value", "null", "p_family"),
    "match": ("circuit", "layer", "head", "lag", "part", "measure", "value", "null", "null_sd", "p", "p_family", "shuffled"),
    "heads": ("layer", "head", "measure", "value", "null", "p_family"),
    "drift": ("layer", "subject", "measure", "value", "null", "p_family"),
    "positions": ("layer", "head", "distance", "mass"),
    "labels": ("layer", "head", "label"),
    "spectra": ("subject", "layer", "lag", "index", "sigma"),
    "frontier": ("lag", "target", "pareto_cosine", "temper_cosine"),
    "claims": ("claim", "layer", "head", "lag", "detail", "value", "null", "p", "found"),
    # of attention.json (tokens.py)
    "attention_labels": ("layer", "head", "label"),
    "attention_heads": ("layer", "head", "measure", "value", "sd", "null", "p", "p_family", "shuffled"),
    "attention_distances": ("layer", "head", "distance", "mass", "shuffled"),
}
WORDS = {"subject", "measure", "first", "second", "against", "basis", "circuit", "part", "label", "claim", "detail"}
SIZES = ("layers", "heads", "kv_heads", "head_dim", "d_model", "context", "vocab")


def document_of(path: Path, form: str, otherwise: str) -> dict[str, Any]:
    """A whole JSON file of that format, version 1; `otherwise` begins what is said of another."""
    try:
        data = json.loads(path.read_text(encoding="utf8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(data, dict) or data.get("format") != form:
        raise InputError(f'{path}: {otherwise} "format": "{form}"')
    if data.get("version") != 1:
        raise InputError(f"{path}: version {data.get('version')!r} is not known here, only 1: use the aloft that wrote it")
    return data


class Analysis:
    """A whole analysis. Tables that were not measured have no rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        data = document_of(path, "aloft-analysis", "not an analysis: `aloft analyze` writes")
        try:
            self.checkpoint, self.second, self.corpus = object_of(data, "checkpoint"), data.get("second"), data.get("corpus")
            self.nulls, self.notes = object_of(data, "nulls"), [str(note) for note in data.get("notes", [])]
            self.tables = {name: rows_of(name, table) for name, table in object_of(data, "tables").items() if name in COLUMNS}
            for size in SIZES:
                if not isinstance(self.checkpoint[size], int):
                    raise ValueError(f"checkpoint.{size} is {self.checkpoint[size]!r}")
            if self.corpus is not None:
                self.lags: int = int(self.corpus["lags"])
                int(self.corpus["tokens"]), int(self.corpus["vocab"])
            else:
                self.lags = 0
        except KeyError as error:
            raise InputError(f"{path}: damaged: {error} is missing") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: damaged: {error}") from None
        self.layers: int = self.checkpoint["layers"]
        self.heads: int = self.checkpoint["heads"]
        self._indexes: dict[tuple[str, tuple[str, ...]], dict[tuple[Any, ...], list[Row]]] = {}

    def rows(self, table: str, **where: Any) -> list[Row]:
        """Rows of which these columns are so."""
        columns = tuple(sorted(where))
        index = self._indexes.get((table, columns))
        if index is None:
            index = self._indexes[table, columns] = {}
            for row in self.tables.get(table, []):
                index.setdefault(tuple(row[c] for c in columns), []).append(row)
        return index.get(tuple(where[c] for c in columns), [])

    def row(self, table: str, **where: Any) -> Row | None:
        """The one row, or None."""
        found = self.rows(table, **where)
        return found[0] if found else None

    @property
    def permutations(self) -> int | None:
        """How many were made; None where that is not recorded."""
        n = self.nulls.get("permutations")
        return n if isinstance(n, int) else None

    @functools.cached_property
    def by_formula(self) -> bool:
        """Whether the corpus' null is not permuted, for the model is too wide for that: mean and variance are exact, p the normal law's.
        (Such an analysis has a p without permutations. Some record a number that was not made: of wide models with a p below what it
        could give.)"""
        n, tested = self.permutations, [r["p"] for r in self.rows("match", measure="matrix_cosine") if r["p"] is not None]
        if not tested or n is None:
            return False
        return n == 0 or (self.checkpoint["d_model"] > WIDEST_PERMUTED and min(tested) < (1 - 1e-9) / (1 + n))

    @property
    def smallest_p(self) -> float | None:
        """What a permutation test can give at best."""
        return 1 / (1 + self.permutations) if self.permutations else None

    @property
    def can_find(self) -> bool:
        """Whether there are permutations enough for any effect, or none are needed."""
        return self.by_formula or self.permutations is None or 1 / (1 + self.permutations) < LEVEL

    def p(self, row: Row, family: bool = True, permuted: bool = True) -> str:
        """The p-value in words; a permutation's smallest is a bound."""
        return p_value(row["p_family" if family else "p"], self.smallest_p if permuted else None)


def object_of(data: Any, name: str) -> dict[str, Any]:
    found = data[name]
    if not isinstance(found, dict):
        raise ValueError(f"{name} is no object")
    return found


def rows_of(name: str, table: Any) -> list[Row]:
    columns = [str(c["name"]) for c in table["columns"]]
    lacking = [c for c in COLUMNS[name] if c not in columns]
    if lacking:
        raise ValueError(f"table {name} has no column {lacking[0]}")
    out = []
    for number_of_row, values in enumerate(table["rows"]):
        if not isinstance(values, list) or len(values) != len(columns):
            raise ValueError(f"table {name}, row {number_of_row}: not {len(columns)} cells")
        row = dict(zip(columns, values))
        for column in COLUMNS[name]:
            x = row[column]
            if column in WORDS:
                row[column] = "" if x is None else x if isinstance(x, str) else _bad(name, number_of_row, column, x)
            elif x is not None and (isinstance(x, bool) or not isinstance(x, (int, float)) or not math.isfinite(x)):
                _bad(name, number_of_row, column, x)
        out.append(row)
    return out


def _bad(table: str, row: int, column: str, x: Any) -> str:
    raise ValueError(f"table {table}, row {row}: {column} is {str(x)[:40]!r}")


def is_effect(row: Row | None) -> bool:
    return row is not None and row["value"] is not None and row.get("p_family") is not None and row["p_family"] < LEVEL


def orderless(row: Row) -> bool:
    """Whether one text in random order gives as much: at least 95% of a figure's distance from its null."""
    value, null, shuffled = row["value"], row["null"] or 0.0, row["shuffled"]
    return value is not None and shuffled is not None and value != null and (shuffled - null) / (value - null) > 0.95


def figures_of(rows: Sequence[Row | None], column: str = "value") -> list[float | None]:
    """A column of rows, None where there is no row."""
    return [None if row is None else row.get(column) for row in rows]


def measured(row: Row | None, digits: int = 3) -> Cell:
    """Bold where it is an effect."""
    return Cell("" if row is None else number(row["value"], digits), "effect" if is_effect(row) else "")


def null_of(row: Row | None, digits: int = 3, spread: bool = False) -> Cell:
    if row is None or row["null"] is None:
        return Cell("", "null")
    deviation = f" ± {number(row['null_sd'], digits)}" if spread and row.get("null_sd") is not None else ""
    return Cell(number(row["null"], digits) + deviation, "null")


def mean(values: Sequence[float | None]) -> float | None:
    known = [x for x in values if x is not None]
    return sum(known) / len(known) if known else None
