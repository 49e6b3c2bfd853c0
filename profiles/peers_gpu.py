"""What CuPy and torch offer on a GPU for each benchmark, timed with events. Inputs are on the GPU before the clock starts."""
import numpy as np

from peers_cpu import Peer, Prepared, antisymmetric, optional


def torch_gpu():
    """torch if it sees a GPU, else None."""
    torch = optional("torch")
    try:
        return torch if torch is not None and torch.cuda.is_available() else None
    except Exception:
        return None


def cupy_gpu():
    cupy = optional("cupy")
    try:
        return cupy if cupy is not None and cupy.cuda.runtime.getDeviceCount() > 0 else None
    except Exception:
        return None


def gpu_name():
    torch, cupy = torch_gpu(), cupy_gpu()
    if torch is not None:
        return torch.cuda.get_device_name(0)
    if cupy is not None:
        return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return None


class GpuPeer(Peer):
    device = "gpu"

    def __init__(self, library, module, *args, **more):
        super().__init__(*args, **more)
        self.module = module
        if module is None:
            self.missing = f"no {library}" if optional(library) is None else f"{library} sees no GPU"


class TorchPeer(GpuPeer):
    def timed(self, work):
        torch = self.module
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        work()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop) * 1e-3

    def fetch(self, result):
        if callable(result):
            return lambda lag: tuple(x.cpu().numpy() for x in result(lag))
        return result.cpu().numpy()


class CupyPeer(GpuPeer):
    def timed(self, work):
        cuda = self.module.cuda
        start, stop = cuda.Event(), cuda.Event()
        cuda.get_current_stream().synchronize()
        start.record()
        work()
        stop.record()
        stop.synchronize()
        return cuda.get_elapsed_time(start, stop) * 1e-3

    def fetch(self, result):
        if callable(result):
            return lambda lag: tuple(self.module.asnumpy(x) for x in result(lag))
        return self.module.asnumpy(result)


# ---- B1, B2, B3. xp is torch or cupy behind one small face.


class Torch:
    def __init__(self, torch):
        self.torch = torch

    def put(self, x):
        return self.torch.from_numpy(np.ascontiguousarray(x)).cuda()

    def bincount(self, keys, cells):
        return self.torch.bincount(keys, minlength=cells)

    def nonzero(self, table):
        keys = self.torch.nonzero(table).flatten()
        return keys, table[keys]

    def unique(self, keys):
        return self.torch.unique(keys, return_counts=True)


class Cupy:
    def __init__(self, cupy):
        self.cupy = cupy

    def put(self, x):
        return self.cupy.asarray(np.ascontiguousarray(x))

    def bincount(self, keys, cells):
        return self.cupy.bincount(keys, minlength=cells)

    def nonzero(self, table):
        keys = self.cupy.flatnonzero(table)
        return keys, table[keys]

    def unique(self, keys):
        return self.cupy.unique(keys, return_counts=True)


def keys_on(xp, case, lag):
    source, target = case.pairs(lag)
    return xp.put(source * case.vocab + target)


def bincount_on(xp):
    def prepare(case):
        keys, cells = keys_on(xp, case, 1), case.vocab**2
        return Prepared(lambda: xp.bincount(keys, cells), len(keys), lambda: lambda lag: xp.nonzero(xp.bincount(keys_on(xp, case, lag), cells)))

    return prepare


def unique_on(xp):
    def prepare(case):
        keys = keys_on(xp, case, 1)
        return Prepared(lambda: xp.unique(keys), len(keys), lambda: lambda lag: xp.unique(keys_on(xp, case, lag)))

    return prepare


def cupy_coo(cupy):
    def prepare(case):
        sparse = optional("cupyx.scipy.sparse")

        def form(lag):
            source, target = (cupy.asarray(x.astype(np.int32)) for x in case.pairs(lag))
            return cupy.ones(len(source), cupy.float64), source, target

        def csr(ones, source, target):
            return sparse.coo_matrix((ones, (source, target)), shape=(case.vocab, case.vocab)).tocsr()

        def result(lag):
            m = csr(*form(lag))
            m.sum_duplicates()
            m.sort_indices()
            rows = cupy.repeat(cupy.arange(case.vocab, dtype=cupy.int64), cupy.diff(m.indptr).get().tolist())
            return rows * case.vocab + m.indices, m.data

        ready = form(1)
        return Prepared(lambda: csr(*ready), len(ready[0]), lambda: result)

    return prepare


# ---- B4, B5


def torch_projection(torch):
    def prepare(case):
        xp = Torch(torch)
        t = torch.sparse_csr_tensor(xp.put(case.offsets), xp.put(case.columns.astype(np.int64)), xp.put(case.values), (case.vocab, case.vocab))
        e = xp.put(case.embedding)
        return Prepared(lambda: e.T @ (t @ e), case.flops)

    return prepare


def cupy_projection(cupy):
    def prepare(case):
        sparse = optional("cupyx.scipy.sparse")
        parts = tuple(cupy.asarray(x) for x in (case.values, case.columns, case.offsets.astype(np.int32)))
        t, e = sparse.csr_matrix(parts, shape=(case.vocab, case.vocab)), cupy.asarray(case.embedding)
        return Prepared(lambda: e.T @ (t @ e), case.flops)

    return prepare


def some_of(case, svd, put, seconds_of, seconds=0.5):
    """As many matrices of the batch as a run of half a second allows, in one call: device time is scarce."""
    one = put(case.matrices[:1])
    seconds_of(lambda: svd(one))
    took = seconds_of(lambda: svd(one))
    return put(case.matrices[: min(case.batch, max(1, int(seconds / max(took, 1e-9))))])


def svd_on(xp, linalg, clock):
    """linalg.svd of one library, of the whole batch."""

    def prepare(case):
        svd = lambda x: linalg(x, case.vectors)
        x = some_of(case, svd, xp.put, clock)
        return Prepared(lambda: svd(x), len(x), lambda: svd(x)[1] if case.vectors else svd(x))

    return prepare


def peers():
    torch, cupy = torch_gpu(), cupy_gpu()
    tables, spectra = ("B1", "B2"), ("B5",)
    t, c = Torch(torch), Cupy(cupy)
    torch_time = lambda work: TorchPeer("torch", torch, "", (), None).timed(work)
    cupy_time = lambda work: CupyPeer("cupy", cupy, "", (), None).timed(work)
    torch_svd = lambda x, vectors: torch.linalg.svd(x) if vectors else torch.linalg.svdvals(x)
    cupy_svd = lambda x, vectors: cupy.linalg.svd(x) if vectors else cupy.linalg.svd(x, compute_uv=False)

    def torch_hermitian(x, vectors):
        if vectors:
            values, v = torch.linalg.eigh(1j * x)
            return v, values.abs()
        return torch.linalg.eigvalsh(1j * x).abs()

    return [
        TorchPeer("torch", torch, "torch.bincount, keys ready", tables, bincount_on(t)),
        CupyPeer("cupy", cupy, "cupy.bincount, keys ready", tables, bincount_on(c)),
        TorchPeer("torch", torch, "torch.unique, keys ready", ("B3",), unique_on(t)),
        CupyPeer("cupy", cupy, "cupy.unique, keys ready", ("B3",), unique_on(c)),
        CupyPeer("cupy", cupy, "cupyx.scipy.sparse coo->csr", ("B3",), cupy_coo(cupy)),
        TorchPeer("torch", torch, "torch sparse_csr @ E, E.T @", ("B4",), torch_projection(torch)),
        CupyPeer("cupy", cupy, "cupyx.scipy.sparse csr @ E, E.T @", ("B4",), cupy_projection(cupy)),
        TorchPeer("torch", torch, "torch.linalg.svd", spectra, svd_on(t, torch_svd, torch_time)),
        CupyPeer("cupy", cupy, "cupy.linalg.svd", spectra, svd_on(c, cupy_svd, cupy_time)),
        TorchPeer("torch", torch, "torch.linalg.eigh of i A", spectra, svd_on(t, torch_hermitian, torch_time), takes=antisymmetric),
    ]
