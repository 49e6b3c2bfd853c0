"""What a page consists of, as plain data, and how it becomes HTML. Sections know nothing of HTML, the template nothing of results."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import AloftError
from .glossary import Piece, Term, pieces, used

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Cell:
    """`kind` is a CSS class: "" a figure, "text" words, "effect" a figure that is one, "null", "paper"."""

    text: str
    kind: str = ""


@dataclass
class Table:
    """groups: a heading above several columns each, (text, how many); columns and rows have one length."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    groups: Sequence[tuple[str, int]] = ()
    note: str = ""

    @property
    def wordy(self) -> set[int]:
        """Columns of words, which begin at the left."""
        return {i for i in range(len(self.columns)) if all(row[i].kind == "text" for row in self.rows)}


@dataclass
class Figure:
    """svg: trusted markup (charts.py, grids.py). `caption` is a sentence that says what to see."""

    title: str
    svg: str
    caption: str


@dataclass
class Section:
    title: str
    lead: str = ""
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    paragraphs: list[str] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        return "".join(c if c.isalnum() else "-" for c in self.title.lower()).strip("-")

    @property
    def empty(self) -> bool:
        return not (self.figures or self.tables or self.paragraphs)


@dataclass(frozen=True)
class Finding:
    """A sentence of the summary. verdict: "effect", "effect, not of word order", "no effect" or "described" (no null); of the papers' page its own
    (papers/measured.py)."""

    verdict: str
    text: str


@dataclass
class Page:
    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]] = ()
    reading: str = ""  # what the summary's words mean
    findings: Sequence[Finding] = ()
    sections: Sequence[Section] = ()
    terms: Sequence[Term] = ()  # explained at its foot, where it has them
    caveat: str = ""  # how far the figures reach

    @property
    def glossary(self) -> list[Term]:
        """The terms that it uses in its sentences."""
        texts = [finding.text for finding in self.findings]
        for s in self.sections:
            texts += [s.title, s.lead, *s.paragraphs, *(part for figure in s.figures for part in (figure.title, figure.caption))]
            texts += [part for t in s.tables for part in (t.caption, t.note, *t.columns, *(title for title, _ in t.groups))]
        return used(texts, self.terms)

    @property
    def sentences(self) -> list[tuple[Finding, list[Piece]]]:
        """The findings with links to what their terms mean."""
        return list(zip(self.findings, pieces([finding.text for finding in self.findings], self.glossary)))

    @property
    def judged(self) -> bool:
        """Whether any finding is more than a description."""
        return any(finding.verdict != "described" for finding in self.findings)


def render(page: Page) -> str:
    """One HTML file that loads nothing. AloftError where jinja2 is not installed."""
    try:
        import jinja2
    except ModuleNotFoundError:
        raise missing("jinja2") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    shown = [section for section in page.sections if not section.empty]
    text: str = environment.get_template("page.html").render(page=page, sections=shown, css=(HERE / "page.css").read_text(encoding="utf8"))
    return text


def missing(library: str) -> AloftError:
    return AloftError(f"a report needs {library}, which is not installed: pip install 'tools/python[report]'")


def words(text: Any) -> Cell:
    return Cell(str(text), "text")
