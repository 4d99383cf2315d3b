"""NautilusTrader used the ordinary way, as the yardstick of the sweep: no tricks, all data, every trial.

One engine, kept between trials with `reset()`.  Data: bid and ask bars, and a quote at each open so that
market orders fill there.  The strategy looks up precomputed signals in `on_bar` and trades brackets.
Fills are NautilusTrader's own, so a stop that is gapped fills at its trigger: profit differs a little.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import LatencyModel
from nautilus_trader.config import CacheConfig, LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import EUR, USD
from nautilus_trader.model.data import Bar, BarType, QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

from aiopt.bars.schema import BarSet
from aiopt.strategy.signals import SignalArrays

_DEEP = 1_000_000_000.0


class _Brackets(Strategy):
    def __init__(self, instrument: CurrencyPair, bar_type: BarType, signals: SignalArrays) -> None:
        super().__init__(StrategyConfig(strategy_id="BARE-001"))
        self._instrument, self._bar_type, self._signals = instrument, bar_type, signals
        self._bar = -1
        self.opened = 0

    def on_start(self) -> None:
        self.subscribe_bars(self._bar_type)

    def on_bar(self, bar: Any) -> None:
        self._bar += 1
        i, s = self._bar, self._signals
        held = self.cache.positions_open(None, self._instrument.id)
        if held:
            long = held[0].is_long
            opposite = s.entry_short[i] if long else s.entry_long[i]
            if not (opposite or (s.exit_long[i] if long else s.exit_short[i])):
                return
            self.cancel_all_orders(self._instrument.id)
            self.close_position(held[0])
        if s.entry_long[i] and not (held and held[0].is_long):
            self._enter(OrderSide.BUY, s.stop_long[i], s.target_long[i], s.units[i])
        elif s.entry_short[i] and not (held and not held[0].is_long):
            self._enter(OrderSide.SELL, s.stop_short[i], s.target_short[i], s.units[i])

    def _enter(self, side: OrderSide, stop: float, target: float, units: float) -> None:
        assert math.isfinite(stop + target)
        self.opened += 1
        self.submit_order_list(
            self.order_factory.bracket(
                self._instrument.id,
                side,
                Quantity(units, 0),
                sl_trigger_price=Price(stop, 5),
                tp_price=Price(target, 5),
                tp_post_only=False,
            )
        )


class BareLoop:
    """Bars loaded once into one engine; `trial` runs one spec's signals."""

    def __init__(self, bars: BarSet) -> None:
        venue = Venue("BARE")
        self._engine = BacktestEngine(
            BacktestEngineConfig(
                logging=LoggingConfig(bypass_logging=True),
                cache=CacheConfig(drop_instruments_on_reset=False),
                run_analysis=False,
            )
        )
        self._engine.add_venue(
            venue=venue,
            oms_type=OmsType.HEDGING,
            account_type=AccountType.MARGIN,
            base_currency=USD,
            starting_balances=[Money(1_000_000, USD)],
            default_leverage=Decimal(30),
            latency_model=LatencyModel(base_latency_nanos=1),
            reject_stop_orders=False,
            bar_adaptive_high_low_ordering=True,
        )
        self._instrument = CurrencyPair(
            instrument_id=InstrumentId(Symbol("EUR/USD"), venue),
            raw_symbol=Symbol("EURUSD"),
            base_currency=EUR,
            quote_currency=USD,
            price_precision=5,
            size_precision=0,
            price_increment=Price(1e-5, 5),
            size_increment=Quantity(1, 0),
            ts_event=0,
            ts_init=0,
        )
        self._engine.add_instrument(self._instrument)
        minutes = bars.timeframe.seconds // 60
        self._bar_type = BarType.from_str(f"EUR/USD.BARE-{minutes}-MINUTE-BID-EXTERNAL")
        ask_type = BarType.from_str(f"EUR/USD.BARE-{minutes}-MINUTE-ASK-EXTERNAL")
        # Ask before bid: the market moves when both have come, and on_bar follows the bid.
        for data in (
            _quotes(bars, self._instrument.id),
            _bars(bars, "ask", ask_type),
            _bars(bars, "bid", self._bar_type),
        ):
            self._engine.add_data(data)  # sorted by time, equal times in this order

    def trial(self, signals: SignalArrays) -> int:
        """Run one trial and return how many positions it opened."""
        strategy = _Brackets(self._instrument, self._bar_type, signals)
        self._engine.reset()
        self._engine.clear_strategies()
        self._engine.add_strategy(strategy)
        self._engine.run()
        return strategy.opened


def _bars(bars: BarSet, side: str, bar_type: BarType) -> list[Any]:
    arrays = getattr(bars, side)
    columns = [np.array(getattr(arrays, name)) for name in ("open", "high", "low", "close")]
    ts = arrays.ts_open_ns.astype(np.uint64) + np.uint64(bars.timeframe.ns)
    return Bar.from_raw_arrays_to_list(bar_type, 5, 0, *columns, np.full(len(bars), _DEEP), ts, ts)


def _quotes(bars: BarSet, instrument_id: InstrumentId) -> list[Any]:
    size = Quantity(_DEEP, 0)
    return [
        QuoteTick(instrument_id, Price(bid, 5), Price(ask, 5), size, size, ts + 1, ts + 1)
        for bid, ask, ts in zip(
            bars.bid.open.tolist(), bars.ask.open.tolist(), bars.bid.ts_open_ns.tolist(), strict=True
        )
    ]
