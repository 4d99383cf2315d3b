"""From a tick store to files of time bars: reducing one shard, merging shards in order, writing the bars.

Shards (`aiopt.market.tick_shards`) are reduced anywhere in any order.  Owns what is asked for and what was
done; knows nothing of Ray, which may run `reduce_shard` elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from aiopt.errors import ConfigError, ManifestError
from aiopt.market.bars import BarMeta, Empty, bar_path, check_empty, check_price, write_bars
from aiopt.market.manifest import Manifest, read_manifest
from aiopt.market.partial_bars import (
    Columns,
    TickReducer,
    base_timeframe,
    empty_partial,
    finish_bars,
    merge_partials,
    tick_columns,
)
from aiopt.market.tick_shards import ROWS_PER_SHARD, Shard, map_ticks, plan_shards
from aiopt.timeframe import Timeframe

Progress = Callable[[int, int], None]
"""Called with the number of ticks done and the number of all ticks."""


class BarFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bar file that was written."""

    path: str
    instrument: str
    timeframe: str
    price: str
    bars: int
    first_ts_open_ns: int
    last_ts_open_ns: int


class BarBuild(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a build did: the files and how fast they came to be.

    Attributes
    ----------
    files : list of BarFile
        Ordered by instrument, timeframe, price.
    ticks : int
        Ticks read; equals the manifest's.
    shards : int
        Units of work.
    engine : str
        ``"local"`` or ``"ray"``.
    elapsed_s, ticks_per_s : float
        Wall time from planning to the last file, and its rate.
    data_hash : str
        Of the tick store.
    synthetic : bool
        True if the ticks were generated.
    """

    files: list[BarFile]
    ticks: int
    shards: int
    engine: str
    elapsed_s: float
    ticks_per_s: float
    data_hash: str
    synthetic: bool


@dataclass(frozen=True, slots=True)
class BarRequest:
    """Which bars to build.

    Attributes
    ----------
    timeframes : tuple of Timeframe
        At least one; repeated ones count once.
    prices : tuple of str
        Among `PRICES`; at least one; repeated ones count once.
    empty : {"omit", "flat"}
        What happens to bars without ticks.
    """

    timeframes: tuple[Timeframe, ...]
    prices: tuple[str, ...]
    empty: Empty = "omit"

    def __post_init__(self) -> None:
        for name, values in (("timeframe", self.timeframes), ("price", self.prices)):
            if not values:
                raise ConfigError(f"Bars need at least one {name}, but got none. Name one, e.g. 1m or bid.")
            object.__setattr__(self, f"{name}s", tuple(dict.fromkeys(values)))
        for price in self.prices:
            check_price(price)
        check_empty(self.empty)

    @property
    def base(self) -> Timeframe:
        """Length of the partial bars."""
        return base_timeframe(self.timeframes)


def reduce_shard(shard: Shard, base: Timeframe, prices: Sequence[str]) -> Columns:
    """Read the ticks of a shard, one row group at a time, and return their partial bars.

    Parameters
    ----------
    shard : Shard
        From `plan_shards`.
    base : Timeframe
        Length of the smallest bars.
    prices : sequence of str
        Sides.

    Returns
    -------
    dict of str to ndarray
        See `aiopt.market.partial_bars.TickReducer.reduce`.

    Raises
    ------
    ManifestError
        If a file is missing, unreadable, or not what the manifest says; names the file.
    DataError
        If ticks are out of order or not finite; names the file and row.
    """
    reducer = TickReducer(base, prices)
    parts = list(map_ticks(shard, tick_columns(prices), reducer.reduce))
    return merge_partials(parts, base) if parts else empty_partial(prices)


def write_bar_files(
    partials: Mapping[str, Sequence[Mapping[str, NDArray[Any]]]],
    request: BarRequest,
    out_dir: Path,
    manifest: Manifest,
) -> list[BarFile]:
    """Merge the partial bars of each instrument and write one file per timeframe and price.

    Parameters
    ----------
    partials : mapping of str to sequence of partial bars
        Instrument to the parts of its shards, in the order of the shards.
    request : BarRequest
        What to write.
    out_dir : Path
        See `aiopt.market.bars.bar_path`.
    manifest : Manifest
        Of the ticks: provenance, and the number of ticks the bars must hold.

    Raises
    ------
    ManifestError
        If the bars do not hold every tick of the manifest exactly once.
    """
    merged = {symbol: merge_partials(parts, request.base) for symbol, parts in sorted(partials.items())}
    counted = sum(int(partial["ticks"].sum()) for partial in merged.values())
    expected = sum(partition.rows for partition in manifest.partitions)
    if counted != expected:
        msg = f"Bars must hold every tick of the manifest once, but hold {counted} of {expected}."
        raise ManifestError(msg + " Import the ticks again.")
    files = []
    for symbol, partial in merged.items():
        for timeframe in sorted(request.timeframes):
            for price in request.prices:
                bars = finish_bars(partial, price, timeframe, request.empty)
                meta = BarMeta(
                    instrument=symbol,
                    timeframe=timeframe.label,
                    price=price,
                    data_hash=manifest.data_hash,
                    synthetic=manifest.synthetic,
                    source=manifest.source,
                )
                path = bar_path(out_dir, symbol, timeframe, price)
                write_bars(path, bars, meta)
                files.append(
                    BarFile(
                        path=str(path),
                        instrument=symbol,
                        timeframe=timeframe.label,
                        price=price,
                        bars=bars.height,
                        first_ts_open_ns=bars["ts_open_ns"][0],
                        last_ts_open_ns=bars["ts_open_ns"][-1],
                    )
                )
    return files


def build_bars_locally(
    ticks_dir: Path,
    out_dir: Path,
    request: BarRequest,
    *,
    progress: Progress | None = None,
    rows_per_shard: int = ROWS_PER_SHARD,
    verify: bool = True,
) -> BarBuild:
    """Build bar files from a tick store in this process, one shard after the other.

    Parameters
    ----------
    ticks_dir : Path
        Tick store.
    out_dir : Path
        Folder of the bar files.
    request : BarRequest
        Which bars.
    progress : callable, optional
        See `Progress`.
    rows_per_shard : int
        Step of the progress; the bars do not depend on it.
    verify : bool
        See `plan_shards`.

    Returns
    -------
    BarBuild

    Raises
    ------
    DataError
        If the store is not what its manifest says.
    """
    started = time.perf_counter()
    manifest = read_manifest(Path(ticks_dir))
    shards = plan_shards(ticks_dir, manifest, rows_per_shard, verify=verify)
    total = sum(shard.rows for shard in shards)
    partials: dict[str, list[Columns]] = {}
    done = 0
    for shard in shards:
        partials.setdefault(shard.instrument, []).append(reduce_shard(shard, request.base, request.prices))
        done += shard.rows
        if progress is not None:
            progress(done, total)
    files = write_bar_files(partials, request, out_dir, manifest)
    elapsed_s = time.perf_counter() - started
    return summarise(files, manifest, total, len(shards), "local", elapsed_s)


def summarise(
    files: list[BarFile], manifest: Manifest, ticks: int, shards: int, engine: str, elapsed_s: float
) -> BarBuild:
    """Return the `BarBuild` of a finished build."""
    return BarBuild(
        files=files,
        ticks=ticks,
        shards=shards,
        engine=engine,
        elapsed_s=elapsed_s,
        ticks_per_s=ticks / elapsed_s,
        data_hash=manifest.data_hash,
        synthetic=manifest.synthetic,
    )
