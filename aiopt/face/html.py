"""HTML for notebooks: a card, a table, an equity curve as SVG.

Owns the markup.  Every style stands on its element, colours follow the page, so light and dark notebooks both
read well.  Knows nothing of what is shown.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aiopt.report.svg import Linear, padded, time_ticks

if TYPE_CHECKING:
    import polars as pl

UP, DOWN, INK = "#2e8b57", "#c0392b", "#3b7dd8"

WIDTH, HEIGHT = 720, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 10, 24
_COLUMNS = WIDTH - _LEFT - _RIGHT

_CELL = "padding:2px 10px;text-align:{align};white-space:{space};border:0;vertical-align:top;max-width:520px"

GENERATED = "Generated ticks: no market ever quoted these prices."

_LONG = 60
"""Text of more characters may wrap."""

PLACES = 5
"""Most decimals of a number in a table."""


def card(title: str, *parts: str, warnings: Iterable[str] = ()) -> str:
    """Return a titled block of HTML.

    Parameters
    ----------
    title : str
        Plain text.
    *parts : str
        HTML.
    warnings : iterable of str
        Plain text; what a reader must not miss.
    """
    said = "".join(
        f'<div style="color:{DOWN};font-weight:600;margin:2px 0">{escape(text)}</div>' for text in warnings
    )
    return (
        '<div style="font:13px/1.45 system-ui,sans-serif;max-width:100%;overflow-x:auto">'
        f'<div style="font-weight:600;margin:4px 0">{escape(title)}</div>{said}{"".join(parts)}</div>'
    )


def note(text: str) -> str:
    """Return a line of small print."""
    return f'<div style="opacity:.75;margin:2px 0;max-width:{WIDTH}px">{escape(text)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table.  A column of numbers is aligned right, its numbers to one number of decimals.

    Parameters
    ----------
    head : sequence of str
        Names of the columns; empty where the first column names the rows.
    rows : iterable of sequence of object
        Cells; None and NaN are shown as a dash.
    """
    found = [list(row) for row in rows]
    columns = list(zip(*found, strict=True))
    numeric = [bool(head) and any(map(_is_number, column)) for column in columns]
    places = [
        _places(column) if is_number else PLACES for column, is_number in zip(columns, numeric, strict=True)
    ]
    body = "".join(
        "<tr>"
        + "".join(
            _cell("td", cell_text(value, digits), right=is_number)
            for value, digits, is_number in zip(row, places, numeric, strict=True)
        )
        + "</tr>"
        for row in found
    )
    top = ""
    if head:
        look = ";border-bottom:1px solid currentColor;opacity:.8"
        right = numeric or [False] * len(head)
        cells = (_cell("th", name, right=one, style=look) for name, one in zip(head, right, strict=True))
        top = f"<thead><tr>{''.join(cells)}</tr></thead>"
    return f'<table style="border-collapse:collapse;margin:4px 0">{top}<tbody>{body}</tbody></table>'


def _cell(tag: str, text: str, *, right: bool, style: str = "") -> str:
    look = _CELL.format(align="right" if right else "left", space="normal" if len(text) > _LONG else "nowrap")
    return f'<{tag} style="{look}{style}">{escape(text)}</{tag}>'


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _places(column: Sequence[object]) -> int:
    """Return how many decimals the numbers of a column need, at most `PLACES`."""
    texts = [
        f"{value:.{PLACES}f}".rstrip("0") for value in column if isinstance(value, float) and value == value
    ]
    return max((len(text.partition(".")[2]) for text in texts), default=0)


def frame_html(frame: pl.DataFrame, rows: int) -> str:
    """Return the first and last rows of a frame as a table."""
    if frame.height <= rows:
        shown = [list(row) for row in frame.iter_rows()]
    else:
        half = rows // 2
        shown = [list(row) for row in frame.head(half).iter_rows()]
        shown.append(["…"] * frame.width)
        shown += [list(row) for row in frame.tail(rows - half).iter_rows()]
    return table(frame.columns, shown)


def cell_text(value: object, places: int = PLACES) -> str:
    """Return what stands in a cell; `places` are the decimals of a float."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.{places}f}"
    if isinstance(value, dt.datetime):
        text = value.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".")
        return text.removesuffix(":00") if text.endswith(":00") and "." not in text else text
    if isinstance(value, list | tuple | dict):
        return ", ".join(map(str, value.items() if isinstance(value, dict) else value))
    return str(value)


def curve(ts_ns: NDArray[np.int64], values: NDArray[np.float64], *, label: str, base: float) -> str:
    """Return a curve over time as an inline SVG.

    Parameters
    ----------
    ts_ns : ndarray of shape (n,), int64
        UTC, ascending.
    values : ndarray of shape (n,), float64
        Not finite where there is none.
    label : str
        What it shows, for people who do not see it.
    base : float
        A line is drawn at this value, and the curve is green above and red below where it ends.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return note("Nothing to draw.")
    ts_ns, values = ts_ns[finite], values[finite]
    x = Linear(float(ts_ns[0]), float(ts_ns[-1]), _LEFT, WIDTH - _RIGHT)
    y = Linear(*padded((float(values.min()), float(values.max())), include=(base,)), HEIGHT - _BOTTOM, _TOP)
    parts = []
    ticks = y.ticks(4)
    places = _places(ticks)
    for tick in ticks:
        parts.append(_line(_LEFT, y(tick), WIDTH - _RIGHT, y(tick), ".15"))
        parts.append(_text(_LEFT - 6, y(tick) + 4, cell_text(tick, places), "end"))
    for at, text in time_ticks(int(ts_ns[0]), int(ts_ns[-1]), 6):
        # A label half outside the picture would be cut off.
        anchor = "end" if x(at) > WIDTH - _LEFT else "middle"
        parts.append(_text(x(at), HEIGHT - 6, text, anchor))
    parts.append(_line(_LEFT, y(base), WIDTH - _RIGHT, y(base), ".6"))
    points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in _thinned(ts_ns, values))
    ink = UP if values[-1] > base else DOWN if values[-1] < base else INK
    parts.append(f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="1.5"/>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" style="max-width:100%;height:auto" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _thinned(ts_ns: NDArray[np.int64], values: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return the lowest and highest point of each pixel column, in order of time: all the eye can see."""
    if ts_ns.size <= 2 * _COLUMNS:
        keep = np.arange(ts_ns.size)
    else:
        edges = np.linspace(0, ts_ns.size, _COLUMNS + 1).astype(np.int64)[:-1]
        chunks = np.split(values, edges[1:])
        ends = [
            (start + int(np.argmin(chunk)), start + int(np.argmax(chunk)))
            for start, chunk in zip(edges.tolist(), chunks, strict=True)
        ]
        keep = np.unique(np.array([0, *(place for pair in ends for place in pair), ts_ns.size - 1]))
    return list(zip(ts_ns[keep].tolist(), values[keep].tolist(), strict=True))


def _line(x1: float, y1: float, x2: float, y2: float, opacity: str) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="currentColor" '
        f'stroke-opacity="{opacity}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11" fill="currentColor" '
        f'fill-opacity=".75">{escape(text)}</text>'
    )
