"""A Hugging Face folder, run by the library transformers: its own forward pass, with the attention that shows its probabilities."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from .runner import Ids, Runner, Values


def hugging_face(folder: Path) -> Runner:
    """InputError where transformers cannot load it, or would make up weights that are not there."""
    import transformers

    transformers.logging.set_verbosity_error()
    for say_no_more in ("disable_progress_bar", "disable_progress_bars"):
        getattr(transformers.logging, say_no_more, lambda: None)()
    try:  # the head is not needed; no pickle and no code of the folder's is to run here
        model, loaded = transformers.AutoModel.from_pretrained(
            str(folder), attn_implementation="eager", output_loading_info=True, use_safetensors=True, local_files_only=True,
            trust_remote_code=False)
    except Exception as error:  # of a library, about a user's files: there is no list of what it raises
        raise _refused(folder, "transformers cannot load it", error) from None
    lacking = sorted(loaded["missing_keys"])
    if lacking:
        raise InputError(f"attention: {folder}: the weights lack {lacking[0]}{f' and {len(lacking) - 1} more' if len(lacking) > 1 else ''}")
    model = model.float().eval()
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    layers, heads, vocab = (_size(config, name, folder) for name in ("num_hidden_layers", "num_attention_heads", "vocab_size"))

    def attention(ids: Ids) -> Iterator[Values]:
        try:
            with torch.no_grad():
                shown = model(input_ids=torch.from_numpy(ids)[None], output_attentions=True, use_cache=False).attentions
        except Exception as error:
            raise _refused(folder, "transformers cannot run it", error) from None
        return (_array(layer) for layer in shown or () if layer is not None)

    context = getattr(config, "max_position_embeddings", None)
    return Runner("transformers", str(folder), layers, heads, context if isinstance(context, int) else None, vocab, attention)


def _size(config: Any, name: str, folder: Path) -> int:
    size = getattr(config, name, None)
    if not isinstance(size, int):
        raise InputError(f"attention: {folder}: config.json has no {name}: a language model with attention is needed")
    return size


def _array(layer: Any) -> Values:
    """[1, heads, query, key] -> [heads, query, key]"""
    out: Values = np.asarray(layer[0].float().numpy())
    return out


def _refused(folder: Path, what: str, error: Exception) -> InputError | MemoryError:
    said = " ".join(str(error).split())
    if "allocate memory" in said or isinstance(error, MemoryError):
        return MemoryError(f"attention: {folder}: {said[:200]}")
    first = said[:200] or type(error).__name__
    return InputError(f"attention: {folder}: {what}: {first}")
