"""Conditions and values of a script as those of the condition language.

Owns the translation of every expression that has an exact equal there; the rest is refused at its place.
"""

from __future__ import annotations

from functools import cache

from aiopt.pine.importing.indicators import Indicators, patterns
from aiopt.pine.importing.matching import Matcher, read_pattern
from aiopt.pine.importing.parameters import Parameters
from aiopt.pine.importing.refusals import Findings, shown
from aiopt.pine.importing.sessions import Sessions, day_test
from aiopt.pine.importing.symbols import (
    COMPARISONS,
    State,
    Symbol,
    Symbols,
    call_args,
    constant,
    spine,
)
from aiopt.strategy import conditions as language
from aiopt.strategy.conditions import MAX_HISTORY, SERIES, Condition, Value
from aiopt.strategy.spec import SessionFilter

_CLOCK = {"hour": "hour", "minute": "minute", "dayofmonth": "day", "month": "month"}
_PURE = frozenset({"+", "-", "*", "/", "neg", "not", "and", "or", "cond", *COMPARISONS})
_PURE_CALLS = frozenset({"math.abs", "math.max", "math.min", "math.avg", "na"})
_NEAREST = {
    "loop": "the same with ta.* functions",
    "other series": "leave the higher timeframe out; it is not imported yet",
    "shown": "the condition itself",
    "input": "an input with a literal default",
    "object": "plain variables",
    "varip": "var",
    "depth": "fewer functions",
}


class Translator:
    """Turns symbols into nodes of the condition language.

    Parameters
    ----------
    symbols : Symbols
        Of the script.
    indicators, parameters, sessions
        What of the script they are.
    findings : Findings
        Where refusals go.
    """

    def __init__(
        self,
        symbols: Symbols,
        indicators: Indicators,
        parameters: Parameters,
        sessions: Sessions,
        findings: Findings,
    ) -> None:
        self._make, self._findings = symbols, findings
        self.indicators, self.parameters, self.sessions = indicators, parameters, sessions

    def _refuse(self, symbol: Symbol, rule: str, message: str, nearest: str) -> None:
        self._findings.refuse(symbol.place, rule, shown(symbol), message, nearest)

    # --- conditions ---------------------------------------------------------------------------------------

    # reason: one step per kind of condition
    def condition(self, symbol: Symbol) -> Condition | None:  # noqa: C901, PLR0911, PLR0912
        """Return a condition; None, and refusals, where it has no equal."""
        session = self.sessions.session(symbol)
        if session is not None:
            return self._of_session(session)
        if symbol.op == "and":
            return self._chain(self._without_pairs(spine(symbol, "and")), language.And)
        if symbol.op == "or":
            return self._chain([*spine(symbol, "or")], language.Or)
        if symbol.op == "not":
            operand = self.condition(symbol.at(0))
            return None if operand is None else language.Not(operand)
        if symbol.op == "cond":
            test, then, otherwise = symbol.symbols()
            first = self._make.binary("and", test, then, symbol.place)
            second = self._make.binary("and", self._make.negation(test), otherwise, symbol.place)
            return self.condition(self._make.binary("or", first, second, symbol.place))
        counted = self._counted(symbol)
        if counted is not None:
            return counted
        if symbol.op in COMPARISONS:
            return self._day(symbol) or self._comparison(symbol)
        if symbol.op == "hist":
            pushed = self._pushed(symbol.at(0), symbol.at(1), symbol)
            return None if pushed is None else self.condition(pushed)
        if symbol.op == "call" and symbol.text == "na":
            outside = self.sessions.session(self._make.make("not", symbol, place=symbol.place))
            if outside is not None:
                return language.Not(self._of_session(outside))
            value = self.value(symbol.at(2))
            return None if value is None else language.Not(language.Compare("==", value, value))
        if symbol.op == "call" and symbol.text in ("ta.rising", "ta.falling"):
            return self._run(symbol)
        if symbol.op == "bool":
            zero, one = language.Number(0), language.Number(1)
            return language.Compare("==", zero, zero if symbol.args[0] else one)
        if symbol.op == "name" and symbol.text.startswith("barstate."):
            text = "it differs between history and the live bar, which a backtest never sees"
            self._refuse(symbol, "repainting", text, "leave it out: signals are those of closed bars")
            return None
        if symbol.op == "opaque":
            self._opaque(symbol)
            return None
        self._refuse(
            symbol, "condition", "it is no comparison, and no condition of the language", "compare it"
        )
        return None

    def _chain(
        self, operands: list[Symbol | Condition], kind: type[language.And] | type[language.Or]
    ) -> Condition | None:
        found = [self.condition(one) if isinstance(one, Symbol) else one for one in operands]
        kept = tuple(one for one in found if one is not None)
        if len(kept) < len(found):
            return None
        return kept[0] if len(kept) == 1 else kind(kept)

    def _without_pairs(self, operands: list[Symbol]) -> list[Symbol | Condition]:
        """Return operands of ``and`` with every ``a > b and a[1] <= b[1]`` as the crossing that it is."""
        found: list[Symbol | Condition] = []
        place = 0
        while place < len(operands):
            pair = operands[place : place + 2]
            crossing = self.crossing(*pair) if len(pair) == 2 else None
            if crossing is None:
                found.append(operands[place])
                place += 1
                continue
            function, left, right = crossing
            first, second = self.value(left), self.value(right)
            if first is None or second is None:
                found.append(operands[place])  # refused once more, at the same place
            else:
                found.append(language.Call(function, (first, second)))
            place += 2
        return found

    def crossing(self, now: Symbol, before: Symbol) -> tuple[str, Symbol, Symbol] | None:
        """Return function, left and right of a crossing written as two comparisons, None of others."""
        for function, signs in {"crossover": (">", "<="), "crossunder": ("<", ">=")}.items():
            if (now.op, before.op) != signs:
                continue
            left, right = now.at(0), now.at(1)
            if self._is_past(before.at(0), left) and self._is_past(before.at(1), right):
                return function, left, right
        return None

    def _is_past(self, before: Symbol, now: Symbol) -> bool:
        if before.op == "past" and constant(before.at(1)) == 1:
            state = self._make.states.get(before.text)
            return state is not None and state.final is now
        return self._make.history(now, self._make.number(1)) is before

    def _comparison(self, symbol: Symbol) -> Condition | None:
        left, right = self.value(symbol.at(0)), self.value(symbol.at(1))
        if left is None or right is None:
            return None
        return language.Compare(symbol.op, left, right)

    def _day(self, symbol: Symbol) -> Condition | None:
        found = day_test(symbol)
        if found is None:
            return None
        zone = self.sessions.zone(found[0], symbol)
        if zone is None:
            return language.Compare("==", language.Number(0), language.Number(0))  # refused already
        weekday = language.Output(self.indicators.calendar(zone), "weekday")
        return language.Compare(symbol.op, weekday, language.Number((found[1] + 5) % 7 + 1))

    def _of_session(self, session: SessionFilter) -> Condition:
        calendar = self.indicators.calendar(session.timezone)
        minute, weekday = language.Output(calendar, "minute_of_day"), language.Output(calendar, "weekday")
        after = language.Compare(">=", minute, language.Number(session.start_minute))
        before = language.Compare("<", minute, language.Number(session.end_minute))
        joined = language.And if session.start_minute < session.end_minute else language.Or
        hours: Condition = joined((after, before))
        if len(session.weekdays) == 7:
            return hours
        days = tuple(language.Compare("==", weekday, language.Number(day)) for day in session.weekdays)
        return language.And((hours, days[0] if len(days) == 1 else language.Or(days)))

    def _counted(self, symbol: Symbol) -> Condition | None:
        """Return ``rising`` or ``falling`` as our own scripts count them."""
        if symbol.op != ">=":
            return None
        for function, (pattern, states) in _counters().items():
            match = Matcher(states, self._make.states).match(pattern, symbol)
            if match is not None:
                source, bars = self.value(match.holes["source"]), self._bars(match.holes["bars"])
                if source is not None and bars is not None:
                    return language.Call(function, (source, bars))
        return None

    def _run(self, symbol: Symbol) -> Condition | None:
        """Return ``ta.rising``: above each of the last bars, so above the highest of them."""
        args = call_args(symbol)
        past = self._make.history(args["source"], self._make.number(1))
        now, before, bars = self.value(args["source"]), self.value(past), self._bars(args["length"])
        if now is None or before is None or bars is None:
            return None
        text = f"{symbol.text} compares with each of the last bars, as in TradingView; "
        text += "some engines, PineTS among them, compare bar by bar and cannot prove it"
        self._findings.note(symbol.place, text)
        over, function = (">", "highest") if symbol.text == "ta.rising" else ("<", "lowest")
        return language.Compare(over, now, language.Call(function, (before, bars)))

    # --- values -------------------------------------------------------------------------------------------

    # reason: one step per kind of value
    def value(self, symbol: Symbol) -> Value | None:  # noqa: C901, PLR0911, PLR0912
        """Return a number of the language; None, and refusals, where it has no equal."""
        literal = constant(symbol)
        if literal is not None:
            return _literal(literal)
        use = self.indicators.use(symbol)
        if use is not None:
            several = len(language_outputs(self.indicators, use.indicator)) > 1
            return language.Output(use.indicator, use.output) if several else language.Name(use.indicator)
        match symbol.op:
            case "name":
                return self._named(symbol)
            case "input":
                return language.Name(self.parameters.name(symbol))
            case "neg":
                inner = self.value(symbol.at(0))
                return None if inner is None else language.Negate(inner)
            case "+" | "-" | "*" | "/":
                left, right = self.value(symbol.at(0)), self.value(symbol.at(1))
                return None if left is None or right is None else language.Arithmetic(symbol.op, left, right)
            case "hist" | "past":
                return self._past(symbol)
            case "cond":
                quotient = _quotient(symbol)
                if quotient is not None:
                    return self.value(quotient)
                text = "a value that is chosen by a condition cannot be said"
                self._refuse(symbol, "choice", text, "conditions joined by and/or; math.max, math.min")
            case "call":
                return self._function(symbol)
            case "na":
                return language.Arithmetic("/", language.Number(0), language.Number(0))
            case "opaque":
                self._opaque(symbol)
            case "carry":
                text = f"the variable {symbol.text!r} keeps a value of its own between bars"
                self._refuse(symbol, "state", text, "an indicator of `aiopt indicators list`")
            case _:
                self._refuse(symbol, "value", "it is no number of the condition language", "a ta.* function")
        return None

    def _named(self, symbol: Symbol) -> Value | None:
        name = symbol.text
        if name in SERIES:
            return language.Series(name)
        if name in _CLOCK:
            zone = self.sessions.zone(None, symbol)
            return None if zone is None else language.Output(self.indicators.calendar(zone), _CLOCK[name])
        if name == "hlcc4":
            return self.value(self._sum_of(symbol, ("high", "low", "close", "close")))
        if name in ("time", "time_close", "timenow", "year"):
            text = "the language has no dates: which bars are traded is for the bars that are given"
            self._refuse(symbol, "date", text, "leave it out and cut the bars (--from, --to of the data)")
        elif name.startswith("strategy."):
            text = "a condition knows the market alone, not the position, its entry or the account"
            self._refuse(symbol, "position", text, "strategy.position_size in a test of its own")
        elif name == "bar_index":
            text = "bars have no number; a strategy waits for its indicators by itself"
            self._refuse(symbol, "bar number", text, "leave it out")
        elif name.startswith("ta."):
            self._refuse(symbol, "indicator", "no indicator of ours is that", "`aiopt indicators list`")
        else:
            self._refuse(
                symbol, "value", "it is no series of prices", "open, high, low, close, volume, hl2, …"
            )
        return None

    def _sum_of(self, symbol: Symbol, names: tuple[str, ...]) -> Symbol:
        total = self._make.make("name", names[0], place=symbol.place)
        for name in names[1:]:
            total = self._make.make("+", total, self._make.make("name", name), place=symbol.place)
        return self._make.make("/", total, self._make.number(len(names)), place=symbol.place)

    def _past(self, symbol: Symbol) -> Value | None:
        bars = self.parameters.at_defaults(symbol.symbols()[-1])
        if bars is None or bars != int(bars) or not 0 <= bars <= MAX_HISTORY:
            text = f"how many bars back must be a whole number from 0 to {MAX_HISTORY}"
            self._refuse(symbol, "history", text, "a literal")
            return None
        self.parameters.fixed(symbol.symbols()[-1], bars)
        if symbol.op == "past":
            state = self._make.states.get(symbol.text)
            operand = None if state is None else self.indicators.use(state.final)
            if state is None or operand is None:
                text = f"the variable {symbol.text!r} keeps a value of its own between bars"
                self._refuse(symbol, "state", text, "an indicator of `aiopt indicators list`")
                return None
            inner = self.value(state.final)
        else:
            below = symbol.at(0)
            is_leaf = below.op == "name" or self.indicators.use(below) is not None
            if not is_leaf:
                pushed = self._pushed(below, symbol.at(1), symbol)
                return None if pushed is None else self.value(pushed)
            inner = self.value(below)
        if bars == 0 or inner is None:
            return inner
        if isinstance(inner, language.Series | language.Name | language.Output):
            return language.History(inner, int(bars))
        self._refuse(symbol, "history", "only a series or an indicator has a past", "the past of its parts")
        return None

    def _pushed(self, value: Symbol, bars: Symbol, place: Symbol) -> Symbol | None:
        """Return the past of an expression as that expression over the past of its parts."""
        make = self._make
        if not make.varies(value):
            return value
        if value.op == "opaque":
            self._opaque(value)
            return None
        pure = value.op in _PURE or (value.op == "call" and value.text in _PURE_CALLS)
        if pure:
            args = [make.history(a, bars, a.place) if isinstance(a, Symbol) else a for a in value.args]
            return make.make(value.op, *args, place=value.place)
        if value.op == "hist":
            first, second = self.parameters.at_defaults(value.at(1)), self.parameters.at_defaults(bars)
            if first is not None and second is not None:
                return make.history(value.at(0), make.number(int(first + second)), place.place)
        if value.op == "call" and value.text in ("ta.change", "ta.mom"):
            return make.history(self._change(value), bars, value.place)
        if value.op == "call" and value.text in ("ta.highest", "ta.lowest"):
            given = call_args(value)
            past = make.history(given["source"], bars, value.place)
            return make.make("call", value.text, "source", past, "length", given["length"], place=value.place)
        self._refuse(place, "history", "the past of this cannot be said", "the past of a price or indicator")
        return None

    def _change(self, symbol: Symbol) -> Symbol:
        args = call_args(symbol)
        length = args.get("length", self._make.number(1))
        past = self._make.history(args["source"], length, symbol.place)
        return self._make.make("-", args["source"], past, place=symbol.place)

    # reason: one step per function
    def _function(self, symbol: Symbol) -> Value | None:  # noqa: PLR0911
        args, name = call_args(symbol), symbol.text
        values = list(args.values())
        if name in ("math.max", "math.min") and len(values) > 1:
            found = [self.value(one) for one in values]
            first = found[0]
            for one in found[1:]:
                if first is None or one is None:
                    return None
                first = language.Call(name.removeprefix("math."), (first, one))
            return first
        if name == "math.abs":
            inner = self.value(values[0])
            return None if inner is None else language.Call("abs", (inner,))
        if name == "math.avg":
            total = values[0]
            for part in values[1:]:
                total = self._make.make("+", total, part, place=symbol.place)
            return self.value(self._make.make("/", total, self._make.number(len(values)), place=symbol.place))
        if name in ("ta.highest", "ta.lowest"):
            source, bars = self.value(args["source"]), self._bars(args["length"])
            if source is None or bars is None:
                return None
            return language.Call(name.removeprefix("ta."), (source, bars))
        if name in ("ta.change", "ta.mom"):
            return self.value(self._change(symbol))
        if name == "ta.tr":
            return self._true_range()
        if name in _CLOCK:
            return self._clock(symbol, args)
        self._refuse_call(symbol, args)
        return None

    def _clock(self, symbol: Symbol, args: dict[str, Symbol]) -> Value | None:
        if args["time"].text != "time":
            self._refuse(
                symbol, "clock", "only the opening time of the bar can be asked", f"{symbol.text}(time)"
            )
            return None
        zone = self.sessions.zone(args.get("timezone"), symbol)
        return None if zone is None else language.Output(self.indicators.calendar(zone), _CLOCK[symbol.text])

    def _true_range(self) -> Value:
        high, low = language.Series("high"), language.Series("low")
        before = language.History(language.Series("close"), 1)
        up = language.Call("abs", (language.Arithmetic("-", high, before),))
        down = language.Call("abs", (language.Arithmetic("-", low, before),))
        wide = language.Arithmetic("-", high, low)
        return language.Call("max", (wide, language.Call("max", (up, down))))

    def _refuse_call(self, symbol: Symbol, args: dict[str, Symbol]) -> None:
        name = symbol.text
        source = args.get("source")
        if name in ("nz", "na", "fixnan"):
            self._refuse(symbol, "na", "the language has no value in place of na", "leave nz out")
        elif name == "timestamp":
            self._refuse(
                symbol,
                "date",
                "the language has no dates: which bars are traded is for the bars that are given",
                "leave it out and cut the bars (--from, --to of the data)",
            )
        elif name.startswith(("array.", "matrix.", "map.")):
            self._refuse(symbol, "collection", "arrays, maps and matrices cannot be said", "ta.* functions")
        elif name.startswith("strategy."):
            text = "a condition knows the market alone, not trades or the account"
            self._refuse(symbol, "position", text, "leave it out")
        elif f"call {name}" in patterns() and source is not None and self.indicators.source(source) is None:
            text = f"an indicator reads a series of the chart, not {shown(source)}"
            self._refuse(
                symbol, "source", text, f"{name} of close, hl2, … or an indicator that combines both"
            )
        elif name.startswith("ta."):
            self._refuse(symbol, "indicator", "no indicator of ours is that", "`aiopt indicators list`")
        else:
            self._refuse(
                symbol, "function", "the condition language has no such function", "+ - * / abs min max"
            )

    def _bars(self, symbol: Symbol) -> Value | None:
        value = self.parameters.number(symbol, whole=True)
        if isinstance(value, str):
            return language.Name(value)
        if value is None or not 1 <= value <= MAX_HISTORY:
            text = f"it must be a whole number of bars from 1 to {MAX_HISTORY}"
            self._refuse(symbol, "length", text, f"a literal up to {MAX_HISTORY}")
            return None
        return language.Number(value)

    def _opaque(self, symbol: Symbol) -> None:
        rule, reason = str(symbol.args[0]), str(symbol.args[1])
        text = f"{reason} cannot be said in a strategy of ours"
        if rule == "other series":
            text = "another timeframe or symbol is no series of the chart, and its developing bar repaints"
        self._findings.refuse(symbol.place, rule, reason, text, _NEAREST.get(rule, "a ta.* function"))


def language_outputs(indicators: Indicators, identifier: str) -> tuple[str, ...]:
    """Return the outputs of an indicator in use."""
    from aiopt.indicators.registry import indicator_def

    return indicator_def(indicators.specs[identifier].kind).outputs


def _literal(value: float) -> Value:
    plain = int(value) if value == int(value) else value
    return language.Negate(language.Number(-plain)) if plain < 0 else language.Number(abs(plain))


def _quotient(symbol: Symbol) -> Symbol | None:
    """Return ``a / b`` of ``b == 0.0 ? na : a / b``."""
    test, then, otherwise = symbol.symbols()
    is_guard = test.op == "==" and constant(test.at(1)) == 0.0 and then.op == "na" and otherwise.op == "/"
    return otherwise if is_guard and otherwise.at(1) is test.at(0) else None


@cache
def _counters() -> dict[str, tuple[Symbol, dict[str, State]]]:
    found = {}
    for function, sign in {"rising": ">", "falling": "<"}.items():
        lines = [
            "float s = HOLE_source",
            "var int c = 0",
            f"c := s {sign} s[1] ? c + 1 : 0",
            "bool x = c >= HOLE_bars",
        ]
        read = read_pattern(lines)
        found[function] = (read.globals["x"], read.symbols.states)
    return found
