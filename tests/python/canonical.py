"""The canonical form of attention in float64 NumPy, and the comparison of a real model with it.

`heads.safetensors` holds per layer `layer{l}.query` [H, d_h, d], `.key` and `.value` [KV, d_h, d], `.output`
[H, d_h, d]. Score of query position t and key position u: q.k / sqrt(d_h), after rotation of the pairs (i, i + R/2)
by +t * base^(-2i/R) where the architecture has RoPE (R rows of each head rotate).
"""

import math

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch_file

TOLERANCE = 1e-5  # relative to the largest score or output


def rotated(rows, positions, position):
    """rows [heads, length, head_dim]; `position` is that section of the architecture's JSON."""
    if position["kind"] != "rope":
        return rows
    rotary = int(rows.shape[-1] * position.get("fraction", 1))
    half = rotary // 2
    frequencies = float(position["base"]) ** (-2.0 * np.arange(half) / rotary)
    angles = (np.asarray(positions, dtype=np.float64) / position.get("scaling_factor", 1))[:, None] * frequencies
    a, b, rest = rows[..., :half], rows[..., half:rotary], rows[..., rotary:]
    turned = (a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles))
    return np.concatenate((*turned, rest), axis=-1)


def canonical_scores(heads, layer, architecture, x, positions):
    """[H, length, length] for the inputs x [length, d]; -inf where the key comes after the query."""
    query = np.einsum("hrd,td->htr", heads[f"layer{layer}.query"].astype(np.float64), x)
    key = np.einsum("hrd,td->htr", heads[f"layer{layer}.key"].astype(np.float64), x)
    query = rotated(query, positions, architecture["position"])
    key = np.repeat(rotated(key, positions, architecture["position"]), len(query) // len(key), axis=0)
    scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
    return np.where(np.tri(len(x), dtype=bool), scores, -np.inf)


def log_softmax(scores):
    top = scores.max(axis=-1, keepdims=True)
    return scores - top - np.log(np.exp(scores - top).sum(axis=-1, keepdims=True))


def canonical_output(heads, layer, log_probabilities, x):
    """[length, d]: sum over heads of W_O,h^T sum_u p(t, u) W_V x_u."""
    value = np.einsum("hrd,td->htr", heads[f"layer{layer}.value"].astype(np.float64), x)
    value = np.repeat(value, len(log_probabilities) // len(value), axis=0)
    return np.einsum("hrd,htr->td", heads[f"layer{layer}.output"].astype(np.float64), np.exp(log_probabilities) @ value)


def load_init(model, tensors):
    """Loads every tensor of the file into the model; each must be one of the model's, with its shape."""
    parameters = dict(model.state_dict())
    for name, tensor in tensors.items():
        assert name in parameters, f"the model has no {name}"
        assert tuple(tensor.shape) == tuple(parameters[name].shape), f"{name}: {tuple(tensor.shape)}"
    result = model.load_state_dict(tensors, strict=False)
    assert not result.unexpected_keys
    for name, tensor in tensors.items():
        assert torch.equal(model.state_dict()[name].to(tensor.dtype), tensor), name


def record_calls(module, calls):
    """Appends (input, output) of every call; forward hooks of torch 1.13 do not see keyword arguments."""
    forward = module.forward

    def wrapped(*args, **kwargs):
        result = forward(*args, **kwargs)
        calls.append((args[0] if args else kwargs["hidden_states"], result[0] if isinstance(result, tuple) else result))
        return result

    module.forward = wrapped


def compare(model, attentions, run, heads, architecture, ids):
    """Runs the model on ids [1, length] and asserts that each attention module computes the canonical form.

    attentions: the attention modules, by layer; run(ids): the attention probabilities, by layer. Returns the largest
    deviations found, relative to the largest score and the largest output.
    """
    calls = [[] for _ in attentions]
    for module, record in zip(attentions, calls):
        record_calls(module, record)
    with torch.no_grad():
        probabilities = run(ids)
    worst = [0.0, 0.0]
    for layer, record in enumerate(calls):
        ((x, output),) = record
        x, output = x[0].double().numpy(), output[0].double().numpy()
        found = probabilities[layer][0].double().numpy()
        causal = np.tri(len(x), dtype=bool)
        assert np.all(found[:, ~causal] == 0), f"layer {layer} looks ahead"
        scores = canonical_scores(heads, layer, architecture, x, np.arange(len(x)))
        expected = log_softmax(scores)
        score_scale = np.abs(scores[:, causal]).max()
        assert 0.3 < score_scale < 30, f"layer {layer}: scores of size {score_scale} test nothing"
        deviation = np.abs(np.log(found[:, causal]) - expected[:, causal]).max() / score_scale
        assert deviation < TOLERANCE, f"layer {layer}: scores deviate by {deviation}"
        wanted = canonical_output(heads, layer, expected, x)
        difference = np.abs(output - wanted).max() / np.abs(wanted).max()
        assert difference < TOLERANCE, f"layer {layer}: outputs deviate by {difference}"
        worst = [max(worst[0], deviation), max(worst[1], difference)]
    return worst


def load_and_compare(model, attentions, run, init_path, heads_path, architecture, ids, change=None):
    """`change` alters the loaded tensors (a dict) first: the controls that must fail."""
    tensors = load_torch_file(init_path)
    if change is not None:
        change(tensors)
    load_init(model, tensors)
    return compare(model.double(), attentions, run, load_file(heads_path), architecture, ids)
