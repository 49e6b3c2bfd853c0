"""What heads look at when the model reads tokens: attention.json (docs/analysis.md, "Attention on tokens")."""

import json
from pathlib import Path

from ...errors import InputError
from ..charts import masses
from ..grids import Map, heat_map
from ..page import Cell, Figure, Finding, Section, Table, words
from ..text import counted, grouped, listed, number, p_value
from .about import once
from .heads import MOST_FAINT, MOST_ROWS
from .read import Analysis, Row, document_of, mean, object_of, rows_of

FILE = "attention.json"
TABLES = ("attention_labels", "attention_heads", "attention_distances")
DOES = {  # label -> what one head, and what several do
    "previous-token": ("looks one token back", "look one token back"),
    "induction": ("looks at what followed last time", "look at what followed last time"),
    "duplicate": ("looks for its own token", "look for their own token"),
    "first-token": ("rests on the first token", "rest on the first token"),
    "uniform": ("prefers nothing", "prefer nothing"),
}
EFFECTS = ("previous-token", "induction")
SHOWN = ("previous_token", "induction", "duplicate", "first_token")
MOST_NAMED, MOST_CURVES = 4, 3
Head = tuple[int, int]  # layer, head


class Attention:
    """A whole attention.json. InputError where it is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        data = document_of(path, "aloft-attention", "no attention on tokens: `python -m aloft attention` writes")
        try:
            labels, heads, distances = (rows_of(name, object_of(data, "tables")[name]) for name in TABLES)
            self.labels: dict[Head, list[str]] = {(r["layer"], r["head"]): r["label"].split() for r in labels}
            self.measures: dict[str, dict[Head, Row]] = {}
            for r in heads:
                self.measures.setdefault(r["measure"], {})[r["layer"], r["head"]] = r
            self.distances: dict[Head, list[Row]] = {}
            for r in sorted(distances, key=lambda r: int(r["distance"])):
                self.distances.setdefault((r["layer"], r["head"]), []).append(r)
            unknown = [label for labels in self.labels.values() for label in labels if label not in DOES]
            if unknown:
                raise ValueError(f"label {unknown[0][:40]!r} is not known")
            for measure in SHOWN:
                if set(self.measures[measure]) != set(self.labels):
                    raise ValueError(f"{measure} is not of the heads that have labels")
            self.layers, self.heads = (int(object_of(data, "checkpoint")[name]) for name in ("layers", "heads"))
            if sorted(self.labels) != [(n, h) for n in range(self.layers) for h in range(self.heads)]:
                raise ValueError(f"the labels are not of {self.layers} layers of {self.heads} heads")
            self.windows, self.length = (int(object_of(data, "tokens")[name]) for name in ("windows", "length"))
            self.smallest_p, self.uniform = (float(object_of(data, "nulls")[name]) for name in ("smallest_p", "uniform"))
            self.notes = [str(note) for note in data.get("notes", [])]
        except KeyError as error:
            raise InputError(f"{path}: damaged: {error} is missing") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: damaged: {error}") from None

    def labelled(self, label: str) -> list[Head]:
        """Strongest first."""
        found = [key for key, labels in self.labels.items() if label in labels]
        measure = self.measures.get(label.replace("-", "_"))
        return sorted(found, key=lambda key: -measure[key]["value"]) if measure else found

    def strongest(self, measure: str) -> Row:
        return max(self.measures[measure].values(), key=lambda r: float(r["value"]))

    def p(self, row: Row) -> str:
        return p_value(row["p_family"], self.smallest_p)


def found_beside(a: Analysis) -> Attention | None:
    """Of the analysis' folder. InputError where it is of a model of another size."""
    path = a.path.parent / FILE
    if not path.is_file():
        return None
    out = Attention(path)
    if (out.layers, out.heads) != (a.layers, a.heads):
        raise InputError(f"{path}: is of a model of {out.layers} layers of {out.heads} heads, and {a.path.name} of {a.layers} of "
                         f"{a.heads}: they belong into folders of their own")
    return out


def section(t: Attention) -> Section:
    out = Section(
        "Attention on tokens",
        f"Where heads looked when the model read {t.windows} windows of {t.length} tokens. Nulls: the nearest other distance, for attention"
        " one token back; the same tokens without a repetition, for an induction head, which looks at what followed the last time that its"
        " token was there; even attention, for the first token.",
        paragraphs=[*_sentences(t), *once(t.notes)],
    )
    out.figures = [
        _map(t, "previous_token", "previous-token", "One token back, on tokens", "The share of attention one token back."),
        _map(t, "induction", "induction", "Induction, on tokens", "The share of attention on what followed last time, where random tokens "
             "come twice; colour is the distance from what it is where they do not."),
        _curves(t),
    ]
    table = _labels(t)
    out.tables = [table] if table.rows else []
    return out


def finding(t: Attention) -> Finding:
    """For the summary. Whether heads find their own token or rest on the first is described there, and is no effect: of heads that attend
    sharply, some of an untrained model do."""
    some = {label: len(t.labelled(label)) for label in DOES}
    said = listed([f"{grouped(n)} {DOES[label][n != 1]}" for label, n in some.items() if n or label in EFFECTS])
    text = f"When the model reads tokens, of {grouped(len(t.labels))} heads {said} ({t.windows} windows of {t.length} tokens)."
    return Finding("effect" if any(some[label] for label in EFFECTS) else "no effect", text)


def _sentences(t: Attention) -> list[str]:
    out = [_previous(t), _of_content(t, "induction"), _of_content(t, "duplicate")]
    sinks, even = t.labelled("first-token"), t.labelled("uniform")
    average = mean([r["value"] for r in t.measures["first_token"].values()])
    rest = "rests on it, with half of what it has" if len(sinks) < 2 else "rest on it, with half of what they have"
    out.append(
        f"{number(average)} of all attention goes to the first token, which even attention would give {number(t.uniform)};"
        f" {counted(len(sinks), len(t.labels), 'head')} {rest} or more."
        f" {counted(len(even), len(t.labels), 'head').capitalize()} attend{'s' if len(even) < 2 else ''} evenly."
    )
    return out


def _named(heads: list[Head]) -> str:
    named = listed([f"layer {n}'s head {h}" for n, h in heads[:MOST_NAMED]])
    return f"the strongest {named}" if len(heads) > MOST_NAMED else named


def _pair(row: Row) -> tuple[str, str, str]:
    """A value and its null with digits enough to tell them apart, and what to say where six are not."""
    for digits in range(3, 7):
        value, null = (f"{row[column]:.{digits}f}".replace("-", "−") for column in ("value", "null"))
        if value != null:
            return value, null, ""
    return number(row["value"]), number(row["null"]), ", a difference too small to count"


def _previous(t: Attention) -> str:
    heads, best = t.labelled("previous-token"), t.strongest("previous_token")
    value, null, same = _pair(best)
    figures = f"{value} of its attention there, {null} at the nearest other distance{same}"
    if not heads:
        return f"No head is a previous-token head: the most is {_named([(best['layer'], best['head'])])}, with {figures}."
    mass, shuffled = (mean([t.measures["previous_token"][key][column] for key in heads]) or 0.0 for column in ("value", "shuffled"))
    why = (
        "so it is position that they follow" if shuffled > 0.75 * mass
        else "so it is what the tokens are that they follow" if shuffled < 0.25 * mass
        else "so it is position in part"
    )
    does = "looks" if len(heads) == 1 else "look"
    return (
        f"{counted(len(heads), len(t.labels), 'head').capitalize()} {does} one token back ({_named(heads)}): the first has"
        f" {figures}. On the same tokens in random order they do so with {number(shuffled)} instead of {number(mass)} (mean), {why}."
    )


def _of_content(t: Attention, label: str) -> str:
    heads, best = t.labelled(label), t.strongest(label)
    place = "what followed their token the last time" if label == "induction" else "where their token was the last time"
    value, null, same = _pair(best)
    figures = (
        f"{value} of its attention where random tokens repeat, {null} where they do not{same}"
        f" (p\N{NO-BREAK SPACE}{t.p(best)})"
    )
    if not heads:
        kind = "an induction head" if label == "induction" else "a duplicate-token head"
        whose = f"{place.replace('their', 'its')}: the most is {_named([(best['layer'], best['head'])])}"
        return f"No head is {kind}, which looks at {whose}, with {figures}."
    does, whose = ("looks", place.replace("their", "its")) if len(heads) == 1 else ("look", place)
    return f"{counted(len(heads), len(t.labels), 'head').capitalize()} {does} at {whose} ({_named(heads)}): the first has {figures}."


def _map(t: Attention, measure: str, label: str, title: str, caption: str) -> Figure:
    rows = t.measures[measure]
    places = [[(n, h) for h in range(t.heads)] for n in range(t.layers)]
    grid = Map(
        [[rows[key]["value"] for key in row] for row in places],
        [[label in t.labels[key] for key in row] for row in places],
        [str(n) for n in range(t.layers)],
        [str(h) for h in range(t.heads)],
        "layer",
        "head",
        [[rows[key]["null"] if measure == "induction" else t.uniform for key in row] for row in places],
        scatter=0.02,
    )
    return Figure(title, heat_map(grid, f"{title} by layer and head"), f"{caption} Outlined: heads with the label {label}.")


def _curves(t: Attention) -> Figure:
    """Labelled heads, and the mean of all."""
    first = t.labelled("previous-token")
    rest = sorted((key for key in t.distances if key not in first), key=lambda key: -max(r["mass"] for r in t.distances[key]))
    named = (first + rest)[:MOST_CURVES]
    curves = {f"{n}.{h}": [float(r["mass"]) for r in t.distances[n, h]] for n, h in named}
    for name, column in (("all heads", "mass"), ("all, shuffled", "shuffled")):
        curves[name] = [sum(column) / len(column) for column in zip(*([float(r[column]) for r in rows] for rows in t.distances.values()))]
    others = [[float(r["mass"]) for r in rows] for key, rows in t.distances.items() if key not in named]
    return Figure(
        "Attention by distance, on tokens",
        masses(curves, others[:: 1 + len(others) // MOST_FAINT], "Mean attention by distance on windows of tokens"),
        "The most pointed heads (layer.head), and the mean of all: on the text, and on its tokens in random order.",
    )


def _labels(t: Attention) -> Table:
    found = list(dict.fromkeys(key for label in DOES for key in t.labelled(label)))
    rows = []
    for key in found[:MOST_ROWS]:
        row = [words(key[0]), words(key[1]), words(", ".join(t.labels[key]))]
        for measure in SHOWN:
            x = t.measures[measure][key]
            value, null, _ = _pair(x)
            row.append(Cell(value, "effect" if measure.replace("_", "-") in t.labels[key] else ""))
            row.append(Cell(null, "null"))
        rows.append(row)
    more = f" The first {MOST_ROWS} of {grouped(len(found))}." if len(found) > MOST_ROWS else ""
    counts = ", ".join(f"{len(t.labelled(label))} {label}" for label in DOES)
    return Table(
        f"Heads labelled on tokens: {grouped(len(found))} of {grouped(len(t.labels))}: {counts}",
        ["layer", "head", "label", *(c for _ in SHOWN for c in ("measured", "null"))],
        rows,
        [("", 3), ("one token back", 2), ("induction", 2), ("duplicate", 2), ("first token", 2)],
        "Bold: labelled so. A label needs a family-wise p below 0.01, three times its null, and a tenth of all attention (the first"
        " token: half). Uniform: nearly as spread as can be, and nowhere more than twice what even attention has." + more,
    )
