"""Drawing into an array of palette indices.  Owns pixels; knows nothing of prices, bars or colours' meaning.

Pixel (row, column) covers one unit around the point (row, column); row 0 is on top.  Results depend only on
correctly rounded operations (+ - × ÷ √), so every machine draws the same pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiopt.charts.font import Face, set_text
from aiopt.charts.theme import FULL, mixing_table

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels; all sides included."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top + 1

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left + 1


class Canvas:
    """An image of palette indices.

    Parameters
    ----------
    width, height : int
        Pixels.

    Attributes
    ----------
    pixels : ndarray of shape (height, width), uint8
        Palette indices, all 0 at first.
    """

    def __init__(self, width: int, height: int) -> None:
        self.pixels: NDArray[np.uint8] = np.zeros((height, width), np.uint8)
        self._levels: NDArray[np.uint8] = np.zeros(height * width, np.uint8)

    def fill(self, box: Box, colour: int) -> None:
        """Fill a rectangle."""
        self.pixels[box.top : box.bottom + 1, box.left : box.right + 1] = colour

    def columns(
        self,
        box: Box,
        columns: tuple[list[int], list[int]],
        rows: tuple[list[int], list[int]],
        colours: list[int],
    ) -> None:
        """Fill one upright rectangle per entry, clipped to `box`.

        Parameters
        ----------
        box : Box
            Nothing outside is touched.
        columns, rows : pair of lists of int
            First and last column, first and last row of each rectangle, all included.
        colours : list of int
            Palette index of each.
        """
        part = self.pixels[: box.bottom + 1, : box.right + 1]
        first_row, first_column = box.top, box.left
        for left, right, top, bottom, colour in zip(*columns, *rows, colours, strict=True):
            if bottom >= first_row:
                part[max(top, first_row) : bottom + 1, max(left, first_column) : right + 1] = colour

    def row_line(self, row: int, left: int, right: int, colour: int, *, dash: int = 0, gap: int = 0) -> None:
        """Draw a horizontal line, ends included; dashed if `dash` is positive."""
        part = self.pixels[row, left : right + 1]
        if dash:
            part[np.arange(part.size) % (dash + gap) < dash] = colour
        else:
            part[:] = colour

    def column_line(
        self, column: int, top: int, bottom: int, colour: int, *, dash: int = 0, gap: int = 0
    ) -> None:
        """Draw a vertical line, ends included; dashed if `dash` is positive."""
        part = self.pixels[top : bottom + 1, column]
        if dash:
            part[np.arange(part.size) % (dash + gap) < dash] = colour
        else:
            part[:] = colour

    def text(self, row: int, column: int, text: str, face: Face, ink: int) -> int:
        """Set a line of text with its top left corner at (row, column); return the column behind it.

        What does not fit the canvas is cut off.
        """
        levels = set_text(face, text)
        target = self.pixels[row : row + levels.shape[0], column : column + levels.shape[1]]
        levels = levels[: target.shape[0], : target.shape[1]]
        target[:] = mixing_table(ink)[levels, target]
        return column + levels.shape[1]

    def polyline(self, box: Box, x: FloatArray, y: FloatArray, ink: int, *, width: float) -> None:
        """Draw connected segments with smooth edges, clipped to `box`.

        Parameters
        ----------
        box : Box
            Nothing outside is touched.
        x, y : ndarray of shape (n_points,)
            Columns, finite, and rows; a row of NaN interrupts the line, a point alone becomes a dot.
        ink : int
            Palette index.
        width : float
            Thickness in pixels.

        Notes
        -----
        A pixel's ink is its distance to the nearest segment: full up to ``width / 2 - 0.5``, none from
        ``width / 2 + 0.5`` on, linear between, rounded to fifths.
        """
        start, end = _segments(y)
        row, column, distance = _near_pixels(box, x[start], y[start], x[end], y[end], width / 2 + 0.5)
        level = np.floor(np.clip(width / 2 + 0.5 - distance, 0.0, 1.0) * FULL + 0.5).astype(np.uint8)
        order = np.argsort(level, kind="stable")
        at = (row * self.pixels.shape[1] + column)[order]
        # Where segments overlap, the strongest level is written last and stays.
        self._levels[at] = level[order]
        flat = self.pixels.reshape(-1)
        flat[at] = mixing_table(ink)[self._levels[at], flat[at]]
        self._levels[at] = 0


def _segments(y: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return first and last point of each segment; a point between two NaN is a segment of its own."""
    known = np.isfinite(y)
    start = np.flatnonzero(known[:-1] & known[1:])
    alone = known.copy()
    alone[:-1] &= ~known[1:]
    alone[1:] &= ~known[:-1]
    dots = np.flatnonzero(alone)
    return np.concatenate((start, dots)), np.concatenate((start + 1, dots))


def _near_pixels(
    box: Box, x0: FloatArray, y0: FloatArray, x1: FloatArray, y1: FloatArray, reach: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Return rows, columns and distances of the pixels of `box` within about `reach` of each segment."""
    left, right = np.minimum(x0, x1), np.maximum(x0, x1)
    first = np.maximum(np.ceil(left - reach), box.left).astype(np.int64)
    last = np.minimum(np.floor(right + reach), box.right).astype(np.int64)
    segment, column = _ranges(first, last)
    run = x1[segment] - x0[segment]
    slope = np.divide(y1[segment] - y0[segment], run, out=np.zeros(run.size), where=run != 0)
    upright = run == 0
    near = np.clip(column - reach, left[segment], right[segment]) - x0[segment]
    far = np.clip(column + reach, left[segment], right[segment]) - x0[segment]
    start, end = y0[segment], y1[segment]
    ya = np.where(upright, start, start + near * slope)
    yb = np.where(upright, end, start + far * slope)
    top = np.maximum(np.ceil(np.minimum(ya, yb) - reach), box.top).astype(np.int64)
    bottom = np.minimum(np.floor(np.maximum(ya, yb) + reach), box.bottom).astype(np.int64)
    pair, row = _ranges(top, bottom)
    segment, column = segment[pair], column[pair]
    dx, dy = x1[segment] - x0[segment], y1[segment] - y0[segment]
    px, py = column - x0[segment], row - y0[segment]
    squared = dx * dx + dy * dy
    along = np.divide(px * dx + py * dy, squared, out=np.zeros(squared.size), where=squared > 0)
    np.clip(along, 0.0, 1.0, out=along)
    off_x, off_y = px - along * dx, py - along * dy
    return row, column, np.sqrt(off_x * off_x + off_y * off_y)


def _ranges(first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for every i the numbers ``first[i]`` to ``last[i]``, all in one array, with their i."""
    counts = np.maximum(last - first + 1, 0)
    owner = np.repeat(np.arange(counts.size), counts)
    within = np.arange(owner.size) - np.repeat(np.cumsum(counts) - counts, counts)
    return owner, first[owner] + within
