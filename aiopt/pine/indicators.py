"""How each indicator kind is written in Pine: one closed table.  Knows kinds, not strategies.

Every `ta.*` call is the whole value of a global variable of its own: Pine v6 evaluates `and`, `or` and `?`
lazily, and a function that is skipped on one bar has a wrong history ever after.

Built-ins are used where every engine agrees on them.  Three are written out:

* ATR is averaged in ticks.  Engines may round what they hand out to ten decimals; of an ATR of 0.00008 that
  leaves six digits, and a stop or a size can land on the other side of a rounding edge.
* DMI: `ta.dmi` compares the two moves in plain floats, and a tie in prices is rarely one in floats.
  The comparison operators have Pine's tolerance, so here a tie is a tie in every engine.  Averages are kept
  in large units for the same reason as the ATR: on a bar without range +DI has to stay exactly as it was.
* Stochastic: a close at three twentieths of its range is a tie with a level of 15, which float noise would
  decide; distances are taken in whole units, and averages in large ones.  On TradingView `ta.sma` passes over
  na, other engines give na while a bar without range is in the window.  A counter makes it na for exactly
  that long in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aiopt.errors import PineError
from aiopt.pine.candle_text import CANDLE_WRITERS
from aiopt.pine.higher_text import HIGHER_WRITERS
from aiopt.pine.indicator_text import PineIndicator, Request, in_units, strict_sma, write_atr
from aiopt.pine.pattern_text import PATTERN_WRITERS
from aiopt.pine.price_text import PRICE_WRITERS
from aiopt.pine.reversal_text import REVERSAL_WRITERS
from aiopt.pine.text import Names
from aiopt.pine.time_text import TIME_WRITERS

_MOVE_SCALE = "10000000000.0"
_TREND_SCALE = "10000000.0"
_SHARE_SCALE, _WHOLE_SHARE = "100000000.0", "10000000000.0"
"""Factors that bring prices, the trend (in [0, 1]) and shares in per cent to units of which ten decimals are
all a float has; a whole share is 100 %."""


def _single(function: str, *args: str) -> Callable[[Request], PineIndicator]:
    """Return a writer of ``float x = ta.function(source, args...)``."""

    def write(request: Request) -> PineIndicator:
        value = request.name("Value")
        given = [request.source, *(request.args[arg] for arg in args)]
        return PineIndicator((f"float {value} = ta.{function}({', '.join(given)})",), {"value": value})

    return write


def _tuple(function: str, outputs: Sequence[str], *args: str) -> Callable[[Request], PineIndicator]:
    """Return a writer of ``[a, b, c] = ta.function(source, args...)``."""

    def write(request: Request) -> PineIndicator:
        variables = {output: request.name(output.capitalize()) for output in outputs}
        given = [request.source, *(request.args[arg] for arg in args)]
        line = f"[{', '.join(variables.values())}] = ta.{function}({', '.join(given)})"
        return PineIndicator((line,), variables)

    return write


def _stochastic(request: Request) -> PineIndicator:
    length = request.args["k_length"]
    top, bottom, span = request.name("Upper"), request.name("Lower"), request.name("Span")
    raw = request.name("Raw")
    k_lines, k_large = strict_sma(request, "KLarge", raw, request.args["k_smooth"])
    d_lines, d_large = strict_sma(request, "DLarge", k_large, request.args["d_smooth"])
    k, d = request.name("K"), request.name("D")
    lines = (
        f"float {top} = ta.highest(high, {length})",
        f"float {bottom} = ta.lowest(low, {length})",
        f"float {span} = {in_units(f'{top} - {bottom}')}",
        f"float {raw} = {span} == 0.0 ? na : {_WHOLE_SHARE} * {in_units(f'close - {bottom}')} / {span}",
        *k_lines,
        *d_lines,
        f"float {k} = {k_large} / {_SHARE_SCALE}",
        f"float {d} = {d_large} / {_SHARE_SCALE}",
    )
    return PineIndicator(lines, {"k": k, "d": d})


def _dmi(request: Request) -> PineIndicator:
    length, smoothing = request.args["length"], request.args["smoothing"]
    up, down = request.name("UpMove"), request.name("DownMove")
    span, plus_move, minus_move = request.name("Range"), request.name("PlusMove"), request.name("MinusMove")
    both, trend = request.name("Both"), request.name("Trend")
    plus, minus = request.name("Plus"), request.name("Minus")
    span_scaled = request.name("RangeScaled")
    scale = _MOVE_SCALE
    lines = [
        f"float {up} = high - high[1]",
        f"float {down} = low[1] - low",
        f"float {span} = ta.tr(false)",
        f"float {span_scaled} = {span} * {scale}",
        f"float {plus_move} = na({up}) ? na : {up} > {down} and {up} > 0.0 ? {up} * {scale} : 0.0",
        f"float {minus_move} = na({down}) ? na : {down} > {up} and {down} > 0.0 ? {down} * {scale} : 0.0",
    ]
    averages = []
    for suffix, source in (("Range", span_scaled), ("Plus", plus_move), ("Minus", minus_move)):
        more, average = _wilder(request, suffix, source, length)
        lines += more
        averages.append(average)
    span_average, plus_average, minus_average = averages
    lines += [
        f"float {plus} = {span_average} == 0.0 ? 0.0 : 100.0 * {plus_average} / {span_average}",
        f"float {minus} = {span_average} == 0.0 ? 0.0 : 100.0 * {minus_average} / {span_average}",
        f"float {both} = {plus} + {minus}",
        f"float {trend} = {both} == 0.0 ? 0.0 : {_TREND_SCALE} * math.abs({plus} - {minus}) / {both}",
    ]
    more, average = _wilder(request, "Adx", trend, smoothing)
    adx = request.name("Adx")
    lines += [*more, f"float {adx} = 100.0 * {average} / {_TREND_SCALE}"]
    return PineIndicator(tuple(lines), {"plus": plus, "minus": minus, "adx": adx})


def _wilder(request: Request, suffix: str, source: str, length: str) -> tuple[list[str], str]:
    """Return lines for Wilder's average, seeded by the SMA of the first `length` values that are not na."""
    seed = request.name(f"{suffix}Seed")
    average = request.name(f"{suffix}Average")
    lines = [
        f"float {seed} = ta.sma({source}, {length})",
        f"var float {average} = na",
        f"{average} := na({average}) ? {seed} : ({source} + ({length} - 1) * {average}) / {length}",
    ]
    return lines, average


_WRITERS: dict[str, Callable[[Request], PineIndicator]] = {
    "sma": _single("sma", "length"),
    "ema": _single("ema", "length"),
    "rma": _single("rma", "length"),
    "rsi": _single("rsi", "length"),
    "macd": _tuple("macd", ("macd", "signal", "histogram"), "fast", "slow", "signal"),
    "bollinger": _tuple("bb", ("middle", "upper", "lower"), "length", "multiplier"),
    "stochastic": _stochastic,
    "atr": write_atr,
    "dmi": _dmi,
    **PRICE_WRITERS,
    **CANDLE_WRITERS,
    **TIME_WRITERS,
    **PATTERN_WRITERS,
    **REVERSAL_WRITERS,
    **HIGHER_WRITERS,
}

KINDS = frozenset(_WRITERS)
"""Indicator kinds that can be written in Pine."""


def write_indicator(
    kind: str, *, identifier: str, source: str, args: Mapping[str, str], names: Names
) -> PineIndicator:
    """Return an indicator as Pine text.

    Parameters
    ----------
    kind : str
        A key of `aiopt.indicators.registry.INDICATORS`.
    identifier : str
        The indicator's id in the strategy; its variables are named after it.
    source : str
        Series it reads, where the kind has a source.
    args : mapping of str to str
        Argument name to Pine text.
    names : Names
        Where variable names are taken from.

    Raises
    ------
    PineError
        If the kind has no Pine text.
    """
    if kind not in _WRITERS:
        msg = f"The indicator {kind!r} cannot be written in Pine. Use one of {sorted(KINDS)}."
        raise PineError(msg)
    return _WRITERS[kind](Request(identifier, source, args, names))
