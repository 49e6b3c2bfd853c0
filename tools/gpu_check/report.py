"""What the jobs of gpu_check mean: each one's verdict, and the report written anew after every step."""
import csv
import glob
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Nsight Compute's names, and what a reader of the table wants to know (profiles/nsight.md), in groups that are asked for one at a time.
METRICS = {
    "time": {"gpu__time_duration.sum": "time, ns", "sm__warps_active.avg.pct_of_peak_sustained_active": "occupancy, %"},
    "global": {"l1tex__t_set_accesses_pipe_lsu_mem_global_op_red.sum": "global reductions",
               "l1tex__t_set_accesses_pipe_lsu_mem_global_op_atom.sum": "global atomics that return"},
    "l2": {"lts__t_sectors_op_red.sum": "L2 sectors, reductions", "lts__t_sectors_op_atom.sum": "L2 sectors, atomics",
           "lts__t_sector_hit_rate.pct": "L2 hit rate, %"},
    "dram": {"dram__bytes_read.sum": "DRAM read, bytes", "dram__bytes_write.sum": "DRAM written, bytes"},
    "shared": {"smsp__inst_executed_op_shared_atom.sum": "shared atomics, instructions",
               "l1tex__data_pipe_lsu_wavefronts_mem_shared_op_atom.sum": "shared atomics, wavefronts"},
    "stalls": {"smsp__average_warps_issue_stalled_lg_throttle_per_issue_active.ratio": "stalled: lg_throttle",
               "smsp__average_warps_issue_stalled_long_scoreboard_per_issue_active.ratio": "stalled: long_scoreboard",
               "smsp__average_warps_issue_stalled_mio_throttle_per_issue_active.ratio": "stalled: mio_throttle",
               "smsp__average_warps_issue_stalled_short_scoreboard_per_issue_active.ratio": "stalled: short_scoreboard"},
}


def text_of(path):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def json_of(path):
    """What the file holds, or None: missing, or cut off by a time limit."""
    try:
        return json.loads(text_of(path))
    except ValueError:
        return None


def tests_in(path):
    """(run, failed, skipped) of GoogleTest's JSON: a number and two lists of names; None where there is none."""
    report = json_of(path)
    if not report or "testsuites" not in report:
        return None
    tests = [(f"{suite.get('name', '')}.{t.get('name', '')}", t) for suite in report["testsuites"] for t in suite["testsuite"]]
    named = lambda wanted: [name for name, t in tests if wanted(t)]
    return len(named(lambda t: t.get("result") == "COMPLETED")), named(lambda t: "failures" in t), named(lambda t: t.get("result") == "SKIPPED")


def last_line(path):
    lines = [line.strip() for line in text_of(path).splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def summary_line(path):
    """compute-sanitizer's own summary ("ERROR SUMMARY: 0 errors", "RACECHECK SUMMARY: 0 hazards displayed ..."), or ""."""
    found = [line.strip("= \n") for line in text_of(path).splitlines() if re.search(r"(ERROR|RACECHECK) SUMMARY:", line)]
    return found[-1] if found else ""


def missing_packages(path):
    """One line that names what the build lacks, from a failed configure or installation."""
    text = text_of(path)
    for pattern in (r"installing: (.+)", r"install by hand: (.+)"):
        if found := re.search(pattern, text):
            return "missing: " + found.group(1)
    names = re.findall(r"Could NOT find (\w+)", text) + re.findall(r'provided by "(\w+)"', text) + re.findall(r"No package '(\S+)' found", text)
    return "missing: " + ", ".join(dict.fromkeys(names)) if names else last_line(path)


def job_verdict(step, job, made, log_path):
    """(status, detail). A test run passes only if tests ran; a sanitizer's only with a clean summary. Skipped tests are named."""
    if made["limit"] == 0:
        return "not run", "out of time"
    tests = tests_in(job.made) if "gtest_output" in made["command"] else None
    if made["code"] is None:
        return "timed out", f"after {made['limit']} s; {last_line(log_path)}"
    detail = []
    if "gtest_output" in made["command"]:
        run, failed, skipped = tests or (0, [], [])
        made["tests"] = {"run": run, "failed": failed, "skipped": skipped}
        detail.append(f"{run} run, {len(failed)} failed" + (f": {', '.join(failed)}" if failed else ""))
        if run == 0 and made["code"] == 0 and not skipped and step.side_by_side == 1:
            return "failed", "no test ran"
    if step.name.startswith("sanitizer"):
        summary = summary_line(log_path)
        detail.append(summary or "no summary")
        if made["code"] == 0 and not re.search(r"SUMMARY: 0 ", summary):
            return "failed", "; ".join(detail)
    if made["code"] != 0:
        told = missing_packages(log_path) if step.name in ("packages", "configure") else last_line(log_path)
        return "failed", f"exit status {made['code']}; {'; '.join(detail) or told}"
    if job.made and not os.path.exists(job.made):
        return "failed", f"{os.path.basename(job.made)} was not written: {last_line(log_path)}"
    return "passed", "; ".join(detail)


def step_verdict(jobs):
    """(status, detail) of a step: passed if every job did; tests added up over its jobs."""
    tests = [job["tests"] for job in jobs if "tests" in job]
    detail = []
    if tests:
        run, failed, skipped = sum(t["run"] for t in tests), sum((t["failed"] for t in tests), []), sum((t["skipped"] for t in tests), [])
        detail.append(f"{run} tests run, {len(failed)} failed, {len(skipped)} skipped")
        if skipped:
            detail.append("skipped: " + ", ".join(skipped))
        if run == 0 and all(job["code"] == 0 for job in jobs):
            return "failed", "no test ran"
    bad = [job for job in jobs if job["status"] != "passed"]
    detail += [(f"{job['name']}: " if len(jobs) > 1 else "") + f"{job['status']}, {job['detail']}" for job in bad]
    if not bad:
        return "passed", "; ".join(detail)
    for status in ("failed", "timed out", "not run"):
        if any(job["status"] == status for job in bad):
            return status, "; ".join(detail)
    return "failed", "; ".join(detail)


def kernel_rows(paths):
    """One row a kernel: launches and the median of each metric, merged over the groups' files. Nsight Compute's raw page: a header, a
    line of units, data."""
    kernels = {}
    for path in paths:
        records = list(csv.DictReader(line for line in text_of(path).splitlines() if line.startswith('"')))[1:]
        for record in records:
            name = re.sub(r"\(.*|<unnamed>::", "", record["Kernel Name"].replace("(anonymous namespace)::", ""))
            values = kernels.setdefault(name, {})
            for group in METRICS.values():
                for metric in group:
                    text = (record.get(metric) or "").replace(",", "")
                    if re.fullmatch(r"[-+0-9.eE]+", text):
                        values.setdefault(metric, []).append(float(text))
    middle = lambda xs: sorted(xs)[len(xs) // 2]
    return [{"kernel": k, "launches": max(map(len, v.values()), default=0), **{m: middle(xs) for m, xs in v.items()}} for k, v in kernels.items()]


def benchmark_report(data):
    """The merged table of profiles/benchmark_table.py, as (JSON or None, Markdown lines)."""
    benchmarks = [p for p in sorted(glob.glob(f"{data}/benchmark_*.json")) if "benchmarks" in (json_of(p) or {})]
    if not benchmarks:
        return None, ["No benchmark finished."]
    peers = [p for p in sorted(glob.glob(f"{data}/peers_*.json")) if json_of(p)]
    markdown, merged = f"{data}/table.md", f"{data}/table.json"
    command = [sys.executable, f"{ROOT}/profiles/benchmark_table.py", "--benchmarks", *benchmarks, "--markdown", markdown, "--json", merged]
    try:
        subprocess.run(command + (["--peers", *peers] if peers else []), check=True, capture_output=True, text=True, timeout=30)
    except subprocess.SubprocessError as error:
        return None, [f"The benchmark table could not be made: {getattr(error, 'stderr', '') or error}"]
    return json_of(merged), text_of(markdown).splitlines()[1:]


def figure(x):
    return "" if x is None else f"{x:.4g}"


def end_to_end_lines(told):
    if not told:
        return ["Not run."]
    lines = ["| run | backend | whole program, s | tokens/s | stages, s | beside the CPU |", "|---|---|---|---|---|---|"]
    for run in told["runs"]:
        for backend in ("cuda", "cpu"):
            row = run.get(backend)
            if row and "wall" in row:
                stages = ", ".join(f"{k} {v:.3g}" for k, v in row["stages"].items())
                verdict = ", ".join(f"{k} {v if isinstance(v, bool) else figure(v)}" for k, v in run.get("figures", {}).items()) if backend == "cuda" else ""
                rate = row["tokens"] / row["stages"]["count"]
                lines.append(f"| {run['name']} | {backend} | {row['wall']:.2f} | {figure(rate)} | {stages} | {verdict} |")
            else:
                lines.append(f"| {run['name']} | {backend} | {'stopped after ' + str(row['stopped_after']) if row else 'failed'} | | | |")
    return lines + ["", f"tokens/s: of the stage count, streamed from disk. Tolerance of kernels and norms: {told['tolerance']}.",
                    *(f"- FAILED: {text}" for text in told["failures"]), "", *(f"    {run['command']}" for run in told["runs"])]


def kernel_lines(kernels):
    if not any(kernels.values()):
        return ["None was profiled."]
    seen = {metric for rows in kernels.values() for row in rows for metric in row}
    names = {m: label for group in METRICS.values() for m, label in group.items() if m in seen}
    lines = ["| case | kernel | launches | " + " | ".join(names.values()) + " |", "|---" * (3 + len(names)) + "|"]
    for case, rows in kernels.items():
        lines += [f"| {case} | {r['kernel']} | {r['launches']} | " + " | ".join(figure(r.get(m)) for m in names) + " |" for r in rows]
    return lines


def step_lines(results):
    return ["| step | result | seconds | when, commit | |", "|---|---|---|---|---|",
            *(f"| {r['name']} | {r['status']} | {r['seconds']} | {r['date']}, {r['commit'][:7]} | {r['detail'].replace('|', '/')} |" for r in results)]


def probe_lines(told):
    return [f"- {key}: {json.dumps(value) if isinstance(value, (dict, list)) else value}" for key, value in (told or {}).items()] or ["Not run."]


def trial_lines(told):
    if not told:
        return ["Not run."]
    return ["| arm | steps | initial | final | seconds |", "|---|---|---|---|---|",
            *(f"| {r['arm']} | {r['steps']} | {r['initial']:.3f} | {r['final']:.4f} | {r['seconds']:.0f} |" for r in told["jobs"]), "", told["about"]]


def without_paths(text, folder):
    """The report is for others: where this checkout and its results lay says nothing to them."""
    return text.replace(sys.executable, "python3").replace(ROOT + "/", "").replace(os.path.abspath(folder), "DIR").replace(folder + "/", "DIR/")


def join_logs(folder):
    with open(os.path.join(folder, "log.txt"), "w") as out:
        for path in sorted(glob.glob(os.path.join(folder, "logs", "*.log")), key=os.path.getmtime):
            out.write(f"==== {os.path.basename(path)[:-4]}\n{text_of(path)[-100_000:]}\n")


def left_to_run(folder, names):
    """The steps that gpu_check.json has no result of, or "not run"."""
    path = os.path.join(folder, "gpu_check.json")
    done = {step["name"] for step in (json_of(path) if os.path.exists(path) else {"steps": []})["steps"] if step["status"] != "not run"}
    return [name for name in names if name not in done]


def write(folder, about, record, names):
    """Puts the record of one step into gpu_check.json and writes gpu_check.md and log.txt anew. names: of every step there is, in order.
    True if every step that decides has passed."""
    data = os.path.join(folder, "data")
    before = json_of(os.path.join(folder, "gpu_check.json")) if os.path.exists(os.path.join(folder, "gpu_check.json")) else None
    record = {**record, **{key: about[key] for key in ("date", "commit", "gpu", "driver")}}
    steps = {step["name"]: step for step in (before or {}).get("steps", []) if step["name"] in names and step["name"] != record["name"]}
    steps[record["name"]] = record
    results = [steps[name] for name in names if name in steps]
    passed = {s["name"] for s in results if s["status"] == "passed" and (s["commit"], s["gpu"]) == (about["commit"], about["gpu"])}
    clean = bool(about["gates"]) and about["gates"] <= passed
    cases = sorted({os.path.basename(p)[4:-4].rsplit("_", 1)[0] for p in glob.glob(f"{data}/ncu_*.csv")})
    kernels = {case: kernel_rows(sorted(glob.glob(f"{data}/ncu_{case}_*.csv"))) for case in cases}
    benchmarks, benchmark_lines = benchmark_report(data)
    parts = {name: json_of(f"{data}/{name}.json") for name in ("probe", "end_to_end", "trial")}
    commits = sorted({step["commit"] for step in results})
    lines = [
        f"# GPU check: {about['gpu']}",
        "",
        f"{about['date']}, commit {', '.join(commits)}. {about['gpu']} (sm_{about['architecture']}, {about['memory']}), driver {about['driver']}, nvcc {about['nvcc']}.",
        "",
        f"Conformance, end to end and sanitizers: **{'clean' if clean else 'NOT clean, or not all run'}**. {sum(r['seconds'] for r in results):.0f} s of steps.",
        "",
        *step_lines(results),
        *("", "## The machine", "", *probe_lines(parts["probe"])),
        *("", "## End to end", "", *end_to_end_lines(parts["end_to_end"])),
        *("", "## Benchmarks", *benchmark_lines),
        *("", "## Kernels (Nsight Compute, median of launches)", "", *kernel_lines(kernels)),
        *("", "## Trial", "", *trial_lines(parts["trial"])),
        *("", "## Commands", "", *dict.fromkeys(f"    {job['command']}" for r in results for job in r["jobs"]), ""),
    ]
    whole = {**{k: v for k, v in about.items() if k != "gates"}, "clean": clean, "steps": results, **parts, "kernels": kernels, "benchmarks": benchmarks}
    for name, text in (("gpu_check.md", "\n".join(lines)), ("gpu_check.json", json.dumps(whole, indent=1) + "\n")):
        path = os.path.join(folder, name)
        with open(path + ".part", "w") as out:
            out.write(without_paths(text, folder))
        os.replace(path + ".part", path)
    join_logs(folder)
    return clean
