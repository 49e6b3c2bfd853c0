"""matplotlib's SVG for a page: text stays text, and colours become the page's own, which differ between light and dark."""

import functools
import io
import re
from typing import Any

from .page import missing

# Colours that no figure would use by chance, and the page's names for them (page.css).
INK, MUTED, GRID, WARM, COOL, PAPER, PANEL = "#010101", "#010102", "#010103", "#010104", "#010105", "#010106", "#010107"
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", WARM: "--warm", COOL: "--cool", PAPER: "--paper-figure", PANEL: "--panel"}
WIDTH = 3.8  # inches of 72 units; the page shows a unit as 4/3 pixel
SIZE = 8.0  # of text, in units

_count = 0


@functools.lru_cache
def pyplot() -> Any:
    """matplotlib, set up. AloftError where it is not installed."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise missing("matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "aloft",
            "font.size": SIZE,
            "axes.labelsize": SIZE,
            "xtick.labelsize": SIZE - 0.5,
            "ytick.labelsize": SIZE - 0.5,
            "legend.fontsize": SIZE - 0.5,
            "axes.titlesize": SIZE,
            "text.color": INK,
            "axes.labelcolor": INK,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "axes.edgecolor": MUTED,
            "axes.facecolor": "none",
            "figure.facecolor": "none",
            "grid.color": GRID,
            "grid.linewidth": 0.5,
            "axes.linewidth": 0.6,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "lines.linewidth": 1.3,
            "axes.unicode_minus": True,
            "xtick.major.width": 0.6,
            "ytick.major.width": 0.6,
            "xtick.major.size": 2.5,
            "ytick.major.size": 2.5,
        }
    )
    return plt


def axes(height: float = 2.3, width: float = WIDTH) -> tuple[Any, Any]:
    """A figure and its axes; height and width in inches."""
    figure, ax = pyplot().subplots(figsize=(width, height))
    return figure, ax


def depth_colours(count: int) -> list[str]:
    """One for each layer, first to last, that can be told from a light and from a dark page."""
    import colorsys

    out = []
    for i in range(count):
        share = i / max(count - 1, 1)
        red, green, blue = colorsys.hls_to_rgb((250 - 225 * share) / 360, 0.52, 0.62)
        out.append(f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}")
    return out


def svg(figure: Any, label: str) -> str:
    """The figure as markup for inside a page, with ids of its own; `label` is what a screen reader says. Closes the figure."""
    global _count
    _count += 1
    out = io.StringIO()
    figure.savefig(
        out, format="svg", bbox_inches="tight", pad_inches=0.03, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    pyplot().close(figure)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="f{_count}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#f{_count}-", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"font: (bold|italic|[0-9]+) ([0-9.]+)px [^;\"]*", r"font-weight: \1; font-size: \2px", text)
    for colour, name in VARIABLES.items():
        text = text.replace(colour, f"var({name})")
    box = re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', text)
    width = float(box[1]) if box else 72 * WIDTH
    escaped = label.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return re.sub(
        r"<svg [^>]*>",
        f'<svg role="img" aria-label="{escaped}" viewBox="0 0 {box[1] if box else width} {box[2] if box else 160}" '
        f'style="max-width: {width * 4 / 3:.0f}px">',
        text,
        count=1,
    ).strip()
