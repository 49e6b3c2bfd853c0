"""A model of 8 layers and 8 heads whose structure is known, against a real text: what the report has to find."""

import numpy as np

import analysis_oracle as oracle
from analysis_models import random_ids
from analysis_oracle import Layer, Model


def text_ids(path, vocab):
    """The `words` ids of an ASCII text: 0 is unknown."""
    import re
    from collections import Counter

    words = re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]|\n", path.read_text(encoding="utf8").lower())
    index = {w: i + 1 for i, (w, _) in enumerate(Counter(words).most_common(vocab - 1))}
    return np.array([index.get(w, 0) for w in words])


def pair_counts(ids, vocab, lags):
    return [np.bincount(ids[:-lag] * vocab + ids[lag:], minlength=vocab * vocab).reshape(vocab, vocab) for lag in range(1, lags + 1)]


def embedding_of(counts, d):
    """[V, d] with rms 1: the positive pointwise mutual information of neighbours, its strongest d directions."""
    x = (counts[0] + counts[0].T).astype(float)
    rows = np.maximum(x.sum(axis=1), 1)
    pmi = np.maximum(np.log(np.maximum(x * x.sum(), 1e-9) / np.outer(rows, rows)), 0)
    values, vectors = np.linalg.eigh(pmi)
    top = np.argsort(-np.abs(values))[:d]
    e = vectors[:, top] * np.sqrt(np.abs(values[top]))
    return e / np.sqrt((e**2).mean())


def factors(m, rank):
    """q, k [rank, d] with qᵀk the best approximation of m."""
    u, s, vt = np.linalg.svd(m)
    size = np.sqrt(s[:rank] / s[0])[:, None]
    return size * u[:, :rank].T, size * vt[:rank]


def planted_model(counts, layers=8, heads=8, d=64, context=256, seed=0):
    """Layer 0's head 2 has the kernel of A_1; layer 1's head 3 looks one token back; layer 2's head 1 copies; layer n's last head writes
    what lag n+1 predicts; queries and keys of low rank; V grows over depth."""
    rng, r = np.random.default_rng(seed), d // heads
    e = embedding_of(counts, d)
    model = Model([], e, e, True, context, frequencies=10000.0 ** (-np.arange(r // 2) / (r // 2)), rotary_dim=r, about={"architecture": "nanogpt-rope"})
    for n in range(layers):
        decay = np.exp(-np.arange(d) / 20)
        q, k = (rng.standard_normal((heads, r, d)) * decay[rng.permutation(d)] for _ in range(2))
        model.layers.append(Layer(q, k, (0.35 + 0.07 * n) * rng.standard_normal((heads, r, d)) * 0.7, rng.standard_normal((heads, r, d)) * 0.5))
    projected = [e.T @ oracle.transitions(j) @ e for j in counts]
    centred = [e.T @ oracle.centred_transitions(j) @ e for j in counts]
    model.layers[0].query[2], model.layers[0].key[2] = (3 * x for x in factors((projected[0] - projected[0].T) / -2, r))
    for n in range(min(layers, len(counts))):
        model.layers[n].output[-1], model.layers[n].value[-1] = (1.5 * x for x in factors(centred[n].T, r))
    mean = oracle.unit_rms(e).mean(axis=0)
    look = np.zeros((r, d))
    turn = model.frequencies
    for i in range(r // 2):  # scores cos((Δ − 1) θ_i)
        look[i], look[i + r // 2] = np.cos(turn[i]) * mean, -np.sin(turn[i]) * mean
    scale = 9 / np.sqrt(mean @ mean)
    model.layers[1].query[3], model.layers[1].key[3] = look * scale, 0.02 * rng.standard_normal((r, d))
    model.layers[1].key[3][: r // 2] += mean * scale
    model.layers[2].value[1] = rng.standard_normal((r, d))
    model.layers[2].output[1] = model.layers[2].value[1] * 0.5 + 0.05 * rng.standard_normal((r, d))
    return model


def drifted(model, seed=1):
    """The same model after some training that moves V most."""
    rng = np.random.default_rng(seed)
    layers = [Layer(*(x + amount * x.std() * rng.standard_normal(x.shape) for x, amount in zip(
        (layer.query, layer.key, layer.value, layer.output), (0.7, 0.7, 3, 1)))) for layer in model.layers]
    return Model(layers, model.embedding, model.head, model.tied, model.context, model.positions, model.frequencies, model.rotary_dim, model.about)


def small_text(vocab=60, length=20000, seed=0):
    """Ids of a text with a direction, for tests that have seconds."""
    return random_ids(vocab, length, seed).astype(np.int64)
