"""The trial harness: its file of results, which jobs it runs in which order, what it concludes."""

import json
import multiprocessing
import time

import pytest

from aloft import InputError
from aloft.trial import corpus, report, results
from aloft.trial.jobs import Job, Trial
from aloft.trial.report import steps_to
from aloft.trial.run import load_spec
from aloft.trial.schedule import best_peak, jobs_of, restricted
from aloft.trial.spec import PRESETS
from conftest import PROGRAM, ROOT
from sample_text import dependent_words


# ---- the file of results ----

def entry(arm, length=3):
    return {"arm": arm, "peak": 0.004, "steps": length, "seed": 0, "history": [[i, 1 / (i + 1)] for i in range(length)],
            "initial": 1.0, "final": 1 / length}


def append_many(path, arms):
    for arm in arms:
        results.append(path, entry(arm, length=2000))  # longer than one page


def test_workers_side_by_side_lose_and_mix_no_lines(tmp_path):
    path, names = tmp_path / "results.jsonl", [[f"{w}-{i}" for i in range(40)] for w in range(4)]
    workers = [multiprocessing.get_context("fork").Process(target=append_many, args=(path, n)) for n in names]
    for w in workers:
        w.start()
    while any(w.is_alive() for w in workers):
        results.read(path)  # at any time whole lines
    assert [w.exitcode for w in workers] == [0] * 4
    assert results.read(path) == {results.key_of(r): r for n in names for a in n for r in [entry(a, 2000)]}


def test_a_killed_writer_damages_no_line(tmp_path):
    path = tmp_path / "results.jsonl"
    assert results.read(path) == {}
    results.append(path, entry("b"))
    whole = path.read_bytes()
    line = json.dumps(entry("a", 20000)).encode()  # what is left is longer than the block in which its start is looked for
    for kept in (1, len(line) // 2, len(line) - 1):
        path.write_bytes(whole + line[:kept])
        assert list(results.read(path)) == [results.key_of(entry("b"))]
        results.append(path, entry("a"))
        assert list(results.read(path).values()) == [entry("a"), entry("b")] and path.read_bytes().startswith(whole)
    path.write_bytes(line[:100])
    results.append(path, entry("a"))
    assert path.read_text() == json.dumps(entry("a")) + "\n"
    results.append(path, entry("a") | {"final": 1.0})
    assert list(results.read(path).values()) == [entry("a")]  # the first result of a job is the job's
    for damage in ('{"arm": "c"\n', '{"arm": "c"}\n', "\n", "3\n"):
        path.write_bytes(whole + damage.encode() + whole)
        with pytest.raises(InputError, match=r"line 2 of .*results.jsonl is no result"):
            results.read(path)


def test_the_committed_results_are_those_of_the_presets():
    counts = {"small": 150, "small-gpt2": 10, "small-scale": 32, "small-tied": 16, "small-ids": 7, "small-ids-llama": 2, "paper": 16,
              "paper-llama": 4, "paper-h200": 19, "paper-muon-h200": 13}
    for name, count in counts.items():
        found = results.read(ROOT / "profiles/trials" / f"{name}.jsonl")
        assert len(found) >= count and {arm for arm, *_ in found} <= set(load_spec(name.removesuffix("-h200"))["arms"])
        for (_, _, steps, _), r in found.items():
            assert r["history"][0] == [0, r["initial"]] and r["history"][-1] == [steps, r["final"]]


# ---- the order of jobs ----

PLAN = {"arms": {"a": {}, "b": {}}, "plan": {
    "sweep": {"steps": 10, "peaks": [0.004, 0.002]}, "seeds": {"arms": ["a"], "count": 3},
    "budgets": [{"steps": 40, "arms": ["a", "b"], "peak_factors": [0.5, 1.0], "seeds": 2}, {"steps": 20, "arms": ["b"]}]}}


def finish(results, jobs, loss):
    for j in jobs:
        results.setdefault((j.arm, j.peak, j.steps, j.seed), {"final": loss(j)})


def test_jobs_come_in_phases():
    results, ran = {}, []
    for _ in range(10):
        jobs = [j for j in jobs_of(PLAN, results) if (j.arm, j.peak, j.steps, j.seed) not in results]
        if not jobs:
            break
        ran.append(jobs)
        finish(results, jobs, lambda j: 3 + abs(j.peak - (0.004 if j.arm == "a" else 0.002)) + 0.01 * j.seed)
    sweep, middle, last = ran
    assert [(j.arm, j.peak) for j in sweep] == [("a", 0.004), ("b", 0.004), ("a", 0.002), ("b", 0.002)]
    assert [j for j in middle if j.steps == 10] == [Job("a", 0.004, 10, 1), Job("a", 0.004, 10, 2)]  # at its own best rate
    assert {(j.arm, j.peak) for j in middle if j.steps == 40} == {("a", 0.002), ("a", 0.004), ("b", 0.001), ("b", 0.002)}
    assert [j for j in middle if j.steps == 20] == [Job("b", 0.002, 20, 0)]
    assert last == [Job("a", 0.004, 40, 1), Job("b", 0.002, 40, 1)]


def test_jobs_are_named_once_and_rates_are_those_of_their_files():
    spec = {"arms": {"a": {}}, "plan": {"sweep": {"steps": 10, "peaks": [0.004, 0.0036]},
                                        "budgets": [{"steps": 10, "arms": ["a"], "peak_factors": [0.9, 1.0]},
                                                    {"steps": 10, "arms": ["a"], "peak_factors": [0.9]}]}}
    results = {}
    finish(results, jobs_of(spec, results), lambda j: 1 / j.peak)
    assert 0.004 * 0.9 != 0.0036
    everything = jobs_of(spec, results)
    assert len(set(everything)) == len(everything) == len({j.name for j in everything}) == 2
    assert all((j.arm, j.peak, j.steps, j.seed) in results for j in everything)  # or it would go on for ever
    assert best_peak(results, "a", 10) == 0.004 and best_peak(results, "a", 20) is None
    for wrong in ({"budgets": [{"steps": 20, "arms": ["z"]}]}, {"seeds": {"arms": ["z"], "count": 2}}):
        with pytest.raises(ValueError, match="names z"):
            jobs_of({"arms": {"a": {}}, "plan": spec["plan"] | wrong}, {})


def test_some_arms_wait_for_no_other():
    some = restricted(PLAN, ["a"])
    assert jobs_of(some, {}) == [Job("a", 0.004, 10, 0), Job("a", 0.002, 10, 0)]
    results = {}
    finish(results, jobs_of(some, {}), lambda j: j.peak)
    assert {(j.arm, j.steps) for j in jobs_of(some, results)} == {("a", 10), ("a", 40)}
    assert restricted(PLAN, []) == PLAN


def test_every_preset_plans(monkeypatch):
    for name in sorted(p.stem for p in PRESETS.glob("*.yaml")):
        spec, results, rounds = load_spec(name), {}, 0
        while any((j.arm, j.peak, j.steps, j.seed) not in results for j in jobs_of(spec, results)):
            finish(results, jobs_of(spec, results), lambda j: j.peak)
            rounds += 1
        assert 1 <= rounds <= 3
        for target in spec["plan"].get("targets", []):
            assert any((a, s) == (target["arm"], round(target["budget"] * target["fraction"])) for a, _, s, _ in results), target
            assert any((a, s) == (target["baseline"], target["budget"]) for a, _, s, _ in results), target


# ---- what a trial concludes ----

@pytest.fixture
def trial(tmp_path):
    text = tmp_path / "corpus.txt"
    text.write_text(dependent_words(3000, types=30))
    spec = {"model": {"style": "llama", "layers": 1, "heads": 2, "width": 16, "context": 16, "vocab": 64},
            "corpus": {"text": str(text)}, "training": {"validation_tokens": 160},
            "arms": {"random": {"about": "usual"}, "fast": {}, "lasting": {}, "absent": {}},
            "plan": {"baseline": "random", "sweep": {"steps": 100, "peaks": [0.1, 0.2]},
                     "targets": [{"baseline": "random", "budget": 100, "arm": "lasting", "fraction": 0.6},
                                 {"baseline": "random", "budget": 100, "arm": "fast", "fraction": 0.6},
                                 {"baseline": "random", "budget": 100, "arm": "absent", "fraction": 0.6}]}}
    trial = Trial(spec, tmp_path / "trial", PROGRAM)

    def leave(arm, peak, steps, seed, initial, middle, final, **more):
        history = [[0, initial], [steps // 2, middle], [steps, final]]
        results.append(trial.results_path, {"arm": arm, "peak": peak, "steps": steps, "seed": seed, "initial": initial,
                                            "final": final, "history": history} | more)

    leave("random", 0.1, 100, 0, 5.0, 4.0, 3.5)
    leave("random", 0.2, 100, 0, 5.0, 3.9, 3.4, test=3.6)
    leave("random", 0.2, 100, 1, 5.2, 3.9, 3.5, test=3.8)
    leave("fast", 0.1, 100, 0, 4.0, 3.91, 3.45)
    leave("fast", 0.1, 60, 0, 4.0, 3.91, 3.46)
    leave("lasting", 0.2, 100, 0, 4.0, 3.5, 3.2)
    leave("lasting", 0.2, 60, 0, 4.0, 3.5, 3.45, test=3.65)
    leave("gone", 0.2, 100, 0, 1.0, 1.0, 1.0)  # an arm that the plan no longer has
    return trial


def test_the_report_compares_completed_runs_at_each_arms_best_rate(trial):
    data = report.write(trial)
    assert set(data["arms"]) == {"random", "fast", "lasting"}
    random = data["arms"]["random"]["budgets"][100]
    assert random["peak"] == 0.2 and random["seeds"] == 2
    assert random["final"] == pytest.approx(3.45) and random["initial"] == pytest.approx(5.1)
    assert random["spread"] == pytest.approx(0.1 / 2**0.5) and random["sweep"] == {"0.1": 3.5, "0.2": 3.4}
    assert data["arms"]["fast"]["budgets"][100]["spread"] is None
    lasting, fast = data["targets"]  # the arm without a run of 60 steps is not judged
    assert (lasting["arm"], lasting["steps"], lasting["met"]) == ("lasting", 60, True)
    assert (fast["arm"], fast["met"]) == ("fast", False)
    assert report.early_only("fast", "random", data, 100) and not report.early_only("lasting", "random", data, 100)
    assert not report.early_only("random", "fast", data, 100)
    table = (trial.folder / "table.md").read_text()
    rows = {line.split("|")[1].strip() + line.split("|")[2].strip(): line for line in table.splitlines() if line.startswith("| ")}
    assert "(early only)" in rows["fast100"] and "early only" not in rows["lasting100"]
    assert "| +0.000 | 3.700 | usual |" in rows["random100"] and "-0.250" in rows["lasting100"] and "3.450 ± 0.071" in rows["random100"]
    assert "-0.250 |  |" in rows["lasting100"]  # of a run that was not tested, no loss on the test text
    assert "lasting with 60 steps ends at 3.450; random with 100 at 3.450: reached (test 3.650 and 3.700)." in table
    assert "fast with 60 steps ends at 3.460; random with 100 at 3.450: **not reached**." in table
    assert json.loads((trial.folder / "summary.json").read_text())["unigram_loss"] == data["unigram_loss"]


def test_the_plot_shows_the_baseline_and_who_begins_below_its_end(trial, monkeypatch):
    from matplotlib import pyplot

    kept = []
    monkeypatch.setattr(pyplot, "close", kept.append)
    results.append(trial.results_path, {"arm": "lasting", "peak": 0.1, "steps": 100, "seed": 0, "initial": 3.3, "final": 3.1,
                                        "history": [[0, 3.3], [50, 3.2], [100, 3.1]]})
    report.write(trial)
    curves, bars = kept[0].axes
    assert curves.get_ylim()[0] < 3.1 and curves.get_ylim()[1] > 3.9  # random's half-way loss
    assert bars.texts[1].get_text() == "0: before any step" and bars.patches[1].get_width() == 0


def test_steps_to_a_loss_are_read_off_the_mean_curve():
    histories = [[[0, 5.0], [10, 4.0], [20, 3.0]], [[0, 5.0], [10, 4.0], [20, 2.0]]]
    assert steps_to(histories, 3.25) == 15
    assert steps_to(histories, 5.5) == 0
    assert steps_to(histories, 2.0) is None
