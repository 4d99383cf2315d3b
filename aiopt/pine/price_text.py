"""Channels, oscillators and weighted averages as Pine text.  Knows kinds of indicators, no strategy.

Ratios of small prices are taken in ticks: engines may round what `ta.*` hands out to ten decimals, which is
nothing of 20 ticks and much of 0.0002.  A divisor that Pine's `==` takes for 0 gives na, as in the backtest.
"""

from __future__ import annotations

from collections.abc import Callable

from aiopt.pine.indicator_text import PineIndicator, Request, in_units, strict_sma, write_atr

_TICK = "syminfo.mintick"


def _one(request: Request, *lines: str, value: str) -> PineIndicator:
    """Return lines that end with the one value of a kind."""
    name = request.name("Value")
    return PineIndicator((*lines, f"float {name} = {value}"), {"value": name})


def _wma(request: Request) -> PineIndicator:
    return _one(request, value=f"ta.wma({request.source}, {request.args['length']})")


def _hma(request: Request) -> PineIndicator:
    source, length = request.source, request.args["length"]
    half, whole, raw = request.name("Half"), request.name("Whole"), request.name("Raw")
    return _one(
        request,
        f"float {half} = ta.wma({source}, math.floor({length} / 2.0))",
        f"float {whole} = ta.wma({source}, {length})",
        f"float {raw} = 2.0 * {half} - {whole}",
        value=f"ta.wma({raw}, math.floor(math.sqrt({length})))",
    )


def _linreg(request: Request) -> PineIndicator:
    return _one(request, value=f"ta.linreg({request.source}, {request.args['length']}, 0)")


def _vwma(request: Request) -> PineIndicator:
    length = request.args["length"]
    traded, mean, volume = request.name("Traded"), request.name("Mean"), request.name("Volume")
    return _one(
        request,
        f"float {traded} = {request.source} * volume",
        f"float {mean} = ta.sma({traded}, {length})",
        f"float {volume} = ta.sma(volume, {length})",
        value=f"{volume} == 0.0 ? na : {mean} / {volume}",
    )


def _keltner(request: Request) -> PineIndicator:
    length = request.args["length"]
    span, ticks, width = request.name("Range"), request.name("RangeTicks"), request.name("Width")
    middle, upper, lower = request.name("Middle"), request.name("Upper"), request.name("Lower")
    return PineIndicator(
        (
            f"float {middle} = ta.ema({request.source}, {length})",
            f"float {span} = ta.tr(false)",
            f"float {ticks} = {span} / {_TICK}",
            f"float {width} = ta.ema({ticks}, {length})",
            f"float {upper} = {middle} + {request.args['multiplier']} * {width} * {_TICK}",
            f"float {lower} = {middle} - {request.args['multiplier']} * {width} * {_TICK}",
        ),
        {"middle": middle, "upper": upper, "lower": lower},
    )


def _middle(request: Request, suffix: str, length: str) -> tuple[list[str], str, str, str]:
    """Return lines for the highest high, the lowest low and the price between, and their variables."""
    top, bottom, middle = (request.name(f"{suffix}{part}") for part in ("Upper", "Lower", "Middle"))
    lines = [
        f"float {top} = ta.highest(high, {length})",
        f"float {bottom} = ta.lowest(low, {length})",
        f"float {middle} = ({top} + {bottom}) / 2.0",
    ]
    return lines, top, bottom, middle


def _donchian(request: Request) -> PineIndicator:
    lines, top, bottom, middle = _middle(request, "", request.args["length"])
    return PineIndicator(tuple(lines), {"middle": middle, "upper": top, "lower": bottom})


def _ichimoku(request: Request) -> PineIndicator:
    args = request.args
    fast_lines, _, _, fast = _middle(request, "Conversion", args["conversion"])
    slow_lines, _, _, slow = _middle(request, "Base", args["base"])
    wide_lines, _, _, wide = _middle(request, "Span", args["span"])
    lead, first, second = request.name("Lead"), request.name("SpanA"), request.name("SpanB")
    back = f"{args['displacement']} - 1"
    lines = (
        *fast_lines,
        *slow_lines,
        *wide_lines,
        f"float {lead} = ({fast} + {slow}) / 2.0",
        f"float {first} = {lead}[{back}]",
        f"float {second} = {wide}[{back}]",
    )
    return PineIndicator(lines, {"conversion": fast, "base": slow, "span_a": first, "span_b": second})


def _supertrend(request: Request) -> PineIndicator:
    ranges = write_atr(request)
    width = request.name("Width")
    upper_now, lower_now, begun = request.name("UpperNow"), request.name("LowerNow"), request.name("Begun")
    upper, lower, trend = request.name("Upper"), request.name("Lower"), request.name("Trend")
    line, direction = request.name("Line"), request.name("Direction")
    turned = f"{trend} == 1 ? (close > {upper} ? -1 : 1) : (close < {lower} ? 1 : -1)"
    turned = f"not {begun} ? 1 : {turned}"
    lines = (
        *ranges.lines,
        f"float {width} = {request.args['multiplier']} * {ranges.exact}",
        f"float {upper_now} = hl2 + {width}",
        f"float {lower_now} = hl2 - {width}",
        f"var float {upper} = na",
        f"var float {lower} = na",
        f"var int {trend} = 1",
        f"bool {begun} = not na({lower})",
        f"{lower} := not {begun} or {lower_now} > {lower} or close[1] < {lower} ? {lower_now} : {lower}",
        f"{upper} := not {begun} or {upper_now} < {upper} or close[1] > {upper} ? {upper_now} : {upper}",
        f"{trend} := {turned}",
        f"float {line} = na({width}) ? na : {trend} == 1 ? {upper} : {lower}",
        f"float {direction} = na({width}) ? na : {trend}",
    )
    return PineIndicator(lines, {"line": line, "direction": direction})


def _williams_r(request: Request) -> PineIndicator:
    lines, top, bottom, _ = _middle(request, "", request.args["length"])
    span = request.name("Span")
    return _one(
        request,
        *lines[:2],
        f"float {span} = {in_units(f'{top} - {bottom}')}",
        value=f"{span} == 0.0 ? na : 100.0 * {in_units(f'close - {top}')} / {span}",
    )


def _cci(request: Request) -> PineIndicator:
    # Sums of whole units are exact while they stay below 2 ** 53, so the first price is taken off.
    length, source = request.args["length"], request.source
    first, units, scaled = request.name("First"), request.name("Units"), request.name("Scaled")
    total, deviation = request.name("Sum"), request.name("Deviation")
    away = f"({scaled} - math.round({total})) / (0.015 * {deviation})"
    return _one(
        request,
        f"var float {first} = na",
        f"{first} := na({first}) ? {source} : {first}",
        f"float {units} = {in_units(f'{source} - {first}')}",
        f"float {scaled} = {length} * {units}",
        f"float {total} = math.sum({units}, {length})",
        f"float {deviation} = ta.dev({scaled}, {length})",
        value=f"{deviation} <= {length} * 12.0 ? na : {away}",
    )


def _stoch_rsi(request: Request) -> PineIndicator:
    args = request.args
    strength, count, span = request.name("Rsi"), request.name("RsiValues"), request.name("RsiSpan")
    top, bottom, raw = request.name("RsiUpper"), request.name("RsiLower"), request.name("Raw")
    known = f"{count} < {args['k_length']} or {span} == 0.0"
    lines = (
        f"float {strength} = ta.rsi({request.source}, {args['rsi_length']})",
        f"var int {count} = 0",
        f"{count} := na({strength}) ? 0 : {count} + 1",
        f"float {top} = ta.highest({strength}, {args['k_length']})",
        f"float {bottom} = ta.lowest({strength}, {args['k_length']})",
        f"float {span} = {top} - {bottom}",
        f"float {raw} = {known} ? na : 100.0 * ({strength} - {bottom}) / {span}",
    )
    k_lines, k = strict_sma(request, "K", raw, args["k_smooth"])
    d_lines, d = strict_sma(request, "D", k, args["d_smooth"])
    return PineIndicator((*lines, *k_lines, *d_lines), {"k": k, "d": d})


def _roc(request: Request) -> PineIndicator:
    before = request.name("Before")
    return _one(
        request,
        f"float {before} = {request.source}[{request.args['length']}]",
        value=f"{before} == 0.0 ? na : 100.0 * ({request.source} - {before}) / {before}",
    )


def _tsi(request: Request) -> PineIndicator:
    short, long, source = request.args["short"], request.args["long"], request.source
    change, size = request.name("Change"), request.name("Size")
    net_long, net = request.name("NetLong"), request.name("Net")
    gross_long, gross = request.name("GrossLong"), request.name("Gross")
    return _one(
        request,
        f"float {change} = ({source} - {source}[1]) / {_TICK}",
        f"float {size} = math.abs({change})",
        f"float {net_long} = ta.ema({change}, {long})",
        f"float {net} = ta.ema({net_long}, {short})",
        f"float {gross_long} = ta.ema({size}, {long})",
        f"float {gross} = ta.ema({gross_long}, {short})",
        value=f"{gross} * {_TICK} == 0.0 ? na : {net} / {gross}",
    )


def _cmo(request: Request) -> PineIndicator:
    length, source = request.args["length"], request.source
    change, up, down = request.name("Change"), request.name("Up"), request.name("Down")
    ups, downs, both = request.name("Ups"), request.name("Downs"), request.name("Both")
    return _one(
        request,
        f"float {change} = {in_units(f'{source} - {source}[1]')}",
        f"float {up} = na({change}) ? na : math.max({change}, 0.0)",
        f"float {down} = na({change}) ? na : math.max(-{change}, 0.0)",
        f"float {ups} = ta.sma({up}, {length})",
        f"float {downs} = ta.sma({down}, {length})",
        f"float {both} = {ups} + {downs}",
        value=f"{both} <= 12.0 ? na : 100.0 * ({ups} - {downs}) / {both}",
    )


def _obv(request: Request) -> PineIndicator:
    total = request.name("Total")
    step = "close > close[1] ? volume : close < close[1] ? -volume : 0.0"
    return _one(
        request,
        f"var float {total} = 0.0",
        f"{total} := {total} + ({step})",
        value=total,
    )


def _mfi(request: Request) -> PineIndicator:
    length, source = request.args["length"], request.source
    flow, up, down = request.name("Flow"), request.name("Up"), request.name("Down")
    ups, downs = request.name("Ups"), request.name("Downs")
    return _one(
        request,
        f"float {flow} = na({source}[1]) ? na : {source} * volume",
        f"float {up} = na({flow}) ? na : {source} > {source}[1] ? {flow} : 0.0",
        f"float {down} = na({flow}) ? na : {source} < {source}[1] ? {flow} : 0.0",
        f"float {ups} = ta.sma({up}, {length})",
        f"float {downs} = ta.sma({down}, {length})",
        value=f"{downs} == 0.0 ? ({ups} == 0.0 ? na : 100.0) : 100.0 - 100.0 / (1.0 + {ups} / {downs})",
    )


PRICE_WRITERS: dict[str, Callable[[Request], PineIndicator]] = {
    "wma": _wma,
    "hma": _hma,
    "linreg": _linreg,
    "vwma": _vwma,
    "keltner": _keltner,
    "donchian": _donchian,
    "ichimoku": _ichimoku,
    "supertrend": _supertrend,
    "williams_r": _williams_r,
    "cci": _cci,
    "stoch_rsi": _stoch_rsi,
    "roc": _roc,
    "tsi": _tsi,
    "cmo": _cmo,
    "obv": _obv,
    "mfi": _mfi,
}
"""Writers by kind."""
