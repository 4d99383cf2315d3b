"""The loops that find how short a profit can be written, and read it back, in compiled code.

Imported at its first use: readers of packed rows must not wait for the compiler.  Owns no format; that is
`aiopt.ranking.packing`'s.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled

_SURE = 2.0**50
"""Below this no rounding of a product reaches the next whole number."""


@compiled
def shortest(
    values: NDArray[np.float64],
    powers: NDArray[np.float64],
    largest: float,
    codes: NDArray[np.uint8],
    whole: NDArray[np.int64],
) -> None:
    """Write the code of each value, and the whole number it is in its power of ten.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Profits.
    powers : ndarray of shape (n_powers,)
        1, 10, 100, …
    largest : float
        Whole numbers of this size and above are not used.
    codes : ndarray of shape (n,), uint8
        0 for zero, 1 + decimals, or ``1 + n_powers`` where no power gives back the same float.
    whole : ndarray of shape (n,), int64
        Where there are decimals.
    """
    raw = powers.size + 1
    for i in range(values.size):
        value = values[i]
        if value == 0.0:
            codes[i] = raw if math.copysign(1.0, value) < 0.0 else 0
            continue
        codes[i] = raw
        last = powers.size - 1
        scaled = np.rint(value * powers[last])
        if abs(scaled) < _SURE and scaled / powers[last] == value:
            # The one number of that many decimals: its zeros at the end are decimals too many.
            number = np.int64(scaled)
            while last > 0 and number % 10 == 0:
                number //= 10
                last -= 1
            codes[i] = last + 1
            whole[i] = number
            continue
        for decimals in range(powers.size):
            scaled = np.rint(value * powers[decimals])
            # False for NaN, as it must be.
            if abs(scaled) < largest and scaled / powers[decimals] == value:
                codes[i] = decimals + 1
                whole[i] = np.int64(scaled)
                break


@compiled
def packed_profits(
    values: NDArray[np.float64], powers: NDArray[np.float64], largest: float, packed: NDArray[np.uint8]
) -> int:
    """Write a series of profits as `unpacked_profits` reads it: codes, whole numbers by code, floats.

    Whole numbers have as few bytes each as the largest of their code needs, all low bytes first, then the
    next.  The sign is in the lowest bit, so that the high bytes of small numbers are zero: zlib likes both.

    Parameters
    ----------
    values, powers, largest
        As for `shortest`.
    packed : ndarray of shape (>= 9 * n + n_powers,), uint8
        The result.

    Returns
    -------
    int
        Bytes written.
    """
    size = values.size
    raw = powers.size + 1
    whole = np.zeros(size, dtype=np.int64)
    codes = packed[:size]
    shortest(values, powers, largest, codes, whole)
    counts = np.zeros(raw + 1, dtype=np.int64)
    bits = np.zeros(raw + 1, dtype=np.uint64)
    for i in range(size):
        code = codes[i]
        counts[code] += 1
        if 0 < code < raw:
            unsigned = np.uint64((whole[i] << 1) ^ (whole[i] >> 63))
            whole[i] = np.int64(unsigned)
            bits[code] |= unsigned
    cursors = np.zeros(raw + 1, dtype=np.int64)
    widths = np.zeros(raw + 1, dtype=np.int64)
    place = size
    for code in range(1, raw):
        while bits[code] >> np.uint64(8 * widths[code]):
            widths[code] += 1
        packed[place] = widths[code]
        cursors[code] = place + 1
        place += 1 + counts[code] * widths[code]
    cursors[raw] = place
    for i in range(size):
        code = codes[i]
        if code == raw:
            packed[cursors[raw] : cursors[raw] + 8] = values[i : i + 1].view(np.uint8)
            cursors[raw] += 8
        elif code > 0:
            unsigned = np.uint64(whole[i])
            for byte in range(widths[code]):
                shifted = unsigned >> np.uint64(8 * byte)
                packed[cursors[code] + byte * counts[code]] = np.uint8(shifted & np.uint64(255))
            cursors[code] += 1
    return int(cursors[raw])


@compiled
def unpacked_profits(
    plain: NDArray[np.uint8], start: int, powers: NDArray[np.float64], values: NDArray[np.float64]
) -> int:
    """Read a series of packed profits.

    Parameters
    ----------
    plain : ndarray of shape (n_bytes,), uint8
        A row without compression.
    start : int
        Where the codes of the series begin.
    powers : ndarray of shape (n_powers,)
        As for `shortest`.
    values : ndarray of shape (n,)
        Written.

    Returns
    -------
    int
        Where the series ends; -1 where the bytes are no such series.
    """
    raw = powers.size + 1
    size = values.size
    if start + size > plain.size:
        return -1
    counts = np.zeros(raw + 1, dtype=np.int64)
    for i in range(size):
        code = plain[start + i]
        if code > raw:
            return -1
        counts[code] += 1
    place = start + size
    # Where the next number of each code lies, how many of them there are and how wide they are.
    cursors = np.zeros(raw + 1, dtype=np.int64)
    widths = np.zeros(raw + 1, dtype=np.int64)
    for code in range(1, raw):
        if place >= plain.size:
            return -1
        widths[code] = plain[place]
        cursors[code] = place + 1
        if widths[code] > 8:
            return -1
        place += 1 + counts[code] * widths[code]
    cursors[raw] = place
    place += 8 * counts[raw]
    if place > plain.size:
        return -1
    for i in range(size):
        code = plain[start + i]
        if code == 0:
            values[i] = 0.0
        elif code < raw:
            unsigned = np.uint64(0)
            for byte in range(widths[code]):
                unsigned |= np.uint64(plain[cursors[code] + byte * counts[code]]) << np.uint64(8 * byte)
            cursors[code] += 1
            whole = np.int64(unsigned >> np.uint64(1)) ^ -np.int64(unsigned & np.uint64(1))
            values[i] = whole / powers[code - 1]
        else:
            values[i] = plain[cursors[raw] : cursors[raw] + 8].view(np.float64)[0]
            cursors[raw] += 8
    return place
