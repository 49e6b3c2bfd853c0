"""A complete Hugging Face checkpoint: a base folder in, the same folder out with the designed tensors replaced."""

import json
import shutil
from pathlib import Path

import numpy as np

from .apply import plain
from .tensors import InitError, Stored, narrowed, read_tensors, widened, write_tensors


def complete_checkpoint(base, init, output):
    """base: a folder with model.safetensors, or its shards and their index. Every other file is copied as it is; tensors
    keep the base's names and dtypes. Raises InitError, with nothing written, when a tensor of `init` has no place, another
    shape or too large values there, when only one of the two ties the head to the embedding, or when `output` exists.
    Returns the names that were replaced."""
    base, output = Path(base), Path(output)
    if output.exists():
        raise InitError(f"{output}: exists; give another name")
    shards = sorted(p.name for p in base.glob("*.safetensors"))
    if not shards:
        raise InitError(f"{base}: holds no *.safetensors: save the model there with save_pretrained(..., safe_serialization=True)")
    designed, metadata = read_tensors(init)
    places = {}
    for shard in shards:
        for name, stored in read_tensors(base / shard)[0].items():
            places[plain(name)] = (shard, name, stored)
    head = (metadata.get("tables", "").split(" ") + ["lm_head.weight"])[1]
    if _tied_head(base) and head in designed:
        raise InitError(f"{init}: holds a head, and the model of {base} ties it to the embedding: design for a tied head "
                        "(--model-config with its config.json)")
    if not _tied_head(base) and metadata.get("tied_head") == "true" and head in places:
        raise InitError(f"{init}: was written for a head tied to the embedding, and the model of {base} has its own, {head}")
    for name, stored in designed.items():
        place = places.get(name) or places.get(_without_base(name, places))
        if place is None:
            raise InitError(f"{init}: {base} has no {name}: it was written for another architecture")
        if place[2].shape != stored.shape:
            raise InitError(f"{init}: {name} is {stored.shape}, in {base} it is {place[2].shape}")
        there = Stored(place[2].dtype, stored.shape, np.frombuffer(narrowed(widened(stored), place[2].dtype), np.uint8))
        if not np.isfinite(widened(there)).all():
            raise InitError(f"{init}: the values of {name} cannot be held by the {place[2].dtype} of {base}")
    partial = output.with_name(output.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    shutil.copytree(base, partial, ignore=shutil.ignore_patterns("*.safetensors"))
    replaced = []
    for shard in shards:
        tensors, said = read_tensors(base / shard)
        for name, stored in tensors.items():
            key = plain(name)
            source = key if key in designed else next((n for n in designed if _without_base(n, places) == key), None)
            if source is not None:
                values = narrowed(widened(designed[source]), stored.dtype)
                tensors[name] = Stored(stored.dtype, stored.shape, np.frombuffer(values, np.uint8))
                replaced.append(source)
        write_tensors(partial / shard, tensors, {"format": "pt", **said})
    missing = sorted(set(designed) - set(replaced))
    if missing:
        shutil.rmtree(partial)
        raise InitError(f"{base}: {missing[0]} could not be replaced")
    partial.rename(output)
    return replaced


def _without_base(name, places):
    """Some checkpoints leave out the base model's prefix (GPT-2's `transformer.`)."""
    rest = name.split(".", 1)[-1]
    return rest if name not in places and rest in places else None


def _tied_head(base):
    """As Hugging Face reads it: tied unless the configuration says otherwise."""
    try:
        return json.loads((base / "config.json").read_text()).get("tie_word_embeddings", True)
    except FileNotFoundError:
        return False
