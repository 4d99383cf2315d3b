"""Sessions: the ways a script says that a bar opens between two times of the day, on some days."""

from __future__ import annotations

import re
from functools import cache

from aiopt.errors import SpecError
from aiopt.pine.importing.matching import Matcher, read_pattern
from aiopt.pine.importing.refusals import Findings, shown
from aiopt.pine.importing.script import Reading
from aiopt.pine.importing.symbols import Symbol, call_args, conjuncts, constant
from aiopt.strategy.spec import SessionFilter

DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
"""Pine's days of the week, 1 to 7."""

_SESSION = re.compile(r"([01]\d|2[0-3])([0-5]\d)-([01]\d|2[0-3])([0-5]\d)(?::([1-7]+))?\Z")
_MINUTE = "(hour(time, HOLE_zone) * 60 + minute(time, HOLE_zone))"


class Sessions:
    """Recognises sessions.

    Parameters
    ----------
    reading : Reading
        The script.
    findings : Findings
        Where refusals go.
    timezone : str or None
        Of the chart, as the person says.
    """

    def __init__(self, reading: Reading, findings: Findings, timezone: str | None) -> None:
        self._states, self._findings, self._timezone = reading.symbols.states, findings, timezone
        self._known: dict[int, SessionFilter | None] = {}

    def session(self, symbol: Symbol) -> SessionFilter | None:
        """Return the session that a condition is, None if it is something else or cannot be said."""
        key = id(symbol)
        if key not in self._known:
            self._known[key] = self._of_call(symbol) or self._of_minutes(symbol)
        return self._known[key]

    def zone(self, symbol: Symbol | None, place: Symbol) -> str | None:
        """Return a time zone; without one the chart's, if the person has said it."""
        if symbol is not None and symbol.op == "string":
            return symbol.text
        if symbol is None or (symbol.op == "name" and symbol.text == "syminfo.timezone"):
            if self._timezone is None:
                self._findings.refuse(
                    place.place,
                    "time zone",
                    shown(place),
                    "it is in the exchange's time zone, which the script does not say",
                    'a zone, e.g. time(timeframe.period, "0800-1700", "Europe/London"); or import with '
                    "--timezone ZONE",
                )
            return self._timezone
        text = "a time zone must be a text"
        self._findings.refuse(place.place, "time zone", shown(place), text, '"Europe/London"')
        return None

    def _of_call(self, symbol: Symbol) -> SessionFilter | None:
        call = _tested_call(symbol)
        if call is None:
            return None
        args = call_args(call)
        text = args.get("session")
        frame = args.get("timeframe")
        is_chart = frame is not None and frame.text in ("timeframe.period", "")
        match = _SESSION.match(text.text) if text is not None and text.op == "string" else None
        if match is None or not is_chart or set(args) - {"timeframe", "session", "timezone"}:
            shape = 'time(timeframe.period, "0800-1700:23456", "UTC")'
            why = "only one session of the chart's own bars, as a text, can be said"
            self._findings.refuse(call.place, "session", shown(call), why, shape)
            return None
        zone = self.zone(args.get("timezone"), call)
        start, end, days = f"{match[1]}:{match[2]}", f"{match[3]}:{match[4]}", match[5] or "1234567"
        weekdays = tuple(sorted({(int(day) + 5) % 7 + 1 for day in days}))
        if zone is None:
            return None
        if start == end or (start > end and len(weekdays) < 7):
            why = (
                "a session over the whole day is none"
                if start == end
                else "over midnight Pine counts by the day a session begins on, the language by the bar's"
            )
            nearest = (
                "leave it out" if start == end else "all days, or hour(time, zone) and dayofweek(time, zone)"
            )
            self._findings.refuse(call.place, "session", text.text if text else "", why, nearest)
            return None
        return self._made(call, start, end, zone, weekdays)

    def _of_minutes(self, symbol: Symbol) -> SessionFilter | None:
        """Return the session that our own scripts write."""
        for word, pattern in _patterns().items():
            match = Matcher({}, self._states).match(pattern, symbol)
            if match is None or match.holes["zone"].op != "string":
                continue
            start, end = constant(match.holes["start"]), constant(match.holes["end"])
            days = [_weekday(part) for part in conjuncts(match.holes["days"], "or")]
            if start is None or end is None or (start < end) != (word == "and"):
                return None
            zones = {zone for _, zone in (day for day in days if day is not None)}
            if None in days or zones != {match.holes["zone"].text}:
                return None
            weekdays = tuple(sorted({(day[0] + 5) % 7 + 1 for day in days if day is not None}))
            first, last = (f"{int(t) // 60:02d}:{int(t) % 60:02d}" for t in (start, end))
            return self._made(symbol, first, last, match.holes["zone"].text, weekdays)
        return None

    def _made(
        self, symbol: Symbol, start: str, end: str, zone: str, weekdays: tuple[int, ...]
    ) -> SessionFilter | None:
        try:
            return SessionFilter(start=start, end=end, timezone=zone, weekdays=weekdays)
        except SpecError as failure:
            self._findings.refuse(symbol.place, "session", shown(symbol), str(failure), "another session")
            return None


def _tested_call(symbol: Symbol) -> Symbol | None:
    """Return the call ``time(...)`` with a session in a test whether it has a value."""
    if symbol.op == "not" and symbol.at(0).op == "call" and symbol.at(0).text == "na":
        symbol = symbol.at(0).at(2)
    elif symbol.op == "!=" and constant(symbol.at(1)) == 0:
        symbol = symbol.at(0)
    is_session = symbol.op == "call" and symbol.text == "time" and "session" in call_args(symbol)
    return symbol if is_session else None


def day_test(symbol: Symbol) -> tuple[Symbol | None, int] | None:
    """Return the zone and the day (Sunday 1) of ``dayofweek(time, zone) == dayofweek.monday``, else None."""
    if symbol.op not in ("==", "!="):
        return None
    left, right = symbol.at(0), symbol.at(1)
    day = constant(right)
    if right.op == "name" and right.text.startswith("dayofweek."):
        name = right.text.removeprefix("dayofweek.")
        day = DAYS.index(name) + 1 if name in DAYS else None
    if day is None or day not in range(1, 8):
        return None
    if left.op == "name" and left.text == "dayofweek":
        return None, int(day)
    if left.op == "call" and left.text == "dayofweek":
        args = call_args(left)
        if args.get("time") is not None and args["time"].text == "time":
            return args.get("timezone"), int(day)
    return None


def _weekday(symbol: Symbol) -> tuple[int, str] | None:
    found = day_test(symbol) if symbol.op == "==" else None
    if found is None or found[0] is None:
        return None
    return found[1], found[0].text


@cache
def _patterns() -> dict[str, Symbol]:
    def read(word: str) -> Symbol:
        test = f"({_MINUTE} >= HOLE_start {word} {_MINUTE} < HOLE_end) and HOLE_days"
        return read_pattern([f"bool x = {test}"]).globals["x"]

    return {word: read(word) for word in ("and", "or")}
