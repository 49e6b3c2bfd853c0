"""A complete Hugging Face checkpoint: a base folder in, the same folder out with the designed tensors replaced."""

import json
import shutil
from pathlib import Path

import numpy as np

from .apply import plain
from .errors import InitError, OutputExistsError
from .tensors import FilePath, Stored, narrowed, read_tensors, widened, write_tensors

Tensors = dict[str, Stored]
Places = dict[str, tuple[str, str, Stored]]  # plain name -> the base's shard, its name there, the tensor


def complete_checkpoint(base: FilePath, init: FilePath, output: FilePath) -> list[str]:
    """base: a folder with model.safetensors, or its shards and their index. Every other file is copied as it is; tensors
    keep the base's names and dtypes. Raises InitError, with nothing written, when a tensor of `init` has no place, another
    shape or too large values there, when only one of the two ties the head to the embedding, or when `output` exists.
    Returns the names that were replaced."""
    base, output = Path(base), Path(output)
    if output.exists():
        raise OutputExistsError(f"{output}: exists; give another name")
    shards = sorted(p.name for p in base.glob("*.safetensors"))
    if not shards:
        raise InitError(f"{base}: holds no *.safetensors: save the model there with save_pretrained(..., safe_serialization=True)")
    designed, metadata = read_tensors(init)
    places: Places = {}
    for shard in shards:
        for name, stored in read_tensors(base / shard)[0].items():
            places[plain(name)] = (shard, name, stored)
    _refuse_another_head(base, init, designed, metadata, places)
    _refuse_what_does_not_fit(base, init, designed, places)
    partial = output.with_name(output.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    shutil.copytree(base, partial, ignore=shutil.ignore_patterns("*.safetensors"))
    replaced: list[str] = []
    for shard in shards:
        replaced += _write_shard(base / shard, partial / shard, designed, places)
    missing = sorted(set(designed) - set(replaced))
    if missing:
        shutil.rmtree(partial)
        raise InitError(f"{base}: {missing[0]} could not be replaced")
    partial.rename(output)
    return replaced


def _write_shard(source: Path, target: Path, designed: Tensors, places: Places) -> list[str]:
    """A shard of the base with the designed tensors in it; returns their names."""
    tensors, said = read_tensors(source)
    replaced = []
    for name, stored in tensors.items():
        key = plain(name)
        found = key if key in designed else next((n for n in designed if _without_base(n, places) == key), None)
        if found is not None:
            tensors[name] = _in_dtype(designed[found], stored.dtype)
            replaced.append(found)
    write_tensors(target, tensors, {"format": "pt", **said})
    return replaced


def _in_dtype(stored: Stored, dtype: str) -> Stored:
    return Stored(dtype, stored.shape, np.frombuffer(narrowed(widened(stored), dtype), np.uint8))


def _refuse_another_head(base: Path, init: FilePath, designed: Tensors, metadata: dict[str, str], places: Places) -> None:
    head = (metadata.get("tables", "").split(" ") + ["lm_head.weight"])[1]
    tied = _tied_head(base)
    if tied and head in designed:
        raise InitError(f"{init}: holds a head, and the model of {base} ties it to the embedding: design for a tied head "
                        "(--model-config with its config.json)")
    if not tied and metadata.get("tied_head") == "true" and head in places:
        raise InitError(f"{init}: was written for a head tied to the embedding, and the model of {base} has its own, {head}")


def _refuse_what_does_not_fit(base: Path, init: FilePath, designed: Tensors, places: Places) -> None:
    for name, stored in designed.items():
        place = places.get(name) or places.get(_without_base(name, places) or "")
        if place is None:
            raise InitError(f"{init}: {base} has no {name}: it was written for another architecture")
        there = place[2]
        if there.shape != stored.shape:
            raise InitError(f"{init}: {name} is {stored.shape}, in {base} it is {there.shape}")
        if not np.isfinite(widened(_in_dtype(stored, there.dtype))).all():
            raise InitError(f"{init}: the values of {name} cannot be held by the {there.dtype} of {base}")


def _without_base(name: str, places: Places) -> str | None:
    """Some checkpoints leave out the base model's prefix (GPT-2's `transformer.`)."""
    rest = name.split(".", 1)[-1]
    return rest if name not in places and rest in places else None


def _tied_head(base: Path) -> bool:
    """As Hugging Face reads it: tied unless the configuration says otherwise."""
    try:
        config = json.loads((base / "config.json").read_text(encoding="utf8"))
    except FileNotFoundError:
        return False
    except ValueError as error:
        raise InitError(f"{base / 'config.json'}: {error}") from None
    if not isinstance(config, dict):
        raise InitError(f"{base / 'config.json'}: no configuration: an object is needed")
    return bool(config.get("tie_word_embeddings", True))
