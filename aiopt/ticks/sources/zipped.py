"""Files of text as streams of UTF-8: as they are, from zip and gzip archives of one file, from UTF-16.

Owns opening them and what is wrong with them; knows no columns.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from aiopt.errors import DataError

_GZIP = b"\x1f\x8b"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PIECE = 1 << 20


def suffix_of(path: Path) -> str:
    """Return the suffix of a file in lower case, of what is inside for ``.gz``; ``".csv"`` for a bare one.

    Examples
    --------
    >>> suffix_of(Path("ticks.json.gz")), suffix_of(Path("EURUSD.gz")), suffix_of(Path("a.CSV"))
    ('.json', '.csv', '.csv')
    """
    suffix = path.suffix.lower()
    return suffix if suffix != ".gz" else Path(path.stem).suffix.lower() or ".csv"


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
        msg = f"This zip archive is damaged: {failure}. Download it again."
        raise DataError(msg, file=path) from failure


@contextmanager
def open_text(path: Path) -> Iterator[IO[bytes]]:
    """Yield the stream of a text file, or of the one CSV in a zip or gzip archive, as UTF-8 without a mark.

    UTF-16 and UTF-32 are told by their mark, UTF-16 without one by the zero bytes of its first characters.

    Raises
    ------
    DataError
        As `open_member`; also if text is not of the encoding it begins with.
    """
    if path.suffix.lower() == ".zip":
        with open_member(path) as (_, stream):
            yield _as_utf8(stream, path)
        return
    with path.open("rb") as raw:
        if raw.read(2) != _GZIP:
            raw.seek(0)
            yield _as_utf8(raw, path)
            return
        raw.seek(0)
        try:
            with gzip.GzipFile(fileobj=raw) as stream:
                yield _as_utf8(cast("IO[bytes]", stream), path)
        except (gzip.BadGzipFile, zlib.error, EOFError) as failure:
            msg = f"This gzip archive is damaged: {failure}. Download it again."
            raise DataError(msg, file=path) from failure


def read_text(path: Path) -> bytes:
    """Return the whole text of a file as UTF-8.

    Raises
    ------
    DataError
        As `open_text`.
    """
    with open_text(path) as stream:
        return stream.read()


def _as_utf8(stream: IO[bytes], path: Path) -> IO[bytes]:
    head = stream.read(64)
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            stream.seek(len(mark))
            return stream if encoding == "utf-8" else _recoded(stream, encoding, path)
    stream.seek(0)
    # Delimited text is nearly all ASCII: in UTF-16 every second byte of it is zero.
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[0::2])):
        if len(head) >= 4 and zeros.count(0) * 4 >= len(zeros) * 3:
            return _recoded(stream, encoding, path)
    return stream


def _recoded(stream: IO[bytes], encoding: str, path: Path) -> IO[bytes]:
    return cast("IO[bytes]", io.BufferedReader(_Recoded(stream, encoding, path), _PIECE))


class _Recoded(io.RawIOBase):
    """A stream of UTF-8 made of another encoding, piece by piece."""

    def __init__(self, stream: IO[bytes], encoding: str, path: Path) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._encoding = encoding
        self._path = path
        self._ready = b""

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            piece = self._stream.read(_PIECE)
            try:
                self._ready = self._decoder.decode(piece, final=not piece).encode()
            except UnicodeDecodeError as failure:
                encoding = self._encoding.upper()
                msg = f"This file begins as text in {encoding}, but does not go on so: {failure.reason} "
                raise DataError(
                    f"{msg}at byte {failure.start}. Save it as UTF-8.", file=self._path
                ) from failure
            if not piece:
                break
        part, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def _only_csv(archive: zipfile.ZipFile, path: Path) -> str:
    names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
    if len(names) != 1:
        found = ", ".join(archive.namelist()[:4]) or "nothing"
        msg = f"This archive holds {found} instead of one CSV file. Unpack it and give the CSV itself."
        raise DataError(msg, file=path)
    return names[0]
