"""EXIF orientation: which way up a camera held a picture.  Owns the tag's place in a TIFF block.

A block that is damaged says nothing: metadata is no reason to refuse pixels that are whole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TAG, _SHORT = 0x0112, 3


def orientation_of(block: bytes) -> int:
    """Return the orientation (1 to 8) of a TIFF block; 1, upright, where it names none."""
    order = {b"II": "little", b"MM": "big"}.get(block[:2])
    if order is None:
        return 1

    def number(at: int, size: int) -> int:
        return int.from_bytes(block[at : at + size], order)  # type: ignore[arg-type]

    directory = number(4, 4)
    for entry in range(min(number(directory, 2), 512)):
        at = directory + 2 + 12 * entry
        if len(block) < at + 12:
            return 1
        if number(at, 2) == _TAG and number(at + 2, 2) == _SHORT:
            value = number(at + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return pixels of shape (height, width, 3) the way up they are meant to be seen."""
    mirrored = {
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        6: pixels[::-1],
        7: pixels[::-1, ::-1],
        8: pixels[:, ::-1],
    }.get(orientation, pixels)
    return mirrored.swapaxes(0, 1) if orientation >= 5 else mirrored
