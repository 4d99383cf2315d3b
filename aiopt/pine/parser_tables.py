"""What ANTLR finds out about Pine's grammar while it parses, kept so that no process starts from nothing.

The parser of pynescript decides by automata that it builds while it reads: states, and for each token the
next state.  They follow from the grammar alone, never from a script, but building them in Python makes the
first script of a process slow.  `parser_tables.json` keeps the automata of common scripts.  What they lack
the parser finds out as before: a script may be slower to read, and is never read differently.

Kept are states and edges.  The configurations behind a state are computed when the parser goes on from it by
an edge that is not kept.  Knows the runtime of ANTLR and nothing of Pine.  `aiopt.pine.parser_tables_build`
writes the file.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from antlr4 import CommonTokenStream, InputStream, ParserRuleContext
from antlr4.atn.ATNConfigSet import ATNConfigSet
from antlr4.atn.ParserATNSimulator import ParserATNSimulator
from antlr4.atn.SemanticContext import PrecedencePredicate
from antlr4.dfa.DFA import DFA
from antlr4.dfa.DFAState import DFAState, PredPrediction
from pynescript.ast.grammar.antlr4.generated.PinescriptParser import serializedATN
from pynescript.ast.grammar.antlr4.lexer import PinescriptLexer
from pynescript.ast.grammar.antlr4.parser import PinescriptParser

FILE = Path(__file__).with_name("parser_tables.json")

NO_PRECEDENCE = -1


class KeptState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One state of an automaton.

    Attributes
    ----------
    decides : int
        The alternative that is taken here; 0 where more tokens have to be read.
    conflict : bool
        Whether the parser has to look again with the whole context.
    if_precedence : list of (int, int)
        Where it depends on the precedence of the rule: the highest precedence, and the alternative then.
    edges : list of (int, int)
        Type of the next token, and the number of the state it leads to.
    """

    decides: int
    conflict: bool
    if_precedence: list[tuple[int, int]]
    edges: list[tuple[int, int]]


class KeptAutomaton(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """The automaton of one decision of the grammar: its starts, (precedence or -1, state), and its states."""

    decision: int
    starts: list[tuple[int, int]]
    states: list[KeptState]


class ParserTables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All automata, and of which grammar they are."""

    grammar: str
    automata: list[KeptAutomaton]


class _State(DFAState):
    """A state from the file, which computes its configurations when the parser asks for them."""

    __slots__ = ("_configs", "automaton", "parent", "precedence", "token")
    _configs: Any

    def __init__(self, automaton: DFA, parent: _State | None, token: int, precedence: int) -> None:
        super().__init__(configs=None)
        self.automaton, self.parent, self.token, self.precedence = automaton, parent, token, precedence

    @property
    def configs(self) -> Any:
        if self._configs is None:
            simulator = _simulator(self.precedence)
            if self.parent is None:
                self._configs = _start(simulator, self.automaton)
            else:
                self._configs = simulator.computeReachSet(self.parent.configs, self.token, False)
        return self._configs

    @configs.setter
    def configs(self, configs: Any) -> None:
        self._configs = configs


def _simulator(precedence: int) -> ParserATNSimulator:
    """Return a simulator that reads nothing: it computes configurations as in a rule of this precedence."""
    parser = PinescriptParser(CommonTokenStream(PinescriptLexer(InputStream(""))))
    parser._precedenceStack = [precedence]
    simulator = parser._interp
    simulator._outerContext = ParserRuleContext.EMPTY
    return simulator


def _start(simulator: ParserATNSimulator, automaton: DFA) -> Any:
    configs = simulator.computeStartState(automaton.atnStartState, ParserRuleContext.EMPTY, False)
    return simulator.applyPrecedenceFilter(configs) if automaton.precedenceDfa else configs


@cache
def load_tables() -> bool:
    """Give the kept automata to the parser of this process, once; return whether they are of its grammar."""
    tables = msgspec.json.decode(FILE.read_bytes(), type=ParserTables)
    if tables.grammar != grammar_hash():
        return False
    automata = PinescriptParser.decisionsToDFA
    for kept in tables.automata:
        _fill(automata[kept.decision], kept)
    return True


def _fill(automaton: DFA, kept: KeptAutomaton) -> None:
    states: list[_State | None] = [None] * len(kept.states)
    queue = []
    for precedence, number in kept.starts:
        start = states[number] or _State(automaton, None, 0, precedence)
        states[number] = start
        queue.append(number)
        if automaton.precedenceDfa:
            automaton.setPrecedenceStartState(precedence, start)
        else:
            automaton.s0 = start
    width = PinescriptParser.atn.maxTokenType + 2
    for number in queue:
        state, row = states[number], kept.states[number]
        assert state is not None
        state.isAcceptState = row.decides > 0 or bool(row.if_precedence)
        state.prediction, state.requiresFullContext = row.decides, row.conflict
        state.predicates = [
            PredPrediction(PrecedencePredicate(highest), alternative)
            for highest, alternative in row.if_precedence
        ] or None
        if state.isAcceptState:
            # Nothing goes on from here: the configurations are only shown to listeners, which look at none.
            state.configs = ATNConfigSet()
        if row.edges:
            state.edges = [None] * width
        for token, target in row.edges:
            if states[target] is None:
                states[target] = _State(automaton, state, token, state.precedence)
                queue.append(target)
            state.edges[token + 1] = states[target]


@cache
def grammar_hash() -> str:
    """Return the SHA-256 of the grammar that the installed pynescript parses by, as hexadecimal digits."""
    return hashlib.sha256(",".join(map(str, serializedATN())).encode()).hexdigest()
