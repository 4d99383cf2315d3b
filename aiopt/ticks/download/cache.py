"""The hours already fetched: the answers as they came, and what is known about each.

Owns the layout of the download folder: ``SYMBOL/YYYY/MM/DD/HHh_ticks.bi5`` (months from 00, as at the
provider) or ``.json``, and ``SYMBOL/.hours.json``.  The answers are the truth: one that appears in the folder
is whole, because it was flushed and renamed into place.  The record may lag behind after a kill; an answer it
does not know is decoded and adopted, one it contradicts is thrown away.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from aiopt.errors import DataError
from aiopt.files import atomic_path, atomic_write_bytes
from aiopt.market.instrument import Instrument
from aiopt.ticks.download.feed import HourResult, bi5_path, check_plausible, decode
from aiopt.utc import hour_number, hour_text

RECORD_NAME = ".hours.json"
SUFFIXES = (".bi5", ".json")


class HourRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known about one hour.

    Attributes
    ----------
    status : str
        ``"ticks"``, ``"empty"``, ``"closed"`` or ``"failed"``.
    source : str
        Name of the feed, ``"calendar"`` for a closed market, a holiday's name if no feed has a file of it,
        ``"cache"`` if adopted after a kill.
    ticks : int
        Ticks in the answer.
    file : str or None
        Name of the kept answer.
    sha256 : str or None
        Of its bytes.
    problems : list of str
        What went wrong on the way, in order; of a failed hour at least one.
    """

    status: str
    source: str
    ticks: int = 0
    file: str | None = None
    sha256: str | None = None
    problems: list[str] = []


class _Records(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema_version: int = 1
    hours: dict[str, HourRecord]


class HourCache:
    """The kept answers of one instrument.  One process at a time; the caller holds the folder's lock.

    Parameters
    ----------
    root : Path
        Existing folder ``…/SYMBOL``.
    instrument : Instrument
        What the answers are of.
    """

    def __init__(self, root: Path, instrument: Instrument) -> None:
        self.root = root
        self._instrument = instrument
        self._known = _load(root / RECORD_NAME)
        for stale in root.rglob(".*.tmp"):
            stale.unlink(missing_ok=True)

    def find(self, hour: int) -> HourRecord | None:
        """Return the record of a kept answer that is whole, None if the hour must be fetched.

        A broken answer is removed.
        """
        known = self._known.get(hour_text(hour))
        for suffix in SUFFIXES:
            path = self.root / (bi5_path(hour) + suffix)
            if not path.is_file():
                continue
            raw = path.read_bytes()
            sha256 = hashlib.sha256(raw).hexdigest()
            if known is not None and known.sha256 == sha256:
                return known
            if known is not None and known.file == self._name(hour, suffix):
                # Not what was written, though it may decode: 0 bytes would pass for a quiet hour.
                path.unlink()
                continue
            try:
                ticks = decode(raw, suffix, self._instrument, hour, file=path)
                check_plausible(ticks, self._instrument, path)
            except DataError:
                # A disk's fault or a hand's.  The hour is fetched again.
                path.unlink()
                continue
            return HourRecord(
                status="ticks" if len(ticks) else "empty",
                source="cache",
                ticks=len(ticks),
                file=self._name(hour, suffix),
                sha256=sha256,
            )
        if known is not None and known.status == "closed" and known.file is None:
            return known
        return None

    def keep(self, hour: int, result: HourResult, source: str, problems: list[str]) -> HourRecord:
        """Write an answer, flushed and renamed into place, and return its record.

        Raises
        ------
        StorageError
            If the disk is full or the folder cannot be written.
        """
        if result.status == "closed":
            return HourRecord(status="closed", source=source, problems=problems)
        path = self.root / (bi5_path(hour) + result.suffix)
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            stream.write(result.raw)
            stream.flush()
            # A power cut must not leave 0 bytes under the final name: that means a quiet hour.
            os.fsync(stream.fileno())
        return HourRecord(
            status=result.status,
            source=source,
            ticks=result.ticks,
            file=self._name(hour, result.suffix),
            sha256=hashlib.sha256(result.raw).hexdigest(),
            problems=problems,
        )

    def digests(self) -> dict[str, int]:
        """Return the SHA-256 of every recorded answer with ticks, and its hour."""
        return {
            record.sha256: hour_number(hour)
            for hour, record in self._known.items()
            if record.status == "ticks" and record.sha256 is not None
        }

    def forget(self, hour: int) -> None:
        """Remove the answers kept for an hour: it is to be asked for again."""
        self._known.pop(hour_text(hour), None)
        for suffix in SUFFIXES:
            (self.root / self._name(hour, suffix)).unlink(missing_ok=True)

    def save(self, records: Mapping[int, HourRecord]) -> None:
        """Write the records, atomically, beside those of other hours."""
        self._known |= {hour_text(hour): record for hour, record in records.items()}
        ordered = dict(sorted(self._known.items()))
        text = msgspec.json.format(msgspec.json.encode(_Records(hours=ordered)), indent=1)
        atomic_write_bytes(self.root / RECORD_NAME, text + b"\n")

    def _name(self, hour: int, suffix: str) -> str:
        return bi5_path(hour) + suffix


def _load(path: Path) -> dict[str, HourRecord]:
    try:
        records = msgspec.json.decode(path.read_bytes(), type=_Records)
    except FileNotFoundError:
        return {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The answers are the truth; they are judged again.
        return {}
    return dict(records.hours) if records.schema_version == 1 else {}
