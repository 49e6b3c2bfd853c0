#!/usr/bin/env bash
# Starts the programs of a bundle (tools/gpu_bundle.sh) in a bare Debian 13 that has nothing but the bundle and CUDA's libraries.
# Each must say which backends it finds: "compiled in, but no CUDA device". As root.
#   tools/gpu_check/prove_bundle.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(realpath "$1")
root=build/bare-root

if [ ! -e $root/complete ]; then
  rm -rf $root
  mkdir -p $root
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
  debootstrap --variant=minbase trixie $root "$mirror" >build/bare-root.log 2>&1 ||
    { tail -n 5 build/bare-root.log >&2; echo "prove_bundle: debootstrap failed" >&2; exit 1; }
  touch $root/complete
fi
rm -rf $root/bundle
mkdir -p $root/bundle $root/cuda
tar -xf "$folder/aloft-gpu.tar.xz" -C $root/bundle
cuda=$(dirname "$(readlink -f "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")")/../lib64

# The mount lives in a namespace of its own and goes with it.
unshare --mount bash -euo pipefail -c '
  mount --bind -o ro "$1" "$2/cuda"
  inside() { chroot "$2" /usr/bin/env -i LD_LIBRARY_PATH=/bundle/lib:/cuda ALOFT_EXPECT_BACKEND=cuda "${@:3}"; }
  failed=0
  for command in "aloft doctor" "aloft_tests --gtest_filter=Backends.*" "aloft_benchmarks --backends"; do
    echo "bare root \$ $command"
    output=$(inside "$1" "$2" /bundle/bin/$command 2>&1) || true
    grep -E "backend|CUDA device" <<<"$output" | sed "s/^/  /"
    grep -q "no CUDA device was found" <<<"$output" || { echo "$output"; failed=1; }
  done
  exit $failed
' _ "$(realpath "$cuda")" "$(realpath $root)" || { echo "prove_bundle: a program did not start in the bare root" >&2; exit 1; }
echo "prove_bundle: all three programs start in a bare Debian $(cat $root/etc/debian_version) with CUDA's libraries and nothing else"
