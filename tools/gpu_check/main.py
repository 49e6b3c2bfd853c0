"""tools/gpu_check.sh: which steps run, where, and for how long. The report is rewritten after every step."""
import argparse
import datetime
import json
import lzma
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
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(into, filter="data")
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError) as error:
        refuse(f"{archive} cannot be unpacked: {error}; make it anew with tools/gpu_bundle.sh")
    return into


def commit_of(top):
    path = os.path.join(top, "bundle.json")
    try:
        with open(path) as file:
            return json.load(file)["commit"]
    except (OSError, ValueError, KeyError, TypeError):
        refuse(f"{path} is missing or damaged: make the bundle anew with tools/gpu_bundle.sh")


def chosen(only, every):
    """The names of the steps to run; only: as given, "" for all."""
    names = [step.name for step in every]
    wanted = [name.strip() for name in only.split(",")] if only else names
    for name in wanted:
        if name not in names:
            refuse(f"no step is called '{name}': {', '.join(names)}")
    return wanted


def make_room(folder, anew):
    """Folders for the results; anew: without those of an earlier run, since an old figure must not pass for a new one."""
    parts = [os.path.join(folder, part) for part in ("data", "logs")]
    report_file = os.path.join(folder, "gpu_check.json")
    if anew:
        for part in parts:
            if os.path.exists(part) and not os.path.exists(report_file):
                refuse(f"{part} is there, but not of an earlier check: give a folder of its own for the results")
            shutil.rmtree(part, ignore_errors=True)
        if os.path.exists(report_file):
            os.remove(report_file)
    try:
        for part in parts:
            os.makedirs(part, exist_ok=True)
    except OSError as error:
        refuse(f"{folder} cannot be made: {error.strerror}; give a folder for the results")


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
    flags.add_argument("--quick", action="store_true", help="end to end: without the runs on a large vocabulary")
    flags.add_argument("--rehearse", action="store_true", help="every step as it is, but small: for the tests, on stand-ins without a GPU")
    flags.add_argument("--dry-run", action="store_true", help="prints the steps, the call each belongs to and its limit; runs nothing")
    flags = flags.parse_args()
    if flags.budget < 0:
        refuse(f"a budget of {flags.budget:g} s is none: give --budget SECONDS")

    data, logs = (os.path.join(flags.folder, part) for part in ("data", "logs"))
    scratch = os.path.join(ROOT, "build/gpu_check" + ("_rehearsal" if flags.rehearse else ""))
    if flags.dry_run:
        here = flags.bundle or scratch
        places = Places(os.path.join(here, "bin"), data, flags.text or os.path.join(here, "text.txt"), scratch, flags.rehearse)
        before = [] if flags.bundle else build_steps("<this GPU's>", scratch)
        every = before + steps(places, flags.quick)
        wanted = chosen(flags.only, every)
        print("\n".join(plan([step for step in every if step.name in wanted], flags.budget)))
        return 0

    clock = running.Clock(flags.budget)
    commit = ask(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12"])
    if flags.bundle:
        top = unpacked(flags.bundle, os.path.join(scratch, "bundle"))
        commit = commit_of(top)
        programs, own_libraries, text = os.path.join(top, "bin"), [os.path.join(top, "lib")], flags.text or os.path.join(top, "text.txt")
    else:
        programs, own_libraries, text = os.path.join(scratch, "bin"), [], flags.text
    if not os.path.exists(text):
        refuse(f"the text {text or '(none given)'} is not there: give --text FILE")
    about = machine(commit or "unknown")
    os.environ["PATH"] = environment([])["PATH"]
    os.makedirs(scratch, exist_ok=True)
    places = Places(programs, data, os.path.abspath(text), scratch, flags.rehearse)
    every = steps(places, flags.quick) if flags.bundle else build_steps(about["architecture"], scratch) + steps(places, flags.quick)
    names = [step.name for step in every]
    wanted = chosen(flags.only, every)
    make_room(flags.folder, anew=not flags.only and flags.budget > 0)
    os.makedirs(os.path.join(scratch, "peers"), exist_ok=True)

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
    left = report.left_to_run(flags.folder, names)
    verdict = "conformance, end to end and sanitizers are clean" if clean else "NOT clean (or not all run yet)"
    print(f"gpu_check: {verdict}: {flags.folder}/gpu_check.md")
    if left:
        print(f"gpu_check: not run yet; the same command with: --only '{','.join(left)}'")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
