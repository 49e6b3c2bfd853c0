#!/usr/bin/env python3
"""What spreading a spectrum buys: participation ratio, alignment, held-out loss of every expansion and estimator.

    python3 profiles/spreading.py --text enwik-first-4mb.xml --program build/release/aloft --folder spreading/ \\
        --json spreading.json --plot profiles/spreading.png

A map K of lag n is read as a predictor of the next token, logits_j = log p_j + s (e_i - m)' K (e_j - m): token i is n places
back, m is the mean embedding under the unigram p, s is the one scalar. Ids as in a trial: V = 2048, the vocabulary from the
whole text. s is chosen by Newton on the last 5% of the training stream, with everything else (counts, embedding, maps, p) from
the rest of it; the maps are then made again from the whole training stream, and the losses are those of the first 10,240 next
tokens of the held-out tenth, at that s. All maps come from files of `aloft init` runs, whose own figures are checked on the way;
the exit code is 1 if one disagrees. Needs NumPy; matplotlib for --plot.

"PR" is the participation ratio of K in the coordinates of the embedding, as the papers report it; "free" that of the operator
diag(sqrt p) (E - 1m') K (E - 1m')' diag(sqrt p), whose entries are what the logits see: no change of basis moves it. The cosines
are between such operators: with the raw map of the same kind (P_n = E'T_nE, or its antisymmetric part A_n), and with the smoothed
log-ratio M_n (tucker's target, kappa = 200). The nulls are in the table: random directions, shuffled text.
"""
import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np

from reference_figures import load, power

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools/python"))
from aloft.trial import corpus

V, D, LAGS, CONTEXT, WINDOWS, KAPPA = 2048, 128, 4, 64, 160, 200
GAMMAS = [round(0.1 * k, 1) for k in range(11)]
TARGETS = [5, 10, 18, 30, 44, 60]
RANDOM = "pareto, random directions"
SUMS = [("raw", "P"), ("raw", "A"), ("whiten", "K(0.5)"), ("whiten", "K(0.7)"), ("whiten", "K(1)"),
        ("whiten, antisymmetric", "K(0.5)"), ("whiten, antisymmetric", "K(0.8)"), ("whiten, antisymmetric", "K(1)"),
        ("pareto", "PR 30"), ("temper", "PR 30"), (RANDOM, "PR 30"), ("shuffled", "K(1)"),
        ("log-ratio", "M on E"), ("tucker", "as written"), ("discriminant", "as written")]
MODEL = ["--arch", "llama", "--layers", LAGS, "--heads", 4, "--d-model", D, "--context", CONTEXT, "--threads", 1]


def skew(m):
    return (m - m.T) / 2


def pr(m):
    gram = m.T @ m
    return np.trace(gram) ** 2 / (gram**2).sum()


def root(gram):
    values, q = np.linalg.eigh(gram)
    return (q * np.sqrt(np.maximum(values, 0))) @ q.T


def cosine(a, b):
    return np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)


def whitened(projections, lag, gamma):
    """K(gamma) of a lag."""
    of = lambda which: power(projections[which][lag - 1], gamma)
    return of("source_covariance") @ projections["deviation"][lag - 1] @ of("target_covariance")


def skew_of_planes(planes, layer):
    half = (planes["left"][layer].T * planes["sigma"][layer]) @ planes["right"][layer]
    return half - half.T


class Side:
    """Coordinates of every token [V, k], of mean 0 under p unless asked to stay, and their second moments under p."""

    def __init__(self, rows, p, centred=True):
        self.rows = rows - p @ rows if centred else rows
        self.gram = self.rows.T @ (self.rows * p[:, None])


class Operator:
    """left core right': what K is in any basis. Inner products are weighted with p on both sides."""

    def __init__(self, left, core, right):
        self.left, self.core, self.right = left, core, right

    def pr(self):
        return pr(root(self.left.gram) @ self.core @ root(self.right.gram))

    def norm(self):
        return np.sqrt(np.sum(self.core * (self.left.gram @ self.core @ self.right.gram)))

    def cosine(self, other, p):
        across = lambda a, b: a.rows.T @ (b.rows * p[:, None])
        inner = np.sum(self.core * (across(self.left, other.left) @ other.core @ across(other.right, self.right)))
        return inner / (self.norm() * other.norm())

    def dense_cosine(self, m, p):
        x = m * p[:, None] * p
        inner = np.sum(self.core * (self.left.rows.T @ x @ self.right.rows))
        return inner / (self.norm() * np.sqrt(np.sum(x * m)))

    def logits(self, ids):
        return (self.left.rows[ids] @ self.core) @ self.right.rows.T


class Tokens:
    """next [N] and context [N, LAGS] (column n - 1: the token n places before) of stream[first:last]."""

    def __init__(self, stream, first, last):
        at = np.arange(first, last)
        self.next = stream[at]
        self.context = np.stack([stream[at - n] for n in range(1, LAGS + 1)], 1)


class Predictor:
    """logits = base + s * sum of the parts' logits at their lags. parts: [(lag, function of ids to logits [ids, V])]."""

    def __init__(self, base, parts):
        self.base, self.parts = base, parts

    def losses(self, tokens, s, sums=False):
        """Nats of every token; with sums the mean, its slope and its curvature in s. Equal contexts are worked out once."""
        keys = tokens.context[:, [lag - 1 for lag, _ in self.parts]] @ (V ** np.arange(len(self.parts), dtype=np.int64))
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
        sizes = np.diff(np.append(starts, len(order)))
        out, slope, curvature = np.empty(len(order)), 0.0, 0.0
        for a in range(0, len(starts), 2048):
            b = min(a + 2048, len(starts))
            ids, n = tokens.context[order[starts[a:b]]], sizes[a:b]
            own = order[starts[a] : starts[b - 1] + sizes[b - 1]]
            rows, nxt = np.repeat(np.arange(b - a), n), tokens.next[own]
            f = sum(logits(ids[:, lag - 1]) for lag, logits in self.parts)
            z = self.base + s * f
            top = z.max(1)
            said = z[rows, nxt]
            q = np.exp(z - top[:, None])
            total = q.sum(1)
            out[own] = (np.log(total) + top)[rows] - said
            if sums:
                mean = np.einsum("ij,ij->i", q, f) / total
                square = np.einsum("ij,ij,ij->i", q, f, f) / total
                slope += n @ mean - f[rows, nxt].sum()
                curvature += n @ (square - mean**2)
        return (out.mean(), slope / len(out), curvature / len(out)) if sums else out

    def fit(self, tokens):
        """The s of least mean loss: damped Newton, the loss is convex in s."""
        s, (loss, slope, curvature) = 0.0, self.losses(tokens, 0.0, sums=True)
        while slope**2 / curvature > 1e-12:  # twice what is still to be gained
            step = -slope / curvature
            while (then := self.losses(tokens, s + step, sums=True))[0] > loss:
                step /= 2
            s, (loss, slope, curvature) = s + step, then
        return s


class Maps:
    """Every map of every lag from one stream of ids: self.all[lag, family, name] = (operator, its raw map, base of logits)."""

    def __init__(self, program, folder, ids):
        self.program, self.folder, self.ids, self.disagreements = program, folder, ids.astype(np.int64), []
        folder.mkdir(parents=True, exist_ok=True)
        self.p = (np.bincount(ids, minlength=V) + 0.5) / (len(ids) + V / 2)
        self.log_p = np.log(self.p)
        for name, stream in (("text", ids), ("shuffled", np.random.default_rng(0).permutation(ids))):
            stream.astype("<u2").tofile(folder / f"{name}.u16")
        self.all, self.m = {}, {lag: self.log_ratio(lag) for lag in range(1, LAGS + 1)}
        self.read_spread()
        self.read_estimators()

    def agree(self, what, mine, theirs, tolerance=1e-6):
        if not np.allclose(mine, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max()):
            self.disagreements.append(f"{self.folder.name}, {what}: {np.ravel(mine)[:3]} here, {np.ravel(theirs)[:3]} by aloft")

    def aloft(self, name, *arguments, ids="text"):
        """A finished run: its tensors by artifact, and its report."""
        out = self.folder / name
        corpus_flags = ["--corpus", self.folder / f"{ids}.u16", "--format", "u16", "--vocab-size", V, "--lags", LAGS]
        command = [self.program, "init", *corpus_flags, *MODEL, *arguments, "--output", out, "--force", "--quiet"]
        subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
        report = next(x for x in ("spectra.json", "offset.json") if (out / x).exists())
        return lambda artifact: load(out / f"{artifact}.safetensors"), json.loads((out / report).read_text())

    def log_ratio(self, lag):
        """M_n [V, V], dense: a reference for this script alone."""
        j = np.bincount(self.ids[:-lag] * V + self.ids[lag:], minlength=V * V).reshape(V, V)
        m = np.log((j + KAPPA * self.p) / ((j.sum(1, keepdims=True) + KAPPA) * self.p))
        return m - (m @ self.p)[:, None]

    def read_spread(self):
        raw, report = self.aloft("raw", "--recipe", "spread", "--expand", "none")
        rows, projections = raw("embedding")["embedding"].astype(float), raw("projections")
        first = np.bincount(self.ids[:-1], minlength=V) / (len(self.ids) - 1)
        covariance = rows.T @ (rows * first[:, None]) - np.outer(first @ rows, first @ rows)
        self.agree("source covariance", covariance, projections["source_covariance"][0])
        e, anti = Side(rows, self.p), {}
        for lag in range(1, LAGS + 1):
            transition = projections["transition"][lag - 1]
            full, anti[lag] = Operator(e, transition, e), Operator(e, skew(transition), e)
            for which, of in (("general", full), ("antisymmetric", anti[lag])):
                self.agree(f"PR, {which}, lag {lag}", pr(of.core), report["lags"][lag - 1][which]["pr_energy"])
            self.all[lag, "raw", "P"] = full, full, self.log_p
            self.all[lag, "raw", "A"] = anti[lag], anti[lag], self.log_p
            for kind in ("whiten", "whiten, antisymmetric"):
                for gamma in GAMMAS:
                    k = whitened(projections, lag, gamma)
                    this = Operator(e, k, e) if kind == "whiten" else Operator(e, skew(k), e)
                    self.all[lag, kind, f"K({gamma:g})"] = this, full if kind == "whiten" else anti[lag], self.log_p
            inverse = np.linalg.inv(e.gram)
            regression = inverse @ e.rows.T @ (self.p[:, None] * self.m[lag] * self.p) @ e.rows @ inverse
            self.all[lag, "log-ratio", "M on E"] = Operator(e, regression, e), full, self.log_p
        for method, directions in (("pareto", "keep"), ("temper", "keep"), ("pareto", "haar"), ("whiten", "keep")):
            for target in TARGETS:
                self.read_expanded(method, directions, target, e, anti, projections)
        for name, flags in (("", []), (", E of the text", ["--embedding", self.folder / "raw/embedding.safetensors"])):
            null, _ = self.aloft("shuffled", "--recipe", "spread", "--null-tokens", 0, *flags, ids="shuffled")
            own, theirs = Side(null("embedding")["embedding"].astype(float), self.p), null("projections")
            for lag in range(1, LAGS + 1):
                for gamma in (0.5, 1):
                    k = Operator(own, whitened(theirs, lag, gamma), own)
                    self.all[lag, "shuffled", f"K({gamma:g}){name}"] = k, self.all[lag, "raw", "P"][0], self.log_p

    def read_expanded(self, method, directions, target, e, anti, projections):
        flags = ["--expand", method, "--directions", directions, "--pr-target", target, "--null-tokens", 0]
        run, report = self.aloft(f"{method}-{directions}-{target}", "--recipe", "spread", *flags)
        planes = run("expanded")
        for lag in range(1, LAGS + 1):
            core, said = skew_of_planes(planes, lag - 1), report["layers"][lag - 1]
            what = f"{method} {directions} {target}, lag {lag}"
            self.agree(f"PR of {what}", pr(core), said["after"]["pr_energy"])
            self.agree(f"cosine of {what}", cosine(core, anti[lag].core), said["matrix_cosine"]["value"])
            if method != "whiten":
                family = method if directions == "keep" else RANDOM
                self.all[lag, family, f"PR {target}"] = Operator(e, core, e), anti[lag], self.log_p
            elif said["temper_after"] == 1:  # the grid of gammas has it: a check, no row
                self.agree(f"map of {what}", cosine(core, skew(whitened(projections, lag, said["parameter"]))), 1)

    def read_estimators(self):
        for name in ("tucker", "discriminant"):
            run, report = self.aloft(name, "--recipe", "offset", "--estimator", name)
            f = run("factors")
            for lag in range(1, LAGS + 1):
                core, full = f["cores"][lag - 1], self.all[lag, "raw", "P"][0]
                written = Operator(Side(f["source"], self.p, False), core, Side(f["target"], self.p, False))
                self.agree(f"PR of {name}, lag {lag}", written.pr(), report["participation_ratio_of_realised_maps"][lag - 1])
                centred = Operator(Side(f["source"], self.p), core, Side(f["target"], self.p))
                self.all[lag, name, "centred"] = centred, full, self.log_p
                self.all[lag, name, "as written"] = written, full, f["bias"]


class Study:
    def __init__(self, flags):
        folder = pathlib.Path(flags.folder)
        train, held = map(corpus.load, corpus.prepare(flags.text, folder / "ids", V, vocabulary_from="all"))
        design, stream = train[: int(len(train) * 0.95)], np.concatenate([train, held]).astype(np.int64)
        windows = np.stack([held[i * CONTEXT : (i + 1) * CONTEXT + 1] for i in range(WINDOWS)])
        self.fitting = Tokens(stream, len(design), len(train))
        self.held = Tokens(stream, len(train) + 1, len(train) + 1 + WINDOWS * CONTEXT)
        assert np.array_equal(windows[:, 1:].ravel(), self.held.next)
        self.choice = Maps(flags.program, folder / "choice", design)
        self.final = Maps(flags.program, folder / "final", train)
        for key in self.final.all:  # random directions turn with E: the same draw for both, it knows nothing of the slice anyway
            if key[1] == RANDOM:
                self.choice.all[key] = self.final.all[key]
        self.disagreements = self.choice.disagreements + self.final.disagreements
        self.unigram, self.bigram = corpus.unigram_loss(train, windows, V), corpus.bigram_loss(train, windows, V)
        self.before = -self.final.log_p[self.held.next]
        self.rows = [self.alone(*key) for key in self.final.all] + [self.table(lag) for lag in range(1, LAGS + 1)]
        own = {(r["lag"], r["family"], r["map"]): r["s"] for r in self.rows}
        for family, name in SUMS:
            weights = {lag: 1 if name == "as written" else own[lag, family, name] for lag in range(1, LAGS + 1)}
            self.rows.append(self.together(family, name, weights))

    def judge(self, row, chosen, final):
        """The row with its scalar, chosen on the slice, and its loss on the held-out tokens."""
        s = chosen.fit(self.fitting)
        gains = self.before - final.losses(self.held, s)
        loss, error = self.before.mean() - gains.mean(), gains.std() / len(gains) ** 0.5
        return {**row, "s": s, "loss": loss, "gain": gains.mean(), "error": error}

    def alone(self, lag, family, name):
        at = [maps.all[lag, family, name] for maps in (self.choice, self.final)]
        (operator, raw, _), p = at[1], self.final.p
        row = {"lag": lag, "family": family, "map": name, "pr": pr(operator.core), "free": operator.pr(),
               "to_raw": operator.cosine(raw, p), "to_m": operator.dense_cosine(self.final.m[lag], p)}
        return self.judge(row, *(Predictor(base, [(lag, of.logits)]) for of, _, base in at))

    def table(self, lag):
        """M_n itself."""
        m, p = self.final.m[lag], self.final.p
        x = m * np.sqrt(p)[:, None] * np.sqrt(p)
        to_raw = self.final.all[lag, "raw", "P"][0].dense_cosine(m, p)
        row = {"lag": lag, "family": "log-ratio", "map": "M", "pr": None, "free": pr(x), "to_raw": to_raw, "to_m": 1.0}
        at = (self.choice, self.final)
        return self.judge(row, *(Predictor(maps.log_p, [(lag, maps.m[lag].__getitem__)]) for maps in at))

    def together(self, family, name, weights):
        """All lags: the maps of a row, each at the scalar found for it alone, times one more."""
        def predictor(maps):
            logits = lambda lag: lambda ids: weights[lag] * maps.all[lag, family, name][0].logits(ids)
            return Predictor(maps.all[1, family, name][2], [(lag, logits(lag)) for lag in weights])

        return self.judge({"lag": "1-4", "family": family, "map": name}, predictor(self.choice), predictor(self.final))


def ranks(x):
    return np.argsort(np.argsort(x))


def show(study):
    number = lambda x, form: "" if x is None else format(x, form)
    print(f"{len(study.final.ids)} tokens counted, {len(study.fitting.next)} to choose s on, {len(study.held.next)} held out; "
          f"unigram {study.unigram:.3f}, smoothed bigram table {study.bigram:.3f} nats")
    for lag in [*range(1, LAGS + 1), "1-4"]:
        print(f"\nLag {lag}\n\n| family | map | PR | free | to raw | to M | s | loss | gain |\n" + "|---" * 9 + "|")
        for r in (r for r in study.rows if r["lag"] == lag):
            cells = [number(r.get(k), ".1f") for k in ("pr", "free")] + [number(r.get(k), ".2f") for k in ("to_raw", "to_m")]
            results = [f"{r['s']:.2g}", f"{r['loss']:.3f}", f"{r['gain']:+.3f} ± {r['error']:.3f}"]
            print("|", " | ".join([r["family"], r["map"], *cells, *results]), "|")
    print("\nRank correlation with the gain, over the rows of a lag:\n\n| lag | PR | free | to raw | to M |\n" + "|---" * 5 + "|")
    for lag in range(1, LAGS + 1):
        rows = [r for r in study.rows if r["lag"] == lag and r["pr"] is not None]
        with_gain = lambda k: np.corrcoef(ranks([r[k] for r in rows]), ranks([r["gain"] for r in rows]))[0, 1]
        print(f"| {lag} |", " | ".join(f"{with_gain(k):+.2f}" for k in ("pr", "free", "to_raw", "to_m")), "|")
    for line in study.disagreements:
        print("DISAGREES:", line)


def plot(study, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    styles = {"whiten": "o-", "whiten, antisymmetric": "s-", "pareto": "^-", "temper": "v-", RANDOM: "x-",
              "shuffled": "+", "tucker": "*", "discriminant": "D", "log-ratio": "P"}
    for axis, key, label in zip(axes, ("pr", "free"), ("in the coordinates of E", "of the operator (basis-free)")):
        for family, style in styles.items():
            rows = [r for r in study.rows if r["lag"] == 1 and r["family"] == family and r[key] is not None]
            axis.plot([r[key] for r in rows], [r["loss"] for r in rows], style, label=family, markersize=5, linewidth=1)
        axis.axhline(study.unigram, color="gray", linewidth=0.8, linestyle="--")
        axis.axhline(study.bigram, color="gray", linewidth=0.8, linestyle=":")
        axis.axvline(30, color="gray", linewidth=0.5)
        axis.set(xscale="log", xlabel=f"participation ratio {label}")
    axes[0].set_ylabel("held-out loss, lag 1 alone (nats)")
    axes[0].legend(fontsize=7)
    axes[1].text(31, study.unigram - 0.04, "unigram", fontsize=7)
    axes[1].text(31, study.bigram + 0.01, "smoothed bigram table", fontsize=7)
    figure.savefig(path, dpi=90)


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--text", required=True)
    flags.add_argument("--program", default="build/release/aloft")
    flags.add_argument("--folder", required=True, help="for ids and runs; created")
    flags.add_argument("--json", help="every row")
    flags.add_argument("--plot", help="PNG: loss against both participation ratios, lag 1")
    flags = flags.parse_args()
    study = Study(flags)
    show(study)
    if flags.json:
        out = {"unigram": study.unigram, "bigram": study.bigram, "rows": study.rows, "disagreements": study.disagreements}
        pathlib.Path(flags.json).write_text(json.dumps(out, indent=1, default=float) + "\n")
    if flags.plot:
        plot(study, flags.plot)
    raise SystemExit(1 if study.disagreements else 0)


if __name__ == "__main__":
    main()
