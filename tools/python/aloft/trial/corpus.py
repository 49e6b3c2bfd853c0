"""Text into token ids for a trial: the vocabulary from the training split alone, the last tenth held out.

The rule is that of the `words` tokenizer for ASCII: lower-cased; tokens are runs of a-z, single digits, newlines and single
other characters; id 0 is unknown, then the most frequent tokens, first occurrence first among equals. `vocabulary_from`
says whether the vocabulary is counted on the training split ("training") or on the whole text ("all": what the reference
figures of the sample corpus use; ids alone, no statistics).
"""

import collections
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[Any]  # unsigned, 16 or 32 bits

TOKEN = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]|\n")


def prepare(text_path: str | os.PathLike[str], folder: str | os.PathLike[str], vocab: int, held_out: float = 0.1,
            vocabulary_from: str = "training") -> tuple[Path, Path]:
    """Writes train.u16 and held.u16 (u32 above 65536 ids) and returns their paths. Existing ones are kept."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kind = "<u2" if vocab <= 1 << 16 else "<u4"
    suffix = "u16" if kind == "<u2" else "u32"
    train, held = folder / f"train.{suffix}", folder / f"held.{suffix}"
    if not (train.exists() and held.exists()):
        tokens = TOKEN.findall(Path(text_path).read_text(encoding="utf8", errors="replace").lower())
        cut = int(len(tokens) * (1 - held_out))
        counted = collections.Counter(tokens if vocabulary_from == "all" else tokens[:cut])
        index = {w: i + 1 for i, (w, _) in enumerate(counted.most_common(vocab - 1))}
        ids = np.array([index.get(w, 0) for w in tokens], kind)
        for path, part in ((held, ids[cut:]), (train, ids[:cut])):
            partial = path.with_suffix(".partial")
            part.tofile(partial)
            partial.rename(path)
    return train, held


def load(path: str | os.PathLike[str]) -> Ids:
    return np.fromfile(path, "<u2" if str(path).endswith("u16") else "<u4")


def unigram_loss(train: Ids, held: Ids, vocab: int) -> float:
    """Nats per token of the smoothed unigram on next tokens held [windows, context + 1]."""
    p = np.bincount(train, minlength=vocab) + 0.5
    return float(-np.log(p / p.sum())[held[:, 1:].ravel()].mean())


def bigram_loss(train: Ids, held: Ids, vocab: int) -> float:
    """The same of a bigram table interpolated with the unigram, (J + kappa p) / (row + kappa), kappa chosen on `held`
    itself: a favourable baseline."""
    p = np.bincount(train, minlength=vocab) + 0.5
    p = p / p.sum()
    pairs, counts = np.unique(train[:-1].astype(np.int64) * vocab + train[1:], return_counts=True)
    rows = np.bincount(train[:-1], minlength=vocab)
    first, second = held[:, :-1].ravel().astype(np.int64), held[:, 1:].ravel().astype(np.int64)
    wanted = first * vocab + second
    at = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    joint = np.where(pairs[at] == wanted, counts[at], 0)
    return min(float(-np.log((joint + k * p[second]) / (rows[first] + k)).mean()) for k in (5, 10, 20, 40, 80, 160, 320))
