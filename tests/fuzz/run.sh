#!/usr/bin/env bash
# Runs every fuzz target (tests/README.md), some at a time. A line for each, then "N passed, N failed".
#   tests/fuzz/run.sh PROGRAM FOLDER JOBS ARGUMENT...
# ARGUMENT are libFuzzer's, such as -max_total_time=4 or -runs=100000. FOLDER keeps what was found worth keeping: the next
# run begins with it. ALOFT_FUZZ_TARGETS may name a few targets. An input that fails is FOLDER/TARGET.crash-*.
set -euo pipefail
program=$(realpath "$1") folder=$2 jobs=$3
shift 3
mkdir -p "$folder"
export ASAN_OPTIONS=detect_leaks=1:quarantine_size_mb=8:allocator_may_return_null=0 UBSAN_OPTIONS=print_stacktrace=1

one() { # program, folder, target, arguments
  local program=$1 folder=$2 target=$3 log=$2/$3.log
  shift 3
  export ALOFT_FUZZ_TARGET=$target
  "$program" "--seeds=$folder/$target.seeds"
  mkdir -p "$folder/$target"
  if "$program" -dict="$folder/$target.seeds.dict" -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=512 -print_final_stats=0 \
    -artifact_prefix="$folder/$target." "$@" "$folder/$target" "$folder/$target.seeds" >"$log" 2>&1; then
    echo "ok $target: $(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$log" | tail -n 1) executions"
  else
    tail -n 60 "$log"
    echo "FAILED $target"
  fi
}
export -f one

targets=${ALOFT_FUZZ_TARGETS:-$("$program" --targets)}
printf '%s\n' $targets | xargs -P "$jobs" -I{} bash -c 'one "$0" "$1" {} "${@:2}"' "$program" "$folder" "$@" |
  tee "$folder/result"
echo "$(grep -c '^ok ' "$folder/result" || true) passed, $(grep -c '^FAILED ' "$folder/result" || true) failed"
! grep -q '^FAILED ' "$folder/result"
