"""The examples run and deliver what they promise; so does the code in the README."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import oracle
import pytest

ROOT = Path(__file__).parents[1]


def run(script: Path, *arguments: str) -> str:
    """Run a program with the module under test and return what it prints."""
    source = script.read_text(encoding="utf-8")
    if oracle.IS_TORCH:
        source = source.replace("import rustgrad as torch", "import torch")
    command = [sys.executable, "-c", source, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout


def test_digits(tmp_path: Path) -> None:
    """At least 97 % of the held-out digits, a falling loss curve and its picture."""
    pytest.importorskip("sklearn")
    picture = tmp_path / "loss.png"
    text = run(ROOT / "examples" / "digits.py", str(picture))
    found = re.search(r"held-out accuracy: ([\d.]+) %", text)
    assert found is not None, text
    assert float(found[1]) >= 97.0
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert text.count("|") >= 10


def readme_blocks() -> list[str]:
    """Return the Python code of the README."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("block", readme_blocks())
def test_readme(block: str) -> None:
    """A comment behind a line is what that line shows."""
    space: dict[str, object] = {}
    for line in block.splitlines():
        code, _, want = line.partition("  # ")
        code = code.replace("import rustgrad as torch", "import torch") if oracle.IS_TORCH else code
        if want:
            assert repr(eval(code, space)) == want, line
        else:
            exec(code, space)
