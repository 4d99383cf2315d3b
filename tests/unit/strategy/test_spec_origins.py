"""Where stops and targets are laid from: what is said, kept out of hashes, refused."""

import math

import numpy as np
import pytest

from aiopt.errors import SpecError
from aiopt.strategy.distances import Away, LaidLevel, laid_level, whole_ticks
from aiopt.strategy.signals import compute_signals, signals_equal, stream_signals
from aiopt.strategy.spec import PriceDistance, RiskSize, StrategySpec, spec_from_mapping
from aiopt.testing.bars import random_walk_bars

PIPS = {"unit": "pips", "value": 12}
SIZES = {"tick_size": 1e-5, "pip_size": 1e-4, "initial_balance": 100_000.0}


def spec(**fields) -> StrategySpec:
    return spec_from_mapping({"name": "laid", "entry_long": "close > open", **fields}, where="test")


def test_the_signal_s_close_is_not_written_down() -> None:
    said = spec(stop_loss={**PIPS, "origin": "signal"})
    assert said == spec(stop_loss=PIPS)
    assert said.spec_hash == spec(stop_loss=PIPS).spec_hash
    assert "origin" not in said.to_json()
    other = spec(stop_loss={**PIPS, "origin": "entry"})
    assert other.spec_hash != said.spec_hash
    assert StrategySpec.from_json(other.to_json()) == other


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stop_loss": {**PIPS, "origin": "fill"}}, "Choose one of signal, entry, position"),
        (
            {"trailing_stop": {"distance": {**PIPS, "origin": "entry"}}},
            "trailing_stop.distance: origin 'entry' is of stop_loss and take_profit alone. Leave it out",
        ),
        (
            {"break_even": {"after": {**PIPS, "rounding": "away"}}},
            "break_even.after: rounding 'away' is of stop_loss and take_profit alone",
        ),
        (
            {"stop_loss": {**PIPS, "origin": "entry"}, "break_even": {"after": PIPS}},
            "stop_loss: origin 'entry' cannot stand beside a stop that moves.*signal or position",
        ),
        (
            {"stop_loss": {**PIPS, "origin": "position"}, "size": {"kind": "risk", "risk_pct": 1.0}},
            "stop_loss: a size by risk needs a stop that acts from the entry on.*entry or signal",
        ),
        (
            {
                "take_profit": {**PIPS, "origin": "entry"},
                "targets": [{"share": 50, "unit": "pips", "value": 5}],
            },
            "take_profit: beside targets it lies from the signal's close.*'entry'. Leave origin out",
        ),
        (
            {"take_profit": {**PIPS, "origin": "position"}, "pyramiding": 2},
            "take_profit: origin 'position' cannot stand beside pyramiding yet",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec(**fields)


def test_prices_to_come_are_no_signals_but_sizes_know_the_distance() -> None:
    bars = random_walk_bars(200, seed=2)
    fields = {"stop_loss": {"unit": "percent", "value": 0.1}, "take_profit": PIPS}
    at_signal = spec(**fields, size={"kind": "risk", "risk_pct": 1.0})
    laid = spec(
        **{field: {**distance, "origin": "entry"} for field, distance in fields.items()},
        size={"kind": "risk", "risk_pct": 1.0},
    )
    one, other = (compute_signals(each, bars, **SIZES) for each in (at_signal, laid))
    assert (one.units == other.units).all()
    assert isinstance(laid.size, RiskSize)
    assert all(math.isnan(price) for price in (*other.stop_long, *other.target_short))
    assert signals_equal(other, stream_signals(laid, bars, **SIZES))


def test_a_level_lies_whole_ticks_from_the_fill() -> None:
    assert [whole_ticks(away, 1e-5) for away in (24.4e-5, 24.6e-5, 1e-9)] == [24, 25, 1]
    percent = PriceDistance(unit="percent", value=0.5, origin="position")
    level = laid_level(spec(stop_loss=PIPS), percent, 1e-4, 1e-5)
    assert level == LaidLevel(Away(0.005, None), of_entry=True, waits=True)
    assert level.price(1.2, 0.005, sign=-1, tick=1e-5) == pytest.approx(1.194, abs=1e-9)
    assert laid_level(spec(), None, 1e-4, 1e-5) is None


def test_rounded_away_a_price_on_the_tick_stays_and_others_lie_farther() -> None:
    bars = random_walk_bars(200, seed=3)
    for pips, ticks in ((12.0, 120), (12.01, 121), (12.09, 121), (0.01, 1)):
        distance = PriceDistance(unit="pips", value=pips, rounding="away")
        both = StrategySpec(name="away", entry_long="close > open", stop_loss=distance, take_profit=distance)
        signals = compute_signals(both, bars, **SIZES)
        for level, sign in ((signals.stop_long, -1), (signals.target_long, 1), (signals.stop_short, 1)):
            assert np.array_equal(np.rint((level - bars.close) * sign * 1e5), np.full(200, ticks))
    assert PriceDistance(unit="pips", value=1, rounding="nearest") == PriceDistance(unit="pips", value=1)
