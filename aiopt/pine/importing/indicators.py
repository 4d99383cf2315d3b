"""Recognise indicators: whatever our own emitter writes for a kind, and the ways other people write them.

The patterns of our own text are made by the emitter's writers, so a kind that it learns is imported too.
Owns which indicators of the script are used, under which ids.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cache

from aiopt.indicators.bar_series import SOURCES
from aiopt.indicators.registry import INDICATORS
from aiopt.pine.importing.inputs import free_name, snake_case
from aiopt.pine.importing.matching import HOLE, Matcher, read_pattern
from aiopt.pine.importing.script import Reading
from aiopt.pine.importing.symbols import State, Symbol, below
from aiopt.pine.indicators import KINDS, write_indicator
from aiopt.pine.text import Names
from aiopt.strategy.spec import IndicatorSpec

_S, _L = "HOLE_source", "HOLE_length"
_RANGE = "close, high, low"
_STOCH = f"ta.stoch({_RANGE}, HOLE_k_length)"
_RSI = f"ta.rsi({_S}, HOLE_rsi_length)"
_STOCH_RSI = f"ta.stoch({_RSI}, {_RSI}, {_RSI}, HOLE_k_length)"
_MACD = f"ta.ema({_S}, HOLE_fast) - ta.ema({_S}, HOLE_slow)"
_BAND = f"HOLE_multiplier * ta.stdev({_S}, {_L})"

_TEXTS: tuple[tuple[str, str, str], ...] = (
    ("atr", "value", f"ta.atr({_L})"),
    ("atr", "value", f"ta.rma(ta.tr(true), {_L})"),
    ("bollinger", "upper", f"ta.sma({_S}, {_L}) + {_BAND}"),
    ("bollinger", "lower", f"ta.sma({_S}, {_L}) - {_BAND}"),
    ("macd", "signal", f"ta.ema({_MACD}, HOLE_signal)"),
    ("macd", "macd", _MACD),
    ("stochastic", "d", f"ta.sma(ta.sma({_STOCH}, HOLE_k_smooth), HOLE_d_smooth)"),
    ("stochastic", "k", f"ta.sma({_STOCH}, HOLE_k_smooth)"),
    ("stochastic", "k", _STOCH),
    ("stoch_rsi", "d", f"ta.sma(ta.sma({_STOCH_RSI}, HOLE_k_smooth), HOLE_d_smooth)"),
    ("stoch_rsi", "k", f"ta.sma({_STOCH_RSI}, HOLE_k_smooth)"),
    ("stoch_rsi", "k", _STOCH_RSI),
    ("williams_r", "value", f"ta.wpr({_L})"),
    ("cci", "value", f"ta.cci({_S}, {_L})"),
    ("mfi", "value", f"ta.mfi({_S}, {_L})"),
    ("cmo", "value", f"ta.cmo({_S}, {_L})"),
    ("roc", "value", f"ta.roc({_S}, {_L})"),
    ("vwma", "value", f"ta.vwma({_S}, {_L})"),
    ("hma", "value", f"ta.hma({_S}, {_L})"),
    ("tsi", "value", f"ta.tsi({_S}, HOLE_short, HOLE_long)"),
    ("obv", "value", "ta.obv"),
)
_TUPLES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("dmi", ("plus", "minus", "adx"), f"ta.dmi({_L}, HOLE_smoothing)"),
    ("supertrend", ("line", "direction"), f"ta.supertrend(HOLE_multiplier, {_L})"),
    ("keltner", ("middle", "upper", "lower"), f"ta.kc({_S}, {_L}, HOLE_multiplier)"),
    ("keltner", ("middle", "upper", "lower"), f"ta.kc({_S}, {_L}, HOLE_multiplier, true)"),
)
_COMPLETED = {"stochastic": {"k_smooth": 1, "d_smooth": 1}, "stoch_rsi": {"k_smooth": 1, "d_smooth": 1}}
"""Smoothing that a script does without."""

_ONLY_WITH = {"donchian": "middle"}
"""Kinds whose other outputs are functions of the condition language, and are that unless this one occurs."""

_HEIKIN_ASHI = "heikin_ashi"


@dataclass(frozen=True, eq=False)
class Pattern:
    """One output of a kind as Pine says it."""

    kind: str
    output: str
    symbol: Symbol
    states: dict[str, State]


@dataclass(frozen=True, eq=False)
class Found:
    """An output of an indicator that the script computes; what its arguments are is not said yet."""

    kind: str
    output: str
    holes: dict[str, Symbol]


@dataclass(frozen=True)
class Use:
    """An indicator of the strategy: id and output."""

    indicator: str
    output: str


@cache
def patterns() -> dict[str, list[Pattern]]:
    """Return every pattern by the operation at its top, the emitter's own first."""
    found: list[Pattern] = []
    names = Names()
    for kind in sorted(KINDS):
        args = {name: f"{HOLE}{name}" for name in INDICATORS[kind].args}
        written = write_indicator(kind, identifier=f"x_{kind}", source=_S, args=args, names=names)
        read = read_pattern(written.lines)
        found += [
            Pattern(kind, output, read.globals[variable], read.symbols.states)
            for output, variable in written.outputs.items()
        ]
    for kind, output, text in _TEXTS:
        read = read_pattern([f"x = {text}"])
        found.append(Pattern(kind, output, read.globals["x"], read.symbols.states))
    for kind, outputs, text in _TUPLES:
        read = read_pattern([f"[{', '.join(outputs)}] = {text}"])
        found += [Pattern(kind, output, read.globals[output], read.symbols.states) for output in outputs]
    by_top: dict[str, list[Pattern]] = {}
    for one in found:
        by_top.setdefault(_top(one.symbol), []).append(one)
    return by_top


def _top(symbol: Symbol) -> str:
    """Return what two symbols of one meaning share for certain."""
    if symbol.op == "item":
        return f"item {symbol.args[1]} {symbol.at(0).args[0]}"
    return f"{symbol.op} {symbol.args[0]}" if symbol.op in ("call", "name", "number") else symbol.op


class Indicators:
    """The indicators of a script: found by their meaning, numbered as they are used.

    Parameters
    ----------
    reading : Reading
        The script.
    number : callable
        Returns a number, or the name of a parameter, for a symbol; None (and says why) where it is neither.
    roots : iterable of Symbol
        What orders depend on.
    reserved : collection of str
        Names that no indicator may have.
    """

    def __init__(
        self,
        reading: Reading,
        number: Callable[[Symbol, bool], int | float | str | None],
        roots: Iterable[Symbol],
        reserved: Collection[str],
    ) -> None:
        self._reading, self._number, self._reserved = reading, number, reserved
        self.specs: dict[str, IndicatorSpec] = {}
        self._ids: dict[str, str] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._found: dict[int, list[Found]] = {}
        self._uses: dict[int, Use | None] = {}
        self._titles = _titles(reading)
        seen: dict[int, Symbol] = {}
        for root in roots:
            for symbol in below(root):
                seen[id(symbol)] = symbol
        self._all = [found for symbol in seen.values() for found in self._candidates(symbol)]
        tests = [one for one in seen.values() if one.op == "call" and one.text == "na"]
        self._tested = [found for test in tests for found in self._candidates(test.at(2))]

    def find(self, symbol: Symbol) -> Found | None:
        """Return which output of which kind a symbol is, None if it is none."""
        return next(iter(self._candidates(symbol)), None)

    def _candidates(self, symbol: Symbol) -> list[Found]:
        """Return every output of a kind that a symbol may be."""
        key = id(symbol)
        if key not in self._found:
            found = []
            for pattern in patterns().get(_top(symbol), ()):
                matcher = Matcher(pattern.states, self._reading.symbols.states)
                match = matcher.match(pattern.symbol, symbol)
                if match is not None and self._is_source(match.holes.get("source")):
                    found.append(Found(pattern.kind, pattern.output, match.holes))
            self._found[key] = found
        return self._found[key]

    def _is_waited_for(self, found: Found) -> bool:
        """Return whether the script waits for every output of the indicator, as our own scripts do."""
        outputs = {one.output for one in self._tested if _fit(one, found)}
        return outputs == set(INDICATORS[found.kind].outputs)

    def is_used(self, symbol: Symbol) -> bool:
        """Return whether a symbol is an output of an indicator that the strategy uses."""
        used = [found for key, use in self._uses.items() if use is not None for found in self._found[key]]
        return any(_fit(one, other) for one in self._candidates(symbol) for other in used)

    def _is_source(self, symbol: Symbol | None) -> bool:
        return symbol is None or self.source(symbol) is not None

    def source(self, symbol: Symbol) -> str | None:
        """Return the name of a series that indicators read, None if a symbol is none of them."""
        if symbol.op == "name" and symbol.text in SOURCES:
            return symbol.text
        found = self.find(symbol)
        if found is not None and found.kind == _HEIKIN_ASHI:
            return f"ha_{found.output}"
        return None

    def use(self, symbol: Symbol) -> Use | None:
        """Return the indicator's output that a symbol is, counted as used; None if it is none."""
        key = id(symbol)
        if key not in self._uses:
            candidates = sorted(self._candidates(symbol), key=lambda one: not self._is_waited_for(one))
            settled = (self._settle(symbol, found) for found in candidates)
            self._uses[key] = next((use for use in settled if use is not None), None)
        return self._uses[key]

    def _settle(self, symbol: Symbol, found: Found) -> Use | None:
        only_with = _ONLY_WITH.get(found.kind)
        if only_with and not any(
            one.output == only_with and one.kind == found.kind and one.holes == found.holes
            for one in self._all
        ):
            return None
        holes = self._completed(found)
        if holes is None:
            return None
        definition = INDICATORS[found.kind]
        args: dict[str, int | float | str] = {}
        for name, argument in definition.args.items():
            value = holes[name]
            settled: int | float | str | None
            if isinstance(value, Symbol):
                if argument.type is str:
                    settled = value.text if value.op == "string" else None
                else:
                    settled = self._number(value, argument.type is int)
                    if argument.clock and isinstance(settled, int):
                        settled = f"{settled // 60:02d}:{settled % 60:02d}"
            else:
                settled = value
            if settled is None:
                return None
            args[name] = settled
        read = found.holes.get("source")
        source = "close" if read is None else self.source(read)
        spec = IndicatorSpec(kind=found.kind, source=source or "close", args=args)
        return Use(self._id(symbol, spec, found), found.output)

    def _completed(self, found: Found) -> dict[str, Symbol | int | str] | None:
        """Return the holes of every argument, those that the output says nothing of from another output."""
        holes: dict[str, Symbol | int | str] = dict(found.holes)
        missing = [name for name in INDICATORS[found.kind].args if name not in holes]
        if not missing:
            return holes
        for _ in missing:
            for other in self._all:
                shared = other.holes.keys() & holes.keys()
                if other.kind == found.kind and shared and all(other.holes[k] is holes[k] for k in shared):
                    holes = dict(other.holes) | holes
        missing = [name for name in missing if name not in holes]
        if not missing:
            return holes
        known = _COMPLETED.get(found.kind, {})
        if all(name in known for name in missing):
            return holes | {name: known[name] for name in missing}
        return None

    def _id(self, symbol: Symbol, spec: IndicatorSpec, found: Found) -> str:
        key = f"{spec.kind} {spec.source} {sorted(spec.args.items())}"
        if key not in self._ids:
            several = len(INDICATORS[found.kind].outputs) > 1
            wanted = self._titles.get(id(symbol))
            if wanted is None:
                name = snake_case(self._reading.names.get(id(symbol), ""))
                wanted = found.kind if several or not name else name.removesuffix("_value")
            identifier = free_name(wanted, [*self.specs, *self._reserved], found.kind)
            self._ids[key] = identifier
            self.specs[identifier] = spec
        identifier, place = self._ids[key], (symbol.place.line, symbol.place.column)
        self._places[identifier] = min(place, self._places.get(identifier, place))
        return identifier

    @property
    def ordered(self) -> dict[str, IndicatorSpec]:
        """The indicators in use, in the order of the script."""
        return dict(sorted(self.specs.items(), key=lambda one: self._places.get(one[0], (0, 0))))

    def calendar(self, zone: str) -> str:
        """Return the id of the calendar of a time zone, counted as used."""
        spec = IndicatorSpec(kind="calendar", args={"timezone": zone})
        key = f"{spec.kind} {spec.source} {sorted(spec.args.items())}"
        if key not in self._ids:
            identifier = free_name("calendar", [*self.specs, *self._reserved], "calendar")
            self._ids[key] = identifier
            self.specs[identifier] = spec
        return self._ids[key]


def _fit(one: Found, other: Found) -> bool:
    """Return whether two outputs may be of one indicator."""
    shared = one.holes.keys() & other.holes.keys()
    return one.kind == other.kind and all(one.holes[name] is other.holes[name] for name in shared)


def _titles(reading: Reading) -> dict[int, str]:
    """Return what our own scripts call an indicator: the title of its plot in the data window."""
    found: dict[int, str] = {}
    for title, symbol in reading.plots:
        name = title.partition(".")[0]
        if name.isidentifier():
            found.setdefault(id(symbol), name)
    return found
