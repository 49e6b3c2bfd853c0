"""Only the version is here, since it is read from CMakeLists.txt; everything else is in pyproject.toml."""

import runpy
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent


def version() -> str:
    declared = runpy.run_path(str(HERE / "aloft/version.py"))["declared"]
    found = declared(HERE.parents[1] / "CMakeLists.txt")
    if found is None and (HERE / "PKG-INFO").exists():  # a source distribution travels without the checkout
        lines = (HERE / "PKG-INFO").read_text(encoding="utf8").splitlines()
        found = next((line.split(": ", 1)[1] for line in lines if line.startswith("Version: ")), None)
    if found is None:
        raise SystemExit("setup: no version: neither ../../CMakeLists.txt nor PKG-INFO is there")
    return str(found)


setup(version=version())
