"""A sample of tests/faults/sweep.py: calls of the program fail, or it is killed there. `tools/test.sh --thorough` does 3000."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROGRAM, ROOT

sys.path.insert(0, str(ROOT / "tests" / "faults"))
import sweep  # noqa: E402


@pytest.mark.parametrize("scenario", sweep.SCENARIOS, ids=lambda s: s.name)
def test_what_a_fault_leaves(scenario):
    commit = subprocess.run(["git", "rev-parse", "--short=7", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    seed = int(commit.strip() or "1", 16)  # every commit tries other faults
    faults, kills = (10, 3) if scenario.allocations else (3, 1)  # to start Python takes ten times as long
    trials = sweep.sweep(Path(PROGRAM).parent, faults, kills, seed, only=scenario)
    assert sum(t.hit for t in trials) > (faults + kills) / 2
    assert not [(t.fault, t.wrong) for t in trials if t.wrong], f"seed {seed}"


def test_the_first_allocation_of_all_fails(tmp_path):
    bench = sweep.Bench(Path(PROGRAM).parent, tmp_path)
    for fault in ("alloc:1:ENOMEM", "alloc:1:ENOMEM+"):  # the copy of the command line
        trial = bench.attempt(next(s for s in sweep.SCENARIOS if s.name == "count"), fault)
        assert trial.hit and trial.code == 4 and not trial.wrong, fault


# Between open() and flock() who had the file locked may have removed it: then a third process can lock the one that is there next.
@pytest.mark.parametrize("name", ["init spread", "count"])  # the folder's lock, and that of a file that is being written
def test_a_lock_whose_file_is_gone_is_none(tmp_path, name):
    scenario = next(s for s in sweep.SCENARIOS if s.name == name)
    bench = sweep.Bench(Path(PROGRAM).parent, tmp_path)
    calls = bench.prepared(scenario)[2]["flock"]
    trial = bench.attempt(scenario, "flock:1:gone")
    assert trial.code == 0 and not trial.wrong
    shutil.rmtree(tmp_path / "trial")
    shutil.copytree(tmp_path / ("before " + name), tmp_path / "trial")
    bench.run(tmp_path / "trial", scenario.command, "flock:1:gone")
    locked = dict(line.split() for line in (tmp_path / "calls").read_text().splitlines())
    assert locked["hit"] == "1" and int(locked["flock"]) == calls + 1, "it took another lock"


# A sweep that finds nothing shows something only if it finds what is planted.
def test_the_sweep_sees_what_is_wrong(tmp_path):
    before, after = {"run": b"folder", "run/a": b"old", "run/b": b"old"}, {"run": b"folder", "run/a": b"new", "run/b": b"new"}
    scenario = sweep.Scenario("planted", ["init"], lambda bench, folder: None, former="run")

    def wrong(now, fault="write:1:EIO", killed=False):
        return sweep._wrong_leftovers(scenario, before, after, {"run": b"folder", **now}, fault, killed)

    assert not wrong({"run/a": b"old", "run/b": b"old"}) and not wrong({"run/a": b"new", "run/b": b"new"})
    assert wrong({"run/a": b"old", "run/b": b"new"}) and wrong({"run/a": b"old"})  # mixed, lost
    assert wrong({"run/a": b"ol", "run/b": b"old"})  # cut off
    assert wrong({"run/a": b"old", "run/b": b"old", "run/.aloft-lock": b""})
    assert not wrong({"run/a": b"old", "run/b": b"old", "run/.aloft-lock": b""}, killed=True)
    assert wrong({"run/a": b"old", "run/b": b"old", "run/c": b""}, killed=True)
    done = subprocess.CompletedProcess([], 3, "", "aloft: a line\nand another\n")
    assert sweep._wrong_ending(done) and sweep._wrong_ending(subprocess.CompletedProcess([], -6, "", "aloft: x is wrong\n"))
    assert not sweep._wrong_ending(subprocess.CompletedProcess([], 3, "", "aloft: x is wrong\n"))
    library = Path(PROGRAM).parent / "tests/faults/libaloft_faults.so"
    environment = dict(os.environ, LD_PRELOAD=str(library), ALOFT_FAULT="open:1:EIO", ALOFT_FAULT_ROOT=str(tmp_path))
    (tmp_path / "x.txt").write_text("words")
    failed = subprocess.run([PROGRAM, "inspect", str(tmp_path / "x.txt")], env=environment, capture_output=True, text=True, check=False)
    assert failed.returncode == 3 and "Input/output error" in failed.stderr
