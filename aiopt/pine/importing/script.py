"""What a script says, as records: its orders, inputs, plots and declaration.  Knows not how they are read."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiopt.pine.importing.inputs import InputValue
from aiopt.pine.importing.symbols import Symbol, Symbols
from aiopt.pine.parsing.nodes import Node


@dataclass(frozen=True, eq=False)
class Order:
    """One call of an order function.

    Attributes
    ----------
    function : str
        Without ``strategy.``: ``entry``, ``exit``, ...
    args : dict of str to Symbol
        By parameter.
    guard : tuple of Symbol
        All must hold for the call to run, from the outermost.
    place : Node
        The call.
    """

    function: str
    args: dict[str, Symbol]
    guard: tuple[Symbol, ...]
    place: Node


@dataclass(eq=False)
class Variable:
    """A variable of the script: its value at this point."""

    key: str
    value: Symbol
    start: Symbol | None = None  # of `var`
    changes: bool = False
    declared: bool = True


@dataclass
class Reading:
    """What a script says.

    Attributes
    ----------
    symbols : Symbols
        Their maker, with the states of variables.
    orders : list of Order
        In the order of the text.
    inputs : dict of str to InputValue
        Numbers that a person may set, by the key of their symbols.
    fixed : list of InputValue
        Other inputs, taken at their defaults.
    names : dict of int to str
        The first variable that holds a symbol, by the symbol's id.
    plots : list of (title, Symbol)
        Plots with a title, as called.
    declaration : dict of str to Symbol
        Arguments of ``strategy()``.
    globals : dict of str to Symbol
        Final values of the global variables.
    kind : str
        ``strategy``, ``indicator``, ``library``, or empty.
    """

    symbols: Symbols
    orders: list[Order] = field(default_factory=list)
    inputs: dict[str, InputValue] = field(default_factory=dict)
    fixed: list[InputValue] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    plots: list[tuple[str, Symbol]] = field(default_factory=list)
    declaration: dict[str, Symbol] = field(default_factory=dict)
    declared_at: Node | None = None
    globals: dict[str, Symbol] = field(default_factory=dict)
    kind: str = ""
