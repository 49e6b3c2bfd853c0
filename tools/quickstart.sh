#!/usr/bin/env bash
# From a bare Debian 12 machine to init tensors computed from real English text: installs what is missing, builds, runs
# `aloft init` on the manual pages of Perl (Debian's perl-doc), and says where the result is. Two processors need 4 to 8 minutes.
set -euo pipefail
[ $# -eq 0 ] || { echo "quickstart: takes no flags; its first lines say what it does" >&2; exit 2; }
cd "$(dirname "$0")/.."

tools/install_dependencies.sh perl-doc
cmake --preset release -DALOFT_TESTS=OFF >/dev/null # the tests need more packages; tools/test.sh brings them
cmake --build --preset release

folder=build/quickstart
mkdir -p "$folder"
mapfile -t pods < <(find /usr/share/perl -name '*.pod' -size +0 | sort)
[ ${#pods[@]} -gt 0 ] || { echo "quickstart: no text under /usr/share/perl; is perl-doc installed?" >&2; exit 1; }
# POD is UTF-8 or ASCII for the most part; what is not is replaced by the program.
echo
echo "corpus: ${#pods[@]} manual pages of Perl, $(cat "${pods[@]}" | wc -c) bytes"
build/release/aloft init --corpus "${pods[@]}" --utf8 replace --tokenizer words --vocab-size 8192 \
  --arch nanogpt-rope --layers 8 --heads 8 --d-model 256 --context 256 --lags 8 \
  --recipe offset --seed 0 --output "$folder/run" --force

cat <<END

The init tensors are in $folder/run/init.safetensors, how they came about in $folder/run/offset.json.
Look inside:   build/release/aloft inspect $folder/run/init.safetensors
Use them:      README.md, "Load the file"
END
