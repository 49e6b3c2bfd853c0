"""A complete Hugging Face checkpoint: a base folder in, the same folder out with the designed tensors replaced."""

import fnmatch
import json
import os
import shutil
from pathlib import Path

import numpy as np

from .config import read_config, refuse_another_attention, refuse_learned_positions, tied_head
from .errors import InitError, OutputExistsError, UsageError
from .names import Fit, fitting, init_file, plain, refuse_derived, refuse_further_layers
from .tensors import WEIGHTS, FilePath, Stored, fits_dtype, narrowed, read_tensors, widened, write_tensors
from .unfinished import sync_folder, unfinished_folder

Tensors = dict[str, Stored]
Places = dict[str, tuple[str, str, Stored]]  # plain name -> the base's shard, its name there, the tensor
# The same weights in another form, which would go on holding the base's.
OTHER_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "pytorch_model*.bin.index.json", "tf_model*.h5",
                 "flax_model*.msgpack", "consolidated*.pth", "*.gguf", "rust_model.ot")


def complete_checkpoint(base: FilePath, init: FilePath, output: FilePath, *, partial: bool = False) -> list[str]:
    """base: a folder with model.safetensors, or its shards and their index. init: the file, or the run's folder. Every other file
    of the base is copied as it is, but for further copies of the weights (pytorch_model.bin), which are left out; tensors keep
    the base's names and dtypes. The head of a base that ties it, and stores it all the same, becomes the designed embedding.
    partial: the base may have layers of which `init` holds nothing. Raises InitError, with nothing written, when a tensor of
    `init` has no place, another shape or values that its dtype there cannot hold, when the base has further layers, other heads
    or another RoPE base, when only one of the two ties the head to the embedding, or when `output` exists; UsageError where
    `output` cannot be. Returns the names that were replaced."""
    base, output = Path(base), Path(output)
    _refuse_places(base, output)
    init = init_file(init)
    designed, metadata = read_tensors(init)
    shards = _shards(base)
    places = _places(base, shards)
    config = read_config(base)
    _refuse_own_head(base, init, designed, metadata, tied_head(config))
    identities = {name: name for name in places}
    fit = fitting(init, str(base), list(designed), identities, metadata.get("architecture", "unknown"))
    placed = {name: fit.find(name, places) or "" for name in designed}
    if not partial:
        refuse_further_layers(init, str(base), placed, identities)
    refuse_derived(init, str(base), placed, [name for _, name, _ in places.values()])
    refuse_another_attention(init, str(base), metadata, config)
    refuse_learned_positions(init, str(base), metadata, places)
    _refuse_another_head(base, init, metadata, placed, fit.find(_tables(metadata)[1], places), tied_head(config), config is None)
    new = _new_tensors(base, init, designed, placed, places)
    if tied_head(config):
        new |= _tied_too(fit, metadata, placed, places, new)
    _write(base, output, shards, new, places)
    return list(placed)


def left_out(base: FilePath) -> list[str]:
    """Files of the base that complete_checkpoint() does not copy: further copies of its weights."""
    base = Path(base)
    keep = {*_shards(base), "model.safetensors.index.json"}
    return sorted(p.name for p in base.iterdir() if p.name not in keep and any(fnmatch.fnmatch(p.name, w) for w in OTHER_WEIGHTS))


def _refuse_places(base: Path, output: Path) -> None:
    if os.path.lexists(output):
        raise OutputExistsError(f"{output}: exists; give another name")
    if not base.is_dir():
        what = "is a file" if base.exists() else "no such folder"
        raise InitError(f"{base}: {what}: the folder of a checkpoint on this disk is needed, as save_pretrained() writes it")
    if not output.parent.is_dir():
        raise UsageError(f"{output.parent}: no such folder: make it first")
    if base.resolve() in (output.resolve(), *output.resolve().parents):
        raise UsageError(f"{output}: lies in the base checkpoint: give a place outside {base}")


def _shards(base: Path) -> list[str]:
    """The files that Hugging Face would load, each there and with the tensors that the index promises."""
    if (base / "model.safetensors").exists():
        return ["model.safetensors"]
    index = base / "model.safetensors.index.json"
    if index.exists():
        try:
            shards = sorted(set(json.loads(index.read_text(encoding="utf8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InitError(f"{index}: no index of shards: {error!r}") from None
        absent = [name for name in shards if not isinstance(name, str) or os.path.basename(name) != name or not (base / name).is_file()]
        if absent:
            raise InitError(f"{index}: names {absent[0]}, which is not in {base}: fetch the whole checkpoint")
        return shards
    if (base / "adapter_config.json").exists():
        raise InitError(f"{base}: is a PEFT adapter, no model: merge it into its base first (merge_and_unload(), save_pretrained())")
    found = sorted(p.name for p in base.glob("*.safetensors"))
    if not found:
        raise InitError(f"{base}: holds no *.safetensors: save the model there with save_pretrained(..., safe_serialization=True)")
    return found


def _places(base: Path, shards: list[str]) -> Places:
    places: Places = {}
    for shard in shards:
        for name, stored in read_tensors(base / shard)[0].items():
            other = places.get(plain(name))
            if other is not None:
                raise InitError(f"{base}: holds {plain(name)} twice, in {other[0]} and {shard}: which one counts is not known")
            places[plain(name)] = (shard, name, stored)
    index = base / "model.safetensors.index.json"
    if index.exists() and shards != ["model.safetensors"]:
        held = {name: shard for shard, name, _ in places.values()}
        for name, shard in json.loads(index.read_text(encoding="utf8"))["weight_map"].items():
            if held.get(name) != shard:
                raise InitError(f"{index}: says that {name} is in {shard}, where it is not: the checkpoint is damaged")
    return places


def _tables(metadata: dict[str, str]) -> list[str]:
    """Names of embedding and head."""
    embedding, *rest = metadata.get("tables", "").split(" ")
    return [embedding, *rest, "lm_head.weight"][:2]


def _refuse_own_head(base: Path, init: FilePath, designed: Tensors, metadata: dict[str, str], tied: bool) -> None:
    if tied and _tables(metadata)[1] in designed:
        raise InitError(f"{init}: holds a head, and the model of {base} ties it to the embedding: design for a tied head "
                        "(--model-config with its config.json)")


def _refuse_another_head(base: Path, init: FilePath, metadata: dict[str, str], placed: dict[str, str], head: str | None, tied: bool,
                         unknown: bool) -> None:
    embedding, own = _tables(metadata)
    written_tied = metadata.get("tied_head") == "true" and (embedding in placed or head is not None)
    if written_tied and not tied and (head is not None or not unknown):
        raise InitError(f"{init}: was written for a head tied to the embedding, and the model of {base} has its own, {head or own}: "
                        "design for an untied head (--model-config with its config.json)")


def _new_tensors(base: Path, init: FilePath, designed: Tensors, placed: dict[str, str], places: Places) -> Tensors:
    """Plain name in the base -> what comes there, in the base's dtype."""
    out: Tensors = {}
    for name, stored in designed.items():
        there = places[placed[name]][2]
        if there.dtype not in WEIGHTS:
            raise InitError(f"{init}: in {base} {placed[name]} is {there.dtype}, quantised: start from a checkpoint in BF16, F16 or F32, "
                            "and quantise the result")
        if there.shape != stored.shape:
            raise InitError(f"{init}: {name} is {stored.shape}, in {base} it is {there.shape}")
        values = widened(stored)
        if not np.isfinite(values).all():
            raise InitError(f"{init}: {name} holds values that are no finite numbers")
        new = Stored(there.dtype, stored.shape, np.frombuffer(narrowed(values, there.dtype), np.uint8))
        if not fits_dtype(values, widened(new)):
            raise InitError(f"{init}: the values of {name} cannot be held by the {there.dtype} of {base}")
        out[placed[name]] = new
    return out


def _tied_too(fit: Fit, metadata: dict[str, str], placed: dict[str, str], places: Places, new: Tensors) -> Tensors:
    """A tied head that the base stores beside the embedding: transformers 5 unties the two when they differ."""
    embedding, own = _tables(metadata)
    head = fit.find(own, places)
    if head is None or embedding not in placed or head in new:
        return {}
    table, dtype = new[placed[embedding]], places[head][2].dtype
    return {head: Stored(dtype, table.shape, np.frombuffer(narrowed(widened(table), dtype), np.uint8))}


def _write(base: Path, output: Path, shards: list[str], new: Tensors, places: Places) -> None:
    """All of it beside `output`, read again, then renamed."""
    with unfinished_folder(output) as unfinished:
        leave = {*shards, *left_out(base)}
        shutil.copytree(base, unfinished, dirs_exist_ok=True,
                        ignore=lambda folder, names: leave & set(names) if Path(folder) == base else ())
        for shard in shards:
            tensors, said = read_tensors(base / shard)
            mine = {place[1]: name for name, place in places.items() if place[0] == shard and name in new}
            write_tensors(unfinished / shard, tensors | {name: new[key] for name, key in mine.items()}, {"format": "pt", **said})
            written = read_tensors(unfinished / shard)[0]
            for name, key in mine.items():
                if not np.array_equal(written[name].data, new[key].data):
                    raise InitError(f"{unfinished / shard}: {name} is not what was written")
        if os.path.lexists(output):
            raise OutputExistsError(f"{output}: exists; give another name")
        unfinished.rename(output)
    sync_folder(output.parent)
