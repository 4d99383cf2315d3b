"""Numeric stamps with decimals: seconds with a fraction, spreadsheet days, floats.

Owns how exactly they can be read, which their digits decide.  Knows no layout and no proof of a unit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.ticks.stamps.time_units import TimeUnit

_DOUBLE_DECIMALS = 11
"""Decimals of a spreadsheet's day that a double holds: 0.6 microseconds."""


def exponent_place(text: pl.Series) -> float | None:
    """Return what the last digit of the finest number in exponent notation stands for; None if there is none.

    Examples
    --------
    >>> exponent_place(pl.Series(["1.54936E+12", "1.549360801E+12"]))
    1000.0
    """
    parts = text.str.extract_groups(r"^[+-]?\d+(?:[.,](?<decimals>\d*))?[eE](?<power>[+-]?\d+)$")
    power = parts.struct.field("power").cast(pl.Int64, strict=False)
    if power.null_count() == power.len():
        return None
    decimals = parts.struct.field("decimals").fill_null("").str.len_chars().cast(pl.Int64)
    least = int((power - decimals).min() or 0)  # type: ignore[arg-type]
    return float(10.0 ** max(least, -30))


def decimal_ns(values: pl.Series | NDArray[np.float64], unit: TimeUnit, file: Path) -> NDArray[np.int64]:
    """Return numbers as nanoseconds since 1970: text exactly, doubles to what they hold.

    Parameters
    ----------
    values : polars.Series of str, or ndarray of float64
        Text without exponents, ``"1549360800.991"``, or finite doubles.
    unit : TimeUnit
        What they count.
    file : Path
        For messages.

    Raises
    ------
    DataError
        If days of a spreadsheet have too few decimals to tell the time.
    """
    if isinstance(values, np.ndarray):
        if unit.name != "excel":
            return unit.to_ns_float(values)
        days = np.floor(values)
        return _days_ns(days.astype(np.int64), values - days, _DOUBLE_DECIMALS, unit, file)
    parts = values.str.extract_groups(r"^(?<whole>[+-]?\d+)(?:[.,](?<decimals>\d*))?$")
    whole = parts.struct.field("whole").cast(pl.Int64).to_numpy()
    digits = parts.struct.field("decimals").fill_null("")
    fraction = ("0." + digits + "0").cast(pl.Float64).to_numpy()
    if unit.name == "excel":
        return _days_ns(whole, fraction, int(digits.str.len_chars().max() or 0), unit, file)  # type: ignore[arg-type]
    return unit.to_ns(whole) + np.rint(fraction * unit.factor_ns).astype(np.int64)


def _days_ns(
    days: NDArray[np.int64], fraction: NDArray[np.float64], decimals: int, unit: TimeUnit, file: Path
) -> NDArray[np.int64]:
    """Return days as nanoseconds, set to the whole second or millisecond that all of them are at."""
    inside = fraction * unit.factor_ns
    # Half the last decimal, and what a double that was written out had lost before.
    half_ns = 0.5 * unit.factor_ns / 10**decimals + 1_000.0
    for step, decimals_needed in ((1_000_000_000, 6), (1_000_000, 8), (1_000, _DOUBLE_DECIMALS)):
        if not fraction.any() or decimals < decimals_needed:
            continue
        nearest = np.rint(inside / step) * step
        # The finest step that the decimals can tell is taken whatever is left.
        if (np.abs(inside - nearest) <= half_ns).all() or (step == 1_000 and decimals >= _DOUBLE_DECIMALS):
            return unit.to_ns(days) + nearest.astype(np.int64)
    if not fraction.any():
        return unit.to_ns(days)
    lost = unit.factor_ns / 10**decimals / 1e9
    msg = f"These times lost digits: days with {decimals} decimals tell {lost:.2g} s. "
    raise DataError(msg + "Export the column as date and time, or with 10 decimals.", file=file)


__all__ = ["decimal_ns", "exponent_place"]
