"""The compiled loop that reads every bit of a JPEG scan: whole, cut off, or damaged.

Owns Huffman decoding of baseline and progressive scans (ITU T.81, F.2 and G.2) as far as it says whether the
bits add up: each code exists, each block ends inside its 64 coefficients, the scan ends where its blocks do.
It keeps no picture.  Arrays in, a status out, the global interpreter lock released.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled
from aiopt.serving.pictures.scan_codes import (
    AC_FIRST,
    AC_REFINE,
    BAD_CODE,
    BAD_RESTART,
    BASELINE,
    BITS,
    C_AC,
    C_ACROSS,
    C_BASE,
    C_DC,
    C_DOWN,
    C_QUANTUM,
    C_STRIDE,
    COUNT,
    CUT,
    DC_REFINE,
    LEFT_OVER,
    MAX_AC_SIZE,
    MAX_DC,
    MAX_DC_SIZE,
    OK,
    OUT_OF_RANGE,
    OVERFULL,
    POSITION,
    RUN,
)


@compiled
def _fill(data: NDArray[np.uint8], state: NDArray[np.int64]) -> None:
    """Read ahead, up to a marker or the end."""
    while state[COUNT] <= 40:
        at = state[POSITION]
        if at >= data.size:
            return
        byte = np.int64(data[at])
        if byte == 0xFF:
            if at + 1 >= data.size or data[at + 1] != 0:
                return
            state[POSITION] = at + 2
        else:
            state[POSITION] = at + 1
        kept = state[BITS] & ((np.int64(1) << state[COUNT]) - 1)
        state[BITS] = (kept << 8) | byte
        state[COUNT] += 8


@compiled
def _take(data: NDArray[np.uint8], state: NDArray[np.int64], count: int) -> int:
    """Return the next bits as a number; -CUT where they end."""
    if state[COUNT] < count:
        _fill(data, state)
        if state[COUNT] < count:
            return -CUT
    state[COUNT] -= count
    return int((state[BITS] >> state[COUNT]) & ((np.int64(1) << count) - 1))


@compiled
def _symbol(data: NDArray[np.uint8], state: NDArray[np.int64], table: NDArray[np.uint16]) -> int:
    """Return the symbol of the next code; -CUT or -BAD_CODE."""
    if state[COUNT] < 16:
        _fill(data, state)
    if state[COUNT] >= 16:
        window = (state[BITS] >> (state[COUNT] - 16)) & 0xFFFF
    else:
        window = (state[BITS] << (16 - state[COUNT])) & 0xFFFF
    entry = np.int64(table[window])
    length = entry >> 8
    if length == 0:
        return -BAD_CODE if state[COUNT] >= 16 else -CUT
    if length > state[COUNT]:
        return -CUT
    state[COUNT] -= length
    return int(entry & 0xFF)


@compiled
def _dc(
    data: NDArray[np.uint8],
    state: NDArray[np.int64],
    table: NDArray[np.uint16],
    means: NDArray[np.int64],
    which: int,
    limit: int,
) -> int:
    """Read the difference of a block's mean to the one before."""
    size = _symbol(data, state, table)
    if size < 0:
        return -size
    if size > MAX_DC_SIZE:
        return OVERFULL
    if size:
        value = _take(data, state, size)
        if value < 0:
            return CUT
        if value < (1 << (size - 1)):
            value -= (1 << size) - 1
        means[which] += value
        if abs(means[which]) > limit:
            return OUT_OF_RANGE
    return OK


@compiled
def _ac_whole(data: NDArray[np.uint8], state: NDArray[np.int64], table: NDArray[np.uint16]) -> int:
    """Read the other 63 coefficients of a block of a baseline scan."""
    place = 1
    while place < 64:
        symbol = _symbol(data, state, table)
        if symbol < 0:
            return -symbol
        run, size = symbol >> 4, symbol & 15
        if size == 0:
            if run == 0:
                return OK
            if run != 15:
                return OVERFULL
            place += 16
            continue
        place += run
        if place > 63 or size > MAX_AC_SIZE:
            return OVERFULL
        if _take(data, state, size) < 0:
            return CUT
        place += 1
    return OK if place == 64 else OVERFULL


@compiled
def _ac_first(
    data: NDArray[np.uint8],
    state: NDArray[np.int64],
    table: NDArray[np.uint16],
    known: NDArray[np.uint64],
    block: int,
    first: int,
    last: int,
) -> int:
    """Read a band of a block for the first time, noting which coefficients are not zero."""
    if state[RUN] > 0:
        state[RUN] -= 1
        return OK
    place = first
    while place <= last:
        symbol = _symbol(data, state, table)
        if symbol < 0:
            return -symbol
        run, size = symbol >> 4, symbol & 15
        if size == 0:
            if run == 15:
                place += 16
                continue
            state[RUN] = (np.int64(1) << run) - 1
            if run:
                more = _take(data, state, run)
                if more < 0:
                    return CUT
                state[RUN] += more
            return OK
        place += run
        if place > last or size > MAX_AC_SIZE:
            return OVERFULL
        if _take(data, state, size) < 0:
            return CUT
        known[block] |= np.uint64(1) << np.uint64(place)
        place += 1
    return OK if place == last + 1 else OVERFULL


@compiled
def _ac_refine(
    data: NDArray[np.uint8],
    state: NDArray[np.int64],
    table: NDArray[np.uint16],
    known: NDArray[np.uint64],
    block: int,
    first: int,
    last: int,
) -> int:
    """Read one more bit of a band's coefficients that are not zero, and which others are now."""
    place = first
    if state[RUN] == 0:
        while place <= last:
            symbol = _symbol(data, state, table)
            if symbol < 0:
                return -symbol
            run, size = symbol >> 4, symbol & 15
            if size > 1:
                return OVERFULL
            if size == 1:
                if _take(data, state, 1) < 0:
                    return CUT
            elif run != 15:
                state[RUN] = np.int64(1) << run
                if run:
                    more = _take(data, state, run)
                    if more < 0:
                        return CUT
                    state[RUN] += more
                break
            while place <= last:
                if known[block] & (np.uint64(1) << np.uint64(place)):
                    if _take(data, state, 1) < 0:
                        return CUT
                else:
                    run -= 1
                    if run < 0:
                        break
                place += 1
            if size == 1:
                if place > last:
                    return OVERFULL
                known[block] |= np.uint64(1) << np.uint64(place)
            place += 1
    if state[RUN] > 0:
        while place <= last:
            if known[block] & (np.uint64(1) << np.uint64(place)) and _take(data, state, 1) < 0:
                return CUT
            place += 1
        state[RUN] -= 1
    return OK


# Twelve parameters: Numba compiles functions of arrays and numbers; a class of its own (`jitclass`) cannot be
# kept compiled on disk.  The body is one walk over the scan's units, most of its lines its docstring's.
@compiled
def read_scan(
    data: NDArray[np.uint8],
    start: int,
    kind: int,
    components: NDArray[np.int64],
    mcus: int,
    mcus_wide: int,
    tables: NDArray[np.uint16],
    known: NDArray[np.uint64],
    first: int,
    last: int,
    low: int,
    interval: int,
) -> tuple[int, int]:
    """Read a scan from its first entropy-coded byte.

    Parameters
    ----------
    data : ndarray of uint8, shape (n,)
        The file.
    start : int
        First byte behind the scan's header.
    kind : int
        `BASELINE` to `AC_REFINE`.
    components : ndarray of int64, shape (n_components, 7)
        Columns `C_DC` to `C_QUANTUM`: rows of `tables`, blocks of a unit across and down, blocks of a row,
        first block in `known`, quantiser of the mean.
    mcus, mcus_wide : int
        Units of the scan, and how many lie side by side.
    tables : ndarray of uint16, shape (8, 65536)
        By the next 16 bits: length of the code times 256, plus its symbol; 0 where there is no code.
    known : ndarray of uint64
        A bit for each coefficient of each block that is not zero; progressive scans only.
    first, last, low : int
        Band of coefficients, and the lowest bit this scan gives.
    interval : int
        Units between restarts; 0 for none.

    Returns
    -------
    status : int
        `OK` to `OUT_OF_RANGE`.
    position : int
        Where the scan's bytes end.
    """
    state = np.zeros(4, np.int64)
    state[POSITION] = start
    means = np.zeros(components.shape[0], np.int64)
    restarts = 0
    for unit in range(mcus):
        if interval and unit and unit % interval == 0:
            _fill(data, state)
            if state[COUNT] >= 8 or state[RUN]:
                return LEFT_OVER, state[POSITION]
            at = state[POSITION]
            while at + 1 < data.size and data[at] == 0xFF and data[at + 1] == 0xFF:
                at += 1
            if at + 1 >= data.size or data[at + 1] == 0xD9:
                return CUT, at
            if data[at + 1] != 0xD0 + restarts % 8:
                return BAD_RESTART, at
            restarts += 1
            state[:] = 0
            state[POSITION] = at + 2
            means[:] = 0
        row, column = unit // mcus_wide, unit % mcus_wide
        for which in range(components.shape[0]):
            across, down = components[which, C_ACROSS], components[which, C_DOWN]
            quantum = components[which, C_QUANTUM] << low
            for inner in range(across * down):
                block = (
                    components[which, C_BASE]
                    + (row * down + inner // across) * components[which, C_STRIDE]
                    + column * across
                    + inner % across
                )
                if kind == DC_REFINE:
                    status = OK if _take(data, state, 1) >= 0 else CUT
                elif kind == AC_FIRST:
                    table = tables[components[which, C_AC]]
                    status = _ac_first(data, state, table, known, block, first, last)
                elif kind == AC_REFINE:
                    table = tables[components[which, C_AC]]
                    status = _ac_refine(data, state, table, known, block, first, last)
                else:
                    limit = MAX_DC // quantum + 2
                    status = _dc(data, state, tables[components[which, C_DC]], means, which, limit)
                    if status == OK and kind == BASELINE:
                        status = _ac_whole(data, state, tables[components[which, C_AC]])
                if status != OK:
                    return status, state[POSITION]
    _fill(data, state)
    if state[COUNT] >= 8 or state[RUN]:
        return LEFT_OVER, state[POSITION]
    return OK, state[POSITION]
