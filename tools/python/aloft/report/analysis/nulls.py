"""The end of the page: all claims, how each null is made, notes of the run."""

from ..page import Cell, Section, Table, words
from ..text import grouped, number, p_value
from .about import once
from .match import MEASURES, PARTS
from .read import LEVEL, NOT_OF_ORDER, Analysis, Row, orderless

CLAIMS = {
    "asymmetry_differs": "QK is not as asymmetric as random matrices",
    "asymmetry_is_concentrated": "QK's asymmetry is narrower than that of random matrices",
    "eigenvalues_differ": "QK has not the share of real eigenvalues of random matrices",
    "values_differ_from_random": "V's spectrum is not random",
    "query_key_twinning": "Q and K of a layer are twins",
    "spectra_match_corpus": "QK's antisymmetric spectrum is as concentrated as the corpus'",
    "qk_follows_corpus": "QK follows or opposes the corpus",
    "qk_subspace_follows_corpus": "QK's strongest directions are the corpus'",
    "qk_heads_follow_corpus": "a head's QK follows or opposes the corpus",
    "ov_follows_corpus": "OV follows or opposes the corpus",
    "ov_subspace_follows_corpus": "OV's strongest directions are the corpus'",
    "ov_heads_follow_corpus": "a head's OV follows or opposes the corpus",
    "weights_correlate": "Q, K or V is a view of the corpus",
    "circuits_correlate": "QK or OV correlates with a view of the corpus",
    "bands_differ": "Q, K or V prefers a band of the corpus' directions",
    "copying_heads": "a head copies",
    "weights_correlate_between_models": "weights of the two checkpoints correlate",
    "circuits_correlate_between_models": "circuits of the two checkpoints correlate over tokens",
}  # names of `aloft analyze`; one that is not here is shown as it is


def claims(a: Analysis) -> Section:
    rows = a.tables.get("claims", [])
    if not rows:
        return Section("All claims")
    matches = [_match_of(a, r) for r in rows]
    with_shuffled = any(m is not None and m["shuffled"] is not None for m in matches)
    cells = [
        [
            words("no effect" if not r["found"] else NOT_OF_ORDER if m is not None and orderless(m) else "effect"),
            words(CLAIMS.get(r["claim"], r["claim"].replace("_", " "))),
            words("" if r["layer"] is None else r["layer"]),
            words("" if r["head"] is None else r["head"]),
            words("" if r["lag"] is None else r["lag"]),
            Cell(number(r["value"]), "effect" if r["found"] else ""),
            Cell(number(r["null"]), "null"),
            *([Cell("" if m is None or m["shuffled"] is None else number(m["shuffled"]), "null")] if with_shuffled else []),
            Cell(p_value(r["p"], a.smallest_p)),
            words(r["detail"]),
        ]
        for r, m in zip(rows, matches)
    ]
    columns = ["", "claim", "layer", "head", "lag", "measured", "null", *(["shuffled"] if with_shuffled else []), "p", "detail"]
    return Section(
        "All claims",
        "Each question that was asked of this checkpoint: the row furthest from its null, on the side that would answer yes, and whether that"
        " is an effect when the question is asked of all rows at once.",
        tables=[Table("Claims", columns, cells)],
    )


def _match_of(a: Analysis, claim: Row) -> Row | None:
    """The row of table `match` that a claim quotes: its detail is circuit, part and measure."""
    detail = claim["detail"].split()
    if len(detail) != 3 or detail[1] not in PARTS or detail[2] not in MEASURES:
        return None
    where = {column: claim[column] for column in ("layer", "head", "lag")}
    return a.row("match", circuit=detail[0], part=detail[1], measure=detail[2], **where)


def made(a: Analysis) -> Section:
    draws, tokens = a.nulls.get("draws"), a.nulls.get("shuffled_tokens")
    out = Section("How the nulls are made")
    out.paragraphs = [
        f"Gaussian: {number(draws) if isinstance(draws, int) else 'some'} layers with independent normal weights of the same shape,"
        " measured in the same way. p is Student's t of the figure against them, times the number of layers (or heads) that were"
        " asked."
    ]
    if a.corpus is not None:
        out.paragraphs += [
            _of_permutations(a),
            (
                f"Shuffled text: {grouped(tokens) if isinstance(tokens, int) else 'as many'} tokens drawn independently by frequency, one"
                " sample, so without a p. It keeps what follows from how often tokens come."
            ),
        ]
    out.paragraphs.append(
        f"A figure is called an effect where its family-wise p is below {LEVEL:g}. Seed {a.nulls.get('seed', 'not recorded')}."
    )
    if not a.can_find:
        out.paragraphs.append(
            f"With {'so few' if a.permutations else 'no'} permutations no p is below {LEVEL:g}, and nothing can be called an effect"
            " against the corpus: at least 100 are needed."
        )
    return out


def _of_permutations(a: Analysis) -> str:
    n = a.permutations
    null = "the corpus' matrices with their coordinates exchanged and signs flipped at random"
    if a.by_formula:
        return (
            f"Permutation: {null}. For a model this wide none is made: mean and variance over all of them are exact by formula, p is by exact"
            " variance (normal law), and the family-wise p that times the number of figures of the kind."
            + (f" (Only for twins are layers exchanged, {number(n)} times.)" if n else "")
        )
    return (
        f"Permutation: {null}, {'several' if n is None else number(n)} times, the same for all layers and lags. p is the share that comes as"
        " far from the null as the figure; the family-wise p asks it of the strongest of all layers (or heads) and lags, so that asking"
        " many times finds nothing by chance."
        + (f" The smallest p that {number(n)} permutations can give is {a.smallest_p:.2g}." if n and a.smallest_p is not None else "")
    )


def notes(a: Analysis) -> Section:
    return Section("Notes of the run", paragraphs=once(a.notes))
