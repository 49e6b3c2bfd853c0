#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test: C++ (release and, under ASan and UBSan, debug) and Python (the
# emitted files loaded into the real libraries). Ends with "N passed, N failed".
#   tools/test.sh              everything
#   tools/test.sh --quick      release C++ tests only
set -euo pipefail
cd "$(dirname "$0")/.."

quick=false
[ "${1:-}" = --quick ] && quick=true

tools/install_dependencies.sh --tests
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Runs a command, shows its output, and adds its closing counts to the totals; `pattern` picks "<n> passed"/"<n> failed".
tally_gtest() { # name, program
  echo "== $1"
  if ! "$2" --gtest_brief=1 2>&1 | tee "$log"; then :; fi
  local ok bad
  ok=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | tail -n 1)
  bad=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test.*, listed below:$/\1/p' "$log" | tail -n 1)
  if [ -z "$ok" ]; then ok=0 bad=$((${bad:-0} + 1)); fi # it crashed before its summary
  passed=$((passed + ok)) failed=$((failed + ${bad:-0}))
}

cmake --preset release -DALOFT_TESTS=ON >/dev/null
cmake --build --preset release
tally_gtest "C++ tests, release" build/release/tests/aloft_tests

if ! $quick; then
  cmake --preset debug >/dev/null
  cmake --build --preset debug
  export UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_leaks=1
  tally_gtest "C++ tests, ASan and UBSan" build/debug/tests/aloft_tests
  unset UBSAN_OPTIONS ASAN_OPTIONS

  # Debian's torch belongs to the system's Python, so the environment is made with that one.
  if [ ! -x .venv/bin/pytest ] || ! .venv/bin/pip freeze 2>/dev/null | grep -qF "$(grep -m1 '^transformers' tests/python/requirements.txt)"; then
    /usr/bin/python3 -m venv --system-site-packages .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r tests/python/requirements.txt
  fi
  echo "== Python tests"
  if ! ALOFT_PROGRAM="$PWD/build/release/aloft" HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 \
    .venv/bin/python -m pytest -q tests/python 2>&1 | tee "$log"; then :; fi
  summary=$(grep -E '^[0-9]+ (passed|failed|error)|^=+ .*(passed|failed|error)' "$log" | tail -n 1)
  count() { sed -n "s/.*\b\([0-9]\+\) $1.*/\1/p" <<<"$summary"; }
  ok=$(count passed) bad=$(count failed) broken=$(count error)
  [ -n "$ok$bad$broken" ] || broken=1
  passed=$((passed + ${ok:-0})) failed=$((failed + ${bad:-0} + ${broken:-0}))
fi

echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
