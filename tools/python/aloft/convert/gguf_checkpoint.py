"""A GGUF as a checkpoint: dequantised, named and ordered as Hugging Face has it."""

from pathlib import Path
from typing import Any

from ..errors import InputError
from . import gguf_tokenizer
from .gguf_file import GgufFile, Tensor
from .gguf_models import Metadata, Sizes, config_of, family_of, hugging_face_name, rope_scaling_of
from .quantization import METHOD, PLAIN, dequantised, is_weight
from .source import Checkpoint, Values, Weight

ROPE_TENSORS = ("rope_freqs", "rope_factors_short", "rope_factors_long")  # what belongs into config.json


def read_gguf(path: Path) -> Checkpoint:
    """See convert_checkpoint(). A head that is the embedding, byte for byte, counts as tied."""
    file = GgufFile(path)
    meta = Metadata(path, file.metadata)
    family = family_of(path, meta)
    heads = meta.size("attention.head_count")
    sizes = Sizes(heads, meta.size("attention.head_count_kv", heads))
    tied = _tied(file)
    floors: dict[str, dict[str, Any]] = {}
    weights, left, factors = {}, [], {}
    for name, tensor in file.tensors.items():
        there = hugging_face_name(family, name)
        stem = name.removesuffix(".weight")
        if stem in ROPE_TENSORS:
            factors[stem] = _values(file, tensor)[0]
        elif there is None or not is_weight(tensor.type):
            left.append(name)
        elif not (tied and name == "output.weight"):
            weights[there[0]] = _weight(file, tensor, there, family.fixes.get(there[1]), sizes, floors)
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise InputError(f"{path}: has no token_embd.weight of tokens by dimensions")
    config = config_of(meta, family, embedding.shape[0], tied, "blk.0.attn_q.bias" in file.tensors)
    scaling = rope_scaling_of(path, meta, factors)
    if scaling is not None:
        config["rope_scaling"] = scaling
    notes = []
    if left:
        notes.append(f"{path}: note: {', '.join(left[:3])}{', ...' if len(left) > 3 else ''}: no tensor of {family.classes}, left out")
    quantised = any(t.type not in PLAIN for t in file.tensors.values())

    def files() -> dict[str, Any]:
        out = gguf_tokenizer.token_files(file.metadata)
        if quantised:
            out["quantization.json"] = {"source": path.name, "relative_error": METHOD, "tensors": floors}
        return out

    return Checkpoint(weights, config, notes + gguf_tokenizer.notes(path, file.metadata), files,
                      lambda folder: gguf_tokenizer.save(file.metadata, folder))


def _tied(file: GgufFile) -> bool:
    head, embedding = file.tensors.get("output.weight"), file.tensors.get("token_embd.weight")
    if head is None or embedding is None:
        return head is None
    same = (head.type, head.shape) == (embedding.type, embedding.shape)
    return same and file.rows(head).tobytes() == file.rows(embedding).tobytes()


def _values(file: GgufFile, tensor: Tensor) -> tuple[Values, float | None]:
    values, floor = dequantised(file.rows(tensor), tensor.type, f"{file.path}: {tensor.name}")
    return values.reshape(tensor.shape), floor


def _weight(file: GgufFile, tensor: Tensor, there: tuple[str, str], fix: Any, sizes: Sizes, floors: dict[str, dict[str, Any]]) -> Weight:
    name = there[0]
    shape = tensor.shape[::-1] if fix is not None and fix.__name__ == "conv1d" else tensor.shape

    def load() -> Values:
        values, floor = _values(file, tensor)
        floors[name] = {"type": tensor.type.name, "relative_error": None if floor is None else float(f"{floor:.4g}")}
        try:
            return values if fix is None else fix(values, sizes)
        except InputError as error:
            raise InputError(f"{file.path}: {tensor.name}: {error}") from None

    return Weight(shape, load, tensor.size)
