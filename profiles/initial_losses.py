#!/usr/bin/env python3
"""Validation losses before any step, of models that load what `aloft init` writes, as Markdown tables.

    python3 profiles/initial_losses.py --text enwik-first-4mb.xml --program build/release/aloft --folder losses/ --json losses.json

The text is the first 4 MB of an English Wikipedia XML dump (enwik), V = 2048, statistics from the first 90% of the tokens, losses in
nats on the first 10,240 of the rest. Models are the trial's own, at two sizes and in two styles, and for the offset recipe Hugging
Face's, with their own init around the design. The second table says what the parts cost that are not designed, the third what
LayerNorm's removal of the mean does. Needs the Python package (tools/python), torch and transformers; about half an hour of one
CPU core. Files in --folder are not designed again and numbers in --json are not measured again.
"""
import argparse
import json
import statistics
from pathlib import Path

import torch
import transformers
from torch import nn

from aloft import apply_init
from aloft.trial import corpus
from aloft.trial.jobs import Trial
from aloft.trial.training import validation_loss

VOCAB, TOKENS = 2048, 10240
SIZES = {
    "small": {"layers": 4, "heads": 4, "width": 128, "context": 64},
    "large": {"layers": 8, "heads": 8, "width": 256, "context": 256},
}
DISCRIMINANT, TUCKER, SILENT = "offset, discriminant", "offset, tucker", ", --zero-outputs"
ARMS = {
    DISCRIMINANT: {"recipe": "offset"},
    TUCKER: {"recipe": "offset", "estimator": "tucker"},
    DISCRIMINANT + SILENT: {"recipe": "offset", "zero-outputs": True},
    TUCKER + SILENT: {"recipe": "offset", "estimator": "tucker", "zero-outputs": True},
    "shuffled": {"recipe": "offset", "control": "shuffled"},
    "reversed": {"recipe": "offset", "control": "reversed"},
    "bigram-head": {"recipe": "bigram-head"},
    "embedding": {"recipe": "embedding"},
    "unigram": {"recipe": "unigram"},
    "random": None,
}
# What the offset recipe was asked to reach. At the large size the better of the two estimators has to.
LIMITS = {
    ("small", "llama"): {DISCRIMINANT: 4.15, TUCKER: 4.0},
    ("small", "gpt2"): {DISCRIMINANT: 4.25, TUCKER: 4.25},
}
LIMIT_OF_THE_BETTER = 4.05
SHUFFLED_MARGIN = 0.02  # a shuffled corpus may be better than the unigram by no more


def trial_of(flags, size, style):
    return Trial({
        "model": {"style": style, "vocab": VOCAB, **SIZES[size]}, "plan": {},
        "corpus": {"text": flags.text, "vocabulary_from": "all"}, "training": {"validation_tokens": TOKENS},
        "arms": {arm: {"init": init} if init else {} for arm, init in ARMS.items()},
    }, flags.folder, flags.program)


class HuggingFace(nn.Module):
    """Hugging Face's model of a trial's shape, called as the trial's own is."""

    def __init__(self, shape):
        super().__init__()
        if shape.style == "gpt2":
            self.model = transformers.GPT2LMHeadModel(transformers.GPT2Config(
                n_embd=shape.width, n_layer=shape.layers, n_head=shape.heads, n_positions=shape.context, vocab_size=shape.vocab))
        else:
            self.model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
                hidden_size=shape.width, intermediate_size=shape.mlp, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
                num_key_value_heads=shape.heads, max_position_embeddings=shape.context, vocab_size=shape.vocab))

    def forward(self, ids):
        return self.model(ids).logits


class Numbers:
    """What was measured, kept in a JSON file."""

    def __init__(self, path, seeds):
        self.path, self.seeds = path, seeds
        self.all = json.loads(path.read_text()) if path.exists() else {}

    def over_seeds(self, measure, trial, arm, size, held):
        """measure(trial, arm, seed, held) gives a dict; this, one of lists."""
        runs = []
        for seed in self.seeds:
            key = f"{measure.__name__} {size} {trial.shape.style} {arm} {seed}"
            if key not in self.all:
                self.all[key] = measure(trial, arm, seed, held)
                self.path.write_text(json.dumps(self.all, indent=1) + "\n")
            runs.append(self.all[key])
        return {key: [run[key] for run in runs] for key in runs[0]}


def losses_of(trial, arm, seed, held):
    """{model: loss} of one arm and seed."""
    out = {"trial": validation_loss(trial.build(arm, seed)[0], held)}
    if arm.startswith("offset"):
        torch.manual_seed(seed)
        model = HuggingFace(trial.shape)
        apply_init(model.model, trial.init_file(arm, seed))
        out["hugging_face"] = validation_loss(model, held)
    return out


class KeepsTheMean(nn.Module):
    """A LayerNorm without its removal of the mean: an RMSNorm of the same gain and bias."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.norm.eps) * self.norm.weight + self.norm.bias


def mean_removal(trial, arm, seed, held):
    """Losses with and without it, and the removed mean over the root mean square at each norm, on average over tokens."""
    model = trial.build(arm, seed)[0]
    norms = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.LayerNorm)]
    seen = {name: [] for name, _ in norms}

    def watch(name):
        return lambda _, inputs: seen[name].append((inputs[0].mean(-1).abs() / inputs[0].pow(2).mean(-1).sqrt()).mean().item())

    hooks = [norm.register_forward_pre_hook(watch(name)) for name, norm in norms]
    out = {"layer_norm": validation_loss(model, held)}
    for hook in hooks:
        hook.remove()
    for name, norm in norms:
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, KeepsTheMean(norm))
    return out | {"rms_norm": validation_loss(model, held), "mean_over_rms": [statistics.mean(v) for v in seen.values()]}


def costs_of_what_is_not_designed(trial, arm, seed, held):
    """Losses with the outputs of undesigned heads, of MLPs, and of both at zero, as in the arm of --zero-outputs."""
    silent = trial.build(arm + SILENT, seed)[0].state_dict()
    heads, mlps = ("o_proj.weight", "attn.c_proj.weight"), ("down_proj.weight", "mlp.c_proj.weight")
    out = {}
    for name, ends in {"as_is": (), "heads": heads, "mlps": mlps, "both": heads + mlps}.items():
        model = trial.build(arm, seed)[0]
        model.load_state_dict({k: v for k, v in silent.items() if k.endswith(ends)}, strict=False)
        out[name] = validation_loss(model, held)
    return out


def limits_of(size, style, losses, unigram):
    """{arm: (text, met)}. A limit holds for every seed and for both models."""
    worst = {arm: max(max(values) for values in models.values()) for arm, models in losses.items()}
    least = min(losses["shuffled"]["trial"])
    out = {"shuffled": (f"≥ {unigram - SHUFFLED_MARGIN:.3f}", least >= unigram - SHUFFLED_MARGIN)}
    for suffix in ("", SILENT):
        wanted = LIMITS.get((size, style)) or {min((DISCRIMINANT, TUCKER), key=lambda arm: worst[arm + suffix]): LIMIT_OF_THE_BETTER}
        for arm, limit in wanted.items():
            out[arm + suffix] = (f"≤ {limit:.2f}", worst[arm + suffix] <= limit)
    return out


def spread(values):
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else ""


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    print()


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--text", required=True)
    flags.add_argument("--program", default="build/release/aloft")
    flags.add_argument("--folder", type=Path, required=True, help="for corpus, counts and init files")
    flags.add_argument("--seeds", type=int, default=2)
    flags.add_argument("--json", type=Path, required=True, metavar="FILE", help="every number, as soon as it is there")
    flags = flags.parse_args()
    torch.set_num_threads(1)
    numbers = Numbers(flags.json, range(flags.seeds))
    rows, parts, removals = [], [], []
    for size in SIZES:
        for style in ("llama", "gpt2"):
            trial = trial_of(flags, size, style)
            held, train = trial.windows(), corpus.load(trial.train_path)
            unigram, bigram = (f(train, held.numpy(), VOCAB) for f in (corpus.unigram_loss, corpus.bigram_loss))
            losses = {arm: numbers.over_seeds(losses_of, trial, arm, size, held) for arm in ARMS}
            limits = limits_of(size, style, losses, unigram)
            for arm, models in losses.items():
                limit, met = limits.get(arm, ("", None))
                rows.append({"size": size, "style": style, "init": arm, **models, "unigram": unigram, "bigram": bigram, "limit": limit, "met": met})
            for arm in (DISCRIMINANT, TUCKER):
                about = {"size": size, "style": style, "init": arm}
                parts.append(about | numbers.over_seeds(costs_of_what_is_not_designed, trial, arm, size, held))
            for arm in (DISCRIMINANT, TUCKER, DISCRIMINANT + SILENT, TUCKER + SILENT) if style == "gpt2" else ():
                removals.append({"size": size, "init": arm} | numbers.over_seeds(mean_removal, trial, arm, size, held))
    met = {None: "", True: "yes", False: "**no**"}
    table(["size", "style", "init", "trial's model", "Hugging Face", "unigram", "bigram", "limit", "met"],
          [[r["size"], r["style"], r["init"], spread(r["trial"]), spread(r.get("hugging_face")), f"{r['unigram']:.3f}", f"{r['bigram']:.3f}",
            r["limit"], met[r["met"]]] for r in rows])
    silences = ("as_is", "heads", "mlps", "both")
    table(["size", "style", "init", "as it is", "undesigned heads silent", "MLPs silent", "both"],
          [[r["size"], r["style"], r["init"], *(spread(r[k]) for k in silences)] for r in parts])
    table(["size", "init", "LayerNorm", "RMSNorm", "removal costs", "mean over RMS, first norm to last"],
          [[r["size"], r["init"], spread(r["layer_norm"]), spread(r["rms_norm"]),
            f"{statistics.mean(r['layer_norm']) - statistics.mean(r['rms_norm']):+.3f}",
            ", ".join(f"{statistics.mean(x):.2f}" for x in zip(*r["mean_over_rms"]))] for r in removals])


if __name__ == "__main__":
    main()
