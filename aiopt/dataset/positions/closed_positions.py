"""A closed position as a record, one line of JSON in a file that only grows.

Whoever trades writes these: the backtest of a run today, paper and live accounts by the same record.  Owns
the fields, their rules and the file; knows nothing of charts.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from aiopt.config import canonical_json, decode
from aiopt.errors import ConfigError, DataError
from aiopt.files import file_lock, storage_error
from aiopt.timeframe import parse_timeframe
from aiopt.trades import Side

Origin = Literal["backtest", "paper", "live"]
Part = Literal["in", "out"]


class ClosedPosition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One position from entry to exit.

    Attributes
    ----------
    origin : {"backtest", "paper", "live"}
        Who traded.
    account : str
        Name of the run or of the account.
    strategy : str
        Name of the strategy in it.
    part : {"in", "out"}
        ``in`` if the strategy's parameters were chosen on this time, or the strategy by it; ``out`` if they
        had been fixed before.  What paper and live accounts trade is ``out``.
    instrument, timeframe : str
        Of the bars the strategy decides on.
    side : {"long", "short"}
        Direction.
    entry_ts_ns, exit_ts_ns : int
        UTC.  Of a backtest, opening times of the bars of the fills.
    entry_price, exit_price : float
        Of the fills, so spread and slippage are in them.  Quote currency.
    stop_price : float or None
        Of the first stop order; None where there was none.
    costs : float
        Commission and swap per unit of the base currency, in quote currency; positive was paid.

    Raises
    ------
    ConfigError
        If a price is not positive and finite, times are out of order, or the timeframe is none.
    """

    origin: Origin
    account: str
    strategy: str
    part: Part
    instrument: str
    timeframe: str
    side: Side
    entry_ts_ns: int
    exit_ts_ns: int
    entry_price: float
    exit_price: float
    stop_price: float | None = None
    costs: float = 0.0

    def __post_init__(self) -> None:
        parse_timeframe(self.timeframe)
        for name in ("entry_price", "exit_price", "stop_price"):
            price = getattr(self, name)
            if price is not None and not (math.isfinite(price) and price > 0):
                msg = f"A position's prices must be finite and positive, but got {name}={price}."
                raise ConfigError(f"{msg} Correct it.")
        if not math.isfinite(self.costs):
            raise ConfigError(f"A position's costs must be finite, but got costs={self.costs}. Correct them.")
        if self.exit_ts_ns < self.entry_ts_ns:
            msg = "`entry_ts_ns <= exit_ts_ns` must hold, but got "
            raise ConfigError(f"{msg}{self.entry_ts_ns} and {self.exit_ts_ns}. Exchange them.")

    @property
    def move(self) -> float:
        """What a unit of the base currency earned after all costs, quote currency."""
        gross = self.exit_price - self.entry_price
        return (gross if self.side == "long" else -gross) - self.costs

    def r(self, usual_range: float) -> tuple[float, Literal["stop", "range"]]:
        """Return the result in R, and what one R is.

        Parameters
        ----------
        usual_range : float
            Price that stands for the risk of a position without a stop: the mean range of the bars shown.
        """
        risk = 0.0 if self.stop_price is None else abs(self.entry_price - self.stop_price)
        return (self.move / risk, "stop") if risk > 0 else (self.move / usual_range, "range")


class RoundTrip(Protocol):
    """What is asked of a trade: a backtest's and a session's have it."""

    @property
    def side(self) -> Side:
        """As `ClosedPosition` or `aiopt.trades.Trade` has it."""
        ...

    @property
    def entry_ts_ns(self) -> int:
        """As `ClosedPosition` or `aiopt.trades.Trade` has it."""
        ...

    @property
    def exit_ts_ns(self) -> int:
        """As `ClosedPosition` or `aiopt.trades.Trade` has it."""
        ...

    @property
    def entry_price(self) -> float:
        """As `ClosedPosition` or `aiopt.trades.Trade` has it."""
        ...

    @property
    def exit_price(self) -> float:
        """As `ClosedPosition` or `aiopt.trades.Trade` has it."""
        ...

    @property
    def stop_price(self) -> float | None:
        """As `ClosedPosition` or `aiopt.trades.Trade` has it."""
        ...

    @property
    def size(self) -> float:
        """As `ClosedPosition` or `aiopt.trades.Trade` has it."""
        ...

    @property
    def pnl(self) -> float:
        """As `ClosedPosition` or `aiopt.trades.Trade` has it."""
        ...

    @property
    def commission(self) -> float:
        """As `ClosedPosition` or `aiopt.trades.Trade` has it."""
        ...

    @property
    def swap(self) -> float:
        """As `ClosedPosition` or `aiopt.trades.Trade` has it."""
        ...


def positions_of_trades(
    trades: Sequence[RoundTrip],
    *,
    account: str,
    strategy: str,
    part: Part,
    instrument: str,
    timeframe: str,
    origin: Origin = "backtest",
) -> list[ClosedPosition]:
    """Return trades as closed positions.

    Commission and swap of a trade are in account currency; its rate against the quote currency is that of the
    trade's own profit, and for one whose prices did not move the median of the others'.

    Parameters
    ----------
    trades : sequence of RoundTrip
        Of one strategy.
    account, strategy, part, instrument, timeframe, origin
        As `ClosedPosition`.
    """
    rates: list[float | None] = []
    for trade in trades:
        sign = 1.0 if trade.side == "long" else -1.0
        gross = sign * (trade.exit_price - trade.entry_price) * trade.size
        rate = 0.0 if gross == 0 else (trade.pnl + trade.commission - trade.swap) / gross
        # Prices are rounded, so a tiny move tells no rate.
        rates.append(rate if rate > 0 else None)
    usual = statistics.median([rate for rate in rates if rate is not None] or [1.0])
    return [
        ClosedPosition(
            origin=origin,
            account=account,
            strategy=strategy,
            part=part,
            instrument=instrument,
            timeframe=timeframe,
            side=trade.side,
            entry_ts_ns=trade.entry_ts_ns,
            exit_ts_ns=trade.exit_ts_ns,
            entry_price=trade.entry_price,
            exit_price=trade.exit_price,
            stop_price=trade.stop_price,
            costs=(trade.commission - trade.swap) / ((rate or usual) * trade.size),
        )
        for trade, rate in zip(trades, rates, strict=True)
    ]


def add_positions(path: Path, positions: Iterable[ClosedPosition]) -> None:
    """Append closed positions to a file, one line of JSON each; several writers may share it.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    path = Path(path)
    lines = b"".join(canonical_json(one) + b"\n" for one in positions)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(path.with_name(f".{path.name}.lock")), path.open("ab") as stream:
            stream.write(lines)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as failure:
        raise storage_error(path, failure) or failure from failure


def load_positions(path: Path) -> list[ClosedPosition]:
    """Read a file of closed positions.

    Raises
    ------
    DataError
        If it cannot be read, or a line is no closed position: names the row.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as failure:
        msg = f"The file cannot be read: {failure.strerror}. Give a run's folder or a file of positions."
        raise DataError(msg, file=path) from failure
    found = []
    for row, line in enumerate(lines):
        try:
            document = msgspec.json.decode(line)
            found.append(decode(document, ClosedPosition, where="position", error=DataError))
        except (msgspec.DecodeError, DataError, ConfigError) as failure:
            raise DataError(f"The line is no closed position: {failure}", file=path, row=row) from failure
    return found
