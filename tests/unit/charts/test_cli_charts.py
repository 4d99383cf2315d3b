import hashlib
import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from aiopt.bars.files import write_bars
from aiopt.bars.schema import BarMeta
from aiopt.charts import ChartSpec, PreparedChart, TradeMark, parse_plot
from aiopt.errors import ConfigError, DataError
from aiopt.testing.bars import random_walk_bars
from cluster.cli.charts import command

BARS = random_walk_bars(300, seed=1, timeframe="5m")


@pytest.fixture
def bar_file(tmp_path: Path) -> Path:
    names = ("ts_open_ns", "open", "high", "low", "close", "volume")
    frame = pl.DataFrame({name: getattr(BARS, name) for name in names}).with_columns(
        ticks=pl.lit(1, pl.Int64)
    )
    meta = BarMeta(instrument="EURUSD", timeframe="5m", price="bid", data_hash=BARS.data_hash, synthetic=True)
    path = tmp_path / "bid.parquet"
    write_bars(path, frame, meta)
    return path


def run(*arguments: object) -> dict:
    result = CliRunner().invoke(command, ["render", *map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_last_window_by_default(bar_file: Path, tmp_path: Path) -> None:
    document = run(
        "--bars", bar_file, "--out", tmp_path / "c", "--indicator", "rsi", "--indicator", "ema:length=20"
    )
    (chart,) = document["charts"]
    assert (chart["start"], chart["stop"]) == (100, 300)
    assert chart["file"] == "EURUSD-5m-bid-20180101T082000-200.png"
    png = (tmp_path / "c" / chart["file"]).read_bytes()
    assert chart["sha256"] == hashlib.sha256(png).hexdigest()
    spec = ChartSpec(overlays=(parse_plot("ema:length=20"),), panes=(parse_plot("rsi"),))
    assert png == PreparedChart(BARS, spec).render(100, 300)
    assert document["spec_hash"] == spec.spec_hash


def test_windows_start_behind_the_warm_up(bar_file: Path, tmp_path: Path) -> None:
    arguments = (
        "--bars",
        bar_file,
        "--out",
        tmp_path / "c",
        "--theme",
        "light",
        "--indicator",
        "sma:length=50",
    )
    charts = run(*arguments, "--window", 100, "--stride", 60)["charts"]
    assert [(chart["start"], chart["stop"]) for chart in charts] == [(49, 149), (109, 209), (169, 269)]
    assert len(list((tmp_path / "c").iterdir())) == 3


def test_trades_of_a_backtest_are_drawn(bar_file: Path, tmp_path: Path) -> None:
    trade = {
        "entry_bar": 200,
        "exit_bar": 220,
        "entry_ts_ns": int(BARS.ts_open_ns[200]),
        "exit_ts_ns": int(BARS.ts_open_ns[220]),
        "side": "long",
        "entry_price": float(BARS.open[200]),
        "exit_price": float(BARS.open[220]),
        "pnl": 1.0,
    }
    (tmp_path / "trades.json").write_text(json.dumps({"metrics": {}, "trades": [trade]}))
    arguments = ("--bars", bar_file, "--out", tmp_path / "c", "--trades", tmp_path / "trades.json")
    (chart,) = run(*arguments)["charts"]
    mark = TradeMark(
        **{key: value for key, value in trade.items() if key not in {"entry_bar", "exit_bar", "pnl"}}
    )
    assert (tmp_path / "c" / chart["file"]).read_bytes() == PreparedChart(BARS, ChartSpec()).render(
        100, 300, trades=[mark]
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("--window", "301"), ConfigError, "1 <= window <= 300"),
        (("--window", "0"), ConfigError, "1 <= window <= 300"),
        (("--window", "10", "--stride", "0"), ConfigError, "stride >= 1"),
        (("--indicator", "sma:length=290", "--stride", "5"), ConfigError, "from bar 289 on"),
        (("--indicator", "sma:length=400", "--stride", "5"), ConfigError, "from no bar on"),
        (("--width", "20000"), ConfigError, "480 <= width <= 4096"),
        (("--trades", "absent.json"), DataError, "no such file of trades"),
    ],
)
def test_bad_input(
    bar_file: Path, tmp_path: Path, arguments: tuple[str, ...], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        run("--bars", bar_file, "--out", tmp_path / "c", *arguments)
    assert not (tmp_path / "c").exists()


def test_a_file_without_trades_is_refused(bar_file: Path, tmp_path: Path) -> None:
    (tmp_path / "trades.json").write_text('{"metrics": {}}')
    with pytest.raises(DataError, match="must be the JSON that `aiopt backtest --json` prints"):
        run("--bars", bar_file, "--out", tmp_path / "c", "--trades", tmp_path / "trades.json")
