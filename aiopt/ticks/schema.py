"""The tick schema: column names, types, units, and arrays that follow them.

Owns what a tick is.  Knows nothing of files, sources or validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiopt.market.instrument import Instrument

TICK_SCHEMA = pa.schema(
    [
        pa.field("ts_event_ns", pa.int64(), nullable=False),
        pa.field("bid", pa.float64(), nullable=False),
        pa.field("ask", pa.float64(), nullable=False),
        pa.field("bid_size", pa.float64(), nullable=False),
        pa.field("ask_size", pa.float64(), nullable=False),
    ]
)
"""Columns of a tick file, in this order: UTC nanoseconds, quote currency, units of the base currency."""

TICK_COLUMNS = tuple(TICK_SCHEMA.names)


@dataclass(frozen=True, eq=False, slots=True)
class TickArrays:
    """Ticks as arrays of shape (n_ticks,).

    Attributes
    ----------
    ts_event_ns : ndarray of int64
        UTC nanoseconds since the epoch.
    bid, ask : ndarray of float64
        Quote currency.
    bid_size, ask_size : ndarray of float64
        Units of the base currency; 0.0 where the source has none.
    """

    ts_event_ns: NDArray[np.int64]
    bid: NDArray[np.float64]
    ask: NDArray[np.float64]
    bid_size: NDArray[np.float64]
    ask_size: NDArray[np.float64]

    def __len__(self) -> int:
        return int(self.ts_event_ns.shape[0])

    def columns(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield name and array in the order of `TICK_SCHEMA`."""
        for name in TICK_COLUMNS:
            yield name, getattr(self, name)

    def take(self, index: NDArray[Any] | slice) -> TickArrays:
        """Return the ticks of a slice, an index array or a mask."""
        return TickArrays(*(column[index] for _, column in self.columns()))

    def table(self) -> pa.Table:
        """Return the ticks as an Arrow table of `TICK_SCHEMA`."""
        return pa.Table.from_arrays([pa.array(column) for _, column in self.columns()], schema=TICK_SCHEMA)


def round_price(price: NDArray[np.float64], instrument: Instrument) -> NDArray[np.float64]:
    """Round prices to the instrument's decimal places: the doubles nearest to the decimal numbers.

    ``rint(price * scale) / scale`` divides two exactly represented integers, so the result is correctly
    rounded: 1.12345 equals ``float("1.12345")`` on every machine.
    """
    return np.asarray(np.rint(price * instrument.price_scale) / instrument.price_scale)


def price_steps(price: NDArray[np.float64], instrument: Instrument) -> NDArray[np.int64]:
    """Return prices as whole price steps of the instrument, the nearest ones."""
    return np.rint(price * instrument.price_scale).astype(np.int64)


def nearest_decimal(price: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the doubles nearest to prices of at most nine decimals: a mid price is half a price step.

    ``(bid + ask) / 2`` of two such doubles misses the double nearest to the decimal half step a third of the
    time, by one bit.  Nine decimals hold the half step of every instrument; from 9,007,199 upwards, where a
    double does not hold them, prices stay as they are.
    """
    exact = np.abs(price) < 2.0**53 / 1e9
    return np.where(exact, np.rint(np.where(exact, price, 0.0) * 1e9) / 1e9, price)
