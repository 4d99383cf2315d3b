"""What is told about a script that is imported: what cannot be said, and what is said otherwise.

Owns the two records and their collection; knows no construct.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aiopt.pine.importing.symbols import Symbol
from aiopt.pine.parsing.nodes import Node


@dataclass(frozen=True, order=True)
class Refusal:
    """A construct that no strategy of ours can say.

    Attributes
    ----------
    line, column : int
        Where, 1-based.
    rule : str
        Short name of the rule, stable.
    construct : str
        What is written there, in short.
    message : str
        Why it cannot be said.
    nearest : str
        The nearest form that can.
    """

    line: int
    column: int
    rule: str
    construct: str
    message: str
    nearest: str

    def __str__(self) -> str:
        end = "" if self.message.endswith((".", "?")) or not self.nearest else "."
        nearest = f" Nearest: {self.nearest}" if self.nearest else ""
        said = f"{self.construct}: {self.message}{end}{nearest} [{self.rule}]"
        return f"line {self.line}, column {self.column}: {said}"


@dataclass(frozen=True, order=True)
class ImportNote:
    """Something that is imported and should be known."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


@dataclass
class Findings:
    """Collects both, each once."""

    refusals: dict[tuple[int, int, str], Refusal] = field(default_factory=dict)
    notes: dict[ImportNote, None] = field(default_factory=dict)

    def refuse(self, place: Node, rule: str, construct: str, message: str, nearest: str) -> None:
        """Record a construct that cannot be said."""
        key = (place.line, place.column, rule)
        found = Refusal(place.line, place.column, rule, construct, message, nearest)
        self.refusals.setdefault(key, found)

    def note(self, place: Node, text: str) -> None:
        """Record what should be known."""
        self.notes.setdefault(ImportNote(place.line, text))


def shown(symbol: Symbol) -> str:
    """Return a symbol in the words of Pine, in short.

    Examples
    --------
    >>> from aiopt.pine.importing.symbols import Symbols
    >>> make = Symbols()
    >>> shown(make.binary(">", make.make("name", "close"), make.number(3)))
    'close > 3'
    """
    text = _text(symbol, 4)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _text(symbol: Symbol, depth: int) -> str:  # noqa: C901, PLR0911, PLR0912  one per kind of symbol
    if depth == 0:
        return "…"
    parts = [_text(part, depth - 1) for part in symbol.symbols()]
    match symbol.op:
        case "number" | "name" | "carry":
            return symbol.text
        case "bool":
            return symbol.text.lower()
        case "string":
            return f'"{symbol.text}"'
        case "na":
            return "na"
        case "input":
            return "an input"
        case "opaque":
            return str(symbol.args[1])
        case "call":
            return f"{symbol.text}({', '.join(parts)})"
        case "hist":
            return f"{parts[0]}[{parts[1]}]"
        case "past":
            return f"{symbol.text}[{parts[0]}]"
        case "not" | "neg":
            return f"{'not ' if symbol.op == 'not' else '-'}{parts[0]}"
        case "cond":
            return f"{parts[0]} ? {parts[1]} : {parts[2]}"
        case "item":
            return parts[0]
        case "tuple":
            return f"[{', '.join(parts)}]"
    return f"{parts[0]} {symbol.op} {parts[1]}"
