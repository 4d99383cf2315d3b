"""Bars in a notebook: built from ticks or read from files, as a table and as what a backtest reads.

Owns what a user says to get bars and how they show themselves.  Knows no rule of bars.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal, overload

import numpy as np
import polars as pl

from aiopt.bars.files import bar_set_of, read_series, read_stops
from aiopt.bars.schema import PRICES, BarArrays, BarSet, BarTable, contiguous
from aiopt.bars.stops.stop_ladders import StopLadder
from aiopt.bars.stops.stop_slippage import StopSlippage
from aiopt.config import content_hash
from aiopt.errors import ConfigError, did_you_mean
from aiopt.face import html
from aiopt.face.engines import EngineName, find_engine
from aiopt.face.progress import progress
from aiopt.face.tables import Table, Time, as_ns, as_time, utc_text, with_timestamps
from aiopt.face.ticks import Ticks, read_ticks, temporary_folder
from aiopt.outputs import check_folder

Price = Literal["bid", "ask", "mid"]
Fill = Literal["none", "flat", "linear"]


class Bars(Table):
    """Bars of one instrument and length, of one price or of bid and ask.

    As a table: ``ts_open`` (timestamp, UTC), then ``open``, ``high``, ``low``, ``close`` (quote currency),
    ``volume`` (units of the base currency) and ``ticks``; of bid and ask each with its side in front,
    ``bid_open`` … ``ask_close``.  Columns that were asked for beside these, such as spreads, come last.

    Attributes
    ----------
    tables : mapping of str to BarTable
        By side: ``"bid"`` and ``"ask"``, or one table.
    stops : StopLadder or StopSlippage or None
        What is known of where a stop inside a bar is filled.
    data_hash : str
        Of the ticks or bars they come from; of a slice, of that and the span.
    """

    def __init__(
        self,
        tables: Mapping[str, BarTable],
        *,
        stops: StopLadder | StopSlippage | None = None,
        data_hash: str | None = None,
    ) -> None:
        self.tables = dict(tables)
        self.stops = stops
        self.data_hash = data_hash or _joint_hash(self.tables)

    @property
    def instrument(self) -> str:
        """Symbol, e.g. ``"EURUSD"``."""
        return self._first.meta.instrument

    @property
    def timeframe(self) -> str:
        """Length, e.g. ``"5m"``; of bars that are not time bars e.g. ``"range-5"``."""
        return self._first.meta.timeframe

    @property
    def prices(self) -> tuple[str, ...]:
        """Sides there are, e.g. ``("bid", "ask")`` or ``("mid",)``."""
        return tuple(table.meta.price for table in self.tables.values())

    @property
    def start(self) -> dt.datetime:
        """When the first bar opens, UTC."""
        return as_time(int(self._opens[0]))

    @property
    def stop(self) -> dt.datetime:
        """When the last bar opens, UTC."""
        return as_time(int(self._opens[-1]))

    @property
    def synthetic(self) -> bool:
        """True if the bars come from generated ticks."""
        return any(table.meta.synthetic for table in self.tables.values())

    @property
    def bid(self) -> Bars:
        """The bid bars alone, or the bars themselves if they are of one price."""
        return self._side("bid")

    @property
    def ask(self) -> Bars:
        """The ask bars alone, or the bars themselves if they are of one price."""
        return self._side("ask")

    @cached_property
    def bar_set(self) -> BarSet:
        """What `aiopt.backtest.session.BacktestSession` and a sweep read.

        Raises
        ------
        DataError
            If the gaps of the bars were filled with prices to come.
        UnevenBarsError
            If they are not time bars.
        """
        made = bar_set_of(self.tables)
        return replace(made, stops=None if made.single_price else self.stops, data_hash=self.data_hash)

    @cached_property
    def arrays(self) -> BarArrays:
        """The bid side, or the one price, as arrays of shape (n_bars,): what indicators and charts read."""
        return self._first.arrays()

    def __len__(self) -> int:
        return len(self._first)

    def __getitem__(self, part: slice) -> Bars:
        """Return some of the bars: by number, ``bars[-200:]``, or by time, ``bars["2024-03-04":]``."""
        if not isinstance(part, slice) or part.step not in (None, 1):
            msg = f"Bars are cut by a slice without a step, but got {part!r}. Write e.g. bars[-200:]."
            raise ConfigError(msg)
        start, stop, _ = slice(self._place(part.start), self._place(part.stop)).indices(len(self))
        if start >= stop:
            raise ConfigError(f"No bar of {self!r} lies in {part.start}:{part.stop}.")
        if (start, stop) == (0, len(self)):
            return self
        tables = {
            side: BarTable(table.frame.slice(start, stop - start), table.meta)
            for side, table in self.tables.items()
        }
        stops = self.stops.slice(start, stop) if isinstance(self.stops, StopLadder) else self.stops
        span = [int(self._opens[start]), int(self._opens[stop - 1])]
        return Bars(tables, stops=stops, data_hash=content_hash({"bars": self.data_hash, "span": span}))

    def to_polars(self) -> pl.DataFrame:
        """Return the bars as a Polars frame, see the class."""
        if len(self.tables) == 1:
            return with_timestamps(self._first.frame)
        shared = ("ts_open_ns", "ticks", "ts_close_ns", "filled")
        frame = self._first.frame
        columns = [frame["ts_open_ns"]]
        for side, table in self.tables.items():
            columns += [
                column.alias(f"{side}_{column.name}")
                for column in table.frame.get_columns()
                if column.name not in shared and not column.name.startswith("spread_")
            ]
        columns += [
            column
            for column in frame.get_columns()
            if column.name in shared[1:] or column.name.startswith("spread_")
        ]
        return with_timestamps(pl.DataFrame(columns))

    @property
    def _first(self) -> BarTable:
        return next(iter(self.tables.values()))

    @cached_property
    def _opens(self) -> np.ndarray:
        return contiguous(self._first.frame["ts_open_ns"])

    def _side(self, side: str) -> Bars:
        if len(self.tables) == 1:
            return self
        return Bars({side: self.tables[side]}, data_hash=self.data_hash)

    def _place(self, at: int | Time | None) -> int | None:
        """Return the number of the first bar that opens at or after a time; a number is one already."""
        if at is None or isinstance(at, int | np.integer):
            return at
        return int(np.searchsorted(self._opens, as_ns(at)))

    def _title(self) -> str:
        sides = " and ".join(self.prices)
        origin = ", generated" if self.synthetic else ""
        span = f"{utc_text(self._opens[0])} … {utc_text(self._opens[-1])} UTC"
        return f"{len(self):,} {self.timeframe} bars of {self.instrument}, {sides}{origin}, {span}"

    def _repr_html_(self) -> str:
        close = contiguous(self._first.frame["close"])
        label = f"close of {self.instrument} {self.timeframe}"
        picture = html.curve(self._opens, close, label=label, base=float(close[0]))
        return html.card(self._title(), picture, html.frame_html(self.to_polars(), 6))


BarsLike = Bars | BarSet | Path | str
"""What functions take as bars: an object, or the path of a bar file or folder."""


def as_bar_set(bars: BarsLike) -> BarSet:
    """Return the bars of a backtest."""
    if isinstance(bars, BarSet):
        return bars
    return (bars if isinstance(bars, Bars) else read_bars(bars)).bar_set


def as_arrays(bars: BarsLike | BarArrays) -> BarArrays:
    """Return the bid side, or the one price, as arrays."""
    if isinstance(bars, BarArrays):
        return bars
    if isinstance(bars, BarSet):
        return bars.bid
    return (bars if isinstance(bars, Bars) else read_bars(bars)).arrays


def read_bars(path: Path | str, timeframe: str | None = None, *, instrument: str | None = None) -> Bars:
    """Read bars: a folder of ours, one of our files, or a table of open, high, low, close of others.

    Parameters
    ----------
    path : Path or str
        ``data/bars/EURUSD/5m``, a Parquet or CSV file, or a folder above with one series that fits.
    timeframe : str, optional
        Which bars, e.g. ``"5m"`` or ``"range-5"``, where the folder has several.
    instrument : str, optional
        Symbol, which no file may contradict; if absent, what the files say.

    Returns
    -------
    Bars

    Raises
    ------
    DataError
        If nothing or more than one series is found, or a file breaks a rule of bars; names file and row.
    """
    from aiopt.bars.rules import parse_bar_rule

    source = Path(path)
    label = None if timeframe is None else parse_bar_rule(timeframe).label
    tables = read_series(source, label, instrument)
    return Bars(tables, stops=read_stops(source, tables, label, instrument))


@overload
def build_bars(
    ticks: Ticks | Path | str,
    timeframe: str,
    price: Price | None = None,
    *,
    engine: EngineName = "auto",
    session: str | None = None,
    timezone: str = "UTC",
    spread_stats: bool = False,
    fill: Fill = "none",
    out: Path | str | None = None,
    show_progress: bool = True,
) -> Bars: ...


@overload
def build_bars(
    ticks: Ticks | Path | str,
    timeframe: list[str] | tuple[str, ...],
    price: Price | None = None,
    *,
    engine: EngineName = "auto",
    session: str | None = None,
    timezone: str = "UTC",
    spread_stats: bool = False,
    fill: Fill = "none",
    out: Path | str | None = None,
    show_progress: bool = True,
) -> dict[str, Bars]: ...


def build_bars(  # what the command `aiopt bars build` asks, each with a default
    ticks: Ticks | Path | str,
    timeframe: str | list[str] | tuple[str, ...],
    price: Price | None = None,
    *,
    engine: EngineName = "auto",
    session: str | None = None,
    timezone: str = "UTC",
    spread_stats: bool = False,
    fill: Fill = "none",
    out: Path | str | None = None,
    show_progress: bool = True,
) -> Bars | dict[str, Bars]:
    """Build bars from ticks; every engine gives the same bars, bit for bit.

    Parameters
    ----------
    ticks : Ticks, Path or str
        From `read_ticks`, or what it reads.
    timeframe : str, or list or tuple of str
        ``"30s"``, ``"5m"``, ``"1h"``, ``"1d"``; or ``"tick-100"``, ``"volume-1000000"`` (units of the base
        currency), ``"range-5"``, ``"renko-5"`` (pips), which no backtest takes.  Several are built in one
        pass.
    price : {"bid", "ask", "mid"}, optional
        One price, as a chart shows it.  By default bid and ask, as research needs: the spread is then what
        was quoted, and stops fill at the first quote beyond.
    engine : {"auto", "local", "ray"}
        Where: this process, or the Ray cluster (`cluster.connect`).  Auto: the cluster where it is connected.
    session : str, optional
        Bars begin with these days, ``"17:00"``, or lie in this window of each, ``"08:00-17:00"``.
    timezone : str
        Wall clock of `session`, e.g. ``"America/New_York"``.
    spread_stats : bool
        Add mean, largest, last and time-weighted spread of each bar, quote currency.
    fill : {"none", "flat", "linear"}
        Add bars where no tick came while the market was open, marked in the column ``filled``.  Linear ones
        know the future: for pictures only.
    out : Path or str, optional
        Folder that keeps the files, ``OUT/EURUSD/5m/bid.parquet``; none are kept by default.
    show_progress : bool
        Show on stderr how far a long build is.

    Returns
    -------
    Bars
        Or one per time frame, by its label, where several are asked for.

    Raises
    ------
    ConfigError
        If a time frame, price, session or engine is unknown.
    DataError
        If the ticks are not what their manifest says; names file and row.  If `out` holds another side of the
        series that was built from other ticks, or another session or filling.

    Examples
    --------
    >>> import aiopt as ao
    >>> ao.build_bars(ao.sample_ticks(days=1), "1h")
    <Bars: 24 1h bars of EURUSD, bid and ask, generated, 2024-03-04 00:00 … 2024-03-04 23:00 UTC>
    """
    from aiopt.bars.building.build import build
    from aiopt.bars.building.neighbours import check_neighbours
    from aiopt.bars.request import BarRequest
    from aiopt.bars.rules import parse_bar_rule
    from aiopt.market.sessions import parse_session

    if price is not None and price not in PRICES:
        msg = f"The price must be one of {', '.join(PRICES)}, but got {price!r}."
        raise ConfigError(msg + did_you_mean(price, PRICES) + " Leave it out for bid and ask.")
    request = BarRequest(
        tuple(parse_bar_rule(label) for label in _listed(timeframe)),
        ("bid", "ask") if price is None else (price,),
        session=None if session is None else parse_session(session, timezone),
        spread_stats=spread_stats,
        fill=fill,
    )
    found = find_engine(engine)
    source = ticks if isinstance(ticks, Ticks) else read_ticks(ticks, show_progress=show_progress)
    if out is not None:
        check_neighbours(check_folder(Path(out), name="`out`"), source.manifest, request)
    folder = temporary_folder("bars") if out is None else Path(out)
    try:
        with progress("ticks to bars", shown=show_progress) as report:
            if found is None:
                files = build(source.path, folder, request, progress=report).files
            else:
                files = found.build_bars(source.path, folder, request, report).files
        made = {file.timeframe: read_bars(Path(file.path).parent, file.timeframe) for file in files}
    finally:
        if out is None:
            shutil.rmtree(folder, ignore_errors=True)
    return next(iter(made.values())) if isinstance(timeframe, str) else made


def _listed(timeframe: str | list[str] | tuple[str, ...]) -> list[str]:
    return [timeframe] if isinstance(timeframe, str) else list(timeframe)


def _joint_hash(tables: Mapping[str, BarTable]) -> str:
    """Return what identifies the data of all sides, as `BarSet` has it."""
    hashes = [table.meta.data_hash for table in tables.values()]
    return hashes[0] if len(set(hashes)) == 1 else content_hash(hashes)
