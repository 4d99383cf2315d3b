"""The reference of the Python functions is built from docstrings without a hole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import aiopt

ROOT = Path(__file__).resolve().parents[3]


def test_every_call_of_the_face_has_its_docstring_in_the_reference(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "docs" / "build_api.py"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    pages = "".join(page.read_text(encoding="utf-8") for page in (tmp_path / "aiopt" / "face").glob("*.html"))
    for name in ("read_ticks", "build_bars", "backtest", "sweep", "rank", "emit_pine", "render_chart", "run"):
        assert name in aiopt.__all__
        assert f'id="{name}"' in pages, f"{name} is not in the reference"
    assert 'id="sweep"' in (tmp_path / "cluster" / "face.html").read_text(encoding="utf-8")
