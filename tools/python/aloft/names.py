"""The names of a file's tensors against those of a model or checkpoint: wrappers, prefixes, renamed heads, layers."""

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from .errors import InitError

# What wrappers put into a name: torch.compile, (distributed) data parallel, FSDP, activation checkpoints, PEFT's adapters.
WRAPPERS = frozenset({"_orig_mod", "module", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module", "base_layer",
                      "original_module", "token_adapter"})
COPIES = "modules_to_save"  # PEFT trains the copy `NAME.modules_to_save.ADAPTER` in place of `NAME.original_module`
# Names that a library changed: GPT-NeoX's head is `lm_head` since transformers 5.14.
RENAMED = {"embed_out.weight": "lm_head.weight", "lm_head.weight": "embed_out.weight"}
# Beside `weight`: what says that the weight itself is not all that counts (quantised, reparametrised).
DERIVED = re.compile(r"weight[_.]|SCB$|absmax|scales$|q?zeros$|g_idx$|qweight")
PLAIN_ADAPTER = re.compile(r"lora_(embedding_)?[AB]\b")  # LoRA: added to the weight, nothing as long as B is zero


def plain(name: str) -> str:
    """The name without what wrappers put into it, wherever that is."""
    *parents, leaf = name.split(".")
    out, skip = [], False
    for part in parents:
        if skip:
            skip = False
        elif part == COPIES:
            skip = True  # and the adapter's name after it
        elif part not in WRAPPERS:
            out.append(part)
    return ".".join([*out, leaf])


@dataclass(frozen=True)
class Fit:
    """How names of a file become names of a model: `dropped` is taken off where it is, then `added` put in front."""

    added: str = ""
    dropped: str = ""

    def find(self, name: str, there: Collection[str]) -> str | None:
        """The name in `there` of the file's tensor `name`; None where it has none."""
        for spelling in (name, RENAMED.get(name)):
            if spelling is not None and self._turned(plain(spelling)) in there:
                return self._turned(plain(spelling))
        return None

    def _turned(self, name: str) -> str:
        return self.added + name.removeprefix(self.dropped)

    def __str__(self) -> str:
        words = [f"'{self.dropped}' left out"] * bool(self.dropped) + [f"'{self.added}' in front"] * bool(self.added)
        return " and ".join(words) or "as they are"


def fitting(path: object, owner: str, names: Collection[str], there: Mapping[str, object], architecture: str) -> Fit:
    """The one way in which all `names` of the file `path` are in `there` (plain name -> what tells one tensor from another).
    As they are, if so; else with a prefix of the base model, of PEFT, of Lightning put in front or left out. InitError, with
    the nearest, where none fits or several do."""
    as_they_are = Fit()
    if not names:
        raise InitError(f"{path}: holds no tensors")
    if all(as_they_are.find(name, there) for name in names):
        return as_they_are
    fits = _candidates(names, there)
    found = {fit: [fit.find(name, there) for name in names] for fit in fits}
    whole: dict[tuple[object, ...], Fit] = {}
    for fit, places in found.items():
        if None not in places:
            whole.setdefault(tuple(there[p] for p in places if p is not None), fit)
    if len(whole) == 1:
        return next(iter(whole.values()))
    if whole:
        raise InitError(f"{path}: its names fit in several places of {owner}: with " + ", or with ".join(map(str, whole.values())) +
                        ": give the part of the model that is meant")
    nearest = min([as_they_are, *fits], key=lambda fit: sum(fit.find(n, there) is None for n in names))
    lost = [name for name in names if nearest.find(name, there) is None]
    if nearest != as_they_are:
        raise InitError(f"{path}: {owner} has no {lost[0]}; with {nearest}, {len(names) - len(lost)} of {len(names)} names fit: "
                        "give the whole model, with its head, or design without what it lacks")
    raise InitError(f"{path}: {owner} has no {lost[0]}: it was written for another architecture ({architecture}); "
                    "use --arch for this model")


def _candidates(names: Iterable[str], there: Iterable[str]) -> list[Fit]:
    """Prefixes under which a tensor of a layer is there. A name without a number could be anyone's."""
    anchor = next((plain(name) for name in names if _layer(name)), None)
    if anchor is None:
        return []
    base = anchor.split(".", 1)[0] + "."
    fits = []
    for dropped in ("", base):
        rest = anchor.removeprefix(dropped)
        ends = [name for name in there if name == rest or name.endswith("." + rest)]
        fits += [Fit(name[: len(name) - len(rest)], dropped) for name in ends]
    return fits


def _layer(name: str) -> re.Match[str] | None:
    """Groups: what is before the first number in a name, the number, the rest."""
    return re.match(r"((?:[^.]+\.)*?)(\d+)(\..+)", name)


def refuse_further_layers(path: object, owner: str, placed: Mapping[str, str], there: Mapping[str, object]) -> None:
    """Layers of which the file holds nothing would stay at random. placed: file's name -> name in `there`."""
    reached = {there[name] for name in placed.values()}
    stacks: dict[str, set[int]] = {}
    for name, place in placed.items():
        found = _layer(plain(name))
        if found:
            stacks.setdefault(place[: len(place) - len(found[2] + found[3])], set()).add(int(found[2]))
    for stack, held in stacks.items():
        layers: dict[int, bool] = {}
        for name, what in there.items():
            number = name[len(stack):].split(".", 1)[0]
            if name.startswith(stack) and number.isdecimal():
                layers[int(number)] = layers.get(int(number), False) or what in reached
        left = sorted(number for number, designed in layers.items() if not designed)
        if left:
            raise InitError(f"{path}: {owner} has {len(layers)} layers, of which the file holds {len(held)}: {stack}{left[0]} would keep its "
                            "own init: design with --layers of this model, or allow it (partial=True, --partial)")


def refuse_derived(path: object, owner: str, placed: Mapping[str, str], there: Iterable[str]) -> None:
    """A weight that counts together with something computed from the former weight (quantised, DoRA) cannot be replaced.
    there: names as they are in the model, wrappers and all."""
    parents = {place.rpartition(".")[0]: place for place in placed.values() if place.endswith(".weight")}
    wrapped = {plain(n).rpartition(".")[0] for n in there if ".base_layer." in n or ".original_module." in n}
    for name in there:
        for parent, _, rest in _splits(plain(name)):
            if parent in parents and rest not in ("weight", "bias") and not PLAIN_ADAPTER.match(rest) and (
                    DERIVED.match(rest) or parent in wrapped):
                raise InitError(f"{path}: {parents[parent]} of {owner} comes with {name}, which was made from its former values: "
                                "load the file before quantising or adding adapters")


def _splits(name: str) -> Iterable[tuple[str, str, str]]:
    """Every way to cut a name into a module's and the rest."""
    for dot in re.finditer(r"\.", name):
        yield name[: dot.start()], ".", name[dot.end():]


def init_file(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """The file itself, also where the run's folder is given."""
    if not os.path.isdir(path):
        return path
    inside = os.path.join(path, "init.safetensors")
    if not os.path.isfile(inside):
        raise InitError(f"{os.fspath(path)}: a folder without init.safetensors: give the file, or the folder of a finished run")
    return inside
