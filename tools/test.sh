#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test: C++ (release and, under ASan and UBSan, debug), the CUDA backend
# executed without a GPU (tests/README.md; the same two builds, and one with a race checker), and Python (the emitted files
# loaded into the real libraries). Ends with "N passed, N failed".
#   tools/test.sh              everything
#   tools/test.sh --quick      release C++ tests only
set -euo pipefail
cd "$(dirname "$0")/.."

quick=false
[ "${1:-}" = --quick ] && quick=true

# What drives kernels and the CUDA host code directly; the stages above them run once.
kernel_suites='*Ops*/cuda:*Count*/cuda:*CsrAdd*/cuda:*SkewSpectrum*/cuda:*FillNormal*/cuda:*ChunkFeed*/cuda:Cuda*:Simt*:*/Simt*'

tools/install_dependencies.sh --tests
tools/cuda_headers.sh
passed=0 failed=0
log=$(mktemp) report=$(mktemp)
trap 'rm -f "$log" "$report"' EXIT

# Runs a GoogleTest program and adds its results to the totals. They come from its JSON report; a program that dies before
# writing one, or fails beside its tests (a leak, say), counts as one failure.
run_gtest() { # name, program, arguments
  echo "== $1"
  local status=0 ok=0 bad=0
  rm -f "$report"
  "$2" "${@:3}" --gtest_brief=1 "--gtest_output=json:$report" 2>&1 || status=$?
  if [ -s "$report" ]; then
    read -r ok bad < <(/usr/bin/python3 - "$report" <<'PYTHON'
import json, sys
tests = [t for suite in json.load(open(sys.argv[1]))["testsuites"] for t in suite["testsuite"]]
bad = sum("failures" in t for t in tests)
print(sum(t["result"] == "COMPLETED" for t in tests) - bad, bad)
PYTHON
    )
  fi
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
  echo "$1: $ok passed, $bad failed (exit status $status)"
  passed=$((passed + ok)) failed=$((failed + bad))
}

cmake --preset release -DALOFT_TESTS=ON -DALOFT_SIMT=ON >/dev/null
cmake --build --preset release
run_gtest "C++ tests, release" build/release/tests/aloft_tests
run_gtest "CUDA backend on the CPU" build/release/tests/simt/aloft_simt_tests

if ! $quick; then
  SIMT_SEED=2 SIMT_SEEDS=3 run_gtest "CUDA kernels, further schedules" build/release/tests/simt/aloft_simt_tests \
    "--gtest_filter=$kernel_suites"
  SIMT_SEED=5 run_gtest "CUDA kernels, race checker" build/release/tests/simt/aloft_simt_race_tests \
    "--gtest_filter=$kernel_suites"

  cmake --preset debug -DALOFT_SIMT=ON >/dev/null
  cmake --build --preset debug
  export UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_leaks=1
  run_gtest "C++ tests, ASan and UBSan" build/debug/tests/aloft_tests
  SIMT_SEED=6 run_gtest "CUDA kernels, ASan and UBSan" build/debug/tests/simt/aloft_simt_tests \
    "--gtest_filter=$kernel_suites"
  unset UBSAN_OPTIONS ASAN_OPTIONS

  # Debian's torch belongs to the system's Python, so the environment is made with that one.
  if [ ! -x .venv/bin/pytest ] || ! .venv/bin/pip freeze 2>/dev/null | grep -qF "$(grep -m1 '^transformers' tests/python/requirements.txt)"; then
    /usr/bin/python3 -m venv --system-site-packages .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r tests/python/requirements.txt
  fi
  echo "== Python tests"
  status=0
  ALOFT_PROGRAM="$PWD/build/release/aloft" HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 \
    .venv/bin/python -m pytest -q tests/python 2>&1 | tee "$log" || status=$?
  summary=$(grep -E '^[0-9]+ (passed|failed|error)|^=+ .*(passed|failed|error)' "$log" | tail -n 1)
  count() { sed -n "s/.*\b\([0-9]\+\) $1.*/\1/p" <<<"$summary"; }
  ok=$(count passed) bad=$(count failed) broken=$(count error)
  if [ "$status" -ne 0 ] && [ -z "$bad$broken" ]; then broken=1; fi
  passed=$((passed + ${ok:-0})) failed=$((failed + ${bad:-0} + ${broken:-0}))
fi

echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
