"""`aiopt pine import` without a Pine engine: refusals, what is written, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aiopt.cli.pine import command
from aiopt.errors import ConfigError, SpecError
from aiopt.strategy.spec import load_spec
from aiopt.verification.engine_folder import FOLDER_VARIABLE
from aiopt.verification.import_proof import runnable
from aiopt.verification.sample_bars import sample_bars

HERE = Path(__file__).parent / "strategies"
GOOD = HERE / "imported" / "two_closes.pine"
BAD = HERE / "refused" / "pending_entry.pine"


@pytest.fixture(autouse=True)
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "no engine"))


def run(*arguments: object) -> Result:
    texts = ["import", *(str(one) for one in arguments)]
    return CliRunner().invoke(command, texts, catch_exceptions=False)


def test_a_refused_script_is_told_with_place_and_nearest_form(tmp_path: Path) -> None:
    out = tmp_path / "mine.yaml"
    result = run(BAD, "--out", out)
    assert result.exit_code == 1
    assert "line 4, column 5: strategy.entry" in result.stdout
    assert "Nearest: strategy.entry without stop=" in result.stdout
    assert "not imported; 1 construct cannot be said" in result.stdout
    assert not out.exists()


def test_a_refused_script_as_json() -> None:
    result = run(BAD, "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert document["ok"] is False
    assert document["spec"] is None
    (refusal,) = document["refusals"]
    assert (refusal["line"], refusal["column"], refusal["rule"]) == (4, 5, "pending entry")


def test_without_an_engine_nothing_is_written_unless_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "mine.yaml"
    result = run(GOOD, "--out", out)
    assert result.exit_code == 1
    assert "NOT PROVED" in result.stdout
    assert "aiopt pine engine install" in result.stdout
    assert not out.exists()
    result = run(GOOD, "--out", out, "--unproved")
    assert result.exit_code == 0
    assert f"written: {out}" in result.stdout.replace("\n", "")
    spec = load_spec(out)
    assert spec.entry_long == "crossover(close, e)"
    assert spec.exit_long == "r > 72 or crossunder(close, e)"
    assert "# Proof: nothing was run" in out.read_text()


def test_the_strategy_is_printed_without_out() -> None:
    result = run(GOOD, "--unproved")
    assert result.exit_code == 0
    assert "entry_long: crossover(close, e)" in result.stdout


def test_a_file_of_another_kind_is_not_written_over(tmp_path: Path) -> None:
    out = tmp_path / "notes.yaml"
    out.write_text("mine: 1\n")
    with pytest.raises(ConfigError, match=r"notes\.yaml"):
        run(GOOD, "--out", out, "--unproved")
    assert out.read_text() == "mine: 1\n"


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="There is no file"):
        run("absent.pine")


def test_a_time_zone_that_is_none() -> None:
    with pytest.raises(SpecError, match="--timezone: there is no timezone 'Mars/Base'"):
        run(GOOD, "--timezone", "Mars/Base")


def test_when_is_written_as_if_for_the_engine() -> None:
    text = (HERE / "imported" / "ema_cross_when.pine").read_text()
    assert "when=" in text
    assert "when=" not in runnable(text)
    other = GOOD.read_text()
    assert runnable(other) == other


def test_sample_bars_are_the_same_each_time() -> None:
    one, other = sample_bars("EURUSD", days=4), sample_bars("EURUSD", days=4)
    assert one.synthetic
    assert len(one) > 200
    assert (one.close == other.close).all()
    assert ((one.low <= one.open) & (one.open <= one.high) & (one.low <= one.close)).all()
    assert (one.ts_open_ns % one.timeframe.ns == 0).all()
