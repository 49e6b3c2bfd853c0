"""What `--recipe spread --noise 0` promises, checked on the emitted file alone, with NumPy: the antisymmetric part of
sum_h W_Q,h^T W_K,h is the expanded A up to the reported scale, and its participation ratio is the target."""

import json
import os
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("ALOFT_PROGRAM", str(ROOT / "build/release/aloft"))
LAYERS, HEADS, D = 3, 4, 32


@pytest.fixture(scope="session")
def counts(tmp_path_factory):
    """Counts of a seeded Markov text with direction at several lags."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = random.Random(5)
    words = [f"w{''.join(rng.choice('abcdefghij') for _ in range(4))}" for _ in range(300)]
    follow = [[rng.randrange(300) for _ in range(6)] for _ in range(300)]
    at, text = 0, []
    for _ in range(60000):
        at = rng.choice(follow[at]) if rng.random() < 0.7 else int(300 * rng.random() ** 2)
        text.append(words[at])
    (folder / "text.txt").write_text(" ".join(text))
    path = folder / "counts.safetensors"
    run("count", "--corpus", folder / "text.txt", "--vocab-size", 256, "--output", path)
    return path


def run(*words):
    done = subprocess.run([PROGRAM, *map(str, words), "--quiet"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def init(counts, folder, arch, *more):
    run("init", "--counts", counts, "--arch", arch, "--layers", LAYERS, "--heads", HEADS, "--d-model", D, "--recipe", "spread", "--noise", 0,
        "--context", 64, "--null-tokens", 0, "--output", folder, *more)
    return load_file(folder / "init.safetensors"), json.loads((folder / "spectra.json").read_text())


def kernel(tensors, arch, layer, kv_heads=HEADS):
    """sum_h W_Q,h^T W_K,g(h) [D, D] in float64."""
    if arch == "llama":
        q = tensors[f"model.layers.{layer}.self_attn.q_proj.weight"]
        k = tensors[f"model.layers.{layer}.self_attn.k_proj.weight"]
    else:
        name = f"transformer.h.{layer}.attn.c_attn.weight"
        fused = tensors[name].T if arch == "gpt2" else tensors[name]
        q, k = fused[:D], fused[D : 2 * D]
    q = q.astype(np.float64).reshape(HEADS, -1, D)
    k = k.astype(np.float64).reshape(kv_heads, -1, D)
    return sum(q[h].T @ k[h // (HEADS // kv_heads)] for h in range(HEADS))


def pr(sigma):
    return (sigma**2).sum() ** 2 / (sigma**4).sum()


def expanded(folder, layer):
    e = load_file(folder / "expanded.safetensors")
    sigma, left, right = (e[n][layer] for n in ("sigma", "left", "right"))
    half = (left * sigma[:, None]).T @ right
    return half - half.T


@pytest.mark.parametrize("arch", ["nanogpt", "nanogpt-rope", "gpt2", "llama"])
@pytest.mark.parametrize("method", ["temper", "pareto", "whiten", "stack"])
@pytest.mark.parametrize("target", [2.5, 8, 20, 31, 32])
def test_kernel_is_the_expanded_matrix(counts, tmp_path, arch, method, target):
    tensors, report = init(counts, tmp_path, arch, "--expand", method, "--pr-target", target)
    for layer in range(LAYERS):
        m, a = kernel(tensors, arch, layer), expanded(tmp_path, layer)
        antisymmetric = (m - m.T) / 2
        scale = report["layers"][layer]["composition"]["scale"]
        assert scale < 0, "causal sign"
        assert np.linalg.norm(antisymmetric - scale * a) <= 1e-5 * np.linalg.norm(antisymmetric)
        assert np.linalg.norm(m - antisymmetric) <= 1e-5 * np.linalg.norm(m), "noise 0 leaves nothing symmetric"
        assert pr(np.linalg.svd(antisymmetric, compute_uv=False)) == pytest.approx(target, rel=1e-3)
        assert report["layers"][layer]["after"]["pr_energy"] == pytest.approx(target, rel=1e-3)


def test_haar_keeps_the_spectrum_and_loses_the_direction(counts, tmp_path):
    kept, report = init(counts, tmp_path / "keep", "nanogpt", "--pr-target", 12)
    haar, control = init(counts, tmp_path / "haar", "nanogpt", "--pr-target", 12, "--directions", "haar")
    for layer in range(LAYERS):
        spectra = [np.linalg.svd(kernel(t, "nanogpt", layer), compute_uv=False) for t in (kept, haar)]
        np.testing.assert_allclose(spectra[0], spectra[1], rtol=1e-4)
        assert report["layers"][layer]["matrix_cosine"]["value"] > 0.5
        assert abs(control["layers"][layer]["matrix_cosine"]["value"]) < 0.2


def test_grouped_queries_hold_the_truncated_target(counts, tmp_path):
    """2 key-value heads of 8 rows hold 16 of 32 directions: the file has the largest, the report the residual."""
    tensors, report = init(counts, tmp_path, "llama", "--kv-heads", 2, "--pr-target", 20)
    for layer in range(LAYERS):
        m, a = kernel(tensors, "llama", layer, kv_heads=2), expanded(tmp_path, layer)
        composition = report["layers"][layer]["composition"]
        full = composition["scale"] * a
        u, s, vt = np.linalg.svd(full)
        np.testing.assert_allclose(m, (u[:, :16] * s[:16]) @ vt[:16], atol=1e-5 * np.linalg.norm(full))
        assert composition["truncation_residual"] == pytest.approx(np.sqrt((s[16:] ** 2).sum() / (s**2).sum()), rel=1e-4)
        assert composition["truncation_residual"] > 0.05


def test_a_target_above_the_rank_is_refused(counts, tmp_path):
    words = [PROGRAM, "init", "--counts", counts, "--arch", "nanogpt", "--layers", 2, "--heads", 4, "--d-model", D, "--recipe", "spread",
             "--pr-target", 33]
    done = subprocess.run([str(w) for w in [*words, "--output", tmp_path / "run", "--quiet"]], capture_output=True, text=True)
    assert done.returncode == 2 and "32" in done.stderr
    assert not (tmp_path / "run" / "init.safetensors").exists()
