"""Figures as people read them."""

import math
from collections.abc import Sequence

EMPTY = "–"


def number(x: float | int | None, digits: int = 3) -> str:
    """As many decimals as `digits` for what is below 10, fewer above; with 4 digits, very small ones keep two figures."""
    if x is None or not math.isfinite(x):
        return EMPTY if x is None else "∞" if x > 0 else "−∞" if x < 0 else "not a number"
    if isinstance(x, int):
        return grouped(x)
    size = abs(x)
    if size >= 1000:
        return grouped(round(x))
    decimals = min(digits, 1) if size >= 100 else min(digits, 2) if size >= 10 else digits
    if digits >= 4 and 0 < size < 0.5 * 10.0 ** (1 - digits):
        decimals = 1 - math.floor(math.log10(size))
    text = f"{x:.{decimals}f}" if decimals < 7 else f"{x:.1e}".replace("e-0", "e-")
    return (text.removeprefix("-") if float(text) == 0 else text).replace("-", "−")


def grouped(n: int) -> str:
    """12,345"""
    return f"{n:,}".replace("-", "−")


def percent(x: float | None, digits: int = 1) -> str:
    return EMPTY if x is None else f"{100 * x:.{digits}f}%".replace("-", "−")


FINEST = 1e-12  # below it a p is rounding


def p_value(p: float | None, smallest: float | None = None) -> str:
    """smallest: what a permutation test can give at best; such a p is a bound. (A smaller one is of a law, and no bound.)"""
    if p is None:
        return EMPTY
    if smallest is not None and abs(p - smallest) <= 1e-9 * smallest:
        return f"≤\N{NO-BREAK SPACE}{smallest:.2g}"
    if p < FINEST:
        return "<\N{NO-BREAK SPACE}1e-12"
    if p < 1e-4:
        return f"{p:.0e}".replace("e-0", "e-")
    if 0.0095 <= p < 0.01:  # would be rounded to the level that it is below
        return "<\N{NO-BREAK SPACE}0.01"
    return f"{p:.4f}" if p < 0.001 else f"{p:.3f}" if p < 0.0995 else f"{min(p, 1):.2f}"


def listed(items: Sequence[object], conjunction: str = "and") -> str:
    """a, b and c"""
    texts = [str(x) for x in items]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} {conjunction} {texts[-1]}" if texts else "none"


def counted(n: int, of: int, what: str) -> str:
    """no layer, all 8 layers, 3 of 8 layers"""
    if n == 0:
        return f"no {what}"
    if of == 1:
        return f"the one {what}"
    return f"all {of} {what}s" if n == of else f"{n} of {of} {what}s"


def ranges(values: Sequence[float], digits: int = 3) -> str:
    """lowest to highest"""
    low, high = number(min(values), digits), number(max(values), digits)
    return low if low == high else f"{low} to {high}"
