"""What the checker reports: findings, and the base of the classes that record them.  Knows no rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, order=True)
class Finding:
    """One broken rule.

    Attributes
    ----------
    line : int
        1-based line of the script.
    rule : str
        Short name of the rule, stable, for tests and filters.
    message : str
        What must hold, what was found, what to do.
    """

    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message} [{self.rule}]"


class Broken(Exception):
    """An expression has no type because something in it is broken; the finding is recorded already."""


class Notes:
    """Record findings at the nodes of a syntax tree."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings

    def note(self, node: Any, rule: str, message: str) -> None:
        """Record a broken rule."""
        self.findings.append(Finding(node.lineno, rule, message))

    def fail(self, node: Any, rule: str, message: str) -> Broken:
        """Record a broken rule; the caller raises what is returned."""
        self.note(node, rule, message)
        return Broken()
