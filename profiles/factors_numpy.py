"""The two estimators of the recipe `offset` (docs/science.md, 5.4) in NumPy and SciPy: subspaces, and the factors of given scalars.

A fit is a dict: source S [V, d_s], target U [V, d_o], cores [lags, d_s, d_o], bias [V], written_norm, participation [lags].
"""
import numpy as np

from factors_counts import Product, positive_pmi

KRYLOV_BLOCK = 32
MIX = (1.0, 0.6, 0.4, 0.4)  # how much each lag shapes the shared bases; then 0.3
WHITEN_RIDGE, GRAM_RIDGE = 1e-4, 1e-5
DISCRIMINANT_POWER, TUCKER_POWER = 2, 3


def leading_eigenvectors(product, n, k, power, seed=0):
    """Nearly the k largest eigenpairs of a symmetric positive matrix known by its products: a randomized block Krylov space of 3/2 k
    directions (Musco and Musco 2015) that grows by product^power a step. Values by falling size, vectors [n, k]."""
    if n <= max(1024, 4 * k):
        values, vectors = np.linalg.eigh(product(np.eye(n)))
        return values[::-1][:k], vectors[:, ::-1][:, :k]
    size = min(n, 3 * k // 2 + KRYLOV_BLOCK - 1) // KRYLOV_BLOCK * KRYLOV_BLOCK
    basis, small = np.empty((n, size), order="F"), np.zeros((size, size))
    block = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, KRYLOV_BLOCK)))[0]
    for first in range(0, size, KRYLOV_BLOCK):
        last = first + KRYLOV_BLOCK
        basis[:, first:last] = block
        image = product(block)
        small[:last, first:last] = basis[:, :last].T @ image
        if last == size:
            break
        for _ in range(power - 1):
            image = product(image)
        block = np.linalg.qr(image)[0]
        for _ in range(2):
            block = np.linalg.qr(block - basis[:, :last] @ (basis[:, :last].T @ block))[0]
    small = np.triu(small) + np.triu(small, 1).T
    values, vectors = np.linalg.eigh(small)
    return values[::-1][:k], basis @ np.ascontiguousarray(vectors[:, ::-1][:, :k])


def unit_rows(x, floor):
    return x / np.maximum(np.sqrt(np.einsum("ij,ij->i", x, x)), floor)[:, None]


def power_of(symmetric, exponent, ridge=0.0, floor=0.0):
    """(A + ridge)^exponent of a symmetric A, eigenvalues not below `floor`."""
    values, vectors = np.linalg.eigh(symmetric)
    return (vectors * np.maximum(values + ridge, floor) ** exponent) @ vectors.T


def class_sums(counts, lag, source):
    """J_lagᵀ S [V, d_s]."""
    return Product(counts.lags[lag - 1].T.tocsr())(source)


def moments_of(counts, source, sums):
    """C [lags d_s, lags d_s]: block (a, b) is E[x_a x_bᵀ]. sums(m): J_mᵀ S, m = 1..lags - 1."""
    lags = len(counts.lags)
    blocks = [source.T @ (source * counts.p[:, None])]
    blocks += [sums(m).T @ source / max(1.0, counts.pairs(m)) for m in range(1, lags)]
    return np.block([[blocks[a - b] if a >= b else blocks[b - a].T for b in range(lags)] for a in range(lags)])


def participation_ratio(sigma):
    square = sigma**2
    return square.sum() ** 2 / (square**2).sum()


def finish(counts, moments, source, target, cores, bias):
    """The fit, with its measures. cores [lags d_s, d_o]."""
    p, d_s = counts.p, source.shape[1]
    left, right = (power_of(x.T @ (x * p[:, None]), 0.5) for x in (source, target))
    by_lag = cores.reshape(-1, d_s, cores.shape[1])
    sigma = [np.linalg.svd(left @ core @ right, compute_uv=False) for core in by_lag]
    written = np.sqrt(max(0.0, np.trace(cores.T @ (moments @ cores))))
    return {"source": source, "target": target, "cores": by_lag, "bias": bias - bias @ p, "written_norm": written,
            "participation": np.array([participation_ratio(s) for s in sigma])}  # fmt: skip


# ---- discriminant


def discriminant_source(counts, d_s, seed=0):
    """S: left singular vectors × √σ of the positive PMI of lag 1, centred under p, rows of unit length."""
    pmi = positive_pmi(counts)
    x, xt = Product(pmi), Product(pmi.T.tocsr())
    values, vectors = leading_eigenvectors(lambda v: x(xt(v)), counts.vocab, d_s, DISCRIMINANT_POWER, seed)
    out = vectors * np.maximum(values, 0) ** 0.25
    return unit_rows(out - counts.p @ out, 1e-6)


class DiscriminantBasis:
    """S with all that belongs to it whatever the scalars are: class sums [V, D] in `kind`, C, and C = Q diag(axis) Qᵀ."""

    def __init__(self, counts, source, kind=np.float64):
        lags, d_s = len(counts.lags), source.shape[1]
        self.source, self.sums = source, np.empty((counts.vocab, lags * d_s), kind)

        def sums(lag):
            one = class_sums(counts, lag, source)
            self.sums[:, (lag - 1) * d_s : lag * d_s] = one
            return one

        self.moments = moments_of(counts, source, sums)
        sums(lags)
        self.values, self.axes = np.linalg.eigh(self.moments)

    def inverse(self, ridge):
        """1/(Λ + λ tr(C)/D), [D]."""
        return 1 / np.maximum(np.maximum(self.values, 0) + ridge * np.trace(self.moments) / len(self.values), 1e-300)


def fit_discriminant(counts, source, d_o, alpha, kappa, ridge):
    """W = (C + λ..)⁻¹ μ with μ the shrunk class means, whitened and reduced to rank d_o."""
    basis, p = DiscriminantBasis(counts, source), counts.p
    lags, d_s = len(counts.lags), source.shape[1]
    inverse = basis.inverse(ridge)
    basis.sums *= (1 / (counts.unigram + 0.5 + kappa))[:, None]
    means = basis.sums @ basis.axes
    basis.sums = None
    bias = np.log(p) - alpha / 2 * np.einsum("ij,ij,j->i", means, means, inverse, optimize=False)
    means -= p @ means
    means *= np.sqrt(p)[:, None]
    first = basis.moments[:d_s, :d_s]
    whitening = WHITEN_RIDGE * np.trace(first) / d_s
    white = np.kron(np.eye(lags), power_of(first, 0.5, whitening, 1e-300))
    turn = inverse[:, None] * (basis.axes.T @ white)  # diag(√p) Wᵀ C_0^½ = means turn
    values, vectors = np.linalg.eigh(turn.T @ (means.T @ means) @ turn)
    sigma = np.sqrt(np.maximum(values[::-1][:d_o], 0))
    keep = sigma > 1e-9 * sigma[0]
    root, vectors = np.sqrt(np.where(keep, sigma, 1)), vectors[:, ::-1][:, :d_o] * keep
    unwhite = np.kron(np.eye(lags), power_of(first, -0.5, whitening, 1e-300))
    target = means @ (turn @ (alpha * vectors / root)) / np.sqrt(p)[:, None]
    return finish(counts, basis.moments, source, target, unwhite @ (vectors * root), bias)


# ---- tucker


class LogRatios:
    """M_l = N_l − (N_l p) 1ᵀ, N_l = log(1 + J_l/(κ p_j)): products with M_l and with its transpose."""

    def __init__(self, counts, kappa, transposed=True):
        self.p, self.vocab, self.products, self.means = counts.p, counts.vocab, [], []
        for joint in counts.lags:
            ratio = joint.copy()
            ratio.data = np.log1p(joint.data / (kappa * self.p[joint.indices]))
            self.products.append((Product(ratio), Product(ratio.T.tocsr()) if transposed else None))
            self.means.append(ratio @ self.p)

    def apply(self, lag, x):
        return self.products[lag][0](x) - np.outer(self.means[lag], x.sum(0))

    def apply_transpose(self, lag, x):
        return self.products[lag][1](x) - self.means[lag] @ x

    def basis(self, of_rows, k, seed=0):
        """Leading eigenpairs of Σ w² X Xᵀ (of rows) or Σ w² XᵀX, X_l = diag(√p) M_l diag(√p)."""
        root = np.sqrt(self.p)[:, None]
        inner, outer = (self.apply_transpose, self.apply) if of_rows else (self.apply, self.apply_transpose)

        def product(x):
            x, out = x * root, np.zeros_like(x)
            for lag in range(len(self.products)):
                weight = MIX[lag] if lag < len(MIX) else 0.3
                out += weight**2 * outer(lag, inner(lag, x) * self.p[:, None])
            return out * root

        return leading_eigenvectors(product, self.vocab, k, TUCKER_POWER, seed)


def tucker_bases(ratios, d_s, d_o, seed=0):
    """S [V, d_s], rows of unit length, and U [V, d_o] with UᵀDU = 1."""
    inverse = 1 / np.sqrt(ratios.p)[:, None]
    values, vectors = ratios.basis(True, d_s, seed)
    source = unit_rows(vectors * np.sqrt(np.maximum(values, 0)) * inverse, 1e-9)
    return source, ratios.basis(False, d_o, seed + 1)[1] * inverse


def tucker_cores(ratios, source, target):
    """G_l = (SᵀDS + ridge)⁻¹ SᵀD M_l D U, [lags, d_s, d_o]."""
    weighted = source * ratios.p[:, None]
    gram = source.T @ weighted
    inverse = power_of(gram, -1.0, GRAM_RIDGE * np.trace(gram) / len(gram), 1e-300)
    right = target * ratios.p[:, None]
    return np.stack([inverse @ (weighted.T @ ratios.apply(lag, right)) for lag in range(len(ratios.products))])


def fit_tucker(counts, source, target, kappa, lag_weights):
    """Cores of given bases times the lags' weights, the axes turned and balanced."""
    p = counts.p
    cores = tucker_cores(LogRatios(counts, kappa, transposed=False), source, target) * np.asarray(lag_weights)[:, None, None]
    cores = cores.reshape(-1, target.shape[1])
    moments = moments_of(counts, source, lambda lag: class_sums(counts, lag, source))
    energy, axes = np.linalg.eigh(cores.T @ (moments @ cores))
    turned = target @ axes
    read = np.einsum("ij,ij,i->j", turned, turned, p, optimize=False)
    grow = np.where(read > 0, (np.maximum(energy, 1e-30) / np.where(read > 0, read, 1)) ** 0.25, 1.0)
    return finish(counts, moments, source, turned * grow, cores @ axes / grow, np.log(p))
