"""Loads an `init.safetensors` into a model, and makes sure that it really is in there."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import live
from .config import refuse_another_attention, refuse_learned_positions
from .errors import InitError
from .live import Place, Tensor
from .names import COPIES, PLAIN_ADAPTER, Fit, fitting, init_file, plain, refuse_derived, refuse_further_layers
from .tensors import FilePath, Stored, fits_dtype, read_tensors, widened

There = dict[str, list[Place]]  # plain name -> the model's tensors of that name


@dataclass
class Report:
    """What apply_init() did. Names are the file's."""

    loaded: list[str] = field(default_factory=list)
    transposed: list[str] = field(default_factory=list)  # stored [out, in], the model's module wants [in, out], or the reverse
    untouched: list[str] = field(default_factory=list)  # the model's own parameters, which the file does not hold
    rounded: float = 0.0  # largest difference that the model's dtype made
    renamed: dict[str, str] = field(default_factory=dict)  # the file's name -> the model's, wrappers aside, where it is another
    biased: list[str] = field(default_factory=list)  # biases beside projections of the file that are not zero, as designs take them to be

    def __str__(self) -> str:
        return (f"{len(self.loaded)} tensors loaded, {len(self.transposed)} of them transposed, "
                f"{len(self.untouched)} parameters keep the model's own init" +
                (f"; {len(self.biased)} biases of loaded projections are not zero, which designs do not expect" if self.biased else ""))


@dataclass
class _Step:
    name: str  # the file's
    places: list[Place]  # one; PEFT's trained copies too
    values: Tensor  # in the model's dtype


def apply_init(model: Any, path: FilePath, *, partial: bool = False) -> Report:
    """Copies every tensor of the file `path` (or of the run folder `path`) into `model`, in place, and verifies the values by
    reading the model again.

    model: a torch module, or a dict name -> numpy array. The module may be wrapped: torch.compile, data parallel, FSDP 1 and 2
    (every process must call this), activation checkpoints, PEFT, Lightning. partial: the model may have layers of which the
    file holds nothing. Raises InitError, with the model unchanged, when a tensor has no place in the model, another shape or
    values that its dtype cannot hold, when the model has further layers, other heads or another RoPE base, when only one of
    model and file ties the head to the embedding, or when the model has no values (meta) or quantised ones. Returns a Report.
    Transposes what a file for Conv1D ([in, out]) brings to Linear modules and the reverse; a dict is taken to lie as the file
    does.
    """
    if not isinstance(model, dict) and not hasattr(model, "named_modules"):
        raise InitError(f"a torch module is needed, or a dict of arrays, and no {type(model).__name__}")
    path = init_file(path)
    tensors, metadata = read_tensors(path)
    try:
        with live.whole(model, write=True):
            steps, report = _plan(model, path, tensors, metadata, partial)
            for step in steps:
                for place in step.places:
                    live.write(place.tensor, step.values)
        with live.whole(model, write=False):
            now = {place.name: place.tensor for place in live.places_of(model)}
            for step in steps:
                if not all(place.name in now and live.holds(now[place.name], step.values) for place in step.places):
                    raise InitError(f"{step.name} is not what was copied into the model")
    except InitError as error:
        raise InitError(str(error) if str(error).startswith(f"{path}: ") else f"{path}: {error}") from None
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's: a tensor that cannot be written, a sharding unheard of
        raise InitError(f"{path}: the model cannot be written: {error}") from error
    return report


def _plan(model: Any, path: FilePath, tensors: dict[str, Stored], metadata: dict[str, str], partial: bool) -> tuple[list[_Step], Report]:
    """What goes where; InitError where anything speaks against it."""
    places = live.places_of(model)
    there: There = {}
    for place in places:
        there.setdefault(plain(place.name), []).append(place)
    identities = {name: _identity(found) for name, found in there.items()}
    fit = fitting(path, "the model", list(tensors), identities, metadata.get("architecture", "unknown"))
    placed = {name: fit.find(name, there) or "" for name in tensors}
    if not partial:
        refuse_further_layers(path, "the model", placed, identities)
    refuse_derived(path, "the model", placed, [place.name for place in places])
    refuse_another_attention(path, "the model", metadata, live.config_of(model))
    refuse_learned_positions(path, "the model", metadata, there)
    _refuse_trained_adapters(places)
    steps, report = _steps(model, tensors, metadata, placed, there)
    _refuse_conflicts(steps)
    _refuse_another_head(fit, there, steps, metadata)
    _refuse_a_tie_to_come(model, steps, metadata)
    report.biased = _biased(steps, placed, there)
    reached = {place.identity for step in steps for place in step.places}
    report.untouched = _untouched(places, reached)
    return steps, report


def _steps(model: Any, tensors: dict[str, Stored], metadata: dict[str, str], placed: dict[str, str], there: There) -> tuple[list[_Step], Report]:
    conv1d, report, steps = live.conv1d_weights(model), Report(), []
    for name, stored in tensors.items():
        targets = _targets(name, there[placed[name]])
        value = widened(stored)
        if not np.isfinite(value).all():
            raise InitError(f"{name} holds values that are no finite numbers")
        if _needs_transposing(name, placed[name], stored, conv1d, metadata):
            value = value.T
            report.transposed.append(name)
        target = targets[0].tensor
        for place in targets:
            _refuse_unfit(name, value, place.tensor)
            if place.tensor.dtype != target.dtype:
                raise InitError(f"{name} has copies of several types in the model")
        values = live.in_dtype_of(target, value)
        rounded = live.as_float32(values)
        if not fits_dtype(value, rounded):
            raise InitError(f"the values of {name} cannot be held by the model's {target.dtype}")
        report.rounded = max(report.rounded, float(np.abs(rounded - value).max(initial=0)))
        if placed[name] != plain(name):
            report.renamed[name] = placed[name]
        report.loaded.append(name)
        steps.append(_Step(name, targets, values))
    return steps, report


def _identity(places: list[Place]) -> Hashable:
    return frozenset(place.identity for place in places)


def _targets(name: str, places: list[Place]) -> list[Place]:
    """The tensors that a name means: one, and the copies that PEFT trains in its place."""
    exact = [place for place in places if place.name == name]
    if exact or len({place.identity for place in places}) == 1:
        return (exact or places)[:1]
    originals = {place.identity: place for place in places if f".{COPIES}." not in f".{place.name}"}
    if len(originals) > 1:
        raise InitError(f"{name} could be " + " or ".join(place.name for place in originals.values()) + " of the model: give the part that is meant")
    return list({place.identity: place for place in places}.values())


def _refuse_unfit(name: str, value: live.Values, target: Tensor) -> None:
    reason = live.why_not(target)
    if reason is not None:
        raise InitError(f"{name} of the model {reason}")
    if tuple(value.shape) == tuple(target.shape):
        return
    if value.size and not np.prod(target.shape):
        raise InitError(f"{name} is empty in the model (a shard of DeepSpeed ZeRO-3?): load the file before wrapping the model")
    raise InitError(f"{name} is {tuple(value.shape)} and the model's {tuple(target.shape)}: give aloft the "
                    "model's own sizes (a padded vocabulary: --model-vocab-size)")


def _needs_transposing(name: str, place: str, stored: Stored, conv1d: set[str] | None, metadata: dict[str, str]) -> bool:
    """The file says how its projections lie; a module called Conv1D wants [in, out], a Linear [out, in]."""
    lies, tables = metadata.get("orientation"), metadata.get("tables", "").split(" ")
    if lies is None or conv1d is None or len(stored.shape) != 2 or name in tables:
        return False
    return (lies == "in_out") != (place in conv1d)


def _refuse_trained_adapters(places: list[Place]) -> None:
    """What a LoRA adds, the product of its A and B, must still be nothing."""
    nonzero: dict[str, set[str]] = {}
    for place in places:
        half = PLAIN_ADAPTER.search(place.name)
        if half and not live.why_not(place.tensor) and live.any_nonzero(place.tensor):
            which = nonzero.setdefault(place.name[: half.end() - 1] + place.name[half.end():], set())
            which.add(half[0][-1])
            if len(which) == 2:
                raise InitError(f"{place.name} of the model belongs to an adapter that changes the designed weights already: "
                                "load the file before adding adapters")


def _refuse_conflicts(steps: list[_Step]) -> None:
    """Two tensors of the file for one parameter of the model (a tied head) must agree."""
    seen: dict[object, _Step] = {}
    for step in steps:
        for place in step.places:
            other = seen.setdefault(place.identity, step)
            if other is not step and not np.array_equal(live.as_float32(other.values), live.as_float32(step.values)):
                raise InitError(f"the model ties {step.name} to {other.name}, the file holds two different tensors: write it for "
                                "a tied head (tie_word_embeddings in --model-config, or an architecture with tied_head)")


def _refuse_another_head(fit: Fit, there: There, steps: list[_Step], metadata: dict[str, str]) -> None:
    """A file for a tied head leaves a model's own head as it was: at random."""
    tables, placed = metadata.get("tables", "").split(" "), {step.name: step for step in steps}
    if metadata.get("tied_head") != "true" or len(tables) < 2 or tables[0] not in placed or tables[1] in placed:
        return
    head = fit.find(tables[1], there)
    if head is not None and not {p.identity for p in there[head]} <= {p.identity for p in placed[tables[0]].places}:
        raise InitError(f"it was written for a head tied to the embedding, and the model has its own, "
                        f"{head}: tie them, or design for an untied head (tie_word_embeddings in --model-config)")


def _refuse_a_tie_to_come(model: Any, steps: list[_Step], metadata: dict[str, str]) -> None:
    """A head that the configuration ties, and that is not tied yet, will be overwritten when the library ties it."""
    embedding, head = (metadata.get("tables", "").split(" ") + [""])[:2]
    if not live.says_tied(model):
        return
    values = {step.name: live.as_float32(step.values) for step in steps if step.name in (embedding, head)}
    if head in values and not (embedding in values and np.array_equal(values[embedding], values[head])):
        raise InitError(f"it holds a head, and the model's configuration ties {head} to the embedding, though it is not tied yet: "
                        "design for a tied head, or set tie_word_embeddings to false")


def _biased(steps: list[_Step], placed: dict[str, str], there: There) -> list[str]:
    out = []
    for step in steps:
        name = placed[step.name].removesuffix("weight") + "bias"
        if len(step.values.shape) == 2 and placed[step.name].endswith(".weight") and any(
                not live.why_not(place.tensor) and live.any_nonzero(place.tensor) for place in there.get(name, [])):
            out.append(name)
    return out


def _untouched(places: list[Place], reached: set[object]) -> list[str]:
    """A tied parameter counts once."""
    out, seen = [], set(reached)
    for place in places:
        if place.trained and place.identity not in seen:
            seen.add(place.identity)
            out.append(plain(place.name))
    return sorted(out)
