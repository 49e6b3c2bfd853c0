"""Random models in the canonical form, written as the checkpoints that real libraries would save, and a corpus to go with them."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from aloft.tensors import Stored, write_tensors

from analysis_oracle import Layer, Model

ARCHITECTURES = Path(__file__).resolve().parents[2] / "tools" / "architectures"
SEPARATOR = 0  # the id between documents


@dataclass
class Shape:
    """A kind of checkpoint. `architecture`: a built-in's name or a whole JSON; `config`: Hugging Face's, without sizes that all have."""

    name: str
    architecture: object
    layers: int = 3
    heads: int = 4
    kv_heads: int = 4
    head_dim: int = 8
    d_model: int = 32
    vocab: int = 80
    context: int = 40
    biases: bool = False
    gains: bool = False  # of the norm before attention
    config: dict | None = None
    prefix: str = ""
    rotary_dim: int | None = None  # None: the whole head, where there is RoPE

    @property
    def description(self):
        built_in = isinstance(self.architecture, str)
        return json.loads((ARCHITECTURES / f"{self.architecture}.json").read_text()) if built_in else self.architecture


def normal(rng, *shape, std=1.0):
    """Values that a float32 holds."""
    return (std * rng.standard_normal(shape)).astype(np.float32).astype(np.float64)


def random_model(shape, seed):
    """Heads differ in size, and embedding rows in length, so that nothing is equal that should not be."""
    rng, position = np.random.default_rng(seed), shape.description["position"]
    h, kv, r, d = shape.heads, shape.kv_heads, shape.head_dim, shape.d_model

    def one_layer():
        def heads(n):
            return normal(rng, n, r, d, std=rng.uniform(0.1, 0.5))
        biases = [normal(rng, n, r, std=0.5) for n in (h, kv, kv)] if shape.biases else [None] * 3
        return Layer(heads(h), heads(kv), heads(kv), heads(h), *biases)

    embedding = normal(rng, shape.vocab, d, std=0.3) + normal(rng, 1, d, std=0.1)
    embedding = embedding.astype(np.float32).astype(np.float64)
    embedding[-1] = 0  # as a row of padding is
    tied = shape.description["tied_head"]
    layers = [one_layer() for _ in range(shape.layers)]
    model = Model(layers, embedding, embedding if tied else normal(rng, shape.vocab, d), tied, shape.context)
    if position["kind"] == "learned":
        model.positions = normal(rng, shape.context, d, std=0.5)
    else:
        model.rotary_dim = shape.rotary_dim or r
        half = model.rotary_dim // 2
        model.frequencies = position["base"] ** (-np.arange(half) / half) / position.get("scaling_factor", 1)
    return model


# ---- the checkpoint

def rows(shape, model, heads, query):
    """[n, d_h, ...] as the model keeps them: its order of rotated rows, and queries for the scale of its scores."""
    description = shape.description
    if query and "score_scale" in description["attention"]:
        heads = heads / (description["attention"]["score_scale"] * shape.head_dim**0.5)
    if description["position"].get("pairing") == "interleaved":
        half, out = model.rotary_dim // 2, heads.copy()
        out[:, 0 : 2 * half : 2], out[:, 1 : 2 * half : 2] = heads[:, :half], heads[:, half : 2 * half]
        heads = out
    return heads


def projections(shape, model, layer):
    """{what the architecture calls it: [out, in] or [out]}"""
    fusion = shape.description["tensors"]["fusion"]
    out = {}
    for suffix, parts in (("", (layer.query, layer.key, layer.value)), ("_bias", (layer.query_bias, layer.key_bias, layer.value_bias))):
        if parts[0] is None:
            continue
        q, k = rows(shape, model, parts[0], True), rows(shape, model, parts[1], False)
        last = parts[0].shape[2:]
        if fusion == "separate":
            out |= {name + suffix: x.reshape(-1, *last) for name, x in (("query", q), ("key", k), ("value", parts[2]))}
        elif fusion == "concatenated":
            out["qkv" + suffix] = np.concatenate([x.reshape(-1, *last) for x in (q, k, parts[2])])
        else:
            out["qkv" + suffix] = np.stack([q, k, parts[2]], axis=1).reshape(-1, *last)
    residual = shape.description.get("multipliers", {}).get("residual", 1)
    return out | {"output": layer.output.reshape(-1, shape.d_model).T / residual}


def without_norm(layer, gain):
    """The weights that act as `layer`'s do, behind a norm with this gain."""
    return dataclasses.replace(layer, query=layer.query / gain, key=layer.key / gain, value=layer.value / gain)


def checkpoint_tensors(shape, model):
    names, multipliers = shape.description["tensors"], shape.description.get("multipliers", {})
    rng = np.random.default_rng(1)
    out = {names["embedding"]: model.embedding / multipliers.get("embedding", 1), names["final_norm"]: normal(rng, shape.d_model)}
    if not model.tied:
        out[names["head"]] = model.head / multipliers.get("logits", 1)
    if model.positions is not None:
        out[shape.description["position"]["embedding"]] = model.positions
    for n, layer in enumerate(model.layers):
        if shape.gains:  # powers of two, so that float32 holds what is left of the weights
            gain = 2.0 ** rng.integers(-2, 3, shape.d_model)
            out[names["attention_norm"].format(layer=n)] = gain
            layer = without_norm(layer, gain)
        for part, values in projections(shape, model, layer).items():
            name = names[part.removesuffix("_bias")].format(layer=n)
            if part.endswith("_bias"):
                out[name.removesuffix(".weight") + ".bias"] = values
            else:
                out[name] = values.T if names["orientation"] == "in_out" else values
    return {shape.prefix + name: values for name, values in out.items()}


def write_checkpoint(folder, shape, model):
    """model.safetensors, config.json where the shape has one, architecture.json where it is none of the built-in ones."""
    folder.mkdir(parents=True)
    stored = {}
    for name, values in checkpoint_tensors(shape, model).items():
        narrow = np.ascontiguousarray(values, np.float32)
        assert np.array_equal(narrow, values), name  # so the file holds the very model
        stored[name] = Stored("F32", narrow.shape, narrow.reshape(-1).view(np.uint8))
    write_tensors(folder / "model.safetensors", stored, {"format": "pt"})
    if shape.config is not None:
        (folder / "config.json").write_text(json.dumps(shape.config))
    if not isinstance(shape.architecture, str):
        (folder / "architecture.json").write_text(json.dumps(shape.architecture))
    return folder


def flags(shape, folder):
    """How `aloft analyze` is told about it."""
    arch = shape.architecture if isinstance(shape.architecture, str) else folder / "architecture.json"
    words = ["--checkpoint", folder, "--arch", arch]
    if shape.config is not None:
        return words + ["--model-config", folder / "config.json"]
    return words + ["--layers", shape.layers, "--heads", shape.heads, "--kv-heads", shape.kv_heads, "--head-dim", shape.head_dim,
                    "--d-model", shape.d_model, "--context", shape.context, "--model-vocab-size", shape.vocab]


# ---- the corpus

def random_ids(vocab, length, seed):
    """A Markov chain with a direction, in documents. The last id never comes, the one before ends documents and has no successor."""
    rng = np.random.default_rng(seed)
    common = 1 / np.arange(1, vocab - 2)
    follow = common * rng.gamma(0.3, size=(vocab - 3, vocab - 3))
    follow /= follow.sum(axis=1, keepdims=True)
    state, out = 0, []
    for uniform, end in zip(rng.random(length), rng.random(length) < 0.004):
        out.append(state + 1)
        if end:
            out += [vocab - 2, SEPARATOR]
        state = min(int(np.searchsorted(np.cumsum(follow[state]), uniform)), vocab - 4)
    return np.array(out, np.uint16)


def dense_counts(ids, vocab, lags):
    """([J_1, ..., J_lags], counts of ids), by looking at every pair."""
    out, unigram = [np.zeros((vocab, vocab), np.int64) for _ in range(lags)], np.zeros(vocab, np.int64)
    for document in np.split(ids, np.flatnonzero(ids == SEPARATOR)):
        document = document[document != SEPARATOR].astype(np.int64)
        np.add.at(unigram, document, 1)
        for lag, j in enumerate(out, 1):
            np.add.at(j, (document[:-lag], document[lag:]), 1)
    return out, unigram


@dataclass
class Corpus:
    path: Path
    counts: list
    unigram: np.ndarray
    lags: int
    vocab: int
    about: dict = field(default_factory=dict)

    @property
    def flags(self):
        return ["--corpus", self.path, "--vocab-size", self.vocab, "--doc-sep-id", SEPARATOR, "--lags", self.lags]


def write_corpus(path, vocab=80, length=6000, lags=3, seed=0):
    ids = random_ids(vocab, length, seed)
    ids.tofile(path)
    return Corpus(path, *dense_counts(ids, vocab, lags), lags, vocab)
