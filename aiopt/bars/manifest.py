"""What a run on bars stands on: the manifest of its input, as ``manifest.json`` of a run folder.

Owns the record, telling it from a tick store's manifest, and the manifests of several markets in one file.
Has no wall clock: equal input gives equal bytes.  Knows nothing of how bars are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from aiopt.ticks.manifest import Manifest, SilentHour, SourceFile

BARS_KIND = "bars"
MARKETS_KIND = "markets"


class BarOrigin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the paths that were given.

    Attributes
    ----------
    source : str
        Its last parts.
    format, clock : str
        How it was read; a bar file of our own is format ``"aiopt"``.
    side : str
        ``"bid"``, ``"ask"``, ``"mid"`` or ``"bid and ask"``.
    bars : int
        Bars taken from it.
    left_out : dict of str to int
        Bars left out, by reason.
    first_ts_ns, last_ts_ns : int
        Opening times of its first and last bar.
    files : list of SourceFile
        What was read, with hashes.
    notes : list of str
        What a reader of the data should know.
    """

    source: str
    format: str
    clock: str
    side: str
    bars: int
    left_out: dict[str, int]
    first_ts_ns: int
    last_ts_ns: int
    files: list[SourceFile]
    notes: list[str] = []


class BarManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the bars of a run are made from.

    Attributes
    ----------
    kind : str
        `BARS_KIND`.
    schema_version : int
        Of this type.
    aiopt_version : str
        Version that read the bars.
    instrument : str
        Symbol.
    timeframe : str
        Of the bars given; longer ones are merged from them.
    source : str
        The sources in one line.
    spread : str
        Where the difference of bid and ask comes from, in words.
    synthetic : bool
        True if the bars were built from generated ticks.
    data_hash : str
        SHA-256 over the bid and ask bars, the spread included: the identity of the data.
    bars : int
        Bars of each side.
    first_ts_ns, last_ts_ns : int
        Opening times of the first and last bar.
    left_out : dict of str to int
        Bars left out when the sources were put together, by reason.
    silent_hours : list of SilentHour
        Hours of an open market inside the span without bars.
    day_bars : dict of str to list of int
        UTC day to its bars in each of the 24 hours; days without bars are absent.
    notes : list of str
        What a reader of the data should know.
    sources : list of BarOrigin
        In order of time.
    """

    kind: str = BARS_KIND
    schema_version: int = 1
    aiopt_version: str
    instrument: str
    timeframe: str
    source: str
    spread: str
    synthetic: bool
    data_hash: str
    bars: int
    first_ts_ns: int
    last_ts_ns: int
    left_out: dict[str, int]
    silent_hours: list[SilentHour]
    day_bars: dict[str, list[int]]
    notes: list[str]
    sources: list[BarOrigin]


def manifest_type(document: Mapping[str, Any]) -> type[Manifest | BarManifest]:
    """Return the type of a manifest by its content, of ticks or of bars."""
    return BarManifest if document.get("kind") == BARS_KIND else Manifest


def manifests_of(document: Mapping[str, Any]) -> dict[str, Manifest | BarManifest]:
    """Return the manifests of a run's ``manifest.json`` by instrument; of a run of one market its only one.

    Raises
    ------
    msgspec.ValidationError
        If a field is missing or of another type.
    """
    parts = document["markets"].values() if document.get("kind") == MARKETS_KIND else [document]
    found: list[Manifest | BarManifest] = [msgspec.convert(one, manifest_type(one)) for one in parts]
    return {one.instrument: one for one in found}


def markets_document(manifests: Mapping[str, bytes]) -> bytes:
    """Return the ``manifest.json`` of a run of several markets, from that of each by instrument."""
    parts = {symbol: msgspec.json.decode(text) for symbol, text in manifests.items()}
    document = {"kind": MARKETS_KIND, "markets": parts}
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def spread_of(manifest: Manifest | BarManifest, extra_pips: float = 0.0) -> str:
    """Return in words where the difference of bid and ask comes from, and by how much it was widened."""
    known = manifest.spread if isinstance(manifest, BarManifest) else "bid and ask of the ticks"
    return f"{known}, every ask raised by {extra_pips:g} pips" if extra_pips else known
