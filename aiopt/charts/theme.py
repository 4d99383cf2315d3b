"""Colours: the palette of each theme and how ink mixes with what lies below.

Owns what each palette index means; knows nothing of bars or geometry.  A chart is drawn in indices, one byte
per pixel; anti-aliased edges are indices too, one per (ink, surface below, share of ink).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ThemeName = Literal["dark", "light"]
THEMES: tuple[ThemeName, ...] = ("dark", "light")

FULL = 5
"""Ink level of a pixel that ink covers entirely; levels 1 to 4 are its fifths."""

N_LINE_INKS = 6
"""Colours of lines; trades use the last two."""


class Colour(IntEnum):
    """Palette indices of plain colours."""

    BACKGROUND = 0
    UP = 1
    DOWN = 2
    VOLUME_UP = 3
    VOLUME_DOWN = 4
    PROFIT = 5
    LOSS = 6
    GRID = 7
    BORDER = 8
    FLAT = 9
    WICK_UP = 10
    WICK_DOWN = 11
    TEXT = 12
    MUTED = 13
    LEVEL = 14
    BREAK = 15
    STOP = 16
    TARGET = 17
    BADGE = 18
    TAG_TEXT = 19
    LINE_0 = 24
    LONG = 28
    SHORT = 29


SURFACES = (
    Colour.BACKGROUND,
    Colour.UP,
    Colour.DOWN,
    Colour.VOLUME_UP,
    Colour.VOLUME_DOWN,
    Colour.PROFIT,
    Colour.LOSS,
)
"""What lines cross; everything else counts as background or as its surface."""

LINE_INKS = tuple(range(Colour.LINE_0, Colour.LINE_0 + N_LINE_INKS))
_TAG_SURFACES = (Colour.UP, Colour.DOWN, Colour.BADGE, Colour.FLAT)
_FIRST_MIX = 32

_HEX: dict[str, dict[str, str]] = {
    "dark": {
        "BACKGROUND": "131722",
        "UP": "26a69a",
        "DOWN": "ef5350",
        "VOLUME_UP": "1b5d5d",
        "VOLUME_DOWN": "7a343b",
        "PROFIT": "17353b",
        "LOSS": "3a2230",
        "GRID": "222735",
        "BORDER": "434a5c",
        "FLAT": "9aa1b2",
        "WICK_UP": "1c6f69",
        "WICK_DOWN": "9a3b3d",
        "TEXT": "dfe3ec",
        "MUTED": "9aa1b2",
        "LEVEL": "5d6579",
        "BREAK": "4b5168",
        "STOP": "ff6b6b",
        "TARGET": "3ddc97",
        "BADGE": "c77d0a",
        "TAG_TEXT": "ffffff",
        "LINES": "f5b83d 5b9cff c58af9 f48fb1 4fc3f7 ff8a50",
    },
    "light": {
        "BACKGROUND": "ffffff",
        "UP": "0b8f7e",
        "DOWN": "e0393e",
        "VOLUME_UP": "a3d5cd",
        "VOLUME_DOWN": "f4b5b5",
        "PROFIT": "ddf3ec",
        "LOSS": "fbe3e4",
        "GRID": "eceff4",
        "BORDER": "a9b0bf",
        "FLAT": "5f6675",
        "WICK_UP": "5bb0a4",
        "WICK_DOWN": "ea7f82",
        "TEXT": "1a1f2b",
        "MUTED": "5f6675",
        "LEVEL": "9aa2b3",
        "BREAK": "b4bac8",
        "STOP": "d32f2f",
        "TARGET": "18894f",
        "BADGE": "b56b00",
        "TAG_TEXT": "ffffff",
        "LINES": "b97700 1e5bd6 7b2fbf c2185b 0277bd c65100",
    },
}


@dataclass(frozen=True, eq=False)
class Theme:
    """A palette and its mixing table.

    Attributes
    ----------
    palette : ndarray of shape (n_colours, 3), uint8
        Red, green, blue of each index.
    """

    palette: NDArray[np.uint8]


@cache
def theme(name: ThemeName) -> Theme:
    """Return a theme."""
    colours = _HEX[name]
    palette = np.zeros((_n_colours(), 3), np.uint8)
    for colour in Colour:
        if colour.name in colours:
            palette[colour] = _rgb(colours[colour.name])
    for line_ink, text in zip(LINE_INKS, colours["LINES"].split(), strict=True):
        palette[line_ink] = _rgb(text)
    for at, (ink, surface, level) in enumerate(_mixes(), start=_FIRST_MIX):
        mixed = palette[ink].astype(int) * level + palette[surface].astype(int) * (FULL - level)
        palette[at] = (mixed + FULL // 2) // FULL
    palette.flags.writeable = False
    return Theme(palette=palette)


@cache
def mixing_table(ink: int) -> NDArray[np.uint8]:
    """Return what a pixel becomes under an ink, shape (6, 256): level, old index to new index.

    The faint edge of a line leaves another line's full colour as it is; a strong edge hides it.
    """
    below = _surface_below()
    table = np.empty((FULL + 1, 256), np.uint8)
    table[0] = np.arange(256)
    table[FULL] = ink
    index = {mix: at for at, mix in enumerate(_mixes(), start=_FIRST_MIX)}
    known = {surface for mixed_ink, surface, _ in index if mixed_ink == ink}
    for level in range(1, FULL):
        fallback = index[ink, min(known), level]
        table[level] = [index.get((ink, surface, level), fallback) for surface in below]
    for other in LINE_INKS:
        table[1:3, other] = other
        table[3:FULL, other] = ink
    table.flags.writeable = False
    return table


@cache
def _mixes() -> tuple[tuple[int, int, int], ...]:
    """Return every (ink, surface, level) that has an index, in order."""
    pairs = [(ink, surface) for ink in LINE_INKS for surface in SURFACES]
    pairs += [(Colour.TEXT, Colour.BACKGROUND), (Colour.MUTED, Colour.BACKGROUND)]
    pairs += [(Colour.TAG_TEXT, surface) for surface in _TAG_SURFACES]
    return tuple((int(ink), int(surface), level) for ink, surface in pairs for level in range(1, FULL))


def _n_colours() -> int:
    return _FIRST_MIX + len(_mixes())


def _surface_below() -> list[int]:
    """Return for each index the surface that a faint edge drawn over it mixes with."""
    below = [int(Colour.BACKGROUND)] * 256
    for plain in (*SURFACES, *_TAG_SURFACES):
        below[plain] = int(plain)
    below[Colour.WICK_UP] = int(Colour.UP)
    below[Colour.WICK_DOWN] = int(Colour.DOWN)
    for at, (_, surface, _) in enumerate(_mixes(), start=_FIRST_MIX):
        below[at] = surface
    return below


def _rgb(text: str) -> tuple[int, int, int]:
    return int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)
