"""profiles/peers.py and benchmark_table.py on tiny inputs: equal results are timed, wrong ones are told, missing libraries named."""

import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
LAGS = (1, 2)


def csr(dense):
    """offsets, columns, values of the non-zeros, row by row."""
    rows, columns = np.nonzero(dense)
    return np.searchsorted(rows, np.arange(len(dense) + 1)), columns, dense[rows, columns]


def write_counts(folder, name, vocab, wrong=0):
    rng = np.random.default_rng(1)
    ids = rng.integers(0, vocab, 2000)
    np.save(folder / f"{name}_cpu_ids.npy", ids.astype(np.uint32))
    for lag in LAGS:
        table = np.zeros((vocab, vocab), np.uint64)
        np.add.at(table, (ids[:-lag], ids[lag:]), 1)
        offsets, columns, counts = csr(table)
        if lag == LAGS[-1] and wrong:
            counts[7] += wrong
        for part, values, kind in (("offsets", offsets, np.uint64), ("columns", columns, np.uint32), ("counts", counts, np.uint64)):
            np.save(folder / f"{name}_cpu_lag{lag}_{part}.npy", values.astype(kind))


def write_projection(folder, name="B4_zipf_V30_d5"):
    rng = np.random.default_rng(2)
    t = rng.random((30, 30)) * (rng.random((30, 30)) < 0.2)
    e = rng.standard_normal((30, 5))
    for part, values, kind in zip(("offsets", "columns", "values"), csr(t), (np.uint64, np.uint32, np.float64)):
        np.save(folder / f"{name}_cpu_{part}.npy", values.astype(kind))
    np.save(folder / f"{name}_cpu_embedding.npy", e.ravel())
    np.save(folder / f"{name}_cpu_projection.npy", (e.T @ t @ e).ravel())


def write_spectra(folder, kind, d, scale=1.0, suffix=""):
    a = np.random.default_rng(3).standard_normal((2, d, d))
    if kind == "antisymmetric":
        a = a - a.transpose(0, 2, 1)
    sigma = np.linalg.svd(a, compute_uv=False)
    if kind == "antisymmetric":
        sigma = sigma[:, : d // 2 * 2 : 2]
    name = f"B5_{kind}_d{d}_batch2{suffix}"
    np.save(folder / f"{name}_cpu_matrices.npy", a.ravel())
    np.save(folder / f"{name}_cpu_sigma.npy", sigma.ravel() * scale)


def peers(folder, *arguments):
    out = folder / "peers.json"
    command = [sys.executable, str(ROOT / "profiles/peers.py"), "--folder", str(folder), "--output", str(out), "--seconds", "0.01", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, json.loads(out.read_text())


def test_every_peer_agrees_with_correct_results_and_is_timed(tmp_path):
    write_counts(tmp_path, "B1_zipf_V8", 8)
    write_counts(tmp_path, "B2_zipf_V30", 30)
    write_counts(tmp_path, "B3_text_V40", 40)
    write_projection(tmp_path)
    for suffix in ("", "_vectors"):
        write_spectra(tmp_path, "antisymmetric", 7, suffix=suffix)
        write_spectra(tmp_path, "general", 6, suffix=suffix)
    code, report = peers(tmp_path, "--device", "cpu")
    rows = report["peers"]
    assert code == 0
    assert {r["status"] for r in rows} <= {"ok", "missing"}
    assert {r["case"][:2] for r in rows if r["status"] == "ok"} >= {"B1", "B2", "B3", "B5"}
    assert all(r["rate"] > 0 and r["runs"] >= 3 for r in rows if r["status"] == "ok")
    assert all("no " in r["reason"] and "rate" not in r for r in rows if r["status"] == "missing")
    assert report["versions"]["numpy"] == np.__version__ and report["date"] and report["processor"]


@pytest.mark.parametrize("what", ["counts", "sigma"])
def test_a_result_that_differs_is_told_and_not_timed(tmp_path, what):
    if what == "counts":
        write_counts(tmp_path, "B2_zipf_V30", 30, wrong=1)
    else:
        write_spectra(tmp_path, "antisymmetric", 8, scale=1 + 1e-11)
    code, report = peers(tmp_path, "--device", "cpu")
    rows = [r for r in report["peers"] if r["status"] != "missing"]
    assert code == 1 and rows
    assert all(r["status"] == "unequal" and r["difference"] > 0 and "rate" not in r for r in rows)


def test_peers_of_a_gpu_that_is_not_there_are_missing(tmp_path):
    write_counts(tmp_path, "B1_zipf_V8", 8)
    for file in list(tmp_path.glob("*_cpu_*.npy")):
        file.rename(tmp_path / file.name.replace("_cpu_", "_cuda_"))
    code, report = peers(tmp_path, "--device", "gpu")
    rows = report["peers"]
    if report["gpu"] is not None:
        pytest.skip("there is a GPU")
    assert rows and {r["status"] for r in rows} == {"missing"} and {r["device"] for r in rows} == {"gpu"}


def test_an_empty_folder_is_an_error(tmp_path):
    assert peers(tmp_path)[0] == 1


def test_the_table_joins_rates_limits_peers_and_targets(tmp_path):
    entry = lambda name, rate, limit: {"name": f"{name}/iterations:20/manual_time", "run_type": "iteration", "pairs/s": rate, "increments/s(one_lag)": limit,
                                       "of:increments/s(one_lag)": rate / limit, "real_time": 1.0}
    runs = [entry("B2_zipf_V4096/cpu", r, 1e9) for r in (7e8, 9e8, 5e8)] + [entry("B3_zipf_V50257/cpu", 3e8, 1e9)]
    (tmp_path / "b.json").write_text(json.dumps({"context": {"num_cpus": 2}, "benchmarks": runs}))
    peer = lambda case, name, rate, **more: {"case": case, "peer": name, "device": "cpu", "unit": "pairs/s", "status": "ok", "rate": rate, "difference": 0, **more}
    rows = [peer("B2_zipf_V4096", "np.bincount, keys ready", 1e8), peer("B2_zipf_V4096", "torch.bincount, keys ready", 3.5e8),
            {**peer("B2_zipf_V4096", "cupy.bincount", 1e12), "device": "gpu"},
            {"case": "B3_zipf_V50257", "peer": "scipy.sparse coo->csr", "device": "cpu", "unit": "pairs/s", "status": "missing", "reason": "no scipy"}]
    about = {"command": "peers", "processor": "a processor", "versions": {"numpy": "1", "scipy": None}, "blas": []}
    (tmp_path / "p.json").write_text(json.dumps({**about, "peers": rows}))
    command = [sys.executable, str(ROOT / "profiles/benchmark_table.py"), "--benchmarks", str(tmp_path / "b.json"), "--peers", str(tmp_path / "p.json"),
               "--markdown", str(tmp_path / "t.md"), "--json", str(tmp_path / "t.json")]
    (tmp_path / "t.md").write_text("# Old\n\nold figures\n\n## Notes\n\nWhy so slow.\n")
    subprocess.run(command, check=True)
    b2, b3 = json.loads((tmp_path / "t.json").read_text())["cases"]
    assert b2["rate"] == 7e8 and b2["repetitions"] == 3 and b2["of_limits"] == {"increments/s(one_lag)": 0.7}
    assert b2["best_peer"]["peer"].startswith("torch") and b2["best_peer"]["ratio"] == 2  # not the GPU's
    assert [(t["wanted"], t["met"]) for t in b2["targets"]] == [(0.8, False), (5, True)]
    assert [(t["wanted"], t["met"]) for t in b3["targets"]] == [(2.0e8, True), (5, None)] and b3["best_peer"] is None
    text = (tmp_path / "t.md").read_text()
    assert text.endswith("\n## Notes\n\nWhy so slow.\n") and "old figures" not in text
    assert "**not met**" in text and "missing: no scipy" in text and "scipy missing" in text


class FakeEvent:
    """Of CuPy's and torch's clock: a millisecond between any two."""

    def __init__(self, **_):
        pass

    record = synchronize = lambda self: None
    elapsed_time = lambda self, other: 1.0


def test_the_gpu_peers_compute_the_right_thing(tmp_path, monkeypatch):
    """Their code, run on the CPU: torch with .cuda() as the identity, NumPy and SciPy in CuPy's place."""
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(ROOT / "profiles"))
    import peer_cases
    import peers
    import peers_gpu

    cuda = types.SimpleNamespace(Event=FakeEvent, get_elapsed_time=lambda a, b: 1.0, get_current_stream=lambda: FakeEvent(), synchronize=lambda: None)
    cupy = types.SimpleNamespace(**{n: getattr(np, n) for n in dir(np) if not n.startswith("__")})
    cupy.asnumpy, cupy.cuda = np.asarray, cuda
    cupy.diff = lambda x: np.diff(x).view(Getter)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.setattr(torch, "cuda", cuda)
    monkeypatch.setattr(peers_gpu, "torch_gpu", lambda: torch)
    monkeypatch.setattr(peers_gpu, "cupy_gpu", lambda: cupy)
    real = peers_gpu.optional
    monkeypatch.setattr(peers_gpu, "optional", lambda name: real(name.replace("cupyx.scipy", "scipy")))

    write_counts(tmp_path, "B2_zipf_V30", 30)
    write_counts(tmp_path, "B3_text_V40", 40)
    write_projection(tmp_path)
    for suffix in ("", "_vectors"):
        write_spectra(tmp_path, "antisymmetric", 7, suffix=suffix)
    seen = set()
    for case in peer_cases.cases_in(tmp_path):
        for peer in peers_gpu.peers():
            if case.benchmark not in peer.benchmarks or (peer.name.startswith("cupyx") and real("scipy.sparse") is None):
                continue
            row = peers.measure(case, peer, peers.Clock(0.01))
            assert row["status"] == "ok", row
            seen.add(peer.name)
    assert len(seen) >= len(peers_gpu.peers()) - 2


class Getter(np.ndarray):
    get = lambda self: np.asarray(self)
