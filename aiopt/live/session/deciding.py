"""A spec as a strategy that decides on bars that grow: the backtest's own, with the backtest's rules.

Owns the making.  Knows nothing of feeds, files or the venue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from aiopt.backtest.account import AccountRules
from aiopt.backtest.bookkeeper import Bookkeeper
from aiopt.backtest.entry_limits import LimitedEntries
from aiopt.backtest.growing_bars import GrowingBars
from aiopt.backtest.growing_nights import GrowingNights
from aiopt.backtest.laid_levels import LaidLevels
from aiopt.backtest.moving_exits import MovingExits
from aiopt.backtest.parts import TargetParts
from aiopt.backtest.process_engine import SIZE_DECIMALS
from aiopt.backtest.signals import StreamedSignals
from aiopt.backtest.trading_rules import TradingRules
from aiopt.backtest.valuation import Valuation
from aiopt.bars.reading_log import MarketReading
from aiopt.live.paper.market import DECIMALS_BEYOND_TICK
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.strategy.higher_timeframes import check_higher_timeframes
from aiopt.strategy.reading_gate import need_readings
from aiopt.strategy.signals import StreamingSignals
from aiopt.strategy.spec import StrategySpec
from aiopt.strategy.spec_readings import gate_of


@dataclass(frozen=True, kw_only=True)
class Decider:
    """What a strategy is prepared with.

    Attributes
    ----------
    source : StreamedSignals
        Its signals.
    rules : TradingRules
        As a backtest would trade it.
    """

    source: StreamedSignals
    rules: TradingRules


def make_decider(
    spec: StrategySpec,
    bars: GrowingBars,
    account: PaperConfig,
    *,
    balance: float,
    prefix: str,
    may_enter: Callable[[int], bool],
    readings: Callable[[int], Iterator[MarketReading]] | None = None,
) -> Decider:
    """Return what a strategy is prepared with.

    Parameters
    ----------
    spec : StrategySpec
        The strategy.
    bars : GrowingBars
        Its bars.
    account : PaperConfig
        Costs and leverage.
    balance : float
        The strategy's part of the account.
    prefix : str
        What the ids of its orders begin with.
    may_enter : callable of int to bool
        Asked at each close.
    readings : callable, optional
        Gives the readings that were known before a bar's close; see `aiopt.live.reading.arrivals`.

    Raises
    ------
    SpecError
        If the bars cannot give a higher timeframe that the spec reads, or it asks for readings and there are
        none.
    ConfigError
        If the swap table says nothing about the instrument.
    """
    check_higher_timeframes(spec, bars.timeframe)
    if readings is None and gate_of(spec) is not None:
        raise need_readings(spec)
    traded = bars.instrument
    sizes: dict[str, Any] = {
        "tick_size": bars.price_step,
        "pip_size": traded.pip_size,
        "initial_balance": balance,
    }
    stream = StreamingSignals(spec, **sizes)
    source = StreamedSignals(stream, keep=False, readings=readings, timeframe_ns=bars.timeframe.ns)
    decimals = traded.price_precision + DECIMALS_BEYOND_TICK
    books = Bookkeeper(
        price_decimals=decimals,
        commission_per_million=account.commission_per_million,
        nights=GrowingNights(account.swap, traded, decimals),
    )
    exits = source.exits
    laid = exits is not None and (exits.stop is not None or exits.target is not None)
    rules = TradingRules(
        may_enter=may_enter,
        n_bars=None,
        price_decimals=decimals,
        size_decimals=SIZE_DECIMALS,
        volume=None,
        pine_entry_bar=False,
        account=AccountRules(
            initial_balance=balance,
            leverage=account.leverage,
            has_margin=True,
            size_step=source.size_step,
        ),
        segment_of=lambda bar: 0,
        values=Valuation(bars, books, None),
        books=books,
        flatten_reason="end_of_data",
        moving=None if exits is None else MovingExits(exits, bars, decimals),
        parts=None if exits is None or exits.targets is None else TargetParts(exits.targets, bars),
        levels=LaidLevels(exits, bars.price_step, decimals) if exits is not None and laid else None,
        limits=None if source.limits is None else LimitedEntries(source.limits, bars),
        most_entries=source.pyramiding,
        stream=bars,
        order_prefix=prefix,
    )
    return Decider(source=source, rules=rules)
