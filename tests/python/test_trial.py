"""The trial harness: the smoke preset from end to end, resumed; what it runs in which order; what it concludes."""

import contextlib
import json
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from aloft import AloftError, InputError, UsageError
from aloft.trial import corpus, report, results
from aloft.trial.jobs import Job, Trial
from aloft.trial.models import Model, Shape, initialise
from aloft.trial.report import steps_to
from aloft.trial.run import ProgressLines, load_spec, same_trial
from aloft.trial.schedule import best_peak, jobs_of, restricted
from aloft.trial.spec import PRESETS
from aloft.trial.training import learning_rate, train, validation_loss, windows
from conftest import PROGRAM, ROOT
from sample_text import dependent_words


def run(*words):
    return subprocess.run([sys.executable, "-m", "aloft", "trial", *map(str, words)], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT / "tools/python")}, timeout=300)


def refused(code, message, *words):
    """One line, no traceback, and the exit code that the README lists."""
    done = run(*words)
    assert done.returncode == code and message in done.stderr, done.stderr
    assert done.stderr.startswith("aloft: ") and len(done.stderr.splitlines()) == 1, done.stderr


def test_smoke_runs_through_and_the_second_time_runs_nothing(tmp_path):
    text, folder = tmp_path / "corpus.txt", tmp_path / "trial"
    text.write_text(dependent_words(30000))
    words = ("smoke", "--text", text, "--output", folder, "--program", PROGRAM, "--workers", 4)  # both rates of `offset` at once
    late = run(*words, "--minutes", 0.0001)
    assert late.returncode == 0 and "time is up" in late.stderr and not (folder / "results.jsonl").exists(), late.stderr
    start = time.time()
    one = run(*words, "--arms", "random", "--threads", 2)
    assert one.returncode == 0 and one.stdout.count(" -> ") == 3, one.stderr
    first = run(*words)
    assert first.returncode == 0, first.stderr
    assert time.time() - start < 120
    lines = (folder / "results.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 6  # two arms at two rates, a second seed, a longer budget
    assert first.stdout.count(" -> ") == 3
    assert all(": step " in line for line in first.stderr.splitlines()), first.stderr  # no worker complains
    assert not list((folder / "unfinished").iterdir())
    for r in map(json.loads, lines):  # a sign step of 1e-4 changes little, one of 1e-3 more
        assert list(r["fragility"]) == ["0.0001", "0.001"]
        assert abs(r["fragility"]["0.0001"] - r["initial"]) < 0.2
    assert "| after a sign step of 1e-4, 1e-3 |" in first.stdout
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["arms"]["offset"]["budgets"]["20"]["initial"] < summary["unigram_loss"] - 0.1
    assert summary["arms"]["random"]["budgets"]["20"]["seeds"] == 2
    assert summary["targets"][0]["steps"] == 30 and summary["targets"][0]["met"] in (True, False)
    offset = summary["arms"]["offset"]["budgets"]["20"]  # 32 windows of other text than the validation windows, but alike
    assert offset["test"] != offset["final"] and offset["test"] == pytest.approx(offset["final"], abs=0.5)
    assert (folder / "table.md").read_text() in first.stdout
    again = run(*words)
    assert again.returncode == 0 and " -> " not in again.stdout
    assert (folder / "results.jsonl").read_text() == "".join(lines)
    mine = next(i for i, line in enumerate(lines) if results.key_of(json.loads(line)) == ("offset", 0.004, 20, 0))
    lines.append(lines.pop(mine)[:100])  # as if it had been killed in the midst of this one
    (folder / "results.jsonl").write_text("".join(lines))
    third = run(*words)
    assert third.stdout.count(" -> ") == 1
    assert len((folder / "results.jsonl").read_text().splitlines()) == 6
    assert json.loads((folder / "summary.json").read_text()) == summary


def alive(group):
    """Processes of a group that are more than a dead one's entry."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, _parent, pgid = entry.read_text().rpartition(")")[2].split()[:3]
            found += [entry.parent.name] if int(pgid) == group and state != "Z" else []
    return found


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT of the whole group", "SIGTERM in a design"])  # a cluster; a key of a terminal
def test_a_trial_that_is_interrupted_says_so_and_leaves_nobody(tmp_path, how):
    text, folder, program, designing = tmp_path / "corpus.txt", tmp_path / "trial", tmp_path / "aloft", tmp_path / "designing"
    text.write_text(dependent_words(30000))
    program.write_text(f'#!/bin/sh\n[ "$1" = init ] && touch "{designing}" && exec sleep 100\nexec "{PROGRAM}" "$@"\n')
    program.chmod(0o755)
    arm = "offset" if how.endswith("design") else "random"
    long = tmp_path / "long.yaml"
    long.write_text(f"extends: smoke\nplan: {{sweep: {{steps: 100000, peaks: [0.004], arms: [{arm}]}}, seeds: {{}}, budgets: [], targets: []}}\n")
    trial = subprocess.Popen(
        [sys.executable, "-m", "aloft", "trial", long, "--text", text, "--output", folder, "--program", program, "--workers", "1"],
        stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "tools/python")}, start_new_session=True)
    if arm == "random":
        line = trial.stderr.readline()  # it trains
        assert re.fullmatch(r"random_0.004_100000_0: step \d+ of 100000, loss \d.\d{4}, \S+ s a step, about \d+ min left\n", line), line
    for _ in range(600):
        if arm == "random" or designing.exists():
            break
        time.sleep(0.1)
    os.killpg(trial.pid, signal.SIGINT) if "group" in how else trial.send_signal(signal.SIGTERM)
    rest = trial.communicate(timeout=60)[1].splitlines()
    assert trial.returncode == 5
    assert [line for line in rest if ": step " not in line] == ["aloft: interrupted; the same command again goes on"]
    for _ in range(100):  # Python's own helper process ends a moment later
        if not (left := alive(trial.pid)):
            break
        time.sleep(0.1)
    assert not left


def test_progress_is_a_line_now_and_then(capsys):
    now = 0.0
    lines = ProgressLines(Job("random", 0.004, 200, 0), every=10, now=lambda: now)
    for step in range(100, 201):  # a run that goes on at its hundredth step
        lines(step, 3.5)
        now += 4
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "random_0.004_200_0: step 101 of 200, loss 3.5000, 4 s a step, about 7 min left"
    assert len(said) == 34 and said[-2] == "random_0.004_200_0: step 197 of 200, loss 3.5000, 4 s a step, about 12 s left"


def test_what_is_no_trial_is_refused(tmp_path):
    with pytest.raises(UsageError, match="neither a file nor one of full, full-100m, paper, paper-llama, paper-muon, small, small-gpt2, small-ids, small-ids-llama, small-scale, small-tied, smoke"):
        load_spec("tiny")
    for broken in ("model: [", "model: {}\ncorpus: {}", "- 1"):
        (tmp_path / "spec.yaml").write_text(broken)
        with pytest.raises(InputError, match="spec.yaml"):
            load_spec(str(tmp_path / "spec.yaml"))
    refused(2, "--arms: nothing is none of random, offset", "smoke", "--output", tmp_path / "arms", "--text", ROOT / "README.md",
            "--program", PROGRAM, "--arms", "nothing")
    refused(3, "is not there: give --text", "smoke", "--output", tmp_path, "--text", tmp_path / "absent.txt")
    text = tmp_path / "t.txt"
    text.write_text("one two three")
    spec = load_spec("smoke")
    spec["corpus"]["text"] = str(text)
    same_trial(spec, tmp_path)
    same_trial(spec, tmp_path)
    for change in ({"model": spec["model"] | {"layers": 3}}, {"training": spec["training"] | {"batch": 9}},
                   {"training": spec["training"] | {"test_tokens": 64}}):
        with pytest.raises(UsageError, match="another"):
            same_trial(spec | change, tmp_path)
    same_trial(spec | {"training": spec["training"] | {"device": "cuda"}}, tmp_path)
    older = json.loads((tmp_path / "trial.json").read_text())
    del older["test_tokens"]  # a folder from before there were test tokens goes on
    (tmp_path / "trial.json").write_text(json.dumps(older))
    same_trial(spec, tmp_path)
    words = ("smoke", "--output", tmp_path / "short", "--text", text, "--program")
    refused(3, "held-out tokens; there are 1: ask for fewer, or give a longer text", *words, PROGRAM)
    refused(2, "there is no program /nope: give --program FILE", *words, "/nope")
    refused(2, "--minutes is to be above 0", *words, PROGRAM, "--minutes", "nan")
    text.write_text("one two three four")
    with pytest.raises(UsageError, match="text bytes"):
        same_trial(spec, tmp_path)


# ---- the file of results ----

def entry(arm, length=3):
    return {"arm": arm, "peak": 0.004, "steps": length, "seed": 0, "history": [[i, 1 / (i + 1)] for i in range(length)]}


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
    for name, count in (("small", 150), ("small-gpt2", 10), ("small-scale", 20), ("small-tied", 16), ("small-ids", 4), ("small-ids-llama", 2), ("paper", 10)):
        found = results.read(ROOT / "profiles/trials" / f"{name}.jsonl")
        assert len(found) >= count and {arm for arm, *_ in found} <= set(load_spec(name)["arms"])
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


# ---- data, protocol ----

def test_the_text_becomes_ids_by_the_words_rule(tmp_path):
    text = tmp_path / "t.txt"
    text.write_text("The cat, the DOG 12\nthe cat é zebra " + "pad " * 20)
    words = ["the", "cat", ",", "the", "dog", "1", "2", "\n", "the", "cat", "é", "zebra"] + ["pad"] * 20
    assert corpus.TOKEN.findall(text.read_text().lower()) == words
    train, held = corpus.prepare(text, tmp_path / "a", vocab=5)
    ids = np.concatenate([corpus.load(train), corpus.load(held)])
    order = {"pad": 1, "the": 2, "cat": 3, ",": 4}  # by count in the first nine tenths, then by first occurrence
    assert ids.tolist() == [order.get(w, 0) for w in words] and len(corpus.load(train)) == int(len(words) * 0.9)
    before = train.read_bytes()
    text.write_text("something else")
    corpus.prepare(text, tmp_path / "a", vocab=5)
    assert train.read_bytes() == before  # what is there is kept
    text.write_text("a a b " * 30 + "z " * 10)
    all_train, _ = corpus.prepare(text, tmp_path / "b", vocab=4, vocabulary_from="all")
    some_train, some_held = corpus.prepare(text, tmp_path / "c", vocab=4)
    assert corpus.load(some_train).max() == 2 and not corpus.load(some_held).any()
    assert corpus.load(all_train).max() == 2 and corpus.prepare(text, tmp_path / "b", 4)[1] and corpus.load(tmp_path / "b/held.u16").any()


def test_baselines_by_hand():
    train = np.array([0, 1, 0, 1, 0, 2], np.uint16)
    held = np.array([[0, 1, 0], [0, 2, 2]])
    p = np.array([3.5, 2.5, 1.5]) / 7.5
    assert corpus.unigram_loss(train, held, 3) == pytest.approx(-np.log(p[[1, 0, 2, 2]]).mean())
    joint = {(0, 1): 2, (1, 0): 2, (0, 2): 1}
    rows = [3, 2, 0]
    losses = [-np.mean([np.log((joint.get((a, b), 0) + k * p[b]) / (rows[a] + k)) for a, b in ((0, 1), (1, 0), (0, 2), (2, 2))])
              for k in (5, 10, 20, 40, 80, 160, 320)]
    assert corpus.bigram_loss(train, held, 3) == pytest.approx(min(losses))


def test_the_learning_rate_is_complete_at_the_budget():
    rates = [learning_rate(s, 100, 0.01, 10) for s in range(101)]
    assert rates[0] == pytest.approx(0.001) and max(rates) == pytest.approx(0.01, rel=0.03) and np.argmax(rates) == 9
    assert rates[100] == pytest.approx(0.001)
    assert all(a > b for a, b in zip(rates[10:], rates[11:]))


def test_training_learns_and_every_arm_sees_the_same_data():
    shape = Shape("llama", 1, 2, 16, 16, 32)
    ids = np.random.default_rng(0).integers(0, 4, 3000).astype(np.uint16) * 2
    held = windows(ids, 16, 10)
    assert held.shape == (10, 17) and held[1, 0] == held[0, 16]  # windows share the token between them
    assert torch.equal(windows(ids, 16, 3, first=7), held[7:]) and len(windows(ids, 16, 187)) == 187
    with pytest.raises(ValueError, match="188 windows of 16 tokens and one more need 3009 held-out tokens; there are 3000"):
        windows(ids, 16, 180, first=8)
    model = initialise(Model(shape), 0)
    assert validation_loss(model, held) == pytest.approx(
        torch.nn.functional.cross_entropy(model(held[:, :-1]).flatten(0, 1), held[:, 1:].flatten()).item(), abs=1e-5)

    def run(seed, std):
        seen = []

        class Watching(Model):
            def final(self, batch):
                if self.training:
                    seen.append(batch.clone())
                return super().final(batch)

        return train(initialise(Watching(shape), seed, std=std), ids, held, steps=20, peak=0.01, seed=seed, batch=4, context=16,
                     warmup=5, every=10), seen

    history, seen = run(0, 0.02)
    other, seen_too = run(0, 0.1)
    assert [s for s, _ in history] == [0, 10, 20] and history[-1][1] < history[0][1] - 0.2
    assert len(seen) == 20 and all(torch.equal(a, b) for a, b in zip(seen, seen_too))
    assert not torch.equal(run(1, 0.02)[1][0], seen[0])
    assert run(0, 0.02)[0] == history


# ---- what another build may change ----

def test_another_program_designs_anew(tmp_path):
    text = tmp_path / "corpus.txt"
    text.write_text(dependent_words(3000, types=30))
    spec = {"model": {"style": "llama", "layers": 1, "heads": 2, "width": 16, "context": 16, "vocab": 64},
            "corpus": {"text": str(text)}, "training": {}, "plan": {}, "arms": {"offset": {"init": {"recipe": "offset"}}}}
    first = Trial(spec, tmp_path / "trial", PROGRAM).init_file("offset", 0)
    assert Trial(spec, tmp_path / "trial", PROGRAM).init_file("offset", 0) == first
    other = tmp_path / "aloft"
    other.write_text(f'#!/bin/sh\nexec "{PROGRAM}" "$@"\n')
    other.chmod(0o755)
    assert Trial(spec, tmp_path / "trial", str(other)).init_file("offset", 0) != first
    with pytest.raises(UsageError, match="no program"):
        Trial(spec, tmp_path / "trial", str(tmp_path / "absent")).init_file("offset", 0)


def test_a_program_that_fails_ends_the_trial_with_its_exit_code(tmp_path):
    text = tmp_path / "corpus.txt"
    text.write_text(dependent_words(3000, types=30))
    spec = load_spec("smoke") | {"corpus": {"text": str(text)}, "arms": {"wrong": {"init": {"recipe": "nonsense"}}}}
    with pytest.raises(AloftError, match="init .*--recipe nonsense.* ended with 2") as caught:
        Trial(spec, tmp_path / "trial", PROGRAM).init_file("wrong", 0)
    assert caught.value.exit_code == 2
    copy = pickle.loads(pickle.dumps(caught.value))  # as a worker process hands it over
    assert str(copy) == str(caught.value) and copy.exit_code == 2
    with pytest.raises(InputError, match="unexpected keyword argument 'depth'"):
        Trial(spec | {"model": {"depth": 3}}, tmp_path / "trial", PROGRAM)


def test_steps_to_a_loss_are_read_off_the_mean_curve():
    histories = [[[0, 5.0], [10, 4.0], [20, 3.0]], [[0, 5.0], [10, 4.0], [20, 2.0]]]
    assert steps_to(histories, 3.25) == 15
    assert steps_to(histories, 5.5) == 0
    assert steps_to(histories, 2.0) is None
