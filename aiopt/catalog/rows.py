"""Identity of rows, whatever the files they lie in.  Owns the hash; knows nothing of folders."""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np
import pyarrow as pa


class RowHash:
    """SHA-256 of the rows of a table, the same however they are cut into batches, files and row groups.

    Parameters
    ----------
    schema : pyarrow.Schema
        Names and types are part of the hash, metadata is not.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._names = [f"{field.name} {field.type}" for field in schema]
        self._values = [hashlib.sha256() for _ in self._names]
        self._nulls = [hashlib.sha256() for _ in self._names]
        self.rows = 0

    def update(self, table: pa.Table) -> None:
        """Add rows after those added before."""
        for number, column in enumerate(table.columns):
            row = self.rows
            for chunk in column.chunks:
                if chunk.null_count:
                    places = np.flatnonzero(chunk.is_null().to_numpy(zero_copy_only=False)) + row
                    self._nulls[number].update(places.astype("<i8").tobytes())
                self._values[number].update(_value_bytes(chunk))
                row += len(chunk)
        self.rows += table.num_rows

    def hexdigest(self) -> str:
        """Return the hash of the rows so far."""
        whole = hashlib.sha256(f"{self.rows}".encode())
        for name, values, nulls in zip(self._names, self._values, self._nulls, strict=True):
            whole.update(f"\n{name} {values.hexdigest()} {nulls.hexdigest()}".encode())
        return whole.hexdigest()


def _value_bytes(column: pa.Array) -> bytes:
    """Return the values of a chunk as bytes; a null as the type's zero."""
    kind = column.type
    if pa.types.is_primitive(kind) and not pa.types.is_boolean(kind):
        if column.null_count:
            column = column.fill_null(pa.scalar(0, kind) if not pa.types.is_temporal(kind) else _zero(kind))
        width = kind.bit_width // 8
        values = column.buffers()[1]
        start = column.offset * width
        return b"" if values is None else bytes(memoryview(values)[start : start + len(column) * width])
    parts = []
    for value in column.to_pylist():
        text = msgspec.json.encode(value, enc_hook=repr)
        parts += [len(text).to_bytes(8, "little"), text]
    return b"".join(parts)


def _zero(kind: pa.DataType) -> pa.Scalar:
    integers = {32: pa.int32(), 64: pa.int64()}
    return pa.scalar(0, integers[kind.bit_width]).cast(kind)
