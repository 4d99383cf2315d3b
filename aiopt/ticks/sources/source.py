"""What every tick source is: files, batches of ticks in the order of the files, and notes.

Owns the types the readers share.  Knows no format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.errors import ConfigError, DataError
from aiopt.market.instrument import Instrument
from aiopt.ticks.clocks.conventions import GIVEN, FileClock, convention
from aiopt.ticks.clocks.local_time import Clock, parse_clock
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources.instrument_evidence import name_evidence, resolve
from aiopt.ticks.stamps.stamp_reader import StampRules
from aiopt.ticks.stamps.time_text import compile_format
from aiopt.ticks.stamps.time_units import UNITS, latest_ns
from aiopt.utc import HOUR_NS

MEANINGS = ("ts", "bid", "ask", "bid_size", "ask_size", "symbol")


class ReaderOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file does not say about itself.

    Attributes
    ----------
    utc_offset_h : float or None
        Hours the source's clock is ahead of UTC (New York in winter: -5); None for the format's own rule.
    timezone : str or None
        The source's clock by name, see `aiopt.ticks.clocks.local_time.parse_clock`; None for the format's
        own rule.
    columns : dict of str to str
        For CSV and Parquet: ``"ts"``, ``"bid"``, ``"ask"``, ``"bid_size"``, ``"ask_size"`` or ``"symbol"`` to
        the name of a column, or to its 0-based position if `header` is false.
    time_unit : str or None
        Key of `UNITS`, what a numeric time counts; proved by the file if None.
    time_format : str or None
        How text says a time, see `aiopt.ticks.stamps.time_text`; proved by the file if None.
    header : bool
        False if the first line of a CSV holds data.
    size_unit : float or None
        Units of the base currency that a size of 1 in a CSV or Parquet source stands for, e.g. 1e6 if sizes
        are in millions; 1, or the layout's own, if None.
    """

    utc_offset_h: float | None = None
    timezone: str | None = None
    size_unit: float | None = None
    columns: dict[str, str] = {}
    time_unit: str | None = None
    time_format: str | None = None
    header: bool = True

    def __post_init__(self) -> None:
        if self.utc_offset_h is not None and not -24 <= self.utc_offset_h <= 24:
            msg = f"The UTC offset must lie in -24 to 24 hours, but is {self.utc_offset_h}. Give hours."
            raise DataError(msg)
        if self.size_unit is not None and not 0 < self.size_unit <= 1e12:
            msg = f"The size unit must lie above 0, up to 1e12, but is {self.size_unit}. Use 1 or 1e6."
            raise DataError(msg)

        if self.timezone is not None:
            parse_clock(self.timezone)
            if self.utc_offset_h is not None:
                msg = f"The clock is given twice: {self.timezone!r} and {self.utc_offset_h:+g} h. "
                raise DataError(msg + "Leave one out.")
        unknown = next((name for name in self.columns if name not in MEANINGS), None)
        if unknown is not None:
            raise DataError(f"--map knows no meaning {unknown!r}. Use {', '.join(MEANINGS)}.")
        if self.columns and not {"ts", "bid", "ask"} <= set(self.columns):
            msg = f"--map needs ts, bid and ask, but got {', '.join(self.columns)}. Add them."
            raise DataError(msg)
        check_stamp_options(self.time_unit, self.time_format)
        if not self.header and not self.columns:
            raise DataError("Without a header, say where the columns are, e.g. --map ts=0,bid=1,ask=2.")

    def clock(self, default: str) -> Clock:
        """Return the clock given, or that of a format."""
        if self.utc_offset_h is not None:
            ahead_ns = round(self.utc_offset_h * HOUR_NS)
            return Clock(f"UTC{self.utc_offset_h:+g} h", None, ahead_ns)
        return parse_clock(self.timezone or default)

    def stamp_rules(self, instrument: Instrument) -> StampRules:
        """Return what is stated about stamps, and the life of the instrument."""
        return StampRules(
            low_ns=instrument.life_start_ns,
            high_ns=latest_ns(),
            unit=self.time_unit,
            format=self.time_format,
            clock_given=self.clock_given,
        )

    @property
    def clock_given(self) -> bool:
        """True if a clock was stated."""
        return self.utc_offset_h is not None or self.timezone is not None

    def file_clock(self, format: str, file: Path) -> FileClock:
        """Return the clock given, or the best known one of a format."""
        usual = convention(format, file).best()
        return FileClock(self.clock(usual.clock.name), GIVEN) if self.clock_given else usual

    def settings(self) -> dict[str, str]:
        """Return the options as text for the manifest."""
        offset = "format" if self.utc_offset_h is None else f"{self.utc_offset_h:g}"
        return {
            "utc_offset_h": offset,
            "timezone": self.timezone or "format",
            "size_unit": "1" if self.size_unit is None else f"{self.size_unit:g} (stated)",
            "columns": ",".join(f"{name}={column}" for name, column in sorted(self.columns.items()))
            or "names",
            "time_unit": self.time_unit or "size",
            "header": "yes" if self.header else "no",
            **({} if self.time_format is None else {"time_format": self.time_format}),
        }


def parse_columns(text: str) -> dict[str, str]:
    """Parse ``ts=NAME,bid=NAME,ask=NAME``.

    Raises
    ------
    ConfigError
        If a part has no ``=`` or a meaning is given twice.
    """
    result: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        meaning, equals, name = (piece.strip() for piece in part.partition("="))
        if not equals or not name or meaning in result:
            msg = f"--map must be MEANING=COLUMN, each meaning once, but got {part!r}. "
            raise ConfigError(msg + "E.g. --map ts=time,bid=b,ask=a.")
        result[meaning] = name
    return result


def check_stamp_options(unit: str | None, format: str | None) -> None:
    """Refuse a unit that is not known, a layout that is none, and both together.

    Raises
    ------
    DataError
        Says what would be right.
    """
    if unit is not None and unit not in UNITS:
        raise DataError(f"There is no time unit {unit!r}. Choose one of {', '.join(UNITS)}.")
    if format is not None:
        compile_format(format)
        if unit is not None:
            msg = f"Times are described twice: by the unit {unit!r} and the layout {format!r}. "
            raise DataError(msg + "Leave one out.")


@dataclass(frozen=True, slots=True)
class Batch:
    """Ticks of one file, in the order of the file.

    Attributes
    ----------
    ticks : TickArrays
        Shape (n,).  Prices as the file has them; null is NaN.
    file : int
        Index into `TickSource.files`.
    first_row : int
        0-based row or record of the first tick; the others follow.
    done_bytes : int
        Bytes of this file read so far, for the progress.
    """

    ticks: TickArrays
    file: int
    first_row: int
    done_bytes: int


@dataclass(frozen=True)
class TickSource:
    """A source that was recognised and whose files were listed.

    Attributes
    ----------
    format : str
        Name of the reader.
    root : Path
        What was given.
    files : tuple of Path
        In the order they are read.
    read : callable
        Return the batches of file number `i`, in order.
    notes : list of str
        What was left aside and why.
    empty_hours, missing_hours : tuple of int
        Hours since the epoch the source says have no ticks, and those it has no file for.
    hours : mapping of int to str
        For a source that accounts for every hour of its span: hour since the epoch to its outcome.
    clocks : tuple of FileClock
        What each file was read as, one for all, or none if the stamps are UTC by definition.
    """

    format: str
    root: Path
    files: tuple[Path, ...]
    read: Callable[[int], Iterator[Batch]]
    notes: list[str] = field(default_factory=list)
    empty_hours: tuple[int, ...] = ()
    missing_hours: tuple[int, ...] = ()
    hours: Mapping[int, str] = field(default_factory=dict)
    clocks: tuple[FileClock, ...] = ()


def check_symbols(files: Sequence[Path], root: Path, instrument: Instrument) -> None:
    """Refuse a source whose file or folder names say it is of another instrument, or of several.

    Raises
    ------
    DataError
        Names the file and the instruments.
    """
    resolve(instrument.symbol, name_evidence(files, root), root)


def no_sizes(count: int) -> NDArray[np.float64]:
    """Return sizes of 0: the source has none."""
    return np.zeros(count, dtype=np.float64)
