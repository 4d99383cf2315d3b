"""NautilusTrader's trades: equal to the oracle's, whatever the bars, the replay and the source of signals."""

from __future__ import annotations

import gc
import itertools
from dataclasses import replace

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiopt.backtest.backtest_config import BacktestConfig, Segments
from aiopt.backtest.pricing import add_spread
from aiopt.backtest.session import BacktestSession
from aiopt.backtest.signals import ArraySignals, StreamedSignals
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.errors import BacktestError, ConfigError, DataError
from aiopt.market.instrument import instrument
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.signals import SignalArrays, compute_signals
from aiopt.strategy.spec import RiskSize
from aiopt.testing.bars import random_walk_bars
from aiopt.testing.broker import simulate
from aiopt.timeframe import parse_timeframe
from tests.engine.real_bars import dukascopy_minutes, histdata_minutes

MINUTE = parse_timeframe("1m")
TICK = 1e-5
FREE = {"commission_per_million": 0.0}


def key(trade):
    return (
        trade.entry_bar,
        trade.entry_price,
        trade.side,
        trade.size,
        trade.exit_bar,
        trade.exit_price,
        trade.exit_reason,
    )


def engine_trades(result):
    found = [key(trade) for trade in result.trades]
    held = result.open_trade
    if held is not None:
        found.append((held.entry_bar, held.entry_price, held.side, held.size, None, None, None))
    return found


def make_bars(ticks, gaps, spread=0):
    """Bars from whole ticks above 1.12: rows of (open, high, low, close)."""
    ts = np.cumsum(np.array(gaps, dtype=np.int64)) * MINUTE.ns + 1_400_000_040 * 10**9

    def side(price, offset):
        prices = np.round((np.array(ticks, dtype=np.float64) + 112_000 + offset) * TICK, 5)
        columns = (np.ascontiguousarray(column) for column in prices.T)
        return BarArrays(
            "EURUSD", MINUTE, price, ts, *columns, volume=np.full(ts.size, 3.0), data_hash="made"
        )

    bid = side("bid", 0)
    if spread == 0:
        return BarSet(instrument("EURUSD"), MINUTE, bid, bid, True, "made")
    return BarSet(instrument("EURUSD"), MINUTE, bid, side("ask", spread), False, "made")


@st.composite
def markets(draw, scale=1):
    """Adversarial bars: few steps wide, so that every price coincides with every other now and then.

    A step is `scale` ticks.
    """
    n_bars = draw(st.integers(2, 40))
    small = st.integers(-4, 4).map(lambda steps: steps * scale)
    rows, last = [], 0
    for _ in range(n_bars):
        opened = last + draw(st.one_of(st.just(0), small))
        points = [opened, *(opened + draw(small) for _ in range(3))]
        rows.append((opened, max(points), min(points), points[-1]))
        last = points[-1]
    gaps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 60]), min_size=n_bars, max_size=n_bars))
    return make_bars(rows, gaps, spread=draw(st.sampled_from([0, 1, 8])))


@st.composite
def scripts(draw, bars, scale=1):
    """Signals at random, stops and targets within a few steps of the close or absent."""
    n_bars = len(bars)

    def column(values):
        return np.array(draw(st.lists(values, min_size=n_bars, max_size=n_bars)))

    kind = column(st.sampled_from(["", "", "long", "short"]))
    distance = st.one_of(st.none(), st.integers(0, 6).map(lambda steps: steps * scale))
    stop = np.array([np.nan if d is None else d * TICK for d in column(distance)], dtype=float)
    target = np.array([np.nan if d is None else d * TICK for d in column(distance)], dtype=float)
    close = bars.bid.close
    return SignalArrays(
        entry_long=kind == "long",
        entry_short=kind == "short",
        exit_long=column(st.sampled_from([False, False, True])),
        exit_short=column(st.sampled_from([False, False, True])),
        stop_long=np.round(close - stop, 5),
        target_long=np.round(close + target, 5),
        stop_short=np.round(close + stop, 5),
        target_short=np.round(close - target, 5),
        units=column(st.sampled_from([1000.0, 7000.0])),
        ready=np.ones(n_bars, dtype=bool),
        indicators={},
    )


@st.composite
def scenarios(draw):
    bars = draw(markets())
    script = draw(scripts(bars))
    cuts = sorted(draw(st.sets(st.integers(0, len(bars)), max_size=4)))
    ends = [*bars.bid.ts_open_ns.tolist(), int(bars.bid.ts_open_ns[-1]) + MINUTE.ns]
    segments = Segments(tuple(ends[cut] for cut in cuts)) if len(cuts) > 1 and draw(st.booleans()) else None
    return bars, script, segments


class ScriptedSignals:
    """Stands for `StreamingSignals`: says what the arrays say, bar after bar."""

    def __init__(self, script):
        self._script = ArraySignals(script, np.full(len(script), np.nan))
        self.size_step, self.exits, self.limits = script.size_step, script.exits, script.limits
        self.pyramiding = script.pyramiding
        self._bar = -1

    def update(self, ts_open_ns, open, high, low, close, volume):
        self._bar += 1
        return self._script.at(self._bar)


def oracle_trades(bars, script, segments, *, parity):
    if segments is None:
        limits = {} if parity else {"flatten_bars": {len(bars) - 1}, "flatten_reason": "end_of_data"}
    else:
        ranges = segments.bar_ranges(bars.bid.ts_open_ns)
        limits = {
            "may_enter": {bar for start, stop in ranges for bar in range(start, stop - 1)},
            "flatten_bars": {stop - 1 for start, stop in ranges if stop > start},
        }
    if not parity:
        # No ticks are known of these bars: one tick beyond the stop is assumed.
        limits["stop_fill"] = lambda bar, stop, long: round(stop - TICK if long else stop + TICK, 6)
    return [key(trade) for trade in simulate(script, bars, pine_entry_bar=parity, **limits)]


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(scenarios())
def test_both_replays_trade_as_the_oracle_says(scenario):
    bars, script, segments = scenario
    mode = "parity" if bars.single_price else "research"
    with BacktestSession(bars, BacktestConfig(mode=mode, **FREE)) as session:
        sparse = session.run_signals("script", script, segments=segments)
        streamed = session._run("script", StreamedSignals(ScriptedSignals(script)), None, segments)
    assert engine_trades(sparse) == oracle_trades(bars, script, segments, parity=mode == "parity")
    assert streamed.trades == sparse.trades
    assert streamed.open_trade == sparse.open_trade
    assert np.array_equal(streamed.equity, sparse.equity)
    assert sparse.equity[-1] == pytest.approx(
        100_000 + sum(trade.pnl for trade in sparse.trades) + open_profit(sparse, bars), abs=1e-6
    )


def open_profit(result, bars):
    held = result.open_trade
    if held is None:
        return 0.0
    move = bars.bid.close[-1] - held.entry_price
    return (move if held.side == "long" else -move) * held.size


def walk(n_bars, seed, spread_pips=0.8):
    bid = random_walk_bars(n_bars, seed=seed)
    one = BarSet(instrument("EURUSD"), bid.timeframe, bid, bid, True, bid.data_hash)
    return add_spread(one, spread_pips)


def check_family(spec, bars, config):
    """Streaming and arrays agree on every signal and every trade; the oracle agrees with both."""
    sizes = {"tick_size": bars.price_step, "pip_size": 1e-4, "initial_balance": config.initial_balance}
    arrays = compute_signals(spec, bars.bid, **sizes)
    with BacktestSession(bars, config) as session:
        sparse = session.run(spec)
        bars = session.bars
    with BacktestSession(bars, replace_config(config, signals="streaming")) as session:
        streamed = session.run(spec)
        seen = session.observed_signals
    assert len(seen) == len(bars)
    expected = ArraySignals(arrays, bars.bid.close)
    for bar, signal in enumerate(seen):
        np.testing.assert_equal(tuple(signal), tuple(expected.at(bar)), err_msg=f"bar {bar}")
    assert streamed.trades == sparse.trades
    assert np.array_equal(streamed.equity, sparse.equity)
    assert engine_trades(sparse) == oracle_trades(bars, arrays, None, parity=config.is_parity)
    return sparse


def replace_config(config, **changes):
    return BacktestConfig(**{name: getattr(config, name) for name in config.__struct_fields__} | changes)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", ["research", "parity"])
def test_a_family_sees_the_array_signals_in_the_engine(family, mode):
    result = check_family(FAMILIES[family].spec, walk(4_000, seed=3), BacktestConfig(mode=mode))
    assert len(result.trades) > 5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trades_real_chart_bars_as_the_oracle_says(family, shared_data):
    bars = histdata_minutes(shared_data, 6_000)
    result = check_family(FAMILIES[family].spec, bars, BacktestConfig(mode="parity"))
    assert len(result.trades) > 20


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trades_real_bid_and_ask_bars_as_the_oracle_says(family, shared_data):
    result = check_family(FAMILIES[family].spec, dukascopy_minutes(shared_data), BacktestConfig(**FREE))
    assert len(result.trades) > 1


def test_the_same_run_twice_is_the_same_to_the_bit_also_with_other_bars_between():
    spec = FAMILIES["ema_cross_atr"].spec
    bars, other = walk(3_000, seed=1), walk(500, seed=2)
    first = BacktestSession(bars, BacktestConfig())
    before = first.run(spec)
    parity = BacktestSession(other, BacktestConfig(mode="parity")).run(spec)
    after = first.run(spec)
    fresh = BacktestSession(bars, BacktestConfig()).run(spec)
    assert before.trades
    assert parity.config_hash != before.config_hash
    for again in (after, fresh):
        assert again.trades == before.trades
        assert np.array_equal(again.equity, before.equity)
        assert repr(again.to_document()) == repr(before.to_document())  # NaN equals NaN here


def test_commission_is_charged_on_both_sides_of_every_trade():
    bars = walk(3_000, seed=4)
    spec = FAMILIES["rsi_reversion"].spec
    free = BacktestSession(bars, BacktestConfig(**FREE)).run(spec)
    paid = BacktestSession(bars, BacktestConfig(commission_per_million=100.0)).run(spec)
    assert len(free.trades) == len(paid.trades) > 5
    for without, with_ in zip(free.trades, paid.trades, strict=True):
        sides = [price * with_.size * 100.0 / 1e6 for price in (with_.entry_price, with_.exit_price)]
        assert with_.commission == pytest.approx(sum(round(side, 2) for side in sides), abs=0.011)
        assert with_.pnl == pytest.approx(without.pnl - with_.commission, abs=1e-7)
    assert paid.equity[-1] == pytest.approx(free.equity[-1] - paid.metrics.commission, abs=1e-6)


def test_slippage_worsens_market_and_stop_fills_and_spares_limits():
    bars = walk(3_000, seed=5)
    spec = FAMILIES["macd_adx_trend"].spec
    exact = BacktestSession(bars, BacktestConfig(**FREE)).run(spec)
    slipped = BacktestSession(bars, BacktestConfig(slippage_ticks=2, **FREE)).run(spec)
    assert {trade.exit_reason for trade in exact.trades} >= {"stop_loss", "take_profit"}
    for clean, worse in zip(exact.trades, slipped.trades, strict=True):
        sign = 1 if clean.side == "long" else -1
        assert worse.entry_price == pytest.approx(clean.entry_price + sign * 2 * TICK, abs=1e-9)
        gives = 0 if clean.exit_reason == "take_profit" else 2 * TICK
        assert worse.exit_price == pytest.approx(clean.exit_price - sign * gives, abs=1e-9)


def test_a_segment_trades_as_if_the_others_were_not_there():
    bars = walk(6_000, seed=6)
    ts = bars.bid.ts_open_ns
    edges = [int(ts[index]) for index in (500, 2_000, 3_500, 5_000)]
    session = BacktestSession(bars, BacktestConfig())
    for family in FAMILIES.values():
        together = session.run(family.spec, segments=Segments(tuple(edges)))
        alone = []
        for start, end in itertools.pairwise(edges):
            alone += session.run(family.spec, segments=Segments((start, end))).trades
        assert together.trades == alone
        assert together.trades
        assert together.trades[0].entry_bar > 500
        assert together.trades[-1].exit_bar < 5_000
        for trade in together.trades:
            assert np.searchsorted(edges, trade.entry_ts_ns, "right") == np.searchsorted(
                edges, trade.exit_ts_ns, "right"
            )
            if trade.exit_reason == "segment_end":
                closes = bars.bid.close if trade.side == "long" else bars.ask.close
                assert trade.exit_price == closes[trade.exit_bar]


def test_a_session_leaves_later_bars_out_of_earlier_trades():
    bars = walk(4_000, seed=7)
    spec = FAMILIES["macd_adx_trend"].spec
    whole = BacktestSession(bars, BacktestConfig()).run(spec)
    part = BacktestSession(bars.slice(0, 2_500), BacktestConfig()).run(spec)
    common = [trade for trade in whole.trades if trade.exit_bar < 2_499]
    assert common
    assert part.trades[: len(common)] == common


def test_mid_prices_of_half_a_tick_are_traded_as_they_are():
    bid = random_walk_bars(1_500, seed=8)
    names = ("open", "high", "low", "close")
    mid = replace(bid, price="mid", **{name: np.round(getattr(bid, name) + TICK / 2, 6) for name in names})
    bars = BarSet(instrument("EURUSD"), mid.timeframe, mid, mid, True, "mid")
    result = check_family(FAMILIES["rsi_reversion"].spec, bars, BacktestConfig(mode="parity"))
    assert any(round(trade.entry_price * 1e6) % 10 == 5 for trade in result.trades)


def test_prices_finer_than_the_engine_can_hold_are_refused():
    bid = random_walk_bars(50, seed=8)
    fine = replace(bid, close=bid.close + 1e-8)
    bars = BarSet(instrument("EURUSD"), fine.timeframe, fine, fine, True, "fine")
    with pytest.raises(DataError, match="at most 6 decimals"):
        BacktestSession(bars, BacktestConfig(mode="parity"))


def test_sizes_by_risk_follow_the_stop_of_the_signal_bar():
    spec = spec_with_size(FAMILIES["rsi_reversion"].spec, RiskSize(risk_pct=0.5))
    bars = walk(3_000, seed=4)
    arrays = compute_signals(spec, bars.bid, tick_size=TICK, pip_size=1e-4, initial_balance=100_000.0)
    result = BacktestSession(bars, BacktestConfig(leverage=1000.0)).run(spec)
    assert len({trade.size for trade in result.trades}) > 3
    assert [trade.size for trade in result.trades] == [
        arrays.units[trade.entry_bar - 1] for trade in result.trades
    ]


def spec_with_size(spec, size):
    return type(spec)(**{name: getattr(spec, name) for name in spec.__struct_fields__} | {"size": size})


def test_a_failing_callback_fails_the_trial_and_not_the_session(monkeypatch):
    bars = walk(1_500, seed=4)
    spec = FAMILIES["rsi_reversion"].spec
    session = BacktestSession(bars, BacktestConfig())
    expected = session.run(spec).trades

    def broken(self, bar):
        raise RuntimeError("no signal to be had")

    with monkeypatch.context() as patched:
        patched.setattr(ArraySignals, "at", broken)
        with pytest.raises(BacktestError, match="no signal to be had"):
            session.run(spec)
    assert session.run(spec).trades == expected


def test_a_closed_session_one_price_in_research_and_wrong_arrays_are_refused():
    bars = walk(100, seed=1)
    session = BacktestSession(bars, BacktestConfig())
    short = compute_signals(
        FAMILIES["rsi_reversion"].spec,
        bars.bid.slice(0, 50),
        tick_size=TICK,
        pip_size=1e-4,
        initial_balance=1e5,
    )
    with pytest.raises(BacktestError, match="50 for 100 bars"):
        session.run_signals("x", short)
    session.close()
    with pytest.raises(BacktestError, match="This session is closed"):
        session.run(FAMILIES["rsi_reversion"].spec)
    one = BarSet(bars.instrument, bars.timeframe, bars.bid, bars.bid, True, "one")
    with pytest.raises(ConfigError, match=r"bid\.parquet.*--spread-pips"):
        BacktestSession(one, BacktestConfig())
    with pytest.raises(ConfigError, match="at least two bars, but got 1"):
        BacktestSession(bars.slice(0, 1), BacktestConfig())
    ahead = replace(bars, ask=replace(bars.ask, interpolated=True))
    with pytest.raises(DataError, match="prices from the future"):
        BacktestSession(ahead, BacktestConfig())


def test_memory_stays_flat_over_many_trials():
    session = BacktestSession(walk(3_000, seed=9), BacktestConfig())
    spec = FAMILIES["ema_cross_atr"].spec
    process = psutil.Process()

    def trials(count):
        for _ in range(count):
            session.run(spec)
        gc.collect()
        return process.memory_info().rss

    warm = trials(20)
    assert trials(80) - warm < 8 * 2**20
