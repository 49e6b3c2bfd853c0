"""What was found, in sentences that follow the numbers."""

from ..page import Finding
from ..text import counted, listed, number, ranges
from . import direction, match
from .heads import labelled
from .qkv import MEANINGS, VIEWS
from .read import Analysis, Row, is_effect, mean

READING = (
    "Of every attention head, QK is the matrix that decides where a token looks, and OV what it adds of the token it looks at; lag n"
    " compares with which token comes n places later in the corpus. A null is a baseline: the same measurement on random weights, on the"
    " corpus' directions exchanged at random, or on text in random order. An effect is a figure that its null reaches in fewer than one of a"
    " hundred such reports, however many layers, heads and lags were looked at; p says so of each."
)


def findings(a: Analysis) -> list[Finding]:
    """Five to eight."""
    asked = [
        _asymmetry(a),
        *(_follows(a, circuit) for circuit in ("QK", "OV")),
        _widths(a),
        _correlations(a),
        _twins(a),
        _sizes(a) if a.corpus is None else None,
        _heads(a),
        _drift(a),
    ]
    return [f for f in asked if f is not None]


def _asymmetry(a: Analysis) -> Finding | None:
    value, null, below, above = direction.summary_values(a)
    if value is None or null is None:
        return None
    figures = f"{number(value)} of the norm of QK is antisymmetric (mean over layers), {number(null)} where weights are random"
    if not below and not above:
        text = f"Attention is no more asymmetric than random matrices are: {figures}."
    elif below and not above:
        text = f"Attention is less asymmetric than random matrices are, in {_which(below, a.layers)}: {figures}."
    elif above and not below:
        text = f"Attention is more asymmetric than random matrices are, in {_which(above, a.layers)}: {figures}."
    else:
        text = f"Attention is more asymmetric than random matrices in {_layers(above)} and less in {_layers(below)}: {figures}."
    counts, moves = (a.row("corpus", lag=1, subject=s, measure="asymmetry_ratio") for s in ("counts", "transition"))
    if counts and moves and None not in (counts["null"], moves["null"], counts["value"], moves["value"]):
        same = abs(moves["value"] - moves["null"]) < 0.05
        shown = counts["value"] > counts["null"] + 0.05
        text += (
            f" In the corpus, {'the direction of time shows in the' if shown else 'there is no direction of time even in the'} counts of"
            f" neighbours (how often b comes after a: {number(counts['value'])}; shuffled text {number(counts['null'])})"
            + (
                f", {'not' if shown else 'nor'} in its transitions (these counts as shares of all that comes after a:"
                f" {number(moves['value'])} and {number(moves['null'])})."
                if same
                else "."
            )
        )
    return Finding("effect" if below or above else "no effect", text)


def _which(layers: list[int], of: int) -> str:
    """layers 1 and 2, or how many where they are many."""
    return _layers(layers) if len(layers) <= 3 and len(layers) < of else counted(len(layers), of, "layer")


def _layers(layers: list[int]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {listed(sorted(layers))}"


def _follows(a: Analysis, circuit: str) -> Finding | None:
    rows, heads = match.strongest(a, circuit, whole=True), match.strongest(a, circuit, whole=False)
    if not rows:
        return None
    what = "QK (where tokens look)" if circuit == "QK" else "OV (what is added)"
    found, single = [r for r in rows if is_effect(r)], [r for r in heads if is_effect(r)]
    best = found[0] if found else rows[0]
    figures = _figures(a, best)
    if found:
        figures += _beside_shuffled(best)
        backwards = " against its direction" if (best["value"] or 0) < 0 else ""
        text = f"Layer {best['layer']}'s {what} follows the corpus at lag {best['lag']}{backwards} ({figures})"
        opposed = sum((r["value"] or 0) < 0 for r in found)
        text += (
            f"; so it is, at one lag or another, in {counted(len(found), a.layers, 'layer')}"
            f"{f' ({opposed} of them against its direction)' if 0 < opposed < len(found) else ''}."
            if len(found) > 1
            else "; no other layer's does." if a.layers > 1 else "."
        )
        if len(found) > 2 and circuit == "QK":
            order = sorted(found, key=lambda r: int(r["layer"]))
            lags = [int(r["lag"]) for r in order]
            text += (
                ' "Asymmetry injection", the paper that this follows, expects deeper layers at longer lags, which'
                f" {'is so' if lags == sorted(lags) else 'is not so'}: here {_layers([r['layer'] for r in order])} are strongest at"
                f" {listed(lags)}."
            )
    elif single:
        text = f"{_heads_found(a, heads, single, f' with {_whose(single)} {what}')}" + (
            "." if a.layers == 1 else "; no layer as a whole does."
        )
    else:
        text = (
            f"No layer's {what} follows the corpus at any lag, nor a single one of {len(heads)} heads': the furthest from its null is layer"
            f" {best['layer']} at lag {best['lag']} ({figures})."
        )
    if found:
        text += f" {_heads_found(a, heads, single, '')}." if single else " No single head does by itself." if heads else ""
    skew = [r for r in match.strongest(a, circuit, whole=True, part="antisymmetric") if is_effect(r)] if circuit == "QK" else []
    if skew:
        most = "clearly" if len(skew) == 1 else f"in layer {skew[0]['layer']}"
        text += (
            " The direction of time alone (the antisymmetric part) is followed in"
            f" {_layers([r['layer'] for r in skew])}, most {most} at lag {skew[0]['lag']} ({number(skew[0]['value'])}:"
            f" tokens look back at what comes {'before' if skew[0]['value'] < 0 else 'after'} them in the corpus"
            f"{_beside_shuffled(skew[0])})."
        )
    return Finding("effect" if found or single or skew else "no effect", text)


def _figures(a: Analysis, row: Row) -> str:
    return f"matrix cosine {number(row['value'])}, null {number(row['null'])} ± {number(row['null_sd'])}, p\N{NO-BREAK SPACE}{a.p(row)}"


def _whose(found: list[Row]) -> str:
    return "its" if len(found) == 1 else "their"


def _heads_found(a: Analysis, heads: list[Row], found: list[Row], how: str) -> str:
    """Which single heads follow the corpus, and whether a text without order gives as much."""
    top = found[0]
    where = f"layer {top['layer']}'s head {top['head']} at lag {top['lag']} ({_figures(a, top)}{_beside_shuffled(top)})"
    opposed = sum(r["value"] < 0 for r in found)
    does = "follow" if not opposed else "oppose" if opposed == len(found) else "follow or oppose"
    if len(found) == 1:
        return f"One of {len(heads)} heads {'follows' if top['value'] > 0 else 'opposes'} the corpus{how}: {where}"
    return f"{len(found)} of {len(heads)} heads {does} the corpus{how}, most clearly {where}"


def _beside_shuffled(row: Row) -> str:
    """What one text without order gives in a figure's place, and what follows. Its sign is chance's where frequencies are taken out, so
    that one of the other sign explains nothing, but may still be as large."""
    value, shuffled = row["value"], row["shuffled"]
    if shuffled is None:
        return ""
    said, large = f"; shuffled text {number(shuffled)}", abs(shuffled) > abs(value) / 2
    if value * shuffled < 0:
        return said + (
            ", of the other sign, so it does not explain this, but shows that a text without order can give as much"
            if abs(shuffled) >= abs(value)
            else ", of the other sign, so it does not explain this, but shows that a text without order can give more than half as much"
            if large
            else ", of the other sign"
        )
    if abs(shuffled) >= abs(value):
        return said + ", as much without any order of words, so this is no sign of it"
    return said + (", so much of it is how frequent tokens are, not their order" if large else "")


def _widths(a: Analysis) -> Finding | None:
    widths = a.rows("weights", head=None, subject="QK_antisymmetric", measure="pr_energy")
    values = [r["value"] for r in widths if r["value"] is not None]
    if not values:
        return None
    effects, null = [r for r in widths if is_effect(r)], mean([r["null"] for r in widths])
    narrower = sum(r["value"] < r["null"] for r in effects)
    text = (
        f"The antisymmetric part of QK spreads over {ranges(values, 1)} directions (participation ratio by layer; random layers"
        f" {number(null, 1)}); it is {'narrower' if 2 * narrower >= len(effects) else 'wider'} than random in"
        f" {counted(len(effects), a.layers, 'layer')}"
        if effects
        else (
            f"The antisymmetric part of QK spreads over {ranges(values, 1)} directions (participation ratio by layer), as random layers do"
            f" ({number(null, 1)})"
        )
    )
    corpus = a.row("corpus", lag=1, subject="projected_antisymmetric", measure="pr_energy")
    alike = [
        r
        for r in a.rows("match", circuit="QK", head=None, part="antisymmetric", measure="spectral_cosine")
        if r["lag"] == 1 and r["value"] is not None
    ]
    if corpus:
        text += f"; that of the corpus' transitions at lag 1 over {number(corpus['value'], 1)}"
    text += "."
    if alike:
        best, like = max(alike, key=lambda r: float(r["value"])), [r for r in alike if is_effect(r)]
        shuffled, above = best["shuffled"], best["value"] - (best["null"] or 0)
        kept = (shuffled - (best["null"] or 0)) / above if shuffled is not None and above > 0 else 0.0
        text += (
            f" Layer {best['layer']}'s spectrum is the most alike to the corpus' at lag 1 (spectral cosine {number(best['value'])}; random"
            f" layers {number(best['null'])}{'' if shuffled is None else f'; to that of shuffled text {number(shuffled)}'}), "
            + (
                "which is no effect."
                if best not in like
                else "which is less than random layers have."
                if above <= 0
                else "an effect, but no sign of the text: without its order it is as alike."
                if kept > 0.95
                else f"an effect, of which {number(100 * kept, 0)}% is there without the text's order."
                if kept > 0.5
                else "and that is an effect."
            )
        )
    return Finding("effect" if effects else "no effect", text)


def _correlations(a: Analysis) -> Finding | None:
    rows = [r for r in a.tables.get("correlations", []) if r["value"] is not None and r["subject"] in ("Q", "K", "V")]
    if not rows:
        return None
    best, effects = max(rows, key=lambda r: abs(float(r["value"]))), [r for r in rows if is_effect(r)]
    bands = [r for r in a.tables.get("bands", []) if r["value"] is not None]
    banded = [r for r in bands if is_effect(r)]
    meaning = f", {MEANINGS[best['against']]}" if best["against"] in MEANINGS else ""
    about = (
        f"the largest of {len(rows)} correlations is {number(best['value'])} (layer {best['layer']}, {best['subject']} with"
        f" {VIEWS.get(best['against'], best['against'])}{meaning}; null ± {number(best['null_sd'])})"
    )
    text = (
        f"Of correlations of Q, K and V with views of the corpus, {len(effects)} of {len(rows)} are effects: {about}."
        if effects
        else f"Q, K and V themselves are no views of the corpus: {about}."
    )
    if bands:
        text += (
            f" Their energy prefers some bands of the corpus' directions (from the strongest to the weakest, in four groups) in"
            f" {len(banded)} of {len(bands)} cases."
            if banded
            else " Nor does their energy prefer any band of the corpus' directions."
        )
    return Finding("effect" if effects or banded else "no effect", text)


def _twins(a: Analysis) -> Finding | None:
    row = a.row("twinning", first="Q", second="K")
    if row is None or row["value"] is None or row["null"] is None:
        return None
    close = row["p"] is not None and row["p"] < 0.01 and row["value"] < row["null"]
    figures = (
        f"their spectra diverge (KL) by {number(row['value'], 4)}, those of Q and other layers' K by {number(row['null'], 4)}"
        f" (p\N{NO-BREAK SPACE}{a.p(row, family=False)})"
    )
    text = (
        f"Q and K of a layer are twins: {figures}."
        if close
        else f"That Q and K of a layer are alike says only that all layers are: {figures}."
    )
    growth = _growth(a)
    return Finding("effect" if close else "no effect", text + (f" {growth}" if growth else ""))


def _growth(a: Analysis) -> str:
    rows = sorted(a.rows("weights", head=None, subject="V/Q", measure="norm_ratio"), key=lambda r: int(r["layer"]))
    values = [r["value"] for r in rows if r["value"] is not None]
    if len(values) < 2:
        return ""
    steps = [y > x for x, y in zip(values, values[1:])]
    how = "grows in every layer" if all(steps) else "falls in every layer" if not any(steps) else "changes"
    return f"‖V‖/‖Q‖ {how} over depth, from {number(values[0], 2)} in the first layer to {number(values[-1], 2)} in the last."


def _sizes(a: Analysis) -> Finding | None:
    """Where there is no corpus there is room for it."""
    rows: list[Row] = a.rows("weights", head=None, subject="QKt", measure="top8_energy")
    effects = [r for r in rows if is_effect(r)]
    if not rows:
        return None
    values = [r["value"] for r in rows if r["value"] is not None]
    text = (
        f"The strongest 8 directions of Q Kᵀ hold {ranges(values, 2)} of its energy, by layer; {number(mean([r['null'] for r in rows]), 2)}"
        " in random layers."
    )
    return Finding("effect" if effects else "no effect", text)


def _heads(a: Analysis) -> Finding | None:
    total = len(a.tables.get("labels", []))
    if not total:
        return None
    before, copying, even = (labelled(a, kind) for kind in ("previous-token", "copying", "uniform"))

    def some(heads: list[tuple[int, int]]) -> str:
        return f" ({listed([f'{n}.{h}' for n, h in heads])})" if 0 < len(heads) <= 4 else ""

    shown = ", as layer.head" if some(before) or some(copying) else ""
    text = (
        f"Of {total} heads {len(before)} look{'s' if len(before) == 1 else ''} one token back{some(before)}, {len(copying)}"
        f" cop{'ies' if len(copying) == 1 else 'y'} the token that {'it reads' if len(copying) == 1 else 'they read'}{some(copying)}, and"
        f" {len(even)} prefer{'s' if len(even) == 1 else ''} no distance (from the weights alone{shown})."
    )
    return Finding("effect" if copying else "described" if before else "no effect", text)  # to look back is a label: no claim


def _drift(a: Analysis) -> Finding | None:
    def of(subject: str, measure: str) -> list[Row]:
        return [r for r in a.rows("drift", subject=subject, measure=measure) if r["value"] is not None]

    queries, values = mean([r["value"] for r in of("Q", "drift")]), mean([r["value"] for r in of("V", "drift")])
    tokens = of("QK", "token_correlation") + of("OV", "token_correlation")
    if queries is None or values is None or not tokens:
        return None
    effects = [r for r in tokens if is_effect(r)]
    text = f"Between the two checkpoints Q moves by {number(queries, 2)} and V by {number(values, 2)} of its own norm (mean over layers)."
    for circuit in ("QK", "OV"):
        r = mean([row["value"] for row in of(circuit, "token_correlation")])
        if r is not None:
            text += (
                f" {circuit} over tokens correlates by {number(r, 2)}: {number(100 * r * r, 0)}% of one is predicted by the other."
                if circuit == "QK"
                else f" OV by {number(r, 2)}."
            )
    if all(r["p_family"] is None for r in tokens):
        return Finding("described", text + " (For a model this wide there is no null of it.)")
    return Finding("effect" if effects else "no effect", text)
