"""What stops cost on average: by how much ticks fill them beyond their price.

Owns the measure, which stands in where bars come without their ticks.  Knows nothing of strategies.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.bars.stops.stop_files import StopTable
from aiopt.errors import DataError
from aiopt.files import atomic_write_bytes
from aiopt.market.instrument import instrument

SLIPPAGE_NAME = "stops.json"
"""File name of a measure, in the folder of bars that come without their own ticks."""


class StopSlippage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By how much stops were filled beyond their price, measured on ticks.

    Every tick that the bid passed on its way from a bar's open to its low is taken as the stop of a
    long position, every tick the ask passed from open to high as that of a short one, and each is filled at
    the first quote at or beyond it.  Stops that a bar opens beyond are not counted: they fill at the open,
    which bars know.

    Attributes
    ----------
    instrument, timeframe : str
        Of the bars.
    data_hash : str
        Of the ticks.
    synthetic : bool
        True if the ticks were generated.
    n : int
        Stops.
    mean_ticks, p95_ticks, max_ticks : float
        Distance from stop to fill, in ticks of the instrument.
    ticks_per_pip : float
        Ticks per pip.
    """

    instrument: str
    timeframe: str
    data_hash: str
    synthetic: bool
    n: int
    mean_ticks: float
    p95_ticks: float
    max_ticks: float
    ticks_per_pip: float = 10.0

    @property
    def mean_pips(self) -> float:
        """Mean in pips."""
        return self.mean_ticks / self.ticks_per_pip

    @property
    def text(self) -> str:
        """The measure in one phrase."""
        kind = " of generated ticks" if self.synthetic else ""
        return f"measured mean {self.mean_pips:.3f} pip on {self.n:,} stops{kind}"


def write_stop_slippage(folder: Path, measured: StopSlippage) -> None:
    """Write a measure beside the bars it is to be used for, atomically."""
    text = msgspec.json.format(msgspec.json.encode(measured, order="sorted"), indent=1)
    atomic_write_bytes(Path(folder) / SLIPPAGE_NAME, text + b"\n")


def slippage_beside(bars_path: Path, symbol: str) -> StopSlippage | None:
    """Return the measure in the folder of a bar file, None if there is none.

    Raises
    ------
    DataError
        If it cannot be read or is of another instrument.
    """
    path = bars_path.with_name(SLIPPAGE_NAME)
    if not path.is_file():
        return None
    try:
        found = msgspec.json.decode(path.read_bytes(), type=StopSlippage)
    except msgspec.DecodeError as failure:
        msg = f"A measure of stops must be what aiopt wrote, but: {failure}. Remove it or write it again."
        raise DataError(msg, file=path) from failure
    if found.instrument != symbol:
        msg = f"Stop slippage must be measured on {symbol}, but is of {found.instrument}. Remove it."
        raise DataError(msg, file=path)
    return found


def measure_slippage(table: StopTable) -> StopSlippage:
    """Return by how much stops at every tick passed would have been filled beyond it.

    Parameters
    ----------
    table : StopTable
        Records of bars.

    Raises
    ------
    DataError
        If no bar moved: there is nothing to measure.
    """
    gaps = np.concatenate(
        [
            _gaps(table.ladder.bid_offsets, table.ladder.bid_steps),
            _gaps(table.ladder.ask_offsets, table.ladder.ask_steps),
        ]
    )
    market = instrument(table.meta.instrument)
    gaps //= round(market.tick_size * table.ladder.price_scale)
    n = int(gaps.sum())
    if n == 0:
        msg = "Stop slippage is measured on quotes that move, but those of no bar do. Give more ticks."
        raise DataError(msg)
    # Between records g ticks apart lie g stops, filled 0, 1, … g - 1 ticks beyond.
    beyond = np.bincount(gaps)  # gaps of each size; a slip of s occurs once in each gap above s
    per_slip = beyond[::-1].cumsum()[::-1][1:]
    p95 = int(np.searchsorted(np.cumsum(per_slip), math.ceil(0.95 * n)))
    meta = table.meta
    return StopSlippage(
        instrument=meta.instrument,
        timeframe=meta.timeframe,
        data_hash=meta.data_hash,
        synthetic=meta.synthetic,
        n=n,
        mean_ticks=int((gaps * (gaps - 1) // 2).sum()) / n,
        p95_ticks=float(p95),
        max_ticks=float(gaps.max() - 1),
        ticks_per_pip=market.pip_size / market.tick_size,
    )


def _gaps(offsets: NDArray[np.int64], steps: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the distances between consecutive records of the same bar, in steps."""
    used = steps[int(offsets[0]) : int(offsets[-1])].astype(np.int64)
    inner = np.ones(used.size, dtype=bool)
    starts = (offsets - offsets[0])[:-1][np.diff(offsets) > 0]
    inner[starts] = False
    distance = np.abs(np.diff(used, prepend=0))
    found: NDArray[np.int64] = distance[inner]
    return found
