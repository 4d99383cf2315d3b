"""Heikin-Ashi bars as Pine text, from the chart's own bars and never from `request.security`."""

from __future__ import annotations

from collections.abc import Callable, Collection

from aiopt.indicators.heikin_ashi import HEIKIN_ASHI
from aiopt.pine.indicator_text import PineIndicator, Request
from aiopt.pine.text import Names


def candle_sources(wanted: Collection[str], names: Names) -> tuple[list[str], dict[str, str]]:
    """Return the lines that make Heikin-Ashi series, and the variable of each.

    Parameters
    ----------
    wanted : collection of str
        Series that are read; without one of Heikin-Ashi's there are no lines.
    names : Names
        Where variable names are taken from.
    """
    if not set(HEIKIN_ASHI) & set(wanted):
        return [], {}
    lines, variables = _lines(tuple(names.take(f"ha{part}") for part in ("Open", "High", "Low", "Close")))
    return lines, dict(zip(HEIKIN_ASHI, variables, strict=True))


def _lines(variables: tuple[str, ...]) -> tuple[list[str], tuple[str, ...]]:
    start, top, bottom, middle = variables
    lines = [
        f"float {middle} = (open + high + low + close) / 4.0",
        f"var float {start} = na",
        f"{start} := na({start}) ? (open + close) / 2.0 : ({start} + {middle}[1]) / 2.0",
        f"float {top} = math.max(math.max(high, {start}), {middle})",
        f"float {bottom} = math.min(math.min(low, {start}), {middle})",
    ]
    return lines, variables


def _heikin_ashi(request: Request) -> PineIndicator:
    outputs = ("open", "high", "low", "close")
    lines, variables = _lines(tuple(request.name(output.capitalize()) for output in outputs))
    return PineIndicator(tuple(lines), dict(zip(outputs, variables, strict=True)))


CANDLE_WRITERS: dict[str, Callable[[Request], PineIndicator]] = {"heikin_ashi": _heikin_ashi}
"""Writers by kind."""
