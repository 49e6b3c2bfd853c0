"""What was found, in sentences that follow the numbers."""

from ..page import Finding
from ..text import counted, listed, number, ranges
from . import copying, direction, follows
from .follows import layers_named
from .qkv import MEANINGS, VIEWS
from .read import NOT_OF_ORDER, Analysis, Row, is_effect, mean, orderless

READING = (
    "Of every attention head, QK is the matrix that decides where a token looks, and OV what it adds of the token it looks at; lag n"
    " compares with which token comes n places later in the corpus. A null is a baseline: the same measurement on random weights, on the"
    " corpus' directions exchanged at random, or on text in random order. An effect is a figure that its null reaches in fewer than one of a"
    " hundred such reports, however many layers, heads and lags were looked at; p says so of each. One “not of word"
    " order” is as large for a text in random order; “described” is what has no null."
)


def findings(a: Analysis) -> list[Finding]:
    """A finding a statement, for each has a verdict of its own."""
    return [
        *_asymmetry(a),
        *_identity(a),
        *(f for of in (follows.overlap, follows.findings) for circuit in ("QK", "OV") for f in of(a, circuit)),
        *_widths(a),
        *_correlations(a),
        *_twins(a),
        *(_sizes(a) if a.corpus is None else []),
        *copying.findings(a),
        *_drift(a),
    ]


def _asymmetry(a: Analysis) -> list[Finding]:
    value, null, below, above = direction.summary_values(a)
    if value is None or null is None:
        return []
    figures = f"{number(value)} of the norm of QK is antisymmetric (mean over layers), {number(null)} where weights are random"
    if not below and not above:
        text = f"Attention is no more asymmetric than random matrices are: {figures}."
    elif below and not above:
        text = f"Attention is less asymmetric than random matrices are, in {_which(below, a.layers)}: {figures}."
    elif above and not below:
        text = f"Attention is more asymmetric than random matrices are, in {_which(above, a.layers)}: {figures}."
    else:
        text = f"Attention is more asymmetric than random matrices in {layers_named(above)} and less in {layers_named(below)}: {figures}."
    out = [Finding("effect" if below or above else "no effect", text)]
    counts, moves = (a.row("corpus", lag=1, subject=s, measure="asymmetry_ratio") for s in ("counts", "transition"))
    if counts and moves and None not in (counts["null"], moves["null"], counts["value"], moves["value"]):
        same = abs(moves["value"] - moves["null"]) < 0.05
        shown = counts["value"] > counts["null"] + 0.05
        text = (
            f"In the corpus, {'the direction of time shows in the' if shown else 'there is no direction of time even in the'} counts of"
            f" neighbours (how often b comes after a: {number(counts['value'])}; shuffled text {number(counts['null'])})"
            + (
                f", {'not' if shown else 'nor'} in its transitions (these counts as shares of all that comes after a:"
                f" {number(moves['value'])} and {number(moves['null'])})."
                if same
                else "."
            )
        )
        out.append(Finding("described", text))
    return out


def _which(layers: list[int], of: int) -> str:
    """layers 1 and 2, or how many where they are many."""
    return layers_named(layers) if len(layers) <= 3 and len(layers) < of else counted(len(layers), of, "layer")




def _widths(a: Analysis) -> list[Finding]:
    widths = a.rows("weights", head=None, subject="QK_antisymmetric", measure="pr_energy")
    values = [r["value"] for r in widths if r["value"] is not None]
    if not values:
        return []
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
    out = [Finding("effect" if effects else "no effect", f"{text}.")]
    if alike:
        best, like = max(alike, key=lambda r: float(r["value"])), [r for r in alike if is_effect(r)]
        shuffled, above = best["shuffled"], best["value"] - (best["null"] or 0)
        kept = (shuffled - (best["null"] or 0)) / above if shuffled is not None and above > 0 else 0.0
        text = (
            f"Layer {best['layer']}'s spectrum is the most alike to the corpus' at lag 1 (spectral cosine {number(best['value'])}; random"
            f" layers {number(best['null'])}{'' if shuffled is None else f'; to that of shuffled text {number(shuffled)}'}), "
            + (
                "which is no effect."
                if best not in like
                else "which is less than random layers have."
                if above <= 0
                else "an effect, but no sign of the text: without its order it is as alike."
                if orderless(best)
                else f"an effect, of which {number(100 * kept, 0)}% is there without the text's order."
                if kept > 0.5
                else "and that is an effect."
            )
        )
        out.append(Finding("no effect" if best not in like else NOT_OF_ORDER if above > 0 and orderless(best) else "effect", text))
    return out


def _correlations(a: Analysis) -> list[Finding]:
    rows = [r for r in a.tables.get("correlations", []) if r["value"] is not None and r["subject"] in ("Q", "K", "V")]
    if not rows:
        return []
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
    out = [Finding("effect" if effects else "no effect", text)]
    if bands:
        text = (
            f"The energy of Q, K and V prefers some bands of the corpus' directions (from the strongest to the weakest, in four groups) in"
            f" {len(banded)} of {len(bands)} cases."
            if banded
            else "The energy of Q, K and V prefers no band of the corpus' directions."
        )
        out.append(Finding("effect" if banded else "no effect", text))
    return out


def _identity(a: Analysis) -> list[Finding]:
    found = [r for r in a.rows("correlations", subject="OV", against="I", basis="embedding") if is_effect(r)]
    if not found:
        return []
    best, opposed = max(found, key=lambda r: abs(r["value"])), sum(r["value"] < 0 for r in found)
    text = (
        f"What OV adds is in part {'what it read' if best['value'] > 0 else 'the opposite of what it read'}: its correlation with the"
        f" identity is {number(best['value'])} in layer {best['layer']} (null {number(best['null'])} ± {number(best['null_sd'])}), an effect"
        f" in {counted(len(found), a.layers, 'layer')}{f' ({opposed} of them below 0)' if 0 < opposed < len(found) else ''}."
    )
    return [Finding("effect", text)]


def _twins(a: Analysis) -> list[Finding]:
    row = a.row("twinning", first="Q", second="K")
    if row is None or row["value"] is None or row["null"] is None:
        return []
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
    return [Finding("effect" if close else "no effect", text), *_growth(a)]


def _growth(a: Analysis) -> list[Finding]:
    rows = sorted(a.rows("weights", head=None, subject="V/Q", measure="norm_ratio"), key=lambda r: int(r["layer"]))
    values = [r["value"] for r in rows if r["value"] is not None]
    if len(values) < 2:
        return []
    steps = [y > x for x, y in zip(values, values[1:])]
    how = "grows in every layer" if all(steps) else "falls in every layer" if not any(steps) else "changes"
    text = f"‖V‖/‖Q‖ {how} over depth, from {number(values[0], 2)} in the first layer to {number(values[-1], 2)} in the last."
    return [Finding("described", text)]


def _sizes(a: Analysis) -> list[Finding]:
    """Where there is no corpus there is room for it."""
    rows: list[Row] = a.rows("weights", head=None, subject="QKt", measure="top8_energy")
    effects = [r for r in rows if is_effect(r)]
    if not rows:
        return []
    values = [r["value"] for r in rows if r["value"] is not None]
    text = (
        f"The strongest 8 directions of Q Kᵀ hold {ranges(values, 2)} of its energy, by layer; {number(mean([r['null'] for r in rows]), 2)}"
        " in random layers."
    )
    return [Finding("effect" if effects else "no effect", text)]


def _drift(a: Analysis) -> list[Finding]:
    def of(subject: str, measure: str) -> list[Row]:
        return [r for r in a.rows("drift", subject=subject, measure=measure) if r["value"] is not None]

    queries, values = mean([r["value"] for r in of("Q", "drift")]), mean([r["value"] for r in of("V", "drift")])
    tokens = of("QK", "token_correlation") + of("OV", "token_correlation")
    if queries is None or values is None or not tokens:
        return []
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
        return [Finding("described", text + " (For a model this wide there is no null of it.)")]
    return [Finding("effect" if effects else "no effect", text)]
