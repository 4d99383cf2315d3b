"""The paper venue fed with single ticks makes the trades of the backtest on the bars of the same ticks.

The entries and the exits by signal are the backtest's, sent when its strategy sends them; what the venue must
find by itself is every fill: bar, price, whether stop or target came first, and the money.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.results import TrialResult
from aiopt.backtest.session import BacktestSession
from aiopt.backtest.swap import InterestRate, SwapConfig, SwapPoints
from aiopt.bars.building.build import build
from aiopt.bars.files import load_bar_set
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.bars.schema import BarSet
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.paper.seam import Filled, Settled, VenueEvent, VenueOrder
from aiopt.live.paper.venue import PaperVenue
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.signals import SignalArrays
from aiopt.ticks.importing import open_ticks
from aiopt.ticks.sample import generate_ticks
from aiopt.trades import Trade
from tests.engine.test_stop_fills import script_of

SERIES = "EURUSD-bars"
COSTS = BacktestConfig(
    slippage_ticks=1,
    swap=SwapConfig(points={"EURUSD": SwapPoints(long=-0.7, short=0.1)}),
)
LEGS = {"stop_loss": "stop", "take_profit": "limit"}


@dataclass
class Exit:
    """How the venue left a position."""

    ts_ns: int
    reason: str
    settled: Settled


@dataclass
class Replay:
    """One run of the venue over ticks, driven by the trades of a backtest."""

    venue: PaperVenue
    bars: BarSet
    ticks: dict[str, np.ndarray]
    trades: list[Trade]
    entries: dict[int, Filled] = field(default_factory=dict)
    exits: dict[int, Exit] = field(default_factory=dict)

    def run(self) -> None:
        ts, bid, ask = (self.ticks[name].tolist() for name in ("ts_event_ns", "bid", "ask"))
        opens = self.bars.bid.ts_open_ns
        bar_of = (np.searchsorted(opens, self.ticks["ts_event_ns"], side="right") - 1).tolist()
        entering = {trade.entry_bar: number for number, trade in enumerate(self.trades)}
        leaving = {
            trade.exit_bar: number
            for number, trade in enumerate(self.trades)
            if trade.exit_reason not in {*LEGS, "end_of_data"}
        }
        last, before = len(ts) - 1, -1
        for tick, bar in enumerate(bar_of):
            opened = frozenset({SERIES}) if bar != before else frozenset()
            if opened:
                before = bar
                self._decide(leaving.get(bar), entering.get(bar), int(opens[bar]))
            self._take(self.venue.quote("EURUSD", ts[tick], bid[tick], ask[tick], opened), ts[tick])
        for number, trade in enumerate(self.trades):
            if trade.exit_reason == "end_of_data":
                self._leave(number, ts[last])
                self._take(self.venue.quote("EURUSD", ts[last], bid[last], ask[last]), ts[last])

    def _decide(self, leaves: int | None, enters: int | None, ts_ns: int) -> None:
        if leaves is not None:
            self._leave(leaves, ts_ns)
        if enters is not None:
            trade = self.trades[enters]
            self._send(f"{enters}-entry", trade.side == "long", trade.size, ts_ns)

    def _leave(self, number: int, ts_ns: int) -> None:
        trade = self.trades[number]
        for leg in ("stop", "limit"):
            self._take(self.venue.cancel(f"{number}-{leg}", ts_ns), ts_ns)
        position = f"P-{number}-entry"
        self._send(f"{number}-{trade.exit_reason}", trade.side != "long", trade.size, ts_ns, position)

    def _send(self, order_id: str, buys: bool, units: float, ts_ns: int, position: str | None = None) -> None:
        kind = order_id.partition("-")[2]
        trade = self.trades[int(order_id.partition("-")[0])]
        price = {"stop": trade.stop_price, "limit": trade.target_price}.get(kind)
        order = VenueOrder(
            order_id=order_id,
            strategy="s",
            instrument="EURUSD",
            series=SERIES,
            side=1 if buys else -1,
            units=units,
            kind=kind if kind in ("stop", "limit") else "market",  # type: ignore[arg-type]
            price=price,
            position_id=position,
            ts_ns=ts_ns,
        )
        self._take(self.venue.submit(order), ts_ns)

    def _take(self, events: tuple[VenueEvent, ...], ts_ns: int) -> None:
        """Send stop and target when an entry fills, as the strategy does; keep what was filled."""
        for event in events:
            if not isinstance(event, Filled):
                continue
            number, kind = int(event.order_id.partition("-")[0]), event.order_id.partition("-")[2]
            if event.settled is None:
                trade = self.trades[number]
                self.entries[number] = event
                for leg, price in (("stop", trade.stop_price), ("limit", trade.target_price)):
                    if price is not None:
                        buys = trade.side != "long"
                        self._send(f"{number}-{leg}", buys, trade.size, ts_ns, event.position_id)
            else:
                reason = {"stop": "stop_loss", "limit": "take_profit"}.get(kind, kind)
                self.exits[number] = Exit(event.ts_ns, reason, event.settled)
        if events:
            self.venue.check()


@dataclass
class Both:
    """Trades whose exit bar reached stop and target, and those of them which the bars took the other way."""

    trades: int = 0
    otherwise: int = 0


def first_leg(replay: Replay, trade: Trade) -> tuple[str, bool]:
    """Return which leg the ticks of a trade's exit bar reach first, and whether they reach both."""
    opens, ts = replay.bars.bid.ts_open_ns, replay.ticks["ts_event_ns"]
    start = int(np.searchsorted(ts, opens[trade.exit_bar]))
    behind = len(opens) == trade.exit_bar + 1
    stop = ts.size if behind else int(np.searchsorted(ts, opens[trade.exit_bar + 1]))
    long = trade.side == "long"
    prices = replay.ticks["bid" if long else "ask"][start:stop] * (1 if long else -1)
    side = 1 if long else -1
    below = np.flatnonzero(prices <= side * (trade.stop_price or np.nan))
    above = np.flatnonzero(prices >= side * (trade.target_price or np.nan))
    if below.size and above.size:
        return ("stop_loss" if below[0] < above[0] else "take_profit"), True
    return ("stop_loss" if below.size else "take_profit"), False


def check(result: TrialResult, bars: BarSet, ticks: dict[str, np.ndarray], config: BacktestConfig) -> Both:
    """Hold every fill of the venue against the backtest; return what the bars cannot tell."""
    replay = Replay(PaperVenue(PaperConfig.like(config, account_currency="USD")), bars, ticks, result.trades)
    replay.run()
    opens = bars.bid.ts_open_ns
    both = Both()
    for number, trade in enumerate(result.trades):
        entry, found = replay.entries[number], replay.exits[number]
        assert (entry.price, entry.units) == (trade.entry_price, trade.size), trade
        assert np.searchsorted(opens, entry.ts_ns, side="right") - 1 == trade.entry_bar, trade
        assert np.searchsorted(opens, found.ts_ns, side="right") - 1 == trade.exit_bar, trade
        if trade.exit_reason in LEGS:
            first, reaches_both = first_leg(replay, trade)
            assert found.reason == first, trade
            if reaches_both:
                both.trades += 1
                if first != trade.exit_reason:
                    both.otherwise += 1
                    continue
        known = (trade.exit_reason, trade.exit_price, trade.pnl, trade.commission, trade.swap, trade.nights)
        one = found.settled
        assert (found.reason, one.exit_price, one.net, one.commission, one.swap, one.nights) == known, trade
    assert replay.venue.positions() == ()
    assert replay.venue.orders() == ()
    if not both.otherwise:
        assert replay.venue.account(0).balance == pytest.approx(result.equity[-1], abs=1e-6)
    return both


def ticks_of(store: Path) -> dict[str, np.ndarray]:
    frame = pl.read_parquet(store / "instrument=*" / "**" / "*.parquet", hive_partitioning=False)
    return {name: frame[name].to_numpy() for name in ("ts_event_ns", "bid", "ask")}


def bars_of(store: Path, out: Path, label: str) -> BarSet:
    build(store, out, BarRequest(parse_bar_rules("time", label), ("bid", "ask")))
    return load_bar_set(out, timeframe=label)


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> tuple[BarSet, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("week")
    generate_ticks(folder / "ticks", start="2024-03-06", days=6, ticks_per_day=12_000, seed=3)
    return bars_of(folder / "ticks", folder / "bars", "5m"), ticks_of(folder / "ticks")


@pytest.fixture(scope="module")
def real_day(
    tmp_path_factory: pytest.TempPathFactory, shared_data: Path
) -> tuple[BarSet, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("real")
    store = open_ticks(shared_data / "dukascopy" / "EURUSD", folder / "cache")
    return bars_of(store, folder / "bars", "1m"), ticks_of(store)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_family_trades_on_generated_ticks_as_in_its_backtest(
    week: tuple[BarSet, dict[str, np.ndarray]], name: str
) -> None:
    bars, ticks = week
    with BacktestSession(bars, COSTS) as session:
        result = session.run(FAMILIES[name].spec)
    assert result.stop_fills.basis == "ticks"
    assert len(result.trades) >= 5
    check(result, bars, ticks, COSTS)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_family_trades_on_a_real_day_as_in_its_backtest(
    real_day: tuple[BarSet, dict[str, np.ndarray]], name: str
) -> None:
    bars, ticks = real_day
    with BacktestSession(bars, COSTS) as session:
        result = session.run(FAMILIES[name].spec)
    assert len(result.trades) >= 3
    check(result, bars, ticks, COSTS)


def test_near_stops_and_targets_are_told_apart_by_the_ticks(
    week: tuple[BarSet, dict[str, np.ndarray]],
) -> None:
    """Entries at random with stops and targets a few ticks away: many bars reach both, many gap beyond."""
    bars, ticks = week
    script = script_of(bars, 5, every=2, targets=True)
    with BacktestSession(bars, COSTS) as session:
        result = session.run_signals("script", script)
    both = check(result, bars, ticks, COSTS)
    assert (len(result.trades), both.trades, both.otherwise) == (497, 13, 3)


def patient_script(bars: BarSet) -> SignalArrays:
    """An entry every half day, far stops, exits days later: positions lie over several nights."""
    number = np.arange(len(bars))
    close = bars.bid.close
    return SignalArrays(
        entry_long=number % 300 == 20,
        entry_short=number % 300 == 170,
        exit_long=number % 1_000 == 999,
        exit_short=number % 1_000 == 999,
        stop_long=np.round(close - 0.02, 5),
        target_long=np.full(len(bars), np.nan),
        stop_short=np.round(close + 0.02, 5),
        target_short=np.full(len(bars), np.nan),
        units=np.full(len(bars), 123_000.0),
        ready=np.ones(len(bars), dtype=bool),
        indicators={},
    )


RATES = SwapConfig(
    rates={
        "EUR": (InterestRate(date="2024-01-01", percent=4.0), InterestRate(date="2024-03-08", percent=3.5)),
        "USD": (InterestRate(date="2024-01-01", percent=5.25),),
    },
    markup_percent=0.6,
)


@pytest.mark.parametrize("swap", [COSTS.swap, RATES], ids=["points", "rates"])
def test_nights_cost_what_they_cost_in_the_backtest(
    week: tuple[BarSet, dict[str, np.ndarray]], swap: SwapConfig
) -> None:
    bars, ticks = week
    config = BacktestConfig(swap=swap)
    with BacktestSession(bars, config) as session:
        result = session.run_signals("script", patient_script(bars))
    assert sum(trade.nights or 0 for trade in result.trades) >= 5
    assert all(trade.swap for trade in result.trades if trade.nights)
    check(result, bars, ticks, config)


def test_an_account_in_the_base_currency_differs_by_the_rate_inside_the_bar_alone(
    week: tuple[BarSet, dict[str, np.ndarray]],
) -> None:
    """A backtest converts at the close of the bar; on paper that is still to come."""
    bars, ticks = week
    config = BacktestConfig(account_currency="EUR", slippage_ticks=1)
    with BacktestSession(bars, config) as session:
        result = session.run_signals("script", script_of(bars, 6, every=3, targets=True))
    replay = Replay(PaperVenue(PaperConfig.like(config, account_currency="USD")), bars, ticks, result.trades)
    replay.run()
    off = [
        abs(replay.exits[number].settled.net - trade.pnl) / max(1e-9, abs(trade.pnl))
        for number, trade in enumerate(result.trades)
        if replay.exits[number].reason == trade.exit_reason
    ]
    assert len(off) >= 200
    assert 0 < max(off) < 2e-3
