"""Every value (not the nulls) of docs/analysis.md, from its definitions, with dense linear algebra in float64 NumPy.

`tables(model, counts, unigram)` gives {table: {key: value}}; a key is the table's leading columns up to `value`. V x V matrices are
dense here, so V is some hundreds. It shares no code with the program, and spends time freely: eigenvalues are those of d x d
matrices where the program takes small ones.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from analysis_measures import (antisymmetric, asymmetry, divergence, marchenko_pastur, matrix_cosine, pearson, real_share, rows_of,
                               singular_values, spectral_cosine, spectrum_measures, subspace_overlap)

TOP_IDS = 4096  # attention_K2: ids that take part
MASS_DISTANCES, MOST_DISTANCES = 64, 256  # positions: kept, and reckoned with


@dataclass
class Layer:
    """The canonical form: query, output [H, d_h, d], key, value [KV, d_h, d]; biases [H, d_h], [KV, d_h] or None."""

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    output: np.ndarray
    query_bias: np.ndarray | None = None
    key_bias: np.ndarray | None = None
    value_bias: np.ndarray | None = None  # in the checkpoint; no measure reads it

    @property
    def heads(self):
        return len(self.query)

    @property
    def head_dim(self):
        return self.query.shape[1]

    def group(self, head):
        return head * len(self.key) // self.heads

    def expanded(self, rows):
        """[KV, d_h, d] -> [H, d_h, d]: the rows of a key/value head once for every query head that reads it."""
        return np.stack([rows[self.group(h)] for h in range(self.heads)])

    def kernel(self, head):
        return self.query[head].T @ self.key[self.group(head)]

    def writer(self, head):
        return self.output[head].T @ self.value[self.group(head)]


@dataclass
class Model:
    layers: list
    embedding: np.ndarray  # [V, d]
    head: np.ndarray  # [V, d]; the embedding itself where tied
    tied: bool
    context: int
    positions: np.ndarray | None = None  # [context, d]
    frequencies: np.ndarray | None = None  # RoPE: radians a token, for each of rotary_dim / 2 pairs (i, i + rotary_dim / 2)
    rotary_dim: int = 0
    about: dict = field(default_factory=dict)


# ---- what weights say by themselves

def layer_weights(layer):
    """Of one layer: {(head or None, subject, measure): value}."""
    q, k = rows_of(layer.query), rows_of(layer.expanded(layer.key))
    v, o = rows_of(layer.expanded(layer.value)), rows_of(layer.output)
    kernels = [layer.kernel(h) for h in range(layer.heads)]
    writers = [layer.writer(h) for h in range(layer.heads)]
    out = {}

    def put(head, subject, measures):
        out.update({(head, subject, name): value for name, value in measures.items()})

    for subject, rows in (("Q", q), ("K", k), ("V", v), ("O", o)):
        put(None, subject, {"norm": np.linalg.norm(rows)} | spectrum_measures(rows))
    put(None, "QKt", spectrum_measures(q @ k.T))
    put(None, "V/Q", {"norm_ratio": np.linalg.norm(v) / np.linalg.norm(q)})
    for head in (None, *range(layer.heads)):
        whole = head is None
        kernel, writer = (sum(kernels), sum(writers)) if whole else (kernels[head], writers[head])
        for subject, m in (("QK", kernel), ("OV", writer)):
            asymmetries = asymmetry(m, difference=whole) | {"real_share": real_share(m)}
            put(head, subject, {"norm": np.linalg.norm(m)} | asymmetries | spectrum_measures(m))
        put(head, "QK_antisymmetric", spectrum_measures(antisymmetric(kernel)))
    return out


def layer_profiles(layer, law=marchenko_pastur):
    """Of one layer: {(first, second): KL}. K and V as the model has them, not expanded."""
    rows = {"Q": rows_of(layer.query), "K": rows_of(layer.key), "V": rows_of(layer.value)}
    sigma = {name: singular_values(m) for name, m in rows.items()}
    out = {(a, b): divergence(sigma[a], sigma[b]) for a, b in (("Q", "K"), ("Q", "V"), ("K", "V"))}
    return out | {(name, "MP"): divergence(sigma[name], law(m.shape)) for name, m in rows.items()}


# ---- heads by position

def rotated(pairs, frequencies, angle, rotary_dim):
    """A row [d_h] turned by `angle` positions."""
    half = rotary_dim // 2
    a, b = pairs[:half], pairs[half:rotary_dim]
    c, s = np.cos(angle * frequencies), np.sin(angle * frequencies)
    return np.concatenate([a * c - b * s, b * c + a * s, pairs[rotary_dim:]])


def softmax(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum()


def unit_rms(x):
    """Rows of zeros (padding) stay as they are."""
    rms = np.sqrt((x**2).mean(axis=-1, keepdims=True))
    return np.divide(x, rms, out=np.zeros(x.shape), where=rms > 0)


def head_masses(model, layer, p):
    """[H, C]: how much of a head's attention goes how far back."""
    c = min(model.context, MOST_DISTANCES)
    out = np.zeros((layer.heads, c))
    for h in range(layer.heads):
        q_bias = 0 if layer.query_bias is None else layer.query_bias[h]
        k_bias = 0 if layer.key_bias is None else layer.key_bias[layer.group(h)]
        q_rows, k_rows = layer.query[h], layer.key[layer.group(h)]
        if model.positions is None:
            x = p @ unit_rms(model.embedding)
            q, k = q_rows @ x + q_bias, k_rows @ x + k_bias
            scores = [q @ rotated(k, model.frequencies, -delta, model.rotary_dim) / math.sqrt(layer.head_dim) for delta in range(c)]
            out[h] = softmax(np.array(scores))
        else:
            x = unit_rms(p @ model.embedding + model.positions[:c])
            q, k = x @ q_rows.T + q_bias, x @ k_rows.T + k_bias
            queries = range(c // 2, c)
            for t in queries:
                out[h, : t + 1] += softmax(k[: t + 1] @ q[t] / math.sqrt(layer.head_dim))[::-1] / len(queries)
    return out


def copying(model, layer, head):
    """Of U OV Eᵀ [V, V]; the eigenvalues of OV EᵀU [d, d] are the same but for zeros."""
    values = np.linalg.eigvals(layer.writer(head) @ model.embedding.T @ model.head)
    return values.real.sum() / np.abs(values).sum()


def layer_heads(model, layer, p):
    """Of one layer: ({(head, measure): value}, masses [H, C] or None)."""
    out = {(h, "copying"): copying(model, layer, h) for h in range(layer.heads)}
    masses = None
    if model.positions is not None or model.frequencies is not None:
        masses = head_masses(model, layer, p)
        for h, mass in enumerate(masses):
            some = mass[mass > 0]
            out[h, "previous_token"] = mass[1]
            out[h, "profile_entropy"] = -(some * np.log(some)).sum() / math.log(len(mass))
    return out, masses


# ---- corpus and weights

def transitions(j):
    rows = j.sum(axis=1, keepdims=True)
    return np.divide(j, rows, out=np.zeros(j.shape), where=rows > 0)


def centred_transitions(j):
    """T without what frequencies alone give; rows without pairs stay zero."""
    return transitions(j) - np.outer(j.sum(axis=1) > 0, j.sum(axis=0) / j.sum())


def cooccurrence_basis(k2):
    """Eigenvectors of the symmetric part by falling |eigenvalue|; the largest entry of each is positive."""
    values, vectors = np.linalg.eigh((k2 + k2.T) / 2)
    vectors = vectors[:, np.argsort(-np.abs(values), kind="stable")]
    return vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(k2))])


def attended_counts(model, layer, j, unigram):
    """J_1 with each pair (i, j) weighted by how much of j's attention i has, mean over heads."""
    some = np.argsort(-unigram, kind="stable")[:TOP_IDS]
    x, stored = unit_rms(model.embedding), np.zeros(j.shape, bool)
    stored[np.ix_(some, some)] = j[np.ix_(some, some)] > 0
    weights = np.zeros(j.shape)
    for h in range(layer.heads):
        scores = x @ layer.kernel(h) @ x.T / math.sqrt(layer.head_dim)  # [query, key]
        for target in range(len(j)):
            sources = np.flatnonzero(stored[:, target])
            if len(sources):
                weights[sources, target] += softmax(scores[target, sources]) / layer.heads
    return j * weights


def views(model, counts):
    """What correlations are measured against, but for what depends on the layer."""
    e, one = model.embedding, counts[0].astype(float)
    k2 = e.T @ one @ e
    out = {"K2": k2, "K2T": k2.T, "K3_composed": e.T @ one @ one @ e, "EtE": e.T @ e, "I": np.eye(e.shape[1])}
    return out | ({"K3": e.T @ counts[1] @ e} if len(counts) > 1 else {})


def layer_correlations(model, layer, counts, unigram, permuted=lambda m: m):
    """Of one layer: {(subject, against, basis): r}. `permuted` makes the null of what is compared with."""
    d = model.embedding.shape[1]
    subjects = {"QK": sum(map(layer.kernel, range(layer.heads))), "OV": sum(map(layer.writer, range(layer.heads)))}
    if layer.heads * layer.head_dim == d:
        subjects |= {"Q": rows_of(layer.query), "K": rows_of(layer.expanded(layer.key)), "V": rows_of(layer.expanded(layer.value))}
    against = views(model, counts)
    basis = cooccurrence_basis(against["K2"])
    attended = model.embedding.T @ attended_counts(model, layer, counts[0], unigram) @ model.embedding
    against |= {"attention_K2": attended, "attention_K2T": attended.T}
    out = {}
    for name, view in against.items():
        for where, b in (("embedding", np.eye(d)), ("cooccurrence", basis)):
            turned = permuted(b.T @ view @ b)
            out.update({(subject, name, where): pearson(b.T @ m @ b, turned) for subject, m in subjects.items()})
    return out


def layer_bands(model, layer, counts, permuted=lambda m: m):
    """Of one layer: {(subject, from, to, uniform): share}. `permuted`: of the basis' columns."""
    d = model.embedding.shape[1]
    basis = permuted(cooccurrence_basis(views(model, counts)["K2"]))
    edges, out = (0, d // 8, d // 4, d // 2, d), {}
    for subject, heads in (("Q", layer.query), ("K", layer.expanded(layer.key)), ("V", layer.expanded(layer.value))):
        w = rows_of(heads)
        for a, b in zip(edges, edges[1:]):
            out[subject, a, b, (b - a) / d] = np.linalg.norm(w @ basis[:, a:b]) ** 2 / np.linalg.norm(w) ** 2
    return out


def match(m, projected, parts=("antisymmetric", "forward", "reversed")):
    """{(part, measure): value} of a circuit [d, d] with a corpus' P [d, d]."""
    out = {}
    for part in parts:
        pairs = {"antisymmetric": (antisymmetric(m), antisymmetric(projected)), "forward": (m, projected.T), "reversed": (m, projected)}
        x, y = pairs[part]
        out[part, "matrix_cosine"] = matrix_cosine(x, y)
        out[part, "subspace_overlap"] = subspace_overlap(x, y)
        if part != "reversed":
            out[part, "spectral_cosine"] = spectral_cosine(x, y)
    return out


def circuits(layer):
    """(circuit, head or None, matrix)"""
    for circuit, of in (("QK", layer.kernel), ("OV", layer.writer)):
        each = [of(h) for h in range(layer.heads)]
        yield circuit, None, sum(each)
        yield from ((circuit, h, m) for h, m in enumerate(each))


def layer_match(model, layer, counts, permuted=lambda m: m):
    """Of one layer: {(circuit, head, lag, part, measure): value}."""
    out = {}
    for lag, j in enumerate(counts, 1):
        for prefix, t in (("", transitions(j)), ("centred_", centred_transitions(j))):
            projected = {"QK": permuted(model.embedding.T @ t @ model.embedding), "OV": permuted(model.embedding.T @ t @ model.head)}
            for circuit, head, m in circuits(layer):
                parts = ("antisymmetric", "forward", "reversed") if circuit == "QK" or model.tied else ("forward", "reversed")
                found = match(m, projected[circuit], parts)
                out.update({(circuit, head, lag, prefix + part, measure): value for (part, measure), value in found.items()})
    return out


def corpus_table(model, counts):
    out = {}
    for lag, j in enumerate(counts, 1):
        t = transitions(j)
        projected = model.embedding.T @ t @ model.embedding
        for subject, measures in (("counts", asymmetry(j.astype(float))), ("transition", asymmetry(t)),
                                  ("projected", asymmetry(projected) | spectrum_measures(projected)),
                                  ("projected_antisymmetric", spectrum_measures(antisymmetric(projected)))):
            out.update({(lag, subject, name): value for name, value in measures.items()})
    return out


# ---- two checkpoints

def layer_drift(model, layer, second_model, second, p):
    """{(subject, measure): value} from one checkpoint's layer to the other's."""
    out = {}
    for subject, of in (("Q", lambda x: rows_of(x.query)), ("K", lambda x: rows_of(x.expanded(x.key))),
                        ("V", lambda x: rows_of(x.expanded(x.value))), ("O", lambda x: rows_of(x.output)),
                        ("QK", lambda x: sum(map(x.kernel, range(x.heads)))), ("OV", lambda x: sum(map(x.writer, range(x.heads))))):
        before, after = of(layer), of(second)
        out[subject, "drift"] = np.linalg.norm(after - before) / np.linalg.norm(before)
        out[subject, "correlation"] = pearson(before, after)

    def over_tokens(m, x, circuit):
        left, right = (x.embedding if circuit == "QK" else x.head), x.embedding
        return np.sqrt(p)[:, None] * (left - p @ left) @ m @ ((right - p @ right).T * np.sqrt(p))

    for circuit in ("QK", "OV"):
        (m,), (n,) = ([m for c, h, m in circuits(x) if c == circuit and h is None] for x in (layer, second))
        out[circuit, "token_correlation"] = matrix_cosine(over_tokens(m, model, circuit), over_tokens(n, second_model, circuit))
    return out


# ---- all of it

def spectra(model, counts):
    """{(subject, layer or None, lag or None, index): sigma}"""
    out = {}

    def put(subject, layer, lag, m):
        out.update({(subject, layer, lag, i): s for i, s in enumerate(singular_values(m), 1)})

    for n, layer in enumerate(model.layers):
        key, value = layer.expanded(layer.key), layer.expanded(layer.value)
        for subject, rows in (("Q", layer.query), ("K", key), ("V", value), ("O", layer.output)):
            put(subject, n, None, rows_of(rows))
        whole = {circuit: m for circuit, head, m in circuits(layer) if head is None}
        put("QK", n, None, whole["QK"])
        put("QK_antisymmetric", n, None, antisymmetric(whole["QK"]))
        put("OV", n, None, whole["OV"])
    for lag, j in enumerate(counts, 1):
        projected = model.embedding.T @ transitions(j) @ model.embedding
        put("projected", None, lag, projected)
        put("projected_antisymmetric", None, lag, antisymmetric(projected))
    return out


def tables(model, counts=None, unigram=None, second=None):
    """{table: {key: value}}; `labels` needs p-values and is not among them, but `masses` (layer -> [H, C]) is.

    counts: dense J_n [V, V] for n = 1, 2, ...; unigram: counts of ids [V]; without them only what weights say. second: a Model.
    """
    v = len(model.embedding)
    p = np.full(v, 1 / v) if unigram is None else (unigram + 0.5) / (unigram + 0.5).sum()
    names = ("corpus", "weights", "profiles", "correlations", "bands", "match", "heads", "drift", "positions", "masses")
    out = {name: {} for name in names}
    for n, layer in enumerate(model.layers):
        def put(table, values, n=n):
            out[table].update({(n, *key): value for key, value in values.items()})

        put("weights", layer_weights(layer))
        put("profiles", layer_profiles(layer))
        values, masses = layer_heads(model, layer, p)
        put("heads", values)
        if masses is not None:
            out["masses"][n] = masses
            put("positions", {(h, d): m for h, mass in enumerate(masses) for d, m in enumerate(mass[:MASS_DISTANCES])})
        if counts is not None:
            put("correlations", layer_correlations(model, layer, counts, unigram))
            put("bands", layer_bands(model, layer, counts))
            moved = layer_match(model, layer, counts)
            out["match"].update({(circuit, n, *rest): value for (circuit, *rest), value in moved.items()})
        if second is not None:
            put("drift", layer_drift(model, layer, second, second.layers[n], p))
    if counts is not None:
        out["corpus"] = corpus_table(model, counts)
    pairs = (("Q", "K"), ("Q", "V"), ("K", "V"))
    out["twinning"] = {pair: np.mean([out["profiles"][n, *pair] for n in range(len(model.layers))]) for pair in pairs}
    out["spectra"] = spectra(model, counts or [])
    return out
