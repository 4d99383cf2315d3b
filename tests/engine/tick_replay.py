"""NautilusTrader on single ticks, as a program: what the engine itself makes of stop orders.

Shares nothing with `aiopt`: ticks are an order book of one level per side (no bars, no fill model of ours), a
market order enters at a given tick and a stop order rests until a quote fills it.  Run in a process of its
own, as there may be one engine per process::

    python tick_replay.py WORK.npz > fills.json

WORK.npz holds ``ts``, ``bid``, ``ask`` (whole steps), ``decimals`` and per trade ``tick`` (of the entry),
``long``, ``units`` and ``stop`` (whole steps); the fills are a list of [exit time in ns, price in steps].
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas
from nautilus_trader.model.enums import AccountType, BookAction, BookType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Currency, Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

_VENUE = Venue("TICKS")
_DEEP = Quantity(1_000_000_000, 0)


class StopsOnTicks(Strategy):
    """Enter at given ticks and wait for the stop."""

    def __init__(self, instrument, work):
        super().__init__(StrategyConfig(strategy_id="TICKS-001"))
        self._instrument = instrument
        self._entries = {int(tick): number for number, tick in enumerate(work["tick"])}
        self._work = work
        self._tick = -1
        self._trade = None
        self._position = None
        self.fills = {}

    def on_start(self):
        self.subscribe_order_book_deltas(self._instrument.id, book_type=BookType.L2_MBP)

    def on_order_book_deltas(self, deltas):
        self._tick += 1
        number = self._entries.get(self._tick)
        if number is None:
            return
        assert self._position is None, f"trade {number} begins before the one before it is stopped"
        self._trade = number
        self.submit_order(
            self.order_factory.market(
                self._instrument.id,
                OrderSide.BUY if self._work["long"][number] else OrderSide.SELL,
                Quantity(int(self._work["units"][number]), 0),
            )
        )

    def on_order_filled(self, event):
        number = self._trade
        if self._position is not None:
            steps = round(event.last_px.as_double() * 10**self._instrument.price_precision)
            self.fills[number] = (event.ts_event, steps)
            self._position = None
            return
        self._position = event.position_id
        stop = self.order_factory.stop_market(
            self._instrument.id,
            OrderSide.SELL if self._work["long"][number] else OrderSide.BUY,
            event.last_qty,
            Price(
                self._work["stop"][number] / 10**self._instrument.price_precision,
                self._instrument.price_precision,
            ),
            reduce_only=True,
        )
        self.submit_order(stop, position_id=self._position)


def book_of(instrument, work):
    """Yield the ticks as order books of one level per side."""
    scale, decimals = 10.0**instrument.price_precision, instrument.price_precision
    columns = [work[name].tolist() for name in ("ts", "bid", "ask")]
    for sequence, (ts, bid, ask) in enumerate(zip(*columns, strict=True)):
        sides = ((OrderSide.BUY, bid, 1), (OrderSide.SELL, ask, 2))
        deltas = [OrderBookDelta.clear(instrument.id, sequence, ts, ts)]
        deltas += [
            OrderBookDelta(
                instrument.id,
                BookAction.ADD,
                BookOrder(side, Price(steps / scale, decimals), _DEEP, number),
                # 128 marks the last change of an event.
                128 if number == 2 else 0,
                sequence,
                ts,
                ts,
            )
            for side, steps, number in sides
        ]
        yield OrderBookDeltas(instrument.id, deltas)


def main(path):
    work = dict(np.load(path))
    decimals = int(work["decimals"])
    instrument = CurrencyPair(
        instrument_id=InstrumentId(Symbol("EUR/USD"), _VENUE),
        raw_symbol=Symbol("EURUSD"),
        base_currency=Currency.from_str("EUR"),
        quote_currency=Currency.from_str("USD"),
        price_precision=decimals,
        size_precision=0,
        price_increment=Price(10.0**-decimals, decimals),
        size_increment=Quantity(1, 0),
        ts_event=0,
        ts_init=0,
    )
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=True),
            run_analysis=False,
        )
    )
    engine.add_venue(
        venue=_VENUE,
        oms_type=OmsType.HEDGING,
        account_type=AccountType.MARGIN,
        base_currency=Currency.from_str("USD"),
        starting_balances=[Money(1_000_000_000, Currency.from_str("USD"))],
        default_leverage=Decimal(1000),
        book_type=BookType.L2_MBP,
        # A stop already beyond the market when it arrives fills at once.
        reject_stop_orders=False,
        frozen_account=True,
    )
    engine.add_instrument(instrument)
    strategy = StopsOnTicks(instrument, work)
    engine.add_strategy(strategy)
    engine.add_data(list(book_of(instrument, work)))
    engine.run()
    json.dump([strategy.fills.get(number) for number in range(work["tick"].size)], sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
