"""profiles/factors_peer.py and factors_benchmark.py on a tiny corpus: NumPy's factors are aloft's, and the tables are made."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import PROGRAM, ROOT

pytest.importorskip("scipy")
from safetensors import safe_open  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

PROFILES = ROOT / "profiles"
VOCAB, TOKENS, LAGS = 300, 30_000, 2


def stream(vocab=VOCAB, count=TOKENS, seed=1):
    """Ids that follow from the two before them, in documents that id 0 ends."""
    rng = np.random.default_rng(seed)
    dice, noise = rng.random(count), np.minimum(rng.integers(1, vocab, count), rng.integers(1, vocab, count))
    out = [1, 2]
    for k in range(2, count):
        if dice[k] < 0.01:
            out.append(0)
        elif dice[k] < 0.5:
            out.append(1 + (out[-1] * 3 + noise[k] % 3) % (vocab - 1))
        elif dice[k] < 0.7:
            out.append(1 + (out[-2] * 5) % (vocab - 1))
        else:
            out.append(int(noise[k]))
    return np.array(out, np.uint32)


def python(script, *words, code=0):
    command = [sys.executable, str(PROFILES / script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def ids(tmp_path_factory):
    path = tmp_path_factory.mktemp("ids") / "ids.u32"
    stream().tofile(path)
    return path


@pytest.fixture(scope="module")
def designed(tmp_path_factory, ids):
    """estimator -> folder of an `aloft init`."""

    def run(estimator):
        folder = tmp_path_factory.getbasetemp() / f"run-{estimator}"
        if not folder.exists():
            command = [PROGRAM, "init", "--corpus", ids, "--format", "u32", "--vocab-size", VOCAB, "--doc-sep-id", 0, "--lags", LAGS]
            command += ["--arch", "nanogpt-rope", "--layers", LAGS, "--heads", 4, "--d-model", 32, "--estimator", estimator, "--threads", 1]
            subprocess.run([str(word) for word in [*command, "--backend", "cpu", "--quiet", "--output", folder]], check=True)
        return folder

    return run


def files(folder):
    return ["--counts", folder / "counts.safetensors", "--factors", folder / "factors.safetensors"]


@pytest.mark.parametrize("estimator", ["discriminant", "tucker"])
def test_numpys_factors_are_alofts(designed, estimator):
    found = json.loads(python("factors_peer.py", "check", *files(designed(estimator))))
    assert found["equal"] and found["estimator"] == estimator
    assert set(found["differences"]) == {"maps", "bias", "participation", "written_norm"}
    assert max(found["differences"].values()) <= 1e-6


@pytest.mark.parametrize("estimator", ["discriminant", "tucker"])
@pytest.mark.parametrize("what", ["cores", "bias"])
def test_factors_that_differ_are_told(designed, tmp_path, estimator, what):
    folder = designed(estimator)
    with safe_open(folder / "factors.safetensors", "np") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    tensors[what][0] *= 1 + 1e-4
    save_file(tensors, tmp_path / "factors.safetensors", metadata)
    words = ["--counts", folder / "counts.safetensors", "--factors", tmp_path / "factors.safetensors"]
    found = json.loads(python("factors_peer.py", "check", *words, code=1))
    assert not found["equal"] and found["differences"]["maps" if what == "cores" else "bias"] > 1e-6


@pytest.mark.parametrize("estimator", ["discriminant", "tucker"])
def test_the_whole_job_counts_the_same_and_chooses_as_well(designed, ids, tmp_path, estimator):
    folder = designed(estimator)
    words = ["--ids", ids, "--vocab-size", VOCAB, "--doc-sep-id", 0, "--lags", LAGS, "--like", folder]
    found = json.loads(python("factors_peer.py", "whole", *words, "--output", tmp_path / "t.safetensors"))
    theirs = json.loads((folder / "offset.json").read_text())
    assert found["counts_equal"] and set(found["parts"]) == {"count", "factors", "emit"}
    assert abs(found["scalars"]["loss"] - theirs["chosen_on"]["loss"]) < 0.02  # subspaces are not quite the same
    assert theirs["chosen_on"]["loss"] < theirs["chosen_on"]["unigram_loss"] - 0.3
    with safe_open(tmp_path / "t.safetensors", "np") as ours, safe_open(folder / "init.safetensors", "np") as init:
        assert {n: ours.get_slice(n).get_shape() for n in ours.keys()} == {n: init.get_slice(n).get_shape() for n in init.keys()}


def test_the_tables_are_made_once(ids, tmp_path):
    words = ["run", "--aloft", PROGRAM, "--folder", tmp_path / "b", "--ids", ids, "--ids-vocab", VOCAB, "--doc-sep-id", 0, "--layers", 2]
    words += ["--head-dim", 8, "--threads", 1, "--gemm", 256, "--cases", f"{VOCAB}:32:discriminant,{VOCAB + 40}:32:tucker"]
    words += ["--whole", f"{VOCAB}:32:discriminant", "--markdown", tmp_path / "t.md"]
    text = python("factors_benchmark.py", *words)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| 3")]
    assert [row[1:4] for row in rows] == [["as it is", "32", "discriminant"], ["split", "32", "tucker"], ["as it is", "32", "discriminant"]]
    assert all("times)" in " ".join(row) and "failed" not in " ".join(row) for row in rows)
    record = json.loads((tmp_path / "b" / f"{VOCAB}-32-discriminant.json").read_text())
    a = record["aloft"]
    assert record["check"]["equal"] and record["whole_peer"]["counts_equal"] and a["peak_bytes"] > 1 << 20
    width = a["lags"] * a["d_s"]
    single = 2 * VOCAB * width**2 + 2 * a["chosen_on"]["positions"] * VOCAB * width
    assert f"{single / 1e12:.3g}" == rows[0][6]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "b").glob("*.json")}
    assert python("factors_benchmark.py", *words) == text
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "b").glob("*.json")}


def test_bases_without_the_slice_are_recognised(monkeypatch):
    """U may be orthonormal under the unigram of the counts without the slice: its balanced columns tell."""
    monkeypatch.syspath_prepend(str(PROFILES))
    import factors_counts
    import factors_numpy
    import factors_peer

    ids = stream().astype(np.int64)
    ids[ids == 0] = factors_counts.BREAK
    counts = factors_counts.count_ids(ids, VOCAB, LAGS)
    ratios = factors_numpy.LogRatios(factors_counts.without_slice(counts), 200)
    source, target = factors_numpy.tucker_bases(ratios, 8, 12)
    theirs = factors_numpy.fit_tucker(counts, source, target, 200, [0.8, 0.4])
    theirs |= {"estimator": "tucker", "kappa": 200, "lag_weights": [0.8, 0.4], "scalars": [0, 0, 0, theirs["written_norm"]]}
    assert max(factors_peer.differences(counts, factors_peer.refit(counts, theirs), theirs).values()) < 1e-10
    span = factors_peer.orthonormal_under(counts.p, target)
    other = factors_numpy.fit_tucker(counts, source, span, 200, [0.8, 0.4])
    assert factors_peer.differences(counts, other, theirs)["maps"] > 1e-6


def test_the_rough_subspace_holds_what_leads(monkeypatch):
    """Above 1,024 rows the peer's subspaces are not the dense solver's."""
    monkeypatch.syspath_prepend(str(PROFILES))
    import factors_numpy

    rng = np.random.default_rng(3)
    root = rng.standard_normal((1100, 200)) * 0.9 ** np.arange(200)
    values, vectors = factors_numpy.leading_eigenvectors(lambda x: root @ (root.T @ x), 1100, 40, 2)
    exact = np.linalg.svd(root, compute_uv=False)[:40] ** 2
    assert np.allclose(vectors.T @ vectors, np.eye(40), atol=1e-12) and np.allclose(values[:15], exact[:15], rtol=1e-5)
    assert np.all(values <= exact * (1 + 1e-9)) and values.sum() > 0.998 * exact.sum()


def test_streams_of_other_vocabularies(monkeypatch):
    monkeypatch.syspath_prepend(str(PROFILES))
    import factors_benchmark

    ids = stream(vocab=600)
    own = np.bincount(ids, minlength=600)
    fewer = factors_benchmark.make_vocabulary(ids, 600, 400, 0)
    assert fewer.max() < 400 and np.array_equal(fewer == 0, ids == 0)
    often = 1 + np.argsort(-own[1:], kind="stable")[:143]  # 400 less 256 shared ids and the separator
    for rank, token in enumerate(often):
        assert np.all(fewer[ids == token] == rank + 1)
    assert np.all(fewer[~np.isin(ids, often) & (ids != 0)] >= 144)
    more = factors_benchmark.make_vocabulary(ids, 600, 700, 0)
    split = np.nonzero(more != ids)[0]
    assert len(np.unique(more[split])) == 100 and np.all(ids[split - 1] % 2 == 1) and np.array_equal(more == 0, ids == 0)
    assert set(ids[split]) <= set(1 + np.argsort(-own[1:], kind="stable")[:100])
