"""The NautilusTrader engine of this process: one venue, two strategy objects, reset before each run.

There is one engine per process for its whole life: a new engine per trial leaks memory, and building one
after `dispose()` can abort the process in the engine's logger.  Knows no spec and no result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import LatencyModel
from nautilus_trader.config import CacheConfig, LoggingConfig, RiskEngineConfig
from nautilus_trader.model.data import BarSpecification, BarType
from nautilus_trader.model.enums import (
    AccountType,
    AggregationSource,
    BarAggregation,
    OmsType,
    PriceType,
)
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Currency, Money, Price, Quantity

from aiopt.backtest.execution import PathFillModel
from aiopt.backtest.pyramid import PyramidStrategy
from aiopt.backtest.stop_fills import StopRule
from aiopt.backtest.strategy import SpecStrategy
from aiopt.errors import AioptError, BacktestError
from aiopt.market.instrument import Instrument
from aiopt.utc import DAY_S

_VENUE = Venue("SIM")
SIZE_DECIMALS = 0


def external_bars(instrument_id: InstrumentId, seconds: int) -> BarType:
    """Return the engine's name of bars of a length that were built elsewhere."""
    for unit, length in (
        (BarAggregation.DAY, DAY_S),
        (BarAggregation.HOUR, 3_600),
        (BarAggregation.MINUTE, 60),
    ):
        if seconds % length == 0:
            return BarType(
                instrument_id,
                BarSpecification(seconds // length, unit, PriceType.BID),
                AggregationSource.EXTERNAL,
            )
    return BarType(
        instrument_id,
        BarSpecification(seconds, BarAggregation.SECOND, PriceType.BID),
        AggregationSource.EXTERNAL,
    )


class _QuietEngine(BacktestEngine):
    """An engine that does not describe machine, run and account.

    Even with logging bypassed, the description before each run scans the machine (55 ms) and the one after it
    formats every position.
    """

    def _log_pre_run(self) -> None:
        """Say nothing."""

    def _log_run(self, start: Any, end: Any) -> None:
        """Say nothing."""

    def _log_post_run(self) -> None:
        """Say nothing."""


class ProcessEngine:
    """A Nautilus engine with one simulated venue, reset before each run.

    The venue's account is frozen: sessions with different balances share the venue, so the strategy keeps the
    balance and checks the margin.
    """

    def __init__(self) -> None:
        self._engine = _QuietEngine(
            BacktestEngineConfig(
                logging=LoggingConfig(bypass_logging=True),
                cache=CacheConfig(drop_instruments_on_reset=False),
                # One position of known size: the strategy checks what the risk engine would.
                risk_engine=RiskEngineConfig(bypass=True),
                run_analysis=False,
            )
        )
        self._fills = PathFillModel()
        self._fills.clock = self._engine.kernel.clock
        self._instruments: dict[InstrumentId, CurrencyPair] = {}
        self._strategies = SpecStrategy(), PyramidStrategy()
        self._busy = threading.Lock()
        self._engine.add_venue(
            venue=_VENUE,
            oms_type=OmsType.HEDGING,
            account_type=AccountType.MARGIN,
            base_currency=Currency.from_str("USD"),
            starting_balances=[Money(1_000_000, Currency.from_str("USD"))],
            default_leverage=Decimal(1),
            fill_model=self._fills,
            latency_model=LatencyModel(base_latency_nanos=0, insert_latency_nanos=1),
            # A stop already beyond the market when it arrives fills at once, as TradingView's does.
            reject_stop_orders=False,
            # The replay's quotes are the market; bars only inform strategies.
            bar_execution=False,
            frozen_account=True,
        )
        for strategy in self._strategies:
            self._engine.add_strategy(strategy)

    def strategy(self, entries: int) -> SpecStrategy:
        """Return what trades specs that hold so many entries at once; the other one will rest."""
        alone, adding = self._strategies
        chosen, other = (alone, adding) if entries == 1 else (adding, alone)
        other.rest()
        return chosen

    def instrument(self, market: Instrument, decimals: int) -> CurrencyPair:
        """Return the engine's instrument for one of ours, adding it on first use."""
        instrument_id = InstrumentId(Symbol(f"{market.base}/{market.quote}"), _VENUE)
        if instrument_id not in self._instruments:
            pair = CurrencyPair(
                instrument_id=instrument_id,
                raw_symbol=Symbol(market.symbol),
                base_currency=Currency.from_str(market.base),
                quote_currency=Currency.from_str(market.quote),
                price_precision=decimals,
                size_precision=SIZE_DECIMALS,
                price_increment=Price(10.0**-decimals, decimals),
                size_increment=Quantity(1, SIZE_DECIMALS),
                ts_event=0,
                ts_init=0,
            )
            self._engine.add_instrument(pair)
            self._instruments[instrument_id] = pair
        return self._instruments[instrument_id]

    def run(
        self,
        prepare: Callable[[], None],
        replay: Callable[[PathFillModel], Iterator[list[Any]]],
        *,
        start_ns: int,
        end_ns: int,
        slippage: float,
        stops: StopRule,
    ) -> None:
        """Prepare the strategy in a clean engine and run it over a replay."""
        if not self._busy.acquire(blocking=False):
            msg = (
                "One backtest runs per process at a time, but another is running. Use processes, not threads."
            )
            raise BacktestError(msg)
        try:
            engine = self._engine
            engine.reset()
            prepare()
            self._fills.slippage, self._fills.stops = slippage, stops
            engine.add_data_iterator("replay", replay(self._fills))
            engine.run(start=start_ns, end=end_ns)
        except AioptError:
            raise
        except Exception as error:
            msg = f"The backtest engine must finish, but failed: {type(error).__name__}: {error}"
            raise BacktestError(msg) from error
        finally:
            self._busy.release()


_process_engine: list[ProcessEngine] = []


def process_engine() -> ProcessEngine:
    """Return the process's engine, starting it on first use."""
    if not _process_engine:
        _process_engine.append(ProcessEngine())
    return _process_engine[0]
