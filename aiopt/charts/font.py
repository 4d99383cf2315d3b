"""Text as ink levels.  Owns the two faces and how a string is set; knows nothing of colours or places."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aiopt.charts import font_data

_FALLBACK = "?"
_CACHED_TEXTS = 4096


@dataclass(frozen=True, eq=False)
class Face:
    """One size and weight.

    Attributes
    ----------
    height : int
        Of every line of text, in pixels.
    glyphs : dict of str to ndarray of shape (height, width), uint8
        Ink levels, 0 (none) to 5 (full).
    """

    height: int
    glyphs: dict[str, NDArray[np.uint8]]

    def width(self, text: str) -> int:
        """Return the width of a line of text in pixels."""
        return sum(self.glyph(character).shape[1] for character in text)

    def glyph(self, character: str) -> NDArray[np.uint8]:
        """Return a character's ink, a question mark's if the face has none."""
        return self.glyphs.get(character, self.glyphs[_FALLBACK])


@lru_cache(maxsize=_CACHED_TEXTS)
def set_text(face: Face, text: str) -> NDArray[np.uint8]:
    """Return the ink levels of a line of text, shape (face.height, width), read-only."""
    parts = [face.glyph(character) for character in text]
    ink = np.concatenate(parts, axis=1) if parts else np.zeros((face.height, 0), np.uint8)
    ink.flags.writeable = False
    return ink


def _load(height: int, widths: tuple[int, ...], sheet: str) -> Face:
    packed = zlib.decompress(base64.b85decode(sheet))
    ink = np.frombuffer(packed, np.uint8).reshape(height, -1)
    stops = np.cumsum(widths).tolist()
    glyphs = {
        character: ink[:, stop - width : stop]
        for character, width, stop in zip(font_data.CHARACTERS, widths, stops, strict=True)
    }
    return Face(height=height, glyphs=glyphs)


REGULAR = _load(font_data.REGULAR_HEIGHT, font_data.REGULAR_WIDTHS, font_data.REGULAR_SHEET)
BOLD = _load(font_data.BOLD_HEIGHT, font_data.BOLD_WIDTHS, font_data.BOLD_SHEET)
