#!/usr/bin/env bash
# For a GPU machine that can install nothing: the libraries that the build needs, as Debian 12 packages to carry over.
# Compiler, CMake, CUDA and Python must be there already.
#   tools/gpu_packages.sh FOLDER                  with a network, on Debian 12: downloads them into FOLDER (19 MB)
#   tools/gpu_packages.sh --unpack FOLDER INTO    on the other machine; tools/gpu_check.sh DIR --debs FOLDER does it itself
set -euo pipefail

if [ $# -eq 3 ] && [ "$1" = --unpack ]; then
  mkdir -p "$3"
  for package in "$2"/*.deb; do
    dpkg -x "$package" "$3"
  done
  # What installing would have chosen among the implementations of BLAS.
  config=$3/usr/lib/x86_64-linux-gnu/openblas-pthread/pkgconfig
  ln -sf lapack-openblas.pc "$config/lapack.pc"
  ln -sf blas-openblas.pc "$config/blas.pc"
  exit 0
fi
[ $# -eq 1 ] && [ "${1#-}" = "$1" ] || { echo "usage: tools/gpu_packages.sh FOLDER | --unpack FOLDER INTO" >&2; exit 2; }

headers=(libcli11-dev nlohmann-json3-dev libyaml-cpp-dev libfmt-dev libopenblas-pthread-dev liblapacke-dev libkissfft-dev
  libxxhash-dev libutf8proc-dev libsentencepiece-dev libgtest-dev libeigen3-dev libbenchmark-dev)
runtime=(libyaml-cpp0.7 libfmt9 libopenblas0-pthread liblapacke liblapack3 libtmglib3 libgfortran5 libquadmath0 libxxhash0
  libutf8proc2 libsentencepiece0 libbenchmark1debian pkgconf pkgconf-bin libpkgconf3)
mkdir -p "$1"
cd "$1"
apt-get -qq -o APT::Sandbox::User=root download "${headers[@]}" "${runtime[@]}"
du -sh . | awk '{print $1 " in " ENVIRON["PWD"]}'
