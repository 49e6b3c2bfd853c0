"""A page (report/page.py) as Markdown: all but its figures."""

from collections.abc import Sequence

from ..report.page import Cell, Page, Section, Table


def markdown(page: Page) -> str:
    lines = [
        f"# {page.title}",
        "",
        f"{page.subtitle[0].upper()}{page.subtitle[1:]}.",
        "",
        *(f"- **{name}**: {_escaped(value)}" for name, value in page.facts),
        "",
    ]
    if page.findings:
        lines += [
            "## What was found",
            "",
            page.reading,
            "",
            *_rows(["verdict", "finding"], [[f.verdict, f.text] for f in page.findings], [False, False]),
            "",
        ]
    if page.glossary:
        lines += ["Terms:", "", *(f"- **{term.name}**: {_escaped(term.meaning)}" for term in page.glossary), ""]
    for section in page.sections:
        if not section.empty:
            lines += _section(section)
    return "\n".join(lines).rstrip() + "\n"


def _section(section: Section) -> list[str]:
    out = [f"## {section.title}", ""]
    for paragraph in (section.lead, *section.paragraphs):
        out += [paragraph, ""] if paragraph else []
    for table in section.tables:
        out += [*_table(table), ""] if table.rows else []
    return out


def _table(table: Table) -> list[str]:
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    out = [f"**{table.caption}**", "", *_rows(table.columns, rows, [i not in table.wordy for i in range(len(table.columns))])]
    return [*out, "", table.note] if table.note else out


def _cell(cell: Cell) -> str:
    return f"**{cell.text}**" if cell.kind == "effect" and cell.text else cell.text


def _rows(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """A table; right: columns of figures."""
    lines = [list(columns), ["--:" if r else ":--" for r in right], *rows]
    return ["| " + " | ".join(_escaped(x) for x in line) + " |" for line in lines]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
