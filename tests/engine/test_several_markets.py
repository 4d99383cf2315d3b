"""A run of several markets from bars to report, in this process: what is shared and what is not."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.errors import ConfigError
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.market.instrument import instrument
from aiopt.optimize.configuration import AnalysisConfig, OptimizeConfig, load_strategies
from aiopt.optimize.market_config import MarketConfig, MarketCosts
from aiopt.optimize.pipeline import run_pipeline
from aiopt.optimize.preflight import check_run
from aiopt.optimize.rerunning import differences, find_trial, rerun_trial
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.trials import TrialRow, read_trials
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.runs import load_run
from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from cluster.cli import main as cli

SYMBOLS = ("EURUSD", "USDJPY")


def write_market(folder: Path, symbol: str, *, first: int, last: int) -> Path:
    """Write an hourly walk as the bars of an instrument, a hundred times as high where it is in yen."""
    made = random_walk_bar_set(900, seed=ord(symbol[0]), timeframe="1h").slice(first, last)
    traded = instrument(symbol)
    for side in ("bid", "ask"):
        arrays = getattr(made, side)
        factor = 100.0 if traded.quote == "JPY" else 1.0
        prices = {
            name: np.round(getattr(arrays, name) * factor, traded.price_precision)
            for name in ("open", "high", "low", "close")
        }
        named = dataclasses.replace(arrays, instrument=symbol, data_hash=f"{symbol}-{first}", **prices)
        write_bar_file(named, folder / symbol / "1h" / f"{side}.parquet")
    return folder / symbol / "1h"


def config_of(markets: dict[str, Path]) -> OptimizeConfig:
    costs = {"USDJPY": MarketCosts(commission_per_million=20.0, extra_spread_pips=0.2)}
    return OptimizeConfig(
        name="two",
        timeframes=("1h", "4h"),
        strategies=("rsi_reversion",),
        trials=3,
        markets=tuple(
            MarketConfig(instrument=symbol, bars=(str(path),), costs=costs.get(symbol, MarketCosts()))
            for symbol, path in markets.items()
        ),
        backtest=BacktestConfig(account_currency="USD"),
        walk_forward=WalkForwardConfig(train_segments=2, folds=2, holdout_segments=1),
        ranking=RankingConfig(top=1, min_oos_trades=1, min_train_trades=1, bootstrap_resamples=100),
        robustness=RobustnessConfig(draws=4, neighbours=8),
        analysis=AnalysisConfig(trades=1),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bars")
    return {symbol: write_market(folder, symbol, first=0, last=900) for symbol in SYMBOLS}


@pytest.fixture(scope="module")
def config(data: dict[str, Path]) -> OptimizeConfig:
    return config_of(data)


@pytest.fixture(scope="module")
def run_dir(config: OptimizeConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    check_run(config, load_strategies(config), runs, lambda text: None)
    result = run_pipeline(config, runs, log=lambda text: None)
    return Path(result.run_dir)


def test_one_ranking_counts_the_trials_of_all_markets(run_dir: Path) -> None:
    rows = read_trials(run_dir / "trials.parquet")
    assert {row.group for row in rows} == {
        f"rsi_reversion@{symbol}@{timeframe}" for symbol in SYMBOLS for timeframe in ("1h", "4h")
    }
    assert all(row.ok for row in rows)
    ranking = load_run(run_dir).ranking
    assert ranking is not None
    assert ranking.statistics.trials == len(rows) == 12
    assert len(ranking.statistics.groups) == 4
    (entry,) = ranking.entries
    assert entry.evidence.trials_counted == 12
    assert entry.name == f"01_rsi_reversion_{entry.instrument}_{entry.timeframe}"
    pips = ranking.config.stress.pip_sizes
    assert pips
    assert pips["EURUSD"] == 1e-4
    assert 5e-5 < pips["USDJPY"] < 2e-4, "0.01 yen in dollars"


def test_each_market_gives_the_trials_of_a_run_of_it_alone(
    config: OptimizeConfig, run_dir: Path, tmp_path: Path
) -> None:
    """All of a row: profits to the last bit, costs, hashes."""
    together = {row.trial_id: row for row in read_trials(run_dir / "trials.parquet")}
    for market in config.each_market:
        # Nothing to emit: scripts take most of the time.
        strict = msgspec.structs.replace(config.ranking, min_oos_trades=10_000)
        alone = run_pipeline(msgspec.structs.replace(market, ranking=strict), tmp_path, log=lambda text: None)
        for row in read_trials(Path(alone.run_dir) / "trials.parquet"):
            group = f"{row.family}@{market.instrument}@{row.timeframe}"
            name = group + row.trial_id.removeprefix(row.group)
            named: TrialRow = msgspec.structs.replace(
                row, trial_id=name, group=group, instrument=market.instrument
            )
            assert differences(together[name], named) == {}


def test_a_trial_of_either_market_runs_again_to_the_same_row(run_dir: Path) -> None:
    run = load_run(run_dir)
    for symbol in SYMBOLS:
        row, plan = find_trial(run, f"rsi_reversion@{symbol}@4h-00001")
        assert differences(row, rerun_trial(run, row, plan)) == {}


def test_an_interrupted_run_continues_to_the_same_bytes(config: OptimizeConfig, run_dir: Path) -> None:
    names = ("trials.parquet", "ranking.json", "config.json", "manifest.json", "trades.csv", "entries.csv")
    before = {name: (run_dir / name).read_bytes() for name in names}
    journal = run_dir / "leaderboard.jsonl"
    written = journal.read_bytes()
    journal.write_bytes(written[: len(written) // 2])
    state = json.loads((run_dir / "state.json").read_text())
    # Begun by other software too, so that trials of every market are proved.
    state.update(status="interrupted", stage="sweep", sessions=[])
    state["versions"] |= {"numpy": "0.1"}
    (run_dir / "state.json").write_text(json.dumps(state))
    said: list[str] = []
    run_pipeline(config, run_dir.parent, log=said.append)
    (proof,) = (line for line in said if "finished trials run again" in line)
    assert re.search(r"continued, [1-9]\d* of [1-9]\d* finished trials run again, all rows equal", proof)
    assert {name: (run_dir / name).read_bytes() for name in names} == before


def test_what_is_written_and_shown_names_the_market(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranking = load_run(run_dir).ranking
    assert ranking is not None
    symbol = str(ranking.entries[0].instrument)
    for name in ("trades.csv", "entries.csv"):
        with (run_dir / name).open() as stream:
            rows = list(csv.DictReader(stream))
        assert rows
        assert {row["instrument"] for row in rows} == {symbol}
    script = (run_dir / "pine" / f"{ranking.entries[0].name}.pine").read_text()
    assert f"// chart: {symbol}, {ranking.entries[0].timeframe}" in script
    page = (run_dir / "report.html").read_text()
    assert "EURUSD and USDJPY stand in one ranking." in page
    assert all(f"<h3>{one}</h3>" in page for one in SYMBOLS)
    assert cli.run(["runs", "show", str(run_dir)]) == 0
    shown = capsys.readouterr().out
    assert f"rsi_reversion@{symbol}@{ranking.entries[0].timeframe}" in shown
    assert "data of USDJPY " in shown
    assert cli.run(["compare", str(run_dir), str(run_dir), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["first"]["instrument"] == "EURUSD, USDJPY"


def test_markets_of_different_spans_are_judged_where_they_overlap(
    data: dict[str, Path], tmp_path: Path
) -> None:
    late = write_market(tmp_path / "late", "USDJPY", first=300, last=900)
    config = config_of({"EURUSD": data["EURUSD"], "USDJPY": late})
    strict = msgspec.structs.replace(config.ranking, min_oos_trades=10_000)
    said: list[str] = []
    result = run_pipeline(msgspec.structs.replace(config, ranking=strict), tmp_path / "runs", log=said.append)
    assert any(re.search("EURUSD: 300 bars before .* only warm indicators up", line) for line in said)
    rows = read_trials(Path(result.run_dir) / "trials.parquet")
    assert len({len(row.pnl) for row in rows}) == 1, "one grid of periods"


def test_no_currency_no_run(config: OptimizeConfig, tmp_path: Path) -> None:
    bare = msgspec.structs.replace(config, backtest=BacktestConfig())
    with pytest.raises(ConfigError, match="EURUSD in USD, USDJPY in JPY"):
        check_run(bare, load_strategies(bare), tmp_path, lambda text: None)
    with pytest.raises(ConfigError, match="EURUSD in USD, USDJPY in JPY"):
        run_pipeline(bare, tmp_path, log=lambda text: None)
    assert list(tmp_path.iterdir()) == []
