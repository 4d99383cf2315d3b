"""Numbers of a script: literals, parameters by their names, and expressions of both at their defaults.

Owns which inputs a strategy uses and what they are called in it.
"""

from __future__ import annotations

import math

from aiopt.pine.importing.inputs import InputValue, free_name
from aiopt.pine.importing.refusals import Findings, shown
from aiopt.pine.importing.script import Reading
from aiopt.pine.importing.symbols import Symbol, below, constant
from aiopt.strategy.dimensions import Dimension


class Parameters:
    """The numbers a person may set that the strategy uses.

    Parameters
    ----------
    reading : Reading
        The script.
    findings : Findings
        Where it is said what is fixed.
    """

    def __init__(self, reading: Reading, findings: Findings) -> None:
        self._inputs, self._findings = reading.inputs, findings
        self._names: dict[str, str] = {}
        for key, one in reading.inputs.items():
            self._names[key] = free_name(one.wanted_name, self._names.values(), "parameter")
        self.used: dict[str, InputValue] = {}

    @property
    def reserved(self) -> list[str]:
        """Every name an input has, used or not."""
        return list(self._names.values())

    @property
    def values(self) -> dict[str, int | float]:
        """The parameters of the strategy, in the order of the script."""
        by_name = {self._names[key]: one for key, one in self._inputs.items()}
        return {
            name: one.number for name, one in by_name.items() if name in self.used and one.number is not None
        }

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """What a search may try of them: the limits that the inputs state."""
        found = {name: one.dimension for name, one in self.used.items()}
        return {name: found[name] for name in self.values if (found[name]) is not None}  # type: ignore[misc]

    def name(self, symbol: Symbol) -> str:
        """Return the parameter that an input is, counted as used."""
        name = self._names[symbol.text]
        self.used[name] = self._inputs[symbol.text]
        return name

    def number(self, symbol: Symbol, whole: bool = False) -> int | float | str | None:
        """Return a literal, or a parameter's name; of an expression its value at the defaults.

        None, and a refusal, where it is no number or not a whole one where `whole` asks for it.
        """
        if symbol.op == "input":
            if whole and not isinstance(self._inputs[symbol.text].number, int):
                text = "a number of bars must be whole"
                self._findings.refuse(symbol.place, "length", shown(symbol), text, "use input.int")
                return None
            return self.name(symbol)
        value = self.at_defaults(symbol)
        if value is None:
            text = "only a number or an input can stand here; this differs from bar to bar or is not known"
            self._findings.refuse(symbol.place, "length", shown(symbol), text, "a literal or one input")
            return None
        if whole:
            if value != int(value):
                text = f"a number of bars must be whole, but this is {value:g}"
                self._findings.refuse(symbol.place, "length", shown(symbol), text, f"{round(value)}")
                return None
            value = int(value)
        self.fixed(symbol, value)
        return value

    def fixed(self, symbol: Symbol, value: float) -> None:
        """Say that inputs within an expression stand at their defaults."""
        for part in below(symbol):
            if part.op == "input":
                one = self._inputs[part.text]
                text = f"input {one.shown!r} is fixed at {one.number:g}, as part of {shown(symbol)}"
                text += f" = {value:g}"
                self._findings.note(symbol.place, text)

    # reason: one step per kind of number
    def at_defaults(self, symbol: Symbol) -> float | None:  # noqa: PLR0911
        """Return the value of an expression of literals and inputs, these at their defaults."""
        if symbol.op == "input":
            return self._inputs[symbol.text].number
        if symbol.op == "number":
            value = symbol.args[0]
            assert isinstance(value, int | float)
            return value
        if symbol.op == "neg":
            inner = self.at_defaults(symbol.at(0))
            return None if inner is None else -inner
        if symbol.op in ("+", "-", "*", "/"):
            left, right = self.at_defaults(symbol.at(0)), self.at_defaults(symbol.at(1))
            if left is None or right is None:
                return None
            if symbol.op == "/":
                return None if right == 0 else left / right
            return {"+": left + right, "-": left - right, "*": left * right}[symbol.op]
        if symbol.op == "call" and symbol.text in ("math.round", "math.floor", "math.ceil"):
            inner = self.at_defaults(symbol.at(2))
            if inner is None or len(symbol.args) != 3:
                return None
            return {"math.floor": math.floor, "math.ceil": math.ceil}.get(
                symbol.text, lambda x: math.floor(x + 0.5)
            )(inner)
        return constant(symbol)
