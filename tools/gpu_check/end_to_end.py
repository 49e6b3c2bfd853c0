"""The program as a user runs it, on the GPU and on the CPU: the same counts to the byte, the same tensors within tolerance, the stage
times of both side by side. Writes its JSON after every run, so that one that is stopped has lost only what came after."""
import argparse
import filecmp
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools/python"))
from aloft.tensors import read_tensors, widened  # noqa: E402

TOLERANCE = 1e-4  # of a kernel's norm: F32 tensors whose singular vectors were rounded on two machines
SAMPLE = 256  # tokens whose embeddings a kernel is read through


def zipf_file(path, tokens, vocab):
    """Ids as u16, P(id) about 1/(id + 1): floor of a log-uniform draw. One document."""
    rng = np.random.default_rng(20261126)
    with open(path, "wb") as out:
        for start in range(0, tokens, 1 << 24):
            u = rng.random(min(1 << 24, tokens - start), dtype=np.float32)
            np.minimum(np.exp(u * np.float32(np.log(vocab + 1))) - 1, vocab - 1).astype(np.uint16).tofile(out)


def relative(got, want):
    return float(np.linalg.norm(got - want) / max(np.linalg.norm(want), 1e-300))


def layers_of(tensors):
    count = sum(name.endswith("q_proj.weight") for name in tensors)
    for layer in range(count):
        part = lambda name: tensors[f"model.layers.{layer}.self_attn.{name}_proj.weight"].astype(np.float64)
        yield {name: part(name) for name in "qkvo"}


def kernels_of(tensors):
    """What the heads of a Llama do to embeddings, which no rotation within a singular plane changes: E Wq' Wk E' and E Wv' Wo' H' a layer."""
    rows = lambda name: tensors[name][:SAMPLE].astype(np.float64)
    e = rows("model.embed_tokens.weight")
    h = rows("lm_head.weight") if "lm_head.weight" in tensors else e
    for w in layers_of(tensors):
        heads = w["q"].shape[0]
        if w["k"].shape[0] == heads:
            yield (e @ w["q"].T) @ (e @ w["k"].T).T
            yield (e @ w["v"].T) @ (h @ w["o"]).T


def compared(cpu, gpu):
    """How far apart two init.safetensors are: tensor by tensor, and by what the heads do."""
    a, b = ({name: widened(t) for name, t in read_tensors(path)[0].items()} for path in (cpu, gpu))
    if a.keys() != b.keys() or any(a[n].shape != b[n].shape for n in a):
        return {"same_tensors": False}
    return {"same_tensors": True, "tensors": max(relative(b[n].astype(np.float64), a[n].astype(np.float64)) for n in a),
            "norms": max(abs(np.linalg.norm(b[n].astype(np.float64)) / np.linalg.norm(a[n].astype(np.float64)) - 1) for n in a if np.any(a[n])),
            "kernels": max(relative(y, x) for x, y in zip(kernels_of(a), kernels_of(b)))}


class Runs:
    def __init__(self, flags):
        self.flags, self.rows, self.failures = flags, [], []
        self.end = time.monotonic() + flags.seconds

    def write(self):
        part = self.flags.output + ".part"
        with open(part, "w") as out:
            json.dump({"tolerance": TOLERANCE, "runs": self.rows, "failures": self.failures}, out, indent=1)
        os.replace(part, self.flags.output)

    def run(self, name, backend, command, output):
        """Seconds of the whole program and its own JSON, or None where it failed (told) or was stopped at the limit."""
        command = [self.flags.aloft, *command, "--backend", backend, "--output", output, "--force", "--json", "--quiet"]
        start = time.monotonic()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=max(1, min(self.flags.longest, self.end - start)))
        except subprocess.TimeoutExpired:
            print(f"{name} {backend}: stopped after {time.monotonic() - start:.0f} s", flush=True)
            return {"stopped_after": round(time.monotonic() - start, 1)}
        seconds = time.monotonic() - start
        if done.returncode != 0:
            self.failures.append(f"{name} {backend}: exit status {done.returncode}: {(done.stderr.strip().splitlines() or ['no word'])[-1][:300]}")
            print(self.failures[-1], flush=True)
            return None
        told = json.loads(done.stdout)
        stages = {s["name"]: s["seconds"] for s in told.get("stages", [])} or {"count": told["seconds"]}
        tokens = told["corpus"]["tokens"] if "corpus" in told else told["tokens"]
        print(f"{name} {backend}: {seconds:.2f} s, {tokens} tokens, " + ", ".join(f"{k} {v:.2f}" for k, v in stages.items()), flush=True)
        return {"wall": seconds, "stages": stages, "tokens": tokens}

    def compare(self, cases, compare):
        """cases: {name: command}. Every case on the GPU, then every case on the CPU, which may be too slow for some, then each pair of
        results compared. compare(cpu, gpu) -> (figures, complaint or "")."""
        output = lambda name, backend: os.path.join(self.flags.scratch, f"{name.replace(' ', '_')}_{backend}")
        rows = {name: {"name": name, "command": " ".join(["aloft", *command])} for name, command in cases.items()}
        self.rows += rows.values()
        for backend in ("cuda", "cpu"):
            for name, command in cases.items():
                shutil.rmtree(output(name, backend), ignore_errors=True)
                rows[name][backend] = self.run(name, backend, command, output(name, backend))
                self.write()
        for name, row in rows.items():
            if all(row[b] and "wall" in row[b] for b in ("cuda", "cpu")):
                row["figures"], complaint = compare(output(name, "cpu"), output(name, "cuda"))
                if complaint:
                    self.failures.append(f"{name}: {complaint}")
                print(f"{name}: {row['figures']} {complaint}", flush=True)
        self.write()


def same_counts(cpu, gpu):
    same = filecmp.cmp(cpu, gpu, shallow=False)
    return {"counts_equal": same}, "" if same else "the counts of the two backends differ"


def same_run(cpu, gpu):
    figures, complaint = same_counts(f"{cpu}/counts.safetensors", f"{gpu}/counts.safetensors")
    figures |= compared(f"{cpu}/init.safetensors", f"{gpu}/init.safetensors")
    if not complaint and not (figures["same_tensors"] and figures["kernels"] <= TOLERANCE and figures["norms"] <= TOLERANCE):
        complaint = f"the tensors of the two backends differ by more than {TOLERANCE}"
    return figures, complaint


def main():
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--aloft", required=True)
    flags.add_argument("--text", required=True)
    flags.add_argument("--scratch", required=True)
    flags.add_argument("--output", required=True)
    flags.add_argument("--tokens", type=int, default=10**8, help="of the Zipf stream")
    flags.add_argument("--seconds", type=float, default=114)
    flags.add_argument("--longest", type=float, default=45, help="seconds for one run of the program")
    flags.add_argument("--rehearse", action="store_true", help="the same runs, small")
    flags.add_argument("--quick", action="store_true", help="without the runs on a large vocabulary")
    flags = flags.parse_args()
    runs = Runs(flags)
    stream, vocab = os.path.join(flags.scratch, "zipf.u16"), 16384
    if flags.rehearse:
        flags.tokens, vocab = 2000, 64
    zipf_file(stream, flags.tokens, vocab)
    text = ["--corpus", flags.text, "--utf8", "replace", "--lags", "8"]
    zipf = ["--corpus", stream, "--format", "u16", "--vocab-size", str(vocab), "--lags", "8"]
    # --noise 0: a random part is fixed in coordinates, so what rotates beside it would change the kernels.
    small = ["--arch", "llama", "--layers", "8", "--heads", "8", "--d-model", "256", "--context", "256", "--seed", "0"]
    large = ["--arch", "llama", "--layers", "12", "--heads", "12", "--d-model", "768", "--context", "256", "--seed", "0"]
    words = ["--tokenizer", "words", "--vocab-size", "8192"]
    if flags.rehearse:
        small = large = ["--arch", "llama", "--layers", "2", "--heads", "2", "--d-model", "16", "--context", "32", "--seed", "0"]
        words = ["--tokenizer", "words", "--vocab-size", "60"]
    spread, offset = ["--recipe", "spread", "--noise", "0", "--pr-target", "8" if flags.rehearse else "30"], ["--recipe", "offset"]
    if flags.rehearse:
        spread += ["--null-tokens", "500"]
    runs.compare({"count zipf": ["count", *zipf], "count bytes": ["count", *text, "--tokenizer", "bytes"]}, same_counts)
    runs.compare({"spread text": ["init", *text, *words, *small, *spread], "offset text": ["init", *text, *words, *small, *offset, "--mlp-width", "688"]}, same_run)
    if not flags.quick:
        runs.compare({"spread zipf": ["init", *zipf, *large, *spread]}, same_run)
        runs.compare({"offset zipf": ["init", *zipf, *large, *offset, "--mlp-width", "2048"]}, same_run)
    both = sum("figures" in row for row in runs.rows)
    print(runs.failures[0] if runs.failures else f"{both} of {len(runs.rows)} pairs of runs ended on both, and agree")
    return 1 if runs.failures else 0


if __name__ == "__main__":
    sys.exit(main())
