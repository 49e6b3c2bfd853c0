#!/usr/bin/env python3
"""Merges what the benchmark program and the peers measured into one Markdown table and one JSON file.

    python3 profiles/benchmark_table.py --benchmarks b.json [b2.json ...] --peers p.json [p2.json ...] \
        --markdown table.md --json table.json

b.json is the benchmark program's (--benchmark_out=b.json --benchmark_out_format=json), p.json that of profiles/peers.py. A case's
rate is next to every limit measured in the same run, the best peer of the same case and, where one was set, the target. What an
existing table.md says from its line "## Notes" on is kept.
"""
import argparse
import datetime
import json
import re
import statistics
import subprocess
import sys

# What the project asked of the CPU backend on two cores: (cases, what, the least value).
#   limit NAME   rate / that limit        peer REGEX   rate / the best peer whose name matches        rate   the rate itself
TARGETS = [
    (r"^B[12]_.*/cpu$", "limit", r"increments/s\(one_lag\)", 0.8),
    (r"^B2_.*/cpu$", "peer", r"^np\.bincount", 5),
    (r"^B3_.*/cpu$", "rate", "", 2.0e8),
    (r"^B3_.*/cpu$", "peer", r"^scipy\.sparse coo->csr", 5),
    (r"^B5_antisymmetric_d512_.*/cpu$", "peer", r"gesdd", 2),
]


def rates_of(entry):
    """(unit, rate, {limit: rate}) of one Google Benchmark entry: a counter is a limit if "of:" + its name is there too."""
    counters = {k: v for k, v in entry.items() if isinstance(v, (int, float)) and ("/s" in k)}
    limits = {k: v for k, v in counters.items() if "of:" + k in counters}
    own = [k for k in counters if k not in limits and not k.startswith("of:")]
    if len(own) != 1:
        raise SystemExit(f"benchmark_table: {entry['name']} has {len(own)} rates of its own: {own}")
    return own[0], counters[own[0]], limits


def read_benchmarks(paths):
    """{case/backend: row}, repetitions of one case as the median of their rates, and the programs' contexts."""
    seen, contexts = {}, []
    for path in paths:
        with open(path) as file:
            report = json.load(file)
        contexts.append({k: v for k, v in report["context"].items() if k not in ("host_name", "executable")})
        for entry in report["benchmarks"]:
            if entry.get("run_type") == "aggregate" or entry.get("error_occurred"):
                continue
            name = "/".join(entry["name"].split("/")[:2])
            seen.setdefault(name, []).append(rates_of(entry))
    rows = {}
    for name, runs in seen.items():
        limits = {k: statistics.median(r[2][k] for r in runs) for k in runs[0][2]}
        rows[name] = {"case": name, "unit": runs[0][0], "rate": statistics.median(r[1] for r in runs), "repetitions": len(runs), "limits": limits}
    return rows, contexts


def read_peers(paths):
    """All rows of the peers' reports, and the reports without them."""
    rows, about = [], []
    for path in paths:
        with open(path) as file:
            report = json.load(file)
        rows += report.pop("peers")
        about.append(report)
    return rows, about


def judge(row, peers):
    """The targets of this case: [{what, wanted, got, met}]; `got` is None where there is nothing to compare with."""
    out = []
    for cases, kind, name, wanted in TARGETS:
        if not re.search(cases, row["case"]):
            continue
        if kind == "rate":
            what, got = row["unit"], row["rate"]
        elif kind == "limit":
            found = [v for k, v in row["limits"].items() if re.search(name, k)]
            what, got = "of the limit", row["rate"] / found[0] if found else None
        else:
            found = [p["rate"] for p in peers if re.search(name, p["peer"])]
            what, got = f"× {name.strip('^').replace(chr(92), '')}", row["rate"] / max(found) if found else None
        out.append({"what": what, "wanted": wanted, "got": got, "met": None if got is None else got >= wanted})
    return out


def merged(benchmarks, peers):
    device = {"cpu": "cpu", "cuda": "gpu"}
    for row in benchmarks.values():
        case, backend = row["case"].split("/")
        mine = [p for p in peers if p["case"] == case and p["device"] == device.get(backend)]
        timed = [p for p in mine if p["status"] == "ok"]
        best = max(timed, key=lambda p: p["rate"], default=None)
        row["of_limits"] = {k: row["rate"] / v for k, v in row["limits"].items()}
        row["peers"] = mine
        row["best_peer"] = best and {"peer": best["peer"], "rate": best["rate"], "ratio": row["rate"] / best["rate"]}
        row["targets"] = judge(row, timed)
    return sorted(benchmarks.values(), key=lambda row: row["case"])


def figure(x):
    """Three digits: 0.0123, 324, 1.94e3."""
    if 0.01 <= abs(x) < 1000 or x == 0:
        return f"{x:.3g}"
    digits, exponent = f"{x:.2e}".split("e")
    return f"{digits}e{int(exponent)}"


def markdown(rows):
    lines = ["| case | rate | limits, same run: rate (ratio) | best peer: rate (aloft is) | target |", "|---|---|---|---|---|"]
    for r in rows:
        limits = "<br>".join(f"{k}: {figure(v)} ({figure(r['of_limits'][k])})" for k, v in r["limits"].items())
        best = r["best_peer"]
        peer = f"{best['peer']}: {figure(best['rate'])} ({best['ratio']:.2f}×)" if best else "none measured"
        verdicts = {True: "met", False: "**not met**", None: "not measured"}
        target = "<br>".join(f"≥ {figure(t['wanted'])} {t['what']}: {figure(t['got']) if t['got'] is not None else ''} {verdicts[t['met']]}" for t in r["targets"])
        lines.append(f"| {r['case']} | **{figure(r['rate'])}** {r['unit']} | {limits} | {peer} | {target} |")
    return lines


def peer_table(rows):
    lines = ["| case | peer | rate | difference from aloft's result |", "|---|---|---|---|"]
    for r in rows:
        for p in r["peers"]:
            rate = f"{figure(p['rate'])} {p['unit']}" if p["status"] == "ok" else f"{p['status']}: {p['reason']}"
            lines.append(f"| {r['case']} | {p['peer']} | {rate} | {figure(p['difference']) if p.get('difference') else p.get('difference', '')} |")
    return lines


def notes_in(path):
    try:
        with open(path) as file:
            text = file.read()
    except OSError:
        return []
    return text[text.index("\n## Notes") + 1 :].rstrip("\n").split("\n") + [""] if "\n## Notes" in text else []


def gpu():
    """Name, driver and memory of the GPU, or None."""
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        return subprocess.run(query, check=True, capture_output=True, text=True, timeout=20).stdout.splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


def preamble(report):
    context, peers = report["benchmark_context"], report["peer_context"]
    lines = [f"{report['date']}. CPU: {report['processor']}, {context[0]['num_cpus'] if context else '?'} processors. GPU: {report['gpu'] or 'none'}."]
    for p in peers[:1]:
        libraries = ", ".join(f"{k} {v or 'missing'}" for k, v in p["versions"].items())
        kernels = "; ".join(f"{b['prefix']} {b['version']}, {b['architecture']} kernels, {b['num_threads']} threads" for b in p["blas"])
        lines.append(f"Peers: {libraries}. BLAS: {kernels or 'not known (threadpoolctl is missing)'}.")
    return lines + [""] + [f"    {c}" for c in report["commands"]] + [""]


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--benchmarks", nargs="+", required=True)
    flags.add_argument("--peers", nargs="*", default=[])
    flags.add_argument("--command", action="append", default=[], help="a command line to quote above the table; may be repeated")
    flags.add_argument("--title", default="Benchmarks")
    flags.add_argument("--markdown", required=True)
    flags.add_argument("--json", required=True)
    flags = flags.parse_args()
    benchmarks, contexts = read_benchmarks(flags.benchmarks)
    peers, about = read_peers(flags.peers)
    rows = merged(benchmarks, peers)
    if not rows:
        print("benchmark_table: no benchmark in these files", file=sys.stderr)
        raise SystemExit(1)
    report = {
        "date": datetime.date.today().isoformat(),
        "processor": about[0]["processor"] if about else "unknown",
        "gpu": gpu(),
        "commands": flags.command + [p["command"] for p in about],
        "benchmark_context": contexts,
        "peer_context": about,
        "cases": rows,
    }
    with open(flags.json, "w") as out:
        json.dump(report, out, indent=1)
        out.write("\n")
    text = [f"# {flags.title}", "", *preamble(report), *markdown(rows), "", "## Peers", "", *peer_table(rows), "", *notes_in(flags.markdown)]
    with open(flags.markdown, "w") as out:
        out.write("\n".join(text))


if __name__ == "__main__":
    main()
