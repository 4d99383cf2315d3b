"""TradingView's own export of a strategy's "List of trades" as CSV, read without guessing.

The site has written three layouts: ``Trade #,Type,Signal,Date/Time,Price,Contracts,Profit``; then
``Trade #,Type,Date and time,Signal,Price USD,Position size (qty),Net P&L USD``; now
``Trade number,Type,Date and time,Signal,Price USD,Size (qty),Net PnL USD``.  In all of them a trade has two
rows, the exit mostly above the entry, and an open trade has an exit row without time or price.  Times are of
the chart's time zone, which the file does not name.

Owns the layouts.  Knows nothing of what the trades are compared with.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aiopt.errors import ConfigError, DataError

MAX_BYTES = 64 * 2**20

_NUMBER = ("trade number", "trade #")
_TYPE = ("type",)
_TIME = ("date and time", "date/time", "date & time")
_SIGNAL = ("signal",)
_PRICE = ("price",)
_SIZE = ("size (qty)", "position size (qty)", "quantity", "contracts", "qty", "size")
_KIND = re.compile(r"^(entry|exit)\s+(long|short)$")
_CURRENCY = re.compile(r"^(?P<name>.+?)\s+(?P<unit>[a-z]{3,5}|[$€£¥])$")
_ISO = re.compile(r"^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}))?)?(Z|[+-]\d{2}:?\d{2})?$")
_WHOLE = re.compile(r"^[0-9]{1,9}$")
_GROUPED = re.compile(r"^\d{1,3}(?:[ \u00a0\u202f,]\d{3})+(?:\.\d+)?$")


@dataclass(frozen=True)
class ListedTrade:
    """A trade as TradingView lists it.

    Attributes
    ----------
    number : int
        As in the file.
    side : str
        ``"long"`` or ``"short"``.
    entry_ts_ns, exit_ts_ns : int
        Opening time of the bars of its fills, UTC; the exit None while it is open.
    entry_price, exit_price : float
        Quote currency.
    size : float or None
        Contracts; None where the file does not say.
    entry_signal, exit_signal : str
        Names or comments of the orders.
    row : int
        Line of its entry in the file, from 1.
    """

    number: int
    side: str
    entry_ts_ns: int
    entry_price: float
    exit_ts_ns: int | None
    exit_price: float | None
    size: float | None
    entry_signal: str
    exit_signal: str
    row: int


@dataclass(frozen=True)
class TradeList:
    """An export.

    Attributes
    ----------
    trades : list of ListedTrade
        In the order of their numbers.
    currency : str or None
        That the heading of the price names, e.g. ``"USD"``.
    """

    trades: list[ListedTrade]
    currency: str | None


@dataclass(frozen=True)
class _Row:
    line: int
    kind: str
    side: str
    cells: Mapping[str, str]


def read_trade_list(path: Path, timezone: str | None) -> TradeList:
    """Read an export.

    Parameters
    ----------
    path : Path
        CSV file.
    timezone : str or None
        Of the chart, e.g. ``"UTC"`` or ``"Europe/Berlin"``; needed where the times name none.

    Raises
    ------
    DataError
        If the file is no list of trades, or a row breaks a rule; names the row.
    ConfigError
        If the time zone is needed and not given, or unknown.
    """
    text = _text_of(path)
    rows = _rows(text, path)
    if not any(any(row) for row in rows):
        raise DataError("The file is empty. Export the list of trades again.", file=path)
    columns, currency = _columns(rows[0], path)
    clock = _Clock(timezone, path)
    grouped: dict[int, list[_Row]] = {}
    for line, cells in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) < len(rows[0]):
            msg = f"The row has {len(cells)} cells for {len(rows[0])} columns. It was cut off; export again."
            raise DataError(msg, file=path, row=line)
        named = {name: cells[place].strip() for name, place in columns.items()}
        kind = _KIND.match(named["type"].lower())
        if kind is None:
            msg = f"The type must be e.g. Entry long or Exit short, but is {named['type']!r}."
            raise DataError(
                f"{msg} Set TradingView's language to English and export again.", file=path, row=line
            )
        number = _whole(named["number"], path, line)
        grouped.setdefault(number, []).append(_Row(line, kind[1], kind[2], named))
    if not grouped:
        raise DataError("The list has no trades. Check the dates of the chart.", file=path)
    trades = [_trade(number, found, clock, path) for number, found in sorted(grouped.items())]
    return TradeList(trades, currency)


def _text_of(path: Path) -> str:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder. Give the CSV of the list of trades.")
    if not path.is_file():
        raise ConfigError(f"There is no file {path}. Check the path.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DataError(
            f"The file has {size:,} bytes, and a list of trades has at most {MAX_BYTES:,}.", file=path
        )
    content = path.read_bytes()
    if content.startswith((b"PK", b"\xd0\xcf")):
        raise DataError("The file is a workbook. Export the list of trades as CSV.", file=path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"The file is not UTF-8 text ({error.reason}). Give the CSV as TradingView wrote it."
        raise DataError(msg, file=path) from error


def _rows(text: str, path: Path) -> list[list[str]]:
    reader = csv.reader(
        io.StringIO(text.replace("\r\n", "\n").replace("\r", "\n")), delimiter=_delimiter(text)
    )
    rows: list[list[str]] = []
    try:
        rows.extend(reader)
    except csv.Error as error:
        msg = f"The row is no row of a CSV ({error}). Export the list of trades again."
        raise DataError(msg, file=path, row=len(rows) + 1) from error
    return rows


def _delimiter(text: str) -> str:
    head = text.split("\n", 1)[0]
    return max(",;\t", key=head.count)


def _columns(header: Sequence[str], path: Path) -> tuple[dict[str, int], str | None]:
    """Return the place of each column by our name, and the currency that the price's heading names."""
    plain: dict[str, int] = {}
    units: dict[str, str] = {}
    for place, heading in enumerate(header):
        name = " ".join(heading.strip().lower().split())
        unit = _CURRENCY.match(name)
        plain.setdefault(name, place)
        if unit is not None and unit["name"] in _PRICE:
            plain.setdefault(unit["name"], place)
            units[unit["name"]] = unit["unit"].upper()
    found = {}
    for ours, names in (
        ("number", _NUMBER),
        ("type", _TYPE),
        ("time", _TIME),
        ("price", _PRICE),
        ("signal", _SIGNAL),
        ("size", _SIZE),
    ):
        at = [plain[name] for name in names if name in plain]
        if at:
            found[ours] = at[0]
        elif ours not in {"signal", "size"}:
            msg = (
                f"The file has no column {names[0]!r} (its columns: {', '.join(header)[:300]}). Give the CSV "
                'of TradingView\'s "List of trades", exported with the site in English.'
            )
            raise DataError(msg, file=path)
    return found, units.get("price")


def _trade(number: int, rows: Sequence[_Row], clock: _Clock, path: Path) -> ListedTrade:
    entries = [row for row in rows if row.kind == "entry"]
    exits = [row for row in rows if row.kind == "exit"]
    if len(entries) != 1 or len(exits) > 1 or len({row.side for row in rows}) > 1:
        what = ", ".join(f"{row.kind} {row.side}" for row in rows)
        msg = f"Trade {number} must have one entry and at most one exit of one side, but has: {what}."
        raise DataError(f"{msg} Export the list again.", file=path, row=rows[0].line)
    (entry,) = entries
    last = (
        exits[0] if exits and exits[0].cells["price"] and exits[0].cells["time"].lower() != "open" else None
    )
    if last is not None and last.cells.get("signal", "").lower() == "open":
        # The mark of a position that is held, not a fill.
        last = None
    return ListedTrade(
        number=number,
        side=entry.side,
        entry_ts_ns=clock.read(entry.cells["time"], entry.line),
        entry_price=_price(entry.cells["price"], path, entry.line),
        exit_ts_ns=None if last is None else clock.read(last.cells["time"], last.line),
        exit_price=None if last is None else _price(last.cells["price"], path, last.line),
        size=_price(entry.cells["size"], path, entry.line) if entry.cells.get("size") else None,
        entry_signal=entry.cells.get("signal", ""),
        exit_signal="" if last is None else last.cells.get("signal", ""),
        row=entry.line,
    )


class _Clock:
    """Reads times of one zone."""

    def __init__(self, timezone: str | None, path: Path) -> None:
        self._path = path
        self._zone: dt.tzinfo | None = None
        if timezone is not None:
            try:
                self._zone = ZoneInfo(timezone)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                msg = f"There is no time zone {timezone!r}. Write it as in the IANA list, e.g. Europe/Berlin."
                raise ConfigError(msg) from error

    def read(self, text: str, line: int) -> int:
        found = _ISO.match(text)
        if found is None:
            msg = f"The time must be like 2024-03-01 09:30, but is {text!r}. Export again in English."
            raise DataError(msg, file=self._path, row=line)
        year, month, day, hour, minute, second, offset = found.groups()
        try:
            naive = dt.datetime(
                int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)
            )
        except ValueError as error:
            raise DataError(f"There is no time {text!r} ({error}).", file=self._path, row=line) from error
        if offset is not None:
            aware = dt.datetime.fromisoformat(f"{naive.isoformat()}{offset}")
        elif self._zone is None:
            msg = (
                "The times of the export are those of the chart, and the file does not say in which "
                "time zone it was. Give it with --timezone (the chart shows it at its bottom right), e.g. "
                "--timezone UTC."
            )
            raise ConfigError(msg)
        else:
            aware = naive.replace(tzinfo=self._zone)
            if aware.utcoffset() != aware.replace(fold=1).utcoffset():
                msg = (
                    f"The clock of {self._zone} is moved at {text!r}, so this time comes twice or never. Set "
                    "the chart's time zone to UTC and export again."
                )
                raise DataError(msg, file=self._path, row=line)
        return round(aware.timestamp()) * 1_000_000_000


def _whole(text: str, path: Path, line: int) -> int:
    if not _WHOLE.match(text):
        msg = f"The trade's number must be whole, but is {text!r}. Export the list again."
        raise DataError(msg, file=path, row=line)
    return int(text)


def _price(text: str, path: Path, line: int) -> float:
    """Read a number with a decimal point, or with a decimal comma where nothing else can be meant."""
    plain = text.replace("\u2212", "-")
    if _GROUPED.match(plain):
        if plain.count(",") == 1 and "." not in plain and " " not in plain:
            msg = f"{text!r} can be read as thousands or as decimals. Export the list with a decimal point."
            raise DataError(msg, file=path, row=line)
        plain = re.sub(r"[ \u00a0\u202f,]", "", plain)
    elif "," in plain and "." not in plain:
        plain = plain.replace(",", ".")
    try:
        value = float(plain)
    except ValueError as error:
        msg = f"A number was expected, but there is {text!r}. Export the list again."
        raise DataError(msg, file=path, row=line) from error
    if not 0 < value < math.inf:
        msg = f"A price or size must be a positive number, but is {text!r}. Export the list again."
        raise DataError(msg, file=path, row=line)
    return value
