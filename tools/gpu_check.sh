#!/usr/bin/env bash
# On a machine with an NVIDIA GPU and the CUDA toolkit: builds for that GPU, runs every conformance test with the CUDA backend
# required, compute-sanitizer over the kernel tests, the benchmarks beside other libraries, and Nsight Compute on the hot
# kernels, in under 9 minutes. Writes gpu_check.md, gpu_check.json and log.txt into a folder.
#   tools/gpu_check.sh DIR                  everything
#   tools/gpu_check.sh --dry-run DIR        prints the steps and their time limits, runs nothing
#   tools/gpu_check.sh DIR --text FILE      real text for the benchmarks beside the seeded Zipf streams
#   tools/gpu_check.sh DIR --debs FOLDER    libraries from Debian packages in FOLDER (tools/gpu_packages.sh), for a bare machine
# Exit: 0 conformance and sanitizers clean, 1 not, 2 no GPU or no toolkit here, or wrong usage.
set -euo pipefail
cd "$(dirname "$0")/.."
refuse() { echo "gpu_check: $1" >&2; exit 2; }

[ $# -gt 0 ] || refuse "a folder for the results is missing: tools/gpu_check.sh DIR"
command -v python3 >/dev/null || refuse "no python3 here"
for argument in "$@"; do
  if [ "$argument" = --dry-run ]; then exec python3 tools/gpu_check.py "$@"; fi
done
command -v nvidia-smi >/dev/null || refuse "no NVIDIA GPU here (nvidia-smi is not installed): nothing was checked"
nvidia-smi --query-gpu=name --format=csv,noheader >/dev/null 2>&1 || refuse "no NVIDIA GPU here (nvidia-smi finds none): nothing was checked"
PATH="$PATH:/usr/local/cuda/bin"
command -v nvcc >/dev/null || refuse "a GPU but no CUDA toolkit here (nvcc is neither on PATH nor in /usr/local/cuda/bin): nothing was checked"
exec python3 tools/gpu_check.py "$@"
