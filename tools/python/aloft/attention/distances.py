"""One layer's attention to one sequence, in a few figures a head. All are means over the queries of the sequence's second half: each of
them has every distance up to half the length, and the first token is never near."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .runner import Values

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """by_distance [heads, length]: mass at each distance query - key; they and nothing else sum to all. first [heads]: mass on position 0.
    entropy [heads]: of each query's attention, over log of how many tokens it sees."""

    by_distance: Doubles
    first: Doubles
    entropy: Doubles


def look(attention: Values) -> Look:
    """attention [heads, query, key]."""
    length = attention.shape[-1]
    queries = np.arange(length // 2, length)
    rows = attention[:, queries].astype(np.float64)
    keys = queries[:, None] - np.arange(length)  # [query, distance]
    masses = np.take_along_axis(rows, np.maximum(keys, 0)[None], 2) * (keys >= 0)
    bits = -(rows * np.log(np.where(rows > 0, rows, 1))).sum(2)
    return Look(masses.mean(1), rows[:, :, 0].mean(1), (bits / np.log(queries + 1)).mean(1))


def uniform_mass(length: int) -> float:
    """What attention that is even over all that a query sees has at any one distance up to half the length, and on the first token."""
    return float(np.mean(1 / np.arange(length // 2 + 1, length + 1)))
