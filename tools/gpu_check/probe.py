"""What this machine is and has: GPU, driver, libraries, tools, and the rates its memory and atomics reach (JSON and lines)."""
import argparse
import json
import os
import platform
import subprocess
import sys

import cuda_libraries

QUERIES = "name,driver_version,compute_cap,memory.total,memory.free,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu,ecc.mode.current"


def ask(command, seconds=5, variables=None):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=variables)
        return (done.stdout + done.stderr).strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"not available: {error}"


def versions():
    out = {}
    for name in ("torch", "cupy", "numpy", "scipy"):
        out[name] = ask([sys.executable, "-c", f"from importlib.metadata import version as v\nprint(v('{name}'))" if name != "cupy" else
                         "from importlib.metadata import distributions as d\nprint(next((x.version for x in d() if x.metadata['Name'].startswith('cupy')), 'missing'))"],
                        variables={**os.environ, "LD_LIBRARY_PATH": ""}).splitlines()[-1]
    return out


def main():
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--programs", required=True)
    flags.add_argument("--output", required=True)
    flags.add_argument("--scale", default="0", help="of the limits: aloft_benchmarks --scale")
    flags = flags.parse_args()
    found, missing = cuda_libraries.find()
    report = {
        "system": f"{platform.system()}, {' '.join(platform.libc_ver())}, {os.cpu_count()} processors",
        "gpu": dict(zip(QUERIES.split(","), [x.strip() for x in ask(["nvidia-smi", f"--query-gpu={QUERIES}", "--format=csv,noheader"]).split(",")])),
        "cuda_libraries": found,
        "cuda_libraries_missing": missing,
        "ncu": ask(["ncu", "--version"]).splitlines()[-1:],
        "compute-sanitizer": ask(["compute-sanitizer", "--version"]).splitlines()[-1:],
        "python": versions(),
        "doctor": ask([os.path.join(flags.programs, "aloft"), "doctor"]).splitlines(),
    }
    limits = [os.path.join(flags.programs, "aloft_benchmarks"), "--benchmark_filter=^limit_.*/cuda", "--benchmark_format=json", "--scale", flags.scale]
    try:
        told = json.loads(subprocess.run(limits, capture_output=True, text=True, timeout=12).stdout)["benchmarks"]
        report["limits"] = {f"{entry['name'].split('/')[0]}, {k}": v for entry in told for k, v in entry.items() if k.endswith("/s")}
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        report["limits"] = {}
        print(f"no limits: {error}")
    with open(flags.output, "w") as out:
        json.dump(report, out, indent=1)
    for key, value in report.items():
        print(f"{key}: {value}")
    return 1 if missing or not report["doctor"] or report["doctor"][0].startswith("not available") else 0


if __name__ == "__main__":
    sys.exit(main())
