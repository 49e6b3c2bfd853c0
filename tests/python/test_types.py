"""The package's annotations hold, and it leaves exiting to `__main__`."""

import re
import subprocess
import sys

from conftest import ROOT

PACKAGE = ROOT / "tools/python"


def test_the_annotations_are_complete_and_right(tmp_path):
    done = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path)], cwd=PACKAGE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_main_exits():
    sources = [path for path in PACKAGE.glob("aloft/**/*.py") if path.name != "__main__.py"]
    assert len(sources) > 10
    assert [str(path) for path in sources if re.search(r"SystemExit|sys\.exit", path.read_text())] == []
