"""The loop that finds how short a profit can be written, in compiled code.

Imported at its first use: readers of packed rows must not wait for the compiler.  Owns no format; that is
`aiopt.ranking.packing`'s.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled


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
        for decimals in range(powers.size):
            scaled = np.rint(value * powers[decimals])
            # False for NaN, as it must be.
            if abs(scaled) < largest and scaled / powers[decimals] == value:
                codes[i] = decimals + 1
                whole[i] = np.int64(scaled)
                break
