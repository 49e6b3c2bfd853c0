"""The benchmark program's inputs and results, read back from the folder it wrote them to.

Every file is CASE_BACKEND_PART.npy; arrays are stored flat. Parts, inputs first:
B1, B2, B3   `ids` | the counts at each lag as CSR: `lagN_offsets`, `lagN_columns`, `lagN_counts`
B4           T as CSR (`offsets`, `columns`, `values`) and E (`embedding` [V, d]) | `projection` [d, d]
B5           `matrices` [batch, d, d] | `sigma` [batch, d], or of antisymmetric matrices [batch, d/2], each standing for two
"""
import os
import re

import numpy as np


class Case:
    """One input with aloft's result. `difference(result)` is 0 for equal counts (else the number of entries that differ), or relative."""

    def __init__(self, folder, name, backend):
        self.folder, self.name, self.backend, self.benchmark = folder, name, backend, name[:2]

    def load(self, part):
        return np.load(os.path.join(self.folder, f"{self.name}_{self.backend}_{part}.npy"))


class CountCase(Case):
    unit = "pairs/s"

    def __init__(self, folder, name, backend):
        super().__init__(folder, name, backend)
        self.vocab = int(re.search(r"_V(\d+)", name).group(1))
        self.ids = self.load("ids").astype(np.int64)
        lag_file = re.compile(re.escape(f"{name}_{backend}_lag") + r"(\d+)_offsets\.npy")
        self.lags = sorted(int(m.group(1)) for f in os.listdir(folder) if (m := lag_file.fullmatch(f)))

    def pairs(self, lag):
        """Sources and targets, int64 [N - lag]."""
        return self.ids[:-lag], self.ids[lag:]

    def difference(self, counts):
        """counts(lag) -> (keys, n): the distinct source * V + target, ascending, and how often each occurs."""
        wrong = 0
        for lag in self.lags:
            offsets, columns = self.load(f"lag{lag}_offsets"), self.load(f"lag{lag}_columns")
            rows = np.repeat(np.arange(self.vocab, dtype=np.int64), np.diff(offsets.astype(np.int64)))
            want_keys, want = rows * self.vocab + columns, self.load(f"lag{lag}_counts")
            keys, n = counts(lag)
            if len(keys) != len(want_keys) or not np.array_equal(keys, want_keys):
                wrong += max(1, abs(len(keys) - len(want_keys)))
            else:
                wrong += int(np.count_nonzero(np.asarray(n, np.uint64) != want))
        return wrong


class ProjectionCase(Case):
    unit = "flop/s"

    def __init__(self, folder, name, backend):
        super().__init__(folder, name, backend)
        self.vocab, self.d = (int(x) for x in re.search(r"_V(\d+)_d(\d+)", name).groups())
        self.offsets = self.load("offsets").astype(np.int64)
        self.columns = self.load("columns").astype(np.int32)
        self.values = self.load("values")
        self.embedding = self.load("embedding").reshape(self.vocab, self.d)
        self.flops = 2.0 * len(self.values) * self.d + 2.0 * self.vocab * self.d * self.d

    def difference(self, projection):
        want = self.load("projection").reshape(self.d, self.d)
        return float(np.linalg.norm(projection - want) / np.linalg.norm(want))


class SpectraCase(Case):
    unit = "matrices/s"

    def __init__(self, folder, name, backend):
        super().__init__(folder, name, backend)
        self.kind, d, batch = re.match(r"B5_(\w+?)_d(\d+)_batch(\d+)", name).groups()
        self.d, self.batch, self.vectors = int(d), int(batch), name.endswith("_vectors")
        self.matrices = self.load("matrices").reshape(self.batch, self.d, self.d)

    def difference(self, sigma):
        """sigma: [items, d] of the first `items` matrices, in any order within one."""
        want = self.load("sigma").reshape(self.batch, -1)
        if self.kind == "antisymmetric":
            want = np.repeat(want, 2, axis=1)
            want = np.pad(want, ((0, 0), (0, self.d - want.shape[1])))
        want = want[: len(sigma)]
        got = -np.sort(-np.asarray(sigma), axis=1)
        return float(np.max(np.abs(got - want) / want[:, :1]))


KINDS = {"B1": CountCase, "B2": CountCase, "B3": CountCase, "B4": ProjectionCase, "B5": SpectraCase}
RESULT = re.compile(r"(B[1-5]_.+)_(cpu|cuda)_(?:lag1_offsets|projection|sigma)\.npy")


def cases_in(folder, pattern="", lags=0):
    """Every case that has a result and whose name matches, one at a time (inputs can be large), by name. lags: see --lags."""
    found = sorted(m.groups() for f in os.listdir(folder) if (m := RESULT.fullmatch(f)))
    for name, backend in found:
        if re.search(pattern, name):
            case = KINDS[name[:2]](folder, name, backend)
            if lags and isinstance(case, CountCase):
                case.lags = case.lags[:lags]
            yield case
