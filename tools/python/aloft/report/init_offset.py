"""Of a run of `offset` or one of its parts (offset.json): where every lag sits, and the scalars that were chosen."""

from typing import Any

from .grids import bars
from .page import Cell, Figure, Finding, Section, Table, words
from .text import EMPTY, grouped, listed, number, percent, ranges

Data = dict[str, Any]


def of_offset(data: Data) -> tuple[list[Finding], list[Section]]:
    """What is to be said, and the sections on lags and scalars."""
    places = data.get("lags") or []
    masses = [data["layers"][p["layer"]].get(f"lag{p['lag']}_mass_on_offset") for p in places]
    scalars = [
        [words(name.replace("_", " ")), Cell(", ".join(map(number, value)) if isinstance(value, list) else number(value))]
        for name, value in (data.get("scalars") or {}).items()
        if isinstance(value, (int, float, list))
    ]
    chosen = Section(
        "Scalars and where they come from", tables=[Table("Chosen on tokens that the statistics exclude", ["scalar", "value"], scalars)]
    )
    return [Finding("described", text) for text in _sentences(data, places, masses)], [_lags(data, places, masses), chosen]


def _sentences(data: Data, places: list[Data], masses: list[float | None]) -> list[str]:
    out, chosen = [], data.get("chosen_on") or {}
    if chosen.get("loss") is not None:
        lost, without = chosen["loss"], chosen["unigram_loss"]
        out.append(
            f"On {grouped(chosen['positions'])} tokens that the statistics exclude the designed model of counts loses {number(lost)} nats, "
            f"frequencies alone {number(without)}"
            + (f": {number(without - lost)} less." if lost < without else ": so the design says nothing there.")
        )
    known = [m for m in masses if m is not None]
    if places:
        layers = sorted({place["layer"] for place in places})
        held = (
            f"; their heads put {percent(min(known), 0)} to {percent(max(known), 0)} of their attention exactly that many tokens back"
            if known
            else ""
        )
        out.append(
            f"{'One lag is' if len(places) == 1 else f'{len(places)} lags are'} designed, in layer{'s' if len(layers) > 1 else ''} "
            f"{listed(layers)}{held}."
        )
    ratios = [float(r) for r in data.get("participation_ratio_of_realised_maps") or []]
    if ratios:
        out.append(
            f"The maps from one token to the next that they carry spread over {ranges(ratios, 1)} directions (participation ratio, "
            "whatever the basis)."
        )
    scale = data.get("stream_scale")
    out.append(
        f"Estimator {data.get('estimator', EMPTY)}, control {data.get('control', 'none')}"
        + (f"; all that the design writes to the stream is {number(scale, 2)} times the unit." if scale else ".")
    )
    return out


def _lags(data: Data, places: list[Data], masses: list[float | None]) -> Section:
    out = Section(
        "Where every lag sits",
        "A designed head looks exactly n tokens back and adds what the token there says of the next one. "
        "Margin: how far its score there is above that of every other distance.",
    )
    if not places:
        return out
    ratios, rows = data.get("participation_ratio_of_realised_maps") or [], []
    for place, mass in zip(places, masses):
        lag = place["lag"]
        margin, ratio = data["layers"][place["layer"]].get(f"lag{lag}_margin"), ratios[lag - 1] if lag - 1 < len(ratios) else None
        rows.append(
            [
                words(lag),
                words(place["layer"]),
                words(_span(place["first_kv_head"], place["kv_heads"])),
                Cell(percent(mass)),
                Cell(number(margin)),
                Cell(number(ratio, 1)),
            ]
        )
    out.tables = [Table("Lags", ["lag", "layer", "key/value heads", "attention on the lag", "margin", "participation ratio"], rows)]
    plot = bars(
        [f"lag {p['lag']}" for p in places],
        masses,
        "Share of attention on the lag",
        "share of attention",
        1.0,
        [percent(m) for m in masses],
    )
    out.figures = [
        Figure(
            "Attention on the lag",
            plot,
            "The share of a designed head's attention on its lag when all distances of the context compete; 1 would be all.",
        )
    ]
    return out


def _span(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first} to {first + count - 1}"
