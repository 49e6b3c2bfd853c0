"""What the steps of gpu_check mean: each one's verdict, and the tables written at the end."""
import csv
import glob
import json
import os
import re
import subprocess
import sys

# Nsight Compute's names, and what a reader of the table wants to know (profiles/nsight.md).
METRICS = {
    "gpu__time_duration.sum": "time, ns",
    "l1tex__t_set_accesses_pipe_lsu_mem_global_op_red.sum": "global reductions",
    "l1tex__t_set_accesses_pipe_lsu_mem_global_op_atom.sum": "global atomics that return",
    "lts__t_sectors_op_red.sum": "L2 sectors, reductions",
    "lts__t_sectors_op_atom.sum": "L2 sectors, atomics",
    "lts__t_sector_hit_rate.pct": "L2 hit rate, %",
    "dram__bytes_read.sum": "DRAM read, bytes",
    "dram__bytes_write.sum": "DRAM written, bytes",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "occupancy, %",
}


def tests_in(report):
    """(run, failed, skipped) tests of GoogleTest's JSON; (0, 0, 0) where there is none."""
    try:
        with open(report) as file:
            suites = json.load(file)["testsuites"]
    except (OSError, ValueError, KeyError):
        return 0, 0, 0
    tests = [t for suite in suites for t in suite["testsuite"]]
    skipped = sum(t.get("result") == "SKIPPED" for t in tests)
    return sum(t.get("result") == "COMPLETED" for t in tests), sum("failures" in t for t in tests), skipped


def last_line(path):
    with open(path, errors="replace") as log:
        lines = [line.strip() for line in log if line.strip()]
    return lines[-1][:160] if lines else ""


def summary_line(path):
    """compute-sanitizer's own summary ("ERROR SUMMARY: 0 errors", "RACECHECK SUMMARY: 0 hazards displayed ..."), or ""."""
    with open(path, errors="replace") as log:
        found = [line.strip("= \n") for line in log if re.search(r"(ERROR|RACECHECK) SUMMARY:", line)]
    return found[-1] if found else ""


def missing_packages(path):
    """One line that names what the build lacks, from a failed configure or installation."""
    with open(path, errors="replace") as log:
        text = log.read()
    for pattern in (r"installing: (.+)", r"install by hand: (.+)"):
        if found := re.search(pattern, text):
            return "missing: " + found.group(1)
    names = re.findall(r"Could NOT find (\w+)", text) + re.findall(r'provided by "(\w+)"', text) + re.findall(r"No package '(\S+)' found", text)
    return "missing: " + ", ".join(dict.fromkeys(names)) if names else last_line(path)


def verdict(step, code, limit, log_path):
    """(status, detail). A test run passes only if tests ran and none was skipped; a sanitizer's only with a clean summary."""
    run, failed, skipped = tests_in(step.report) if step.report else (0, 0, 0)
    if code is None:
        return "timed out", f"after {limit:.0f} s"
    detail = ""
    if step.report:
        detail = f"{run} tests run, {failed} failed, {skipped} skipped"
        if run == 0 and code == 0:
            return "failed", "no test ran"
    if step.name.startswith("sanitizer"):
        summary = summary_line(log_path)
        detail += f"; {summary or 'no summary'}"
        if code == 0 and not re.search(r"SUMMARY: 0 ", summary):
            return "failed", detail
    if step.gate and code == 0 and skipped:
        return "failed", detail
    if code != 0:
        told = missing_packages(log_path) if step.name in ("packages", "configure") else last_line(log_path)
        return "failed", f"exit status {code}; {detail or told}"
    return "passed", detail


def join_logs(names, made, path):
    with open(path, "w") as out:
        for name in names:
            log = os.path.join(made, name.replace(" ", "_") + ".log")
            if os.path.exists(log):
                with open(log, errors="replace") as part:
                    text = part.read()
                out.write(f"==== {name}\n{text[-200_000:]}\n")


def kernel_rows(path):
    """One row a kernel: launches and the median of each metric. Nsight Compute's raw page: a header, a line of units, data."""
    try:
        with open(path, errors="replace") as file:
            lines = [line for line in file if line.startswith('"')]
    except OSError:
        return []
    records = list(csv.DictReader(lines))[1:]
    kernels = {}
    for record in records:
        values = kernels.setdefault(record["Kernel Name"], {m: [] for m in METRICS})
        for metric in METRICS:
            text = (record.get(metric) or "").replace(",", "")
            if re.fullmatch(r"[-+0-9.eE]+", text):
                values[metric].append(float(text))
    middle = lambda xs: sorted(xs)[len(xs) // 2] if xs else None
    return [{"kernel": k, "launches": max(map(len, v.values())), **{m: middle(v[m]) for m in METRICS}} for k, v in kernels.items()]


def benchmark_report(made):
    """The merged table of profiles/benchmark_table.py, as (JSON or None, Markdown lines)."""
    benchmarks = [p for p in sorted(glob.glob(f"{made}/*.json")) if is_benchmark(p)]
    if not benchmarks:
        return None, ["No benchmark finished."]
    peers = [p for p in [f"{made}/peers.json"] if os.path.exists(p)]
    markdown, data = f"{made}/benchmark_table.md", f"{made}/benchmark_table.out"
    command = [sys.executable, "profiles/benchmark_table.py", "--benchmarks", *benchmarks, "--markdown", markdown, "--json", data]
    try:
        subprocess.run(command + (["--peers", *peers] if peers else []), check=True, capture_output=True, text=True, timeout=30)
    except subprocess.SubprocessError as error:
        return None, [f"The benchmark table could not be made: {getattr(error, 'stderr', '') or error}"]
    with open(data) as file, open(markdown) as text:
        return json.load(file), text.read().splitlines()[1:]


def is_benchmark(path):
    try:
        with open(path) as file:
            return "benchmarks" in json.load(file)
    except (OSError, ValueError):
        return False  # cut off by its time limit


def figure(x):
    return "" if x is None else f"{x:.4g}"


def write(folder, about, results, made):
    """gpu_check.md and gpu_check.json, from the steps and what they left in the folder `made`. True if every step that decides passed."""
    gates = [r for r in results if r["gate"]]
    passed = bool(gates) and all(r["status"] == "passed" for r in gates)
    kernels = {os.path.basename(p)[4:-4]: kernel_rows(p) for p in sorted(glob.glob(f"{made}/ncu_*.csv"))}
    benchmarks, benchmark_lines = benchmark_report(made)
    lines = [
        f"# GPU check: {about['gpu']}",
        "",
        f"{about['date']}, commit {about['commit']}. {about['gpu']} (sm_{about['architecture']}, {about['memory']}), driver {about['driver']}, nvcc {about['nvcc']}.",
        "",
        f"Conformance and sanitizers: **{'clean' if passed else 'NOT clean'}**. {sum(r['seconds'] for r in results):.0f} s of steps.",
        "",
        "| step | result | seconds | |",
        "|---|---|---|---|",
        *(f"| {r['name']} | {r['status']} | {r['seconds']} | {r['detail'].replace('|', '/')} |" for r in results),
        "",
        "## Benchmarks",
        *benchmark_lines,
        "",
        "## Kernels (Nsight Compute, median of launches)",
        "",
    ]
    if any(kernels.values()):
        lines += ["| case | kernel | launches | " + " | ".join(METRICS.values()) + " |", "|---" * (3 + len(METRICS)) + "|"]
        for case, rows in kernels.items():
            lines += [f"| {case} | {r['kernel']} | {r['launches']} | " + " | ".join(figure(r[m]) for m in METRICS) + " |" for r in rows]
    else:
        lines.append("None was profiled.")
    lines += ["", "## Commands", "", *(f"    {r['command']}" for r in results), ""]
    with open(os.path.join(folder, "gpu_check.md"), "w") as out:
        out.write("\n".join(lines))
    with open(os.path.join(folder, "gpu_check.json"), "w") as out:
        json.dump({**about, "clean": passed, "steps": results, "kernels": kernels, "benchmarks": benchmarks}, out, indent=1)
        out.write("\n")
    return passed
