"""What the page says of its sources: the checkpoint's file, notes of the run, and how far the figures reach."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..text import percent
from .read import Analysis

STREAM = (
    "Every corpus figure takes the stream to be in the embedding's coordinates; deeper layers also read what earlier ones wrote, so"
    " “no effect” at a deep layer says little."
)
GAINS = "Gains of the norms before attention are not part of the heads that are read, so figures are of the heads without them."


def caveat(a: Analysis) -> str:
    """Below the summary's first paragraph."""
    gains = any("are not part of the heads that are read" in note for note in a.notes)
    return " ".join([*([STREAM] if a.corpus is not None else []), *([GAINS] if gains else [])])


def once(notes: Iterable[str]) -> list[str]:
    """Without "note: " before them, and each once."""
    return list(dict.fromkeys(note.removeprefix("note: ") for note in notes))


def quantised(checkpoint: Any) -> str:
    """checkpoint: its path. What `python -m aloft convert` wrote beside it where it converted a quantised file (quantization.json), in
    words; "" where there is none. A damaged one is said to be so: it is not of this folder, and the figures do not need it."""
    if not checkpoint:
        return ""
    path = Path(str(checkpoint))
    file = (path if path.is_dir() else path.parent) / "quantization.json"
    if not file.is_file():
        return ""
    try:
        data = json.loads(file.read_text(encoding="utf8"))
        source = str(data["source"])
        errors = {name: t["relative_error"] for name, t in data["tensors"].items() if "attn" in name and "norm" not in name}
        known = [x for x in errors.values() if x is not None and float(x) > 0]  # 0: stored as it was
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"weights from a quantised file, but {file.name} beside them cannot be read"
    text = f"weights from a quantised file ({source})"
    if known:
        low, high = percent(min(known)), percent(max(known))
        text += f": those of attention are at least {low if low == high else f'{low} to {high}'} of their norm from what was quantised"
    unknown = sum(x is None for x in errors.values())
    return text + (f"{';' if known else ':'} how far {unknown} of them are is not known" if unknown else "")
