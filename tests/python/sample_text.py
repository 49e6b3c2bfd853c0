"""A corpus for tests: words that depend on the two before them, and, where there is one, the project's sample text."""

import os
import random
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def dependent_words(count, types=200, seed=1):
    """Most words follow from the word before, some from the one before that; frequent ones have small numbers."""
    draw = random.Random(seed)
    out = [0, 1]
    while len(out) < count:
        die = draw.random()
        if die < 0.5:
            out.append((out[-1] * 3 + 1 + draw.randrange(2)) % types)
        elif die < 0.7:
            out.append((out[-2] * 5 + 2) % types)
        else:
            out.append(min(draw.randrange(types), draw.randrange(types)))
    names = ["".join("abcdefghij"[int(digit)] for digit in str(k)) for k in range(types)]
    return "\n".join(" ".join(names[k] for k in out[i : i + 15]) for i in range(0, len(out), 15))


def sample_corpus():
    """The text that the reference figures are of, or None: ALOFT_SAMPLE_TEXT, or ../shared/data beside the project."""
    path = Path(os.environ.get("ALOFT_SAMPLE_TEXT", ROOT.parent / "shared" / "data" / "enwik-first-4mb.xml"))
    return path if path.exists() else None
