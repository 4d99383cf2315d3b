"""Stress in shares: the same result wherever and in whatever order they run, a sample of it confirmed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence

import msgspec
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json
from aiopt.ranking.rank import rank_trials
from aiopt.robustness.measuring import AnyOutcome, AnyShare, Robustly
from aiopt.robustness.robustness_config import SCENARIOS
from aiopt.robustness.robustness_file import Robustness, confirmed_text
from aiopt.robustness.shares import StressShare
from aiopt.robustness.stress import ENGINE_DRAWS, RUNS_PER_SHARE, stress_shares
from aiopt.robustness.walks import Path, WalkEngine
from aiopt.screen.failures import ScreenMismatchError
from aiopt.strategy.spec import StrategySpec
from aiopt.sweep.points import Strategy, judged_by, plan_context, plan_points
from aiopt.sweep.sweep_config import SweepConfig
from aiopt.sweep.trial_runner import TrialEngine
from tests.unit.robustness.conftest import SETTINGS, SPACES, Ranked


@pytest.fixture(scope="module")
def shares(ranked: Ranked) -> list[AnyShare]:
    seen: list[AnyShare] = []

    def only_look(shares: Sequence[AnyShare], bars: Mapping[str, BarSet]) -> list[AnyOutcome]:
        seen.extend(shares)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        measured(ranked, only_look)
    return seen


def measured(ranked: Ranked, run=None, config=SETTINGS) -> Robustness:
    judge = Robustly(ranked.ranking, ranked.bars, ranked.context, SPACES, config)
    return judge.measure() if run is None else judge.measure(run)


def test_shares_sent_away_and_run_backwards_give_the_same_bytes(ranked: Ranked) -> None:
    def elsewhere(shares: Sequence[AnyShare], bars: Mapping[str, BarSet]) -> list[AnyOutcome]:
        sent = [pickle.loads(pickle.dumps(share)) for share in shares]
        found = [pickle.dumps(share.run(bars[share.series])) for share in reversed(sent)]
        return [pickle.loads(one) for one in reversed(found)]

    here = measured(ranked)
    assert canonical_json(measured(ranked, elsewhere)) == canonical_json(here)
    drawn = sum(scenario.draws for one in here.entries for scenario in one.scenarios)
    assert here.confirmed == len(SCENARIOS) - 1  # there is no other market
    assert here.in_engine == 0
    # Equal slippage is run once.
    assert 0 <= drawn - here.paths < 4 * len(here.entries)
    assert f"NautilusTrader ran {here.confirmed} of their backtests again, all equal" in confirmed_text(here)


def test_every_run_is_in_one_share_and_one_of_every_scenario_is_confirmed(shares: list[AnyShare]) -> None:
    terms = next(share.terms for share in shares if isinstance(share, StressShare))
    planned = stress_shares(terms, 12)
    for name in SCENARIOS:
        own = [share for share in planned if share.scenario == name]
        numbers = [number for share in own for number in share.runs]
        assert len(set(numbers)) == len(numbers)
        assert all(len(share.runs) <= RUNS_PER_SHARE for share in own)
        confirmed = [share.confirm for share in own if share.confirm]
        assert len(confirmed) == (name != "markets")
        assert all(one[0] in numbers for one in confirmed)
    assert [share.confirm for share in stress_shares(terms, 12)] == [share.confirm for share in planned]


def test_an_engine_that_differs_under_stress_stops_the_run(
    ranked: Ranked, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = WalkEngine.trial

    def one_cent_more(self: WalkEngine, spec: StrategySpec) -> Path:
        found = honest(self, spec)
        pnl = found.pnl.copy()
        pnl[100] += 0.01
        return Path(pnl, found.entries_ns)

    monkeypatch.setattr(WalkEngine, "trial", one_cent_more)
    with pytest.raises(
        ScreenMismatchError, match=r"under stress.*scenario spread, run \d, fold \d.*1 of \d+ per"
    ):
        measured(ranked)


def test_entries_beyond_the_screen_run_in_the_engine_and_that_is_said(ranked: Ranked) -> None:
    bars = ranked.bars["15m"].slice(0, 2500)
    config = SweepConfig(
        timeframes=("15m",),
        trials=2,
        backtest=BacktestConfig(initial_balance=2e9),  # the screen is exact up to 1e9
        walk_forward=ranked.ranking.plan.config,
        ranking=msgspec.structs.replace(ranked.ranking.config, top=1, min_oos_trades=2, min_train_trades=1),
    )
    given = {"15m": bars}
    context = plan_context(given, config)
    name = "rsi_reversion"
    points = plan_points([Strategy(SPACES[name].spec, SPACES[name])], config)
    engine = TrialEngine(bars, config.backtest)
    rows = [engine.row(point, context) for point in points]
    engine.close()
    ranking = rank_trials(rows, context.plan, judged_by(given, config))
    settings = msgspec.structs.replace(SETTINGS, draws=ENGINE_DRAWS + 3)
    found = Robustly(ranking, given, context, {name: SPACES[name]}, settings).measure()
    (one,) = found.entries
    assert "at most 1,000,000,000" in one.beyond_screen
    draws = {scenario.name: scenario.draws for scenario in one.scenarios}
    assert (draws["spread"], draws["delay"], draws["jitter"]) == (ENGINE_DRAWS, 1, ENGINE_DRAWS)
    assert one.neighbourhood is None
    assert (found.in_engine, found.confirmed) == (found.paths, 0)
    text = confirmed_text(found)
    assert "NautilusTrader ran all of them" in text
    assert "Beyond the screen: 1 of 1 entries (rank 1)" in text


def test_a_file_of_an_earlier_version_says_nothing_of_it(ranked: Ranked) -> None:
    found = measured(ranked, config=msgspec.structs.replace(SETTINGS, draws=1))
    document = msgspec.to_builtins(found)
    for name in ("paths", "confirmed", "in_engine"):
        del document[name]
    for entry in document["entries"]:
        del entry["beyond_screen"]
    assert confirmed_text(msgspec.convert(document, Robustness)) == ""
