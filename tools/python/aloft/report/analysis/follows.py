"""What the summary says of QK and OV against the corpus: their matrix cosines, part by part, and their strongest directions."""

from ..page import Finding
from ..text import counted, listed, number
from . import match
from .read import NOT_OF_ORDER, Analysis, Row, is_effect, orderless

PART = ", with frequencies taken out"  # and in the text's direction: what is looked at first
WHAT = {"QK": "QK (where tokens look)", "OV": "OV (what is added)"}
MOST_OTHERS = 2  # layers of which other parts are told


def findings(a: Analysis, circuit: str) -> list[Finding]:
    """Layers, heads, the antisymmetric part, and the other parts: a finding each, where there is one."""
    rows, heads = match.strongest(a, circuit, whole=True), match.strongest(a, circuit, whole=False)
    if not rows:
        return []
    found, single = [r for r in rows if is_effect(r)], [r for r in heads if is_effect(r)]
    other_heads = [r for part in match.PARTS for r in match.strongest(a, circuit, whole=False, part=part) if is_effect(r)]
    others = _other_parts(a, circuit)
    out = []
    if found:
        text = _layers_found(a, circuit, found, [r for r in others if r["layer"] != found[0]["layer"]])
        if heads and not single:
            text += f" No single head does by itself{' in this part' if other_heads else ''}."
        out.append(Finding(verdict(found), text))
    if single:
        text = _heads_found(a, circuit, heads, single)
        text += "." if found or a.layers == 1 else f"; no layer as a whole does{' in this part' if others else ''}."
        out.append(Finding(verdict(single), text + _beside_reversed(a, single[0])))
    if not found and not single:
        part = f"{PART}, in the text's direction" if others or other_heads else ""
        text = (
            f"No layer's {WHAT[circuit]} follows the corpus at any lag{part}, nor a single one of {len(heads)} heads': the furthest from"
            f" its null is layer {rows[0]['layer']} at lag {rows[0]['lag']} ({_figures(a, rows[0])})."
        )
        out.append(Finding("no effect", text))
    return [*out, *_skew(a, circuit), *_others_said(a, circuit, others)]


def verdict(found: list[Row]) -> str:
    """Of effects."""
    return NOT_OF_ORDER if all(orderless(r) for r in found) else "effect"


def layers_named(layers: list[int]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {listed(sorted(layers))}"


def _layers_found(a: Analysis, circuit: str, found: list[Row], elsewhere: list[Row]) -> str:
    """found: layers that follow it, strongest first; elsewhere: other layers' effects in other parts."""
    best = found[0]
    direction = "against" if best["value"] < 0 else "in"
    opposed, beyond = sum(r["value"] < 0 for r in found), sum(not orderless(r) for r in found)
    text = (
        f"Layer {best['layer']}'s {WHAT[circuit]} follows the corpus at lag {best['lag']}{PART}, {direction} the text's direction"
        f" ({_figures(a, best)}{beside_shuffled(best)})"
    )
    if len(found) > 1:
        text += (
            f"; so it is, at one lag or another, in {counted(len(found), a.layers, 'layer')}"
            f"{f' ({opposed} of them against its direction)' if 0 < opposed < len(found) else ''}"
            f"{f', {beyond} of them beyond what shuffled text gives' if orderless(best) and beyond else ''}."
        )
    else:
        text += "." if a.layers == 1 else "; no other layer's does in this part." if elsewhere else "; no other layer's does."
    text += _beside_reversed(a, best)
    if len(found) > 2 and circuit == "QK":
        order = sorted(found, key=lambda r: int(r["layer"]))
        lags = [int(r["lag"]) for r in order]
        text += (
            ' "Asymmetry injection", the paper that this follows, expects deeper layers at longer lags, which'
            f" {'is so' if lags == sorted(lags) else 'is not so'}: here {layers_named([r['layer'] for r in order])} are strongest at"
            f" {listed(lags)}."
        )
    return text


def _heads_found(a: Analysis, circuit: str, heads: list[Row], found: list[Row]) -> str:
    """Which single heads follow the corpus, and whether a text without order gives as much."""
    top = found[0]
    where = f"layer {top['layer']}'s head {top['head']} at lag {top['lag']} ({_figures(a, top)}{beside_shuffled(top)})"
    how = f" with {'its' if len(found) == 1 else 'their'} {WHAT[circuit]}{PART}, in the text's direction"
    opposed = sum(r["value"] < 0 for r in found)
    does = "follow" if not opposed else "oppose" if opposed == len(found) else "follow or oppose"
    if len(found) == 1:
        return f"One of {len(heads)} heads {'follows' if top['value'] > 0 else 'opposes'} the corpus{how}: {where}"
    return f"{len(found)} of {len(heads)} heads {does} the corpus{how}, most clearly {where}"


def _skew(a: Analysis, circuit: str) -> list[Finding]:
    """Of the antisymmetric part, which is negative where it is causal (docs/analysis.md, Tables)."""
    skew = [r for r in match.strongest(a, circuit, whole=True, part="antisymmetric") if is_effect(r)]
    if not skew:
        return []
    best = skew[0]
    most = "clearly" if len(skew) == 1 else f"in layer {best['layer']}"
    causal = best["value"] < 0
    does = (
        f"tokens look back at what comes {'before' if causal else 'after'} them in the corpus"
        if circuit == "QK"
        else f"a token raises what comes {'after' if causal else 'before'} it in the corpus more than what comes"
        f" {'before' if causal else 'after'} it"
    )
    text = (
        f"The direction of time alone (the antisymmetric part of {circuit}) is followed in {layers_named([r['layer'] for r in skew])}, most"
        f" {most} at lag {best['lag']} ({number(best['value'])}: {does}{beside_shuffled(best)})."
    )
    return [Finding(verdict(skew), text)]


def _other_parts(a: Analysis, circuit: str) -> list[Row]:
    """Each layer's clearest effect in the parts that no other sentence is about; clearest first."""
    best: dict[int, Row] = {}
    for part in match.PARTS:
        for r in match.strongest(a, circuit, whole=True, part=part) if part != "centred_forward" else []:
            if is_effect(r) and (r["layer"] not in best or match.strength(r) > match.strength(best[r["layer"]])):
                best[r["layer"]] = r
    return sorted(best.values(), key=lambda r: -match.strength(r))


def _others_said(a: Analysis, circuit: str, others: list[Row]) -> list[Finding]:
    """Those in which more is like the corpus, or opposed to it, than the antisymmetric part."""
    others = [r for r in others if r["part"] != "antisymmetric"]
    out = []
    for i, r in enumerate(others[:MOST_OTHERS]):
        does = "follows" if r["value"] > 0 else "opposes"
        text = (
            f"Layer {r['layer']}'s {circuit} {does} the corpus {match.PARTS[r['part']].replace('as a whole', 'with frequencies left in')},"
            f" at lag {r['lag']} ({_figures(a, r)}{beside_shuffled(r)})"
        )
        more = len(others) - MOST_OTHERS
        last = i + 1 == MOST_OTHERS and more > 0
        out.append(Finding(verdict([r]), text + (f"; in parts like these so do {more} more layers." if last else ".")))
    return out


def overlap(a: Analysis, circuit: str) -> list[Finding]:
    """Of the strongest directions; only upwards is it of the corpus."""
    rows = a.rows("match", circuit=circuit, head=None, measure="subspace_overlap")
    found = sorted((r for r in rows if is_effect(r) and match.strength(r) > 0 and r["value"] > r["null"]), key=match.strength, reverse=True)
    if not found:
        return []
    best, layers = found[0], {r["layer"] for r in found}
    text = (
        f"{circuit}'s strongest directions are in part the corpus': the strongest 8 overlap by {number(best['value'])}, unrelated ones by"
        f" {number(best['null'])} (layer {best['layer']} at lag {best['lag']}, {match.PARTS[best['part']]}; p\N{NO-BREAK SPACE}{a.p(best)});"
        f" an effect in {counted(len(layers), a.layers, 'layer')}. Of shuffled text it is not measured."
    )
    return [Finding("effect", text)]


def _figures(a: Analysis, row: Row) -> str:
    return f"matrix cosine {number(row['value'])}, null {number(row['null'])} ± {number(row['null_sd'])}, p\N{NO-BREAK SPACE}{a.p(row)}"


def _beside_reversed(a: Analysis, row: Row) -> str:
    """Where the text backward is as alike, the likeness has no direction."""
    where = {column: row[column] for column in ("circuit", "layer", "head", "lag", "measure")}
    other, value = a.row("match", part="centred_reversed", **where), row["value"]
    if other is None or other["value"] is None or other["value"] * (1 if value > 0 else -1) < abs(value):
        return ""
    kind = "alike" if value > 0 else "opposed"
    return (
        f" It is as {kind} or more {kind} backward ({number(other['value'])}) than forward ({number(value)}): a resemblance, not a"
        " direction."
    )


def beside_shuffled(row: Row) -> str:
    """What one text without order gives in a figure's place, and what follows. Its sign is chance's where frequencies are taken out, so
    that one of the other sign explains nothing, but may still be as large."""
    value, shuffled = row["value"], row["shuffled"]
    if shuffled is None:
        return ""
    said, large = f"; shuffled text {number(shuffled)}", abs(shuffled) > abs(value) / 2
    if orderless(row):
        return said + ", as much without any order of words, so this is no sign of it"
    if value * shuffled < 0:
        return said + (
            ", of the other sign, so it does not explain this, but shows that a text without order can give as much"
            if abs(shuffled) >= abs(value)
            else ", of the other sign, so it does not explain this, but shows that a text without order can give more than half as much"
            if large
            else ", of the other sign"
        )
    return said + (", so much of it is how frequent tokens are, not their order" if large else "")
