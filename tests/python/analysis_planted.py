"""A model whose structure is known, made for the counts of a text: what a report has to find."""

import numpy as np

import analysis_oracle as oracle
from analysis_oracle import Layer, Model


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
    model = Model([], e, e, True, context, frequencies=10000.0 ** (-np.arange(r // 2) / (r // 2)), rotary_dim=r)
    for n in range(layers):
        decay = np.exp(-np.arange(d) / 20)
        q, k = (rng.standard_normal((heads, r, d)) * decay[rng.permutation(d)] for _ in range(2))
        v, o = (rng.standard_normal((heads, r, d)) for _ in range(2))
        model.layers.append(Layer(q, k, (0.25 + 0.05 * n) * v, 0.5 * o))
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
    return as_stored(model)


def as_stored(model):
    """The same in values that a float32 holds."""
    for layer in model.layers:
        for name in ("query", "key", "value", "output"):
            setattr(layer, name, getattr(layer, name).astype(np.float32).astype(float))
    model.embedding = model.head = model.embedding.astype(np.float32).astype(float)
    return model


def drifted(model, seed=1):
    """The same model after some training that moves V most."""
    rng = np.random.default_rng(seed)
    layers = [Layer(*(x + amount * x.std() * rng.standard_normal(x.shape) for x, amount in zip(
        (layer.query, layer.key, layer.value, layer.output), (0.7, 0.7, 3, 1)))) for layer in model.layers]
    return as_stored(Model(layers, model.embedding, model.head, model.tied, model.context, model.positions, model.frequencies, model.rotary_dim))
