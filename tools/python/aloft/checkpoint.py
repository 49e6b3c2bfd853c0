"""A complete Hugging Face checkpoint: a base folder in, the same folder out with the designed tensors replaced."""

import json
import shutil
from pathlib import Path

import numpy as np

from .apply import InitError, plain
from .tensors import Stored, narrowed, read_tensors, widened, write_tensors


def complete_checkpoint(base, init, output):
    """base: a folder with model.safetensors, or its shards and their index. Every other file is copied as it is; tensors
    keep the base's names and dtypes. Raises InitError when a tensor of `init` has no place or another shape there, or
    when `output` exists. Returns the names that were replaced."""
    base, output = Path(base), Path(output)
    if output.exists():
        raise InitError(f"{output}: exists; give another name")
    shards = sorted(p.name for p in base.glob("*.safetensors"))
    if not shards:
        raise InitError(f"{base}: holds no *.safetensors: save the model there with save_pretrained(..., safe_serialization=True)")
    designed, _ = read_tensors(init)
    places = {}
    for shard in shards:
        for name, stored in read_tensors(base / shard)[0].items():
            places[plain(name)] = (shard, name, stored)
    tied = _tied_head(base)
    for name, stored in designed.items():
        if name not in places and tied and name.endswith("lm_head.weight"):
            raise InitError(f"{init}: holds a head, and the model of {base} ties it to the embedding")
        place = places.get(name) or places.get(_without_base(name, places))
        if place is None:
            raise InitError(f"{init}: {base} has no {name}: it was written for another architecture")
        if place[2].shape != stored.shape:
            raise InitError(f"{init}: {name} is {stored.shape}, in {base} it is {place[2].shape}")
    partial = output.with_name(output.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    shutil.copytree(base, partial, ignore=shutil.ignore_patterns("*.safetensors"))
    replaced = []
    for shard in shards:
        tensors, metadata = read_tensors(base / shard)
        for name, stored in tensors.items():
            key = plain(name)
            source = key if key in designed else next((n for n in designed if _without_base(n, places) == key), None)
            if source is not None:
                values = narrowed(widened(designed[source]), stored.dtype)
                tensors[name] = Stored(stored.dtype, stored.shape, np.frombuffer(values, np.uint8))
                replaced.append(source)
        write_tensors(partial / shard, tensors, {"format": "pt", **metadata})
    partial.rename(output)
    missing = sorted(set(designed) - set(replaced))
    if missing:
        raise InitError(f"{output}: {missing[0]} was not replaced")
    return replaced


def _without_base(name, places):
    """Some checkpoints leave out the base model's prefix (GPT-2's `transformer.`)."""
    rest = name.split(".", 1)[-1]
    return rest if name not in places and rest in places else None


def _tied_head(base):
    try:
        return json.loads((base / "config.json").read_text()).get("tie_word_embeddings", False)
    except OSError:
        return False
