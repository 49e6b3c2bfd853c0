#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test: C++ (release and, under ASan and UBSan, debug), the CUDA backend
# executed without a GPU (tests/README.md; the same two builds, and one with a race checker), every reader under a fuzzer for a
# few seconds, and Python (the emitted files loaded into the real libraries). Ends with the seconds of every step and
# "N passed, N failed".
#   tools/test.sh              everything
#   tools/test.sh --quick      release C++ tests only
#   tools/test.sh --thorough   everything, the kernels under many more schedules, plans against measured memory, the readers under
#                              the fuzzer for longer, Python with the current transformers too, 3000 faults and 500 kills
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -le 1 ] || { echo "test: one argument at most: --quick, --thorough or nothing" >&2; exit 2; }
case "${1:-}" in
  "" | --quick | --thorough) mode=${1:-} ;;
  *) echo "test: unknown argument $1: give --quick, --thorough or nothing" >&2; exit 2 ;;
esac
jobs=$(nproc)
shards=$((8 * jobs)) # many more than run at a time, so that a long one does not end alone
# Workers that wait sleep: spinning, those of one program would keep another from running.
export OMP_WAIT_POLICY=passive OPENBLAS_THREAD_TIMEOUT=4
# A processor younger than Debian's OpenBLAS is taken for the oldest one it knows: some tests run five times as long.
if [ -z "${OPENBLAS_CORETYPE:-}" ] && grep -qw avx2 /proc/cpuinfo; then
  export OPENBLAS_CORETYPE=Haswell
fi
passed=0 failed=0 not_run='' ignored=()
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What drives kernels and the CUDA host code directly; the stages above them run once.
kernel_suites='*Ops*/cuda:*Count*/cuda:*Csr*/cuda:*SkewSpectrum*/cuda:*FillNormal*/cuda:*ChunkFeed*/cuda:Cuda*:Simt*:*/Simt*'
# Schedules that no earlier commit has been tested with, and the same again for this one.
commit_seed=$((16#$(git rev-parse --short=7 HEAD 2>/dev/null | head -c 7 || echo 2)))

# ---- the time of each step: in all, and of all processors together

times_of_steps='' step_name=''
step() { # name; ends the step before it
  local now=${EPOCHREALTIME/[.,]/} cpu
  times >"$work/times"
  cpu=$(awk '{for (i = 1; i <= 2; i++) {split($i, t, /[ms]/); s += 60 * t[1] + t[2]}} END {print s}' "$work/times")
  if [ -n "$step_name" ]; then
    times_of_steps+=$(awk -v "n=$step_name" -v "s=$(((now - step_start) / 100000))" -v "c=$cpu" -v "b=$step_cpu" \
      'BEGIN {printf "%8.1f %8.1f  %s", s / 10, c - b, n}')$'\n'
  fi
  step_name=$1 step_start=$now step_cpu=$cpu
  if [ -n "$1" ]; then echo "== $1"; fi
}

# ---- GoogleTest programs

# Runs a program in shards, some at a time, and adds its results to the totals. They come from the shards' JSON reports; a
# shard that dies before writing one, or fails beside its tests (a leak, say), counts as one failure.
run_gtest() { # name, program, arguments
  step "$1"
  rm -rf "$work/shards"
  mkdir "$work/shards"
  export GTEST_TOTAL_SHARDS=$shards SIMT_COVERAGE=$work/shards/coverage
  seq 0 $((shards - 1)) | xargs -P "$jobs" -I{} bash -c '
    status=0
    GTEST_SHARD_INDEX={} "${@:2}" --gtest_brief=1 "--gtest_output=json:$1/{}.json" >"$1/{}.log" 2>&1 || status=$?
    echo $status >"$1/{}.status"' shard "$work/shards" "${@:2}"
  unset GTEST_TOTAL_SHARDS SIMT_COVERAGE
  cat "$work"/shards/*.log
  local ok bad
  read -r ok bad < <(/usr/bin/python3 - "$work/shards" "$shards" <<'PYTHON'
import json, pathlib, sys
folder, shards = pathlib.Path(sys.argv[1]), int(sys.argv[2])
ok = bad = 0
for shard in range(shards):
    status, report = folder / f"{shard}.status", folder / f"{shard}.json"
    try:
        suites = json.loads(report.read_text())["testsuites"]
    except (OSError, ValueError):  # died before it; or failed outside any test, of which GoogleTest 1.12 makes no JSON
        bad += 1
        continue
    tests = [t for suite in suites for t in suite["testsuite"]]
    wrong = sum("failures" in t for t in tests)
    ok += sum(t["result"] == "COMPLETED" for t in tests) - wrong
    bad += wrong or (not status.exists() or status.read_text().strip() != "0")
print(ok, bad or int(ok == 0))  # a program of which no test ran has a filter that names none
PYTHON
  )
  echo "$1: $ok passed, $bad failed"
  passed=$((passed + ok)) failed=$((failed + bad))
}

# ---- the readers, under libFuzzer (tests/README.md)

build_fuzzers() {
  local compiler=g++ # its own driver then, without libFuzzer's eye for what is covered
  if echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
    clang++ -x c++ -fsanitize=fuzzer - -o "$work/probe" 2>/dev/null; then
    compiler=clang++
  fi
  cmake -S tests/fuzz -B build/fuzz -G Ninja "-DCMAKE_CXX_COMPILER=$compiler" >/dev/null
  cmake --build build/fuzz
}

run_fuzzers() { # seconds for each target; what they found before is where they begin
  step "fuzz targets, $1 s each"
  local ok bad
  tests/fuzz/run.sh build/fuzz/aloft_fuzz build/fuzz/corpus "$jobs" "-max_total_time=$1" "-seed=$commit_seed" |
    tee "$work/fuzz" || true
  read -r ok bad < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$work/fuzz") || true
  passed=$((passed + ${ok:-0})) failed=$((failed + ${bad:-1}))
}

# ---- Python tests

# Debian's torch belongs to the system's Python, so the environment is made with that one.
make_environment() {
  tools/install_dependencies.sh --fuzz || true # without it, g++ makes the fuzz targets
  tools/install_dependencies.sh --tests --benchmarks || return
  cmp -s tests/python/requirements.txt .venv/requirements.txt && return
  /usr/bin/python3 -m venv --system-site-packages .venv
  .venv/bin/pip install --quiet --disable-pip-version-check -r tests/python/requirements.txt
  cp tests/python/requirements.txt .venv/
}

# The current transformers need a torch newer than Debian's. PyPI's is linked to CUDA's libraries: a toolkit has them.
toolkit=${CUDA_HOME:-/usr/local/cuda}/lib64
make_current_environment() {
  local wanted=tests/python/requirements-current.txt library missing=
  if ! cmp -s $wanted .venv-current/requirements.txt; then
    rm -rf .venv-current
    /usr/bin/python3 -m venv .venv-current || return
    .venv-current/bin/pip install --quiet --disable-pip-version-check --no-deps -r $wanted || return
    for library in libcudart.so.13 libcublas.so.13 libcudnn.so.9 libnccl.so.2 libcupti.so.13; do
      [ -e "$toolkit/$library" ] || missing=$library
    done
    if [ -n "$missing" ]; then
      .venv-current/bin/pip install --quiet --disable-pip-version-check "$(grep '^torch==' $wanted)" || return
    fi
    current_python -c 'import torch, transformers, peft' || return
    cp $wanted .venv-current/requirements.txt
  fi
}

current_python() {
  local libraries
  libraries=$(printf '%s:' .venv-current/lib/python3*/site-packages/nvidia/*/lib)
  LD_LIBRARY_PATH=$PWD/${libraries//:.venv/:$PWD/.venv}$toolkit .venv-current/bin/python "$@"
}

run_pytest() { # name, python and its arguments
  step "$1"
  local status=0 summary ok bad broken
  ALOFT_PROGRAM="$PWD/build/release/aloft" HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 OMP_NUM_THREADS=1 \
    "${@:2}" -m pytest -q -n "$jobs" --dist worksteal tests/python ${ignored[@]+"${ignored[@]}"} 2>&1 | tee "$work/pytest" || status=$?
  summary=$(grep -E '^[0-9]+ (passed|failed|error)|^=+ .*(passed|failed|error)' "$work/pytest" | tail -n 1 || true)
  count() { sed -n "s/.*\b\([0-9]\+\) $1.*/\1/p" <<<"$summary"; }
  ok=$(count passed) bad=$(count failed) broken=$(count error)
  if [ "$status" -ne 0 ] && [ -z "$bad$broken" ]; then broken=1; fi
  passed=$((passed + ${ok:-0})) failed=$((failed + ${bad:-0} + ${broken:-0}))
}

# ---- all of it

step "packages"
tools/install_dependencies.sh --cpp-tests libbenchmark-dev
tools/cuda_headers.sh
if [ "$mode" != --quick ]; then
  make_environment >"$work/environment" 2>&1 & # torch and clang are most of what is fetched, and only needed at the end
  environment=$!
fi

step "build, release"
cmake --preset release -DALOFT_TESTS=ON -DALOFT_SIMT=ON -DALOFT_BENCHMARKS=ON -DALOFT_UNITY=ON >/dev/null
cmake --build --preset release
run_gtest "C++ tests, release" build/release/tests/aloft_tests
run_gtest "CUDA backend on the CPU" build/release/tests/simt/aloft_simt_tests

if [ "$mode" != --quick ]; then
  SIMT_SEED=$commit_seed run_gtest "CUDA kernels, race checker, this commit's schedule" \
    build/release/tests/simt/aloft_simt_race_tests "--gtest_filter=$kernel_suites"
  if [ "$mode" = --thorough ]; then
    SIMT_SEED=2 SIMT_SEEDS=8 run_gtest "CUDA kernels, further schedules" build/release/tests/simt/aloft_simt_tests \
      "--gtest_filter=$kernel_suites"
    step "plan against measured memory"
    for program in "build/release/aloft" "build/release/tests/simt/aloft_simt --device"; do
      # shellcheck disable=SC2086
      if tests/plan_against_measured.py $program; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    done
  fi

  step "build, ASan and UBSan"
  test_objects=$PWD/build/release # as they are; all of it instrumented, tests too, when thorough
  if [ "$mode" = --thorough ]; then test_objects=; fi
  cmake --preset debug -DALOFT_SIMT=ON "-DALOFT_TEST_OBJECTS=$test_objects" >/dev/null
  cmake --build --preset debug
  export UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_leaks=1:malloc_context_size=8 # of 30 frames: 2,500 programs are started
  run_gtest "C++ tests, ASan and UBSan" build/debug/tests/aloft_tests
  SIMT_SEED=$((commit_seed + 1)) run_gtest "CUDA kernels, ASan and UBSan" build/debug/tests/simt/aloft_simt_tests \
    "--gtest_filter=$kernel_suites"
  unset UBSAN_OPTIONS ASAN_OPTIONS

  step "Python environment"
  wait "$environment" || { cat "$work/environment"; exit 1; }
  step "build, fuzz targets"
  build_fuzzers
  if [ "$mode" = --thorough ]; then run_fuzzers 120; else run_fuzzers 4; fi

  run_pytest "Python tests" .venv/bin/python
  if [ "$mode" = --thorough ]; then
    step "Python environment, current transformers"
    if make_current_environment >"$work/environment" 2>&1; then
      # what loads nothing has been tested above
      ignored=(--ignore=tests/python/test_gpu_check.py --ignore=tests/python/test_faults.py --ignore=tests/python/test_install.py --ignore=tests/python/test_peers.py --ignore=tests/python/test_report.py --ignore=tests/python/test_analyze.py)
      run_pytest "Python tests, current transformers" current_python
    else
      not_run="not run: the Python tests with the current transformers, whose environment cannot be made here: $(tail -n 1 "$work/environment")"
    fi
    step "3000 faults, 500 kills"
    if .venv/bin/python tests/faults/sweep.py --faults 3000 --kills 500 --seed "$commit_seed" --jobs "$jobs"; then
      passed=$((passed + 1))
    else
      failed=$((failed + 1))
    fi
  fi
fi

step ''
printf '\n%8s %8s  step\n%s%8s\n' seconds CPU "$times_of_steps" "$SECONDS in all"
if [ -n "$not_run" ]; then echo "$not_run"; fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
