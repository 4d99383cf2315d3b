"""What a writer of Pine indicators is given and gives back.  Owns both records; knows no kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiopt.pine.text import Names, camel_case


@dataclass(frozen=True)
class PineIndicator:
    """One indicator as Pine text.

    Attributes
    ----------
    lines : tuple of str
        Statements at global scope.
    outputs : dict of str to str
        Output name (as in the indicator table) to the variable that holds it.
    exact : str or None
        For an ATR: an expression of the same value that no engine has rounded, for stops and sizes.
    """

    lines: tuple[str, ...]
    outputs: dict[str, str]
    exact: str | None = None


@dataclass(frozen=True)
class Request:
    """What a writer is given: the indicator's id, its source and its arguments as Pine text."""

    identifier: str
    source: str
    args: Mapping[str, str]
    names: Names

    def name(self, suffix: str) -> str:
        """Return a free variable name: the indicator's id and a suffix."""
        return self.names.take(camel_case(self.identifier) + suffix)


UNITS = "120000000000.0"
"""`aiopt.indicators.windows.UNITS` as text."""


def in_units(distance: str) -> str:
    """Return a distance between two prices in whole units, as the indicators take it.

    A price is a float beside its decimals, by another last place in every engine: a ratio of distances
    carries that, a ratio of whole numbers does not, and what is mathematically 15 is 15 everywhere.
    """
    return f"math.round(({distance}) * {UNITS})"


def strict_sma(request: Request, suffix: str, source: str, length: str) -> tuple[list[str], str]:
    """Return lines for an SMA that is na while one of the last `length` values is."""
    values = request.name(f"{suffix}Values")
    mean = request.name(f"{suffix}Mean")
    result = request.name(suffix)
    lines = [
        f"var int {values} = 0",
        f"{values} := na({source}) ? 0 : {values} + 1",
        f"float {mean} = ta.sma({source}, {length})",
        f"float {result} = {values} >= {length} ? {mean} : na",
    ]
    return lines, result


def write_atr(request: Request) -> PineIndicator:
    """Return the lines of an ATR, averaged in ticks."""
    span, span_ticks, ticks = request.name("Range"), request.name("RangeTicks"), request.name("Ticks")
    value = request.name("Value")
    exact = f"{ticks} * syminfo.mintick"
    lines = (
        f"float {span} = ta.tr(true)",
        f"float {span_ticks} = {span} / syminfo.mintick",
        f"float {ticks} = ta.rma({span_ticks}, {request.args['length']})",
        f"float {value} = {exact}",
    )
    return PineIndicator(lines, {"value": value}, exact)
