"""The check that no strategy looks ahead: other prices from some bar on change no trade before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.screen.session import ScreenSession
from aiopt.strategy.spec import StrategySpec
from aiopt.trades import Trade

PRICES = ("open", "high", "low", "close")


def with_other_prices(bars: BarSet, cut: int, factor: float = 1.01) -> BarSet:
    """Return the bars with all prices of bar `cut` and those behind it multiplied."""
    later = np.arange(len(bars)) >= cut

    def changed(side: BarArrays) -> BarArrays:
        values = {name: getattr(side, name) for name in PRICES}
        return replace(
            side, **{name: np.where(later, np.round(one * factor, 5), one) for name, one in values.items()}
        )

    return replace(bars, bid=changed(bars.bid), ask=changed(bars.ask))


def trades_that_stay(bars: BarSet, specs: Iterable[StrategySpec]) -> Iterator[list[Trade]]:
    """Yield each spec's trades before the middle of the bars, which other prices behind it leave as they are.

    What was entered before and left behind the middle must have the same entry; where it is left may change.
    """
    cut = len(bars) // 2
    sessions = [ScreenSession(one, BacktestConfig()) for one in (bars, with_other_prices(bars, cut))]
    for spec in specs:
        found = [session.run(spec).trades for session in sessions]
        kept, other = ([trade for trade in trades if trade.exit_bar < cut] for trades in found)
        assert kept == other, spec.to_json()
        entered, others = (
            {(trade.entry_bar, trade.side, trade.entry_price) for trade in trades if trade.entry_bar < cut}
            for trades in found
        )
        assert entered == others, spec.to_json()
        yield kept
