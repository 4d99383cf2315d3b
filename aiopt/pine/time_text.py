"""Clock, trading day and sessions as Pine text, from bars' opening times and never from `request.security`.

The trading day rolls at 17:00 New York: seven hours later it is midnight there.  Adding them to the instant
moves no day, since clocks change at 02:00 on a Sunday.
"""

from __future__ import annotations

from collections.abc import Callable

from aiopt.pine.indicator_text import PineIndicator, Request

_DAY_MS = "86400000.0"
ROLLED = "time + 25200000"
NEW_YORK = '"America/New_York"'


def day_number(instant: str, zone: str) -> str:
    """Return the local date of an instant as days since 1970."""
    date = ", ".join(f"{part}({instant}, {zone})" for part in ("year", "month", "dayofmonth"))
    return f'math.floor(timestamp("UTC", {date}, 0, 0) / {_DAY_MS})'


def trading_day() -> str:
    """Return the number of the trading day that a bar opens in, as an expression."""
    return day_number(ROLLED, NEW_YORK)


def _calendar(request: Request) -> PineIndicator:
    zone = request.args["timezone"]
    texts = {
        "hour": f"hour(time, {zone})",
        "minute": f"minute(time, {zone})",
        "weekday": f"(dayofweek(time, {zone}) + 5) % 7 + 1",
        "day": f"dayofmonth(time, {zone})",
        "month": f"month(time, {zone})",
    }
    outputs = {output: request.name(output.capitalize()) for output in texts}
    lines = [f"int {outputs[output]} = {text}" for output, text in texts.items()]
    of_day = request.name("MinuteOfDay")
    lines.append(f"int {of_day} = {outputs['hour']} * 60 + {outputs['minute']}")
    return PineIndicator(tuple(lines), {"minute_of_day": of_day, **outputs})


def _period_key(request: Request, *, weeks: bool) -> tuple[list[str], str]:
    """Return lines for the number of the trading day, or of its week, and the variable."""
    day = request.name("TradingDay")
    lines = [f"int {day} = {trading_day()}"]
    if not weeks:
        return lines, day
    week = request.name("TradingWeek")
    return [*lines, f"int {week} = math.floor(({day} + 3) / 7.0)"], week


def _period(request: Request, *, weeks: bool, current: bool) -> PineIndicator:
    """Return the prices of the period before, or of this one so far."""
    lines, key = _period_key(request, weeks=weeks)
    fresh = request.name("Begins")
    now = {part: request.name(f"{part}Now") for part in ("Open", "High", "Low", "Close")}
    lines += [f"var float {variable} = na" for variable in now.values()]
    lines.append(f"bool {fresh} = na({now['Open']}) or {key} != {key}[1]")
    outputs = {"open": now["Open"], "high": now["High"], "low": now["Low"]}
    if not current:
        before = {part: request.name(part) for part in now}
        lines += [f"var float {variable} = na" for variable in before.values()]
        lines += [f"{before[part]} := {fresh} ? {now[part]} : {before[part]}" for part in now]
        outputs = {part.lower(): variable for part, variable in before.items()}
    lines += [
        f"{now['Open']} := {fresh} ? open : {now['Open']}",
        f"{now['High']} := {fresh} ? high : math.max({now['High']}, high)",
        f"{now['Low']} := {fresh} ? low : math.min({now['Low']}, low)",
        f"{now['Close']} := close",
    ]
    return PineIndicator(tuple(lines), outputs)


def _session_range(request: Request) -> PineIndicator:
    start, end, zone = (request.args[name] for name in ("start", "end", "timezone"))
    minute, day, inside = request.name("MinuteOfDay"), request.name("Day"), request.name("Inside")
    fresh, over, wraps = request.name("Begins"), request.name("Over"), request.name("OverMidnight")
    running, date = request.name("RunningDay"), request.name("Date")
    top, bottom = request.name("HighNow"), request.name("LowNow")
    high, low = request.name("High"), request.name("Low")
    after, before = f"{minute} >= {start}", f"{minute} < {end}"
    lines = (
        f"int {minute} = hour(time, {zone}) * 60 + minute(time, {zone})",
        f"int {date} = {day_number('time', zone)}",
        f"bool {wraps} = {start} >= {end}",
        f"bool {inside} = {wraps} ? ({after} or {before}) : ({after} and {before})",
        f"int {day} = {wraps} and {before} ? {date} - 1 : {date}",
        f"var float {top} = na",
        f"var float {bottom} = na",
        f"var float {high} = na",
        f"var float {low} = na",
        f"var int {running} = 0",
        f"bool {fresh} = {inside} and (na({top}) or {day} != {running})",
        f"bool {over} = ({fresh} or not {inside}) and not na({top})",
        f"{high} := {over} ? {top} : {high}",
        f"{low} := {over} ? {bottom} : {low}",
        f"{top} := not {inside} ? na : {fresh} ? high : math.max({top}, high)",
        f"{bottom} := not {inside} ? na : {fresh} ? low : math.min({bottom}, low)",
        f"{running} := {fresh} ? {day} : {running}",
    )
    return PineIndicator(lines, {"high": high, "low": low})


def _vwap(request: Request) -> PineIndicator:
    lines, key = _period_key(request, weeks=False)
    part, fresh = request.name("Part"), request.name("Begins")
    total, weight, value = request.name("Total"), request.name("Weight"), request.name("Value")
    lines += [
        f"float {part} = {request.source} * volume",
        f"bool {fresh} = {key} != {key}[1]",
        f"var float {total} = 0.0",
        f"var float {weight} = 0.0",
        f"{total} := {fresh} ? {part} : {total} + {part}",
        f"{weight} := {fresh} ? volume : {weight} + volume",
        f"float {value} = {weight} == 0.0 ? na : {total} / {weight}",
    ]
    return PineIndicator(tuple(lines), {"value": value})


TIME_WRITERS: dict[str, Callable[[Request], PineIndicator]] = {
    "calendar": _calendar,
    "previous_day": lambda request: _period(request, weeks=False, current=False),
    "previous_week": lambda request: _period(request, weeks=True, current=False),
    "today": lambda request: _period(request, weeks=False, current=True),
    "session_range": _session_range,
    "vwap": _vwap,
}
"""Writers by kind."""
