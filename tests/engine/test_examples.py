"""The scripts and the notebook of ``examples/``: each runs, says what it promises, and stays short."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SAYS = {
    "01_ticks_to_bars.py": (
        "generated ticks of EURUSD",
        "5m bars of EURUSD, bid and ask",
        "<Indicator: RSI 14",
    ),
    "02_my_strategy.py": ("my_pullback", "refused: strategy my_pullback: there is no parameter 'rsi_lenght'"),
    "03_backtest.py": ("<Backtest: my_pullback", "profit factor", ".png"),
    "04_sweep_and_rank.py": ("<Sweep: 24 trials", "nothing beats chance"),
    "05_pine_and_its_proof.py": (
        "<PineCheck: no rule broken",
        "a broken one: line",
        "my_pullback-expected.csv",
    ),
    "06_ask_the_analyst.py": ("read by rules: bias", "The trend line"),
}


def test_every_script_is_known_here() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == {*SAYS, "07_serve_and_swap.py"}, "the last one is run by tests/serving"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_a_script_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60


@pytest.mark.parametrize("name", SAYS)
def test_a_script_runs_without_any_data(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name])
    # In this process, whose engine, compiled loops and parser are warm.
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    said = capsys.readouterr().out
    for words in SAYS[name]:
        assert words in said
    allowed = {".png", ".csv", ".pine", ".json"}
    assert {path.suffix for path in tmp_path.iterdir()} <= allowed


def test_serve_and_swap_asks_for_an_address(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "AIOPT_URL"}
    run = subprocess.run(
        [sys.executable, EXAMPLES / "07_serve_and_swap.py"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode == 1
    assert "Give the address of the endpoint" in run.stderr


def test_the_notebook_tells_its_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="the notebook's format is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nothing runs notebooks here")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in cells), "outputs stay out of the repository"
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output["data"] for cell in cells for output in cell.outputs if "data" in output]
    pages = [data["text/html"] for data in shown if "text/html" in data]
    assert sum("<svg" in page for page in pages) >= 3, "bars, a backtest and a ranking with their curves"
    assert sum("image/png" in data for data in shown) == 2
    assert any("nothing beats chance" in page or "no entry" in page for page in pages)
