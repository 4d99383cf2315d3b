"""Which entries of the catalogue are meant, and what is known of one beyond its entry.

Owns the folders looked through where none is named.  Finds nothing itself (`aiopt.catalog.discovery`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiopt.catalog.discovery import find_entries
from aiopt.catalog.entries import KINDS, Entry
from aiopt.errors import DataError, ManifestError, did_you_mean
from aiopt.market.instrument import instrument as find_instrument
from aiopt.ticks.manifest import read_manifest

DEFAULT_ROOTS = ("data", ".cache", "runs")
"""Looked through, where they exist, if no folder is named."""


def roots(folders: Sequence[Path]) -> list[Path]:
    """Return the folders named, or those of `DEFAULT_ROOTS` that are here.

    Raises
    ------
    DataError
        If none is named and none is here.
    """
    if folders:
        return list(folders)
    found = [Path(name) for name in DEFAULT_ROOTS if Path(name).is_dir()]
    if not found:
        msg = f"There must be a folder to look through, but none of {', '.join(DEFAULT_ROOTS)} is here."
        raise DataError(msg + " Name one: `aiopt data list FOLDER`.")
    return found


def select_entries(
    folders: Sequence[Path], kinds: Sequence[str] = (), instrument: str | None = None
) -> list[Entry]:
    """Return the entries below folders, of the kinds and the instrument asked for.

    Raises
    ------
    DataError
        If a kind is not known, or there is no folder to look through.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise DataError(f"The kind must be known, but got {kind!r}.{did_you_mean(kind, KINDS)}")
    symbol = None if instrument is None else find_instrument(instrument).symbol
    return [
        entry
        for entry in find_entries(roots(folders))
        if (not kinds or entry.kind in kinds) and (symbol is None or entry.instrument == symbol)
    ]


def entry_details(entry: Entry) -> dict[str, Any]:
    """Return what only one kind has: of ticks what their manifest counts; else nothing."""
    if entry.kind != "ticks":
        return {}
    try:
        manifest = read_manifest(Path(entry.path))
    except ManifestError:
        return {}
    return {
        "aiopt_version": manifest.aiopt_version,
        "rows_read": manifest.rows_read,
        "dropped": {count.rule: count.dropped for count in manifest.rules if count.dropped},
        "hours": dict(sorted(Counter(manifest.hours.values()).items())),
        "silent_hours": len(manifest.silent_hours),
        "source_files": len(manifest.files),
        "days": [
            {"date": part.date, "rows": part.rows, "sha256": part.sha256} for part in manifest.partitions
        ],
        "notes": manifest.notes,
    }
