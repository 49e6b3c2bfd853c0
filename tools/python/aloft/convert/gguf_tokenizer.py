"""The tokenizer that a GGUF carries: its tokens, and for byte-level BPE the tokenizer.json that Hugging Face's library reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# tokenizer.ggml.pre -> how the text is cut before merging, as the tokenizer.json of those models say it. Digits: one by one.
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
DIGITS = ("smollm", "starcoder", "refact")
SPLITS = {"llama-bpe": LLAMA3, "llama3": LLAMA3, "llama-v3": LLAMA3, "qwen2": QWEN2}
CONTROL, USER_DEFINED = 3, 4  # tokenizer.ggml.token_type


def token_files(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """tokens.json: the tokens as the file has them, token i at place i."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    return {"tokens.json": tokens} if isinstance(tokens, list) else {}


def notes(path: object, metadata: Mapping[str, Any]) -> list[str]:
    """Why there will be no tokenizer.json."""
    if "tokenizer.ggml.tokens" not in metadata:
        return []
    if not _known(metadata):
        model, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "default")
        return [f"{path}: note: no tokenizer.json: its tokenizer is {model!r} ({pre!r}), which is not converted"]
    try:
        import tokenizers  # noqa: F401
    except ModuleNotFoundError:
        return [f"{path}: note: no tokenizer.json: that needs tokenizers, which is not installed: pip install tokenizers"]
    return []


def _known(metadata: Mapping[str, Any]) -> bool:
    pre = metadata.get("tokenizer.ggml.pre")
    lists = [metadata.get(f"tokenizer.ggml.{key}") for key in ("tokens", "merges")]
    return (metadata.get("tokenizer.ggml.model") == "gpt2" and pre in {"gpt-2", "gpt2", *DIGITS, *SPLITS}
            and all(isinstance(x, list) and all(isinstance(y, str) for y in x) for x in lists))


def save(metadata: Mapping[str, Any], folder: Path) -> None:
    """tokenizer.json, for byte-level BPE that cuts text in a known way."""
    if not _known(metadata):
        return
    try:
        import tokenizers
    except ModuleNotFoundError:
        return
    from tokenizers import decoders, models, pre_tokenizers

    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    ids = {token: number for number, token in enumerate(tokens)}
    merges = [tuple(pair) for merge in metadata["tokenizer.ggml.merges"] if len(pair := merge.split(" ")) == 2]
    merges = [pair for pair in merges if pair[0] in ids and pair[1] in ids and pair[0] + pair[1] in ids]
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=ids, merges=merges))
    pre = metadata["tokenizer.ggml.pre"]
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre not in SPLITS)
    first = (pre_tokenizers.Digits(individual_digits=True) if pre in DIGITS else
             pre_tokenizers.Split(tokenizers.Regex(SPLITS[pre]), "isolated") if pre in SPLITS else None)
    tokenizer.pre_tokenizer = level if first is None else pre_tokenizers.Sequence([first, level])
    tokenizer.decoder = decoders.ByteLevel()
    kinds = metadata.get("tokenizer.ggml.token_type")
    if isinstance(kinds, list):
        special = [token for token, kind in zip(tokens, kinds) if kind == CONTROL]
        tokenizer.add_special_tokens([tokenizers.AddedToken(token, normalized=False, special=True) for token in special])
        added = [token for token, kind in zip(tokens, kinds) if kind == USER_DEFINED]
        tokenizer.add_tokens([tokenizers.AddedToken(token, normalized=False) for token in added])
    tokenizer.save(str(folder / "tokenizer.json"))
