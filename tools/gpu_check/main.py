"""tools/gpu_check.sh: which steps run, where, and for how long. The report is rewritten after every step."""
import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tarfile

import cuda_libraries
import report
import running
from steps import ROOT, Places, build_steps, steps

BUDGET = 420  # two calls of this many seconds cover everything


def refuse(text):
    print(f"gpu_check: {text}", file=sys.stderr)
    raise SystemExit(2)


def ask(command):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def machine(commit):
    query = ask(["nvidia-smi", "--query-gpu=name,compute_cap,driver_version,memory.total", "--format=csv,noheader"]).splitlines()
    name, capability, driver, memory = [x.strip() for x in query[0].split(",")] if query else ("unknown", "0.0", "unknown", "unknown")
    release = [word for word in ask(["nvcc", "--version"]).replace(",", " ").split() if word.startswith("V")]
    return {"gpu": name, "architecture": capability.replace(".", ""), "driver": driver, "memory": memory, "nvcc": release[-1] if release else "none",
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "commit": commit}


def unpacked(bundle, into):
    """The bundle's folder with bin/ and lib/: `bundle` itself, or its archive unpacked."""
    if os.path.isdir(os.path.join(bundle, "bin")):
        return bundle
    archive = os.path.join(bundle, "aloft-gpu.tar.xz")
    if not os.path.exists(archive):
        refuse(f"{bundle} is no bundle: neither bin/ nor aloft-gpu.tar.xz is in it (tools/gpu_bundle.sh makes one)")
    shutil.rmtree(into, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")
    return into


def environment(libraries):
    tools = [os.path.join(base, name) for base in ("/opt/nvidia/nsight-compute",) if os.path.isdir(base) for name in sorted(os.listdir(base), reverse=True)]
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/cuda/bin", *tools])
    given = os.environ.get("LD_LIBRARY_PATH")
    return {**os.environ, "PATH": path, "LD_LIBRARY_PATH": os.pathsep.join(libraries + ([given] if given else []))}


def plan(all_steps, budget):
    """Lines of a dry run: the call in which each step's turn comes when every step takes its whole limit."""
    call, used = 1, 0
    for step in all_steps:
        if used and used + step.limit > budget:
            call, used = call + 1, 0
        used += step.limit
        yield f"call {call}  {step.limit:4} s  {step.name:22} {len(step.jobs):3} job{'s' if len(step.jobs) > 1 else ' '}  {' '.join(step.jobs[0].command)}"


def main():
    flags = argparse.ArgumentParser(prog="gpu_check", description="tools/gpu_check.sh says more")
    flags.add_argument("folder", help="for the results")
    flags.add_argument("--bundle", default="", help="of tools/gpu_bundle.sh: nothing is compiled")
    flags.add_argument("--budget", type=int, default=BUDGET, help="seconds for all steps; those at the end are left out (default: %(default)s)")
    flags.add_argument("--only", default="", help="STEP,...: these alone; the results of others stay in the report")
    flags.add_argument("--text", default="", help="real text (default: the bundle's)")
    flags.add_argument("--dry-run", action="store_true", help="prints the steps, the call each belongs to and its limit; runs nothing")
    flags = flags.parse_args()

    data, logs = (os.path.join(flags.folder, part) for part in ("data", "logs"))
    scratch = os.path.join(ROOT, "build/gpu_check")
    if flags.dry_run:
        here = flags.bundle or scratch
        places = Places(os.path.join(here, "bin"), data, flags.text or os.path.join(here, "text.txt"), scratch)
        before = [] if flags.bundle else build_steps("<this GPU's>", scratch)
        print("\n".join(plan(before + steps(places), flags.budget)))
        return 0

    clock = running.Clock(flags.budget)
    os.makedirs(scratch, exist_ok=True)
    commit = ask(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12"])
    if flags.bundle:
        top = unpacked(flags.bundle, os.path.join(scratch, "bundle"))
        with open(os.path.join(top, "bundle.json")) as file:
            commit = json.load(file)["commit"]
        programs, own_libraries, text = os.path.join(top, "bin"), [os.path.join(top, "lib")], flags.text or os.path.join(top, "text.txt")
    else:
        programs, own_libraries, text = os.path.join(scratch, "bin"), [], flags.text
    if not os.path.exists(text):
        refuse(f"the text {text or '(none given)'} is not there: give --text FILE")
    about = machine(commit or "unknown")
    os.environ["PATH"] = environment([])["PATH"]
    places = Places(programs, data, os.path.abspath(text), scratch)
    every = steps(places) if flags.bundle else build_steps(about["architecture"], scratch) + steps(places)
    names = [step.name for step in every]
    wanted = [name.strip() for name in flags.only.split(",")] if flags.only else names
    for name in wanted:
        if name not in names:
            refuse(f"no step is called '{name}': {', '.join(names)}")
    if not flags.only:  # an old figure must not pass for a new one
        for old in (data, logs):
            shutil.rmtree(old, ignore_errors=True)
    for made in (flags.folder, data, logs, os.path.join(scratch, "peers")):
        os.makedirs(made, exist_ok=True)

    about["gates"] = {step.name for step in every if step.gate}
    found, missing = cuda_libraries.find()
    if missing:
        print(f"gpu_check: CUDA libraries missing here: {', '.join(missing)}; looked in {', '.join(cuda_libraries.folders())}", file=sys.stderr)
    variables = environment(own_libraries + found)
    for step in every:
        if step.name not in wanted:
            continue
        record = running.run_step(step, clock, logs, {**variables, "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")} if step.python else variables)
        clean = report.write(flags.folder, about, record, names)
        print(f"gpu_check: {step.name}: {record['status']} in {record['seconds']} s {record['detail']}", flush=True)
    print(f"gpu_check: {'conformance, end to end and sanitizers are clean' if clean else 'NOT clean (or not all run yet)'}: {flags.folder}/gpu_check.md")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
