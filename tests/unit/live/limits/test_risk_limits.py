"""Risk limits: what each refuses, that exits pass, trading days, state."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import msgspec
import pytest

from aiopt.config import decode
from aiopt.errors import ConfigError
from aiopt.live.limits.limits_config import LimitsConfig
from aiopt.live.limits.risk_limits import (
    RiskLimits,
    RiskState,
    Situation,
    trading_day_end_ns,
)
from aiopt.live.paper.seam import VenueOrder

NEW_YORK = ZoneInfo("America/New_York")
S = 10**9
NOW = 1_709_730_000 * S  # Wednesday 6 March 2024, 13:00 UTC
MET = Situation(
    now_ns=NOW, bid=1.1, ask=1.1002, quote_ns=NOW - 2 * S, held_units=5_000.0, notional=30_000.0, rate=1.0
)


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * S


def order(position_id: str | None = None, **fields: object) -> VenueOrder:
    return VenueOrder(
        order_id="o1",
        strategy="s",
        instrument="EURUSD",
        series="1m",
        side=1,
        units=10_000.0,
        kind="market",
        position_id=position_id,
        ts_ns=NOW,
    )


@pytest.mark.parametrize(
    ("limit", "value", "enough"),
    [
        ("max_position_units", 15_000.0, 15_000.0),
        ("max_notional", 41_002.0, 41_002.0),
        ("max_spread_pips", 2.0, 2.0),
        ("max_quote_age_s", 2.0, 2.0),
    ],
)
def test_a_limit_refuses_what_goes_beyond_it_and_lets_what_reaches_it_pass(
    limit: str, value: float, enough: float
) -> None:
    assert RiskLimits(LimitsConfig(**{limit: enough})).judge(order(), MET) is None
    refusal = RiskLimits(LimitsConfig(**{limit: enough * 0.99})).judge(order(), MET)
    assert refusal is not None
    assert (refusal.rule, refusal.limit) == (limit, enough * 0.99)
    assert refusal.value == pytest.approx(value)
    assert f"`{limit}` is" in refusal.reason
    assert "o1 of s (10000 units of EURUSD)" in refusal.reason


def test_the_notional_is_in_the_accounts_currency() -> None:
    met = MET._replace(rate=0.5)
    assert RiskLimits(LimitsConfig(max_notional=35_501.0)).judge(order(), met) is None
    assert RiskLimits(LimitsConfig(max_notional=35_500.0)).judge(order(), met) is not None


def test_orders_of_a_minute_are_counted_and_forgotten() -> None:
    limits = RiskLimits(LimitsConfig(max_orders_per_minute=2))
    assert limits.judge(order(), MET) is None
    assert limits.judge(order("P"), MET._replace(now_ns=NOW + 30 * S)) is None  # an exit counts
    refusal = limits.judge(order(), MET._replace(now_ns=NOW + 59 * S))
    assert refusal is not None
    assert (refusal.rule, refusal.value) == ("max_orders_per_minute", 3.0)
    assert limits.judge(order(), MET._replace(now_ns=NOW + 60 * S)) is None  # a refused one does not


def test_an_exit_passes_whatever_is_broken() -> None:
    limits = RiskLimits(
        LimitsConfig(
            max_position_units=1,
            max_notional=1,
            max_orders_per_minute=1,
            max_daily_loss=1,
            max_drawdown=0.01,
            max_spread_pips=0.1,
            max_quote_age_s=0.1,
        )
    )
    limits.observe(NOW, 1_000.0)
    limits.observe(NOW + 1, 100.0)
    assert set(limits.breached) == {"max_daily_loss", "max_drawdown"}
    for _ in range(5):
        assert limits.judge(order("P"), MET) is None
    assert limits.judge(order(), MET) is not None


def test_a_daily_loss_holds_until_the_next_trading_day() -> None:
    limits = RiskLimits(LimitsConfig(max_daily_loss=100.0))
    assert limits.observe(NOW, 1_000.0) == ()
    (breach,) = limits.observe(NOW + S, 900.0)
    assert (breach.rule, breach.value, breach.kills) == ("max_daily_loss", 100.0, False)
    assert limits.observe(NOW + 2 * S, 990.0) == ()  # found once, and holds although it was won back
    refusal = limits.judge(order(), MET)
    assert refusal is not None
    assert "until 2024-03-06T22:00:00Z" in refusal.reason
    limits.observe(at("2024-03-06T16:59:59"), 950.0)
    assert limits.judge(order(), MET) is not None
    limits.observe(at("2024-03-06T17:00:00"), 940.0)
    assert limits.judge(order(), MET) is None
    assert limits.day_loss == 10.0  # from the last equity before the day began


def test_the_gap_of_a_week_end_counts_to_the_day_it_opens() -> None:
    limits = RiskLimits(LimitsConfig(max_daily_loss=100.0, on_loss="kill"))
    limits.observe(at("2024-03-08T16:59:00"), 1_000.0)
    (breach,) = limits.observe(at("2024-03-10T17:00:05"), 880.0)
    assert (breach.value, breach.kills) == (120.0, True)


def test_a_drawdown_holds_until_a_person_resets_it() -> None:
    limits = RiskLimits(LimitsConfig(max_drawdown=0.1))
    limits.observe(NOW, 1_000.0)
    limits.observe(NOW + 1, 2_000.0)
    assert limits.observe(NOW + 2, 1_801.0) == ()
    (breach,) = limits.observe(NOW + 3, 1_800.0)
    assert breach.value == pytest.approx(0.1)
    limits.observe(at("2024-03-12T12:00:00"), 1_950.0)
    refusal = limits.judge(order(), MET)
    assert refusal is not None
    assert "until reset" in refusal.reason
    limits.reset_drawdown()
    assert limits.judge(order(), MET) is None
    assert limits.drawdown == 0.0


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2024-03-08T16:59:59", "2024-03-08T17:00:00"),
        ("2024-03-08T17:00:00", "2024-03-09T17:00:00"),
        ("2024-03-09T18:00:00", "2024-03-10T17:00:00"),  # clocks go forward that night: 23 hours
        ("2024-11-02T18:00:00", "2024-11-03T17:00:00"),  # and back: 25 hours
    ],
)
def test_a_trading_day_ends_at_17_new_york(now: str, end: str) -> None:
    assert trading_day_end_ns(at(now)) == at(end)


def test_limits_go_on_after_a_restart() -> None:
    config = LimitsConfig(max_daily_loss=100.0, max_orders_per_minute=2)
    limits = RiskLimits(config)
    limits.observe(NOW, 1_000.0)
    limits.judge(order(), MET)
    limits.judge(order(), MET)
    limits.observe(NOW + 1, 850.0)
    kept = msgspec.json.decode(msgspec.json.encode(limits.state()), type=RiskState)
    again = RiskLimits(config, kept)
    assert again.state() == limits.state()
    assert again.observe(NOW + 2, 840.0) == ()
    assert again.judge(order(), MET) == limits.judge(order(), MET) is not None
    with pytest.raises(ConfigError, match="version 7"):
        RiskLimits(config, msgspec.structs.replace(kept, version=7))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"max_notional": 0.0}, "0 < max_notional < inf"),
        ({"max_daily_loss": float("nan")}, "max_daily_loss=nan"),
        ({"max_drawdown": 1.5}, "at most 1"),
        ({"on_loss": "panic"}, "on_loss"),
        ({"max_positions": 3}, "Unknown key 'max_positions'.*max_position_units"),
    ],
)
def test_a_wrong_limit_is_refused(values: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        decode(values, LimitsConfig, where="limits")


def test_a_reached_loss_limit_is_lifted_by_one_above_the_loss_and_by_no_other() -> None:
    limits = RiskLimits(LimitsConfig(max_daily_loss=100.0, max_drawdown=0.01))
    limits.observe(NOW, 10_000.0)
    limits.observe(NOW + 1, 9_850.0)
    assert limits.breached == ("max_daily_loss", "max_drawdown")
    limits.change(LimitsConfig(max_daily_loss=150.0, max_drawdown=0.02))
    assert limits.breached == ("max_daily_loss",), "150 are lost, and 150 may not be"
    limits.change(LimitsConfig())
    assert limits.breached == ()
    limits.change(LimitsConfig(max_daily_loss=100.0))
    assert [one.rule for one in limits.observe(NOW + 2, 9_850.0)] == ["max_daily_loss"]
