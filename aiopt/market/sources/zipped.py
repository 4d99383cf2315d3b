"""Zip archives that hold one CSV each.  Owns opening them and what is wrong with them; knows no columns."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from aiopt.errors import DataError


@contextmanager
def open_member(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and stream of the one CSV in a zip archive.

    Raises
    ------
    DataError
        If the file is no zip archive, is damaged, or does not hold exactly one CSV.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = _only_csv(archive, path)
            with archive.open(name) as stream:
                yield name, stream
    except (zipfile.BadZipFile, zlib.error, EOFError) as failure:
        msg = f"The file must be a sound zip archive, but: {failure}. Download it again."
        raise DataError(msg, file=path) from failure


@contextmanager
def open_text(path: Path) -> Iterator[IO[bytes]]:
    """Yield the stream of a text file, or of the one CSV in a zip archive.

    Raises
    ------
    DataError
        As `open_member`.
    """
    if path.suffix.lower() == ".zip":
        with open_member(path) as (_, stream):
            yield stream
    else:
        with path.open("rb") as stream:
            yield stream


def _only_csv(archive: zipfile.ZipFile, path: Path) -> str:
    names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
    if len(names) != 1:
        found = ", ".join(archive.namelist()[:4]) or "nothing"
        msg = f"The archive must hold one CSV file, but holds {found}. Unpack it and give the CSV itself."
        raise DataError(msg, file=path)
    return names[0]
