#!/usr/bin/env bash
# Installs what the build needs from Debian 12's packages, if anything is missing. With --tests, what the tests need
# too (--cpp-tests: those in C++ alone); with --benchmarks, what the benchmark program and its peers need; with --fuzz,
# clang and its fuzzer.
set -euo pipefail

build=(g++ cmake ninja-build git pkg-config libcli11-dev nlohmann-json3-dev libyaml-cpp-dev libfmt-dev
  libopenblas-dev liblapacke-dev libkissfft-dev libxxhash-dev libutf8proc-dev libsentencepiece-dev)
cpp_tests=(libgtest-dev libeigen3-dev python3 python3-venv)
python_tests=(python3-numpy python3-scipy python3-jinja2 python3-torch python3-pytest python3-yaml python3-matplotlib)
fuzz=(clang libclang-rt-14-dev)
benchmarks=(libbenchmark-dev python3 python3-numpy python3-scipy)

wanted=("${build[@]}")
for argument in "$@"; do
  case "$argument" in
    --tests) wanted+=("${cpp_tests[@]}" "${python_tests[@]}") ;;
    --cpp-tests) wanted+=("${cpp_tests[@]}") ;;
    --fuzz) wanted+=("${fuzz[@]}") ;;
    --benchmarks) wanted+=("${benchmarks[@]}") ;;
    *) wanted+=("$argument") ;; # further packages by name
  esac
done

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "install_dependencies: not a Debian system; install by hand: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "install_dependencies: run as root, or install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "installing: ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{ "${as_root[@]}" apt-get update -qq &&
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 ||
  { tail -n 20 "$log" >&2; echo "install_dependencies: apt-get failed" >&2; exit 1; }
