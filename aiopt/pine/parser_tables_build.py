"""Writes `parser_tables.json` anew: run by hand after a change of the emitter or of pynescript.

Takes half a minute.

usage: python -m aiopt.pine.parser_tables_build [FILE]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from antlr4.atn.ATNSimulator import ATNSimulator
from antlr4.atn.SemanticContext import PrecedencePredicate
from antlr4.dfa.DFA import DFA
from antlr4.dfa.DFAState import DFAState
from pynescript import ast
from pynescript.ast.grammar.antlr4.parser import PinescriptParser

from aiopt.files import atomic_write_bytes
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.parser_tables import (
    FILE,
    NO_PRECEDENCE,
    KeptAutomaton,
    KeptState,
    ParserTables,
    grammar_hash,
)
from aiopt.pine.provenance import Provenance
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import IndicatorSpec, PriceDistance, RiskSize, StrategySpec

EVERYDAY = """//@version=6
strategy("everyday", overlay=true, initial_capital=100000.0, margin_long=-1.0)
int lengthInput = input.int(14, "length", minval=1, maxval=500)
float rsiValue = ta.rsi(close, lengthInput)
float range1 = 2.0 * ta.atr(14) + (high - low)[1]
[macdLine, signalLine, histogram] = ta.macd(close, 12, 26, 9)
isUp(value, level) => value > level and value[1] <= level
var int runBars = 0
runBars := close > close[1] ? runBars + 1 : 0
runBars += close > open[5001] ? math.floor(ta.sma(close, 5)) : -1
int minutes = hour(time, "UTC") * 60 + minute(time, "UTC") % 5
bool enterLong = isUp(rsiValue, 30) and runBars >= 2 or not na(histogram) and (minutes < 600 or minutes > -3)
var float longStop = na
if enterLong
    longStop := math.round_to_mintick(close - 2.0 * range1)
    strategy.entry("Long", strategy.long, qty=1000, stop=longStop)
else if macdLine < signalLine and strategy.position_size > 0
    strategy.close("Long", comment="Exit " + str.tostring(runBars))
else
    strategy.cancel("Long")
strategy.exit("Long exit", from_entry="Long", stop=longStop, limit=close * 1.01)
for i = 0 to 9
    runBars += i
plot(strategy.position_size > 0 ? longStop : na, "Stop", color=color.new(color.red, 20))
plotshape(enterLong, style=shape.triangleup, location=location.belowbar)
"""
"""A script with what people write beside: `aiopt pine check` reads theirs, too."""


def kept_automata() -> Iterator[KeptAutomaton]:
    """Yield what the parser of this process knows by now, but states of predicates other than precedence."""
    for automaton in PinescriptParser.decisionsToDFA:
        starts = _starts(automaton)
        if starts:
            yield _kept(automaton, starts)


def _starts(automaton: DFA) -> list[tuple[int, DFAState]]:
    if automaton.precedenceDfa:
        return [(level, state) for level, state in enumerate(automaton.s0.edges) if state is not None]
    return [] if automaton.s0 is None else [(NO_PRECEDENCE, automaton.s0)]


def _kept(automaton: DFA, starts: list[tuple[int, DFAState]]) -> KeptAutomaton:
    numbers: dict[int, int] = {}
    queue: list[DFAState] = []

    def number_of(state: DFAState) -> int:
        if id(state) not in numbers:
            numbers[id(state)] = len(queue)
            queue.append(state)
        return numbers[id(state)]

    first = [(level, number_of(state)) for level, state in starts]
    rows = []
    for state in queue:
        edges = [
            (index - 1, number_of(target))
            for index, target in enumerate(state.edges or ())
            if target is not None and _can_be_kept(target)
        ]
        needed = [(each.pred.precedence, each.alt) for each in state.predicates or ()]
        decides = state.prediction if state.isAcceptState else 0
        rows.append(KeptState(decides, state.requiresFullContext, needed, edges))
    return KeptAutomaton(automaton.decision, first, rows)


def _can_be_kept(state: DFAState) -> bool:
    if state is ATNSimulator.ERROR:
        return False
    return all(isinstance(needed.pred, PrecedencePredicate) for needed in state.predicates or ())


def learn_tables(scripts: Iterable[str]) -> ParserTables:
    """Return the automata that parsing these scripts builds from nothing."""
    automata = PinescriptParser.decisionsToDFA
    automata[:] = [DFA(old.atnStartState, old.decision) for old in automata]
    for script in scripts:
        ast.parse(script)
    return ParserTables(grammar_hash(), list(kept_automata()))


def encode_tables(tables: ParserTables) -> bytes:
    """Return the file's bytes: one automaton a line."""
    lines = ",\n".join(msgspec.json.encode(automaton).decode() for automaton in tables.automata)
    return f'{{"grammar":"{tables.grammar}","automata":[\n{lines}\n]}}\n'.encode()


def family_scripts() -> Iterator[str]:
    """Yield the script of every strategy family, with a fixed size and with one by risk."""
    for name in sorted(FAMILIES):
        spec = FAMILIES[name].spec
        for sized in (spec, msgspec.structs.replace(spec, size=RiskSize(risk_pct=0.5))):
            yield emit(sized, provenance=Provenance(), instrument=instrument("EURUSD"))


def wide_script() -> str:
    """Return the script of a strategy that uses everything the condition language has."""
    spec = StrategySpec(
        name="wide",
        params={"n": 3, "level": 1.7},
        indicators={
            "b": IndicatorSpec(kind="bollinger", args={"length": 15, "multiplier": 1.7}),
            "d": IndicatorSpec(kind="dmi", args={"length": 6, "smoothing": 5}),
            "e": IndicatorSpec(kind="dmi", args={"length": 9, "smoothing": 9}),
            "s": IndicatorSpec(kind="sma", source="hl2", args={"length": "n"}),
        },
        entry_long=(
            "highest(close[2] + level * 0.0001, n) > lowest(min(b.upper, s), 4) and rising(hlc3, 2) "
            "or not (abs(open - close) / (high - low) >= 0.5 and volume != 0)"
        ),
        entry_short=(
            "crossunder(max(ohlc4, b.lower[1]), b.middle) and falling(d.adx, n) or d.plus <= -(e.minus)"
        ),
        exit_long="crossover(d.minus, 30 - level)",
        stop_loss=PriceDistance(unit="pips", value=20),
        size=RiskSize(risk_pct=0.5),
    )
    return emit(spec, provenance=Provenance(), instrument=instrument("EURUSD"))


def main() -> None:
    """Write the file that is named, or the one in this folder."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    if path == FILE:
        # Scripts are checked when they are written, and whatever tables are there may be of another form.
        atomic_write_bytes(path, encode_tables(ParserTables("", [])))
    atomic_write_bytes(path, encode_tables(learn_tables([*family_scripts(), wide_script(), EVERYDAY])))


if __name__ == "__main__":
    main()
