"""Schemas of streams and their versions.

Owns which values a column takes, when a row fits a schema, and how processes agree on version numbers.  A
version is a file ``0001.schema.json`` in the stream's folder, created whole and never changed; the rows of a
version lie in the folder ``0001``.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiopt.config import canonical_json
from aiopt.errors import ConfigError, DataError, StorageError, did_you_mean
from aiopt.files import storage_error

ARROW_TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "str": pa.string()}
"""Kinds of columns; every one may hold nulls."""

INT_MIN, INT_MAX = -(2**63), 2**63 - 1

Value = int | float | bool | str | None

_DTYPES = {"i": ("int", np.int64), "f": ("float", np.float64), "b": ("bool", np.bool_)}

_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}$")
_SCHEMA_FILE = re.compile(r"^(\d{4,})\.schema\.json$")


class RowSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The columns of one version of a stream.

    Attributes
    ----------
    fields : dict of str to str
        Column to kind: ``"int"``, ``"float"``, ``"bool"`` or ``"str"``, in the order of the first row.
    """

    fields: dict[str, str]

    def __post_init__(self) -> None:
        if not self.fields:
            raise ConfigError("A row must have at least one field, but has none. Log something.")
        for name, kind in self.fields.items():
            if kind not in ARROW_TYPES:
                msg = f"A column must be one of {', '.join(ARROW_TYPES)}, but {name!r} is {kind!r}."
                raise ConfigError(msg + did_you_mean(kind, ARROW_TYPES))

    def arrow(self) -> pa.Schema:
        """Return the Arrow schema."""
        return pa.schema([(name, ARROW_TYPES[kind]) for name, kind in self.fields.items()])

    def equals(self, other: RowSchema) -> bool:
        """Tell whether both have the same columns of the same kinds, in whatever order."""
        return self.fields == other.fields

    def accepts(self, kinds: Mapping[str, str | None]) -> bool:
        """Tell whether a row of these kinds (None: a null) fits: same columns, an int is also a float."""
        if kinds.keys() != self.fields.keys():
            return False
        return all(
            kind is None or kind == self.fields[name] or (kind == "int" and self.fields[name] == "float")
            for name, kind in kinds.items()
        )


def check_stream_name(name: str) -> None:
    """Raise `ConfigError` unless `name` can be a folder everywhere."""
    if not _NAME.match(name):
        msg = f"A stream's name must be lower-case letters, digits, _ and -, at most 64, but is {name!r}."
        raise ConfigError(msg + " Choose e.g. signals.")


def kinds_of(row: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the kind of each value of a row; None for a null.

    Raises
    ------
    DataError
        If a value is none of int, float, bool, str, None, NumPy scalars included.
    """
    return {name: _kind(name, value) for name, value in row.items()}


def array_of(name: str, values: NDArray | Sequence[Value]) -> tuple[str | None, pa.Array]:
    """Return the kind of a column and a copy of it as Arrow; None for a column of nulls.

    Raises
    ------
    DataError
        If the values are not of one kind (ints beside floats are floats).
    """
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in _DTYPES:
        name_of, target = _DTYPES[values.dtype.kind]
        # A copy: Arrow would keep the caller's memory, which the caller may change before it is written.
        return name_of, pa.array(values.astype(target, copy=True))
    plain = values.tolist() if isinstance(values, np.ndarray) else list(values)
    kinds = {_kind(name, value) for value in plain} - {None}
    if kinds == {"int", "float"}:
        kinds = {"float"}
    if len(kinds) > 1:
        msg = f"A column must be of one kind, but {name!r} has {', '.join(sorted(map(str, kinds)))}."
        raise DataError(msg + " Log them as columns of their own.")
    kind = kinds.pop() if kinds else None
    return kind, pa.array(plain, type=ARROW_TYPES[kind] if kind else pa.null())


def _kind(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool | np.bool_):
        return "bool"
    if isinstance(value, int | np.integer):
        if not INT_MIN <= int(value) <= INT_MAX:
            raise DataError(f"An int must fit 64 bits, but {name!r} is {value}. Log it as a float or str.")
        return "int"
    if isinstance(value, float | np.floating):
        return "float"
    if isinstance(value, str):
        return "str"
    msg = f"A value must be int, float, bool, str or None, but {name!r} is a {type(value).__name__}."
    raise DataError(msg + " Log its parts, or its text.")


# --- versions ---------------------------------------------------------------------------------------------


def read_schemas(folder: Path) -> dict[int, RowSchema]:
    """Return the schemas of a stream by version.

    Raises
    ------
    DataError
        If a schema file cannot be read.
    """
    found: dict[int, RowSchema] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _SCHEMA_FILE.match(path.name)
        if match is None:
            continue
        try:
            found[int(match[1])] = msgspec.json.decode(path.read_bytes(), type=RowSchema)
        except (msgspec.DecodeError, ConfigError) as failure:
            msg = f"Cannot read the schema file: {failure}. Restore it from a copy."
            raise DataError(msg, file=path) from failure
    return dict(sorted(found.items()))


def claim_version(folder: Path, schema: RowSchema) -> int:
    """Return the version of a stream that has this schema, creating it if there is none.

    Two processes that come with the same schema get the same version; with different ones, different
    versions.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _claim(folder, schema, folder / f".schema.{uuid.uuid4().hex[:8]}.tmp")
    except OSError as error:
        msg = f"The folder {folder} of the log cannot be written: {error}. Choose another."
        raise storage_error(folder / "schema.json", error) or StorageError(msg) from error


def _claim(folder: Path, schema: RowSchema, draft: Path) -> int:
    try:
        while True:
            known = read_schemas(folder)
            for version, other in known.items():
                if other.equals(schema):
                    return version
            number = max(known, default=0) + 1
            draft.write_bytes(canonical_order(schema) + b"\n")
            try:
                # Fails if another process took the number; a reader sees the whole file or none.
                os.link(draft, folder / f"{number:04d}.schema.json")
            except FileExistsError:
                continue
            return number
    finally:
        draft.unlink(missing_ok=True)


def canonical_order(schema: RowSchema) -> bytes:
    """Return the JSON of a schema with its columns in their own order."""
    names = b",".join(canonical_json(n) + b":" + canonical_json(k) for n, k in schema.fields.items())
    return b'{"fields":{' + names + b"}}"


def version_folder(folder: Path, version: int) -> Path:
    """Return the folder of a version's rows."""
    return folder / f"{version:04d}"
