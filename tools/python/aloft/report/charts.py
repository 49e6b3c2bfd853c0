"""The kinds of plots that reports have; each returns SVG markup (drawing.py)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .drawing import INK, MUTED, PAPER, SIZE, WARM, axes, depth_colours, svg

Numbers = Sequence[float | None]
@dataclass
class Series:
    """style: "measured" (dots and line), "null" (a band where there are deviations), "paper" (hollow), or a colour."""

    name: str
    y: Numbers
    style: str = "measured"
    deviations: Numbers = ()
    effects: Sequence[bool] = ()


def by_layer(
    series: Sequence[Series], label: str, ylabel: str, xlabel: str = "layer", zero: bool = False, first: int = 0, height: float = 2.1
) -> str:
    """Figures against layers (or lags, with first = 1)."""
    figure, ax = axes(height)
    for s in series:
        x = [first + i for i, y in enumerate(s.y) if y is not None]
        y = [v for v in s.y if v is not None]
        if not y:
            continue
        if s.style == "null":
            sd = [d or 0 for d, v in zip(s.deviations, s.y) if v is not None] or [0.0] * len(y)
            ax.plot(x, y, color=MUTED, linewidth=1, linestyle=(0, (4, 2)), label=s.name)
            ax.fill_between(x, [a - 2 * b for a, b in zip(y, sd)], [a + 2 * b for a, b in zip(y, sd)], color=MUTED, alpha=0.22, linewidth=0)
        elif s.style == "paper":
            ax.plot(x, y, color=PAPER, linestyle="none", marker="o", markerfacecolor="none", markersize=4.5, label=s.name)
        else:
            colour = WARM if s.style == "measured" else s.style
            ax.plot(x, y, color=colour, marker="o", markersize=2.6, label=s.name)
            marked = [(a, b) for a, b, e in zip(x, y, s.effects) if e]
            if marked:
                ax.plot(*zip(*marked), color=colour, linestyle="none", marker="o", markersize=5)
    _whole(ax, first, max(len(s.y) for s in series))
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if zero:
        ax.set_ylim(bottom=0)
    ax.grid(axis="y")
    _legend(ax)
    return svg(figure, label)


def _whole(ax: Any, first: int, count: int) -> None:
    step = max(1, math.ceil(count / 12))
    ax.set_xticks(list(range(first, first + count, step)))


def _legend(ax: Any) -> None:
    """Above the axes, so that it hides no figure."""
    handles, labels = ax.get_legend_handles_labels()
    if len(labels) > 1:
        columns = 2 if max(map(len, labels)) > 16 else min(len(labels), 3)
        ax.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncol=columns,
            borderaxespad=0.2,
            handlelength=1.6,
            columnspacing=1.2,
        )


Curve = Sequence[tuple[float, float]]


def spectra(curves: Mapping[str, Curve], label: str, ylabel: str, reference: Mapping[str, Curve] | None = None, floor: float = 1e-4) -> str:
    """Singular values (index from 1, value) against their index, both logarithmic; one colour a curve by depth, references
    dashed. Values below `floor` of the largest, of a matrix that has fewer directions, are left out."""
    figure, ax = axes(2.5)

    def line(name: str, points: Curve, **style: Any) -> None:
        top = max((v for _, v in points), default=0)
        kept = [(i, v) for i, v in points if v > floor * top]
        if kept:
            ax.plot(*zip(*kept), label=name, **style)

    for (name, points), colour in zip(curves.items(), depth_colours(len(curves))):
        line(name, points, color=colour, linewidth=1.1)
    for (name, points), dash in zip((reference or {}).items(), ((0, (4, 2)), (0, (1, 1.2)))):
        line(name, points, color=INK, linestyle=dash, linewidth=1.2)
    ax.set(xscale="log", yscale="log", xlabel="index", ylabel=ylabel)
    ax.grid(which="major")
    ax.tick_params(which="minor", length=0)
    _plain_numbers(ax.xaxis)
    _plain_numbers(ax.yaxis)
    _legend_by_depth(ax, len(curves))
    return svg(figure, label)


def _plain_numbers(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _legend_by_depth(ax: Any, curves: int) -> None:
    """First, last and all references; between them colour says the depth."""
    handles, labels = ax.get_legend_handles_labels()
    many = curves > 4
    kept = [i for i in range(len(labels)) if not many or i in (0, curves - 1) or i >= curves]
    ax.legend(
        [handles[i] for i in kept],
        [labels[i] for i in kept],
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncol=min(len(kept), 3),
        borderaxespad=0.2,
        handlelength=1.6,
        columnspacing=1.2,
    )


def masses(curves: Mapping[str, Sequence[float]], background: Sequence[Sequence[float]], label: str) -> str:
    """How much of a head's attention goes how far back; all other heads faint behind the named ones."""
    figure, ax = axes(2.3)
    for i, y in enumerate(background):
        ax.plot(range(len(y)), y, color=MUTED, alpha=0.45, linewidth=0.6, label="the other heads" if i == 0 else None)
    for (name, mass), colour in zip(curves.items(), depth_colours(len(curves))):
        ax.plot(range(len(mass)), mass, label=name, color=colour, marker="o", markersize=1.6, linewidth=1.1)
    ax.set(xlabel="tokens back", ylabel="share of attention", xscale="symlog", ylim=(0, None))
    ax.set_xlim(left=-0.05)
    longest = max((len(y) for y in [*curves.values(), *background]), default=1)
    ax.set_xticks([x for x in (0, 1, 2, 4, 8, 16, 32, 64) if x < longest])
    _plain_numbers(ax.xaxis)
    ax.grid(axis="y")
    _legend(ax)
    return svg(figure, label)


def frontier(
    curves: Mapping[str, tuple[Numbers, Numbers]],
    points: Sequence[tuple[str, float, float]],
    paper: Sequence[tuple[float, float]],
    label: str,
) -> str:
    """Alignment against participation ratio: what is possible (curves), where layers are (points), the paper's layers (hollow)."""
    figure, ax = axes(2.6)
    styles = ((INK, "-"), (INK, (0, (1, 1.2))), (MUTED, "-"), (MUTED, (0, (1, 1.2))))
    for (name, (x, y)), (colour, dash) in zip(curves.items(), styles):
        ax.plot(x, y, color=colour, linestyle=dash, label=name, linewidth=1.2)
    if paper:
        ax.plot(*zip(*paper), color=PAPER, linestyle="none", marker="o", markerfacecolor="none", markersize=4.5, label="paper's layers")
    if points:
        ax.plot(
            [x for _, x, _ in points],
            [y for _, _, y in points],
            color=WARM,
            linestyle="none",
            marker="o",
            markersize=3.5,
            label="layers here",
        )
        for name, px, py in points:
            ax.annotate(name, (px, py), xytext=(3, 2), textcoords="offset points", fontsize=SIZE - 1.5, color=INK)
    ax.set(xlabel="participation ratio (directions that share the energy)", ylabel="spectral cosine with the corpus")
    ax.grid()
    _legend(ax)
    return svg(figure, label)


def losses(curves: Mapping[str, Sequence[tuple[float, float]]], label: str, levels: Mapping[str, float], ylim: tuple[float, float]) -> str:
    """Loss against steps, one curve an arm."""
    figure, ax = axes(3.1)
    for (name, points), colour in zip(curves.items(), depth_colours(len(curves))):
        ax.plot([x for x, _ in points], [y for _, y in points], label=name, color=colour)
    for name, level in levels.items():
        if ylim[0] < level < ylim[1]:
            ax.axhline(level, color=MUTED, linestyle=(0, (1, 1.2)), linewidth=1, label=name)
    ax.set(xlabel="steps", ylabel="validation loss (nats)", ylim=ylim)
    ax.grid(axis="y")
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles, labels, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncol=2, borderaxespad=0.2, handlelength=1.4, columnspacing=1)
    return svg(figure, label)
