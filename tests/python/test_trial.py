"""The trial harness: from end to end, resumed, interrupted, refused; its data, protocol and arms."""

import contextlib
import json
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
from aloft.trial import corpus, results
from aloft.trial.jobs import Job, Trial
from aloft.trial.models import Model, Shape, initialise
from aloft.trial.progress import ProgressLines
from aloft.trial.run import load_spec, same_trial
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
