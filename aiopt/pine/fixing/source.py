"""A script with its tokens and tree, and changes of its text at the places of nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from aiopt.pine.parsing.lexer import NEWLINE, Tokens, tokenize
from aiopt.pine.parsing.nodes import (
    Attribute,
    Call,
    Declaration,
    Expression,
    ForIn,
    FunctionDeclaration,
    History,
    Name,
    Node,
    Reassignment,
    TupleDeclaration,
)
from aiopt.pine.parsing.parser import ParsedScript, parse_script
from aiopt.pine.parsing.walk import children, walk
from aiopt.pine.reference.table import Builtins, builtins

OPENS = ("(", "[")
# Last parts of calls that change something, so that skipping one shows.
_ACTS = frozenset(
    {"push", "set", "put", "put_all", "remove", "pop", "shift", "unshift", "clear", "insert", "fill", "sort"}
    | {"reverse", "concat", "add_row", "add_col", "remove_row", "remove_col", "swap_rows", "swap_columns"}
    | {"new", "delete", "copy", "alert", "cell", "entry", "order", "exit", "close", "close_all", "cancel"}
)


@dataclass(frozen=True)
class Edit:
    """Characters `start` to `end` of a text give way to `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Change:
    """What one rule does at one place.

    Attributes
    ----------
    line : int
        1-based, of the text the rule was given.
    rule : str
        Short name, stable.
    message : str
        What is done and why nothing else changes; or why nothing is done.
    edits : tuple of Edit
        Empty where the change is left to the user.
    is_proved : bool
        The rule itself keeps every result; else only a run of both texts can show it.
    """

    line: int
    rule: str
    message: str
    edits: tuple[Edit, ...] = ()
    is_proved: bool = True


class Source:
    """A script that parses, for the rules to read.

    Parameters
    ----------
    text : str
        With line feeds alone.
    version : int
        That of the text.
    """

    def __init__(self, text: str, version: int) -> None:
        self.text = text
        self.version = version
        self.parsed: ParsedScript = parse_script(text)
        self.tokens: Tokens = tokenize(text)
        starts = [0]
        for line in text.split("\n"):
            starts.append(starts[-1] + len(line) + 1)
        self._starts = starts
        self._by_place = {
            place: index
            for index, place in enumerate(zip(self.tokens.lines, self.tokens.columns, strict=True))
            if self.tokens.texts[index]
        }
        self._opening = {end: start for start, end in self.tokens.closing.items()}

    @property
    def table(self) -> Builtins:
        """The built-ins of the version, of 5 for an older one."""
        return builtins(max(self.version, 5))

    def offset(self, line: int, column: int) -> int:
        """Return the position in the text of a place."""
        return self._starts[line - 1] + column - 1

    def start_of(self, token: int) -> int:
        """Return the position in the text of a token's first character."""
        return self.offset(self.tokens.lines[token], self.tokens.columns[token])

    def end_of(self, token: int) -> int:
        """Return the position right after a token."""
        return self.start_of(token) + len(self.tokens.texts[token])

    def token_at(self, node: Node) -> int:
        """Return the token that a node begins with."""
        return self._by_place[node.line, node.column]

    def written(self, first: int, last: int) -> str:
        """Return the text from a token to another, both included."""
        return self.text[self.start_of(first) : self.end_of(last)]

    def call_span(self, call: Call) -> tuple[int, int]:
        """Return where a call begins and ends in the text."""
        return self.offset(call.line, call.column), self.offset(call.end_line, call.end_column)

    def call_text(self, call: Call) -> str:
        """Return a call as written."""
        start, end = self.call_span(call)
        return self.text[start:end]

    def brackets(self, call: Call) -> tuple[int, int]:
        """Return the tokens of the brackets round a call's arguments."""
        closing = self._by_place[call.end_line, call.end_column - 1]
        return self._opening[closing], closing

    def argument_spans(self, call: Call) -> list[tuple[int, int]]:
        """Return first and last token of each argument of a call, brackets round a value included."""
        first, closing = self.brackets(call)
        spans, start, index = [], first + 1, first + 1
        while index < closing:
            kind = self.tokens.kinds[index]
            if kind in OPENS:
                index = self.tokens.closing[index]
            elif kind == ",":
                spans.append((start, index - 1))
                start = index + 1
            index += 1
        if start < closing:
            spans.append((start, closing - 1))
        return spans

    def without_argument(self, call: Call, position: int) -> Edit:
        """Return the edit that takes an argument away, with its comma."""
        spans = self.argument_spans(call)
        first, last = spans[position]
        if position + 1 < len(spans):
            return Edit(self.start_of(first), self.start_of(spans[position + 1][0]), "")
        start = self.end_of(spans[position - 1][1]) if position else self.start_of(first)
        return Edit(start, self.end_of(last), "")

    def line_of(self, token: int) -> tuple[int, int]:
        """Return first and last token of the statement's lines that a token is in."""
        kinds = self.tokens.kinds
        first = token
        while first and self.tokens.texts[first - 1]:
            first -= 1
        last = token
        while kinds[last + 1] != NEWLINE:
            last += 1
        return first, last

    def is_shared(self, first: int, last: int) -> bool:
        """Return whether the tokens of a line hold several statements, between commas."""
        index = first
        while index <= last:
            kind = self.tokens.kinds[index]
            if kind == ",":
                return True
            index = self.tokens.closing[index] + 1 if kind in OPENS else index + 1
        return False

    def indentation(self, token: int) -> str:
        """Return the blanks before the first token of a line."""
        start = self._starts[self.tokens.lines[token] - 1]
        return self.text[start : self.start_of(token)]

    @cached_property
    def declared(self) -> frozenset[str]:
        """Every name that the script declares itself, at any level."""
        names: set[str] = set()
        for node in walk(self.parsed.tree):
            if isinstance(node, Declaration):
                names.add(node.name)
            elif isinstance(node, TupleDeclaration):
                names.update(one.name for one in node.names)
            elif isinstance(node, ForIn):
                names.update(one.name for one in node.targets)
            elif isinstance(node, FunctionDeclaration):
                names.add(node.name)
                names.update(one.name for one in node.parameters)
        return frozenset(names)

    @cached_property
    def remembering(self) -> frozenset[str]:
        """Own functions whose result depends on the bars they ran on before."""
        functions = [one for one in self.parsed.tree.statements if isinstance(one, FunctionDeclaration)]
        found: set[str] = set()
        while True:
            more = {
                one.name
                for one in functions
                if one.name not in found and any(self._remembers(node, found) for node in walk(one))
            }
            if not more:
                return frozenset(found)
            found |= more

    def _remembers(self, node: Node, own: set[str]) -> bool:
        if isinstance(node, Declaration):
            return node.mode != ""
        if isinstance(node, Reassignment):
            return isinstance(node.target, Attribute)
        if not isinstance(node, Call):
            return isinstance(node, History)
        name = dotted(node.function)
        last = node.function.name if isinstance(node.function, Name | Attribute) else ""
        if last in _ACTS or last.startswith("set_"):
            return True
        if name is None or name.split(".")[0] in self.declared:
            return name is None or name in own
        function = self.table.function(name)
        return (function is not None and function.every_bar) or name.startswith("request.")

    def is_remembering(self, call: Call) -> bool:
        """Return whether a call must run on every bar for its result to be right."""
        return self._remembers(call, set(self.remembering))

    def fresh_name(self, wanted: str) -> str:
        """Return a name that the script has nowhere."""
        taken = {text for text in self.tokens.texts if text}
        number, name = 1, wanted
        while name in taken:
            number += 1
            name = f"{wanted}{number}"
        return name


def dotted(node: Expression) -> str | None:
    """Return ``"ta.ema"`` for a chain of names, None for anything else."""
    parts: list[str] = []
    while isinstance(node, Attribute):
        parts.append(node.name)
        node = node.value
    return ".".join([node.name, *reversed(parts)]) if isinstance(node, Name) else None


def calls(node: Node) -> Iterator[Call]:
    """Yield every call in a tree."""
    return (one for one in walk(node) if isinstance(one, Call))


def outermost(node: Node, source: Source) -> Iterator[Call]:
    """Yield the calls below a node that must run on every bar, none inside another."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, Call) and source.is_remembering(current):
            yield current
        else:
            waiting.extend(reversed(list(children(current))))


def applied(text: str, edits: Sequence[Edit]) -> str:
    """Return a text after edits, which may not overlap."""
    parts, at = [], 0
    for edit in sorted(edits, key=lambda one: (one.start, one.end)):
        if edit.start < at:
            raise ValueError(f"Two edits overlap at character {edit.start}: apply them one after the other.")
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*parts, text[at:]])
