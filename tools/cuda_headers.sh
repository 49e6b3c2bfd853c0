#!/usr/bin/env bash
# Fetches CUDA's headers from NVIDIA's PyPI packages into build/cuda-headers, unless a CUDA 13 toolkit is there. They are all that
# the tests need to execute the CUDA backend on the CPU (tests/simt/); nothing of them goes into the program.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-crt==13.0.88 nvidia-nvtx==13.0.85)
into=build/cuda-headers

is_cuda_13() { grep -qs 'define CUDART_VERSION *13' "$1/cuda_runtime_api.h"; }
nvcc=$(command -v nvcc || true)
is_cuda_13 "${CUDA_HOME:-/usr/local/cuda}/include" && exit 0
[ -n "$nvcc" ] && is_cuda_13 "$(dirname "$(readlink -f "$nvcc")")/../include" && exit 0
[ "$(cat "$into/versions" 2>/dev/null)" = "${packages[*]}" ] && exit 0

wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
echo "fetching CUDA's headers: ${packages[*]}" >&2
[ -x build/pip/bin/pip ] || /usr/bin/python3 -m venv build/pip
build/pip/bin/pip download --quiet --disable-pip-version-check --no-deps --dest "$wheels" "${packages[@]}"
rm -rf "$into"
mkdir -p "$into"
/usr/bin/python3 - "$wheels" "$into" <<'PYTHON'
import pathlib, sys, zipfile
wheels, into = map(pathlib.Path, sys.argv[1:])
for wheel in wheels.glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            _, found, inside = name.partition("nvidia/cu13/include/")
            if found and inside and not name.endswith("/"):
                target = into / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
PYTHON
printf '%s' "${packages[*]}" >"$into/versions"
