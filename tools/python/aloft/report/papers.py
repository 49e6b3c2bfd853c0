"""The figures of the two source papers (docs/science.md, Sources), from their tables: a trained model of 8 layers, d = 256."""

import functools
import json
from typing import Any

from .page import HERE, Cell
from .text import number, ranges

HEADING = "paper (8 layers, d = 256)"
LAYERS = 8


@functools.lru_cache
def figures() -> dict[str, Any]:
    """papers.json. Keys are the papers' quantities; lists have an entry a layer, objects one for each layer that the paper shows.

    Some headings of the second paper's tables are damaged in the text at hand. The columns of its table of profiles are read as
    Q‖K, Q‖V, Q‖MP, K‖MP, V‖MP, which is what its prose says of them; K_3 as the composed lag, K_3_skip as lag 2.
    """
    data: dict[str, Any] = json.loads((HERE / "papers.json").read_text(encoding="utf8"))
    return data


def of_layer(values: Any, layer: int, layers: int, digits: int = 3) -> Cell:
    """The paper's figure beside a layer's: only where the model has as many layers."""
    if layers != LAYERS or values is None:
        return Cell("", "paper")
    found = values[layer] if isinstance(values, list) else values
    return Cell("" if found is None else number(round(float(found), 4), digits), "paper") if digits < 4 else printed(found)


def printed(x: float | None, digits: int = 4) -> Cell:
    """A figure of the papers with the decimals that it has there."""
    return Cell("" if x is None else f"{x:.{digits}f}".replace("-", "−"), "paper")


def summed(values: list[float], digits: int = 3) -> Cell:
    """Of all layers: the mean and the range."""
    return Cell(f"{number(sum(values) / len(values), digits)} ({ranges(values, digits)})", "paper")
