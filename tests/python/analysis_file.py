"""A whole analysis.json in the form of docs/analysis.md, with nulls by brute force in NumPy: what the report is tested on.

Slow and simple; the program's own files are compared with the oracle in test_analyze.py.
"""

import math

import numpy as np
from scipy import stats

import analysis_oracle as oracle
from analysis_measures import antisymmetric, divergence, frontier, participation, rows_of, singular_values, spectral_cosine
from analysis_oracle import Layer

NULL = ["value", "null", "null_sd", "p", "p_family"]
COLUMNS = {
    "corpus": ["lag", "subject", "measure", *NULL], "weights": ["layer", "head", "subject", "measure", *NULL],
    "profiles": ["layer", "first", "second", *NULL], "twinning": ["first", "second", *NULL],
    "correlations": ["layer", "subject", "against", "basis", *NULL], "bands": ["layer", "subject", "from", "to", "uniform", *NULL],
    "match": ["circuit", "layer", "head", "lag", "part", "measure", *NULL, "shuffled"], "heads": ["layer", "head", "measure", *NULL],
    "drift": ["layer", "subject", "measure", *NULL], "positions": ["layer", "head", "distance", "mass"], "labels": ["layer", "head", "label"],
    "spectra": ["subject", "layer", "lag", "index", "sigma"], "frontier": ["lag", "target", "pareto_cosine", "temper_cosine"],
    "claims": ["claim", "layer", "head", "lag", "detail", "value", "null", "p", "found"],
}
TARGETS = (5, 10, 18.1, 30, 44)


# ---- p-values

def student(value, null, tests, logarithm=False):
    """[value, null, null_sd, p, p_family] against draws of the null."""
    x, y = (np.log([value, *null])[0], np.log(null)) if logarithm else (value, np.asarray(null))
    sd = y.std(ddof=1)
    t = (x - y.mean()) / (sd * math.sqrt(1 + 1 / len(y))) if sd > 0 else 0.0
    p = float(2 * stats.t.sf(abs(t), len(y) - 1))
    return [value, float(np.mean(null)), float(np.std(null, ddof=1)), p, min(1.0, p * tests)]


def permuted(values, nulls):
    """values [n], nulls [permutations, n] of one family: n rows of [value, null, null_sd, p, p_family]."""
    mean, sd = nulls.mean(axis=0), np.maximum(nulls.std(axis=0, ddof=1), 1e-300)
    z, all_z = np.abs(values - mean) / sd, np.abs(nulls - mean) / sd
    most, n = all_z.max(axis=1), len(nulls)
    return [[float(values[i]), float(mean[i]), float(sd[i]), (1 + int((all_z[:, i] >= z[i]).sum())) / (1 + n),
             (1 + int((most >= z[i]).sum())) / (1 + n)] for i in range(len(values))]


def signed_permutations(rng, d, count):
    """[count, d, d] matrices."""
    return np.stack([np.eye(d)[rng.permutation(d)] * rng.choice([-1, 1], d)[:, None] for _ in range(count)])


# ---- tables with a Gaussian null

def gaussian_layers(model, draws, rng):
    some = model.layers[0]
    return [Layer(*(rng.standard_normal(x.shape) for x in (some.query, some.key, some.value, some.output))) for _ in range(draws)]


def of_size(drawn, layer):
    """Random weights of the layer's own size, which softmax sees."""
    return Layer(*(x * like.std() for x, like in zip((drawn.query, drawn.key, drawn.value, drawn.output), (layer.query, layer.key, layer.value, layer.output))))


def gaussian_tables(model, values, drawn, p):
    layers, heads = len(model.layers), model.layers[0].heads
    weights, profiles = [oracle.layer_weights(x) for x in drawn], [oracle.layer_profiles(x) for x in drawn]
    found = [[oracle.layer_heads(model, of_size(x, layer), p)[0] for x in drawn] for layer in model.layers]
    out = {"weights": [], "profiles": [], "heads": []}
    for (layer, head, subject, measure), value in values["weights"].items():
        null = [w[head, subject, measure] for w in weights]
        plain = measure == "norm"
        out["weights"].append([layer, head, subject, measure, *([value] + [None] * 4 if plain else student(
            value, null, layers * (1 if head is None else heads)))])
    for (layer, *pair), value in values["profiles"].items():
        out["profiles"].append([layer, *pair, *student(value, [x[tuple(pair)] for x in profiles], layers, logarithm=True)])
    for (layer, head, measure), value in values["heads"].items():
        null = [x[h, measure] for x in found[layer] for h in range(heads)]
        out["heads"].append([layer, head, measure, *student(value, null, layers * heads)])
    return out


def twinning(model, values, rng, permutations):
    sigma = [{name: singular_values(rows_of(x)) for name, x in (("Q", layer.query), ("K", layer.key), ("V", layer.value))} for layer in model.layers]
    out = []
    for (a, b), value in values["twinning"].items():
        nulls = [np.mean([divergence(sigma[i][a], sigma[j][b]) for i, j in enumerate(rng.permutation(len(sigma)))]) for _ in range(permutations)]
        out.append([a, b, *permuted(np.array([value]), np.array(nulls)[:, None])[0]])
    return out


# ---- tables with a permuted null

def spaces(matrices, k=8):
    u, _, vt = np.linalg.svd(matrices)
    return u[..., :k], np.swapaxes(vt, -1, -2)[..., :k]


def match_rows(model, counts, values, shuffled, drawn, turns):
    """Families are circuit, part and measure, whole layers and heads apart."""
    gaussian = {circuit: [m for c, h, m in (x for layer in drawn for x in oracle.circuits(layer)) if c == circuit] for circuit in ("QK", "OV")}
    families = {}
    for key in values["match"]:
        circuit, layer, head, lag, part, measure = key
        families.setdefault((circuit, part, measure, head is None), []).append(key)
    all_circuits = {(c, n, h): m for n, layer in enumerate(model.layers) for c, h, m in oracle.circuits(layer)}
    out = []
    for (circuit, part, measure, whole), keys in families.items():
        skew, reverse = part.endswith("antisymmetric"), part.endswith("reversed")
        of_head = {(k[1], k[2]) for k in keys}
        subjects = {key: all_circuits[circuit, *key] for key in of_head}
        subjects = {key: antisymmetric(m) if skew else m for key, m in subjects.items()}
        nulls = {}
        for lag, j in enumerate(counts, 1):
            t = oracle.centred_transitions(j) if part.startswith("centred_") else oracle.transitions(j)
            y = model.embedding.T @ t @ (model.embedding if circuit == "QK" else model.head)
            y = antisymmetric(y) if skew else y if reverse else y.T
            if measure == "spectral_cosine":
                some = [m for m in gaussian[circuit]][:: 1 + len(gaussian[circuit]) // 40]
                null = [spectral_cosine(antisymmetric(m) if skew else m, y) for m in some]
                nulls |= {(*key, lag): null for key in subjects}
                continue
            if measure == "matrix_cosine":
                turned = (turns @ y @ np.swapaxes(turns, 1, 2)).reshape(len(turns), -1) / np.linalg.norm(y)
                nulls |= {(*key, lag): turned @ (m / np.linalg.norm(m)).ravel() for key, m in subjects.items()}
            else:
                (pu,), (pv,) = ([x] for x in spaces(y))
                left, right = turns @ pu, turns @ pv
                for key, m in subjects.items():
                    u, v = spaces(m)
                    nulls[(*key, lag)] = (((u.T @ left) ** 2).sum((1, 2)) + ((v.T @ right) ** 2).sum((1, 2))) / 16
        table = np.array([nulls[k[1], k[2], k[3]] for k in keys]).T
        found = np.array([values["match"][k] for k in keys])
        rows = [student(v, n, len(keys)) for v, n in zip(found, table.T)] if measure == "spectral_cosine" else permuted(found, table)
        for key, row in zip(keys, rows):
            out.append([*key, *row, shuffled.get(key) if measure != "subspace_overlap" else None])
    order = {key: i for i, key in enumerate(values["match"])}
    return sorted(out, key=lambda row: order[tuple(row[:6])])


def correlation_rows(model, counts, unigram, values, turns, second_turns):
    """Rows and columns are exchanged by themselves."""
    out = []
    for n, layer in enumerate(model.layers):
        few = [oracle.layer_correlations(model, layer, counts, unigram, lambda m, a=a, b=b: a @ m @ b.T)
               for a, b in zip(turns[:19], second_turns[:19])]
        keys = [k for k in values["correlations"] if k[0] == n]
        for key in keys:
            out.append([*key, *permuted(np.array([values["correlations"][key]]), np.array([[x[key[1:]]] for x in few]))[0]])
    return out


def band_rows(model, counts, values, turns):
    out = []
    for n, layer in enumerate(model.layers):
        null = [oracle.layer_bands(model, layer, counts, lambda b, a=a: a @ b) for a in turns[:99]]
        keys = [k for k in values["bands"] if k[0] == n]
        for key in keys:
            out.append([*key, *permuted(np.array([values["bands"][key]]), np.array([[x[key[1:]]] for x in null]))[0]])
    return out


def drift_rows(model, second, values, p, turns):
    out = []
    for n, layer in enumerate(model.layers):
        def turned(turn, layer=second.layers[n]):
            return Layer(*(x @ turn for x in (layer.query, layer.key, layer.value, layer.output)))
        nulls = [oracle.layer_drift(model, layer, second, turned(turn), p) for turn in turns]
        for key in (k for k in values["drift"] if k[0] == n):
            out.append([*key, *permuted(np.array([values["drift"][key]]), np.array([[x[key[1:]]] for x in nulls]))[0]])
    return out


# ---- the rest

def shuffled_counts(unigram, tokens, lags, rng):
    ids = rng.choice(len(unigram), size=tokens, p=unigram / unigram.sum())
    out = [np.zeros((len(unigram),) * 2, np.int64) for _ in range(lags)]
    for lag, j in enumerate(out, 1):
        np.add.at(j, (ids[:-lag], ids[lag:]), 1)
    return out


def label_rows(values, heads):
    family = {tuple(row[:3]): row[-1] for row in heads}
    out = []
    for n, masses in values["masses"].items():
        for h, mass in enumerate(masses):
            words = []
            if mass.argmax() == 1 and mass[1] >= 3 * np.delete(mass, 1).max() and family[n, h, "previous_token"] < 0.01:
                words.append("previous-token")
            if mass.max() <= 2 / len(mass):
                words.append("uniform")
            if values["heads"][n, h, "copying"] > 0 and family[n, h, "copying"] < 0.01:
                words.append("copying")
            out.append([n, h, " ".join(words)])
    return out


def frontier_rows(model, counts):
    out = []
    for lag, j in enumerate(counts, 1):
        sigma = singular_values(antisymmetric(model.embedding.T @ oracle.transitions(j) @ model.embedding))
        out += [[lag, target, *frontier(sigma, target)] for target in TARGETS if participation(sigma) < target <= len(sigma) // 2 * 2]
    return out


def claim_rows(rows):
    """The strongest of each family of matches, and the strongest label."""
    out = []
    for circuit in ("QK", "OV"):
        best = max((r for r in rows["match"] if r[0] == circuit and r[4] == "centred_forward" and r[5] == "matrix_cosine"),
                   key=lambda r: abs(r[6] - r[7]) / r[8])
        out.append([f"{circuit} follows the corpus", best[1], best[2], best[3], "matrix cosine, centred", best[6], best[7], best[10], int(best[10] < 0.01)])
    return out


def as_analysis(model, counts, unigram, second=None, permutations=199, draws=8, seed=0, name="model/"):
    """The whole file, as data."""
    rng = np.random.default_rng(seed)
    d, tokens = model.embedding.shape[1], int(unigram.sum())
    values = oracle.tables(model, counts, unigram, second)
    p = (unigram + 0.5) / (unigram + 0.5).sum()
    drawn, (turns, others) = gaussian_layers(model, draws, rng), (signed_permutations(rng, d, permutations) for _ in range(2))
    noise = shuffled_counts(unigram, min(tokens, 300_000), len(counts), rng)
    noise_corpus, noise_match = oracle.corpus_table(model, noise), {}
    for n, layer in enumerate(model.layers):
        noise_match |= {(c, n, *rest): v for (c, *rest), v in oracle.layer_match(model, layer, noise).items()}
    rows = gaussian_tables(model, values, drawn, p)
    rows["corpus"] = [[*key, value, noise_corpus[key], None, None, None] for key, value in values["corpus"].items()]
    rows["twinning"] = twinning(model, values, rng, permutations)
    rows["match"] = match_rows(model, counts, values, noise_match, drawn, turns)
    rows["correlations"] = correlation_rows(model, counts, unigram, values, turns, others)
    rows["bands"] = band_rows(model, counts, values, turns)
    rows["drift"] = drift_rows(model, second, values, p, turns) if second else []
    rows["positions"] = [[*key, value] for key, value in values["positions"].items()]
    rows["spectra"] = [[*key, value] for key, value in values["spectra"].items()]
    rows["labels"] = label_rows(values, rows["heads"])
    rows["frontier"] = frontier_rows(model, counts)
    rows["claims"] = claim_rows(rows)
    layer = model.layers[0]
    header = {"path": name, "architecture": model.about.get("architecture", "nanogpt-rope"), "layers": len(model.layers), "heads": layer.heads,
              "kv_heads": len(layer.key), "head_dim": layer.head_dim, "d_model": d, "context": model.context, "vocab": len(model.embedding),
              "rotary_dim": model.rotary_dim, "tied": model.tied}
    return {"format": "aloft-analysis", "version": 1, "checkpoint": header, "second": header | {"path": "second/"} if second else None,
            "corpus": {"hash": f"{tokens:016x}", "tokens": tokens, "vocab": len(unigram), "lags": len(counts)},
            "nulls": {"permutations": permutations, "draws": draws, "shuffled_tokens": min(tokens, 300_000), "seed": seed},
            "tables": {name: {"about": name, "columns": [{"name": c, "about": c} for c in columns], "rows": [list(map(plain, r)) for r in rows[name]]}
                       for name, columns in COLUMNS.items() if rows[name]},
            "notes": ["made by tests/python/analysis_file.py, not by the program"]}


def plain(x):
    return x.item() if isinstance(x, np.generic) else x
