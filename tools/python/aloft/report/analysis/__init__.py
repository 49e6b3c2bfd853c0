"""The page of an analysis: what `aloft analyze` wrote, and `python -m aloft attention` beside it."""

from pathlib import Path

from ..glossary import TERMS
from ..page import Page
from ..text import grouped
from . import about, direction, drift, heads, match, nulls, qkv, summary, tokens, widths
from .read import Analysis


def page_of(path: Path) -> Page:
    """analysis.json -> the page, with attention.json where that is beside it. InputError where one is damaged."""
    a = Analysis(path)
    on_tokens = tokens.found_beside(a)
    c = a.checkpoint
    groups = "" if c["kv_heads"] == c["heads"] else f" ({c['kv_heads']} key/value)"
    stored = about.quantised(c.get("path"))
    facts = [
        (
            "model",
            (
                f"{c['architecture']}: {c['layers']} layers, {c['heads']} heads{groups} of {c['head_dim']}, width {c['d_model']}, context"
                f" {c['context']}, {grouped(c['vocab'])} ids, {'tied' if c.get('tied') else 'untied'} head"
                f"{f'; {stored}' if stored else ''}"
            ),
        )
    ]
    if isinstance(a.second, dict):
        facts.append(("second", str(a.second.get("path", "another checkpoint"))))
    if a.corpus is not None:
        facts.append(
            (
                "corpus",
                (
                    f"{grouped(int(a.corpus['tokens']))} tokens, {grouped(int(a.corpus['vocab']))} ids, lags 1 to {a.lags} (hash"
                    f" {str(a.corpus.get('hash', ''))[:8]})"
                ),
            )
        )
    permuted = "exact variances of permutations" if a.by_formula else f"{a.nulls.get('permutations', '?')} permutations"
    facts.append(
        (
            "nulls",
            ", ".join(
                [f"{a.nulls.get('draws', '?')} random layers"]
                + ([permuted, "shuffled text"] if a.corpus else [])
            ),
        )
    )
    sections = [
        direction.section(a),
        match.section(a),
        heads.section(a),
        *([tokens.section(on_tokens)] if on_tokens else []),
        widths.section(a),
        qkv.profiles(a),
        qkv.views(a),
        drift.section(a),
        nulls.claims(a),
        nulls.made(a),
        nulls.notes(a),
    ]
    title = f"Attention of {Path(str(c.get('path', 'a checkpoint'))).name or 'a checkpoint'}"
    subtitle = (
        f"measured against a corpus of {grouped(int(a.corpus['tokens']))} tokens of {grouped(int(a.corpus['vocab']))} ids"
        if a.corpus is not None
        else "measured by itself (no corpus was given)"
    )
    findings = summary.findings(a) + ([tokens.finding(on_tokens)] if on_tokens else [])
    return Page(title, subtitle, facts, summary.READING, findings, sections, TERMS, about.caveat(a))
