"""Measures of matrices and spectra, each from its definition in docs/analysis.md: the oracle's, not the program's."""

import functools
import hashlib
import math

import numpy as np
from scipy import integrate, optimize

FEW = 8  # directions that overlaps compare, at most


def rows_of(heads):
    return heads.reshape(-1, heads.shape[-1])


_DECOMPOSED = {}  # by a matrix' contents: every kernel meets every lag, and wide ones take seconds


def decomposed(m, vectors=False):
    """(left directions, singular values, right directions) of which the directions are the first few only, or None."""
    key = (hashlib.sha256(np.ascontiguousarray(m).tobytes()).digest(), m.shape, vectors)
    if key not in _DECOMPOSED:
        if vectors:
            u, s, vt = np.linalg.svd(m)
            _DECOMPOSED[key] = u[:, :FEW].copy(), s, vt[:FEW].copy()
        else:
            _DECOMPOSED[key] = None, np.linalg.svd(m, compute_uv=False), None
    return _DECOMPOSED[key]


def singular_values(m):
    return decomposed(m)[1]


def antisymmetric(m):
    return (m - m.T) / 2


def spectrum_measures(m):
    s = singular_values(m)
    energy, shares = s**2 / (s**2).sum(), s / s.sum()
    shares = shares[shares > 0]
    return {"pr_energy": (s**2).sum() ** 2 / (s**4).sum(), "pr_linear": s.sum() ** 2 / (s**2).sum(),
            "effective_rank": math.exp(-(shares * np.log(shares)).sum()), "top8_energy": energy[:8].sum(),
            "top32_energy": energy[:32].sum()}


def asymmetry(m, difference=False):
    ratio = np.linalg.norm(antisymmetric(m)) / np.linalg.norm(m)
    out = {"asymmetry_ratio": ratio, "asymmetry_energy": ratio**2}
    if difference:
        out["difference_ratio"] = np.linalg.norm(m - m.T) / np.linalg.norm(m)
    return out


def real_share(m):
    values = np.linalg.eigvals(m)
    return np.abs(values.real).sum() / np.abs(values).sum()


def matrix_cosine(x, y):
    return (x * y).sum() / (np.linalg.norm(x) * np.linalg.norm(y))


def spectral_cosine(x, y):
    a, b = singular_values(x), singular_values(y)
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def pearson(x, y):
    return float(np.corrcoef(x.ravel(), y.ravel())[0, 1])


def subspace_overlap(x, y, k=8):
    """Mean squared cosine of the principal angles: left with left and right with right."""
    (u, _, vt), (p, _, qt) = decomposed(x, vectors=True), decomposed(y, vectors=True)
    left = np.linalg.svd(u[:, :k].T @ p[:, :k], compute_uv=False)
    right = np.linalg.svd(vt[:k] @ qt[:k].T, compute_uv=False)
    return ((left**2).mean() + (right**2).mean()) / 2


def divergence(first, second):
    """KL of two spectra, largest first; of the longer one the first values count."""
    n = min(len(first), len(second))
    p, q = first[:n] / first[:n].sum(), second[:n] / second[:n].sum()
    return float((p * np.log(p / q)).sum())


@functools.lru_cache
def marchenko_pastur(shape):
    """Singular values, largest first, at the quantiles (i + 1/2) / n of the law for a matrix of this shape, up to a factor.

    With y = n/m and lambda = 1 + y + 2 sqrt(y) cos(theta), the density of theta in [0, pi] is 2 sin(theta)^2 / (pi lambda).
    """
    n, m = min(shape), max(shape)
    y = n / m

    def square(theta):
        return 1 + y + 2 * math.sqrt(y) * math.cos(theta)

    def above(theta):  # probability of a larger value
        return integrate.quad(lambda t: 2 * math.sin(t) ** 2 / (math.pi * square(t)), 0, theta, epsabs=1e-13, epsrel=1e-13)[0]

    return np.sqrt([square(optimize.brentq(lambda t, q=(i + 0.5) / n: above(t) - q, 0, math.pi - 1e-9, xtol=1e-13)) for i in range(n)])


# ---- the frontier

def participation(s):
    return (s**2).sum() ** 2 / (s**4).sum()


def frontier(sigma, target):
    """(pareto cosine, temper cosine): how alike a spectrum of that participation ratio can be to sigma. The target is between the
    ratio of sigma and the number of its nonzero values.

    Pareto maximises <sigma, x> at a fixed |x|^2 and |x|^4, so sigma is proportional to a x + x^3 for some a: the root is the largest.
    """
    s = sigma[sigma > 1e-12 * sigma[0]] / sigma[0]

    def pareto(a):
        x = np.full(len(s), 2 * math.sqrt(abs(a)) + 2.0)
        for _ in range(200):  # Newton's way down a convex branch
            step = (x**3 + a * x - s) / (3 * x**2 + a)
            x = x - step
            if (np.abs(step) <= 1e-15 * x).all():
                break
        return x

    def cosine(x):
        return float(s @ x / (np.linalg.norm(s) * np.linalg.norm(x)))

    u = optimize.brentq(lambda u: participation(pareto(math.sinh(u))) - target, -40, 20, xtol=1e-14)
    power = optimize.brentq(lambda a: participation(s**a) - target, 0, 1, xtol=1e-14)
    return cosine(pareto(math.sinh(u))), cosine(s**power)
