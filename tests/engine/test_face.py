"""What the face says of backtests, sweeps and rankings, on the real engine."""

from __future__ import annotations

import doctest
import importlib

import msgspec
import numpy as np
import polars as pl
import pytest

import aiopt as ao
from aiopt.backtest.session import BacktestSession
from aiopt.errors import BacktestError, ConfigError, SearchSpaceError
from aiopt.optimize.configuration import OptimizeConfig
from aiopt.ranking.rank import rank_trials
from aiopt.ranking.trials import TrialRow
from aiopt.screen.failures import ScreenMismatchError
from aiopt.screen.session import ScreenSession
from aiopt.sweep.local import run_points
from aiopt.sweep.points import Strategy, judged_by, plan_context, plan_points

FOLDS = ao.WalkForwardConfig(folds=3)


@pytest.fixture(scope="module")
def bars() -> ao.Bars:
    return ao.build_bars(ao.sample_ticks(days=3, ticks_per_day=8_000), "5m")


@pytest.fixture(scope="module")
def swept(bars: ao.Bars) -> ao.Sweep:
    return ao.sweep(["ema_cross_atr", "rsi_reversion"], bars, trials=3, walk_forward=FOLDS)


@pytest.mark.parametrize("name", ["backtest", "sweep", "rank"])
def test_the_examples_of_a_module_print_what_they_say(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"aiopt.face.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_a_backtest_is_what_a_session_runs(bars: ao.Bars) -> None:
    found = ao.backtest("ema_cross_atr", bars, initial_balance=10_000.0, params={"fast_length": 12})
    assert found.config == ao.BacktestConfig(initial_balance=10_000.0)
    with BacktestSession(bars.bar_set, found.config) as session:
        assert found.result.to_document(equity=True) == session.run(found.spec).to_document(equity=True)


def test_trades_and_equity_are_tables_with_times(bars: ao.Bars) -> None:
    found = ao.backtest("ema_cross_atr", bars)
    trades, equity = found.trades.to_polars(), found.equity.to_pandas()
    assert trades.height == found.metrics.trades > 0
    assert trades.schema["entry_ts"] == pl.Datetime("ns", "UTC")
    assert trades["pnl"].sum() == pytest.approx(found.metrics.net_profit)
    assert trades["stop_price"].null_count() == 0
    assert str(equity["ts"].dtype) == "datetime64[ns, UTC]"
    assert equity["ts"].is_monotonic_increasing
    assert np.array_equal(equity["equity"].to_numpy(), found.result.equity)
    assert found.to_polars().equals(trades)


def test_a_backtest_shows_itself(bars: ao.Bars) -> None:
    found = ao.backtest("ema_cross_atr", bars)
    assert repr(found).startswith("<Backtest: ema_cross_atr on 863 5m bars of EURUSD, research: ")
    page = found._repr_html_()
    assert "<svg" in page
    assert "Generated ticks: no market ever quoted these prices." in page
    assert "entry_price" in page
    assert ao.render_chart(found, width=640, height=480)._repr_png_()[:4] == b"\x89PNG"


def test_parity_takes_one_price_and_research_needs_two(bars: ao.Bars) -> None:
    chart = ao.backtest("ema_cross_atr", bars, mode="parity")
    assert chart.metrics.commission == 0
    with pytest.raises(ConfigError, match="one price"):
        ao.backtest("ema_cross_atr", bars.bid)
    spread = ao.backtest("ema_cross_atr", bars.bid, spread_pips=0.5)
    assert spread.metrics.commission > 0
    with pytest.raises(ConfigError, match="Parity mode has no spread"):
        ao.backtest("ema_cross_atr", bars, mode="parity", spread_pips=0.5)


def test_wrong_assumptions_are_named(bars: ao.Bars) -> None:
    with pytest.raises(ConfigError, match=r"Unknown key .laverage. at .. Did you mean .leverage."):
        ao.backtest("ema_cross_atr", bars, laverage=3.0)
    with pytest.raises(ConfigError, match="`config` has every assumption"):
        ao.backtest("ema_cross_atr", bars, config=ao.BacktestConfig(), leverage=3.0)


def test_a_sweep_gives_the_rows_of_a_run(bars: ao.Bars, swept: ao.Sweep) -> None:
    config = OptimizeConfig(timeframes=("5m",), trials=3, walk_forward=FOLDS)
    spaces = [ao.families()[name] for name in ("ema_cross_atr", "rsi_reversion")]
    sets = {"5m": bars.bar_set}
    context = plan_context(sets, config)
    points = plan_points([Strategy(space.spec, space) for space in spaces], config)
    expected = sorted(run_points(points, sets, context), key=lambda row: row.trial_id)
    assert swept.rows == expected
    ranked = ao.rank(swept, min_oos_trades=2, min_train_trades=1)
    judged = judged_by(sets, OptimizeConfig(ranking=ao.RankingConfig(min_oos_trades=2, min_train_trades=1)))
    assert ranked.ranking == rank_trials(expected, context.plan, judged)


def test_a_sweep_as_a_table(swept: ao.Sweep) -> None:
    frame = swept.to_polars()
    assert frame.height == len(swept) == 6
    assert {"fast_length", "rsi_length"} <= set(frame.columns)
    row = next(row for row in swept.rows if row.trial_id == "ema_cross_atr@5m-00001")
    shown = frame.row(by_predicate=pl.col("trial_id") == row.trial_id, named=True)
    assert shown["pnl"] == pytest.approx(sum(row.pnl))
    assert shown["trades"] == sum(row.segment_trades)
    assert swept.spec(row.trial_id).spec_hash == row.spec_hash
    with pytest.raises(SearchSpaceError, match="The sweep has no trial 'x'"):
        swept.spec("x")
    assert "This is not evidence" in swept._repr_html_()


def test_a_ranking_as_a_table(swept: ao.Sweep) -> None:
    ranked = ao.rank(swept, min_oos_trades=1, min_train_trades=1, top=2)
    frame = ranked.to_polars()
    assert frame.height == len(ranked) == len(ranked.entries) > 0
    assert frame["rank"].to_list() == list(range(1, len(ranked) + 1))
    assert ranked.spec(1).spec_hash == ranked.entries[0].spec_hash
    assert ranked.rejected.to_polars().height == len(ranked.ranking.rejected)
    assert ranked.headline in repr(ranked)
    assert "probability of backtest overfitting" in ranked._repr_html_()
    with pytest.raises(ConfigError, match=r"`1 <= rank <= \d` must hold, but got rank=9"):
        ranked.spec(9)


def test_a_ranking_without_entries_says_why(swept: ao.Sweep) -> None:
    ranked = ao.rank(swept)
    assert len(ranked) == 0
    assert ranked.to_polars().height == 0
    reasons = ranked.rejected.to_polars()["reason"].to_list()
    assert reasons
    assert all("trades" in reason for reason in reasons)
    assert "Rejected" in ranked._repr_html_()


def test_what_a_sweep_refuses(bars: ao.Bars, swept: ao.Sweep) -> None:
    with pytest.raises(SearchSpaceError, match="different families, but ema_cross_atr occurs twice"):
        ao.sweep(["ema_cross_atr", "ema_cross_atr"], bars, trials=1)
    with pytest.raises(SearchSpaceError, match="trials >= 1"):
        ao.sweep("ema_cross_atr", bars, trials=0)
    with pytest.raises(ConfigError, match="period must be that of the sweep, 1h, but got 4h"):
        ao.rank(swept, config=ao.RankingConfig(period="4h"))


def test_a_ranking_says_what_the_engine_has_not_run_or_lets_it_run(
    bars: ao.Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"walk_forward": FOLDS, "show_progress": False, "trials": 8}
    swept = ao.sweep("ema_cross_atr", bars, **few)
    judging = {"min_oos_trades": 1, "min_train_trades": 1, "max_correlation": 1.0, "lanes": 8, "top": 8}
    # As if the settings of the sweep had chosen the first trial alone.
    swept.confirmed = frozenset({swept.rows[0].trial_id})
    told = ao.rank(swept, confirm=False, **judging)
    assert told.unconfirmed
    for name, trials in told.unconfirmed.items():
        entry = next(one for one in told.entries if one.name == name)
        assert set(trials) <= {entry.trial_id, *(fold.trial_id for fold in entry.folds)}
        assert swept.rows[0].trial_id not in trials
        assert name in repr(told)
    assert "NOT CONFIRMED by the engine" in repr(told)
    assert "NOT CONFIRMED by the engine" in told._repr_html_()
    assert swept.confirmed == {swept.rows[0].trial_id}
    sure = ao.rank(swept, **judging)
    assert (sure.unconfirmed, sure.warnings) == ({}, [])
    assert sure.ranking == told.ranking
    assert len(swept.confirmed) > 1
    # The engine runs no trial twice, and a row that it does not confirm stops the ranking.
    monkeypatch.setattr("aiopt.face.sweep._again", lambda *_: pytest.fail("confirmed already"))
    assert ao.rank(swept, **judging).ranking == told.ranking
    monkeypatch.undo()
    wrong = next(row for row in swept.rows if row.trial_id == sure.entries[0].trial_id)
    changed = msgspec.structs.replace(wrong, pnl=[*wrong.pnl[:-1], wrong.pnl[-1] + 1.0])
    swept.rows = [changed if row is wrong else row for row in swept.rows]
    swept.confirmed = frozenset()
    with pytest.raises(ScreenMismatchError, match=f"disagree on trial {wrong.trial_id}"):
        ao.rank(swept, **judging)


def test_a_sweep_whose_every_trial_fails_says_why(bars: ao.Bars, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: ScreenSession, *args: object, **kwargs: object) -> TrialRow:
        raise BacktestError("the engine refused the order")

    monkeypatch.setattr(ScreenSession, "screen", fail)
    with pytest.raises(BacktestError, match=r"all 2 failed: BacktestError: the engine refused the order"):
        ao.sweep("ema_cross_atr", bars, trials=2)
