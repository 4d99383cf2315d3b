"""Measuring stop slippage on a tick store, and finding one of an instrument.

Owns the way from ticks to `aiopt.bars.stops.stop_slippage.StopSlippage`.  Knows nothing of strategies.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from aiopt.bars.building.shard_jobs import run_in_order
from aiopt.bars.reducing.partial_bars import merge_partials
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import TimeRule
from aiopt.bars.spread_model import SpreadModel
from aiopt.bars.stops.stop_files import StopMeta, StopTable
from aiopt.bars.stops.stop_ladders import make_ladder
from aiopt.bars.stops.stop_slippage import StopSlippage, measure_slippage
from aiopt.errors import DataError
from aiopt.market.instrument import instrument
from aiopt.ticks.manifest import is_tick_store, read_manifest
from aiopt.ticks.places import DEFAULT_TICKS
from aiopt.ticks.shards import plan_shards
from aiopt.timeframe import Timeframe, parse_timeframe

DEFAULT_TIMEFRAME = "1m"
"""Bars on which stops are measured; the figure hardly depends on it."""


def measure_store(
    ticks_dir: Path,
    timeframe: Timeframe | str = DEFAULT_TIMEFRAME,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> StopSlippage:
    """Return by how much the ticks of a store fill stops beyond their price.

    Parameters
    ----------
    ticks_dir : Path
        Tick store.
    timeframe : Timeframe or str
        Bars whose stops are measured.
    progress : callable, optional
        Called with ticks done and all ticks.

    Raises
    ------
    ManifestError
        If the store is not what its manifest says.
    DataError
        If its prices are off the instrument's grid, or none moves.
    """
    length = parse_timeframe(timeframe) if isinstance(timeframe, str) else timeframe
    manifest = read_manifest(Path(ticks_dir))
    request = BarRequest((TimeRule(length),), ("bid", "ask"))
    done = 0

    def report(ticks: int) -> None:
        nonlocal done
        done += ticks
        if progress is not None:
            progress(done, manifest.rows)

    found = run_in_order(plan_shards(Path(ticks_dir), manifest), request, report)
    merged = merge_partials([batch for part in found for batch in part.rows[0]], length)
    scale = instrument(manifest.instrument).price_scale
    ladder = make_ladder(merged, scale)
    if ladder is None:
        msg = f"Prices must be whole price steps of {manifest.instrument} to measure stops, but one is not."
        raise DataError(msg + " Import the ticks again.", file=Path(ticks_dir))
    meta = StopMeta(
        instrument=manifest.instrument,
        timeframe=length.label,
        data_hash=manifest.data_hash,
        synthetic=manifest.synthetic,
        session="",
        price_scale=scale,
    )
    return measure_slippage(StopTable(merged["ts_open_ns"], ladder, meta))


def with_stops(
    model: SpreadModel, ticks_dir: Path, *, progress: Callable[[int, int], None] | None = None
) -> SpreadModel:
    """Return a spread model with the stops of its ticks measured.

    Ticks that never move, or lie off the grid, have a spread but no stops: the model is returned as it was.
    """
    try:
        stops = measure_store(ticks_dir, progress=progress)
    except DataError:
        return model
    return msgspec.structs.replace(model, stops=stops)


def find_tick_store(symbol: str, root: Path) -> Path | None:
    """Return the store of traded ticks of an instrument, ``data/ticks/SYMBOL``; None if there is none.

    Generated ticks are no market and are not found; name their store to measure on them.

    Parameters
    ----------
    symbol : str
        Instrument.
    root : Path
        Working directory.
    """
    folder = root / DEFAULT_TICKS / symbol
    if not is_tick_store(folder):
        return None
    manifest = read_manifest(folder)
    return folder if manifest.instrument == symbol and not manifest.synthetic else None
