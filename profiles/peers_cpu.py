"""What NumPy, SciPy and torch offer on the CPU for each benchmark. Each peer is given what its call needs, already in its form."""
import contextlib
import importlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np


def optional(name):
    """The module, or None. Any failure to load counts: a library that cannot be imported cannot be timed."""
    try:
        return importlib.import_module(name)
    except Exception:
        return None


class Prepared:
    """work() is what is timed; it does `items` of the case's unit. result() computes all that is compared."""

    def __init__(self, work, items, result=None):
        self.work, self.items, self.result = work, items, result or work


class Peer:
    """A library's way to do one benchmark: prepare(case) -> Prepared. `missing` says why it is not there, or is ""."""

    device = "cpu"

    def __init__(self, name, benchmarks, prepare, needs=(), takes=lambda case: True):
        self.name, self.benchmarks, self.prepare, self.takes = name, benchmarks, prepare, takes
        gone = [n for n in needs if optional(n) is None]
        self.missing = f"no {', '.join(gone)}" if gone else ""

    def timed(self, work):
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    def fetch(self, result):
        return result


# ---- B1, B2: a table; B3: none. The timed work is lag 1 (each lag costs the same); all lags are compared.


def nonzero(table):
    keys = np.flatnonzero(table)
    return keys, table[keys]


def keys_of(case, lag):
    source, target = case.pairs(lag)
    return source * case.vocab + target


def bincount(case):
    keys = keys_of(case, 1)
    cells = case.vocab**2
    return Prepared(lambda: np.bincount(keys, minlength=cells), len(keys), lambda: lambda lag: nonzero(np.bincount(keys_of(case, lag), minlength=cells)))


def bincount_with_keys(case):
    cells = case.vocab**2
    return Prepared(
        lambda: np.bincount(keys_of(case, 1), minlength=cells), len(case.ids) - 1, lambda: lambda lag: nonzero(np.bincount(keys_of(case, lag), minlength=cells))
    )


def torch_bincount(case):
    torch = optional("torch")
    cells = case.vocab**2
    count = lambda keys: torch.bincount(keys, minlength=cells)
    keys = torch.from_numpy(keys_of(case, 1))
    return Prepared(lambda: count(keys), len(keys), lambda: lambda lag: nonzero(count(torch.from_numpy(keys_of(case, lag))).numpy()))


def scipy_coo(case):
    sparse = optional("scipy.sparse")

    def csr(ones, source, target):
        return sparse.coo_matrix((ones, (source, target)), shape=(case.vocab, case.vocab)).tocsr()

    def form(lag):
        source, target = (x.astype(np.int32) for x in case.pairs(lag))
        return np.ones(len(source), np.int32), source, target

    def result(lag):
        m = csr(*form(lag))
        m.sort_indices()
        rows = np.repeat(np.arange(case.vocab, dtype=np.int64), np.diff(m.indptr))
        return rows * case.vocab + m.indices, m.data

    ready = form(1)
    return Prepared(lambda: csr(*ready), len(ready[0]), lambda: result)


def unique(case):
    keys = keys_of(case, 1)
    return Prepared(lambda: np.unique(keys, return_counts=True), len(keys), lambda: lambda lag: np.unique(keys_of(case, lag), return_counts=True))


# ---- B4


def scipy_projection(case):
    sparse = optional("scipy.sparse")
    t = sparse.csr_matrix((case.values, case.columns, case.offsets), shape=(case.vocab, case.vocab))
    e = case.embedding
    return Prepared(lambda: e.T @ (t @ e), case.flops)


def torch_projection(case):
    torch = optional("torch")
    as_tensor = lambda x: torch.from_numpy(np.ascontiguousarray(x))
    t = torch.sparse_csr_tensor(as_tensor(case.offsets), as_tensor(case.columns.astype(np.int64)), as_tensor(case.values), (case.vocab, case.vocab))
    e = as_tensor(case.embedding)
    work = lambda: e.T @ (t @ e)
    return Prepared(work, case.flops, lambda: work().numpy())


# ---- B5. A peer does as many matrices of the batch as a run of a few seconds allows; it takes them one by one, so its rate does not change.


def items_within(case, one, seconds=2.0):
    one(case.matrices[0])
    start = time.perf_counter()
    one(case.matrices[0])
    took = time.perf_counter() - start
    return min(case.batch, max(1, int(seconds / took)))


def sigma_of(out):
    return out[1] if isinstance(out, tuple) else out


def one_by_one(case, one):
    matrices = case.matrices[: items_within(case, one)]
    return Prepared(lambda: [one(a) for a in matrices], len(matrices), lambda: np.array([sigma_of(one(a)) for a in matrices]))


def numpy_svd(case):
    return one_by_one(case, lambda a: tuple(np.linalg.svd(a)) if case.vectors else np.linalg.svd(a, compute_uv=False))


def scipy_gesdd(case):
    linalg = optional("scipy.linalg")
    return one_by_one(case, lambda a: linalg.svd(a, compute_uv=case.vectors, lapack_driver="gesdd", check_finite=False))


def numpy_svd_threads(case):
    """Matrices dealt to as many threads as there are processors, BLAS on one thread each: the best use of LAPACK on a batch. Of
    NumPy, which lets other threads run meanwhile; SciPy's wrapper does not."""
    control = optional("threadpoolctl")
    one = lambda a: np.linalg.svd(a, compute_uv=case.vectors)
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def work():
        with control.threadpool_limits(1, user_api="blas"):
            return list(pool.map(one, case.matrices))

    return Prepared(work, case.batch, lambda: np.array([sigma_of(tuple(x)) if case.vectors else x for x in work()]))


def numpy_hermitian(case):
    if case.vectors:
        return one_by_one(case, lambda a: (None, np.abs(np.linalg.eigh(1j * a)[0])))
    return one_by_one(case, lambda a: np.abs(np.linalg.eigvalsh(1j * a)))


def torch_svd(case):
    torch = optional("torch")
    with contextlib.suppress(RuntimeError):
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    one = lambda a: tuple(x.numpy() for x in torch.linalg.svd(a)) if case.vectors else torch.linalg.svdvals(a).numpy()
    tensors = [torch.from_numpy(a) for a in case.matrices]
    many = tensors[: items_within(case, lambda a: one(torch.from_numpy(a)))]
    return Prepared(lambda: [one(a) for a in many], len(many), lambda: np.array([sigma_of(one(a)) for a in many]))


def antisymmetric(case):
    return case.kind == "antisymmetric"


def peers():
    tables, spectra = ("B1", "B2"), ("B5",)
    return [
        Peer("np.bincount, keys ready", tables, bincount),
        Peer("np.bincount, keys included", tables, bincount_with_keys),
        Peer("torch.bincount, keys ready", tables, torch_bincount, ["torch"]),
        Peer("scipy.sparse coo->csr", ("B3",), scipy_coo, ["scipy.sparse"]),
        Peer("np.unique, keys ready", ("B3",), unique),
        Peer("scipy.sparse csr @ E, E.T @", ("B4",), scipy_projection, ["scipy.sparse"]),
        Peer("torch sparse_csr @ E, E.T @", ("B4",), torch_projection, ["torch"]),
        Peer("np.linalg.svd (gesdd)", spectra, numpy_svd),
        Peer("scipy.linalg.svd (gesdd)", spectra, scipy_gesdd, ["scipy.linalg"]),
        Peer("np.linalg.svd (gesdd), a thread a matrix", spectra, numpy_svd_threads, ["threadpoolctl"]),
        Peer("np.linalg.eigh of i A", spectra, numpy_hermitian, takes=antisymmetric),
        Peer("torch.linalg.svd", spectra, torch_svd, ["torch"]),
    ]
