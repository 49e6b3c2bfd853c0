"""Maps and bars: plots that are rectangles and words, written as SVG. Units are those of drawing.py: 4/3 pixel."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .text import number

Numbers = Sequence[float | None]
WIDTH = 274.0  # of a whole figure
LETTER = 4.3  # about as wide as a digit of the size of labels
ROW = 15.0
MOST_NUMBERED, MOST_ROWS_NUMBERED, MOST_TICKS = 12, 40, 16
MOST_FINE = 9  # columns with room for three decimals


@dataclass
class Map:
    """values [rows][columns], None where there is none; effects: those to outline."""

    values: Sequence[Numbers]
    effects: Sequence[Sequence[bool]]
    rows: Sequence[str]
    columns: Sequence[str]
    row_title: str
    column_title: str
    nulls: Sequence[Numbers] = ()  # what colour is measured from; none: 0
    scatter: float = 0.0  # of the null: a few of these are no strong colour


def heat_map(m: Map, label: str, limit: float | None = None) -> str:
    """Figures above their null warm, below it cool, the stronger the further; effects are outlined and bold."""
    away = [
        [None if x is None else x - ((m.nulls[i][j] if m.nulls else 0) or 0) for j, x in enumerate(row)] for i, row in enumerate(m.values)
    ]
    largest = limit or max([5 * m.scatter, *(abs(x) for row in away for x in row if x is not None)], default=1) or 1
    left = 6 + LETTER * max(map(len, m.rows), default=0) + (11 if m.row_title else 0)
    width, height = (WIDTH - left - 1) / max(len(m.columns), 1), ROW if len(m.rows) <= MOST_ROWS_NUMBERED else 5.0
    numbered = len(m.columns) <= MOST_NUMBERED and len(m.rows) <= MOST_ROWS_NUMBERED
    size = max((abs(x) for row in m.values for x in row if x is not None), default=1.0)
    decimals = 3 if size < 0.095 and len(m.columns) <= MOST_FINE else 2
    parts = []
    for i, row in enumerate(m.values):
        for j, x in enumerate(row):
            if x is not None:
                name = f"{m.row_title or 'row'} {m.rows[i]}, {m.column_title or 'column'} {m.columns[j]}: {number(x)}"
                parts.append(
                    _cell(
                        left + j * width,
                        1 + i * height,
                        width,
                        height,
                        short(x, decimals) if numbered else "",
                        (away[i][j] or 0.0) / largest,
                        m.effects[i][j],
                        name,
                    )
                )
    bottom = 1 + height * len(m.rows)
    row_step, column_step = math.ceil(len(m.rows) * ROW / height / MOST_TICKS / 4) if height < ROW else 1, math.ceil(
        len(m.columns) / MOST_TICKS
    )
    parts += [_text(left - 3, 1 + (i + 0.5) * height, m.rows[i], "end") for i in range(0, len(m.rows), row_step)]
    parts += [_text(left + (j + 0.5) * width, bottom + 8, m.columns[j], "middle") for j in range(0, len(m.columns), column_step)]
    if m.column_title:
        parts.append(_text((left + WIDTH) / 2, bottom + 19, m.column_title, "middle"))
    if m.row_title:
        parts.append(f'<g transform="translate(6 {bottom / 2:.1f}) rotate(-90)">{_text(0, 0, m.row_title, "middle")}</g>')
    return _svg(parts, bottom + (25 if m.column_title else 14), label)


def _cell(x: float, y: float, width: float, height: float, value: str, strength: float, effect: bool, name: str) -> str:
    gap = 0.5 if height > 6 else 0.1
    colour = "--warm" if strength >= 0 else "--cool"
    out = (
        f'<g><title>{escape(name)}</title><rect x="{x + gap:.1f}" y="{y + gap:.1f}" width="{width - 2 * gap:.1f}"'
        f' height="{height - 2 * gap:.1f}" style="fill: var({colour}); fill-opacity: {0.04 + 0.72 * min(abs(strength), 1):.2f}"/>'
    )
    if effect:
        out += (
            f'<rect x="{x + 0.9:.1f}" y="{y + 0.9:.1f}" width="{width - 1.8:.1f}" height="{height - 1.8:.1f}" style="fill: none; stroke:'
            ' var(--ink); stroke-width: 0.9"/>'
        )
    if value:
        out += _text(x + width / 2, y + height / 2, value, "middle", 6.5, effect)
    return out + "</g>"


def short(x: float, decimals: int = 2) -> str:
    """For a cell: decimals without the leading 0, or whole."""
    if abs(x) >= 9.95:
        return f"{x:.0f}".replace("-", "−")
    text = f"{x:.{decimals}f}"
    return ("0" if float(text) == 0 else text.replace("0.", ".", 1) if abs(x) < 0.995 else text).replace("-", "−")


def bars(names: Sequence[str], values: Numbers, label: str, xlabel: str, mark: float | None = None, notes: Sequence[str] = ()) -> str:
    """One horizontal bar a name, from 0; `mark` is a line across. notes: what stands in the bars (default: the figures)."""
    left = 8 + LETTER * max(map(len, names), default=0)
    top = max([abs(v) for v in values if v is not None] + [mark or 0, 1e-12])
    scale = (WIDTH - left - 6) / top
    parts = []
    for i, (name, v) in enumerate(zip(names, values)):
        y = 1 + i * ROW
        if v is not None:
            parts.append(
                f'<rect x="{left:.1f}" y="{y + 2:.1f}" width="{abs(v) * scale:.1f}" height="{ROW - 4:.1f}" style="fill: var(--warm);'
                ' fill-opacity: 0.55"/>'
            )
        parts += [_text(left - 3, y + ROW / 2, name, "end"), _text(left + 3, y + ROW / 2, notes[i] if notes else number(v), "start", 7)]
    bottom = 1 + ROW * len(names)
    parts.append(f'<path d="M{left:.1f} 1V{bottom:.1f}" style="stroke: var(--muted); stroke-width: 0.7"/>')
    if mark is not None:
        parts.append(f'<path d="M{left + mark * scale:.1f} 1V{bottom:.1f}" style="stroke: var(--ink); stroke-width: 1"/>')
    parts.append(_text((left + WIDTH) / 2, bottom + 8, xlabel, "middle"))
    return _svg(parts, bottom + 14, label)


def _text(x: float, y: float, words: str, anchor: str, size: float = 7.5, bold: bool = False) -> str:
    weight = "; font-weight: 700" if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y + 0.35 * size:.1f}" style="fill: var(--ink); font-size: {size:g}px; text-anchor:'
        f' {anchor}{weight}">{escape(words)}</text>'
    )


def _svg(parts: Sequence[str], height: float, label: str) -> str:
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {WIDTH:g} {height:.1f}" style="max-width: {WIDTH * 4 / 3:.0f}px">'
        + "".join(parts)
        + "</svg>"
    )
