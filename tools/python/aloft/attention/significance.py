"""Is a paired difference above zero? By exchanging the two of each pair, which changes nothing where there is no difference."""

import numpy as np

from .distances import Doubles

EXACT = 12  # pairs: up to 2^12 exchanges are all made
DRAWN = 4095  # of more pairs, so many
TIE = 1e-12


def smallest_p(pairs: int) -> float:
    return 1 / (1 << pairs if pairs <= EXACT else 1 + DRAWN)


def strength(differences: Doubles) -> Doubles:
    """[pairs, ...] -> [...]: sum d / sqrt(n sum d^2), from -1 to 1; it grows with Student's t. 0 where all are 0."""
    size = np.sqrt(len(differences) * (differences**2).sum(0))
    out: Doubles = differences.sum(0) / np.where(size > 0, size, 1)
    return out


def above_zero(differences: Doubles, seed: int) -> tuple[Doubles, Doubles]:
    """differences [pairs, heads] -> p and p_family [heads], one-sided. p: the share of exchanges (the one that was made counted) whose
    strength is as large; p_family: of exchanges, the same for all heads, whose strongest head is as strong (Westfall and Young 1993)."""
    pairs = len(differences)
    signs = _signs(pairs, seed)
    size = np.sqrt(pairs * (differences**2).sum(0))
    exchanged = signs @ differences / np.where(size > 0, size, 1)  # [exchanges, heads]; the first is what was measured
    measured = exchanged[0] - TIE
    strongest = np.sort(exchanged.max(1))
    count = len(signs)
    return (exchanged >= measured).sum(0) / count, (count - np.searchsorted(strongest, measured)) / count


def _signs(pairs: int, seed: int) -> Doubles:
    """[exchanges, pairs] of 1 and -1, the first all 1."""
    if pairs <= EXACT:
        return 1.0 - 2.0 * (np.arange(1 << pairs)[:, None] >> np.arange(pairs) & 1)
    drawn = np.random.default_rng([seed, pairs]).choice([-1.0, 1.0], (DRAWN, pairs))
    return np.vstack([np.ones(pairs), drawn])
