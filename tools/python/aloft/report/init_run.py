"""The page of a run folder of `aloft init`: what was asked, what the corpus holds, what was designed."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .charts import Series, bars, by_layer, frontier, spectra
from .page import Cell, Figure, Finding, Page, Section, Table, words
from .papers import HEADING, figures, of_layer
from .text import EMPTY, counted, grouped, listed, number, percent, ranges

Data = dict[str, Any]
READING = ("A lag n compares with which token comes n places later in the corpus. A null is the same figure for something without information: shuffled text, or random directions. "
           "Whether a design helps, only training can tell (python -m aloft trial).")
CONSUMED = ("corpus-hash", "manifest")


def page_of(folder: Path) -> Page:
    """manifest.json, and spectra.json or offset.json where there is one. InputError where one is damaged."""
    manifest = _read(folder / "manifest.json")
    spread = _read(folder / "spectra.json") if (folder / "spectra.json").is_file() else None
    offset = _read(folder / "offset.json") if (folder / "offset.json").is_file() else None
    name = "manifest.json"
    try:
        recipe, about = str(manifest["recipe"]), manifest["manifest"]
        facts = _facts(manifest, about)
        name = "spectra.json"
        findings, sections = (_of_spectra(spread) if spread is not None else ([], []))
        name = "offset.json"
        if offset is not None:
            findings, sections = _of_offset(offset)
        name = "manifest.json"
        sections = [*sections, _stages(about), _files(about), _request(manifest)]
        if not findings:
            findings = [Finding("described", f"The recipe {recipe} keeps no statistics beside its tensors: what is known of the run is below.")]
    except KeyError as error:
        raise InputError(f"{folder / name}: damaged: {error} is missing") from None
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{folder / name}: damaged: {error}") from None
    return Page(f"Init tensors by {recipe}", f"run folder {folder.resolve().name}", facts, READING, findings, sections)


def _read(path: Path) -> Data:
    try:
        data = json.loads(path.read_text(encoding="utf8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: damaged: no object")
    return data


def _facts(manifest: Data, about: Data) -> list[tuple[str, str]]:
    model = about["model"]
    groups = "" if model["kv_heads"] == model["heads"] else f" ({model['kv_heads']} key/value)"
    size = (f"{manifest.get('arch', 'model')}: {model['layers']} layers, {model['heads']} heads{groups} of {model['head_dim']}, width {model['d_model']}, context {model['context']}"
            + (f", {grouped(model['vocab'])} ids" if "vocab" in model else ""))
    out = [("recipe", str(manifest["recipe"])), ("model", size)]
    if "tokens" in about:
        unknown = about.get("unknown_tokens")
        share = f", {percent(unknown / max(about['tokens'], 1))} unknown" if unknown is not None else ""
        out.append(("corpus", f"{grouped(about['tokens'])} tokens, {grouped(about['corpus_vocab'])} ids, {about.get('corpus_format', '')}{share}"))
    out.append(("seed", f"{manifest.get('seed', 0)}, {manifest.get('dtype', 'f32')}, backend {about.get('backend', 'cpu')}"))
    return out


# ---- spread and asymmetry

def _of_spectra(data: Data) -> tuple[list[Finding], list[Section]]:
    lags, layers = data["lags"], data["layers"]
    counts, moves = ([lag[f"{name}_asymmetry"]["ratio"] for lag in lags] for name in ("counts", "transition"))
    null_counts, null_moves = ([_null(lag, f"{name}_asymmetry", "ratio") for lag in lags] for name in ("counts", "transition"))
    before, after = [layer["before"]["pr_energy"] for layer in layers], [layer["after"]["pr_energy"] for layer in layers]
    cosines, nulls = [layer["matrix_cosine"]["value"] for layer in layers], [layer["matrix_cosine"]["null"] for layer in layers]
    first = lags[0]
    random = data["null_gaussian"]["attention_kernel"]["antisymmetric"]["pr_energy"]
    narrow = first["antisymmetric"]["pr_energy"] < random / 2
    findings = [
        Finding("described", _said("counts of neighbours", counts[0], null_counts[0]) + " " + _said("transitions", moves[0], null_moves[0])),
        Finding("described", f"What the corpus says of direction lies in {'few' if narrow else 'many'} directions: a participation ratio of {number(first['antisymmetric']['pr_energy'], 1)} at lag 1 "
                f"(shuffled text {number(_null(first, 'antisymmetric', 'pr_energy'), 1)}; random attention {number(random, 1)})."),
        Finding("described", f"The kernels written have {ranges(after, 1)}, by {layers[0]['method']}, from {ranges(before, 1)}." if any(abs(x - y) > 0.05 for x, y in zip(before, after)) else
                f"The kernels written keep it: {ranges(after, 1)}."),
        Finding("described", (f"They still point where the corpus does, by a matrix cosine of {ranges(cosines, 2)}" if min(cosines) > 5 * max(nulls) else
                f"They do not point where the corpus does: a matrix cosine of {ranges(cosines, 2)}") + f" (random directions {number(max(nulls), 3)})."
                + (" More width costs alignment: the frontier below is the most that is possible." if 5 * max(nulls) < min(cosines) < 0.99 else "")),
    ]
    corpus = Section("The corpus by lag", "How asymmetric counts and transitions are, and over how many directions their antisymmetric part, projected by the embedding, is spread.", tables=[_lag_table(lags)])
    corpus.figures = [
        Figure("Asymmetry by lag", by_layer([Series("counts", counts), Series("counts, shuffled", null_counts, "null"), Series("transitions", moves, "#3a86b8"),
               Series("transitions, shuffled", null_moves, "null")], "Asymmetry by lag", "ratio", "lag", zero=True, first=1),
               "Counts have a direction that shuffled text (dashed) lacks; the ratio of the transitions is that of shuffled text."),
        Figure("Spectra by lag", spectra({f"lag {lag['lag']}": _scaled(lag["antisymmetric"]["sigma"]) for lag in lags}, "Spectra of A_n by lag", "σ / largest σ",
               {"shuffled, lag 1": _scaled(first["null_shuffled"]["antisymmetric"]["sigma"])} if first.get("null_shuffled") else {}),
               "Singular values of the antisymmetric part. All are concentrated; shuffled text (dashed) even more.")]
    design = Section("The layers", "What was made of it. Cosines compare with the corpus' own matrix; their nulls are random directions.", tables=[_layer_table(layers)])
    design.figures = [Figure("Spectra written", spectra({f"layer {layer['layer']}": _scaled(layer["after"]["sigma"]) for layer in layers}, "Spectra written by layer", "σ / largest σ",
                             {"corpus, lag 1": _scaled(first["antisymmetric"]["sigma"])}), "What each layer's kernel has, beside the corpus' own (dashed).")]
    edge = [f for f in layers[0].get("frontier", [])]
    if edge:
        x: list[float | None] = [f["pr_target"] for f in edge]
        points = [(str(layer["layer"]), after[i], layer["spectral_cosine"]) for i, layer in enumerate(layers)]
        design.figures.append(Figure("Width against alignment", frontier({f"most possible, lag {layers[0]['lag']}": (x, [f["pareto_cosine"] for f in edge]), "tempering": (x, [f["temper_cosine"] for f in edge])},
                              points, list(zip(figures()["first"]["attention_pr"], figures()["first"]["spectral_cosine"])), "Spectral cosine against participation ratio"),
                              "The most alike to the corpus that a spectrum of some width can be (solid), and the layers written (their number). Layers of other lags have other curves."))
    return findings, [corpus, design]


def _said(what: str, ratio: float, null: float | None) -> str:
    if null is None:
        return f"Of the norm of the {what} {number(ratio)} is antisymmetric (no null was made)."
    shows = "The direction of time shows" if ratio > null + 0.05 else "It does not show" if abs(ratio - null) < 0.05 else "There is less of it than in shuffled text"
    return f"{shows} in the {what}: {number(ratio)} of their norm is antisymmetric, {number(null)} for shuffled text."


def _null(lag: Data, *path: str) -> float | None:
    found: Any = lag.get("null_shuffled")
    for name in path:
        found = found[name] if found is not None else None
    return None if found is None else float(found)


def _scaled(sigma: list[float]) -> list[tuple[float, float]]:
    top = max(sigma, default=0)
    return [(float(i), x / top) for i, x in enumerate(sigma, 1)] if top > 0 else []


def _lag_table(lags: list[Data]) -> Table:
    paper, rows = figures()["first"], []
    for lag in lags:
        first = lag["lag"] == 1
        rows.append([words(lag["lag"]), Cell(grouped(lag["pairs"])), Cell(number(lag["counts_asymmetry"]["ratio"])), Cell(number(_null(lag, "counts_asymmetry", "ratio")), "null"),
                     Cell(number(lag["transition_asymmetry"]["ratio"])), Cell(number(_null(lag, "transition_asymmetry", "ratio")), "null"),
                     Cell(number(paper["corpus_transition_ratio"]) if first else "", "paper"), Cell(number(lag["antisymmetric"]["pr_energy"], 2)),
                     Cell(number(_null(lag, "antisymmetric", "pr_energy"), 2), "null"), Cell(number(paper["corpus_pr"], 1) if first else "", "paper"),
                     Cell(number(lag["antisymmetric"]["effective_rank"], 1)), Cell(percent(lag["antisymmetric"]["top8_energy"]))])
    return Table("Lags", ["lag", "pairs", "measured", "shuffled", "measured", "shuffled", "paper", "measured", "shuffled", "paper", "effective rank", "top-8 energy"], rows,
                 [("", 2), ("counts: ‖M_A‖/‖M‖", 2), ("transitions: ‖M_A‖/‖M‖", 3), ("PR of A", 3), ("A", 2)], f"{HEADING[0].upper()}{HEADING[1:]}.")


def _layer_table(layers: list[Data]) -> Table:
    paper, rows = figures()["first"], []
    for n, layer in enumerate(layers):
        overlap, residual = layer.get("subspace_overlap") or {}, (layer.get("composition") or {}).get("truncation_residual")
        rows.append([words(layer["layer"]), words(layer["lag"]), words(layer["method"]), Cell(number(layer["before"]["pr_energy"], 2)), Cell(number(layer["after"]["pr_energy"], 2)),
                     of_layer(paper["attention_pr"], n, len(layers), 1), Cell(number(layer["spectral_cosine"])), of_layer(paper["spectral_cosine"], n, len(layers)),
                     Cell(number(layer["matrix_cosine"]["value"])), Cell(number(layer["matrix_cosine"]["null"]), "null"), Cell(number(overlap.get("value"))), Cell(number(overlap.get("null")), "null"),
                     Cell(number(residual))])
    return Table("Layers", ["layer", "lag", "method", "before", "after", "paper", "design", "paper", "design", "null", "design", "null", "left out"], rows,
                 [("", 3), ("participation ratio", 3), ("spectral cosine", 2), ("matrix cosine", 2), ("overlap of 8 directions", 2), ("", 1)],
                 f"Left out: what does not fit into the heads' rank. The paper's figures are of trained attention ({HEADING.removeprefix('paper (')}.")


# ---- offset and its parts

def _of_offset(data: Data) -> tuple[list[Finding], list[Section]]:
    findings, rows = [], []
    ratios = data.get("participation_ratio_of_realised_maps") or []
    chosen = data.get("chosen_on") or {}
    if chosen.get("loss") is not None:
        lost, without = chosen["loss"], chosen["unigram_loss"]
        findings.append(Finding("described", f"On {grouped(chosen['positions'])} tokens that the statistics exclude the designed model of counts loses {number(lost)} nats, frequencies alone {number(without)}"
                                + (f": {number(without - lost)} less." if lost < without else ": so the design says nothing there.")))
    masses = []
    for place in data.get("lags") or []:
        of_layer_ = data["layers"][place["layer"]]
        mass, margin = of_layer_.get(f"lag{place['lag']}_mass_on_offset"), of_layer_.get(f"lag{place['lag']}_margin")
        masses.append(mass)
        ratio = ratios[place["lag"] - 1] if place["lag"] - 1 < len(ratios) else None
        rows.append([words(place["lag"]), words(place["layer"]), words(_span(place["first_kv_head"], place["kv_heads"])), Cell(percent(mass)), Cell(number(margin)), Cell(number(ratio, 1))])
    known = [m for m in masses if m is not None]
    if rows:
        layers = sorted({place["layer"] for place in data["lags"]})
        findings.append(Finding("described", f"{counted(len(rows), len(rows), 'lag').capitalize()} {'is' if len(rows) == 1 else 'are'} designed, in layer{'s' if len(layers) > 1 else ''} {listed(layers)}"
                                + (f"; their heads put {percent(min(known), 0)} to {percent(max(known), 0)} of their attention exactly that many tokens back." if known else ".")))
    if ratios:
        findings.append(Finding("described", f"The maps from one token to the next that they carry spread over {ranges([float(r) for r in ratios], 1)} directions (participation ratio, whatever the basis)."))
    scale = data.get("stream_scale")
    findings.append(Finding("described", f"Estimator {data.get('estimator', EMPTY)}, control {data.get('control', 'none')}" + (f"; all that the design writes to the stream is {number(scale, 2)} times the unit." if scale else ".")))
    design = Section("Where every lag sits", "A designed head looks exactly n tokens back and adds what the token there says of the next one. Margin: how far its score there is above that of every other distance.")
    if rows:
        design.tables.append(Table("Lags", ["lag", "layer", "key/value heads", "attention on the lag", "margin", "participation ratio"], rows))
        design.figures.append(Figure("Attention on the lag", bars([f"lag {p['lag']}" for p in data["lags"]], [m or 0 for m in masses], "Share of attention on the lag", "share of attention", 1.0,
                                     [percent(m) for m in masses]), "The share of a designed head's attention on its lag when all distances of the context compete; 1 would be all."))
    scalars = Section("Scalars and where they come from", tables=[Table("Chosen on tokens that the statistics exclude", ["scalar", "value"], [
        [words(name.replace("_", " ")), Cell(", ".join(number(x) for x in value) if isinstance(value, list) else number(value))] for name, value in (data.get("scalars") or {}).items()
        if isinstance(value, (int, float, list))])])
    return findings, [design, scalars]


def _span(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first} to {first + count - 1}"


# ---- of every run

def _stages(about: Data) -> Section:
    stages = about.get("stages") or []
    out = Section("Time")
    if stages:
        seconds = [float(s["seconds"]) for s in stages]
        out.figures = [Figure("Seconds by stage", bars([str(s["name"]) for s in stages], seconds, "Seconds of each stage", "seconds", None,
                              [f"{number(t, 1)}{' (taken from before)' if s.get('resumed') else ''}" for s, t in zip(stages, seconds)]), f"{number(math.fsum(seconds), 1)} seconds in all, on backend {about.get('backend', 'cpu')}.")]
    return out


def _files(about: Data) -> Section:
    files: Mapping[str, Data] = about.get("files") or {}
    return Section("Files", tables=[Table("What the folder holds", ["file", "bytes", "hash (XXH3)"], [[words(name), Cell(grouped(f["bytes"])), words(f["xxh3_128"])] for name, f in files.items()])] if files else [])


def _request(manifest: Data) -> Section:
    rows = [[words(name), words(", ".join(map(str, value)) if isinstance(value, list) else value)] for name, value in manifest.items() if name not in CONSUMED]
    return Section("What was asked", "`aloft init --config manifest.json --output NEW/` repeats the run.", tables=[Table("Flags", ["flag", "value"], rows)])
