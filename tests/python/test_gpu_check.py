"""tools/gpu_check.sh without a GPU: its steps run against stand-ins for the GPU's tools, its verdicts and tables are checked."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import gpu_check  # noqa: E402
import gpu_check_report  # noqa: E402

TESTS = """#!/bin/sh
for a in "$@"; do case "$a" in --gtest_output=json:*) out=${a#--gtest_output=json:};; esac; done
[ "$ALOFT_EXPECT_BACKEND" = cuda ] || exit 7
[ -z "$FAKE_NO_TESTS" ] || { echo '{"testsuites": []}' >"$out"; exit 0; }
echo '{"testsuites": [{"testsuite": [{"result": "'${FAKE_RESULT:-COMPLETED}'"}, {"result": "COMPLETED"}]}]}' >"$out"
"""
BENCHMARKS = """#!/bin/sh
[ -z "$FAKE_NO_BENCHMARKS" ] || exit 1
for a in "$@"; do case "$a" in --benchmark_out=*) out=${a#--benchmark_out=};; --benchmark_filter=*) case=${a#--benchmark_filter=^};; esac; done
name=$(echo "$case" | cut -c1-2)_$(basename "$out" .json)/cuda
[ -z "$out" ] || echo '{"context": {"num_cpus": 1}, "benchmarks": [{"name": "'$name'/iterations:20/manual_time", "pairs/s": 50,
  "increments/s": 100, "of:increments/s": 0.5}]}' >"$out"
"""
TOOLS = {
    "nvidia-smi": '#!/bin/sh\ncase "$1" in *compute_cap*) echo "Stand-in GPU, 9.0, 999.99, 80 GiB";; *) echo "Stand-in GPU";; esac\n',
    "nvcc": "#!/bin/sh\necho 'release 13.0, V13.0.48'\n",
    # "builds" the two programs
    "cmake": '#!/bin/sh\n[ "$1" = --build ] || exit 0\nmkdir -p "$2/tests"\ncp "$FAKES/aloft_tests" "$2/tests/"\ncp "$FAKES/aloft_benchmarks" "$2/"\n',
    "compute-sanitizer": '#!/bin/sh\ntool=$2\nwhile [ "${1%aloft_tests}" = "$1" ]; do shift; done\n"$@" || exit\n'
    '[ "$tool" != "$FAKE_BAD_TOOL" ] || { echo "========= ERROR SUMMARY: 3 errors"; exit 99; }\n'
    '[ "$tool" = "$FAKE_SILENT_TOOL" ] || echo "========= ERROR SUMMARY: 0 errors"\n',
    "ncu": '#!/bin/sh\nwhile [ "$1" != --log-file ]; do shift; done\n'
    'printf \'==PROF== x\\n"Kernel Name","gpu__time_duration.sum","lts__t_sector_hit_rate.pct"\\n"","ns","%%"\\n'
    '"count_rows","1,500","50"\\n"count_rows","2500","70"\\n"count_rows","3500","60"\\n\' >"$2"\n',
}


@pytest.fixture
def tree(tmp_path):
    """A copy of the scripts with stand-ins beside them; run(**environment) -> (exit status, output, folder of results)."""
    for name in ("tools/gpu_check.sh", "tools/gpu_check.py", "tools/gpu_check_report.py", "profiles/benchmark_table.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    fakes = tmp_path / "fakes"
    fakes.mkdir()
    for name, text in {**TOOLS, "aloft_tests": TESTS, "aloft_benchmarks": BENCHMARKS}.items():
        (fakes / name).write_text(text)
        (fakes / name).chmod(0o755)
    for name, text in {"tools/install_dependencies.sh": "#!/bin/sh\n", "profiles/peers.py": "raise SystemExit('no CuPy')\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def run(*arguments, path=f"{fakes}:{os.environ['PATH']}", **environment):
        command = ["bash", str(tmp_path / "tools/gpu_check.sh"), *arguments, str(tmp_path / "out")]
        variables = {**os.environ, "PATH": path, "FAKES": str(fakes), **environment}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr, tmp_path / "out"

    run.fakes = fakes
    return run


def report_of(folder):
    report = json.loads((folder / "gpu_check.json").read_text())
    return report, {s["name"]: s for s in report["steps"]}


def test_without_a_gpu_one_line_and_exit_status_2(tree):
    few = tree.fakes.parent / "few"
    few.mkdir()
    for tool in ("bash", "dirname", "python3"):
        (few / tool).symlink_to(shutil.which(tool))
    code, output, folder = tree(path=str(few))
    assert code == 2 and len(output.splitlines()) == 1 and "no NVIDIA GPU" in output
    (tree.fakes / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    code, output, folder = tree()
    assert code == 2 and len(output.splitlines()) == 1 and "finds none" in output
    assert not folder.exists()


def test_dry_run_lists_steps_that_fit_into_nine_minutes(tree):
    code, output, folder = tree("--dry-run", path=os.environ["PATH"])
    assert code == 0 and not folder.exists()
    limits = {line.split("s", 1)[1].strip().split("  ")[0]: int(line.split()[0]) for line in output.splitlines()}
    sanitizers = {k: v for k, v in limits.items() if k.startswith("sanitizer")}
    assert len(sanitizers) == 4
    deciding = [limits[k] for k in ("packages", "configure", "build", "conformance")] + [max(sanitizers.values())]
    assert sum(deciding) < gpu_check.TOTAL_SECONDS - 120 and gpu_check.TOTAL_SECONDS < 540
    for needed in ("conformance", "memcheck", "racecheck", "initcheck", "synccheck", "benchmark", "peers", "ncu"):
        assert needed in output


def test_a_clean_run_writes_both_tables(tree):
    code, output, folder = tree()
    assert code == 0, output
    report, steps = report_of(folder)
    assert report["clean"] and report["gpu"] == "Stand-in GPU" and report["driver"] == "999.99" and report["architecture"] == "90"
    assert "-DCMAKE_CUDA_ARCHITECTURES=90-real" in steps["configure"]["command"]
    assert [s["status"] for n, s in steps.items() if n != "peers"] == ["passed"] * (len(steps) - 1)
    assert steps["peers"]["status"] == "failed" and "no CuPy" in steps["peers"]["detail"]
    assert report["kernels"]["B1"] == [{"kernel": "count_rows", "launches": 3, **{m: None for m in gpu_check_report.METRICS},
                                        "gpu__time_duration.sum": 2500.0, "lts__t_sector_hit_rate.pct": 60.0}]
    assert {c["case"] for c in report["benchmarks"]["cases"]} == {"B[_counting/cuda", "B4_projection/cuda", "B5_antisymmetric/cuda", "B5_antisymmetric_many/cuda", "B5_general/cuda"}
    markdown = (folder / "gpu_check.md").read_text()
    for part in ("Stand-in GPU", "999.99", "| sanitizer racecheck | passed |", "B4_projection/cuda", "count_rows", "**clean**", "aloft_tests --gtest_filter"):
        assert part in markdown
    assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d UTC", markdown)
    assert "==== conformance" in (folder / "log.txt").read_text()


@pytest.mark.parametrize(
    "environment, step, detail",
    [
        ({"FAKE_BAD_TOOL": "racecheck"}, "sanitizer racecheck", "3 errors"),
        ({"FAKE_SILENT_TOOL": "initcheck"}, "sanitizer initcheck", "no summary"),
        ({"FAKE_NO_TESTS": "1"}, "conformance", "no test ran"),
        ({"FAKE_RESULT": "SKIPPED"}, "conformance", "1 skipped"),
    ],
)
def test_a_gate_that_fails_sets_the_exit_status_and_stops_nothing(tree, environment, step, detail):
    code, output, folder = tree(**environment)
    report, steps = report_of(folder)
    assert code == 1 and not report["clean"]
    assert steps[step]["status"] == "failed" and detail in steps[step]["detail"]
    assert steps["benchmark counting"]["status"] == "passed" and report["kernels"]["B2"]
    assert "NOT clean" in (folder / "gpu_check.md").read_text()


def test_old_figures_do_not_pass_for_new_ones(tree):
    assert tree()[0] == 0
    code, output, folder = tree(FAKE_NO_BENCHMARKS="1")
    report, steps = report_of(folder)
    assert code == 0 and report["benchmarks"] is None and steps["benchmark counting"]["status"] == "failed"


def test_a_missing_tool_is_named_and_a_hanging_one_ends_at_its_limit(tree, tmp_path):
    (tree.fakes / "cmake").write_text("#!/bin/sh\necho 'Could NOT find GTest (missing: X)'\nexit 1\n")
    code, output, folder = tree()
    report, steps = report_of(folder)
    assert code == 1 and "missing: GTest" in steps["configure"]["detail"]
    assert steps["conformance"]["status"] == "not run" and "is missing" in steps["conformance"]["detail"]
    step = gpu_check.Step("slow", ["sh", "-c", "sleep 60 & wait"], 1)
    result = gpu_check.run(step, 1, tmp_path / "slow.log", dict(os.environ))
    assert result["status"] == "timed out" and result["seconds"] < 10


def test_the_whole_ends_in_time_whatever_its_steps_do(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_check, "OUT", str(tmp_path))
    hanging = [gpu_check.Step(f"step {k}", ["sleep", "60"], 60) for k in range(3)]
    results = gpu_check.run_all(hanging, str(tmp_path), dict(os.environ), total=2)
    assert [r["status"] for r in results] == ["timed out", "not run", "not run"]
    assert results[0]["seconds"] < 10 and results[1]["detail"] == "out of time"
