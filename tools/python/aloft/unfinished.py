"""What is written under another name first: `.NAME.aloft-partial-` and 16 random digits, as the program does."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # no Unix: what a killed process leaves is not told from what a living one writes, and stays
    fcntl = None  # type: ignore[assignment]

MARK = ".aloft-partial-"


def unfinished_name(path: Path) -> Path:
    """Beside `path`; nobody can foresee it."""
    return path.with_name(f".{path.name}{MARK}{secrets.token_hex(8)}")


def write_text(path: Path, text: str) -> None:
    """The whole file, or what was there before."""
    partial = unfinished_name(path)
    try:
        with open(partial, "x", encoding="utf8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def unfinished_folder(output: Path) -> Iterator[Path]:
    """A new folder beside `output`, to be renamed to it. Gone if that does not happen; what a killed process left of one, too."""
    _remove_leftovers(output)
    folder = unfinished_name(output)
    folder.mkdir()
    try:
        lock = os.open(folder, os.O_RDONLY) if fcntl else None
        try:
            if lock is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
        finally:
            if lock is not None:
                os.close(lock)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _remove_leftovers(output: Path) -> None:
    if fcntl is None:
        return
    name = re.compile(re.escape(f".{output.name}{MARK}") + "[0-9a-f]{16}")
    for path in output.parent.iterdir():
        if not name.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            continue
        try:
            lock = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a living one holds it
                shutil.rmtree(path)
            finally:
                os.close(lock)
        except OSError:
            continue


def sync_folder(folder: Path) -> None:
    """Makes its names durable, where the system can."""
    if fcntl is None:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
