"""What goes wrong in a trial: runs that diverge, workers that are killed, folders and specs with something else in them."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from aloft import InputError, UsageError
from aloft.__main__ import exit_code_of, main
from aloft.trial import corpus, results
from aloft.trial.jobs import Trial
from aloft.trial.models import Model, Shape, initialise
from aloft.trial.report import write
from aloft.trial.run import load_spec, same_trial
from aloft.trial.schedule import best_peak, restricted
from aloft.trial.training import Unfinished, optimizers_of, training_batch
from conftest import PROGRAM, ROOT
from sample_text import dependent_words
from test_trial import refused


def result(arm="random", peak=0.004, steps=20, seed=0, final=3.0, **more):
    return {"arm": arm, "peak": peak, "steps": steps, "seed": seed, "history": [[0, 5.0], [steps, final]], "initial": 5.0, "final": final} | more


def spec_file(tmp_path, text):
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    return str(path)


def smoke(tmp_path, words=30000, **sections):
    """The preset, on a small text, with other sections."""
    text = tmp_path / "corpus.txt"
    text.write_text(dependent_words(words))
    spec = load_spec("smoke")
    for section, more in ({"corpus": {"text": str(text)}} | sections).items():
        spec[section] = spec[section] | more
    return spec


# -- a loss that is not finite

def test_a_run_that_diverged_is_the_last_choice():
    runs = {(arm, peak, 20, 0): result(arm, peak, final=final)
            for arm, peak, final in (("a", 0.004, math.nan), ("a", 0.008, 3.2), ("b", 0.004, math.inf), ("b", 0.002, math.nan))}
    assert best_peak(runs, "a", 20) == 0.008
    assert best_peak(runs, "b", 20) in (0.004, 0.002)


def test_its_line_is_json_and_reads_as_infinity(tmp_path):
    def nothing_else(word):
        raise ValueError(word)

    results.append(tmp_path / "r", result(final=math.nan, fragility={"0.001": math.inf}))
    json.loads((tmp_path / "r").read_text(), parse_constant=nothing_else)
    read, = results.read(tmp_path / "r").values()
    assert read["final"] == read["history"][1][1] == read["fragility"]["0.001"] == math.inf and read["initial"] == 5
    (tmp_path / "r").write_text(json.dumps(result(final=math.nan)) + "\n")  # as older versions wrote it
    assert results.read(tmp_path / "r")["random", 0.004, 20, 0]["final"] == math.inf


@pytest.mark.parametrize("finals", [(math.inf, math.inf), (math.inf, 3.2)])
def test_the_report_of_a_trial_that_diverged(tmp_path, finals):
    trial = Trial(smoke(tmp_path), tmp_path / "trial", PROGRAM)
    for seed, final in enumerate(finals):
        results.append(trial.results_path, result(seed=seed, final=final))
    results.append(trial.results_path, result("offset", final=2.9))
    write(trial)
    table, data = (trial.folder / "table.md").read_text(), json.loads((trial.folder / "summary.json").read_text())
    assert "| random | 20 | 0.004 (1) | 2 | 5.000 |" in table and "| inf |" in table
    assert data["arms"]["random"]["budgets"]["20"]["final"] is None and data["arms"]["offset"]["budgets"]["20"]["final"] == 2.9
    assert (trial.folder / "plot.png").exists()


def test_the_report_of_runs_of_another_length_alone(tmp_path):
    trial = Trial(smoke(tmp_path), tmp_path / "trial", PROGRAM)
    results.append(trial.results_path, result(steps=60))
    write(trial)
    assert "| random | 60 |" in (trial.folder / "table.md").read_text() and not (trial.folder / "plot.png").exists()


# -- what a folder holds

@pytest.mark.parametrize("line", [{"final": "x"}, {"final": []}, {"peak": "x"}, {"history": []}, {"history": [3]}, {"fragility": 3},
                                  {"arm": 7}, {"initial": True}])
def test_a_line_that_is_no_result_is_named(tmp_path, line):
    (tmp_path / "r").write_text(json.dumps(result()) + "\n" + json.dumps(result(seed=1) | line) + "\n")
    with pytest.raises(InputError, match="line 2 of .* is no result: remove it"):
        results.read(tmp_path / "r")
    missing = result()
    del missing["final"]
    (tmp_path / "r").write_text(json.dumps(missing) + "\n")
    with pytest.raises(InputError, match="line 1 of .* is no result"):
        results.read(tmp_path / "r")


@pytest.mark.parametrize("left", [b"", b"PK", {"step": 1}, [1], {"step": 3, "history": [[0, 1.0]], "generator": 3, "parts": [{}, {}]}, "another"])
def test_a_run_whose_state_is_something_else_begins_anew(tmp_path, left):
    def parts():
        model = initialise(Model(Shape("llama", 1, 2, 16, 16, 20)), 0)
        return [model, *optimizers_of(model, "adamw", 0.01)]

    path = tmp_path / "job.pt"
    if left == "another":  # a whole state, but of another width: part of it may have been taken in
        model = initialise(Model(Shape("llama", 1, 2, 32, 16, 20)), 0)
        Unfinished(path, model, optimizers_of(model, "adamw", 0.01), torch.Generator(), 10).save(10, [[0, 5.0]])
    elif isinstance(left, bytes):
        path.write_bytes(left)
    else:
        torch.save(left, path)
    mine, fresh, generator = parts(), parts(), torch.Generator().manual_seed(5)
    state = Unfinished(path, mine[0], mine[1:], generator, 10)
    assert state.load() == (0, [])
    assert all(torch.equal(a, b) for a, b in zip(mine[0].state_dict().values(), fresh[0].state_dict().values()))
    assert generator.initial_seed() == 5


def test_a_state_that_does_not_fit_on_the_disk_says_so(tmp_path):
    resource = pytest.importorskip("resource")
    model = initialise(Model(Shape("llama", 1, 2, 16, 16, 20)), 0)
    state = Unfinished(tmp_path / "job.pt", model, [], torch.Generator(), 10)
    limit, old = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OSError) as raised:
            state.save(10, [])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, old)
    assert raised.value.errno == errno.EFBIG and exit_code_of(raised.value) == 4
    assert not (tmp_path / "job.pt").exists()


@pytest.mark.parametrize("damage", ['{"arms": []}', "[]", "{", '{"arms": 3}'])
def test_a_damaged_record_of_the_trial_is_named(tmp_path, damage):
    spec = smoke(tmp_path)
    (tmp_path / "trial.json").write_text(damage)
    with pytest.raises(InputError, match="trial.json is damaged"):
        same_trial(spec, tmp_path)


def test_two_trials_may_begin_in_one_folder_at_once(tmp_path):
    text, program, began = tmp_path / "corpus.txt", tmp_path / "aloft", tmp_path / "began"
    text.write_text(dependent_words(30000))
    program.write_text(f'#!/bin/sh\n[ "$1" = count ] && echo >> "{began}" && sleep 1\nexec "{PROGRAM}" "$@"\n')
    program.chmod(0o755)
    words = [sys.executable, "-m", "aloft", "trial", "smoke", "--text", text, "--output", tmp_path / "trial", "--program", program,
             "--arms", "random", "--minutes", "0.00001"]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env=os.environ | {"PYTHONPATH": str(ROOT / "tools/python")}) for _ in range(2)]
    for trial in both:
        said = trial.communicate(timeout=100)
        assert trial.returncode == 0, said
    assert began.read_text() == "\n"  # counted once


# -- workers

def test_a_worker_that_is_killed_ends_the_trial(tmp_path):
    text, long = tmp_path / "corpus.txt", tmp_path / "long.yaml"
    text.write_text(dependent_words(30000))
    long.write_text("extends: smoke\nplan: {sweep: {steps: 100000, peaks: [0.004], arms: [random]}, seeds: {}, budgets: [], targets: []}\n")
    trial = subprocess.Popen(
        [sys.executable, "-m", "aloft", "trial", long, "--text", text, "--output", tmp_path / "trial", "--program", PROGRAM, "--workers", "1"],
        stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "tools/python")})
    assert ": step " in trial.stderr.readline()
    children = Path(f"/proc/{trial.pid}/task/{trial.pid}/children").read_text().split()
    worker = max(children, key=lambda pid: int(Path(f"/proc/{pid}/statm").read_text().split()[1]))  # the one that has loaded torch
    os.kill(int(worker), signal.SIGKILL)
    start, rest = time.time(), trial.communicate(timeout=60)[1].splitlines()
    assert trial.returncode == 1 and time.time() - start < 30
    assert [line for line in rest if ": step " not in line] == [
        "aloft: trial: a worker was killed (by the system, where memory ran out): the same command goes on; fewer --workers need less memory"]


# -- specs and texts

def test_arms_of_a_plan_without_further_seeds():
    spec = load_spec("small-scale")
    assert spec["plan"]["seeds"] == {} and restricted(spec, ["offset"])["plan"]["seeds"] == {}
    with pytest.raises(UsageError, match="--arms: the plan has no runs of induction: give some of random, bigram-head, offset"):
        restricted(spec, ["induction"])


@pytest.mark.parametrize("text,says", [
    ("arms: {random: {std: 0.02}, random: {std: 0.5}}", "random is there twice"),
    ("arms: {offset: {init: {recipe: offset, seed: 7}}}", "init: seed is the trial's own: leave it out"),
    ("arms: {offset: {init: {recipe: offset, output: /elsewhere}}}", "init: output is the trial's own"),
    ("arms: {offset: {init: {recipe: 2020-01-01}}}", "is no flag of aloft init with its value"),
    ("arms: {offset: {init: {recipe: offset, 5: x}}}", "is no flag of aloft init with its value"),
    ('arms: {"a\\0b": {}}', "give it a short name without /"),
    ("arms: {..: {}}", "give it a short name without /"),
    ("plan: {plot: [nothing]}", "plot or targets name nothing, which is no arm"),
    ("plan: {targets: [{baseline: random, arm: nothing, budget: 20, fraction: 1}]}", "plot or targets name nothing"),
    ("plans: {}", "there is no section plans"), ("extends: [smoke]", "extends is to be a preset's name"), ("[" * 3000, "nested too deeply")])
def test_specs_that_would_mean_something_else(tmp_path, text, says):
    with pytest.raises(InputError, match=says):
        load_spec(spec_file(tmp_path, text if text.startswith(("[", "extends")) else f"extends: smoke\n{text}\n"))


def test_a_spec_extends_the_file_beside_it(tmp_path):
    spec_file(tmp_path, "extends: smoke\ntraining: {batch: 3}\n")
    (tmp_path / "more.yaml").write_text("extends: spec.yaml\n")
    assert load_spec(str(tmp_path / "more.yaml"))["training"]["batch"] == 3


@pytest.mark.parametrize("shape,says", [({"heads": 3}, "even number of coordinates for each of 3 heads"), ({"width": 30, "heads": 2}, "width 30"),
                                        ({"width": 1, "heads": 1}, "width 1"), ({"style": "none"}, "style none is none of llama"),
                                        ({"width": 2, "heads": 1}, "no hidden unit")])
def test_shapes_that_cannot_be(tmp_path, shape, says):
    with pytest.raises(InputError, match=says):
        Trial(smoke(tmp_path, model=shape), tmp_path / "trial", PROGRAM)


def test_a_gauge_that_cannot_be_is_refused_before_any_work(tmp_path):
    for gauges, says in (({"nothing": 2}, "gauge nothing is none of"), ({"mlp": 2}, "GELU is not linear"), ({"head": 2}, "scale the stream")):
        spec = smoke(tmp_path, model={"style": "gpt2"})
        spec["arms"]["turned"] = {"gauges": gauges}
        with pytest.raises(InputError, match=says):
            Trial(spec, tmp_path / "trial", PROGRAM)
    assert not (tmp_path / "trial").exists()


def test_texts_that_are_too_short(tmp_path):
    def documents(*texts):
        path = tmp_path / "d.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        return path

    with pytest.raises(InputError, match="holds no document"):
        corpus.prepare(documents(), tmp_path / "none", 20)
    train, held = (corpus.load(path) for path in corpus.prepare(documents("a b c", "a b c", "c b a"), tmp_path / "three", 20))
    assert len(held) == 5 and len(train) == 10  # one of three is held out (with the break after it)
    with pytest.raises(InputError, match="line 2 of .* is no JSON object with a text"):
        corpus.prepare(documents("a", None), tmp_path / "null", 20)
    with pytest.raises(InputError, match="has 20 tokens, and a window of 64 needs more"):
        training_batch(torch.zeros(20, dtype=torch.int64), 2, 64, torch.Generator())
    trial = Trial(smoke(tmp_path, training={"validation_tokens": 10}), tmp_path / "trial", PROGRAM)
    with pytest.raises(InputError, match="validation_tokens is to be at least the context"):
        trial.windows()


def test_a_device_without_values_is_refused(tmp_path):
    text = tmp_path / "corpus.txt"
    text.write_text("a b")
    refused(2, "device meta cannot be used", spec_file(tmp_path, "extends: smoke\ntraining: {device: meta}\n"), "--text", text,
            "--output", tmp_path / "trial", "--program", PROGRAM)


def test_a_signal_that_ends_the_trial_unless_it_is_ignored(tmp_path):
    words, ends = ["trial", "no-such-preset", "--output", str(tmp_path)], (signal.SIGHUP, signal.SIGTERM)
    old = [signal.signal(end, signal.SIG_IGN) for end in ends]
    try:
        assert main(words) == 2 and [signal.getsignal(end) for end in ends] == [signal.SIG_IGN] * 2  # under nohup
        for end in ends:
            signal.signal(end, signal.SIG_DFL)
        assert main(words) == 2 and [signal.getsignal(end) for end in ends] == [signal.default_int_handler] * 2
    finally:
        for end, handler in zip(ends, old):
            signal.signal(end, handler)


def test_the_help_lists_every_preset(capsys):
    with pytest.raises(SystemExit):
        main(["trial", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "small-ids, small-ids-llama, small-scale, small-tied, smoke, or a YAML file" in said


