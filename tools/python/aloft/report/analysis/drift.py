"""From one checkpoint to another of the same model: how far weights moved, and whether they became what the other has."""

from ..charts import Series, by_layer
from ..page import Figure, Section
from ..papers import figures
from . import tables
from .read import Analysis, figures_of, is_effect


def section(a: Analysis) -> Section:
    out = Section(
        "Drift between two checkpoints",
        "Drift is the norm of the change over the norm of the first. Two solutions can do the same with weights that do not correlate, for"
        " a turn of all coordinates changes nothing; the correlation over tokens does not see such turns, and its square is how much of one"
        " is predicted by the other.",
    )
    if not a.rows("drift"):
        return Section(out.title)
    paper = figures()["second"]["drift"]

    def of(subject: str, measure: str, title: str, with_paper: bool = True) -> tables.Quantity:
        values = {n: entry[f"{subject} {measure}"] for n, entry in paper.items() if f"{subject} {measure}" in entry}
        return tables.Quantity(
            title,
            lambda n: a.row("drift", layer=n, subject=subject, measure=measure),
            values or None if with_paper else None,
            digits=3,
            permuted=True,
        )

    out.tables = [
        tables.by_layer(
            a,
            "Drift and correlation (second paper: SFT drift and corr(SFT, V1) of Q and V, between two trainings)",
            [
                of("Q", "drift", "Q drift"),
                of("V", "drift", "V drift"),
                of("Q", "correlation", "Q correlation"),
                of("V", "correlation", "V correlation"),
            ],
        )
    ]
    over_tokens = [
        of("QK", "drift", "QK drift"),
        of("OV", "drift", "OV drift"),
        of("QK", "token_correlation", "QK over tokens"),
        of("OV", "token_correlation", "OV over tokens"),
    ]
    out.tables.append(tables.by_layer(a, "What the model can see of it: circuits", over_tokens))
    series = []
    for subject, colour in (("Q", "measured"), ("K", "#3a86b8"), ("V", "#7d58c2"), ("O", "#4f9a58")):
        rows = [a.row("drift", layer=n, subject=subject, measure="drift") for n in range(a.layers)]
        if any(rows):
            series.append(Series(subject, figures_of(rows), colour, effects=[is_effect(r) for r in rows]))
    out.figures.append(
        Figure(
            "Drift by layer",
            by_layer(series, "Drift of Q, K, V and O by layer", "‖W′ − W‖ / ‖W‖", zero=True),
            "The paper sees V move four to seven times as far as Q. √2 is two independent matrices of one size.",
        )
    )
    return out
