"""The tables of factors_benchmark.py: B6 and B7 as Markdown, from the records of its cases."""
from factors_flops import flops_of, limit_seconds

FACTORS_HEAD = ["V", "stream", "d", "estimator", "lags × d_s → d_o", "`factors`, s", "TFLOP single", "double", "sparse"]
FACTORS_HEAD += ["GEMM, GFLOP/s (single, double)", "limit, s", "of the limit", "NumPy and SciPy, s", "difference"]
FACTORS_HEAD += ["loss (aloft, peer)", "MiB (planned, measured, peer)"]
WHOLE_HEAD = ["V", "stream", "d", "estimator", "tokens", "`aloft init`, s", "stages", "NumPy and SciPy, s", "parts", "counts equal"]
WHOLE_HEAD += ["MiB (planned, measured, peer)"]
NOTE = "Folded, split: the stream's ids were mapped to this vocabulary for timing (`make_vocabulary`); no tokenizer made them."


def number(x):
    return f"{x:.3g}" if x < 100 else f"{x:,.0f}"


def mib(x):
    return f"{x / 2**20:,.0f}"


def stream(record):
    if record["vocab"] == record["ids_vocab"]:
        return "as it is"
    return "folded" if record["vocab"] < record["ids_vocab"] else "split"


def of_peer(record, name, seconds):
    found = record.get(name, {"failed": "not run"})
    return found["failed"] if "failed" in found else f"{number(found['seconds'])} ({found['seconds'] / seconds:.1f} times)"


def factors_row(record):
    a, check = record["aloft"], record.get("check", {})
    seconds, on = a["stages"]["factors"], a["chosen_on"]
    positions = on.get("positions", 0)
    flops = flops_of(record["estimator"], record["vocab"], a["d_s"], a["d_o"], a["lags"], positions, a["entries"])
    limit = limit_seconds(flops, record["rates"])
    difference = max(check["differences"].values()) if "differences" in check else None
    peer = record.get("peer", {})
    losses = [f"{x['loss']:.3f}" if x.get("loss") is not None else "-" for x in (on, peer.get("scalars", {}))]
    memory = [mib(x) if x else "-" for x in (a["planned_bytes"], a["peak_bytes"], peer.get("peak_bytes"))]
    row = [f"{record['vocab']:,}", stream(record), str(record["width"]), record["estimator"], f"{a['lags']} × {a['d_s']} → {a['d_o']}"]
    row += [number(seconds), *(number(flops[kind] / 1e12) for kind in ("single", "double", "sparse"))]
    row += [f"{record['rates']['single'] / 1e9:.0f}, {record['rates']['double'] / 1e9:.0f}", number(limit), f"{limit / seconds:.0%}"]
    row += [of_peer(record, "peer", seconds), check.get("failed", "-") if difference is None else f"{difference:.1g}"]
    return row + [", ".join(losses), ", ".join(memory)]


def whole_row(record):
    a, peer = record["whole"], record.get("whole_peer", {})
    parts = lambda of: ", ".join(f"{name} {number(s)}" for name, s in of.items())
    memory = [mib(x) if x else "-" for x in (a["planned_bytes"], a["peak_bytes"], peer.get("peak_bytes"))]
    row = [f"{record['vocab']:,}", stream(record), str(record["width"]), record["estimator"], f"{a['tokens']:,}", number(a["seconds"])]
    row += [parts(a["stages"]), of_peer(record, "whole_peer", a["seconds"]), parts(peer.get("parts", {}))]
    return row + [str(peer.get("counts_equal", "-")), ", ".join(memory)]


def lines(head, rows):
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def tables(records):
    """Markdown. A record without the steps that a table needs is left out of it."""
    records = sorted(records, key=lambda r: (r["vocab"], r["width"], r["estimator"]))
    text = []
    for title, head, row, needs in (
        ("B6: stage `factors`", FACTORS_HEAD, factors_row, ("aloft", "rates")),
        ("B7: `aloft init`", WHOLE_HEAD, whole_row, ("whole",)),
    ):
        rows = [row(r) for r in records if all("failed" not in r.get(step, {"failed": ""}) for step in needs)]
        if rows:
            text += [f"### {title}", "", *lines(head, rows), ""]
    if any(stream(r) != "as it is" for r in records):
        text += [NOTE, ""]
    return "\n".join(text)
