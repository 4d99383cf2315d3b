"""Export of ticks and bars to a NautilusTrader `ParquetDataCatalog`, read back and compared.

Owns the conversion to Nautilus's quotes and bars.  Streams: memory holds one chunk of `CHUNK_ROWS` ticks or
bars as objects, whatever the size of the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
from nautilus_trader.model.data import Bar, BarSpecification, BarType, QuoteTick
from nautilus_trader.model.enums import AggregationSource, BarAggregation, PriceType
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import FIXED_PRECISION, Currency, Price, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from numpy.typing import NDArray

from aiopt.bars.files import load_bar_set
from aiopt.bars.schema import BarArrays
from aiopt.errors import AioptError, ConfigError, DataError
from aiopt.files import sha256_file
from aiopt.folder_commit import IMPORT, locked, publish, staged
from aiopt.market.instrument import Instrument
from aiopt.market.instrument import instrument as find_instrument
from aiopt.ticks.manifest import is_tick_store, read_manifest
from aiopt.ticks.schema import TICK_COLUMNS
from aiopt.timeframe import Timeframe
from aiopt.utc import DAY_S

CHUNK_ROWS = 131_072
"""Ticks or bars that are objects at one time; one file of the catalog."""

INDEX_NAME = "catalog.json"

Progress = Callable[[int, int], None]
"""Called with the rows done, writing and reading back each counted once, and all of them."""

_UNITS = (
    (DAY_S, BarAggregation.DAY),
    (3_600, BarAggregation.HOUR),
    (60, BarAggregation.MINUTE),
    (1, BarAggregation.SECOND),
)
_PRICE_TYPES = {"bid": PriceType.BID, "ask": PriceType.ASK, "mid": PriceType.MID, "last": PriceType.LAST}
_HALF_TICK = 1
"""More decimals of a mid price: it may lie half a step between two prices."""

_LAST_BITS = 1e-6
"""Of the smallest step: what a mid price may be off by."""


class ExportPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was written of one kind: ``"quote ticks"`` or ``"bars"``, and read back equal."""

    kind: str
    identifier: str
    rows: int
    files: int
    first_ts_ns: int
    last_ts_ns: int


class Export(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A finished export: its parts, and the data hash of its source."""

    out: str
    instrument: str
    data_hash: str
    synthetic: bool
    parts: list[ExportPart]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Rows in order of time; prices as whole multiples of ``10 ** -decimals``, sizes in whole units."""

    ts_ns: NDArray[np.int64]
    prices: tuple[NDArray[np.int64], ...]
    sizes: tuple[NDArray[np.int64], ...]

    def __len__(self) -> int:
        return int(self.ts_ns.size)


@dataclass(frozen=True, slots=True)
class _Series:
    """Something to export: how to read it, and what its objects are."""

    kind: str
    identifier: InstrumentId | BarType
    decimals: int
    rows: int
    chunks: Callable[[], Iterator[_Chunk]]

    def objects(self, chunk: _Chunk) -> list[Any]:
        """Return a chunk as Nautilus's objects."""
        scale = 10.0**self.decimals
        prices = [steps / scale for steps in chunk.prices]
        sizes = [size.astype(np.float64) for size in chunk.sizes]
        stamps = chunk.ts_ns.astype(np.uint64)
        kind: Any = QuoteTick if self.kind == "quote ticks" else Bar
        return list(
            kind.from_raw_arrays_to_list(self.identifier, self.decimals, 0, *prices, *sizes, stamps, stamps)
        )

    def differs(self, chunk: _Chunk, found: Sequence[Any]) -> str:
        """Return how objects read back differ from a chunk; empty if they are equal."""
        if len(found) != len(chunk):
            return f"{len(found)} rows instead of {len(chunk)}"
        quotes = self.kind == "quote ticks"
        names = ("bid_price", "ask_price") if quotes else ("open", "high", "low", "close")
        sizes = ("bid_size", "ask_size") if quotes else ("volume",)
        stamps = np.array([item.ts_event for item in found], dtype=np.int64)
        if not np.array_equal(stamps, chunk.ts_ns):
            return "other stamps"
        price_unit, size_unit = 10 ** (FIXED_PRECISION - self.decimals), 10**FIXED_PRECISION
        for name, expected, unit in (
            *((name, steps, price_unit) for name, steps in zip(names, chunk.prices, strict=True)),
            *((name, size, size_unit) for name, size in zip(sizes, chunk.sizes, strict=True)),
        ):
            for row, (item, value) in enumerate(zip(found, expected.tolist(), strict=True)):
                raw = getattr(item, name).raw
                if raw != value * unit:
                    return f"{name} of row {row} is {raw / unit:g} instead of {value}, in its smallest steps"
        return ""


def export_catalog(
    source: Path,
    out: Path,
    *,
    venue: str = "SIM",
    timeframe: str | None = None,
    symbol: str | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write a tick store or bars as a catalog, read it back and compare every row.

    Parameters
    ----------
    source : Path
        Tick store: quote ticks.  Or what `load_bar_set` reads: bid and ask bars, stamped with their closing
        times; a single file: bars of its price, ``LAST`` where it is no side.
    out : Path
        Absent, empty or an earlier export, which is replaced once the new one is compared.
    venue : str
        Of the instrument, ``EUR/USD.SIM``.
    symbol : str, optional
        Instrument of bars of others that do not say theirs.
    timeframe : str, optional
        Which bars.
    progress : callable, optional
        See `Progress`.

    Raises
    ------
    DataError
        If the source is damaged, a price is finer than the instrument's step or a size no whole number of
        units, or `out` holds something else.
    AioptError
        If what NautilusTrader reads back is not what was written; `out` is then as before.
    StorageError
        If the disk is full or `out` cannot be written.
    """
    source, out = Path(source), Path(out)
    if not venue.isalnum() or not venue.isupper():
        raise ConfigError(f"A venue must be upper-case letters and digits, but got {venue!r}. E.g. SIM.")
    if source.is_dir() and is_tick_store(source):
        market, data_hash, synthetic, series = _tick_series(source, venue)
    else:
        market, data_hash, synthetic, series = _bar_series(source, timeframe, symbol, venue)
    total = 2 * sum(item.rows for item in series)
    done = 0

    def report(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, total)

    with ExitStack() as held:
        held.enter_context(locked(out))
        _check_output(out)
        staging = held.enter_context(staged(out, IMPORT))
        catalog = ParquetDataCatalog(str(staging.absolute()))
        decimals = max(item.decimals for item in series)
        catalog.write_data([_currency_pair(market, venue, decimals)])
        parts = [_write(catalog, item, report) for item in series]
        for item in series:
            _compare(catalog, item, report, source)
        result = Export(
            out=str(out), instrument=market.symbol, data_hash=data_hash, synthetic=synthetic, parts=parts
        )
        _write_index(staging, result, str(source))
        old = [path for path in out.rglob("*") if path.is_file() and staging not in path.parents]
        names = [path.relative_to(out).as_posix() for path in old]
        publish(out, staging, remove=names, last=INDEX_NAME)
    return result


# --- sources ----------------------------------------------------------------------------------------------


def _tick_series(source: Path, venue: str) -> tuple[Instrument, str, bool, list[_Series]]:
    manifest = read_manifest(source)
    market = find_instrument(manifest.instrument)
    parts = manifest.partitions

    def chunks() -> Iterator[_Chunk]:
        for part in parts:
            path = source / part.path
            if sha256_file(path) != part.sha256:
                msg = "A day must be the one imported, but its SHA-256 differs from the manifest."
                raise DataError(f"{msg} Look: `aiopt data verify`; import again.", file=path)
            rest: dict[str, NDArray[Any]] = {}
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(CHUNK_ROWS, columns=list(TICK_COLUMNS), use_threads=False):
                    if rest:
                        # Files of a catalog must not touch: ticks of one stamp stay together.
                        stamps = rest["ts_event_ns"]
                        cut = int(np.searchsorted(stamps, stamps[-1], side="left"))
                        if cut:
                            yield _quotes({name: rest[name][:cut] for name in rest}, market, path)
                        rest = {name: rest[name][cut:] for name in rest}
                    new = {name: batch.column(name).to_numpy() for name in TICK_COLUMNS}
                    rest = {name: np.concatenate((rest[name], new[name])) for name in new} if rest else new
            if rest:
                yield _quotes(rest, market, path)

    identifier = _instrument_id(market, venue)
    series = _Series("quote ticks", identifier, market.price_precision, manifest.rows, chunks)
    return market, manifest.data_hash, manifest.synthetic, [series]


def _quotes(columns: dict[str, NDArray[Any]], market: Instrument, path: Path) -> _Chunk:
    return _Chunk(
        columns["ts_event_ns"],
        tuple(_steps(columns[name], market.price_precision, name, path) for name in ("bid", "ask")),
        tuple(_whole(columns[name], name, path) for name in ("bid_size", "ask_size")),
    )


def _bar_series(
    source: Path, timeframe: str | None, symbol: str | None, venue: str
) -> tuple[Instrument, str, bool, list[_Series]]:
    bars = load_bar_set(source, timeframe=timeframe, symbol=symbol)
    sides = [bars.bid] if bars.single_price else [bars.bid, bars.ask]
    series = [_one_side(side, bars.timeframe, bars.instrument, venue, source) for side in sides]
    return bars.instrument, bars.data_hash, bars.synthetic, series


def _one_side(side: BarArrays, timeframe: Timeframe, market: Instrument, venue: str, source: Path) -> _Series:
    exact = side.price in {"bid", "ask"}
    decimals = market.price_precision + (0 if exact else _HALF_TICK)

    def chunks() -> Iterator[_Chunk]:
        for start in range(0, len(side), CHUNK_ROWS):
            part = side.slice(start, start + CHUNK_ROWS)
            names = ("open", "high", "low", "close")
            yield _Chunk(
                part.ts_open_ns + timeframe.ns,
                tuple(_steps(getattr(part, name), decimals, name, source, exact=exact) for name in names),
                (_whole(part.volume, "volume", source),),
            )

    return _Series("bars", _bar_type(market, timeframe, side.price, venue), decimals, len(side), chunks)


def _steps(
    values: NDArray[np.float64], decimals: int, name: str, path: Path, *, exact: bool = True
) -> NDArray[np.int64]:
    """Return prices as whole steps; dividing them again gives the same doubles.

    Without `exact` the last bits may differ: the mean of two doubles is not always the double nearest to the
    mean of their decimals.
    """
    scale = 10.0**decimals
    steps = np.rint(values * scale)
    off = steps / scale != values if exact else np.abs(values * scale - steps) > _LAST_BITS
    if off.any():
        row = int(np.argmax(off))
        msg = f"A price must have at most {decimals} decimals to be exported exactly, but {name} is "
        raise DataError(f"{msg}{float(values[row])!r}. Import with the rule off_grid.", file=path)
    return np.asarray(steps.astype(np.int64))


def _whole(values: NDArray[np.float64], name: str, path: Path) -> NDArray[np.int64]:
    whole = np.rint(values)
    if (whole != values).any():
        row = int(np.argmax(whole != values))
        msg = f"A size must be a whole number of units to be exported exactly, but {name} is "
        raise DataError(f"{msg}{float(values[row])!r}.", file=path)
    return np.asarray(whole.astype(np.int64))


# --- the catalog ------------------------------------------------------------------------------------------


def _write(catalog: ParquetDataCatalog, series: _Series, report: Callable[[int], None]) -> ExportPart:
    rows = files = 0
    first = last = 0
    for chunk in series.chunks():
        # Disjoint by construction; Nautilus's own check lists the whole folder at each file.
        catalog.write_data(series.objects(chunk), skip_disjoint_check=True)
        first = first if files else int(chunk.ts_ns[0])
        last = int(chunk.ts_ns[-1])
        rows += len(chunk)
        files += 1
        report(len(chunk))
    return ExportPart(
        kind=series.kind,
        identifier=str(series.identifier),
        rows=rows,
        files=files,
        first_ts_ns=first,
        last_ts_ns=last,
    )


def _compare(
    catalog: ParquetDataCatalog, series: _Series, report: Callable[[int], None], source: Path
) -> None:
    """Read the source again and the catalog beside it, chunk by chunk."""
    kind: Any = QuoteTick if series.kind == "quote ticks" else Bar
    for chunk in series.chunks():
        found = catalog.query(
            kind,
            identifiers=[str(series.identifier)],
            start=int(chunk.ts_ns[0]),
            end=int(chunk.ts_ns[-1]),
        )
        difference = series.differs(chunk, found)
        if difference:
            msg = f"What NautilusTrader reads back must be what was written, but has {difference}"
            raise AioptError(f"{source}: {msg}. Nothing was exported.")
        report(len(chunk))


def _write_index(staging: Path, result: Export, source: str) -> None:
    files = sorted(path for path in staging.rglob("*.parquet"))
    document = {
        "schema_version": 1,
        "kind": "nautilus",
        "instrument": result.instrument,
        "source": source,
        "rows": sum(part.rows for part in result.parts),
        "first_ts_ns": min(part.first_ts_ns for part in result.parts),
        "last_ts_ns": max(part.last_ts_ns for part in result.parts),
        "content_sha256": result.data_hash,
        "provenance": "synthetic" if result.synthetic else "market",
        "files": [
            {
                "path": path.relative_to(staging).as_posix(),
                "rows": pq.read_metadata(path).num_rows,
                "sha256": sha256_file(path),
            }
            for path in files
        ],
    }
    (staging / INDEX_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def _instrument_id(market: Instrument, venue: str) -> InstrumentId:
    return InstrumentId(Symbol(f"{market.base}/{market.quote}"), Venue(venue))


def _currency_pair(market: Instrument, venue: str, decimals: int) -> CurrencyPair:
    return CurrencyPair(
        instrument_id=_instrument_id(market, venue),
        raw_symbol=Symbol(market.symbol),
        base_currency=Currency.from_str(market.base),
        quote_currency=Currency.from_str(market.quote),
        price_precision=decimals,
        size_precision=0,
        price_increment=Price(10.0**-decimals, decimals),
        size_increment=Quantity(1, 0),
        ts_event=0,
        ts_init=0,
    )


def _bar_type(market: Instrument, timeframe: Timeframe, price: str, venue: str) -> BarType:
    length, unit = next((length, unit) for length, unit in _UNITS if timeframe.seconds % length == 0)
    try:
        specification = BarSpecification(timeframe.seconds // length, unit, _PRICE_TYPES[price])
    except ValueError as failure:
        msg = f"The bars must be of a length NautilusTrader knows, but are of {timeframe.label}: {failure}."
        raise DataError(f"{msg} Export the ticks, or bars of another length.") from failure
    return BarType(_instrument_id(market, venue), specification, AggregationSource.EXTERNAL)


def _check_output(out: Path) -> None:
    for path in sorted(out.iterdir()):
        if not (path.name in {INDEX_NAME, "data"} or path.name.startswith(IMPORT)):
            msg = f"The output folder holds {path.name}, which no export wrote."
            raise DataError(f"{msg} Choose another folder.", file=out)
    if (out / "data").exists() and not (out / INDEX_NAME).exists():
        msg = "The output folder holds a catalog of something else."
        raise DataError(f"{msg} Choose another folder.", file=out)
