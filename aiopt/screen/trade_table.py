"""The table of a run's trades in memory: its columns and what is counted beside it.

Owns the layout alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiopt.trades import ExitReason

REASONS: tuple[ExitReason, ...] = (
    "stop_loss",
    "take_profit",
    "exit_signal",
    "reverse",
    "segment_end",
    "end_of_data",
    "ruin",
    "trailing",
    "break_even",
    "time",
)
"""Exit reasons by their numbers in a table of trades."""

(
    STOP_LOSS,
    TAKE_PROFIT,
    EXIT_SIGNAL,
    REVERSE,
    SEGMENT_END,
    END_OF_DATA,
    RUIN,
    TRAILING,
    BREAK_EVEN,
    TIME,
) = range(10)

(
    ENTRY_BAR,
    EXIT_BAR,
    SIDE,
    UNITS,
    ENTRY_STEPS,
    EXIT_STEPS,
    STOP_STEPS,
    TARGET_STEPS,
    REASON,
    NIGHTS,
    NET,
    NET_PART,
    ENTRY_COST,
    ENTRY_COST_PART,
    COMMISSION,
    COMMISSION_PART,
    SWAP,
    SWAP_PART,
    TRADE_COLUMNS,
) = range(19)
"""Columns of a table of trades, int64; amounts take two."""

N_TRADES, N_REFUSED, N_CAPPED, N_RUINED, HAS_OPEN, NO_QUOTE_BAR, NO_QUOTE_STEPS, COUNTS = range(8)
"""What is counted: `HAS_OPEN` trades are still open; `NO_QUOTE_BAR` is 0 or a bar that reaches a stop none of
its quotes does."""

NO_LEVEL = np.iinfo(np.int64).min
"""A stop or target that is not there."""


class Table(NamedTuple):
    """Memory for the results of a run.

    Attributes
    ----------
    trades : ndarray of shape (n_bars, TRADE_COLUMNS), int64
        One row per trade, in the order of their exits; behind them open ones, if there are.
    refused, capped, ruined : ndarray of shape (n_bars,), int64
        Bars.
    counts : ndarray of shape (COUNTS,), int64
        How many there are.
    """

    trades: NDArray[np.int64]
    refused: NDArray[np.int64]
    capped: NDArray[np.int64]
    ruined: NDArray[np.int64]
    counts: NDArray[np.int64]
