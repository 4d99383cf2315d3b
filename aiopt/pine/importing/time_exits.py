"""Time stops: a position's age and the clock, as our emitter and others write them."""

from __future__ import annotations

from functools import cache

from aiopt.pine.exits import ExitWriter, clock_lines
from aiopt.pine.importing.matching import Matcher, read_pattern
from aiopt.pine.importing.parameters import Parameters
from aiopt.pine.importing.refusals import Findings
from aiopt.pine.importing.script import Reading
from aiopt.pine.importing.symbols import State, Symbol, constant
from aiopt.strategy.spec import StrategySpec, TimeStop

_BAR_COUNTS = ("bar_index", "strategy.opentrades.entry_bar_index")


def time_stop(
    reading: Reading, parameters: Parameters, findings: Findings, symbol: Symbol, side: str
) -> TimeStop | None:
    """Return the time stop that a condition is, None if it is something else."""
    for pattern, states in _time_patterns(side):
        match = Matcher(states, reading.symbols.states).match(pattern, symbol)
        if match is None:
            continue
        holes = match.holes
        at = zone = None
        if "at" in holes:
            minute = constant(holes["at"])
            if minute is None or holes["zone"].op != "string":
                continue
            at, zone = f"{int(minute) // 60:02d}:{int(minute) % 60:02d}", holes["zone"].text
        bars = parameters.number(holes["bars"], whole=True) if "bars" in holes else None
        if isinstance(bars, float):
            bars = int(bars)
        return TimeStop(bars=bars, at=at, timezone=zone)
    return _bars_held(parameters, findings, symbol)


def _bars_held(parameters: Parameters, findings: Findings, symbol: Symbol) -> TimeStop | None:
    """Return the time stop of ``bar_index - strategy.opentrades.entry_bar_index(0) >= bars``."""
    if symbol.op not in (">=", ">", "==") or symbol.at(0).op != "-":
        return None
    now, entry = symbol.at(0).at(0), symbol.at(0).at(1)
    if (now.text, entry.text) != _BAR_COUNTS or entry.op != "call":
        return None
    bars = parameters.at_defaults(symbol.at(1))
    if bars is None or bars != int(bars):
        return None
    held = int(bars) + (2 if symbol.op == ">" else 1)
    parameters.fixed(symbol.at(1), bars)
    text = f"closed at the open {held} bars behind the entry's bar: time_stop.bars = {held}"
    findings.note(symbol.place, text)
    return TimeStop(bars=held)


@cache
def _time_patterns(side: str) -> list[tuple[Symbol, dict[str, State]]]:
    """Return the tests of time that our emitter writes."""
    found = []
    for time in (
        TimeStop(bars=77, at="03:07", timezone="Etc/GMT+7"),
        TimeStop(bars=77),
        TimeStop(at="03:07", timezone="Etc/GMT+7"),
    ):
        spec = StrategySpec(name="pattern", entry_long="close > 0", entry_short="close > 0", time_stop=time)
        held = f"strategy.position_size {'>' if side == 'long' else '<'} 0"
        writer = ExitWriter(spec, side, held, lambda _: "0.0", str, 0.0001)
        lines = [*clock_lines(spec), *writer.time_lines()]
        for old, new in ((">= 187", ">= HOLE_at"), ('"Etc/GMT+7"', "HOLE_zone"), (">= 77", ">= HOLE_bars")):
            lines = [line.replace(old, new) for line in lines]
        read = read_pattern(lines)
        assert writer.time_up is not None
        found.append((read.globals[writer.time_up], read.symbols.states))
    return found
