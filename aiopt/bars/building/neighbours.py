"""May bars lie in a folder: only beside sides of the same ticks, session and filling.

Owns that rule.  Knows nothing of how bars are built.
"""

from __future__ import annotations

from pathlib import Path

from aiopt.bars.files import bar_path, read_bar_meta
from aiopt.bars.request import BarRequest
from aiopt.bars.schema import PRICES
from aiopt.errors import DataError
from aiopt.ticks.manifest import Manifest


def check_neighbours(out_dir: Path, manifest: Manifest, request: BarRequest) -> None:
    """Refuse a build by which a series would get sides of different ticks, sessions or fillings.

    Nothing could use such a folder: bid and ask of a backtest must belong together.

    Parameters
    ----------
    out_dir : Path
        Folder of the bars to be built.
    manifest : Manifest
        Of the ticks.
    request : BarRequest
        Which bars.

    Raises
    ------
    DataError
        Names the file that is there and does not belong.
    """
    ours = (manifest.data_hash, request.session_label, request.fill)
    others = [price for price in PRICES if price not in request.prices]
    for symbol in sorted({partition.instrument for partition in manifest.partitions}):
        for path in (
            bar_path(out_dir, symbol, rule.label, price) for rule in request.rules for price in others
        ):
            meta = read_bar_meta(path)
            if meta is None or (meta.data_hash, meta.session, meta.fill) == ours:
                continue
            together = ",".join((*request.prices, path.stem))
            msg = (
                "The sides of a series must be built from the same ticks, session and filling, but this one "
            )
            msg += f"was not. Build it too (--price {together})"
            raise DataError(f"{msg}, or choose another folder.", file=path)
