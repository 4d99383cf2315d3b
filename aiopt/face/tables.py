"""Tables one can take elsewhere: Polars, pandas, Arrow, with times as timestamps.

Owns the export and how a table shows itself.  Knows nothing of what is in it.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from aiopt.errors import ConfigError
from aiopt.face.html import card, frame_html

if TYPE_CHECKING:
    import pandas as pd

Time = int | str | dt.datetime | dt.date
"""A time in UTC: nanoseconds since 1970, ISO 8601 text, or a datetime (without a zone it is UTC)."""

TIMESTAMP = pl.Datetime("ns", "UTC")

SHOWN_ROWS = 10


class Table(ABC):
    """Something that is a table: the base of what `aiopt` returns.

    Times are timestamps in UTC with nanoseconds: a column `ts_open_ns` of aiopt's files is `ts_open` here.
    """

    @abstractmethod
    def to_polars(self) -> pl.DataFrame:
        """Return the table as a Polars frame."""

    def to_pandas(self) -> pd.DataFrame:
        """Return the table as a pandas frame; times are ``datetime64[ns, UTC]``."""
        return self.to_polars().to_pandas()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the table to any library that reads Arrow, e.g. ``pyarrow.table(x)`` or ``duckdb``."""
        return self.to_polars().__arrow_c_stream__(requested_schema)

    def _title(self) -> str:
        """Return what this is, in one line of text."""
        return type(self).__name__

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._title()}>"

    def _repr_html_(self) -> str:
        return card(self._title(), frame_html(self.to_polars(), SHOWN_ROWS))


class FrameTable(Table):
    """A table that is held as a frame.

    Parameters
    ----------
    frame : polars.DataFrame
        Times are timestamps.
    title : str
        What it is, in one line.
    """

    def __init__(self, frame: pl.DataFrame, title: str) -> None:
        self._frame = frame
        self._name = title

    def __len__(self) -> int:
        return self._frame.height

    def to_polars(self) -> pl.DataFrame:
        """Return the table as a Polars frame."""
        return self._frame

    def _title(self) -> str:
        return f"{self._frame.height:,} {self._name}"


def with_timestamps(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose columns of nanoseconds, ``NAME_ns``, are timestamps ``NAME``, without a copy."""
    return frame.select(
        pl.col(name).cast(TIMESTAMP).alias(name.removesuffix("_ns"))
        if name.startswith("ts_") or name.endswith("_ts_ns")
        else pl.col(name)
        for name in frame.columns
    )


def as_ns(time: Time) -> int:
    """Return a time as nanoseconds since 1970, UTC.

    Raises
    ------
    ConfigError
        If it is no time.

    Examples
    --------
    >>> as_ns("2024-03-04T07:00")
    1709535600000000000
    """
    if isinstance(time, int):
        return time
    if isinstance(time, str):
        try:
            time = dt.datetime.fromisoformat(time)
        except ValueError as failure:
            msg = f"Cannot read the time {time!r}. Write ISO 8601 in UTC, e.g. 2024-03-04T07:00."
            raise ConfigError(msg) from failure
    if isinstance(time, dt.datetime) and time.tzinfo is not None:
        time = time.astimezone(dt.UTC).replace(tzinfo=None)
    return int(np.datetime64(time, "ns").astype(np.int64))


def utc_text(ts_ns: int) -> str:
    """Return ``"2024-03-04 07:00"``, with seconds where there are some."""
    text = str(np.datetime64(int(ts_ns), "ns").astype("datetime64[s]")).replace("T", " ")
    return text.removesuffix(":00")


def as_time(ts_ns: int) -> dt.datetime:
    """Return a time as a datetime in UTC, to the microsecond."""
    seconds, rest = divmod(int(ts_ns), 1_000_000_000)
    return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(microsecond=rest // 1000)


def struct_rows(rows: list[Any], names: list[str]) -> dict[str, list[Any]]:
    """Return records as columns."""
    return {name: [getattr(row, name) for row in rows] for name in names}
