#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: conformance of every kernel, runs from end to end beside the CPU's, benchmarks beside other libraries
# and the hardware's limits, Nsight Compute, compute-sanitizer. Each step is a process of its own with its own time limit, and
# the report (gpu_check.md, gpu_check.json, log.txt in DIR) is written anew after each.
#   tools/gpu_check.sh DIR --bundle FOLDER    compiles nothing: programs, libraries and text from tools/gpu_bundle.sh
#   tools/gpu_check.sh DIR --text FILE        builds for the GPU at hand first; needs the CUDA toolkit and tools/install_dependencies.sh's packages
#   --budget SECONDS   for all steps (default 420); what does not fit is left out from the end
#   --quick            end to end without the runs on a large vocabulary
#   --only STEP,...    these alone; what an earlier call left in DIR stays in the report. Two calls of 420 s cover everything
#   --dry-run          prints steps, calls and limits, runs nothing
# Exit: 0 conformance, end to end and sanitizers clean, 1 not (or not all run yet), 2 no GPU here, or wrong usage.
set -euo pipefail
refuse() { echo "gpu_check: $1" >&2; exit 2; }

check=$(dirname "$0")/gpu_check/main.py
[ $# -gt 0 ] || refuse "a folder for the results is missing: tools/gpu_check.sh DIR --bundle FOLDER"
command -v python3 >/dev/null || refuse "no python3 here"
bundle=false
for argument in "$@"; do
  case "$argument" in
    --dry-run | --help | -h) exec python3 "$check" "$@" ;;
    --bundle | --bundle=*) bundle=true ;;
  esac
done
command -v nvidia-smi >/dev/null || refuse "no NVIDIA GPU here (nvidia-smi is not installed): nothing was checked"
nvidia-smi --query-gpu=name --format=csv,noheader >/dev/null 2>&1 || refuse "no NVIDIA GPU here (nvidia-smi finds none): nothing was checked"
PATH="$PATH:/usr/local/cuda/bin"
$bundle || command -v nvcc >/dev/null || refuse "a GPU but no CUDA toolkit here (nvcc is neither on PATH nor in /usr/local/cuda/bin), and no --bundle: nothing was checked"
exec python3 "$check" "$@"
