"""What the summary says of single heads: where they look, and whether they copy, where that can be told."""

import math

from ..page import Finding
from ..text import listed, p_value
from .heads import labelled
from .read import LEVEL, Analysis

MOST_NAMED = 4
HIGH = 0.9  # of copying, which is 1 at most


def findings(a: Analysis) -> list[Finding]:
    total = len(a.tables.get("labels", []))
    if not total:
        return []
    before, even = labelled(a, "previous-token"), labelled(a, "uniform")
    text = (
        f"Of {total} heads {len(before)} look{'s' if len(before) == 1 else ''} one token back{_named(before)}, and {len(even)}"
        f" prefer{'s' if len(even) == 1 else ''} no distance (from the weights alone)."
    )
    return [Finding("described", text), _copying(a, total)]  # labels, and no claims


def _named(heads: list[tuple[int, int]]) -> str:
    return f" ({listed([f'layer {n}{chr(39)}s head {h}' for n, h in heads])})" if 0 < len(heads) <= MOST_NAMED else ""


def _copying(a: Analysis, total: int) -> Finding:
    copying, values = labelled(a, "copying"), [r["value"] for r in a.rows("heads", measure="copying") if r["value"] is not None]
    high = f" {sum(x > HIGH for x in values)} of {total} heads are above {HIGH} on a scale that ends at 1." if values else ""
    perfect = perfect_p(a)
    if copying:
        does = "copies the token that it reads" if len(copying) == 1 else "copy the token that they read"
        return Finding("effect", f"{len(copying)} of {total} heads {does}{_named(copying)}.{high}")
    if perfect is not None and perfect >= LEVEL:
        text = (
            "Whether heads copy the token that they read cannot be told here: even a perfect head would have p\N{NO-BREAK SPACE}"
            f"{p_value(perfect)}."
        )
        return Finding("described", text + high)
    return Finding("no effect", f"No head copies the token that it reads more than random heads may.{high}")


def perfect_p(a: Analysis) -> float | None:
    """The least family-wise p that a head of copying 1 would have: Student's t against the heads of the random layers, times the number
    of heads (docs/analysis.md, Nulls). None where the null is not recorded."""
    rows, draws = a.rows("heads", measure="copying"), a.nulls.get("draws")
    nulls = {(float(r["null"]), float(r["null_sd"])) for r in rows if r["null"] is not None and r.get("null_sd")}
    if not nulls or not isinstance(draws, int) or draws * a.heads < 2:
        return None
    n = draws * a.heads
    return min(1.0, len(rows) * min(student_upper((1 - null) / (sd * math.sqrt(1 + 1 / n)), n - 1) for null, sd in nulls))


def student_upper(t: float, degrees: int) -> float:
    """P(T > t), T of Student's t with whole degrees of freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4; to about 1e-15)."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, series = (cosine if odd else 1.0), 0.0
    for k in range(1 + odd, degrees, 2):
        series += term
        term *= cosine * cosine * k / (k + 1)
    inner = 2 / math.pi * (angle + sine * series) if odd else sine * series
    return (1 - inner) / 2
