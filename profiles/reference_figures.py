#!/usr/bin/env python3
"""Compares what aloft computes with the figures of its specification, on the corpus those were measured on.

    python3 profiles/reference_figures.py --text enwik-first-4mb.xml --aloft build/release/aloft

The text is the first 4 MB of an English Wikipedia XML dump (enwik): lower-cased, tokens are the matches
of [a-z]+|[0-9]|[^\\sa-z0-9]|\\n, V = 4096 (id 0: everything else), statistics from the first 90% of the tokens. Needs NumPy.
Counts are compared with an independent oracle exactly; everything else is printed beside the reference.
"""
import argparse
import collections
import json
import os
import re
import subprocess
import tempfile

import numpy as np

V, D, LAGS = 4096, 256, 8
COUNT_RATIO = {1: 0.357, 2: 0.540, 4: 0.247, 8: 0.146}
RAW_PR = [3.06, 2.25, 2.16, 2.10, 2.10, 2.09, 2.13, 2.11]
WHITEN = {0.5: [35.6, 18.6, 17.1, 22.4, 17.0, 19.1, 28.5, 36.7], 1.0: [32.3, 32.8, 31.6, 45.4, 36.5, 47.6, 64.9, 69.2]}
FRONTIER = {5: (0.973, 0.969), 10: (0.898, 0.890), 18.1: (0.821, 0.812), 30: (0.750, 0.745), 44: (0.695, 0.692)}


def load(path):
    """The tensors of a safetensors file, read without any library."""
    raw = open(path, "rb").read()
    n = int.from_bytes(raw[:8], "little")
    types = {"U64": np.uint64, "U32": np.uint32, "F64": np.float64, "F32": np.float32}
    header = json.loads(raw[8 : 8 + n])
    header.pop("__metadata__", None)
    data = memoryview(raw)[8 + n :]
    return {k: np.frombuffer(data[t["data_offsets"][0] : t["data_offsets"][1]], types[t["dtype"]]).reshape(t["shape"]) for k, t in header.items()}


def tokens(path):
    words = re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]|\n", open(path, encoding="utf8").read().lower())
    index = {w: i + 1 for i, (w, _) in enumerate(collections.Counter(words).most_common(V - 1))}
    ids = np.array([index.get(w, 0) for w in words], np.int64)
    return ids[: int(len(ids) * 0.9)]


def counts_are_exact(counts, ids):
    for lag in range(1, LAGS + 1):
        keys, n = np.unique(ids[:-lag] * V + ids[lag:], return_counts=True)
        offsets = np.searchsorted(keys // V, np.arange(V + 1))
        same = np.array_equal(offsets, counts[f"lag{lag}.row_offsets"]) and np.array_equal(keys % V, counts[f"lag{lag}.columns"])
        if not (same and np.array_equal(n, counts[f"lag{lag}.counts"])):
            return False
    return np.array_equal(np.bincount(ids, minlength=V), counts["unigram"])


def antisymmetric_pr(m):
    s2 = np.linalg.svd((m - m.T) / 2, compute_uv=False) ** 2
    return s2.sum() ** 2 / (s2**2).sum()


def power(c, gamma, ridge=1e-3):
    values, q = np.linalg.eigh(c + ridge * np.trace(c) / len(c) * np.eye(len(c)))
    return (q * values**-gamma) @ q.T


def row(name, got, reference):
    print(f"| {name} | {got} | {reference} |")


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--text", required=True)
    flags.add_argument("--aloft", default="build/release/aloft")
    flags = flags.parse_args()
    ids = tokens(flags.text)
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        aloft = lambda *a: subprocess.run([flags.aloft, *map(str, a), "--quiet"], check=True, stdout=subprocess.DEVNULL)
        ids.astype("<u2").tofile(at("ids.u16"))
        files = []
        for strategy in ("dense", "sparse"):
            for threads in (1, 2):
                files.append(at(f"{strategy}{threads}.safetensors"))
                aloft("count", "--corpus", at("ids.u16"), "--format", "u16", "--vocab-size", V, "--lags", LAGS, "--strategy", strategy,
                      "--threads", threads, "--output", files[-1])
        exact = counts_are_exact(load(files[0]), ids) and len({open(f, "rb").read() for f in files}) == 1
        aloft("init", "--counts", files[0], "--arch", "nanogpt", "--layers", LAGS, "--heads", 8, "--d-model", D, "--recipe", "spread",
              "--pr-target", 30, "--output", at("run"))
        report = json.load(open(at("run/spectra.json")))
        p = load(at("run/projections.safetensors"))

    print(f"{len(ids)} tokens, V = {V}, d = {D}\n\n| figure | aloft | specification |\n|---|---|---|")
    row("counts equal the oracle, dense and sparse, 1 and 2 threads", "exactly" if exact else "NO", "exactly")
    for n, wanted in COUNT_RATIO.items():
        row(f"asymmetry ratio of J_{n}", f"{report['lags'][n - 1]['counts_asymmetry']['ratio']:.3f}", f"{wanted:.3f}")
    row("asymmetry ratio of T_1", f"{report['lags'][0]['transition_asymmetry']['ratio']:.3f}", "0.707 (the null)")
    row("the same, shuffled", f"{report['lags'][0]['null_shuffled']['transition_asymmetry']['ratio']:.4f}", "0.7045")
    raw = [antisymmetric_pr(x) for x in p["transition"]]
    row("PR of A_n, n = 1..8", ", ".join(f"{x:.2f}" for x in raw), ", ".join(f"{x:.2f}" for x in RAW_PR))
    for gamma, wanted in WHITEN.items():
        got = [antisymmetric_pr(power(p["source_covariance"][n], gamma) @ p["deviation"][n] @ power(p["target_covariance"][n], gamma)) for n in range(LAGS)]
        row(f"PR of the antisymmetric part of K({gamma})", ", ".join(f"{x:.1f}" for x in got), ", ".join(f"{x:.1f}" for x in wanted))
    for point in report["layers"][0]["frontier"]:
        if point["pr_target"] in FRONTIER:
            wanted = FRONTIER[point["pr_target"]]
            row(f"frontier, lag 1, PR {point['pr_target']:g}: cosine of pareto, temper", f"{point['pareto_cosine']:.3f}, {point['temper_cosine']:.3f}",
                f"{wanted[0]:.3f}, {wanted[1]:.3f}")
    kernel = report["null_gaussian"]["attention_kernel"]["antisymmetric"]
    row("Gaussian kernel W_QᵀW_K: PR energy, linear", f"{kernel['pr_energy']:.0f}, {kernel['pr_linear']:.0f}", "101, 164")
    raise SystemExit(0 if exact else 1)


if __name__ == "__main__":
    main()
