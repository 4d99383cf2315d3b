"""What the parser reports: faults of the text, and the limits it holds.  Knows no rule of meaning."""

from __future__ import annotations

from dataclasses import dataclass

MAX_CHARACTERS = 1_000_000
MAX_NESTING = 50
MAX_FAULTS = 50


@dataclass(frozen=True, order=True)
class Fault:
    """One place where the text is no Pine Script.

    Attributes
    ----------
    line, column, end_line, end_column : int
        Where, 1-based; the end is the place right after the last character.
    rule : str
        Short name of the rule, stable, for tests and filters.
    message : str
        What is wrong and what to do.
    """

    line: int
    column: int
    end_line: int
    end_column: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message} [{self.rule}]"


class FaultError(Exception):
    """A statement cannot be read on; the parser records the fault and goes on with the next one."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault
