"""What the package prints of names and contents does nothing to a terminal."""

import pytest
from aloft.__main__ import main


def test_names_are_shown_as_escapes(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    base = tmp_path / "b\x1b[31m\x9b\u202e\n"
    assert main(["complete", str(base), "init\x1b[2J.safetensors", str(tmp_path / "out")]) in (2, 3)
    said = capsys.readouterr().err
    assert said.startswith("aloft: ") and said.count("\n") == 1
    assert all(c.isprintable() for c in said.rstrip("\n")), repr(said)
    assert "\\x1b[" in said
