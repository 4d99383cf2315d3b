"""``aiopt indicators``."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from aiopt.cli.indicators import command
from aiopt.errors import ConfigError, SpecError
from aiopt.indicators import INDICATORS, macd


def run(*args):
    return CliRunner().invoke(command, [str(arg) for arg in args], catch_exceptions=False)


@pytest.fixture
def bars_file(tmp_path):
    """One hundred one-minute bars in a foreign layout."""
    close = np.round(1.1 + np.cumsum(np.random.default_rng(0).normal(0, 1e-4, 100)), 5)
    path = tmp_path / "EURUSD_M1.parquet"
    pl.DataFrame(
        {
            "timestamp": np.arange(100) * 60_000_000_000 + 1_700_000_040_000_000_000,
            "Open": close,
            "High": close + 1e-4,
            "Low": close - 1e-4,
            "Close": close,
        }
    ).write_parquet(path)
    return path, close


@pytest.mark.parametrize("args", [("--json",), ("list", "--json")])
def test_list(args):
    document = json.loads(run(*args).stdout)
    assert [row["kind"] for row in document["indicators"]] == list(INDICATORS)
    row = document["indicators"][4]
    assert row["outputs"] == ["macd", "signal", "histogram"]
    assert row["first_value_index"] == 33
    assert row["args"]["fast"] == {"type": "int", "minimum": 1, "maximum": 5000, "default": 12}


def test_list_for_people():
    result = run()
    assert result.exit_code == 0
    assert all(kind in result.stdout for kind in INDICATORS)


def test_compute(bars_file):
    path, close = bars_file
    result = run("compute", "--bars", path, "--kind", "macd", "--arg", "fast=5", "--arg", "slow=10", "--json")
    document = json.loads(result.stdout)
    assert document["args"] == {"fast": 5, "slow": 10, "signal": 9}
    assert document["bars"] == 100
    assert document["first_value_index"] == 17
    expected = macd(close, 5, 10, 9)
    given = [np.nan if value is None else value for value in document["outputs"]["signal"]]
    np.testing.assert_array_equal(given, expected.signal)
    assert len(document["ts_open_ns"]) == 100


def test_compute_for_people(bars_file):
    result = run("compute", "--bars", bars_file[0], "--kind", "rsi")
    assert "Relative strength index over 100 bars, first value on bar 14." in result.stdout


@pytest.mark.parametrize(("name", "read"), [("x.parquet", pl.read_parquet), ("x.csv", pl.read_csv)])
def test_compute_to_a_file(bars_file, tmp_path, name, read):
    out = tmp_path / "new" / name
    document = json.loads(
        run(
            "compute", "--bars", bars_file[0], "--kind", "atr", "--arg", "length=5", "--out", out, "--json"
        ).stdout
    )
    assert document["out"] == str(out)
    assert "outputs" not in document
    frame = read(out)
    assert frame.columns == ["ts_open_ns", "value"]
    assert frame.height == 100
    assert sorted(path.name for path in out.parent.iterdir()) == [name]


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (("--kind", "rsii"), SpecError, "Did you mean 'rsi'"),
        (("--kind", "rsi", "--arg", "length"), SpecError, "--arg must be NAME=NUMBER, but got 'length'"),
        (("--kind", "rsi", "--arg", "length=x"), SpecError, "--arg must be NAME=NUMBER, but got 'length=x'"),
        (("--kind", "rsi", "--arg", "len=3"), SpecError, "rsi has no argument 'len'"),
        (("--kind", "rsi", "--arg", "length=0"), SpecError, "`1 <= length <= 5000` must hold"),
        (
            ("--kind", "rsi", "--source", "time"),
            SpecError,
            "source must be a price series or volume, but got 'time'",
        ),
        (("--kind", "atr", "--source", "open"), SpecError, "atr reads high, low, close, not 'open'"),
        (("--kind", "rsi", "--out", "x.txt"), ConfigError, "--out must end in .parquet or .csv"),
    ],
)
def test_bad_usage(bars_file, args, error, message):
    with pytest.raises(error, match=message):
        run("compute", "--bars", bars_file[0], *args)
