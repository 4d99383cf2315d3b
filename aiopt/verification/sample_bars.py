"""Generated bars in memory, for a proof where nobody has given bars.  No file is written."""

from __future__ import annotations

import datetime as dt

import numpy as np

from aiopt.bars.schema import BarArrays
from aiopt.ticks.sample import SampleParameters, first_state, sample_day
from aiopt.timeframe import parse_timeframe

_EPOCH = dt.date(1970, 1, 1)
_TICKS_PER_DAY = 20_000


def sample_bars(symbol: str, *, timeframe: str = "5m", days: int = 31, seed: int = 7) -> BarArrays:
    """Return bid bars of generated ticks; the same arguments give the same bars on every machine.

    Parameters
    ----------
    symbol : str
        Instrument.
    timeframe : str
        Bar length.
    days : int
        Calendar days from 1 March 2024 on.
    seed : int
        Of the ticks.

    Returns
    -------
    BarArrays
        With ``synthetic=True``.

    Raises
    ------
    ConfigError
        If the symbol or the timeframe is unknown.
    """
    parameters = SampleParameters(instrument=symbol, days=days, seed=seed, ticks_per_day=_TICKS_PER_DAY)
    length = parse_timeframe(timeframe)
    state = first_state(parameters)
    first = (dt.date.fromisoformat(parameters.start) - _EPOCH).days
    parts = [sample_day(parameters, day, state) for day in range(first, first + days)]
    times = np.concatenate([part.ts_event_ns for part in parts])
    price = np.concatenate([part.bid for part in parts])
    size = np.concatenate([part.bid_size for part in parts])
    opens = times // length.ns * length.ns
    starts = np.flatnonzero(np.concatenate(([True], np.diff(opens) != 0)))
    ends = np.append(starts[1:], len(times)) - 1
    return BarArrays(
        instrument=parameters.instrument,
        timeframe=length,
        price="bid",
        ts_open_ns=np.ascontiguousarray(opens[starts]),
        open=np.ascontiguousarray(price[starts]),
        high=np.maximum.reduceat(price, starts),
        low=np.minimum.reduceat(price, starts),
        close=np.ascontiguousarray(price[ends]),
        volume=np.add.reduceat(size, starts),
        data_hash=f"generated-{parameters.instrument}-{timeframe}-{days}-{seed}",
        synthetic=True,
    )
