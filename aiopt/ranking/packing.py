"""A trial row as few bytes: what the journal writes and the leaderboard keeps.

Owns the encoding.  Knows nothing of files or scores.

A row is its fields without the profits as JSON, then the two series of profits, all compressed by zlib.  Most
profits are zero, and most others decimals of a few digits: a profit is kept as the whole number it is in the
smallest power of ten that gives back the same float, bit for bit, and as the float itself where none does.
Nothing is rounded.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Sequence
from typing import TypeVar, cast

import msgspec
import numpy as np
import numpy.typing as npt

from aiopt.config import canonical_json
from aiopt.ranking.trials import TrialRow

_MAX_DECIMALS = 8
_ZERO, _RAW = 0, _MAX_DECIMALS + 2
"""Codes of a profit: 0, 1 + decimals, or a float of eight bytes."""

_LARGEST = 2.0**53
_POWERS: npt.NDArray[np.float64] = 10.0 ** np.arange(_MAX_DECIMALS + 1, dtype=np.float64)
_LEVEL = 3
"""Of zlib: level 9 takes three times as long for 2 % less."""

_LENGTH = struct.Struct("<I")

_HEAD_GUESS = 4096
"""Bytes that hold most rows' fields, but not their profits."""

Head = TypeVar("Head", bound=msgspec.Struct)


def pack_row(row: TrialRow) -> bytes:
    """Return a row as bytes that `unpack_row` turns into an equal row."""
    head = canonical_json(msgspec.structs.replace(row, pnl=[], holdout_pnl=[]))
    parts = [_LENGTH.pack(len(head)), head, _pack_profits(row.pnl), _pack_profits(row.holdout_pnl)]
    return zlib.compress(b"".join(parts), _LEVEL)


def unpack_row(data: bytes, *, compact: bool = False) -> TrialRow:
    """Return the row that was packed.

    Parameters
    ----------
    data : bytes
        From `pack_row`.
    compact : bool
        Give the profits as ``array('d')`` of eight bytes each, not as lists.

    Raises
    ------
    ValueError
        If the bytes are no packed row.
    """
    row, pnl, holdout = _unpacked(data)
    if compact:
        profits = [cast(list[float], array("d", values.tobytes())) for values in (pnl, holdout)]
    else:
        profits = [values.tolist() for values in (pnl, holdout)]
    return msgspec.structs.replace(row, pnl=profits[0], holdout_pnl=profits[1])


def unpack_head(data: bytes, kind: type[Head]) -> Head:
    """Return what comes before the profits of a packed row; these are not even decompressed.

    Parameters
    ----------
    data : bytes
        From `pack_row`.
    kind : type of msgspec.Struct
        With some fields of `TrialRow`.

    Raises
    ------
    ValueError
        If the bytes are no packed row.
    """
    try:
        reader = zlib.decompressobj()
        plain = reader.decompress(data, _HEAD_GUESS)
        (length,) = _LENGTH.unpack_from(plain)
        missing = _LENGTH.size + length - len(plain)
        if missing > 0:
            plain += reader.decompress(reader.unconsumed_tail, missing)
    except (zlib.error, struct.error) as error:
        raise ValueError(f"it cannot be decompressed ({error})") from error
    return msgspec.json.decode(plain[_LENGTH.size : _LENGTH.size + length], type=kind)


def unpack_whole(data: bytes) -> TrialRow:
    """Return the row that was packed, its profits as NumPy arrays: for those who read thousands of rows.

    The first call may wait for the compiler; otherwise as `unpack_row`.
    """
    from aiopt.ranking.packing_kernels import unpacked_profits

    try:
        plain = zlib.decompress(data)
        (length,) = _LENGTH.unpack_from(plain)
        row = msgspec.json.decode(plain[_LENGTH.size : _LENGTH.size + length], type=TrialRow)
        numbers = np.frombuffer(plain, dtype=np.uint8)
        place, found = _LENGTH.size + length, []
        for _ in range(2):
            (size,) = _LENGTH.unpack_from(plain, place)
            if size > len(plain):
                return unpack_row(data)  # says what is wrong
            found.append(np.empty(size))
            place = unpacked_profits(numbers, place + _LENGTH.size, _POWERS, found[-1])
            if place < 0:
                return unpack_row(data)
    except (zlib.error, struct.error):
        return unpack_row(data)
    if place != len(plain):
        raise ValueError(f"{len(plain) - place} bytes follow it")
    if not found[0].size and not found[1].size:
        return row
    pnl, holdout = (cast(list[float], values) for values in found)
    return msgspec.structs.replace(row, pnl=pnl, holdout_pnl=holdout)


def unpack_profits(data: bytes, profits: npt.NDArray[np.float64]) -> bool:
    """Write the profits of a packed row, those of the development periods and then of the holdout.

    Parameters
    ----------
    data : bytes
        From `pack_row`.
    profits : ndarray of shape (n_periods,)
        Written, up to the last profit the row has.

    Returns
    -------
    bool
        False for a failed trial, which has none; nothing is written then.

    Raises
    ------
    ValueError
        If the bytes are no packed row.
    """
    from aiopt.ranking.packing_kernels import unpacked_profits

    try:
        plain = zlib.decompress(data)
        numbers = np.frombuffer(plain, dtype=np.uint8)
        place, done = _LENGTH.size + _LENGTH.unpack_from(plain)[0], 0
        for _ in range(2):
            (size,) = _LENGTH.unpack_from(plain, place)
            place = unpacked_profits(numbers, place + _LENGTH.size, _POWERS, profits[done : done + size])
            done += size
            if place < 0:
                break
    except (zlib.error, struct.error):
        place = -1
    if place < 0:
        unpack_row(data, compact=True)  # says what is wrong
        raise ValueError("it is damaged")
    return done > 0


def _unpacked(data: bytes) -> tuple[TrialRow, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    try:
        plain = zlib.decompress(data)
    except zlib.error as error:
        raise ValueError(f"it cannot be decompressed ({error})") from error
    try:
        (length,) = _LENGTH.unpack_from(plain)
        row = msgspec.json.decode(plain[_LENGTH.size : _LENGTH.size + length], type=TrialRow)
        pnl, place = _unpack_profits(plain, _LENGTH.size + length)
        holdout, place = _unpack_profits(plain, place)
    except (struct.error, IndexError) as error:
        raise ValueError(f"it is cut off ({error})") from error
    if place != len(plain):
        raise ValueError(f"{len(plain) - place} bytes follow it")
    return row, pnl, holdout


def _pack_profits(profits: Sequence[float]) -> bytes:
    from aiopt.ranking.packing_kernels import packed_profits

    values = np.ascontiguousarray(profits, dtype=np.float64)
    packed = np.empty(9 * values.size + _RAW, dtype=np.uint8)
    size = packed_profits(values, _POWERS, _LARGEST, packed)
    return _LENGTH.pack(values.size) + packed[:size].tobytes()


def _unpack_whole(planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    width, count = planes.shape
    wide = np.zeros((count, 8), dtype=np.uint8)
    wide[:, :width] = planes.T
    unsigned = wide.view("<u8").reshape(count)
    return (unsigned >> np.uint64(1)).astype(np.int64) ^ -(unsigned & np.uint64(1)).astype(np.int64)


def _unpack_profits(data: bytes, place: int) -> tuple[npt.NDArray[np.float64], int]:
    (size,) = _LENGTH.unpack_from(data, place)
    place += _LENGTH.size
    codes = np.frombuffer(_take(data, place, size), dtype=np.uint8)
    place += size
    found = np.bincount(codes, minlength=_RAW + 1)
    if found.size > _RAW + 1:
        raise ValueError(f"a profit has the unknown code {codes.max()}")
    values = np.zeros(size)
    for code in range(1, _RAW):
        count, width = int(found[code]), data[place]
        if width > 8:
            raise ValueError(f"a whole number has {width} bytes")
        if count:
            planes = np.frombuffer(_take(data, place + 1, count * width), dtype=np.uint8)
            values[codes == code] = _unpack_whole(planes.reshape(width, count)) / _POWERS[code - 1]
        place += 1 + count * width
    count = 8 * int(found[_RAW])
    if count:
        values[codes == _RAW] = np.frombuffer(_take(data, place, count), dtype="<f8")
    return values, place + count


def _take(data: bytes, place: int, count: int) -> bytes:
    if place + count > len(data):
        raise IndexError(f"{place + count - len(data)} bytes are missing")
    return data[place : place + count]
