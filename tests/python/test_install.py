"""The release build, installed: a small program (tests/install/) is built against it through CMake and through pkg-config."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import PROGRAM, ROOT
from test_version import VERSION

BUILD = Path(PROGRAM).parent
SOURCE = ROOT / "tests/install"
# Tokens 0 1 2 0 1: (0,1) twice, (1,2), (2,0) next to each other; (0,2), (1,0), (2,1) two apart.
COUNTS = "4 pairs, 3 different; 3 pairs, 3 different;"


def output(*words, **options):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """Where aloft is installed, and moved to afterwards: nothing may remember the first place."""
    if not (BUILD / "cmake_install.cmake").exists():
        pytest.skip(f"{BUILD} is no build folder of CMake's")
    if not (BUILD / "libaloft_backends.a").exists():
        pytest.skip(f"{BUILD} has no libraries to install: build its target `all`")
    folder = tmp_path_factory.mktemp("install")
    output("cmake", "--install", BUILD, "--prefix", folder / "first")
    (folder / "first").rename(folder / "moved")
    return folder / "moved"


def test_the_program_and_the_texts_are_there(prefix):
    assert output(prefix / "bin/aloft", "--version").split()[1] == VERSION
    texts = {path.name for path in prefix.glob("share/doc/*/*")}
    assert {"LICENSE", "README.md", "CHANGELOG.md"} <= texts


def test_the_headers_are_the_contract_and_the_stages(prefix):
    root = prefix / "include/aloft"
    headers = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert {"host/error.hpp", "kernels/ops.hpp"} <= headers and any(h.startswith("pipeline/") for h in headers)
    assert all(h.endswith(".hpp") and "cuda_" not in h and not h.startswith(("kernels/cuda/", "kernels/cpu/")) for h in headers)


def test_a_project_finds_it_through_cmake(prefix, tmp_path):
    said = output("cmake", "-S", SOURCE, "-B", tmp_path, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
    assert f"found aloft {VERSION}\n" in said
    output("cmake", "--build", tmp_path)
    assert COUNTS in output(tmp_path / "uses_aloft")


def test_a_project_finds_it_through_pkg_config(prefix, tmp_path):
    pc = next(prefix.rglob("aloft.pc"))
    environment = os.environ | {"PKG_CONFIG_PATH": str(pc.parent)}
    assert output("pkg-config", "--modversion", "aloft", env=environment).strip() == VERSION
    flags = output("pkg-config", "--cflags", "--libs", "aloft", env=environment).split()
    assert str(pc.parent) in " ".join(flags) and "first" not in " ".join(flags)
    compiler = shutil.which("c++") or shutil.which("g++")
    output(compiler, "-std=c++20", SOURCE / "main.cpp", "-o", tmp_path / "uses_aloft", *flags)
    assert COUNTS in output(tmp_path / "uses_aloft")
