"""What the checker reports: diagnostics, and the list that collects each once.  Knows no rule's meaning."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from aiopt.pine.checking.rules import Severity
from aiopt.pine.parsing.nodes import Node

_WEIGHT = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, order=True)
class Diagnostic:
    """One thing to tell about a script.

    Attributes
    ----------
    line, column, end_line, end_column : int
        Where, 1-based; the end is the place right after the last character.
    rule : str
        Name of the rule in `aiopt.pine.checking.rules.RULES`, or of the parser's.
    message : str
        What is wrong, with the names of the script.
    severity : str
        ``error``: TradingView refuses the script, or it cannot do what it says; ``warning``: it runs, but
        look; ``note``: aiopt does not know.
    fix : str
        What to do; empty where the message says it.
    """

    line: int
    column: int
    end_line: int
    end_column: int
    rule: str
    message: str
    severity: Severity = "error"
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.message} {self.fix}".rstrip()
        return f"line {self.line}, column {self.column}: {self.severity}: {text} [{self.rule}]"

    def document(self) -> dict[str, object]:
        """Return the fields for JSON."""
        return asdict(self)


class Reports:
    """Collect diagnostics; the same one at the same place is kept once."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, str, str], Diagnostic] = {}

    def add(self, node: Node, rule: str, message: str, severity: Severity = "error", fix: str = "") -> None:
        """Record what is to be told about a node."""
        diagnostic = Diagnostic(
            node.line, node.column, node.end_line, node.end_column, rule, message, severity, fix
        )
        self._found.setdefault((node.line, node.column, rule, message), diagnostic)

    def sorted(self) -> list[Diagnostic]:
        """Return all, in the order of the text, the heavier first at one place."""
        return sorted(self._found.values(), key=lambda d: (d.line, d.column, _WEIGHT[d.severity], d))
