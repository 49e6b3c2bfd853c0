#!/usr/bin/env bash
# For a GPU machine that can install and compile nothing: everything that tools/gpu_check.sh needs, built here for one GPU
# architecture, in one archive of at most 60 MiB (about 20). CUDA's libraries stay out: that machine must have CUDA 13's, in a
# toolkit or as Python's packages.
#   tools/gpu_bundle.sh FOLDER [--text FILE] [--architecture 90] [--unproved]
# FILE: text for the benchmarks and the runs from end to end (default: Perl's manual pages, 9 MB). --unproved leaves the proof out.
# Afterwards FOLDER holds aloft-gpu.tar.xz and bundle.json; the archive has the scripts too, so that it is all that needs to travel
# (unpacked, from its own top: tools/gpu_check.sh DIR --bundle .). The proof: the three programs start in a bare Debian 13 that has
# nothing but the bundle and CUDA's libraries, and say which backends they find. It needs root and a network; its root is kept in build/bare-root.
set -euo pipefail
cd "$(dirname "$0")/.."
refuse() { echo "gpu_bundle: $1" >&2; exit 2; }

folder="" text="" architecture=90 proved=true
while [ $# -gt 0 ]; do
  case "$1" in
    --text | --architecture) [ -n "${2:-}" ] || refuse "$1 needs a value" ;;&
    --text) text=$2; shift ;;
    --architecture) architecture=$2; shift ;;
    --unproved) proved=false ;;
    --help | -h) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    -*) refuse "unknown flag $1: tools/gpu_bundle.sh FOLDER [--text FILE] [--architecture 90] [--unproved]" ;;
    *) [ -z "$folder" ] || refuse "one folder, not two: $folder and $1"; folder=$1 ;;
  esac
  shift
done
[ -n "$folder" ] || refuse "a folder is missing: tools/gpu_bundle.sh FOLDER"
[[ $architecture =~ ^[0-9]{2,3}a?$ ]] || refuse "'$architecture' is no architecture: a number such as 90 for sm_90"
[ -z "$text" ] || [ -s "$text" ] || refuse "the text $text is missing or empty"
PATH="$PATH:/usr/local/cuda/bin"
command -v nvcc >/dev/null || refuse "no CUDA toolkit here (nvcc is neither on PATH nor in /usr/local/cuda/bin)"

packages=(xz-utils binutils)
[ -n "$text" ] || packages+=(perl-doc)
$proved && packages+=(debootstrap)
tools/install_dependencies.sh --tests --benchmarks "${packages[@]}"

build=build/gpu_bundle
cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Release -DALOFT_CUDA=ON -DALOFT_TESTS=ON -DALOFT_SIMT=OFF -DALOFT_BENCHMARKS=ON \
  "-DCMAKE_CUDA_ARCHITECTURES=$architecture-real" -DCMAKE_CUDA_FLAGS=-lineinfo '-DCMAKE_BUILD_RPATH=$ORIGIN/../lib' >/dev/null
cmake --build $build --target aloft aloft_tests aloft_benchmarks

# What the bundle is: programs, the libraries that are neither the system's nor CUDA's, and the scripts that drive and compare.
staged=$build/staged
rm -rf $staged
mkdir -p $staged/bin $staged/lib
cp $build/aloft $build/aloft_benchmarks $build/tests/aloft_tests $staged/bin/
strip $staged/bin/*
system='^(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|ld-linux[^.]*)\.so'
cuda='^lib(cublas|cublasLt|cusolver|cusparse|cufft|nvJitLink)\.so'
ldd $staged/bin/* | awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}' | sort -u | while read -r name path; do
  [[ $name =~ $system || $name =~ $cuda ]] || cp -L "$path" "$staged/lib/$name"
done
git ls-files tools profiles | grep -E '^tools/(gpu_check|architectures|python)|^profiles/[^/]*\.py$' | xargs cp --parents -t $staged
if [ -n "$text" ]; then
  cp "$text" $staged/text.txt
else
  /usr/bin/python3 -c 'import sys; sys.path.insert(0, "profiles"); import main_job; sys.stdout.buffer.write(main_job.text_of_manual_pages())' >$staged/text.txt
fi
commit=$(git describe --always --dirty --abbrev=12)
cat >$staged/bundle.json <<END
{"commit": "$commit", "architecture": "$architecture", "nvcc": "$(nvcc --version | grep -o 'V[0-9.]*' | tail -n 1)",
 "cuda_libraries": [$(strings $staged/bin/aloft | grep -E "$cuda" | sort -u | sed 's/.*/"&"/' | paste -sd,)]}
END

mkdir -p "$folder"
tar -C $staged -cf - . | xz -T0 -6 >"$folder/aloft-gpu.tar.xz.part"
mv "$folder/aloft-gpu.tar.xz.part" "$folder/aloft-gpu.tar.xz"
cp $staged/bundle.json "$folder/"
bytes=$(stat -c %s "$folder/aloft-gpu.tar.xz")
echo "gpu_bundle: $folder/aloft-gpu.tar.xz: commit $commit, sm_$architecture, $((bytes >> 20)) MiB, unpacked $(du -sm $staged | cut -f1) MiB"
[ "$bytes" -le $((60 << 20)) ] || { echo "gpu_bundle: that is more than 60 MiB" >&2; exit 1; }
$proved && tools/gpu_check/prove_bundle.sh "$folder"
