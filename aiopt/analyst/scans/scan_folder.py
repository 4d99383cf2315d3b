"""The folder of a scan: what it is a scan of, its parts, and the one file at its end.

Owns the layout and what survives a kill::

    OUT/scan.json          what decides the readings; another scan is refused
    OUT/parts/*.parquet    rows as they came, each file whole; gone once every window is settled
    OUT/readings.parquet   all windows in the order of time

Reads nothing of markets and asks nobody.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.analyst.scans.reading_rows import SCHEMA, WindowReading, read_table, readings_of, table_of
from aiopt.config import canonical_json
from aiopt.errors import DataError, RunExistsError, StorageError
from aiopt.files import atomic_path, atomic_write_bytes, remove_stale, storage_error

SCAN_FILE, PARTS, READINGS = "scan.json", "parts", "readings.parquet"


class ScanSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How far a scan is.

    Attributes
    ----------
    windows, read : int
        Planned, and with a reading.
    failed : dict of str to int
        Windows without one, by `WindowReading.failure`.
    unread : int
        Not asked yet.
    biases : dict of str to int
        Readings of each bias.
    models : dict of str to int
        Readings by model and revision, ``"minicpm 0a1b…"``: more than one where the endpoint was swapped.
    first_error : str
        Of the first window nobody answered; empty if there is none.
    path : str
        The file of readings; empty while windows are unread.
    """

    windows: int
    read: int
    failed: dict[str, int]
    unread: int
    biases: dict[str, int]
    models: dict[str, int]
    first_error: str
    path: str

    @property
    def open(self) -> int:
        """Windows the next run asks about."""
        return self.unread + self.failed.get("endpoint", 0)


class ScanFolder:
    """A scan on disk.

    Parameters
    ----------
    folder : Path
        New, empty, or that of the same scan.
    deciding : dict
        `ScanConfig.deciding`.
    windows : int
        How many are planned.

    Raises
    ------
    RunExistsError
        If the folder holds another scan (names what differs) or something else.
    StorageError
        If it cannot be written.
    """

    def __init__(self, folder: Path, deciding: dict[str, Any], windows: int) -> None:
        self.folder, self.windows = Path(folder).absolute(), windows
        self._rows: dict[int, WindowReading] = {}
        self._next = 0
        self._claim(deciding)

    def load(self) -> None:
        """Read the rows that are there.

        Raises
        ------
        DataError
            If a file is damaged: says which to delete.
        """
        remove_stale(self.folder / PARTS)
        if (self.folder / READINGS).is_file():
            self._keep(self.folder / READINGS)
        for path in sorted((self.folder / PARTS).glob("part-*.parquet")):
            self._keep(path)
            self._next = int(path.stem.removeprefix("part-")) + 1

    def __repr__(self) -> str:
        return f"ScanFolder({str(self.folder)!r}, {len(self._rows)} of {self.windows} windows)"

    def open_windows(self) -> list[int]:
        """Return the numbers of windows to ask about: not asked yet, or asked and nobody answered."""
        return [
            number
            for number in range(self.windows)
            if number not in self._rows or self._rows[number].failure == "endpoint"
        ]

    def add(self, readings: Sequence[WindowReading]) -> None:
        """Write rows as a part: whole or not at all.

        Raises
        ------
        StorageError
            If the disk is full.
        """
        if not readings:
            return
        self._write(self.folder / PARTS / f"part-{self._next:06d}.parquet", table_of(readings))
        self._next += 1
        self._rows.update({one.number: one for one in readings})

    def finish(self) -> ScanSummary:
        """Write ``readings.parquet`` if every window was asked about, and return how far the scan is."""
        parts = self.folder / PARTS
        if len(self._rows) == self.windows and parts.is_dir():
            rows = [self._rows[number] for number in range(self.windows)]
            self._write(self.folder / READINGS, table_of(rows))
            if not any(one.failure == "endpoint" for one in rows):
                shutil.rmtree(parts)
        return self.summary()

    def summary(self) -> ScanSummary:
        """Return how far the scan is."""
        rows = [self._rows[number] for number in sorted(self._rows)]
        read = [one for one in rows if not one.failure]
        models = Counter(f"{one.model_id} {one.model_revision}".strip() for one in read)
        errors = [one.error for one in rows if one.failure == "endpoint"]
        whole = len(rows) == self.windows and (self.folder / READINGS).is_file()
        return ScanSummary(
            windows=self.windows,
            read=len(read),
            failed=dict(sorted(Counter(one.failure for one in rows if one.failure).items())),
            unread=self.windows - len(rows),
            biases=dict(sorted(Counter(str(one.bias) for one in read).items())),
            models=dict(sorted(models.items())),
            first_error=errors[0] if errors else "",
            path=str(self.folder / READINGS) if whole else "",
        )

    def _claim(self, deciding: dict[str, Any]) -> None:
        path = self.folder / SCAN_FILE
        document = msgspec.json.decode(canonical_json(deciding))
        if path.is_file():
            try:
                found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
            except (msgspec.DecodeError, msgspec.ValidationError) as failure:
                msg = f"The file cannot be read ({failure}). Name another folder, or delete this one."
                raise DataError(msg, file=path) from failure
            differ = [key for key in document if found.get(key) != document[key]]
            if differ:
                raise RunExistsError(
                    f"{self.folder} holds a scan with other {', '.join(differ)}. Name another folder, or "
                    "delete this one."
                )
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            others = sorted(entry.name for entry in self.folder.iterdir() if entry.name[0] != ".")
        except OSError as failure:
            msg = f"{self.folder} cannot be made: {failure.strerror}. Choose another folder."
            raise storage_error(path, failure) or StorageError(msg) from failure
        if others:
            msg = (
                f"{self.folder} holds something else ({', '.join(others[:3])}). Choose a new or empty folder."
            )
            raise RunExistsError(msg)
        atomic_write_bytes(path, msgspec.json.format(canonical_json(deciding)) + b"\n")

    def _keep(self, path: Path) -> None:
        try:
            rows = readings_of(read_table(path), file=path)
        except DataError as failure:
            msg = f"{failure.reason.rstrip('.')}. Delete this file: its windows are then read again."
            raise DataError(msg, file=path, row=failure.row) from failure
        self._rows.update({one.number: one for one in rows})

    @staticmethod
    def _write(path: Path, table: pa.Table) -> None:
        with atomic_path(path) as temporary:
            pq.write_table(table.cast(SCHEMA), temporary, compression="zstd", write_page_checksum=True)
