#!/usr/bin/env python3
"""Fitting output projections on a model's own activations before training: how low does it get the loss, and does the gain last?

    python3 profiles/forward_fit.py --text enwik-first-4mb.xml --program build/release/aloft --folder fit/

The model of `python -m aloft trial small` (or of another --preset). Before training, the output projections of attention and MLPs get one
regularised Newton step each on training text, all in one pass or one after the other from the bottom. With a what a projection reads and g
the gradient of the loss at what it writes, the step is E[a aT]^-1 E[a gT] E[g gT]^-1 (Kronecker-factored curvature, Martens and Grosse 2015);
ridges and length are those that do best on other training text. Then the trial's own training. "passes" is what the fit read, in training steps:
a fit is worth something where its row ends below the row that spends them on training. Prints a Markdown table; needs the Python
package (tools/python) and torch; a quarter of an hour of two CPU cores. What is in --folder is not trained again.
"""
import argparse
import json
from pathlib import Path

import torch

from aloft.trial import corpus
from aloft.trial.jobs import Trial
from aloft.trial.loss import next_token_loss
from aloft.trial.run import load_spec
from aloft.trial.training import train, training_batch, validation_loss

SEED, FIT_SEED, CHOICE_SEED = 0, 70, 71  # training, the fit's text, the text that chooses ridge and length
RIDGES, LENGTHS = (0.03, 0.1, 0.3, 1.0), (0.0, 0.03, 0.1, 0.2, 0.4, 0.8)
PARTS = {"attention": ("attn.c_proj", "self_attn.o_proj"), "MLPs": ("mlp.c_proj", "mlp.down_proj")}
BOTH = tuple(PARTS)
CASES = [  # init, how it is fitted, what
    ("offset", "not", ()), ("offset", "in one pass", BOTH), ("offset", "in one pass", ("attention",)), ("offset", "in one pass", ("MLPs",)),
    ("offset", "in turn", BOTH), ("random", "not", ()), ("random", "in one pass", BOTH),
]


def projections(model, parts):
    """The Linear modules that write into the stream, from the bottom."""
    ends = tuple(end for part in parts for end in PARTS[part])
    return [module for name, module in model.named_modules() if ends and name.endswith(ends)]


def draw(trial, tokens, seed):
    """Windows of training text [n, context + 1]."""
    stream = torch.from_numpy(corpus.load(trial.train_path).astype("int64"))
    return training_batch(stream, tokens // trial.shape.context, trial.shape.context, torch.Generator().manual_seed(seed))


class Moments:
    """Sums of a aT, a gT and g gT over the tokens that pass through a projection."""

    def __init__(self, module):
        self.inputs, self.cross, self.outputs, self.count = 0.0, 0.0, 0.0, 0
        self.handle = module.register_forward_hook(self._seen)

    def _seen(self, _, inputs, output):
        a = inputs[0].detach().flatten(0, 1)

        def back(gradient):
            g = gradient.flatten(0, 1) * len(a)  # of a token's own loss: the batch's is the mean
            self.inputs, self.cross, self.outputs = self.inputs + a.T @ a, self.cross + a.T @ g, self.outputs + g.T @ g
            self.count += len(a)

        output.register_hook(back)

    def step(self, ridge):
        """What a Newton step takes from the weight, [out, in]; ridge: in mean eigenvalues of either curvature."""
        a, b, c = (m.double() / self.count for m in (self.inputs, self.cross, self.outputs))
        a, c = (m + ridge * m.trace() / len(m) * torch.eye(len(m), dtype=m.dtype) for m in (a, c))
        return torch.linalg.solve(c, torch.linalg.solve(a, b).T).float()


def fit(model, modules, text, choice):
    """One step on `modules` together. Returns the ridge and length that did best on `choice`."""
    moments = [Moments(m) for m in modules]
    for part in text.split(16):
        next_token_loss(model, part).backward()
    for m in moments:
        m.handle.remove()
    model.zero_grad()
    before, best = [m.weight.detach().clone() for m in modules], (float("inf"), ())
    with torch.no_grad():
        for ridge in RIDGES:
            steps = [m.step(ridge) for m in moments]
            for length in LENGTHS:
                weights = [w - length * step for w, step in zip(before, steps)]
                for module, weight in zip(modules, weights):
                    module.weight.copy_(weight)
                best = min(best, (validation_loss(model, choice), (ridge, length, weights)), key=lambda found: found[0])
        ridge, length, weights = best[1]
        for module, weight in zip(modules, weights):
            module.weight.copy_(weight)
    return {"ridge": ridge, "length": length}


def result(trial, arm, how, parts, tokens, steps, peak):
    """History, test loss and what each fit chose."""
    t = trial.spec["training"]
    model, _ = trial.build(arm, SEED)
    modules = projections(model, parts)
    groups = {"not": [], "in one pass": [modules], "in turn": [[m] for m in modules]}[how]
    text, choice = draw(trial, tokens, FIT_SEED), draw(trial, 16384, CHOICE_SEED)
    chosen = [fit(model, group, text, choice) for group in groups]
    history = train(model, corpus.load(trial.train_path), trial.windows(), steps=steps, peak=peak, seed=SEED, batch=t["batch"],
                    context=trial.shape.context, warmup=t["warmup"], every=10)
    return {"history": history, "chosen": chosen, "test": validation_loss(model, trial.test_windows())}


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--text", required=True)
    flags.add_argument("--program", default="build/release/aloft")
    flags.add_argument("--folder", type=Path, required=True)
    flags.add_argument("--preset", default="small")
    flags.add_argument("--tokens", type=int, default=1 << 15, help="of a pass")
    flags.add_argument("--peak", type=float, default=0.004)
    flags.add_argument("--steps", type=int, default=300)
    flags.add_argument("--cases", type=int, nargs="*", default=list(range(len(CASES))), help="rows, from 0")
    flags = flags.parse_args()
    spec = load_spec(flags.preset)
    spec["corpus"]["text"] = flags.text
    trial = Trial(spec, flags.folder, flags.program)
    print("| init | fitted | what | passes | peak LR | steps | before training | after a tenth | half-way | final | test |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for arm, how, parts in (CASES[c] for c in flags.cases):
        path = flags.folder / f"{arm}_{how.replace(' ', '-')}_{'+'.join(parts)}_{flags.tokens}_{flags.peak:g}_{flags.steps}.json"
        if not path.exists():
            path.write_text(json.dumps(result(trial, arm, how, parts, flags.tokens, flags.steps, flags.peak)))
        done = json.loads(path.read_text())
        loss = dict(done["history"])
        passes = len(done["chosen"]) * flags.tokens / (spec["training"]["batch"] * trial.shape.context)
        tenth, half = (min(loss, key=lambda s: abs(s - flags.steps * share)) for share in (0.1, 0.5))
        print(f"| {arm} | {how} | {' and '.join(parts)} | {passes:.0f} | {flags.peak:g} | {flags.steps} | {loss[0]:.3f} | {loss[tenth]:.3f} | "
              f"{loss[half]:.3f} | {loss[flags.steps]:.3f} | {done['test']:.3f} |", flush=True)


if __name__ == "__main__":
    main()
