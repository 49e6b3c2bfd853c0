"""`python -m aloft report FOLDER`: report.html, one page that loads nothing, of what a command left in its output folder."""

from pathlib import Path

from ..errors import InputError, UsageError
from ..unfinished import write_text
from .page import Page, render

__all__ = ["write_report"]


def write_report(folder: str | Path, output: str | Path | None = None) -> Path:
    """Writes report.html into the folder (or `output`) and returns its path. InputError where the folder has nothing to report on."""
    folder = Path(folder)
    page = page_of(folder)
    out = Path(output) if output is not None else folder / "report.html"
    if out.is_dir():
        raise UsageError(f"report: {out} is a folder: name a file as --output")
    write_text(out, render(page))
    return out


def page_of(folder: Path) -> Page:
    """Decides by the files in it. A folder of an analysis may also hold the run that it is about: the analysis wins."""
    if (folder / "analysis.json").is_file():
        from .analysis import page_of as analysis

        return analysis(folder / "analysis.json")
    if (folder / "manifest.json").is_file():
        from .init_run import page_of as init

        return init(folder)
    if (folder / "results.jsonl").is_file():
        from .trial_run import page_of as trial

        return trial(folder)
    what = (
        "there is no such folder"
        if not folder.exists()
        else "no folder" if not folder.is_dir() else "none of analysis.json, manifest.json and results.jsonl is in it"
    )
    raise InputError(
        f"report: {folder}: {what}: give the output folder of a finished `aloft analyze`, `aloft init` or `python -m aloft trial`"
    )
