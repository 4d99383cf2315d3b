from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json
from aiopt.errors import InputError
from aiopt.market.instrument import instrument
from aiopt.ranking.ranking_file import NO_EVIDENCE, SURVIVES, WEAK, Ranking
from aiopt.robustness.measuring import Robustly
from aiopt.robustness.robustness_config import SCENARIOS, Gate, RobustnessConfig
from aiopt.robustness.robustness_file import Robustness, with_robustness
from aiopt.runs import RunFileError, read_json
from aiopt.screen.failures import ScreenMismatchError
from aiopt.series import series_name
from aiopt.sweep.markets import MarketTerms
from tests.unit.robustness.conftest import SETTINGS, SPACES, Ranked


def measure(
    ranked: Ranked,
    config: RobustnessConfig = SETTINGS,
    *,
    ranking: Ranking | None = None,
    bars: dict[str, BarSet] | None = None,
) -> Robustness:
    return Robustly(ranking or ranked.ranking, bars or ranked.bars, ranked.context, SPACES, config).measure()


@pytest.fixture(scope="session")
def found(ranked: Ranked) -> Robustness:
    return measure(ranked)


def test_every_entry_is_measured_under_every_scenario(ranked: Ranked, found: Robustness) -> None:
    assert [one.trial_id for one in found.entries] == [one.trial_id for one in ranked.ranking.entries]
    for one, entry in zip(found.entries, ranked.ranking.entries, strict=True):
        assert [scenario.name for scenario in one.scenarios] == list(SCENARIOS)
        draws = {scenario.name: scenario.draws for scenario in one.scenarios}
        assert draws == {
            **dict.fromkeys(("spread", "slippage", "missing_bars", "jitter", "bootstrap"), 4),
            **dict.fromkeys(("commission_2", "commission_3", "delay"), 1),
            "markets": 0,
        }
        assert one.net_pnl == entry.out_of_sample.net_pnl
        assert one.sharpe == entry.out_of_sample.sharpe
        assert one.trades == entry.out_of_sample.trades
        assert one.fan[-1] == pytest.approx(one.net_pnl, abs=0.01)


def test_more_commission_takes_exactly_what_was_paid(ranked: Ranked, found: Robustness) -> None:
    # Fixed sizes and no margin call: the trades are the same.
    for one, entry in zip(found.entries, ranked.ranking.entries, strict=True):
        by_name = {scenario.name: scenario for scenario in one.scenarios}
        for factor in (2, 3):
            stressed = by_name[f"commission_{factor}"].net_pnl
            assert stressed is not None
            paid = (factor - 1) * entry.out_of_sample.commission
            assert stressed.q50 == pytest.approx(one.net_pnl - paid, abs=1e-4)


def test_a_wider_spread_costs_money_and_other_draws_differ(found: Robustness) -> None:
    for one in found.entries:
        spread = next(scenario for scenario in one.scenarios if scenario.name == "spread")
        assert spread.net_pnl is not None
        assert spread.net_pnl.q95 < one.net_pnl
        assert spread.net_pnl.q05 < spread.net_pnl.q95
        assert len(spread.fan) == 5
        assert all(low <= high for low, high in zip(spread.fan[0], spread.fan[4], strict=True))


def test_parts_add_up_to_the_path(found: Robustness) -> None:
    for one in found.entries:
        for parts in (one.months, one.sessions, one.trends, one.volatilities):
            assert math.fsum(part.net_pnl for part in parts) == pytest.approx(one.net_pnl, abs=0.05)
            assert sum(part.trades for part in parts) == one.trades


def test_the_same_settings_give_the_same_bytes_and_another_seed_does_not(
    ranked: Ranked, found: Robustness
) -> None:
    assert canonical_json(measure(ranked)) == canonical_json(found)
    other = measure(ranked, msgspec.structs.replace(SETTINGS, seed=1))
    assert canonical_json(other.entries) != canonical_json(found.entries)


def test_streamed_signals_change_nothing(ranked: Ranked, found: Robustness) -> None:
    streamed = msgspec.structs.replace(ranked.context.backtest, signals="streaming")
    context = replace(ranked.context, backtest=streamed)
    assert canonical_json(measure(replace(ranked, context=context))) == canonical_json(found)


def test_the_holdout_changes_nothing(ranked: Ranked, found: Robustness) -> None:
    bars = ranked.bars["15m"]
    after = bars.bid.ts_open_ns >= ranked.ranking.plan.holdout_start_ns
    assert after.sum() > 100

    def changed(side):
        return replace(
            side,
            **{
                name: np.where(after, np.round(getattr(side, name) * 1.02, 5), getattr(side, name))
                for name in ("open", "high", "low", "close")
            },
        )

    other = replace(bars, bid=changed(bars.bid), ask=changed(bars.ask))
    assert canonical_json(measure(ranked, bars={"15m": other})) == canonical_json(found)


def test_a_path_that_is_not_the_ranking_s_stops_the_run(ranked: Ranked) -> None:
    first, *rest = ranked.ranking.entries
    pnl = list(first.out_of_sample_pnl)
    pnl[7] += 1e-8
    wrong = msgspec.structs.replace(
        ranked.ranking, entries=[msgspec.structs.replace(first, out_of_sample_pnl=pnl), *rest]
    )
    with pytest.raises(ScreenMismatchError, match=r"1 of .* periods differ.*must not be trusted"):
        measure(ranked, ranking=wrong)


def test_other_markets_of_the_run_are_tried_with_the_same_rules(ranked: Ranked) -> None:
    bars = ranked.bars["15m"]
    sides = (replace(side, instrument="GBPUSD") for side in (bars.bid, bars.ask))
    twin = BarSet(instrument("GBPUSD"), bars.timeframe, *sides, False, "twin")
    both = {series_name(one.instrument.symbol, "15m"): one for one in (bars, twin)}
    costs = BacktestConfig(commission_per_million=0.0)
    context = replace(
        ranked.context,
        markets={
            "EURUSD": MarketTerms(ranked.context.backtest, "one"),
            "GBPUSD": MarketTerms(costs, "two"),
        },
    )
    entries = [msgspec.structs.replace(entry, instrument="EURUSD") for entry in ranked.ranking.entries]
    ranking = msgspec.structs.replace(ranked.ranking, entries=entries)
    config = msgspec.structs.replace(SETTINGS, draws=1)
    found = Robustly(ranking, both, context, SPACES, config).measure()
    for one, entry in zip(found.entries, entries, strict=True):
        (markets,) = [scenario for scenario in one.scenarios if scenario.name == "markets"]
        assert markets.draws == 1
        assert "GBPUSD" in markets.text
        # The same quotes without commission.
        assert markets.net_pnl is not None
        paid = entry.out_of_sample.commission
        assert markets.net_pnl.q50 == pytest.approx(one.net_pnl + paid, abs=1e-4)


def test_the_neighbourhood_has_a_map_and_a_place_for_the_emitted_point(found: Robustness) -> None:
    for one in found.entries:
        near = one.neighbourhood
        assert near is not None
        assert near.map is not None
        assert 0 < near.points <= SETTINGS.neighbours
        column, row = near.map.chosen
        emitted = {parameter.name: parameter.value for parameter in near.parameters}
        assert near.map.x_values[column] == emitted[near.map.x_name]
        assert near.map.y_values[row] == emitted[near.map.y_name]
        cell = near.map.sharpe[row][column]
        if near.train.own_sharpe is not None:
            assert cell == pytest.approx(near.train.own_sharpe, abs=1e-4)
        importances = [parameter.importance or 0.0 for parameter in near.parameters]
        assert importances == sorted(importances, reverse=True)
        assert one.trials > near.points
    assert found.trials == sum(one.trials for one in found.entries)


# --- what it adds to a ranking ------------------------------------------------------------------------------


def surviving(ranking: Ranking) -> Ranking:
    entries = [msgspec.structs.replace(entry, survives=True, verdict=SURVIVES) for entry in ranking.entries]
    return msgspec.structs.replace(ranking, entries=entries)


def judged(found: Robustness, **passed: bool | None) -> Robustness:
    """Return the measure with one required gate, of this outcome per entry."""
    outcomes = list(passed.values())
    gate = Gate(figure="delay.net_pnl", at_least=0.0, required=True)
    entries = [
        msgspec.structs.replace(
            one,
            gates=[msgspec.structs.replace(one.gates[0], figure=gate.figure, required=True, passed=outcome)],
        )
        for one, outcome in zip(found.entries, outcomes, strict=True)
    ]
    return msgspec.structs.replace(
        found, entries=entries, config=msgspec.structs.replace(found.config, gates=(gate,))
    )


def test_a_required_gate_takes_survives_away_and_keeps_the_order(ranked: Ranked, found: Robustness) -> None:
    before = surviving(ranked.ranking)
    after = with_robustness(before, judged(found, first=False, second=True))
    assert [entry.survives for entry in after.entries] == [False, True]
    assert [entry.verdict for entry in after.entries] == [WEAK, SURVIVES]
    assert [entry.checks[-1].passed for entry in after.entries] == [False, True]
    assert "delay.net pnl" in after.entries[0].checks[-1].rule
    assert f"1 of 2 entries pass every check: {after.entries[1].name}" in after.headline
    assert [entry.score for entry in after.entries] == [entry.score for entry in before.entries]


def test_a_gate_gives_nobody_survives(ranked: Ranked, found: Robustness) -> None:
    before = msgspec.structs.replace(
        ranked.ranking,
        entries=[
            msgspec.structs.replace(entry, survives=False, verdict=NO_EVIDENCE)
            for entry in ranked.ranking.entries
        ],
    )
    after = with_robustness(before, judged(found, first=True, second=None))
    assert [(entry.survives, entry.verdict) for entry in after.entries] == [(False, NO_EVIDENCE)] * 2
    assert [entry.checks[-1].passed for entry in after.entries] == [True, None]


def test_gates_that_are_only_reported_change_no_ranking(ranked: Ranked) -> None:
    config = msgspec.structs.replace(SETTINGS, draws=1, gates=(Gate(figure="delay.net_pnl", at_least=1e9),))
    found = measure(ranked, config)
    assert [gate.passed for one in found.entries for gate in one.gates] == [False, False]
    assert with_robustness(ranked.ranking, found) is ranked.ranking


def test_of_other_entries_is_refused(ranked: Ranked, found: Robustness) -> None:
    other = msgspec.structs.replace(found, entries=found.entries[::-1])
    with pytest.raises(InputError, match=r"robustness\.json is of the entries .* Repeat the run"):
        with_robustness(ranked.ranking, other)


def test_it_is_read_as_it_was_written_and_a_newer_format_is_refused(
    found: Robustness, tmp_path: Path
) -> None:
    path = tmp_path / "robustness.json"
    path.write_bytes(canonical_json(found))
    assert read_json(path, Robustness) == found
    document = msgspec.json.decode(path.read_bytes())
    path.write_bytes(canonical_json({**document, "format": 2}))
    with pytest.raises(RunFileError, match=r"robustness\.json has format 2, and this version .* reads 1"):
        read_json(path, Robustness)
