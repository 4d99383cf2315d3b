"""May bars lie in a folder: only beside sides of the same ticks or files, session and filling.

Owns that rule.  Knows nothing of how bars are built.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from aiopt.bars.files import bar_path, read_bar_meta
from aiopt.bars.request import BarRequest
from aiopt.bars.schema import PRICES, BarMeta
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
    for symbol in sorted({partition.instrument for partition in manifest.partitions}):
        for rule in request.rules:
            path = _stranger(out_dir, symbol, rule.label, request.prices, ours)
            if path is None:
                continue
            together = ",".join((*request.prices, path.stem))
            msg = (
                "The sides of a series must be built from the same ticks, session and filling, but this one "
            )
            msg += f"was not. Build it too (--price {together})"
            raise DataError(f"{msg}, or choose another folder.", file=path)


def check_imported_neighbours(out_dir: Path, meta: BarMeta, sides: Collection[str]) -> None:
    """Refuse an import by which a series would get sides of different files.

    Parameters
    ----------
    out_dir : Path
        Folder of the bars to be written.
    meta : BarMeta
        Of one of them.
    sides : collection of str
        Which are written.

    Raises
    ------
    DataError
        Names the file that is there and does not belong.
    """
    ours = (meta.data_hash, meta.session, meta.fill)
    path = _stranger(out_dir, meta.instrument, meta.timeframe, sides, ours)
    if path is not None:
        msg = (
            "The sides of a series must come from the same files, but this one does not. Choose another "
            "folder, or delete it."
        )
        raise DataError(msg, file=path)


def _stranger(
    out_dir: Path, symbol: str, label: str, sides: Collection[str], ours: tuple[str, str, str]
) -> Path | None:
    """Return the file of another side of a series that has other data, session or filling."""
    for price in PRICES:
        path = bar_path(out_dir, symbol, label, price)
        meta = None if price in sides else read_bar_meta(path)
        if meta is not None and (meta.data_hash, meta.session, meta.fill) != ours:
            return path
    return None
