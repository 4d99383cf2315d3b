"""Stamps that are numbers: the unit a file counts in is proved by its rows, and how they are read.

Owns the proof of a unit and the refusal of numbers that were rounded.  Knows nothing of text and clocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.ticks.stamps.decimal_stamps import decimal_ns, exponent_place
from aiopt.ticks.stamps.stamp_rules import (
    AmbiguousStampsError,
    Reading,
    StampRules,
    Whole,
    no_stamp,
    no_time_of_day,
    plain_column,
    shown,
    value_at,
)
from aiopt.ticks.stamps.time_units import UNITS, TimeUnit, fitting, units_of
from aiopt.utc import stamp_text

_NUMBER = r"^[+-]?\d{1,19}(?:[.,]\d*)?(?:[eE][+-]?\d+)?$"
_FEW = 20
_ROUNDED_NS = 1_000 * 1_000_000_000


def is_numeric(text: pl.Series) -> bool:
    """Return whether most of a column of text are numbers."""
    known = text.drop_nulls()
    return int(known.str.contains(_NUMBER).sum()) * 2 > known.len()


def prove_number(
    times: pl.Series, first_row: int, file: Path, rules: StampRules, whole: Whole | None
) -> Reading:
    """Return the reading of a column of numbers, see `aiopt.ticks.stamps.stamp_reader.prove`."""
    values = _as_numbers(times)
    known = values[np.isfinite(values)]
    if rules.unit is not None:
        unit = UNITS[rules.unit]
        if not fitting(known, unit, rules.low_ns, rules.high_ns).any():
            others = ", ".join(other.name for other in _units(known, rules)) or "none"
            msg = f"{shown(times, 0)} counted in {unit.name} is no time from {_span(rules)}. "
            raise DataError(f"{msg}Give another --time-unit; these fit: {others}.", file=file, row=first_row)
    else:
        units = _units(known, rules)
        if not units:
            unit = _by_most(times, values, first_row, file, rules)
        elif len(units) == 1 or whole is None:
            unit = _only(units, times, first_row, file, rules)
        else:
            for row, column in whole():
                more = _as_numbers(plain_column(column, file, row))
                units = [
                    unit for unit in units if fitting(more[np.isfinite(more)], unit, *_range(rules)).all()
                ]
            unit = _only(units, times, first_row, file, rules)
    if not (unit.has_time_of_day or rules.days):
        raise no_time_of_day(times.name, value_at(times, 0), file)
    _check_digits(times, unit, values, first_row, file)
    return Reading(unit=unit)


def _units(values: NDArray[np.float64], rules: StampRules) -> list[TimeUnit]:
    if not values.size:
        return []
    return units_of(values.min(), values.max(), rules.low_ns, rules.high_ns)


def _only(
    units: Sequence[TimeUnit], times: pl.Series, first_row: int, file: Path, rules: StampRules
) -> TimeUnit:
    if len(units) == 1:
        return units[0]
    named = [unit for unit in units if unit.name == "ns" and times.name.lower().endswith("ns")]
    if named:
        return named[0]
    at = int(_as_numbers(times)[0])
    ways = " and ".join(
        f"{unit.name} ({stamp_text(int(unit.to_ns(np.array([at]))[0]))[:16]})" for unit in units
    )
    msg = f"The numbers of {times.name!r} can be read in several ways; every row fits {ways}. "
    error = AmbiguousStampsError(
        f"{msg}Say which: --time-unit {' or '.join(unit.name for unit in units)}.", file=file, row=first_row
    )
    error.readings = tuple(Reading(unit=unit) for unit in units)
    raise error


def _by_most(
    times: pl.Series, values: NDArray[np.float64], first_row: int, file: Path, rules: StampRules
) -> TimeUnit:
    """Return the unit of most rows, where some are in no year of the market."""
    fits = {name: fitting(values, unit, *_range(rules)) for name, unit in UNITS.items()}
    best = max(fits, key=lambda name: int(np.count_nonzero(fits[name])))
    if int(np.count_nonzero(fits[best])) * 2 > np.count_nonzero(np.isfinite(values)):
        return UNITS[best]
    none = ~np.logical_or.reduce(list(fits.values())) & np.isfinite(values)
    at = int(np.argmax(none)) if none.any() else 0
    kinds = ", ".join(UNITS)
    msg = f"{shown(times, at)} is no time from {_span(rules)} in any unit ({kinds}). "
    raise DataError(
        f"{msg}Map the column that holds the time (--map ts=…), or say how it is written with --time-format.",
        file=file,
        row=first_row + at,
    )


def _check_digits(
    times: pl.Series, unit: TimeUnit, values: NDArray[np.float64], first_row: int, file: Path
) -> None:
    """Refuse stamps that a spreadsheet or a float rounded, so that what they lack cannot be known."""
    known = np.isfinite(values)
    if times.dtype == pl.String:
        _check_exponents(times, unit, first_row, file)
    if unit.digits == 17 and times.dtype == pl.Float64:
        msg = f"{times.name!r} holds times of 17 digits as floats, which keep 15. "
        raise DataError(msg + "Write them as text or whole numbers.", file=file)
    if np.count_nonzero(known) < _FEW:
        return
    if unit.digits == 17:
        last = np.mod(values[known], 1_000) if times.dtype == pl.Float64 else _whole(times)[known] % 1_000
        rounded = bool((last % 100 == 0).all() and (last != 0).any())
    elif unit.digits or unit.name == "excel":
        rounded = False
    else:
        # No time of the market falls on the same multiple of 1,000 s for 20 rows.
        step = _ROUNDED_NS // unit.factor_ns
        rounded = bool((np.mod(values[known] - unit.origin % step, step) == 0).all())
    if rounded:
        msg = f"The times of {times.name!r} lost digits: they end in zeros "
        msg += f"({shown(times, 0)}), as if a spreadsheet had rounded them. "
        raise DataError(f"{msg}Export the column as whole numbers or text.", file=file, row=first_row)


def _whole(times: pl.Series) -> NDArray[np.int64]:
    return np.asarray(times.cast(pl.Int64, strict=False).fill_null(0).to_numpy(), dtype=np.int64)


def _as_numbers(times: pl.Series) -> NDArray[np.float64]:
    """Return numbers as float64, precise enough to tell units apart; NaN where there is none."""
    if times.dtype == pl.String:
        times = times.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    return np.asarray(times.cast(pl.Float64).fill_null(float("nan")).to_numpy(), dtype=np.float64)


def number_stamps(
    times: pl.Series, unit: TimeUnit, first_row: int, file: Path, rules: StampRules
) -> NDArray[np.int64]:
    """Return numbers as nanoseconds since 1970; those in no year of the market as they are."""
    if times.dtype == pl.Float64:
        values = times.to_numpy()
        if unit.name == "excel" or not (np.rint(values) == values).all() or np.abs(values).max() > 2**53:
            _check_unit(values, times, unit, first_row, file, rules)
            if unit.digits:
                at = int(np.argmax(np.rint(values) != values))
                raise no_stamp(times.name, value_at(times, at), first_row + at, file)
            return decimal_ns(values, unit, file)
        times = times.cast(pl.Int64)
    if times.dtype == pl.String:
        whole = times.cast(pl.Int64, strict=False)
        if whole.null_count() or unit.name == "excel":
            return _decimal_stamps(times, unit, first_row, file, rules)
        times = whole
    counts = np.asarray(times.to_numpy(), dtype=np.int64)
    _check_unit(counts, times, unit, first_row, file, rules)
    stamps = unit.to_ns(counts)
    if unit.digits:
        wrong = (stamps == np.iinfo(np.int64).min) & fitting(counts, unit, *_range(rules))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise no_stamp(times.name, value_at(times, at), first_row + at, file, f"digits {unit.name}")
    return stamps


def _decimal_stamps(
    text: pl.Series, unit: TimeUnit, first_row: int, file: Path, rules: StampRules
) -> NDArray[np.int64]:
    """Return numbers written with decimals or exponents."""
    values = _as_numbers(text)
    wrong = ~np.isfinite(values) | ~text.str.contains(_NUMBER).to_numpy()
    if wrong.any() or unit.digits:
        at = int(np.argmax(wrong)) if wrong.any() else int(text.str.contains("[.,eE]").arg_max() or 0)
        raise no_stamp(text.name, text[at], first_row + at, file, unit.text)
    _check_unit(values, text, unit, first_row, file, rules)
    place = _check_exponents(text, unit, first_row, file)
    return decimal_ns(values if place is not None else text, unit, file)


def _check_exponents(text: pl.Series, unit: TimeUnit, first_row: int, file: Path) -> float | None:
    """Refuse numbers in exponent notation with too few digits; return what the last one stands for."""
    place = exponent_place(text)
    # One count at most, or a millisecond where doubles hold no more.
    most = max(1.0, 1e6 / unit.factor_ns) if unit.name in {"ns", "dotnet", "filetime"} else 1.0
    if place is not None and place > most:
        digits = len(re.sub(r"[eE].*|\D", "", str(text[0])).lstrip("0"))
        msg = f"The times lost digits: {text[0]!r} has {digits}, and its last stands for "
        msg += f"{place * unit.factor_ns / 1e9:,g} s. A spreadsheet rounded them. "
        raise DataError(msg + "Export the column as whole numbers or text.", file=file, row=first_row)
    return place


def _check_unit(
    values: NDArray[np.int64] | NDArray[np.float64],
    times: pl.Series,
    unit: TimeUnit,
    first_row: int,
    file: Path,
    rules: StampRules,
) -> None:
    """Refuse rows of another unit; those of none are left to the rule `implausible_time`."""
    low, high = unit.bounds(rules.low_ns, rules.high_ns)
    if low <= values.min() and values.max() < high:
        return
    outside = ~((values >= low) & (values < high))
    for other in UNITS.values():
        wrong = outside & fitting(values, other, *_range(rules))
        if wrong.any():
            at = int(np.argmax(wrong))
            msg = f"{shown(times, at)} counts {other.text}, the times before it {unit.text}. "
            msg += "Mend or remove the row."
            raise DataError(msg, file=file, row=first_row + at)


def _range(rules: StampRules) -> tuple[int, int]:
    return rules.low_ns, rules.high_ns


def _span(rules: StampRules) -> str:
    return f"{stamp_text(rules.low_ns)[:10]} to tomorrow"
