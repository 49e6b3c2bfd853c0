#!/usr/bin/env python3
"""The factors of the recipe `offset` in NumPy and SciPy, beside those that `aloft init` wrote.

    python3 profiles/factors_peer.py check --counts RUN/counts.safetensors --factors RUN/factors.safetensors
    python3 profiles/factors_peer.py time --counts FILE --estimator tucker --lags 4 --d-s 382 --d-o 383
    python3 profiles/factors_peer.py whole --ids ids.u32 --vocab-size 100277 --doc-sep-id 0 --like RUN --output tensors.safetensors

`check` takes aloft's scalars, S, and for tucker the span of U, and makes the rest anew from the counts: maps S G_n Uᵀ on a sample of
tokens, bias and measures must agree to 1e-6 of their norm; exit code 1 where they do not. `time` does the whole job by itself: its own
subspaces (as many directions as aloft's), the search for scalars on held-out positions, the factors. `whole` also counts the ids before
and writes the tensors after. All print JSON. Processors: OPENBLAS_NUM_THREADS, or all.
"""
import argparse
import json
import os
import resource
import sys
import time

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from factors_choice import factors, orthonormal_under
from factors_counts import count_ids, read_counts, read_ids, threads, without_slice
from factors_numpy import fit_discriminant, fit_tucker

TOLERANCE = 1e-6
SAMPLE = 512  # tokens on either side of the maps that are compared


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def read_factors(path):
    """An artifact `factors`: its tensors, estimator and scalars."""
    with safe_open(path, "np") as file:
        out = {name: file.get_tensor(name) for name in file.keys()}
        out["estimator"] = file.metadata()["estimator"]
    out["alpha"], out["kappa"], out["ridge"] = out["scalars"][:3]
    return out


def basis_of_target(counts, target):
    """aloft's U before it was balanced, up to a rotation: UᵀDU = 1 under the unigram of all counts or of those without the slice,
    whichever makes the balanced axes orthogonal."""
    skew = {}
    for p in (counts.p, without_slice(counts).p):
        gram = target.T @ (target * p[:, None])
        gram /= np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
        skew[float(np.abs(gram - np.eye(len(gram))).max())] = p
    return orthonormal_under(skew[min(skew)], target)


def refit(counts, theirs):
    """The factors from aloft's scalars and subspaces."""
    if theirs["estimator"] == "discriminant":
        return fit_discriminant(counts, theirs["source"], theirs["target"].shape[1], theirs["alpha"], theirs["kappa"], theirs["ridge"])
    return fit_tucker(counts, theirs["source"], basis_of_target(counts, theirs["target"]), theirs["kappa"], theirs["lag_weights"])


def sample_of(unigram):
    """Half the sample: the most frequent tokens; half: evenly spread over the ranks."""
    by_rank = np.argsort(-unigram, kind="stable")
    spread = np.linspace(0, len(by_rank) - 1, min(SAMPLE // 2, len(by_rank))).astype(int)
    return np.unique(np.concatenate([by_rank[: SAMPLE // 2], by_rank[spread]]))


def relative(ours, theirs):
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def differences(counts, ours, theirs):
    """Relative, of Frobenius norms: the largest of the lags' maps on the sample, bias, measures."""
    at = sample_of(counts.unigram)
    maps = [[f["source"][at] @ core @ f["target"][at].T for core in f["cores"]] for f in (ours, theirs)]
    return {
        "maps": max(relative(a, b) for a, b in zip(*maps)),
        "bias": relative(ours["bias"], theirs["bias"]),
        "participation": relative(ours["participation"], theirs["participation"]),
        "written_norm": float(abs(ours["written_norm"] / theirs["scalars"][3] - 1)),
    }


def check(flags):
    theirs = read_factors(flags.factors)
    counts = read_counts(flags.counts, len(theirs["cores"]))
    found = differences(counts, refit(counts, theirs), theirs)
    return {"estimator": theirs["estimator"], "differences": found, "equal": all(x <= TOLERANCE for x in found.values())}


def given_of(flags):
    return {name: value for name in ("alpha", "kappa", "ridge") if (value := getattr(flags, name)) is not None}


def time_factors(flags):
    start = time.perf_counter()
    counts = read_counts(flags.counts, flags.lags)
    reading = time.perf_counter() - start
    _, scalars, parts = factors(counts, flags.estimator, flags.d_s, flags.d_o, given_of(flags), say)
    return {"seconds": sum(parts.values()), "reading": reading, "parts": parts, "scalars": scalars}


def tensors_like(path, fit, log_p):
    """Tensors of the names and shapes of aloft's: S, U and log p in every table, cores in output projections; the rest is random."""
    rng, out = np.random.default_rng(0), {}
    vocab, d_s = fit["source"].shape
    lag = 0
    with safe_open(path, "np") as file:
        for name in file.keys():
            shape = file.get_slice(name).get_shape()
            tensor = rng.standard_normal(shape, np.float32) * np.float32(0.02)
            if len(shape) == 2 and shape[0] >= vocab:
                parts = (fit["source"], np.ones((vocab, 1)), log_p[:, None], fit["target"])
                row = np.concatenate([x.astype(np.float32) for x in parts], 1)[:, : shape[1]]
                tensor[:vocab, : row.shape[1]] = row
            elif "proj" in name and shape[0] == shape[1] and lag < len(fit["cores"]):
                core = fit["cores"][lag].T[: shape[0]]
                tensor[-len(core) :, :d_s] = core
                lag += 1
            out[name] = tensor
    return out


def whole(flags):
    like = read_factors(os.path.join(flags.like, "factors.safetensors"))
    lags, d_s, d_o = like["cores"].shape
    start = time.perf_counter()
    counts = count_ids(read_ids(flags.ids, flags.vocab_size, flags.doc_sep_id), flags.vocab_size, flags.lags)
    parts = {"count": time.perf_counter() - start}
    say(f"count {parts['count']:.1f} s")
    all_lags, counts.lags = counts.lags, counts.lags[:lags]
    fit, scalars, of_factors = factors(counts, like["estimator"], d_s, d_o, given_of(flags), say)
    parts["factors"] = sum(of_factors.values())
    emitting = time.perf_counter()
    save_file(tensors_like(os.path.join(flags.like, "init.safetensors"), fit, np.log(counts.p)), flags.output)
    parts["emit"] = time.perf_counter() - emitting
    seconds = time.perf_counter() - start
    theirs = read_counts(os.path.join(flags.like, "counts.safetensors"), flags.lags)
    equal = np.array_equal(theirs.unigram, counts.unigram) and np.array_equal(theirs.holdout_ids, counts.holdout_ids)
    equal = equal and all((a != b).nnz == 0 for a, b in zip(all_lags, theirs.lags))
    return {"seconds": seconds, "parts": parts, "scalars": scalars, "counts_equal": bool(equal)}


def arguments():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = flags.add_subparsers(dest="command", required=True)
    one = commands.add_parser("check")
    one.add_argument("--counts", required=True)
    one.add_argument("--factors", required=True)
    two = commands.add_parser("time")
    two.add_argument("--counts", required=True)
    two.add_argument("--estimator", choices=("discriminant", "tucker"), required=True)
    for name in ("--lags", "--d-s", "--d-o"):
        two.add_argument(name, type=int, required=True)
    three = commands.add_parser("whole")
    three.add_argument("--ids", required=True, help="raw uint32")
    three.add_argument("--vocab-size", type=int, required=True)
    three.add_argument("--doc-sep-id", type=int)
    three.add_argument("--lags", type=int, default=8, help="lags to count")
    three.add_argument("--like", required=True, help="folder of an `aloft init`: estimator, sizes, tensors' shapes, counts to compare")
    three.add_argument("--output", required=True)
    for command in (two, three):
        for name in ("--alpha", "--kappa", "--ridge"):
            command.add_argument(name, type=float, help="do not choose it")
    return flags


def main():
    flags = arguments().parse_args()
    out = {"check": check, "time": time_factors, "whole": whole}[flags.command](flags)
    out["threads"] = threads()
    used = resource.getrusage(resource.RUSAGE_SELF)
    out["cpu_seconds"], out["peak_bytes"] = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024
    print(json.dumps(out, indent=1))
    raise SystemExit(0 if out.get("equal", True) and out.get("counts_equal", True) else 1)


if __name__ == "__main__":
    main()
