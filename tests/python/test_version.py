"""The version is in CMakeLists.txt; what people ask for it says the same."""

import os
import re
import subprocess
import sys

import aloft
from conftest import PROGRAM, ROOT

VERSION = re.search(r"^project\(aloft VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)[1]


def output(*words, **options):
    return subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True, **options).stdout


def test_program_and_python_package_say_the_version_of_cmake():
    assert output(PROGRAM, "--version").split()[1] == VERSION
    assert aloft.__version__ == VERSION
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tools/python")}
    assert output(sys.executable, "-m", "aloft", "--version", env=environment) == f"aloft {VERSION}\n"


def test_what_pip_installs_says_it_too_and_has_its_types(tmp_path):
    output(sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", tmp_path, cwd=ROOT / "tools/python")
    assert f"\nVersion: {VERSION}\n" in (tmp_path / "aloft.egg-info/PKG-INFO").read_text()
    assert "aloft/py.typed" in (tmp_path / "aloft.egg-info/SOURCES.txt").read_text().split()
