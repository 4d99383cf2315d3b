"""The kept automata read every script as the parser alone does, and families' scripts need no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from antlr4.atn.ParserATNSimulator import ParserATNSimulator
from antlr4.dfa.DFA import DFA
from pynescript import ast
from pynescript.ast.error import SyntaxError as PineSyntaxError
from pynescript.ast.grammar.antlr4.parser import PinescriptParser

from aiopt.pine import parser_tables
from aiopt.pine.parser_tables import FILE, KeptAutomaton, ParserTables, grammar_hash, load_tables
from aiopt.pine.parser_tables_build import encode_tables, family_scripts, kept_automata

ELSEWHERE = """//@version=6
indicator("x", overlay = true)
near(level, distance) =>
    math.abs(close - level) < distance
count = 9
while count > 5
    count -= 1
plot(near(count, 1) ? -high % 3 : na)
"""
"""A script with a loop and more that no kept script has."""
BROKEN = '//@version=6\nindicator("x")\nplot(close +)\n'


def forget() -> None:
    automata = PinescriptParser.decisionsToDFA
    automata[:] = [DFA(old.atnStartState, old.decision) for old in automata]


@pytest.fixture
def anew() -> Iterator[None]:
    """Begin with what the file holds, and leave that behind."""
    forget()
    load_tables.cache_clear()
    yield
    forget()
    load_tables.cache_clear()


def outcome(script: str) -> str:
    try:
        return ast.dump(ast.parse(script))
    except PineSyntaxError as error:
        return f"{error.args[0]} {error.args[1].lineno}:{error.args[1].offset}"


def edges(automata: list[KeptAutomaton]) -> Iterator[tuple[tuple[int, ...], tuple[int, bool]]]:
    """Yield for every way of tokens through an automaton, shortest first, what its last state decides."""
    for kept in automata:
        seen = set()
        ways = [((kept.decision, precedence), number) for precedence, number in kept.starts]
        for way, number in ways:
            state = kept.states[number]
            yield way, (state.decides, state.conflict)
            if number not in seen:
                seen.add(number)
                ways.extend(((*way, token), target) for token, target in state.edges)


def decision(automata: dict[int, KeptAutomaton], way: tuple[int, ...]) -> tuple[int, bool] | None:
    """Return what the last state of a way decides, None where the way is not known."""
    kept = automata[way[0]]
    state = kept.states[dict(kept.starts)[way[1]]]
    for token in way[2:]:
        target = dict(state.edges).get(token)
        if target is None:
            return None
        state = kept.states[target]
    return state.decides, state.conflict


def test_the_tables_are_of_the_installed_grammar() -> None:
    assert load_tables(), "pynescript has another grammar: python -m aiopt.pine.parser_tables_build"


def test_families_need_nothing_that_is_not_kept(anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_tables()

    def build(*_: object) -> None:
        raise AssertionError("the tables are old: python -m aiopt.pine.parser_tables_build")

    monkeypatch.setattr(ParserATNSimulator, "computeTargetState", build)
    scripts = list(family_scripts())
    assert len(scripts) >= 5
    for script in scripts:
        ast.parse(script)


def test_what_was_loaded_is_what_the_file_holds(anew: None) -> None:
    assert load_tables()
    assert encode_tables(ParserTables(grammar_hash(), list(kept_automata()))) == FILE.read_bytes()


def test_tables_of_another_grammar_are_left_alone(anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser_tables, "grammar_hash", lambda: "another")
    assert not load_tables()
    assert list(kept_automata()) == []


@pytest.mark.slow
def test_scripts_are_read_as_without_tables(anew: None) -> None:
    """Trees and errors are the same, and so is every state that the parser finds by itself."""
    scripts = (BROKEN, ELSEWHERE)
    forget()
    alone = [outcome(script) for script in scripts]
    found = list(kept_automata())
    forget()
    load_tables.cache_clear()
    assert load_tables()
    assert [outcome(script) for script in scripts] == alone
    assert alone[0].endswith("3:12"), alone[0]
    now = {kept.decision: kept for kept in kept_automata()}
    ways = {way: (decided, decision(now, way)) for way, decided in edges(found)}
    known = [(alone, kept) for alone, kept in ways.values() if kept is not None]
    assert len(known) > len(ways) / 2 > 100
    assert [kept for _, kept in known] == [alone for alone, _ in known]
