"""The profits of all trials of a run as one table, on disk where they are many.

Owns where that table lies.  A hundred thousand trials over a year of hours are six gigabytes: the operating
system pages them in and out of a file without a name, which ends with the process.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import as_strided

from aiopt.evaluation.arrays import FloatArray
from aiopt.files import storage_error

IN_MEMORY_BYTES = 2**30
"""Tables up to this size are kept in memory."""


def profit_table(n_rows: int, n_periods: int, folder: Path | None) -> FloatArray:
    """Return a table to be filled, shape (n_rows, n_periods).

    Parameters
    ----------
    n_rows, n_periods : int
        Its shape.
    folder : Path or None
        On the disk to use for a large one; None: always in memory.
    """
    size = 8 * n_rows * n_periods
    if folder is None or size <= IN_MEMORY_BYTES:
        return np.empty((n_rows, n_periods))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # Now, where it can be told: writing to a file with holes on a full disk ends the process.
            os.posix_fallocate(file.fileno(), 0, size)
            return np.frombuffer(mmap.mmap(file.fileno(), size)).reshape(n_rows, n_periods)
    except OSError as error:
        raise storage_error(folder, error) or error from error


def stacked(rows: Sequence[Sequence[float]]) -> FloatArray:
    """Return arrays of equal length as the rows of one table: a part of the table they are rows of, if any.

    Parameters
    ----------
    rows : sequence of array_like of shape (n_periods,)
        Evenly spaced rows of a `profit_table` are not copied.
    """
    arrays = [np.asarray(row, dtype=np.float64) for row in rows]
    if not arrays:
        return np.empty((0, 0))
    first = arrays[0]
    shape = (len(arrays), first.size)
    places = [array.__array_interface__["data"][0] for array in arrays]
    step = places[1] - places[0] if len(places) > 1 else first.nbytes
    one_table = first.base is not None and all(array.base is first.base for array in arrays)
    evenly = step >= first.nbytes and places == [places[0] + i * step for i in range(len(places))]
    if one_table and evenly and all(array.shape == shape[1:] for array in arrays):
        return as_strided(first, shape, (step, first.itemsize), writeable=False)
    return np.array(arrays).reshape(shape)
