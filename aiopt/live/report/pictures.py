"""The pictures of a session's report: trades on the price, states of the feed; plain numbers to inline SVG.

Owns their layout.  Colours are the style sheet's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiopt.backtest.growing_bars import BarRow
from aiopt.report.charts import thin
from aiopt.report.svg import Canvas, Linear, padded, time_ticks
from aiopt.utc import time_text

_WIDTH, _HEIGHT = 1080, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 14.0, 70.0, 14.0, 320.0
_CANDLES = 260
"""Bars that are drawn as candles; more become a line."""
_MARKED = 200
"""Trades whose entries are marked; of more only the lines are drawn."""


@dataclass(frozen=True, kw_only=True)
class PricedTrade:
    """A trade in a picture; `exit_ns` None: it is open, and `profit` is what it is worth."""

    strategy: str
    side: int
    entry_ns: int
    entry: float
    exit_ns: int | None
    exit: float
    profit: float
    reason: str
    stop: float | None = None
    target: float | None = None


def price_chart(
    rows: Sequence[BarRow], length_ns: int, trades: Sequence[PricedTrade], *, digits: int, label: str
) -> str:
    """Draw bid prices with the trades on them.

    Parameters
    ----------
    rows : sequence of BarRow
        Bars in order; up to 260 are drawn as candles.
    length_ns : int
        Of a bar.
    trades : sequence of PricedTrade
        Those that touch the span of the bars are drawn.
    digits : int
        Decimals of a price.
    label : str
        What the picture shows, for people who do not see it.
    """
    if not rows:
        return ""
    start, stop = rows[0].ts_open_ns, rows[-1].ts_open_ns + length_ns
    shown = [one for one in trades if one.entry_ns < stop and (one.exit_ns or stop) >= start]
    canvas = Canvas(_WIDTH, _HEIGHT, label=label, minimum=700)
    levels = [level for one in shown if one.exit_ns is None for level in (one.stop, one.target) if level]
    ends = [price for one in shown if one.entry_ns >= start for price in (one.entry, one.exit)]
    prices = [row.bid_low for row in rows] + [row.bid_high for row in rows]
    x = Linear(float(start), float(stop), _LEFT, _WIDTH - _RIGHT)
    y = Linear(*padded(prices + levels + ends, pad=0.04), _BOTTOM, _TOP)
    _axes(canvas, x, y, digits)
    if len(rows) <= _CANDLES:
        _candles(canvas, rows, length_ns, x, y)
    else:
        closes = [row.bid_close for row in rows]
        canvas.path(
            [(x(float(rows[at].ts_open_ns + length_ns)), y(closes[at])) for at in thin(closes, 1_400)],
            "curve thin price",
        )
    for one in shown:
        _trade(canvas, one, x, y, stop, digits, marked=len(shown) <= _MARKED)
    return canvas.render()


def _axes(canvas: Canvas, x: Linear, y: Linear, digits: int) -> None:
    right = _WIDTH - _RIGHT
    for tick in y.ticks(6):
        canvas.line(_LEFT, y(tick), right, y(tick), "grid")
        canvas.text(right + 6, y(tick) + 4, f"{tick:.{digits}f}", "tick")
    canvas.line(_LEFT, _BOTTOM, right, _BOTTOM, "axis")
    for ns, text in time_ticks(int(x.low), int(x.high), 9):
        canvas.line(x(float(ns)), _BOTTOM, x(float(ns)), _BOTTOM + 5, "axis")
        fits = x(float(ns)) - 4 * len(text) >= 0
        canvas.text(x(float(ns)), _BOTTOM + 19, text, "tick", anchor="middle" if fits else "start")


def _candles(canvas: Canvas, rows: Sequence[BarRow], length_ns: int, x: Linear, y: Linear) -> None:
    wide = max(1.0, 0.66 * (x(float(rows[0].ts_open_ns + length_ns)) - x(float(rows[0].ts_open_ns))))
    for row in rows:
        middle = x(row.ts_open_ns + length_ns / 2)
        canvas.line(middle, y(row.bid_high), middle, y(row.bid_low), "wick")
        top, bottom = sorted((y(row.bid_open), y(row.bid_close)))
        css = "candle up" if row.bid_close >= row.bid_open else "candle down"
        tip = f"{time_text(row.ts_open_ns, 'm')}: {row.bid_open} {row.bid_high} {row.bid_low} {row.bid_close}"
        canvas.rect(middle - wide / 2, top, wide, max(bottom - top, 0.8), css, tip=tip)


def _trade(
    canvas: Canvas, one: PricedTrade, x: Linear, y: Linear, stop_ns: int, digits: int, *, marked: bool
) -> None:
    css = "gain" if one.profit >= 0 else "loss"
    first, last = x(float(one.entry_ns)), x(float(one.exit_ns or stop_ns))
    side = "long" if one.side > 0 else "short"
    for level, name in ((one.stop, "stop"), (one.target, "target")):
        if level and one.exit_ns is None:
            canvas.line(first, y(level), last, y(level), f"level {name}")
    inside = first >= _LEFT
    if inside:
        canvas.line(first, y(one.entry), last, y(one.exit), f"trade {css}")
    if not marked:
        return
    worth = f"{one.profit:+,.2f}"
    if inside:
        tip = f"{one.strategy} {side} {time_text(one.entry_ns, 's')} at {one.entry:.{digits}f}: {worth}"
        _arrow(canvas, first, y(one.entry), one.side, css)
        canvas.circle(first, y(one.entry), 5.0, "hit", tip=tip)
    if one.exit_ns is not None:
        tip = f"{one.strategy} {one.reason} {time_text(one.exit_ns, 's')} at {one.exit:.{digits}f}: {worth}"
        canvas.circle(last, y(one.exit), 2.8, f"exit {css}", tip=tip)


def _arrow(canvas: Canvas, at: float, height: float, side: int, css: str) -> None:
    """Draw a triangle below an entry that points up for a long one; above and down for a short one."""
    tip, base = height + 2 * side, height + 11 * side
    canvas.path([(at, tip), (at - 4.5, base), (at + 4.5, base)], f"entry {css}", close=True)
