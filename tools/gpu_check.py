"""The steps of tools/gpu_check.sh, each with its own time limit; a step that fails does not stop the others."""
import argparse
import datetime
import glob
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import gpu_check_report

BUILD = "build/gpu_check"
OUT = f"{BUILD}/results"  # emptied at the start: an old figure must not pass for a new one
PEERS = f"{OUT}/peers"
TESTS, BENCHMARKS = f"{BUILD}/tests/aloft_tests", f"{BUILD}/aloft_benchmarks"
TOTAL_SECONDS = 530  # under 9 minutes with the tables; a step's own limit shrinks to what is left of it
# Suites that run once a backend: their names end in the backend's. A skipped test counts as a failure, so the one about OpenMP's
# threads is left out by name.
CONFORMANCE = "*/cuda:Backends.*:-*ThreadCount*"
# Sanitizers make a kernel 10 to 1000 times slower: only the suites of the contract itself and of the chunk feed, in which every
# kernel and every copy occurs, without the tests whose point is a large input.
SANITIZED_SUITES = ("*Ops*", "CountEdges*", "CsrAdd*", "FillNormal*", "SkewSpectrum*", "ChunkFeed*")
SANITIZED = ":".join(f"Each/{suite}/cuda" for suite in SANITIZED_SUITES) + ":-*ThreadCount*:*Largest*"
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
HOT_KERNELS = "regex:count_pairs|increment_random"  # the counting kernels, and the plain random increments they are measured against
METRICS = ",".join(gpu_check_report.METRICS)


@dataclass
class Step:
    name: str
    command: list
    limit: int  # seconds
    needs: str = ""  # a program, or a file that an earlier step made
    gate: bool = False  # decides the exit code
    together: str = ""  # consecutive steps of one group run at the same time
    report: str = ""  # GoogleTest's JSON, which must show that tests ran
    extra_environment: dict = field(default_factory=dict)


def benchmark(name, pattern, limit, flags):
    """The limits inside a case are measured in the same run; one repetition is a median of 5 to 20 runs."""
    command = [BENCHMARKS, f"--benchmark_filter={pattern}", f"--benchmark_out={OUT}/{name}.json", "--benchmark_out_format=json"]
    return Step(f"benchmark {name}", command + ["--write-inputs", PEERS, "--write-results", PEERS] + flags, limit, needs=BENCHMARKS)


def profiled(case):
    """Nsight Compute on one case: its limit's kernel (16 launches come first) and its own."""
    command = ["ncu", "--csv", "--page", "raw", "--print-units", "base", "--clock-control", "none", "--kernel-name-base", "function"]
    command += ["--kernel-name", HOT_KERNELS, "--launch-count", "28", "--kill", "on", "--metrics", METRICS]
    command += ["--log-file", f"{OUT}/ncu_{case}.csv", BENCHMARKS, f"--benchmark_filter=^{case}_zipf.*/cuda"]
    return Step(f"ncu {case}", command, 15, needs="ncu")


def steps(architecture, text, debs):
    jobs = str(os.cpu_count() or 1)
    flags = ["--text", text] if text else []
    generator = "Ninja" if shutil.which("ninja") else "Unix Makefiles"
    configure = ["cmake", "-S", ".", "-B", BUILD, "-G", generator, "-DCMAKE_BUILD_TYPE=Release", "-DALOFT_CUDA=ON", "-DALOFT_TESTS=ON"]
    configure += ["-DALOFT_BENCHMARKS=ON", "-DALOFT_WERROR=OFF", f"-DCMAKE_CUDA_ARCHITECTURES={architecture}-real", "-DCMAKE_CUDA_FLAGS=-lineinfo"]
    keep_going = ["-k", "0"] if generator == "Ninja" else ["-k"]
    if debs:
        packages = Step("packages", ["tools/gpu_packages.sh", "--unpack", debs, f"{BUILD}/debs"], 40)
    else:
        packages = Step("packages", ["tools/install_dependencies.sh", "libgtest-dev", "libeigen3-dev", "libbenchmark-dev"], 40)
    required = {"ALOFT_EXPECT_BACKEND": "cuda"}
    out = [
        packages,
        Step("configure", configure, 25, needs="cmake"),
        Step("build", ["cmake", "--build", BUILD, "-j", jobs, "--target", "aloft", "aloft_tests", "aloft_benchmarks", "--"] + keep_going, 170),
    ]

    def tests(name, prefix, pattern, limit, together=""):
        report = f"{OUT}/{name.replace(' ', '_')}.json"
        command = prefix + [TESTS, f"--gtest_filter={pattern}", "--gtest_brief=1", f"--gtest_output=json:{report}"]
        return Step(name, command, limit, TESTS, True, together, report, required)

    out.append(tests("conformance", [], CONFORMANCE, 55))
    for tool in SANITIZERS:
        prefix = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "99", "--print-limit", "20"]
        if tool != "memcheck":  # the vendor's kernels are the vendor's business; memcheck watches what we hand them
            prefix += ["--kernel-regex", "kns=aloft"]
        out.append(tests(f"sanitizer {tool}", prefix, SANITIZED, 80, "sanitizers"))
    peers = ["python3", "profiles/peers.py", "--folder", PEERS, "--output", f"{OUT}/peers.json", "--device", "gpu", "--seconds", "0.2", "--deadline", "25", "--lags", "2"]
    out += [
        benchmark("counting", "^B[123].*/cuda", 40, flags),
        benchmark("projection", "^B4.*/cuda", 25, flags),
        benchmark("antisymmetric", "^B5_anti.*_batch8.*/cuda", 15, []),
        benchmark("antisymmetric_many", "^B5_anti.*_batch64.*/cuda", 25, []),
        benchmark("general", "^B5_general.*_batch8.*/cuda", 20, []),
        Step("peers", peers, 35, needs=PEERS, extra_environment={"LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")}),
        profiled("B1"),
        profiled("B2"),
    ]
    return out


def environment(debs):
    """Where to find libraries that were unpacked and not installed: nothing but search paths."""
    out = dict(os.environ, PATH=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/cuda/bin"] + glob.glob("/opt/nvidia/nsight-compute/*")))
    if debs:
        top = os.path.abspath(f"{BUILD}/debs")
        root, lib = f"{top}/usr", f"{top}/usr/lib/x86_64-linux-gnu"
        libraries = [f"{lib}/openblas-pthread", lib]
        found = {
            "PATH": [f"{root}/bin"],
            "CMAKE_PREFIX_PATH": [root],
            "LIBRARY_PATH": libraries,
            "LD_LIBRARY_PATH": libraries,
        }
        out["PKG_CONFIG_SYSROOT_DIR"] = top
        out["PKG_CONFIG_LIBDIR"] = os.pathsep.join([f"{lib}/openblas-pthread/pkgconfig", f"{lib}/pkgconfig", f"{root}/share/pkgconfig"])
        for name, folders in found.items():
            out[name] = os.pathsep.join(folders + ([out[name]] if out.get(name) else []))
    return out


def run(step, limit, log_path, variables):
    """{name, command, status, seconds, detail}; the output goes to log_path."""
    result = {"name": step.name, "command": " ".join(step.command), "gate": step.gate, "seconds": 0.0}
    if step.needs and not (os.path.exists(step.needs) or shutil.which(step.needs, path=variables["PATH"])):
        return {**result, "status": "not run", "detail": f"{step.needs} is missing"}
    if limit <= 0:
        return {**result, "status": "not run", "detail": "out of time"}
    start = time.monotonic()
    with open(log_path, "wb") as log:
        try:
            process = subprocess.Popen(step.command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env={**variables, **step.extra_environment}, start_new_session=True)
        except OSError as error:
            return {**result, "status": "failed", "detail": str(error)}
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = None
    result["seconds"] = round(time.monotonic() - start, 1)
    status, detail = gpu_check_report.verdict(step, code, limit, log_path)
    return {**result, "status": status, "detail": detail}


def groups_of(all_steps):
    out = []
    for step in all_steps:
        if step.together and out and out[-1][0].together == step.together:
            out[-1].append(step)
        else:
            out.append([step])
    return out


def run_all(all_steps, folder, variables, total=TOTAL_SECONDS):
    start, results = time.monotonic(), []
    for group in groups_of(all_steps):
        done, threads = {}, []
        for step in group:
            limit = min(step.limit, total - (time.monotonic() - start))
            path = os.path.join(OUT, step.name.replace(" ", "_") + ".log")
            threads.append(threading.Thread(target=lambda s=step, t=limit, p=path: done.update({s.name: run(s, t, p, variables)})))
            threads[-1].start()
        for thread in threads:
            thread.join()
        for step in group:
            results.append(done[step.name])
            print(f"gpu_check: {step.name}: {results[-1]['status']} in {results[-1]['seconds']} s {results[-1]['detail']}", flush=True)
    gpu_check_report.join_logs([s.name for s in all_steps], OUT, os.path.join(folder, "log.txt"))
    return results


def ask(command):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def machine():
    query = ask(["nvidia-smi", "--query-gpu=name,compute_cap,driver_version,memory.total", "--format=csv,noheader"]).splitlines()
    name, capability, driver, memory = [x.strip() for x in query[0].split(",")] if query else ("unknown", "0.0", "unknown", "unknown")
    release = [word for word in ask(["nvcc", "--version"]).replace(",", " ").split() if word.startswith("V")]
    commit = ask(["git", "describe", "--always", "--dirty", "--abbrev=12"]) or os.environ.get("ALOFT_COMMIT", "unknown")
    return {"gpu": name, "architecture": capability.replace(".", ""), "driver": driver, "memory": memory, "nvcc": release[-1] if release else "unknown",
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "commit": commit}


def main():
    flags = argparse.ArgumentParser(prog="gpu_check")
    flags.add_argument("folder")
    flags.add_argument("--dry-run", action="store_true")
    flags.add_argument("--text", default="")
    flags.add_argument("--debs", default="")
    flags = flags.parse_args()
    if flags.dry_run:
        for step in steps("<this GPU's>", flags.text, flags.debs):
            print(f"{step.limit:4} s  {step.name:22} {' '.join(step.command)}")
        return 0
    shutil.rmtree(OUT, ignore_errors=True)
    for folder in (flags.folder, PEERS):
        os.makedirs(folder, exist_ok=True)
    about = machine()
    results = run_all(steps(about["architecture"], flags.text, flags.debs), flags.folder, environment(flags.debs))
    passed = gpu_check_report.write(flags.folder, about, results, OUT)
    print(f"gpu_check: {'conformance and sanitizers are clean' if passed else 'NOT clean'}: {flags.folder}/gpu_check.md")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
