"""A short trial of the `full` preset at its 10-million-parameter size, on the GPU: the same few hundred steps for a random init and the
designed ones, one seed, as many arms as the time allows. A first look, not a result: a result has tuned rates and seeds (profiles/training.md)."""
import argparse
import json
import os
import sys
import time

import cuda_libraries

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools/python"))


def with_libraries(program, scratch):
    """A script that starts `program` with its own libraries: torch, in this process, must not see them."""
    path = os.path.join(scratch, "aloft")
    folders = [os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(program))), "lib"), *cuda_libraries.find()[0]]
    with open(path, "w") as out:
        out.write(f'#!/bin/sh\nLD_LIBRARY_PATH="{os.pathsep.join(folders)}:$LD_LIBRARY_PATH" exec "{os.path.abspath(program)}" "$@"\n')
    os.chmod(path, 0o755)
    return path


def main():
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--aloft", required=True)
    flags.add_argument("--text", required=True)
    flags.add_argument("--scratch", required=True)
    flags.add_argument("--output", required=True)
    flags.add_argument("--steps", type=int, default=300)
    flags.add_argument("--seconds", type=float, default=45, help="no arm is started later")
    flags.add_argument("--arms", default="random,offset,bigram-head")
    flags.add_argument("--peak", type=float, default=0.002)
    flags = flags.parse_args()
    start = time.monotonic()
    from aloft.trial.jobs import Job, Trial
    from aloft.trial.run import load_spec

    spec = load_spec("full")
    spec["corpus"]["text"] = flags.text
    spec["training"].update(warmup=min(spec["training"]["warmup"], flags.steps // 5), validation_tokens=32768, test_tokens=0)
    trial = Trial(spec, os.path.join(flags.scratch, "trial"), with_libraries(flags.aloft, flags.scratch))
    jobs = []
    model = spec["model"]
    about = (f"{model['layers']} layers, width {model['width']}, context {model['context']}, vocabulary {model['vocab']}, {flags.steps} steps of "
             f"{spec['training']['batch']} x {model['context']} tokens, peak rate {flags.peak}, one seed, one rate: a first look.")
    for arm in flags.arms.split(","):
        if time.monotonic() - start > flags.seconds:
            break
        began = time.monotonic()
        result = trial.run(Job(arm=arm, peak=flags.peak, steps=flags.steps, seed=0))
        jobs.append({"arm": arm, "steps": flags.steps, "initial": result["initial"], "final": result["final"], "seconds": time.monotonic() - began})
        print(jobs[-1], flush=True)
        with open(flags.output + ".part", "w") as out:
            json.dump({"about": about, "jobs": jobs}, out, indent=1)
        os.replace(flags.output + ".part", flags.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
