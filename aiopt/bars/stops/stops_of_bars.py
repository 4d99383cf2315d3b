"""What a run on bars knows of its stops: the ladder of its bars' own ticks, or a mean measured on others.

Owns where that is looked for and how it follows the bars into longer ones.  Knows nothing of runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.bars.files import load_bar_set
from aiopt.bars.reducing.partial_bars import merge_partials
from aiopt.bars.spread_model import SpreadConfig, read_spread_model
from aiopt.bars.stops.stop_files import STOPS_NAME, StopMeta, StopTable, read_stop_table, write_stop_table
from aiopt.bars.stops.stop_ladders import RECORD_SIDES, make_ladder
from aiopt.bars.stops.stop_slippage import StopSlippage, measure_slippage, write_stop_slippage
from aiopt.config import content_hash
from aiopt.errors import DataError
from aiopt.timeframe import Timeframe


def stops_of_sources(
    sources: Sequence[Path], ts_open_ns: NDArray[np.int64], spread: SpreadConfig
) -> StopTable | StopSlippage | None:
    """Return what is known of the stops of bars that were put together.

    Parameters
    ----------
    sources : sequence of Path
        What the bars were read from, each a file or the folder of one series.
    ts_open_ns : ndarray of int64, shape (n_bars,)
        Opening times of the bars.
    spread : SpreadConfig
        Of the bars; the file of a spread model may hold a measure of stops.

    Returns
    -------
    StopTable or StopSlippage or None
        The ladder of the one folder of our own that bid and ask come from; of several
        folders, or one side, the measure with the most stops; the measure of the spread model; None if no
        tick is known.

    Raises
    ------
    DataError
        If a ladder is damaged or not of the bars beside it.
    """
    places = sorted({path if path.is_dir() else path.parent for path in sources})
    folders = [place for place in places if (place / STOPS_NAME).is_file()]
    both = sources[0] == places[0] or {path.stem for path in sources} == set(RECORD_SIDES)
    if folders and len(places) == 1 and both:
        load_bar_set(folders[0])  # proves that ladder and bars belong together
        table = read_stop_table(folders[0] / STOPS_NAME)
        return _selected(table, ts_open_ns)
    if folders:
        measures = [measure_slippage(read_stop_table(folder / STOPS_NAME)) for folder in folders]
        return max(measures, key=lambda one: one.n)
    return read_spread_model(Path(spread.file)).stops if spread.file is not None else None


def _selected(table: StopTable, ts_open_ns: NDArray[np.int64]) -> StopTable:
    """Return the rows of a table whose bars are among those given."""
    kept = np.isin(table.ts_open_ns, ts_open_ns)
    if kept.all():
        return table
    columns = records_of(table)
    for side in RECORD_SIDES:
        counts = columns[f"record_{side}_count"]
        columns[f"record_{side}_price"] = columns[f"record_{side}_price"][np.repeat(kept, counts)]
        columns[f"record_{side}_count"] = counts[kept]
    ladder = make_ladder(columns, table.ladder.price_scale)
    assert ladder is not None  # its prices came from whole steps
    return StopTable(table.ts_open_ns[kept], ladder, table.meta)


def records_of(table: StopTable) -> dict[str, NDArray[Any]]:
    """Return a table as columns of partial bars, see `aiopt.bars.stops.stop_ladders.RECORD_COLUMNS`."""
    ladder = table.ladder
    columns: dict[str, NDArray[Any]] = {}
    for side in RECORD_SIDES:
        columns[f"record_{side}_count"] = np.diff(getattr(ladder, f"{side}_offsets"))
        columns[f"record_{side}_price"] = getattr(ladder, f"{side}_steps") / ladder.price_scale
    return columns


def stops_identity(data_hash: str, stops: StopTable | StopSlippage | None) -> str:
    """Return the identity of bars and of what is known of their stops; that of the bars if nothing is."""
    if stops is None:
        return data_hash
    known = stops.content_sha256() if isinstance(stops, StopTable) else content_hash(stops)
    return content_hash({"bars": data_hash, "stops": known})


def write_stops(
    folder: Path,
    stops: StopTable | StopSlippage | None,
    timeframe: Timeframe,
    data_hash: str,
    *,
    synthetic: bool,
) -> None:
    """Write what is known of stops beside bars of a timeframe, merged from shorter ones where needed.

    Parameters
    ----------
    folder : Path
        Of the bars; made if absent.
    stops : StopTable or StopSlippage or None
        Of the bars given.
    timeframe : Timeframe
        Of the bars in the folder.
    data_hash, synthetic
        Of their metadata.

    Raises
    ------
    DataError
        If records of a ladder are not in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(stops, StopSlippage):
        write_stop_slippage(folder, stops)
    elif stops is not None:
        given = {
            "ts_open_ns": stops.ts_open_ns,
            "ticks": np.ones(stops.ts_open_ns.size, dtype=np.int64),
            **records_of(stops),
        }
        merged = merge_partials([given], timeframe)
        ladder = make_ladder(merged, stops.meta.price_scale)
        if ladder is None:
            raise DataError("The records of a ladder must be whole price steps, but are not. Build it again.")
        meta: StopMeta = msgspec.structs.replace(
            stops.meta, timeframe=timeframe.label, data_hash=data_hash, synthetic=synthetic, session=""
        )
        write_stop_table(folder / STOPS_NAME, StopTable(merged["ts_open_ns"], ladder, meta))
