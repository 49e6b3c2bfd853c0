#!/usr/bin/env python3
"""What a trained attention is worth as an init: trains `bigram-head`, then gives parts of its attention to a fresh one.

    python3 profiles/attention_transplant.py --text enwik-first-4mb.xml --program build/release/aloft --folder transplant/

The preset `small` of `python -m aloft trial` (Llama style, 4 layers, d = 128), peak learning rate 0.004; the source is trained for 1000
steps, every arm for 300 on batches that the source did not see in that order. Prints Markdown tables: what each part is worth, what
the source's heads are, and the text's mutual information by distance. Needs the Python package (tools/python) and torch; a quarter
of an hour of one CPU core. What is in --folder is not trained again.
"""
import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch

from aloft.trial import corpus
from aloft.trial.jobs import Trial
from aloft.trial.run import load_spec
from aloft.trial.training import train

ARM, PEAK, SEED, DATA_SEED = "bigram-head", 0.004, 0, 7
QK, VO = ("q_proj", "k_proj"), ("v_proj", "o_proj")


def trained(trial, model, steps, seed):
    t = trial.spec["training"]
    return train(model, corpus.load(trial.train_path), trial.windows(), steps=steps, peak=PEAK, seed=seed, batch=t["batch"],
                 context=trial.shape.context, warmup=t["warmup"], every=50)


def source_of(trial, folder):
    """The state of a trained model, by name."""
    path = folder / "source.pt"
    if not path.exists():
        model, _ = trial.build(ARM, SEED)
        trained(trial, model, 1000, SEED)
        torch.save(model.state_dict(), path)
    return torch.load(path)


def transplanted(source, parts, columns=slice(None)):
    """Copies the columns of every projection whose name holds one of `parts`."""

    def change(model, _):
        for name, weight in model.state_dict().items():
            if any(part in name for part in parts):
                weight[:, columns].copy_(source[name][:, columns])

    return change


def rescaled(**std):
    """Random weights of undesigned heads at another standard deviation: q, k, v, o."""

    def change(model, carrying):
        for layer, block in enumerate(model.model["layers"]):
            first = carrying if layer == 0 else 0  # rows of the heads that the design wrote
            for part, wanted in std.items():
                weight = getattr(block.self_attn, f"{part}_proj").weight
                own = weight[:, first:] if part == "o" else weight[first:]
                own.mul_(wanted / (0.02 / math.sqrt(2 * model.shape.layers) if part == "o" else 0.02))

    return change


def describe(trial, source, source_dims):
    """Of every head: how far its score falls from the token itself to the farther half of the context, with the layer's mean
    input as query and key; participation ratio of W_O W_V and its cosine with the identity on the source coordinates."""
    shape, (model, _) = trial.shape, trial.build(ARM, SEED)
    model.load_state_dict(source)
    means = []
    for block in model.model["layers"]:
        block.self_attn.register_forward_pre_hook(lambda _, inputs: means.append(inputs[0].mean((0, 1))))
    with torch.no_grad():
        model(trial.windows()[:40, :-1])
    rows = shape.width // shape.heads
    print("\n| layer | head | score falls by | PR of W_O W_V | cosine with the identity |\n|---|---|---|---|---|")
    for layer, (block, mean) in enumerate(zip(model.model["layers"], means)):
        attention = block.self_attn
        for head in range(shape.heads):
            at = slice(head * rows, (head + 1) * rows)
            q, k = (attention.q_proj.weight[at] @ mean).chunk(2), (attention.k_proj.weight[at] @ mean).chunk(2)
            turned = q[0] * model.cos - q[1] * model.sin, q[1] * model.cos + q[0] * model.sin  # by every distance
            score = (turned[0] @ k[0] + turned[1] @ k[1]) / math.sqrt(rows)
            moved = attention.o_proj.weight[:, at] @ attention.v_proj.weight[at]
            energy = torch.linalg.svdvals(moved) ** 2
            own = moved[:source_dims, :source_dims]
            print(f"| {layer} | {head} | {score[0] - score[shape.context // 2:].mean():.1f} | {energy.sum() ** 2 / (energy**2).sum():.1f} | "
                  f"{own.trace() / (own.norm() * math.sqrt(source_dims)):.2f} |")


def mutual_information(ids, lag, vocab):
    """Nats between tokens `lag` apart (plug-in with the Miller-Madow correction)."""

    def entropy(counts):
        p = counts[counts > 0] / counts.sum()
        return -(p * np.log(p)).sum() + (len(p) - 1) / (2 * counts.sum())

    first, second = ids[:-lag].astype(np.int64), ids[lag:].astype(np.int64)
    pairs = np.unique(first * vocab + second, return_counts=True)[1]
    return entropy(np.bincount(first)) + entropy(np.bincount(second)) - entropy(pairs)


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--text", required=True)
    flags.add_argument("--program", default="build/release/aloft")
    flags.add_argument("--folder", type=Path, required=True)
    flags = flags.parse_args()
    torch.set_num_threads(1)
    spec = load_spec("small")
    spec["corpus"]["text"] = flags.text
    trial = Trial(spec, flags.folder, flags.program)
    report = json.loads((trial.init_file(ARM, SEED).parent / "offset.json").read_text())
    carrying = report["lags"][0]["kv_heads"] * trial.shape.width // trial.shape.heads
    constant = slice(report["coordinates"]["constant"], report["coordinates"]["padding"] + 1)
    source = source_of(trial, flags.folder)
    arms = {
        "nothing": lambda *_: None,
        "all of the attention": transplanted(source, QK + VO),
        "queries and keys": transplanted(source, QK),
        "of these, what reads the constant coordinates": transplanted(source, QK, constant),
        "values and outputs": transplanted(source, VO),
        "random queries and keys at the trained size": rescaled(q=0.07, k=0.07),
        "random values and outputs at the trained size": rescaled(v=0.05, o=0.05),
    }
    print("| what the fresh model is given | before training | 150 steps | 300 steps |\n|---|---|---|---|")
    for about, change in arms.items():
        path = flags.folder / f"{about.replace(' ', '-')}.json"
        if not path.exists():
            model, _ = trial.build(ARM, SEED)
            with torch.no_grad():
                change(model, carrying)
            path.write_text(json.dumps(trained(trial, model, 300, DATA_SEED)))
        loss = dict(json.loads(path.read_text()))
        print(f"| {about} | {loss[0]:.3f} | {loss[150]:.3f} | {loss[300]:.3f} |", flush=True)
    with torch.no_grad():
        describe(trial, source, report["source_dims"])
    ids = corpus.load(trial.train_path)
    null = mutual_information(np.random.default_rng(0).permutation(ids), 1, trial.shape.vocab)
    print("\n| distance | mutual information, over that of shuffled text |\n|---|---|")
    for lag in (1, 2, 4, 8, 16, 32, 64):
        print(f"| {lag} | {mutual_information(ids, lag, trial.shape.vocab) - null:.2f} |", flush=True)


if __name__ == "__main__":
    main()
