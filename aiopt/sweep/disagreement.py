"""Where the screen and the engine part: the first bar on which they do, with both views.

Owns that search and its words.  Decides nothing: `aiopt.sweep.confirming` has found the difference.
"""

from __future__ import annotations

import itertools

import numpy as np

from aiopt.backtest.session import BacktestSession
from aiopt.bars.schema import BarSet
from aiopt.errors import AioptError
from aiopt.screen.session import ScreenSession
from aiopt.sweep.trial import TrialContext, TrialPoint
from aiopt.trades import Trade
from aiopt.utc import time_text


def first_difference(point: TrialPoint, bars: BarSet, context: TrialContext) -> str:
    """Run a point by both and return in a sentence where they part.

    Parameters
    ----------
    point : TrialPoint
        A trial whose two rows differ.
    bars : BarSet
        That it ran on.
    context : TrialContext
        Of the sweep.
    """
    backtest = context.terms(point.instrument).backtest
    try:
        screen = ScreenSession(bars, backtest).run(point.spec, segments=context.segments)
        with BacktestSession(bars, backtest) as session:
            engine = session.run(point.spec, segments=context.segments)
    except AioptError as error:
        return f"The bar on which they part is not known: run once more, {type(error).__name__}: {error}"
    for number, (ours, theirs) in enumerate(itertools.zip_longest(engine.trades, screen.trades), start=1):
        if ours != theirs:
            bar = _bar(ours, theirs)
            place = f"They part on bar {bar} ({time_text(int(bars.bid.ts_open_ns[bar]))}), in trade {number}"
            return f"{place}. Engine: {_view(ours)}. Screen: {_view(theirs)}."
    parted = np.flatnonzero(engine.equity != screen.equity)
    if parted.size:
        # Element 0 is the balance before the first bar.
        first = int(parted[0])
        bar = max(first - 1, 0)
        when = time_text(int(bars.bid.ts_open_ns[bar]))
        values = f"{engine.equity[first]:,.8f}, by the screen {screen.equity[first]:,.8f}"
        return f"They part on bar {bar} ({when}): equity by the engine {values}."
    return (
        "Run once more here, both agree: the worker that screened it has other software, or its memory is "
        "defective."
    )


def _bar(ours: Trade | None, theirs: Trade | None) -> int:
    """Return the earlier bar on which two trades differ."""
    if ours is None or theirs is None:
        one = ours or theirs
        assert one is not None  # they differ
        return one.entry_bar
    same_entry = (ours.entry_bar, ours.side, ours.size, ours.entry_price) == (
        theirs.entry_bar,
        theirs.side,
        theirs.size,
        theirs.entry_price,
    )
    if same_entry:
        return min(ours.exit_bar, theirs.exit_bar)
    return min(ours.entry_bar, theirs.entry_bar)


def _view(trade: Trade | None) -> str:
    if trade is None:
        return "no such trade"
    return (
        f"{trade.side} {trade.size:,.0f} from bar {trade.entry_bar} at {trade.entry_price:.6f} to bar "
        f"{trade.exit_bar} at {trade.exit_price:.6f} ({trade.exit_reason}), profit {trade.pnl:,.4f}"
    )
