"""The version is in CMakeLists.txt alone. An installed package carries what was read there when it was built."""

import re
from importlib import metadata
from pathlib import Path


def declared(cmake: Path) -> str | None:
    """What `project(aloft VERSION ...)` of a CMakeLists.txt says; None where there is none."""
    try:
        found = re.search(r"^project\(aloft VERSION ([0-9.]+)", cmake.read_text(encoding="utf8"), re.MULTILINE)
    except OSError:
        return None
    return found[1] if found else None


def version() -> str:
    """Of the checkout that this file belongs to, or else of the installed package; "unknown" outside both."""
    here = declared(Path(__file__).resolve().parents[3] / "CMakeLists.txt")
    if here is not None:
        return here
    try:
        return metadata.version("aloft")
    except metadata.PackageNotFoundError:
        return "unknown"
