"""``portfolio.json`` of a real run: sizes run again, the same file each time, and where it shows."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

import aiopt as ao
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.optimize.configuration import OptimizeConfig
from aiopt.optimize.pipeline import run_pipeline
from aiopt.optimize.run_portfolio import write_portfolio
from aiopt.portfolio.portfolio_file import EQUAL_RISK, FIXED, OWN, RISK, VOLATILITY, RunPortfolio
from aiopt.portfolio.reading import PORTFOLIO, read_portfolio
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.runs import NotARunError, RunFileError, load_run
from aiopt.ticks.sample import generate_ticks

CONFIG = OptimizeConfig(
    name="together",
    timeframes=("5m",),
    strategies=("rsi_reversion", "ema_cross_atr", "stochastic_sma"),
    trials=4,
    walk_forward=WalkForwardConfig(train_segments=2, folds=3, holdout_segments=1),
    ranking=RankingConfig(top=3, min_oos_trades=2, min_train_trades=1, bootstrap_resamples=100),
    robustness=RobustnessConfig(enabled=False),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    generate_ticks(folder / "ticks", start="2024-03-04", days=8, ticks_per_day=4_000)
    config = msgspec.structs.replace(CONFIG, ticks=str(folder / "ticks"))
    return Path(run_pipeline(config, folder / "runs", log=lambda line: None).run_dir)


@pytest.fixture(scope="module")
def found(finished: Path) -> RunPortfolio:
    portfolio = read_portfolio(finished)
    assert portfolio is not None
    return portfolio


def test_the_entries_stand_alone_as_in_the_ranking(finished: Path, found: RunPortfolio) -> None:
    ranking = load_run(finished).ranking
    assert ranking is not None
    assert [one.name for one in found.entries] == [entry.name for entry in ranking.entries]
    for one, entry in zip(found.entries, ranking.entries, strict=True):
        assert one.figures.net_pnl == pytest.approx(entry.out_of_sample.net_pnl)
        assert one.figures.sharpe == pytest.approx(entry.out_of_sample.sharpe)
    assert found.ts_ns == ranking.entries[0].out_of_sample_ts_ns
    assert len(found.best_known.pnl) == len(found.ts_ns)
    assert found.sized_by == "screen"


def test_sizes_are_run_again(found: RunPortfolio) -> None:
    for entry, sizing in zip(found.entries, found.sizing, strict=True):
        paths = {one.kind: one for one in sizing.paths}
        assert list(paths) == [OWN, FIXED, VOLATILITY, RISK]
        # The ready families trade fixed units, so that size is their own.
        assert paths[FIXED].sizes == [10_000.0] * 3
        assert paths[FIXED].figures == paths[OWN].figures == entry.figures
        assert paths[VOLATILITY].sizes[0] == 10_000.0
        assert len(set(paths[VOLATILITY].sizes)) > 1
        assert all(0 < one < 100 for one in paths[RISK].sizes)
        assert paths[RISK].trades == paths[OWN].trades > 0


def test_risk_sizes_follow_the_distance_of_the_stop(found: RunPortfolio) -> None:
    """With a stop of fixed pips they are fixed units; with one by volatility they are not."""
    differ = {}
    for sizing in found.sizing:
        paths = {one.kind: one for one in sizing.paths}
        differ[sizing.name] = paths[RISK].figures.net_pnl != pytest.approx(paths[OWN].figures.net_pnl)
    assert any(differ[name] for name in differ if "ema_cross_atr" in name)
    assert not any(differ[name] for name in differ if "stochastic_sma" in name)


def test_it_is_the_same_each_time_and_reads_no_holdout(finished: Path) -> None:
    before = (finished / PORTFOLIO).read_bytes()
    config = msgspec.json.decode((finished / "config.json").read_bytes())
    assert "portfolio" not in config
    rows = load_run(finished).trial_rows()[1]
    holdout = {tuple(np.round(row.holdout_pnl, 6)) for row in rows if any(row.holdout_pnl)}
    document = msgspec.json.decode(before)
    kept = {tuple(np.round(one["pnl"], 6)) for one in document["combinations"]}
    assert not holdout & kept
    stamps = [entry.holdout_ts_ns[0] for entry in load_run(finished).ranking.entries]
    assert max(document["ts_ns"]) < min(stamps)


def test_fewer_than_two_entries_have_none(finished: Path, tmp_path: Path) -> None:
    ranking = msgspec.json.decode((finished / "ranking.json").read_bytes())
    ranking["entries"] = ranking["entries"][:1]
    (tmp_path / "ranking.json").write_bytes(msgspec.json.encode(ranking))
    (tmp_path / PORTFOLIO).write_text("stale")
    assert write_portfolio(tmp_path, lambda points: [], sized_by="screen") is None
    assert not (tmp_path / PORTFOLIO).exists()


def test_the_report_and_the_notebook_show_it(finished: Path, found: RunPortfolio) -> None:
    page = (finished / "report.html").read_text()
    assert 'id="portfolio"' in page
    assert "Weights by equal risk, fold by fold" in page
    assert 'aria-label="Correlation per day"' in page
    report = msgspec.json.decode((finished / "report.json").read_bytes())
    assert report["portfolio"]["entries"][0]["name"] == found.entries[0].name
    shown = ao.run(finished).portfolio
    table = shown.to_polars()
    assert table.columns[:4] == ["portfolio", "pnl", "sharpe", "sharpe_low"]
    assert table["portfolio"].to_list()[-3:] == [EQUAL_RISK, "inverse volatility", "equal weight"]
    assert shown.weights.to_polars().height == 3 * 4
    assert "by equal risk" in shown._repr_html_().lower()


def test_a_damaged_or_newer_file_is_refused(finished: Path, tmp_path: Path) -> None:
    document = msgspec.json.decode((finished / PORTFOLIO).read_bytes())
    (tmp_path / PORTFOLIO).write_bytes(msgspec.json.encode(document | {"format": 2}))
    with pytest.raises(RunFileError, match="has format 2, and this version of aiopt reads 1"):
        read_portfolio(tmp_path)
    (tmp_path / PORTFOLIO).write_bytes(b"{")
    with pytest.raises(RunFileError, match="not valid JSON"):
        read_portfolio(tmp_path)
    (tmp_path / PORTFOLIO).unlink()
    (tmp_path / "state.json").write_bytes((finished / "state.json").read_bytes())
    with pytest.raises(NotARunError, match="fewer than two entries"):
        _ = ao.run(tmp_path).portfolio
