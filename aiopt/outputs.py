"""Where a user's output may go: one rule for every command and call that writes a file or a folder.

Owns the kinds of file that are written on request, how one already there is told from another, and what is
said where a path cannot be written to.  Judges before anything is computed; writes nothing.  Knows nothing of
how the files are made.

The rule: folders that are missing are created; a file of the same kind is replaced; any other is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from aiopt.errors import ConfigError, StorageError

_HEAD = 4096
_MANIFEST = "manifest.json"
_DEPTH = 4
"""Folders between a file of a tick store or run folder and the manifest, at most, with the last one."""


class OutputKind(NamedTuple):
    """A kind of file.

    Attributes
    ----------
    title : str
        What it is, with its article.
    suffixes : tuple of str
        Usual ends of its name, lower case; a name with another kind's end is refused.
    is_one : callable
        Tells whether an existing file, not empty, is of this kind.
    """

    title: str
    suffixes: tuple[str, ...]
    is_one: Callable[[Path], bool]


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_HEAD)


def _is_page(path: Path) -> bool:
    return _head(path).lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html"))


def _is_picture(path: Path) -> bool:
    return _head(path).startswith(b"\x89PNG\r\n\x1a\n")


def _is_script(path: Path) -> bool:
    return b"//@version=" in _head(path)


def _has_keys(*keys: str) -> Callable[[Path], bool]:
    def is_one(path: Path) -> bool:
        try:
            found = msgspec.json.decode(path.read_bytes())
        except msgspec.DecodeError:
            return False
        return isinstance(found, dict) and found.keys() >= set(keys)

    return is_one


def _begins_with(*words: str) -> Callable[[Path], bool]:
    """Return a test for a text file whose first line begins with one of `words`."""
    starts = tuple(word.encode() for word in words)
    return lambda path: _head(path).startswith(starts)


def _is_plain_table(path: Path) -> bool:
    """Return whether a file is a table as CSV or Parquet, but no bars and no part of a store or run."""
    if any((parent / _MANIFEST).exists() for parent in list(path.parents)[:_DEPTH]):
        return False
    head = _head(path)
    if not head.startswith(b"PAR1"):
        return path.suffix.lower() == ".csv" and b"\0" not in head
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return b"aiopt" not in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def _has_readings(path: Path) -> bool:
    """Return whether a file is a table of an analyst's readings."""
    if not _head(path).startswith(b"PAR1"):
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return {"chart_sha256", "bias", "confidence"} <= set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return False


PAGE = OutputKind("a page (HTML)", (".html", ".htm"), _is_page)
PICTURE = OutputKind("a picture (PNG)", (".png",), _is_picture)
TABLE = OutputKind(
    "a table (Parquet or CSV) outside of bars, ticks and runs", (".parquet", ".csv"), _is_plain_table
)
BACKTEST = OutputKind("the JSON of a backtest", (".json",), _has_keys("spec", "metrics", "trades"))
SPREADS = OutputKind(
    "a table of spreads (YAML)", (".yaml", ".yml"), _begins_with("# Spreads in pips, measured by `aiopt")
)
SCRIPT = OutputKind("a Pine script", (".pine",), _is_script)
SPEC = OutputKind("the JSON of a strategy", (".json",), _has_keys("name", "indicators"))
IMPORTED = OutputKind(
    "a strategy (YAML) that `aiopt pine import` wrote",
    (".yaml", ".yml"),
    _begins_with("# Imported from Pine by aiopt"),
)
REPORT = OutputKind("the JSON of a report", (".json",), _has_keys("run_id", "files"))
REPORT_TABLE = OutputKind("a table of a report (CSV)", (".csv",), _begins_with("rank,entry,"))

LIBRARY = OutputKind("a backup of the library", (".dump",), _begins_with("PGDMP"))
LIBRARY_LINES = OutputKind("strategies of the library (JSON lines)", (".jsonl",), _begins_with('{"library":'))

READINGS = OutputKind("a table of readings (Parquet)", (".parquet",), _has_readings)

KINDS = (
    *(PAGE, PICTURE, TABLE, BACKTEST, SPREADS, SCRIPT, SPEC, IMPORTED, REPORT, REPORT_TABLE, READINGS),
    *(LIBRARY, LIBRARY_LINES),
)


def check_file(path: Path, kind: OutputKind, *, name: str = "The output") -> Path:
    """Return the full path of a file that is to be written, or refuse it.

    Parameters
    ----------
    path : Path
        What the user named.
    kind : OutputKind
        What will be written.
    name : str
        How messages call it, e.g. ``"--out"``.

    Raises
    ------
    ConfigError
        If the path is a folder or a device, its name says another kind, a parent is a file, or a file of
        another kind is there.
    StorageError
        If the folder cannot be written.
    """
    full = Path(path).absolute()
    if full.is_dir():
        example = full / f"NAME{kind.suffixes[0]}"
        msg = f"{name} must name a file, but {full} is a folder. Name a file in it, e.g. {example}."
        raise ConfigError(msg)
    suffix = full.suffix.lower()
    if suffix not in kind.suffixes and any(suffix in other.suffixes for other in KINDS):
        usual = " or ".join(kind.suffixes)
        msg = f"{name} gets {kind.title}, but is {full.name!r}. Name a file that ends in {usual}."
        raise ConfigError(msg)
    _check_parent(full, name)
    if full.exists() and not full.is_file():
        # Writing puts a new file in place of the old: of /dev/null that would be the device itself.
        raise ConfigError(f"{name} must name a file, but {full} is a device or a pipe. Name a file.")
    if full.exists() and full.stat().st_size and not kind.is_one(full):
        raise ConfigError(
            f"{name} would replace {full}, which is not {kind.title}. Name another file, or delete this one."
        )
    return full


def check_folder(path: Path, *, name: str = "The output") -> Path:
    """Return the full path of a folder that is to be written to, or refuse it.

    Parameters
    ----------
    path, name
        As in `check_file`.

    Raises
    ------
    ConfigError
        If the path or a parent is a file.
    StorageError
        If it cannot be made or written to.
    """
    full = Path(path).absolute()
    if full.exists() and not full.is_dir():
        raise ConfigError(f"{name} must be a folder, but {full} is a file. Name a folder.")
    _check_parent(full / "anything", name)
    return full


def _check_parent(path: Path, name: str) -> None:
    there = next(parent for parent in path.parents if parent.exists())
    if not there.is_dir():
        raise ConfigError(f"{name} is {path}, but {there} is a file, not a folder. Name another place.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StorageError(f"The folder {there} is not writable. Choose another folder.")
