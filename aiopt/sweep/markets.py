"""Several markets in one sweep: the time they share, the currency they are counted in.

Owns both rules.  Profits of several markets stand in one table and lose one initial balance, so they must be
in one currency; and every trial is measured by one walk-forward plan, so it lies where all markets have data.
A bar before that time warms indicators up and a bar after it is not traded (`aiopt.backtest.Segments`), so no
market is chosen or tested where another has no data yet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.errors import ConfigError, DataError
from aiopt.market.instrument import Instrument
from aiopt.utc import time_text


@dataclasses.dataclass(frozen=True)
class MarketTerms:
    """What the trials of one market assume, where it is not what those of all markets do.

    Attributes
    ----------
    backtest : BacktestConfig
        Costs of this market; balance, leverage and account currency are those of all.
    data_hash : str
        Of its ticks or bars.
    """

    backtest: BacktestConfig
    data_hash: str


def symbols_of(bars: Iterable[BarSet]) -> tuple[str, ...]:
    """Return the instruments in order, or nothing where there is only one: it is named in no trial."""
    found = tuple(dict.fromkeys(one.instrument.symbol for one in bars))
    return found if len(found) > 1 else ()


def finest_of_each(bars: Iterable[BarSet]) -> dict[str, BarSet]:
    """Return the finest bars of each instrument, by symbol."""
    found: dict[str, BarSet] = {}
    for one in bars:
        known = found.get(one.instrument.symbol)
        if known is None or one.timeframe.ns < known.timeframe.ns:
            found[one.instrument.symbol] = one
    return found


def common_times(opens: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the times at which any market had a bar, from the latest begin to the earliest end of all.

    Parameters
    ----------
    opens : mapping of str to ndarray of shape (n,), int64, UTC, ascending
        Opening times of the finest bars of each instrument.

    Returns
    -------
    ndarray of shape (n_times,), int64
        Ascending; of one market its own times.

    Raises
    ------
    DataError
        If one market ends before another begins.
    """
    if len(opens) == 1:
        return next(iter(opens.values()))
    begins = {symbol: int(times[0]) for symbol, times in opens.items()}
    ends = {symbol: int(times[-1]) for symbol, times in opens.items()}
    late, early = max(begins, key=begins.__getitem__), min(ends, key=ends.__getitem__)
    start, stop = begins[late], ends[early]
    if start > stop:
        msg = (
            f"Markets of one run must have time in common, but {early} ends {time_text(stop, 'm')} and "
            f"{late} begins {time_text(start, 'm')} UTC. Give data of the same time."
        )
        raise DataError(msg)
    times = np.unique(np.concatenate(list(opens.values())))
    return times[(times >= start) & (times <= stop)]


def span_lines(opens: Mapping[str, NDArray[np.int64]], start_ns: int, stop_ns: int) -> list[str]:
    """Return in words what of each market lies outside the time that all share; empty where nothing does.

    Parameters
    ----------
    opens : mapping of str to ndarray
        As in `common_times`.
    start_ns, stop_ns : int
        Of the walk-forward plan.
    """
    lines = []
    for symbol, times in opens.items():
        before, after = int((times < start_ns).sum()), int((times >= stop_ns).sum())
        if before:
            lines.append(
                f"{symbol}: {before:,} bars before {time_text(start_ns, 'm')} only warm indicators up"
            )
        if after:
            lines.append(f"{symbol}: {after:,} bars from {time_text(stop_ns, 'm')} on are not traded")
    return lines


def check_one_currency(traded: Iterable[Instrument], account: str | None) -> None:
    """Refuse markets whose profits are in different currencies.

    Parameters
    ----------
    traded : iterable of Instrument
        What is traded.
    account : str or None
        `BacktestConfig.account_currency`.

    Raises
    ------
    ConfigError
        If no account currency is set and the quote currencies differ.
    """
    quotes = {one.symbol: one.quote for one in traded}
    if account is None and len(set(quotes.values())) > 1:
        listed = ", ".join(f"{symbol} in {quote}" for symbol, quote in quotes.items())
        msg = (
            f"Profits of markets in one ranking must be in one currency, but they are {listed}. Set "
            "`backtest.account_currency` (--account-currency), e.g. USD, and give `conversion` bars to every "
            "market that has this currency neither as base nor as quote."
        )
        raise ConfigError(msg)
