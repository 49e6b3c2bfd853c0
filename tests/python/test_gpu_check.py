"""tools/gpu_check.sh without a GPU. Rehearsed whole: its real steps, filters, metrics and files, on programs whose CUDA backend the SIMT shim
executes and on stand-ins for NVIDIA's tools. Beside that, verdicts, limits and refusals on stand-ins alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/gpu_check"))

import cuda_libraries  # noqa: E402
import report  # noqa: E402
import steps as kit  # noqa: E402

BUILD = Path(os.environ.get("ALOFT_PROGRAM", ROOT / "build/release/aloft")).resolve().parent
SIMT = BUILD / "tests/simt"
TOOLS = {
    "nvidia-smi": '#!/bin/sh\ncase "$1" in *compute_cap,driver_version*) echo "Stand-in GPU, 9.0, 999.99, 80 GiB";; *) echo "Stand-in GPU, 999.99";; esac\n',
    "nvcc": "#!/bin/sh\necho 'release 13.0, V13.0.48'\n",
    # Runs the program it is given, as the real one does; what it says of it is the test's choice.
    "compute-sanitizer": '#!/bin/sh\n[ "$1" != --help ] || { echo "  $FAKE_KERNEL_FLAG arg"; exit 0; }\n[ "$1" != --version ] || exit 0\ntool=$2\n'
    'echo "$*" >>"$FAKES/sanitizer_calls"\nwhile case "$1" in */aloft_tests) false;; esac; do shift; done\n"$@" || exit\n'
    '[ "$tool" != "$FAKE_BAD_TOOL" ] || { echo "========= ERROR SUMMARY: 3 errors"; exit 99; }\n'
    '[ "$tool" = "$FAKE_SILENT_TOOL" ] || echo "========= ERROR SUMMARY: 0 errors"\n',
    # A row for each metric it is asked for, unless it does not know one of them; then nothing at all.
    "ncu": '#!/bin/sh\n[ "$1" != --version ] || exit 0\nwhile [ $# -gt 0 ]; do case "$1" in --log-file) log=$2;; --metrics) metrics=$2;; */aloft_benchmarks) break;; esac; shift; done\n'
    'case "$metrics" in *"${FAKE_UNKNOWN_METRIC:-none}"*) echo "==ERROR== unknown metric" >"$log"; exit 1;; esac\n'
    'echo "$metrics" >>"$FAKES/metrics"\n"$@" --benchmark_list_tests || exit\n'
    'names=$(echo "$metrics" | sed \'s/,/","/g\'); values=$(echo "$metrics" | sed \'s/[^,]*/1,500/g; s/,1,/","1,/g\')\n'
    'printf \'==PROF== x\\n"Kernel Name","%s"\\n"",""\\n"cuda::<unnamed>::count_rows(int)","%s"\\n\' "$names" "$values" >"$log"\n',
}
# One test in forty of whatever the real filter leaves; and the shim's own small version of the test that fills a GPU.
SAMPLE = """#!/bin/sh
case "$*" in
  *"FullMemory*/cuda"*) set -- "$(echo "$1" | sed 's#\\*FullMemory\\*/cuda#CudaFullMemory.*#')" "$2" "$3";;
  *) export GTEST_TOTAL_SHARDS=$((${{GTEST_TOTAL_SHARDS:-1}} * 40)) GTEST_SHARD_INDEX=${{GTEST_SHARD_INDEX:-0}};;
esac
exec {program} "$@"
"""
FAKE_TESTS = """#!/bin/sh
for a in "$@"; do case "$a" in --gtest_output=json:*) out=${a#--gtest_output=json:};; esac; done
[ "$ALOFT_EXPECT_BACKEND" = cuda ] || exit 7
echo "about to begin"
[ -z "$FAKE_HANG" ] || sleep 60
[ -z "$FAKE_NO_TESTS" ] || { echo '{"testsuites": []}' >"$out"; exit 0; }
echo '{"testsuites": [{"name": "S/cuda", "testsuite": [{"name": "a", "result": "'${FAKE_RESULT:-COMPLETED}'"}, {"name": "b", "result": "COMPLETED"}]}]}' >"$out"
"""


def write_programs(folder, programs):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


@pytest.fixture
def check(tmp_path):
    """A bundle of stand-ins; run(arguments, **environment) -> (exit status, output, folder of results). The scripts are a copy, so that runs
    side by side have scratch folders of their own."""
    tree, fakes = tmp_path / "tree", tmp_path / "fakes"
    shutil.copytree(ROOT / "tools", tree / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "profiles").mkdir()
    for script in (ROOT / "profiles").glob("*.py"):
        shutil.copy(script, tree / "profiles")
    write_programs(fakes, TOOLS)
    write_programs(tree / "bundle/bin", {"aloft_tests": FAKE_TESTS, "aloft": "#!/bin/sh\nexit 9\n", "aloft_benchmarks": "#!/bin/sh\nexit 9\n"})
    (tree / "bundle/bundle.json").write_text('{"commit": "abcdef123456", "architecture": "90"}')
    (tree / "bundle/text.txt").write_text("the cat sat on the mat . the dog saw the cat .\n" * 400)

    def run(*arguments, path=f"{fakes}:{Path(sys.executable).parent}:{os.environ['PATH']}", **environment):
        command = ["bash", str(tree / "tools/gpu_check.sh"), str(tmp_path / "out"), "--bundle", str(tree / "bundle"), *arguments]
        variables = {**os.environ, "PATH": path, "FAKES": str(fakes), "FAKE_KERNEL_FLAG": "--kernel-name", **environment}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout + done.stderr, tmp_path / "out"

    run.fakes, run.bundle, run.tree = fakes, tree / "bundle", tree
    return run


def report_of(folder):
    whole = json.loads((folder / "gpu_check.json").read_text())
    return whole, {step["name"]: step for step in whole["steps"]}


def all_steps(folder="/results"):
    return kit.steps(kit.Places("/bundle/bin", f"{folder}/data", "/bundle/text.txt", "/scratch"))


# ---- the whole flow, on programs that the shim executes


def test_rehearsal_of_every_step(check):
    needed = [SIMT / name for name in ("aloft_simt", "aloft_simt_tests", "aloft_simt_benchmarks")]
    if missing := [str(p) for p in needed if not p.exists()]:
        pytest.fail(f"not built: {', '.join(missing)} (tools/test.sh builds them)")
    write_programs(check.bundle / "bin", {"aloft": f'#!/bin/sh\nexec {needed[0]} "$@"\n', "aloft_tests": SAMPLE.format(program=needed[1]),
                                          "aloft_benchmarks": f'#!/bin/sh\nexec {needed[2]} "$@"\n'})
    code, output, folder = check("--rehearse", "--budget", "240", OMP_NUM_THREADS="1")
    whole, steps = report_of(folder)
    assert list(steps) == [step.name for step in all_steps()], output
    assert {name: s["status"] for name, s in steps.items()} == {name: "passed" for name in steps}, output
    assert code == 0 and whole["clean"] and whole["commit"] == "abcdef123456" and whole["gpu"] == "Stand-in GPU"
    assert sum(job["tests"]["run"] for job in steps["conformance"]["jobs"]) >= 4
    # What came out of each step has reached the report.
    runs = {run["name"]: run for run in whole["end_to_end"]["runs"]}
    assert all(run["figures"]["counts_equal"] for run in runs.values()) and len(runs) == 6
    assert runs["offset text"]["figures"]["tensors"] < 1e-4 and "factors" in runs["offset text"]["cuda"]["stages"]
    assert len(whole["benchmarks"]["cases"]) == sum(len(cases) for _, cases in kit.BENCHMARKS.values())
    assert all(case["limits"] and case["peers"] for case in whole["benchmarks"]["cases"] if case["case"][:2] != "B5")
    assert {"limit_copy, bytes/s", "limit_increments_shared, increments/s"} <= whole["probe"]["limits"].keys()
    assert [job["arm"] for job in whole["trial"]["jobs"]] == ["random", "offset", "bigram-head"]
    (row,) = whole["kernels"]["B1_zipf_V256"]
    assert row["kernel"] == "cuda::count_rows" and {m for group in report.METRICS.values() for m in group} <= row.keys()
    calls = (check.fakes / "sanitizer_calls").read_text().splitlines()
    assert len(calls) == sum(len(step.jobs) for step in all_steps() if step.name.startswith("sanitizer"))
    assert all(("--kernel-name kns=aloft" in call) == ("racecheck" in call or "synccheck" in call) for call in calls)
    markdown = (folder / "gpu_check.md").read_text()
    for part in ("| sanitizer racecheck | passed |", "## End to end", "count_rows", "**clean**", "aloft_tests --gtest_filter", "| offset | 2 |"):
        assert part in markdown
    assert str(ROOT) not in markdown and str(check.tree) not in markdown and str(folder) not in markdown
    assert "==== conformance.conformance_0" in (folder / "log.txt").read_text()


def test_the_names_in_the_steps_are_those_of_the_programs():
    listed = subprocess.run([SIMT / "aloft_simt_benchmarks", "--benchmark_list_tests", "--text", __file__], capture_output=True, text=True, check=True, timeout=60)
    cases = {line.split("/")[0] for line in listed.stdout.splitlines() if "/cuda" in line}
    wanted = [case for _, cases in kit.BENCHMARKS.values() for case in cases]
    assert set(wanted) == {case for case in cases if not case.startswith("limit_")} - kit.TOO_SLOW
    assert set(kit.PROFILED) <= set(wanted) and any(re.search(kit.COMPARED_SPECTRA, case) for case in wanted)
    tests = subprocess.run([SIMT / "aloft_simt_tests", "--gtest_list_tests"], capture_output=True, text=True, check=True, timeout=60).stdout
    suites = set(re.findall(r"^Each/(\w+)\.", tests, re.M))
    assert set(kit.OWN_SUITES + kit.VENDOR_SUITES) <= suites
    # Every suite of operations is under the sanitizers, so that a new one is not forgotten.
    assert {s for s in suites if s.endswith("Ops") or s.endswith("OpsConformance")} <= set(kit.OWN_SUITES + kit.VENDOR_SUITES)
    kernels = {name for path in (ROOT / "kernels/cuda").glob("*.cu") for name in re.findall(r"\b(count_pairs_\w+)\(", path.read_text())}
    assert len(kernels) >= 2 and all(re.search(kit.HOT_KERNELS.removeprefix("regex:"), name) for name in kernels)


# ---- limits and plans


def test_dry_run_shows_steps_that_fit_into_two_calls(check):
    code, output, folder = check("--dry-run", path=os.environ["PATH"])
    assert code == 0 and not folder.exists()
    calls = {}
    for line in output.splitlines():
        _, call, seconds = line.split()[:3]
        calls[call] = calls.get(call, 0) + int(seconds)
    assert set(calls) == {"1", "2"} and max(calls.values()) <= 420
    names = [step.name for step in all_steps()]
    assert names[:5] == ["probe", "conformance", "full memory", "memory plan", "end to end"] and names[-1] == "trial" and all(name in output for name in names)


def test_a_step_that_hangs_ends_at_its_limit_and_keeps_what_it_printed(check):
    code, output, folder = check("--only", "conformance", "--budget", "3", FAKE_HANG="1")
    whole, steps = report_of(folder)
    assert code == 1 and not whole["clean"] and steps["conformance"]["status"] == "timed out"
    assert "about to begin" in steps["conformance"]["detail"] and "about to begin" in (folder / "log.txt").read_text()
    assert steps["conformance"]["seconds"] < 6


def test_what_the_budget_leaves_out_is_said_and_a_second_call_completes_it(check):
    code, output, folder = check("--only", "conformance,sanitizer memcheck", "--budget", "0")
    assert code == 1 and all(step["detail"] == "out of time" for step in report_of(folder)[0]["steps"])
    assert check("--only", "conformance")[0] == 1  # not all gates have run
    code, output, folder = check("--only", "sanitizer memcheck")
    whole, steps = report_of(folder)
    assert steps["conformance"]["status"] == steps["sanitizer memcheck"]["status"] == "passed"
    assert not whole["clean"] and "not all run" in (folder / "gpu_check.md").read_text()


def test_old_figures_do_not_pass_for_new_ones(check):
    assert check("--only", "conformance")[0] == 1
    (check.bundle / "bin/aloft_tests").write_text("#!/bin/sh\nexit 0\n")
    code, output, folder = check("--only", "conformance")
    assert report_of(folder)[1]["conformance"]["status"] == "failed"
    assert "not written" in report_of(folder)[1]["conformance"]["detail"] or "no test ran" in report_of(folder)[1]["conformance"]["detail"]


# ---- verdicts


@pytest.mark.parametrize(
    "environment, step, detail",
    [
        ({"FAKE_BAD_TOOL": "racecheck"}, "sanitizer racecheck", "3 errors"),
        ({"FAKE_SILENT_TOOL": "initcheck"}, "sanitizer initcheck", "no summary"),
        ({"FAKE_NO_TESTS": "1"}, "conformance", "no test ran"),
        ({"FAKE_UNKNOWN_METRIC": "dram__"}, "ncu", "exit status 1"),
    ],
)
def test_a_step_that_fails_says_why_and_stops_nothing(check, environment, step, detail):
    write_programs(check.bundle / "bin", {"aloft_benchmarks": "#!/bin/sh\n"})
    code, output, folder = check("--only", "conformance,ncu,sanitizer racecheck,sanitizer initcheck", **environment)
    whole, steps = report_of(folder)
    assert code == 1 and not whole["clean"] and steps[step]["status"] == "failed" and detail in steps[step]["detail"]
    others = {name: s["status"] for name, s in steps.items() if name != step and not (environment.get("FAKE_NO_TESTS") and name != "ncu")}
    assert set(others.values()) == {"passed"}
    if step == "ncu":  # one group of metrics is lost, the others are there
        (row,) = whole["kernels"]["B1_zipf_V256"]
        assert "gpu__time_duration.sum" in row and not any("dram" in metric for metric in row)


def test_skipped_tests_are_named_and_fail_nothing(check):
    code, output, folder = check("--only", "conformance", FAKE_RESULT="SKIPPED")
    step = report_of(folder)[1]["conformance"]
    assert step["status"] == "passed" and "8 skipped" in step["detail"] and "S/cuda.a" in step["detail"]


def test_the_sanitizers_own_help_decides_the_name_of_the_kernel_filter(check):
    check("--only", "sanitizer synccheck", FAKE_KERNEL_FLAG="--kernel-regex")
    assert all("--kernel-regex kns=aloft" in call for call in (check.fakes / "sanitizer_calls").read_text().splitlines())


# ---- refusals


@pytest.mark.parametrize("smi, told", [(None, "not installed"), ("#!/bin/sh\nexit 9\n", "finds none")])
def test_without_a_gpu_one_line_and_exit_status_2(check, smi, told):
    few = check.fakes.parent / "few"
    few.mkdir()
    for tool in ("bash", "dirname", "python3"):
        (few / tool).symlink_to(shutil.which(tool))
    if smi:
        write_programs(few, {"nvidia-smi": smi})
    code, output, folder = check(path=str(few))
    assert code == 2 and len(output.splitlines()) == 1 and told in output and not folder.exists()


@pytest.mark.parametrize("arguments, told", [(("--only", "conformence"), "no step is called 'conformence'"), (("--bundle", "/nowhere"), "/nowhere is no bundle"),
                                             (("--text", "/nowhere.txt"), "/nowhere.txt is not there"), (("--dry-run", "--only", "conformence"), "no step is called"),
                                             (("--budget", "-5"), "is none")])
def test_wrong_usage_is_one_line_and_exit_status_2(check, arguments, told):
    code, output, folder = check(*arguments)
    assert code == 2 and told in output and len(output.splitlines()) == 1


@pytest.mark.parametrize("content", [None, "{", "[]", '{"architecture": "90"}'])
def test_a_damaged_bundle_is_one_line_and_exit_status_2(check, content):
    about = check.bundle / "bundle.json"
    about.unlink()
    if content is not None:
        about.write_text(content)
    code, output, folder = check()
    assert code == 2 and "missing or damaged" in output and len(output.splitlines()) == 1


def test_a_folder_that_is_somebody_elses_is_left_alone(check):
    code, output, folder = check("--only", "conformance")
    (folder / "gpu_check.json").unlink()  # as if data/ were not of a check
    (folder / "data/thesis.txt").write_text("x")
    code, output, folder = check()
    assert code == 2 and "not of an earlier check" in output and (folder / "data/thesis.txt").exists()


def test_results_of_another_commit_or_gpu_decide_nothing(check):
    gates = [step for step in kit.steps(kit.Places("", "", "", ""), False) if step.gate]
    assert check("--only", "conformance")[0] == 1
    code, output, folder = check("--only", "sanitizer memcheck")
    whole, ran = report_of(folder)
    done = ran["conformance"]
    for changed in ("commit", "gpu", None):
        whole["steps"] = [{**done, "name": gate.name, **({changed: "another"} if changed else {})} for gate in gates]
        (folder / "gpu_check.json").write_text(json.dumps(whole))
        assert check("--only", "sanitizer memcheck")[0] == (1 if changed else 0)


def test_what_was_built_is_where_the_steps_look_for_it(tmp_path):
    assert all((BUILD / path).exists() for path in kit.BUILT if "benchmarks" not in path)
    for path in kit.BUILT:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("")
    (job,) = next(step for step in kit.build_steps("90", str(tmp_path)) if step.name == "programs").jobs
    subprocess.run(job.command, check=True)
    assert all(Path(kit.Places(str(tmp_path / "bin"), "", "", "").program(name)).exists() for name in ("aloft", "aloft_tests", "aloft_benchmarks"))


def test_missing_cuda_libraries_are_named(tmp_path, monkeypatch):
    folder = tmp_path / "site/nvidia/cu13/lib"
    folder.mkdir(parents=True)
    for name in cuda_libraries.NEEDED[1:]:
        (folder / name).write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    monkeypatch.setenv("CUDA_HOME", "")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(cuda_libraries, "SYSTEM", str(tmp_path / "no toolkit"))
    found, missing = cuda_libraries.find()
    assert found == [str(folder)] and missing == [cuda_libraries.NEEDED[0]]
