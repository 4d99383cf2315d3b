"""Which instrument a file is of: what it says itself, against what it is said to be.

Owns the one rule every reader follows: an instrument is named, by the user or by the file.  Evidence is a
symbol in the name of the file or of a folder, in a column, or in the metadata of a file of ours.  Evidence
that disagrees is refused with what to give.  Where nothing at all says an instrument, importers, which leave
a record of what they took, take `ASSUMED` and say so; readers that leave none refuse.  Knows no format.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument, find_instrument
from aiopt.market.instrument import instrument as look_up
from aiopt.market.symbol_names import mention_pattern, symbols_in
from aiopt.ticks.sources.zipped import open_member

SYMBOL_COLUMNS = frozenset(
    (
        *("symbol", "sym", "symbolname", "symbolid", "instrument", "instrumentid", "instrumentname", "name"),
        *("pair", "currencypair", "ccypair", "ccy", "ticker", "tickerid", "security", "securityid", "asset"),
        *("market", "product", "contract", "epic", "code", "ric", "underlying"),
    )
)
"""Names of columns that name an instrument, in plain lower-case letters and digits."""

ASSUMED = "EURUSD"
"""What an import takes a source for that says nothing, if its prices are plausible for it."""

ASSUMED_NOTE = (
    f"Nothing in the source says its instrument: taken as {ASSUMED}, the product's own. If it is another, "
    "import it again with --instrument SYMBOL."
)

# Columns of which every value must be the instrument, known or not: nothing else is ever meant by them.
_STRICT_COLUMNS = frozenset(
    (
        *("symbol", "sym", "symbolname", "instrument", "instrumentname"),
        *("pair", "currencypair", "ccypair", "ticker"),
    )
)
# What the instruments of the table are called besides their pairs.
_ALIASES = {"XAUUSD": ("GOLD",), "XAGUSD": ("SILVER",), "BTCUSD": ("BITCOIN",), "GBPUSD": ("CABLE",)}
_NEAR_FOLDERS = 3
_SNIFFED_BYTES = 65_536
_SNIFFED_ROWS = 1_000


@dataclass(frozen=True)
class Evidence:
    """One thing that says which instrument a file is of.

    Attributes
    ----------
    symbols : frozenset of str
        What it may mean; several where it can be read in several ways.
    text : str
        What it is, for messages: ``"the file name GBPUSDm_ticks.csv"``.
    file : Path
        The file it is about.
    strong : bool
        An instrument given must agree with it.  A folder far above the file is not: it says what somebody
        works on, not what this file holds.
    row : int or None
        0-based row, where it is a value.
    """

    symbols: frozenset[str]
    text: str
    file: Path
    strong: bool = True
    row: int | None = None


def resolve_or_assume(
    given: str | None, evidence: Sequence[Evidence], file: Path
) -> tuple[Instrument, list[str]]:
    """Return the instrument of a source that is imported, and the note of one that was assumed.

    Parameters
    ----------
    given, evidence, file
        See `resolve`.

    Raises
    ------
    DataError
        As `resolve`, but not where nothing says an instrument.
    """
    if given is None and not evidence:
        return look_up(ASSUMED), [ASSUMED_NOTE]
    return resolve(given, evidence, file), []


def resolve(given: str | None, evidence: Sequence[Evidence], file: Path) -> Instrument:
    """Return the instrument of a source.

    Parameters
    ----------
    given : str, optional
        Symbol that the user named.
    evidence : sequence of Evidence
        What the source says, from `name_evidence`, `text_evidence`, `frame_evidence`.
    file : Path
        The source, for messages.

    Raises
    ------
    DataError
        If the source says another instrument than was given, several, one that is not known, or none and
        none was given; names what says so, and what to give.
    """
    strong = [one for one in evidence if one.strong]
    if given is not None:
        item = look_up(given)
        other = next((one for one in strong if item.symbol not in one.symbols), None)
        if other is None:
            return item
        same = next((one for one in strong if item.symbol in one.symbols), None)
        if same is not None:
            raise _several(same, other)
        raise wrong_instrument(_names(other.symbols), item, other.file, other.row, other.text)
    chosen = strong or list(evidence)
    if not chosen:
        msg = (
            "Neither the name, the folders nor the columns of this source say its instrument. Give "
            "--instrument SYMBOL."
        )
        raise DataError(msg, file=file)
    common = frozenset.intersection(*(one.symbols for one in chosen))
    if not common:
        first = chosen[0]
        other = next((one for one in chosen if not one.symbols & first.symbols), chosen[-1])
        raise _several(first, other)
    if len(common) > 1:
        msg = f"The instrument is not clear: {chosen[0].text} may mean {_names(common)}. "
        raise DataError(msg + "Give --instrument SYMBOL.", file=chosen[0].file)
    symbol = next(iter(common))
    known = find_instrument(symbol)
    if known is None:
        msg = (
            f"In this source {chosen[0].text} says {symbol}, which is not in the table of instruments. "
            "Declare it in a file (--instruments FILE), or give --instrument if it is another."
        )
        raise DataError(msg, file=chosen[0].file, row=chosen[0].row)
    return known


def name_evidence(files: Iterable[Path], root: Path) -> list[Evidence]:
    """Return what the names say: of each file, the nearest name that has a symbol, and every hive folder.

    Parameters
    ----------
    files : iterable of Path
        Of the source.
    root : Path
        What was given; names below it, the file's own and the three folders above it count as strong.
    """
    found: dict[tuple[frozenset[str], str], Evidence] = {}
    folders: dict[Path, list[Evidence]] = {}
    base = root.absolute()
    for file in files:
        whole = file.absolute()
        own = [
            Evidence(symbols, f"the file name {whole.name}", file)
            for symbols in symbols_in(_stem(whole.name))
        ]
        if whole.parent not in folders:
            folders[whole.parent] = _folder_evidence(whole.parent, file, base)
        named = folders[whole.parent]
        # The nearest name speaks; hive folders (symbol=GBPUSD) always do.
        chosen = own + [one for one in named if "=" in one.text] if own else named
        for one in chosen:
            found.setdefault((one.symbols, one.text), one)
    return list(found.values())


def text_evidence(lines: Sequence[str], file: Path, member: str | None = None) -> list[Evidence]:
    """Return what the beginning of a text file says: the name inside an archive, its header, its fields.

    Parameters
    ----------
    lines : sequence of str
        First lines, a header or not.
    file : Path
        For messages.
    member : str, optional
        Name inside an archive.
    """
    found: list[Evidence] = []
    if member is not None:
        found += [Evidence(one, f"the file {member} in the archive", file) for one in symbols_in(member)]
    if not symbols_in("\n".join(lines)):
        return found
    seen: set[frozenset[str]] = set()
    for number, line in enumerate(lines):
        for symbols in symbols_in(line):
            if symbols not in seen:
                seen.add(symbols)
                found.append(Evidence(symbols, f"line {number + 1}", file))
    return found


def frame_evidence(frame: pl.DataFrame, file: Path, metadata: str | None = None) -> list[Evidence]:
    """Return what the columns of a table say: their names, and the values of columns of text.

    Parameters
    ----------
    frame : polars.DataFrame
        Any rows of the file.
    file : Path
        For messages.
    metadata : str, optional
        Symbol that the metadata of a file of ours has.
    """
    found = []
    if metadata is not None:
        found.append(Evidence(frozenset({metadata}), "its metadata", file))
    for name in frame.columns:
        found += [Evidence(one, f"the column name {name!r}", file) for one in symbols_in(name)]
        found += _column_evidence(frame[name], file)
    return found


def path_evidence(files: Sequence[Path], root: Path, *, rows: bool = True) -> list[Evidence]:
    """Return what names, headers and the first rows of files say.

    Parameters
    ----------
    files : sequence of Path
        Of the source.
    root : Path
        What was given.
    rows : bool
        Look at values too.  Not needed where an instrument was given: readers check every row against it.
    """
    found = name_evidence(files, root)
    for file in files:
        if not file.is_file():
            continue
        suffix = file.suffix.lower()
        if suffix in {".csv", ".txt", ".tsv"}:
            with file.open("rb") as stream:
                found += text_evidence(_lines(stream.read(_SNIFFED_BYTES), rows), file)
        elif suffix in {".parquet", ".pq"}:
            found += _parquet_evidence(file, rows)
        elif suffix == ".zip":
            found += _archive_evidence(file, rows)
    return found


def table_instrument(path: Path, given: str | None) -> Instrument:
    """Return the instrument of a Parquet file of others, all of whose rows are looked at.

    Parameters
    ----------
    path : Path
        The file.
    given : str, optional
        Symbol that the user named.

    Raises
    ------
    DataError
        As `resolve` and `check_column`; also if the file is no Parquet.
    """
    try:
        lazy = pl.scan_parquet(path)
        schema = lazy.collect_schema()
        names = [
            name
            for name, kind in schema.items()
            if may_name_instrument(name, is_text=_is_text(pl.Series(name, [], dtype=kind)))
        ]
        texts = lazy.select(names).collect()
    except (pl.exceptions.PolarsError, OSError) as failure:
        msg = f"This file is no readable Parquet: {failure}. Convert it or check the path."
        raise DataError(msg, file=path) from failure
    item = resolve(given, path_evidence([path], path, rows=given is None), path)
    for column in texts:
        check_column(column, item, path, 0)
    return item


def check_column(
    column: pl.Series, instrument: Instrument, file: Path, first_row: int, *, strict: bool | None = None
) -> None:
    """Refuse rows that say they are of another instrument, or of several.

    Columns named as symbols are must say the instrument in every row; other columns of text are judged where
    they mention instruments at all.  Identifiers that are numbers must not differ.

    Parameters
    ----------
    column : polars.Series
        Of any type.
    instrument : Instrument
        What the rows must be of.
    file : Path
        For messages.
    first_row : int
        Row of the first value.
    strict : bool, optional
        Whether every value must name the instrument; by the name of the column if None.

    Raises
    ------
    DataError
        Names the row and the instruments.
    """
    plain = _plain(column.name)
    if strict is None:
        strict = plain in _STRICT_COLUMNS
    if not _is_text(column):
        if (strict or plain in SYMBOL_COLUMNS) and column.dtype.is_integer() and column.n_unique() > 1:
            row = int((column != column[0]).fill_null(True).arg_true()[0])
            msg = f"The column {column.name!r} numbers several instruments; a source holds one. "
            raise DataError(msg + "Split the file by instrument.", file=file, row=first_row + row)
        return
    texts = column.cast(pl.String)
    if not strict and not texts.str.contains(mention_pattern()).any():
        return
    for value in texts.unique(maintain_order=True).to_list():
        mentions = [] if value is None else symbols_in(str(value))
        right = bool(mentions) and all(instrument.symbol in one for one in mentions)
        right = right or str(value).strip().upper() in _ALIASES.get(instrument.symbol, ())
        if right or (not strict and not mentions):
            continue
        row = int((texts.is_null() if value is None else texts == value).arg_true()[0])
        if texts.n_unique() > 1:
            names = ", ".join(str(text) for text in texts.unique(maintain_order=True).to_list()[:4])
            msg = f"The column {column.name!r} says {names}; a source holds one instrument. "
            raise DataError(msg + "Split the file by instrument.", file=file, row=first_row + row)
        what = f"the column {column.name!r}"
        if mentions:
            raise wrong_instrument(_names(mentions[0]), instrument, file, first_row + row, what)
        shown = "nothing" if value is None else repr(value)
        msg = f"In this source {what} says {shown}, not {instrument.symbol}. If that is what it is "
        msg += "called there, leave the column out: --map ts=…,bid=…,ask=…."
        raise DataError(msg, file=file, row=first_row + row)


def may_name_instrument(name: str, *, is_text: bool) -> bool:
    """Return whether `check_column` has a use for a column of a name and type."""
    return is_text or _plain(name) in SYMBOL_COLUMNS


def check_prices(
    prices: Iterable[NDArray[np.float64]], instrument: Instrument, file: Path, *, named: str
) -> None:
    """Refuse prices outside the plausible range of the instrument: they are of another one.

    Parameters
    ----------
    prices : iterable of ndarray
        Shape (n,), quote currency.
    instrument : Instrument
        What the file should be of.
    file : Path
        For messages.
    named : str
        What says so.

    Raises
    ------
    DataError
        Names the first row beyond, its price and the range.
    """
    low, high = instrument.plausible_low, instrument.plausible_high
    for values in prices:
        beyond = (values < low) | (values > high)
        if beyond.any():
            row = int(np.argmax(beyond))
            msg = (
                f"Prices of {instrument.symbol} ({named}) must lie in {low:g} … {high:g}, but got "
                f"{float(values[row])!r}: another instrument or a wrong scale. Give --instrument SYMBOL, or "
                "mend the file."
            )
            raise DataError(msg, file=file, row=row)


def wrong_instrument(
    found: str, instrument: Instrument, file: Path, row: int | None = None, what: str = ""
) -> DataError:
    """Return the error for a source of another instrument than asked for; `what` is what says so."""
    so = f": so says {what}" if what else ""
    msg = f"This file is of {found}, not of {instrument.symbol}{so}. "
    return DataError(msg + f"Give --instrument {found}, or another source.", file=file, row=row)


def _several(first: Evidence, other: Evidence) -> DataError:
    msg = (
        f"Two instruments are named, and a source holds one: {first.text} says {_names(first.symbols)}, "
        f"{other.text} says {_names(other.symbols)}. Split it by instrument, or give the file of one."
    )
    return DataError(msg, file=other.file, row=other.row)


def _folder_evidence(folder: Path, file: Path, root: Path) -> list[Evidence]:
    found: list[Evidence] = []
    nearest = False
    for depth, part in enumerate((folder, *folder.parents)):
        hive = "=" in part.name
        if nearest and not hive:
            continue
        strong = hive or depth < _NEAR_FOLDERS or root in (part, *part.parents)
        mentions = symbols_in(part.name)
        found += [Evidence(one, f"the folder {part.name}", file, strong) for one in mentions]
        nearest = nearest or bool(mentions)
    return found


def _column_evidence(column: pl.Series, file: Path) -> list[Evidence]:
    if not _is_text(column):
        return []
    texts = column.cast(pl.String)
    texts = texts.filter(texts.str.contains(mention_pattern()).fill_null(False))
    found = []
    for value in texts.unique(maintain_order=True).to_list():
        for symbols in symbols_in(value):
            row = int((texts == value).arg_true()[0])
            found.append(Evidence(symbols, f"the column {column.name!r}", file, row=row))
    return found


def _parquet_evidence(file: Path, rows: bool) -> list[Evidence]:
    try:
        head = pl.scan_parquet(file).head(_SNIFFED_ROWS if rows else 0).collect()
    except (pl.exceptions.PolarsError, OSError):
        return []  # its reader says what is wrong with it
    return frame_evidence(head, file, _recorded_symbol(file))


def _recorded_symbol(file: Path) -> str | None:
    """Return the symbol that a bar file of ours states in its metadata."""
    try:
        text = (pq.read_schema(file).metadata or {}).get(b"aiopt")
        found = {} if text is None else msgspec.json.decode(text, type=dict[str, Any])
    except (pa.ArrowException, OSError, msgspec.DecodeError):
        return None
    return found.get("instrument")


def _archive_evidence(file: Path, rows: bool) -> list[Evidence]:
    try:
        with open_member(file) as (member, stream):
            return text_evidence(_lines(stream.read(_SNIFFED_BYTES), rows), file, member)
    except DataError:
        return []  # its reader says what is wrong with it


def _lines(data: bytes, rows: bool) -> list[str]:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return data.decode(encoding, errors="replace").splitlines()[: None if rows else 1]


def _is_text(column: pl.Series) -> bool:
    return column.dtype == pl.String or isinstance(column.dtype, pl.Categorical | pl.Enum)


def _stem(name: str) -> str:
    """Return a file's name without its last suffix, unless that is a broker's (``EURUSD.a``)."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and len(suffix) > 2 else name


def _names(symbols: frozenset[str]) -> str:
    return " or ".join(sorted(symbols))


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
