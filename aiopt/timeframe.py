"""Bar lengths: `5m`, `1h`, and exact grids of times.  Owns their notation; knows nothing of bars."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import numpy.typing as npt

from aiopt.errors import ConfigError
from aiopt.utc import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS

_UNIT_NS = {"s": SECOND_NS, "m": MINUTE_NS, "h": HOUR_NS, "d": DAY_NS}
_PATTERN = re.compile(r"^([1-9]\d{0,4})([smhd])$")


class Timeframe(msgspec.Struct, frozen=True, order=True):
    """A bar length.

    Attributes
    ----------
    ns : int
        Length in nanoseconds.  Bars start at whole multiples of it since the Unix epoch.
    label : str
        Canonical notation, e.g. ``"5m"``; ``"60m"`` becomes ``"1h"``.
    """

    ns: int
    label: str

    @property
    def seconds(self) -> int:
        """Length in seconds."""
        return self.ns // SECOND_NS


def time_grid(first_ns: int, stop_ns: int, step_ns: int) -> npt.NDArray[np.int64]:
    """Return ``first_ns, first_ns + step_ns, …``, all that are before `stop_ns`.

    `numpy.arange` counts its steps in floating point: over 104 days of minutes it loses the last one.

    Parameters
    ----------
    first_ns, stop_ns : int
        Times in nanoseconds.
    step_ns : int
        Positive.

    Returns
    -------
    ndarray of shape (n,), int64
        Empty if ``stop_ns <= first_ns``.

    Raises
    ------
    ConfigError
        If `step_ns` is not positive.
    """
    first_ns, stop_ns, step_ns = int(first_ns), int(stop_ns), int(step_ns)
    if step_ns <= 0:
        raise ConfigError(f"step_ns must be above 0, but is {step_ns}. Give the length of a step.")
    count = max(-((first_ns - stop_ns) // step_ns), 0)
    return first_ns + step_ns * np.arange(count, dtype=np.int64)


def timeframe_of_ns(ns: int) -> Timeframe:
    """Return the timeframe of a length in nanoseconds.

    Raises
    ------
    ConfigError
        If `ns` is not a positive multiple of one second.
    """
    if ns <= 0 or ns % _UNIT_NS["s"]:
        msg = f"A timeframe must be a positive multiple of one second, but got {ns} ns. Use e.g. 1m, 5m, 1h."
        raise ConfigError(msg)
    for unit in ("d", "h", "m", "s"):
        if ns % _UNIT_NS[unit] == 0:
            return Timeframe(ns=ns, label=f"{ns // _UNIT_NS[unit]}{unit}")
    raise AssertionError(ns)


def parse_timeframe(text: str) -> Timeframe:
    """Parse ``"30s"``, ``"5m"``, ``"4h"`` or ``"1d"``.

    Raises
    ------
    ConfigError
        If the notation is none of these.

    Examples
    --------
    >>> parse_timeframe("60m").label
    '1h'
    """
    match = _PATTERN.match(text.strip())
    if match is None:
        msg = f"A timeframe must be a number and one of s, m, h, d, but got {text!r}. Use e.g. 1m, 5m, 1h."
        raise ConfigError(msg)
    return timeframe_of_ns(int(match[1]) * _UNIT_NS[match[2]])
