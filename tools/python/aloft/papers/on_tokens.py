"""What heads look at when the models read held-out text: nothing of the papers', but what their kernels are for."""

from ..report.page import Cell, Table, words
from ..report.text import number, p_value
from .measured import Part, waiting
from .results import Numbers

TITLE = "Heads on held-out text (not in the papers)"
MOST = {"previous_token": "most attention one token back", "induction": "most on what followed last time",
        "duplicate": "most on the same token last time"}
NOTE = (
    "Means over windows, of the queries in their second half. Of “most”: the head (layer.head) with the largest mean; null: the nearest other "
    "distance, and for the others the same head where random tokens do not repeat; p: of the trained model, for all heads together. First "
    "token: mean over heads; null: even attention. What a label needs: docs/analysis.md."
)


def part(numbers: Numbers) -> Part:
    if "attention" not in numbers:
        return waiting(TITLE, "attention")
    trained, untrained = numbers["attention"]["trained"], numbers["attention"]["untrained"]
    rows = [[words(f"heads labelled {label}"), *(Cell(f"{x['labels'][label]} of {x['heads']}") for x in (trained, untrained)),
             Cell("", "null"), Cell("")] for label in trained["labels"]]
    for name, title in MOST.items():
        most = trained["most"][name]
        rows.append([words(title), *(_head(x["most"][name]) for x in (trained, untrained)), Cell(number(most["null"]), "null"),
                     Cell(p_value(most["p_family"]))])
    rows.append([words("attention on the first token"), *(Cell(number(x["first_token"])) for x in (trained, untrained)),
                 Cell(number(trained["uniform"]), "null"), Cell("")])
    table = Table(f"Attention on {trained['windows']} windows of {trained['length']} held-out tokens",
                  ["figure", "trained", "untrained", "null", "p"], rows, (), NOTE)
    return Part(TITLE, _says(trained, untrained), "described", [table])


def _head(most: Numbers) -> Cell:
    return Cell(f"{number(most['value'])} ({most['layer']}.{most['head']})")


def _says(trained: Numbers, untrained: Numbers) -> str:
    def of(label: str) -> str:
        return f"{trained['labels'][label]} (untrained {untrained['labels'][label]})"

    most = trained["most"]
    even = untrained["labels"]["uniform"]
    return (
        f"Of {trained['heads']} heads of the trained model {of('previous-token')} look one token back and {of('induction')} at what followed "
        f"their token last time. The most that one has is {number(most['previous_token']['value'])} one token back (nearest other distance "
        f"{number(most['previous_token']['null'])}) and {number(most['induction']['value'])} by induction "
        f"({number(most['induction']['null'])} without a repetition). {trained['labels']['uniform']} attend evenly, of the untrained "
        f"model {even}."
    )
