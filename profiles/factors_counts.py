"""What NumPy and SciPy need for the factors of the recipe `offset`: aloft's counts read from its file or counted anew from token ids,
the held-out slice and the counts without it, and products with sparse matrices on all processors.
"""
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.sparse as sparse
from safetensors import safe_open

BREAK = 0xFFFFFFFF  # between documents, in held-out text
BLOCK, MOST_BLOCKS, FIRST_DISTANCE = 64, 512, 512  # the slice: own tokens of a block, blocks, tokens from one to the next at first
HOLDOUT_POSITIONS = 8192
COLUMNS = 16  # of a sparse product at a time: scipy is fastest on few


def threads():
    """As many as BLAS uses: OPENBLAS_NUM_THREADS, or OMP_NUM_THREADS, or all processors."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(name, "").isdigit():
            return max(1, int(os.environ[name]))
    return len(os.sched_getaffinity(0))


POOL = ThreadPoolExecutor(threads())


def in_parallel(work, items):
    """[work(item)]; NumPy and SciPy let other threads run in what takes long."""
    return list(POOL.map(work, items))


class Counts:
    """unigram int64 [V]; lags[n - 1]: J_n [V, V] as CSR of doubles; the slice as aloft keeps it: ids with BREAK between documents, and
    blocks [n, 4] of first, before, own, after."""

    def __init__(self, unigram, lags, holdout_ids=None, holdout_blocks=None):
        self.unigram, self.lags = unigram, lags
        self.holdout_ids = np.zeros(0, np.int64) if holdout_ids is None else holdout_ids.astype(np.int64)
        self.holdout_blocks = np.zeros((0, 4), np.int64) if holdout_blocks is None else holdout_blocks
        self.vocab = len(unigram)

    @property
    def p(self):
        """The smoothed unigram [V]."""
        smooth = self.unigram + 0.5
        return smooth / smooth.sum()

    def pairs(self, lag):
        return self.lags[lag - 1].data.sum()


def index_type(vocab, entries):
    return np.int32 if max(vocab, entries) < 2**31 else np.int64


def read_counts(path, lags):
    """The first `lags` lags of a file of `aloft count` (or a run's counts.safetensors)."""
    with safe_open(path, "np") as file:
        unigram = file.get_tensor("unigram").astype(np.int64)
        vocab, out = len(unigram), []
        for lag in range(1, lags + 1):
            columns = file.get_tensor(f"lag{lag}.columns")
            kind = index_type(vocab, len(columns))
            values, offsets = (file.get_tensor(f"lag{lag}.{part}") for part in ("counts", "row_offsets"))
            out.append(sparse.csr_matrix((values.astype(float), columns.astype(kind), offsets.astype(kind)), shape=(vocab, vocab)))
        held = "holdout.ids" in file.keys()
        slice_ = [file.get_tensor(f"holdout.{part}") for part in ("ids", "blocks")] if held else [None, None]
    return Counts(unigram, out, *slice_)


def read_ids(path, vocab, separator=None):
    """uint32 ids of a raw file, int64 [N], with BREAK in the place of the separator."""
    ids = np.fromfile(path, np.uint32).astype(np.int64)
    if separator is not None:
        ids[ids == separator] = BREAK
    if ids[ids != BREAK].max(initial=0) >= vocab:
        raise SystemExit(f"{path}: an id is {ids[ids != BREAK].max()}, the vocabulary {vocab}")
    return ids


def slice_of(ids, context):
    """The held-out slice of a stream with `context` tokens about each block: ids and blocks."""
    distance = FIRST_DISTANCE
    while (len(ids) - 1) // distance > MOST_BLOCKS:
        distance *= 2
    taken, blocks, first = [], [], 0
    for begin in range(distance, len(ids), distance):
        before, end = min(begin, context), min(len(ids), begin + BLOCK + context)
        own = min(BLOCK, end - begin)
        taken.append(ids[begin - before : end])
        blocks.append((first, before, own, end - begin - own))
        first += end - begin + before
    if not blocks:
        return None, None
    return np.concatenate(taken), np.array(blocks, np.int64)


def count_ids(ids, vocab, lags):
    """All counts of a stream; a lag is one coo_matrix that tocsr() adds up."""
    document = np.cumsum(ids == BREAK, dtype=np.int32)
    small = np.where(ids == BREAK, 0, ids).astype(index_type(vocab, len(ids)))

    def one(lag):
        inside = (document[:-lag] == document[lag:]) & (ids[:-lag] != BREAK)  # a break belongs to the document it opens
        source, target = small[:-lag][inside], small[lag:][inside]
        return sparse.coo_matrix((np.ones(len(source)), (source, target)), shape=(vocab, vocab)).tocsr()

    unigram = np.bincount(small[ids != BREAK], minlength=vocab)
    return Counts(unigram, in_parallel(one, range(1, lags + 1)), *slice_of(ids, lags))


def runs(counts, reach, before, inside):
    """Where in the slice's ids a run of reach + 1 tokens of one document begins, from `before` tokens ahead of each block's own, and the
    block it is of: inside, the last of the run is one of the block's own, else the first of it may be."""
    ids = counts.holdout_ids
    broken = np.concatenate([[0], np.cumsum(ids == BREAK)])
    at, of = [], []
    for i, (first, ahead, own, after) in enumerate(counts.holdout_blocks):
        have = ahead + own + after
        end = ahead + own - reach if inside else min(ahead + own, have - reach)
        begin = first + np.arange(max(0, ahead - before), max(end, 0))
        begin = begin[broken[begin + reach + 1] == broken[begin]]
        at.append(begin)
        of.append(np.full(len(begin), i))
    return (np.concatenate(at), np.concatenate(of)) if at else (np.zeros(0, int), np.zeros(0, int))


def without_slice(counts):
    """Counts without any pair that has an end in the slice, and without its tokens."""
    own = counts.holdout_ids[runs(counts, 0, 0, True)[0]]
    shape = (counts.vocab, counts.vocab)

    def one(lag):
        first = runs(counts, lag, lag, False)[0]
        touching = (counts.holdout_ids[first], counts.holdout_ids[first + lag])
        left = counts.lags[lag - 1] - sparse.coo_matrix((np.ones(len(first)), touching), shape=shape).tocsr()
        left.eliminate_zeros()
        return left

    unigram = counts.unigram - np.bincount(own, minlength=counts.vocab)
    return Counts(unigram, in_parallel(one, range(1, len(counts.lags) + 1)))


class Positions:
    """context [n, lags], the latest token first; next [n]; block [n]."""

    def __init__(self, context, next_, block):
        self.context, self.next, self.block = context, next_, block

    def __len__(self):
        return len(self.next)

    def some(self, most):
        """At most so many, evenly spread."""
        have = len(self)
        keep = np.arange(min(have, most)) * have // max(1, min(have, most))
        return Positions(self.context[keep], self.next[keep], self.block[keep])


def positions(counts, lags):
    first, block = runs(counts, lags, lags, True)
    ids = counts.holdout_ids
    context = ids[first[:, None] + np.arange(lags - 1, -1, -1)]
    return Positions(context, ids[first + lags], block).some(HOLDOUT_POSITIONS)


class Product:
    """y = A x of a CSR matrix: rows in as many parts of as many entries as there are threads, a few columns at a time."""

    def __init__(self, matrix):
        parts = threads()
        cuts = np.searchsorted(matrix.indptr, np.arange(1, parts) * (matrix.nnz / parts))
        cuts = np.concatenate([[0], cuts, [matrix.shape[0]]])
        self.rows = [(a, b, matrix[a:b] if parts > 1 else matrix) for a, b in zip(cuts[:-1], cuts[1:])]
        self.shape, self.nnz = matrix.shape, matrix.nnz

    def __call__(self, x):
        out = np.empty((self.shape[0], x.shape[1]))
        for first in range(0, x.shape[1], COLUMNS):
            some = np.ascontiguousarray(x[:, first : first + COLUMNS])

            def one(part, some=some, first=first):
                a, b, rows = part
                out[a:b, first : first + some.shape[1]] = rows @ some

            in_parallel(one, self.rows)
        return out


def positive_pmi(counts):
    """max(0, log(J_ij J.. / (J_i. J_.j))) of lag 1, CSR."""
    joint = counts.lags[0]
    rows, columns = np.asarray(joint.sum(1)).ravel(), np.asarray(joint.sum(0)).ravel()
    row_of = np.repeat(np.arange(counts.vocab), np.diff(joint.indptr))
    out = joint.copy()
    out.data = np.maximum(np.log(joint.data * joint.data.sum() / (rows[row_of] * columns[joint.indices])), 0)
    out.eliminate_zeros()
    return out
