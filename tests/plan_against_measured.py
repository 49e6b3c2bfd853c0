#!/usr/bin/env python3
"""What a plan says of memory against what runs of it take, for 15 configurations.

    tests/plan_against_measured.py build/release/aloft                      the CPU backend
    tests/plan_against_measured.py build/release/tests/simt/aloft_simt --device           the CUDA backend, executed on the CPU
    ... --other                                                             other sizes and recipes, of the same backend

Planned is `memory_bytes` of `aloft plan --json` (of `count`: what it plans itself, in its --json), measured the most that the process had
resident (ru_maxrss: buffers, vectors, libraries, thread stacks, mapped files). With --device both are of the device's own memory:
`device_memory_bytes` of the plan, and the most bytes of buffers that were out at once (`peak_device_bytes` of the run).
A plan must be from 1.0 to 1.25 of what was measured; exit status 1 where one is not. The texts are made here, the same every time:
words of Zipf's frequencies in topics, as token files. The CPU's take 3 minutes on two processors, the device's 5,
others 5 and 4.
"""

import argparse
import array
import bisect
import json
import os
import random
import subprocess
import sys
import tempfile

LOW, HIGH = 1.0, 1.25
MODEL = "--arch llama --layers 8 --heads 8 --context 256"
FEW = "--arch llama --layers 4 --heads 8 --context 64"


def corpus_flags(name, vocab):
    return f"--corpus {name} --format u16 --vocab-size {vocab}"


# name: the command and its flags. Sizes are such that matrices, tables and counts decide, not the program's own 40 MB.
ON_CPU = {
    "count, dense": f"count --strategy dense {corpus_flags('long.u16', 3000)}",
    "count, striped": f"count --strategy striped --memory 250M {corpus_flags('long.u16', 3000)}",
    "count, sparse": f"count --strategy sparse {corpus_flags('long.u16', 20000)}",
    "count, words": "count --corpus text.txt --vocab-size 5000",
    "offset": f"init {corpus_flags('long.u16', 3000)} --lags 4 {MODEL} --d-model 256 --source-dims 24 --alpha 0.5 --kappa 50 --ridge 1",
    "offset, tucker": f"init --estimator tucker {corpus_flags('long.u16', 8000)} --lags 4 {MODEL} --d-model 256 --kappa 50",
    "offset, control": f"init --control shuffled {corpus_flags('long.u16', 3000)} --lags 4 {MODEL} --d-model 256 --source-dims 24 --alpha 0.5 --kappa 50 --ridge 1",
    "bigram-head": f"init --recipe bigram-head {corpus_flags('short.u16', 8000)} --lags 2 {MODEL} --d-model 512 --alpha 0.5 --kappa 50 --ridge 1",
    "unigram": f"init --recipe unigram {corpus_flags('short.u16', 8000)} --lags 1 {MODEL} --d-model 512 --model-vocab-size 30000",
    "spread": f"init --recipe spread {corpus_flags('long.u16', 8000)} --lags 4 {MODEL} --d-model 256",
    "spread, wide": f"init --recipe spread {corpus_flags('short.u16', 2000)} --lags 8 {MODEL} --d-model 512 --null-tokens 0",
    "spread, stack": f"init --recipe spread --expand stack {corpus_flags('short.u16', 2000)} --lags 4 {MODEL} --d-model 512",
    "asymmetry, a file": f"init --recipe asymmetry --embedding embedding.npy {corpus_flags('short.u16', 20000)} --lags 1 {MODEL} --d-model 512 --null-tokens 0",
    "spread, mobius": f"init --recipe spread --embedding mobius {corpus_flags('short.u16', 3000)} --lags 2 {MODEL} --d-model 128 --null-tokens 0",
    "mimetic": f"init --recipe mimetic {MODEL} --d-model 1024",
}
FIT = "--alpha 0.5 --kappa 50 --ridge 1"
# Kernels run thread by thread there: sizes are those that matrices, tables and counts decide, in half a minute each.
ON_DEVICE = {
    "count, dense": f"init --recipe unigram --strategy dense {corpus_flags('tiny.u16', 3000)} --lags 4 {FEW} --d-model 64",
    "count, striped": f"init --recipe unigram --strategy striped --device-memory 64M {corpus_flags('tiny.u16', 3000)} --lags 4 {FEW} --d-model 64",
    "count, sparse": f"init --recipe unigram --strategy sparse {corpus_flags('short.u16', 8000)} --lags 4 {FEW} --d-model 64",
    "offset": f"init {corpus_flags('tiny.u16', 4000)} --lags 2 {FEW} --d-model 256 {FIT}",
    "offset, wide": f"init {corpus_flags('tiny.u16', 2000)} --lags 4 {FEW} --d-model 384 {FIT}",
    "offset, tucker": f"init --estimator tucker {corpus_flags('tiny.u16', 4000)} --lags 2 {FEW} --d-model 256 --kappa 50",
    "offset, control": f"init --control shuffled {corpus_flags('tiny.u16', 3000)} --lags 2 {FEW} --d-model 256 {FIT}",
    "bigram-head": f"init --recipe bigram-head {corpus_flags('tiny.u16', 4000)} --lags 2 {FEW} --d-model 256 {FIT}",
    "embedding": f"init --recipe embedding {corpus_flags('tiny.u16', 3000)} --lags 2 {FEW} --d-model 256 {FIT}",
    "unigram": f"init --recipe unigram {corpus_flags('tiny.u16', 4000)} --lags 2 {FEW} --d-model 256 --model-vocab-size 30000",
    "spread": f"init --recipe spread {corpus_flags('tiny.u16', 4000)} --lags 2 {FEW} --d-model 256",
    "spread, wide": f"init --recipe spread {corpus_flags('tiny.u16', 2000)} --lags 4 {FEW} --d-model 384 --null-tokens 0",
    "spread, stack": f"init --recipe spread --expand stack {corpus_flags('tiny.u16', 2000)} --lags 3 {FEW} --d-model 256 --null-tokens 0",
    "asymmetry, a file": f"init --recipe asymmetry --embedding small.npy {corpus_flags('tiny.u16', 8000)} --lags 1 {FEW} --d-model 256 --null-tokens 0",
    "spread, mobius": f"init --recipe spread --embedding mobius {corpus_flags('tiny.u16', 1500)} --lags 2 {FEW} --d-model 128 --null-tokens 0",
}
# Other sizes of the same, and other recipes: a plan that fits the tables above alone would fit nothing (--other).
OTHER_ON_CPU = {
    "count, dense, short": f"count --strategy dense {corpus_flags('short.u16', 3000)}",
    "count, striped, short": f"count --strategy striped --memory 180M {corpus_flags('short.u16', 3000)}",
    "count, sparse, 140M": f"count --strategy sparse --memory 140M {corpus_flags('long.u16', 20000)}",
    "count, sparse, 16 lags": f"count --strategy sparse --lags 16 {corpus_flags('long.u16', 20000)}",
    "mimetic, two heads": "init --recipe mimetic --arch llama --layers 3 --heads 2 --context 256 --d-model 1024",
    "mimetic, gpt2": "init --recipe mimetic --arch gpt2 --layers 12 --heads 12 --context 256 --d-model 768",
    "mimetic, deep": "init --recipe mimetic --arch llama --layers 24 --heads 8 --context 256 --d-model 512",
    "mimetic, grouped": "init --recipe mimetic --arch llama --layers 12 --heads 16 --kv-heads 4 --context 256 --d-model 1024",
    "random": f"init --recipe random {MODEL} --d-model 1024",
    "random, wide": "init --recipe random --arch gpt2 --layers 2 --heads 8 --context 256 --d-model 2048",
    "zero-proj, MLPs": f"init --recipe zero-proj {MODEL} --d-model 1024 --mlp-width 4096",
    "orthogonal": f"init --recipe orthogonal {MODEL} --d-model 1024",
    "invariants": "init --recipe invariants --arch llama --layers 4 --heads 8 --context 256 --d-model 768",
    "invariants, grouped": "init --recipe invariants --arch llama --layers 3 --heads 8 --kv-heads 2 --context 256 --d-model 1024",
    "offset, 5000 ids": f"init {corpus_flags('short.u16', 5000)} --lags 2 {MODEL} --d-model 512 {FIT}",
    "offset, gpt2": f"init {corpus_flags('short.u16', 8000)} --lags 1 --arch gpt2 --layers 8 --heads 8 --context 1024 --d-model 512 {FIT}",
    "offset, MLPs": f"init {corpus_flags('short.u16', 2000)} --lags 1 {MODEL} --d-model 768 --mlp-width 3072 {FIT}",
    "offset, on mimetic": f"init --background mimetic {corpus_flags('short.u16', 2000)} --lags 2 {MODEL} --d-model 768 {FIT}",
    "induction": f"init --recipe induction {corpus_flags('short.u16', 8000)} --lags 1 {MODEL} --d-model 512 {FIT}",
    "unigram, gpt2": "init --recipe unigram --arch gpt2 --layers 8 --heads 8 --context 256 --d-model 512 --model-vocab-size 30000 "
                     + corpus_flags("short.u16", 8000) + " --lags 1",
    "spread, deep": f"init --recipe spread {corpus_flags('short.u16', 6000)} --lags 4 --arch llama --layers 24 --heads 8 --context 256 --d-model 384",
    "asymmetry, wide": f"init --recipe asymmetry {corpus_flags('short.u16', 2000)} --lags 1 --arch llama --layers 16 --heads 8 --context 256 --d-model 1024 --null-tokens 0",
    "asymmetry, gpt2": f"init --recipe asymmetry --arch gpt2 --layers 4 --heads 8 --context 256 --d-model 768 --null-tokens 0 --model-vocab-size 40000 {corpus_flags('short.u16', 8000)} --lags 1",
}
OTHER_ON_DEVICE = {
    "count, dense, 8 lags": f"init --recipe unigram --strategy dense {corpus_flags('tiny.u16', 2000)} --lags 8 {FEW} --d-model 64",
    "count, sparse, 1 lag": f"init --recipe unigram --strategy sparse {corpus_flags('short.u16', 30000)} --lags 1 {FEW} --d-model 16",
    "count, sparse, 18M": f"init --recipe unigram --strategy sparse --device-memory 18M {corpus_flags('short.u16', 8000)} --lags 4 {FEW} --d-model 16",
    "offset, 6000 ids": f"init {corpus_flags('tiny.u16', 6000)} --lags 1 {FEW} --d-model 256 {FIT}",
    "induction": f"init --recipe induction {corpus_flags('tiny.u16', 3000)} --lags 1 {FEW} --d-model 256 {FIT}",
    "spread, 1500 ids": f"init --recipe spread {corpus_flags('tiny.u16', 1500)} --lags 4 {FEW} --d-model 256 --null-tokens 0",
    "mimetic": f"init --recipe mimetic {FEW} --d-model 384",
    "mimetic, two heads": "init --recipe mimetic --arch llama --layers 1 --heads 2 --context 64 --d-model 256",
    "orthogonal": f"init --recipe orthogonal {FEW} --d-model 512",
    "invariants": f"init --recipe invariants {FEW} --d-model 384",
}


def token_ids(count, vocab, seed):
    """Zipf's frequencies; what is not among the 64 most frequent belongs to a topic that changes every 300 tokens."""
    draw = random.Random(seed)
    weights, total = [], 0.0
    for rank in range(vocab):
        total += 1 / (rank + 2.7)
        weights.append(total)
    out, shift = array.array("H"), 0
    for i in range(count):
        if i % 300 == 0:
            shift = draw.randrange(vocab // 16) * 16
        rank = bisect.bisect(weights, draw.random() * total, 0, vocab - 1)
        out.append(rank if rank < 64 else 64 + (rank + shift) % (vocab - 64))
    return out


def make_inputs(folder, device):
    def write(name, data):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)

    def npy(rows, columns):
        head = str({"descr": "<f4", "fortran_order": False, "shape": (rows, columns)})
        head += " " * (117 - len(head)) + "\n"
        row = array.array("f", (((i * 2654435761) % 1000) / 500 - 1 for i in range(columns * 7 + 1)))
        body = b"".join(row[i % 7:i % 7 + columns].tobytes() for i in range(rows))
        return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + body

    if device:
        write("tiny.u16", token_ids(60_000, 1500, 3).tobytes())
        write("short.u16", token_ids(300_000, 6000, 4).tobytes())
        write("small.npy", npy(8000, 256))
        return
    write("long.u16", array.array("H", (i % 2000 for i in token_ids(2_000_000, 2000, 1))).tobytes())
    short = token_ids(300_000, 2000, 2)
    write("short.u16", short.tobytes())
    write("text.txt", b" ".join(b"w%d" % i for i in token_ids(1_200_000, 12_000, 4)))
    write("embedding.npy", npy(20000, 512))


def run(program, words, cwd):
    """Its JSON, and the most bytes that were resident."""
    reading, writing = os.pipe()
    errors = tempfile.TemporaryFile()
    process = subprocess.Popen([program, *words], cwd=cwd, stdout=writing, stderr=errors)
    os.close(writing)
    with os.fdopen(reading) as out:
        text = out.read()
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        errors.seek(0)
        sys.exit(f"{' '.join(words)}: status {status}: {errors.read().decode()}")
    return json.loads(text), used.ru_maxrss * 1024


def measured(program, name, flags, folder, device):
    command, *words = flags.split()
    words += ["--backend", "cuda" if device else "cpu", "--threads", "2", "--json"]
    out = ["--output", f"out-{name.replace(' ', '').replace(',', '-')}"]
    result, resident = run(program, [command, *words, *out], folder)
    if command == "count":
        return result["memory_bytes"], resident
    plan, _ = run(program, ["plan", *words], folder)
    if device:
        return plan["device_memory_bytes"], result["peak_device_bytes"]
    return plan["memory_bytes"], resident


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("program")
    flags.add_argument("--device", action="store_true", help="the device's memory, of the CUDA backend")
    flags.add_argument("--other", action="store_true", help="sizes and recipes beside those of the table")
    flags.add_argument("--only", default="", help="configurations whose name holds this")
    flags = flags.parse_args()
    program = os.path.abspath(flags.program)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        if (child := os.fork()) == 0:  # a child's peak begins with its parent's size: this process stays small
            make_inputs(folder, flags.device)
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            sys.exit("the inputs could not be made")
        print("| configuration | planned, MiB | measured, MiB | ratio |\n|---|---|---|---|")
        tables = {(False, False): ON_CPU, (True, False): ON_DEVICE, (False, True): OTHER_ON_CPU, (True, True): OTHER_ON_DEVICE}
        for name, words in tables[flags.device, flags.other].items():
            if flags.only not in name:
                continue
            planned, took = measured(program, name, words, folder, flags.device)
            ratio = planned / took
            fits = LOW <= ratio <= HIGH
            wrong += not fits
            print(f"| {name} | {planned / 2**20:.1f} | {took / 2**20:.1f} | {ratio:.2f}{'' if fits else ' (not within)'} |", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
