"""The closed table of Pine built-ins that emitted scripts may use.

Owns names, signatures, types and qualifiers as the Pine Script v5 and v6 reference manuals give them.
A built-in that is not listed here is an error in a generated script, even where Pine has it: the table
is what the checker holds the emitter to.  Knows nothing of strategies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Qualifier = Literal["const", "input", "simple", "series"]

QUALIFIERS: tuple[Qualifier, ...] = ("const", "input", "simple", "series")
"""From the strictest to the weakest: a value may be used where its own or a weaker qualifier is asked."""

ENUMERATIONS = frozenset({"direction", "quantity type", "commission type", "plot style", "plot display"})
"""Types whose values are only built-in constants; Pine does no arithmetic on them."""


@dataclass(frozen=True)
class PineType:
    """A Pine type with its qualifier.

    Attributes
    ----------
    base : str
        ``int``, ``float``, ``bool``, ``string``, ``color``, ``na`` (the literal), ``void``, or one of
        `ENUMERATIONS`.
    qualifier : str
        One of `QUALIFIERS`.
    """

    base: str
    qualifier: Qualifier = "series"

    def __str__(self) -> str:
        return f"{self.qualifier} {self.base}"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a built-in function: its name, its type, the weakest qualifier it accepts."""

    name: str
    type: PineType
    required: bool = False


@dataclass(frozen=True)
class Function:
    """A built-in function.

    Attributes
    ----------
    name : str
        Qualified name, e.g. ``ta.ema``.
    parameters : tuple of Parameter
        In positional order.
    returns : tuple of PineType
        One element, or one per element of the tuple it returns.
    positional : int
        How many arguments may be given by position; the emitter names the rest.
    every_bar : bool
        It keeps state between bars, so it has to be the whole value of a global variable.
    spreads_qualifier : bool
        The result's qualifier is the weakest of its arguments' (and never stricter than `returns`).
    variadic : bool
        The last parameter may repeat.
    """

    name: str
    parameters: tuple[Parameter, ...]
    returns: tuple[PineType, ...]
    positional: int = 8
    every_bar: bool = False
    spreads_qualifier: bool = False
    variadic: bool = False


def _type(text: str) -> PineType:
    qualifier, _, base = text.partition(" ")
    assert qualifier in QUALIFIERS, text
    return PineType(base, qualifier)


def _parameters(*specs: str) -> tuple[Parameter, ...]:
    """Build parameters from ``"name!: series float"``; an exclamation mark means required."""
    built = []
    for spec in specs:
        name, _, type_text = spec.partition(": ")
        built.append(Parameter(name.rstrip("!"), _type(type_text), required=name.endswith("!")))
    return tuple(built)


def _ta(name: str, *specs: str, returns: tuple[str, ...] = ("series float",)) -> Function:
    return Function(f"ta.{name}", _parameters(*specs), tuple(map(_type, returns)), every_bar=True)


def _math(name: str, *specs: str, returns: str = "const float", variadic: bool = False) -> Function:
    return Function(
        f"math.{name}", _parameters(*specs), (_type(returns),), spreads_qualifier=True, variadic=variadic
    )


def _order(name: str, *specs: str, positional: int = 1) -> Function:
    return Function(f"strategy.{name}", _parameters(*specs), (PineType("void"),), positional=positional)


_THREE_FLOATS = ("series float", "series float", "series float")

_STRATEGY = Function(
    "strategy",
    _parameters(
        "title!: const string",
        "shorttitle: const string",
        "overlay: const bool",
        "pyramiding: const int",
        "calc_on_order_fills: const bool",
        "calc_on_every_tick: const bool",
        "default_qty_type: const quantity type",
        "default_qty_value: const float",
        "initial_capital: const float",
        "slippage: const int",
        "commission_type: const commission type",
        "commission_value: const float",
        "process_orders_on_close: const bool",
        "margin_long: const float",
        "margin_short: const float",
        "use_bar_magnifier: const bool",
    ),
    (PineType("void", "const"),),
    positional=1,
)

_FUNCTIONS = (
    _STRATEGY,
    Function(
        "input.int",
        _parameters(
            "defval!: const int",
            "title!: const string",
            "minval: const int",
            "maxval: const int",
            "step: const int",
            "tooltip: const string",
            "group: const string",
        ),
        (PineType("int", "input"),),
        positional=2,
    ),
    Function(
        "input.float",
        _parameters(
            "defval!: const float",
            "title!: const string",
            "minval: const float",
            "maxval: const float",
            "step: const float",
            "tooltip: const string",
            "group: const string",
        ),
        (PineType("float", "input"),),
        positional=2,
    ),
    _ta("sma", "source!: series float", "length!: series int"),
    _ta("ema", "source!: series float", "length!: simple int"),
    _ta("rma", "source!: series float", "length!: simple int"),
    _ta("rsi", "source!: series float", "length!: simple int"),
    _ta(
        "macd",
        "source!: series float",
        "fastlen!: simple int",
        "slowlen!: simple int",
        "siglen!: simple int",
        returns=_THREE_FLOATS,
    ),
    _ta("bb", "source!: series float", "length!: series int", "mult!: simple float", returns=_THREE_FLOATS),
    _ta(
        "stoch",
        "source!: series float",
        "high!: series float",
        "low!: series float",
        "length!: series int",
    ),
    _ta("atr", "length!: simple int"),
    _ta("dmi", "diLength!: simple int", "adxSmoothing!: simple int", returns=_THREE_FLOATS),
    _ta("highest", "source!: series float", "length!: series int"),
    _ta("lowest", "source!: series float", "length!: series int"),
    _ta("tr", "handle_na!: simple bool"),
    _ta("crossover", "source1!: series float", "source2!: series float", returns=("series bool",)),
    _ta("crossunder", "source1!: series float", "source2!: series float", returns=("series bool",)),
    _math("abs", "number!: series float"),
    _math("min", "number0!: series float", "number1!: series float", variadic=True),
    _math("max", "number0!: series float", "number1!: series float", variadic=True),
    _math("floor", "number!: series float", returns="const int"),
    _math("round_to_mintick", "number!: series float", returns="simple float"),
    Function("na", _parameters("x!: series float"), (_type("const bool"),), spreads_qualifier=True),
    Function(
        "nz",
        _parameters("source!: series float", "replacement: series float"),
        (_type("const float"),),
        spreads_qualifier=True,
    ),
    Function("hour", _parameters("time!: series int", "timezone: series string"), (_type("series int"),)),
    Function("minute", _parameters("time!: series int", "timezone: series string"), (_type("series int"),)),
    Function(
        "dayofweek", _parameters("time!: series int", "timezone: series string"), (_type("series int"),)
    ),
    _order(
        "entry",
        "id!: series string",
        "direction!: series direction",
        "qty: series float",
        "comment: series string",
        "alert_message: series string",
        positional=2,
    ),
    _order(
        "exit",
        "id!: series string",
        "from_entry!: series string",
        "limit: series float",
        "stop: series float",
        "comment_profit: series string",
        "comment_loss: series string",
        positional=2,
    ),
    _order("close", "id!: series string", "comment: series string"),
    _order("cancel", "id!: series string"),
    Function(
        "plot",
        _parameters(
            "series!: series float",
            "title!: const string",
            "color: series color",
            "linewidth: input int",
            "style: input plot style",
            "display: input plot display",
        ),
        (PineType("void"),),
        positional=2,
    ),
)

FUNCTIONS: dict[str, Function] = {function.name: function for function in _FUNCTIONS}
"""Qualified name → signature."""

VARIABLES: dict[str, PineType] = {
    **dict.fromkeys(
        ("open", "high", "low", "close", "volume", "hl2", "hlc3", "ohlc4"),
        PineType("float"),
    ),
    **dict.fromkeys(
        ("strategy.position_size", "strategy.equity"),
        PineType("float"),
    ),
    "time": PineType("int"),
    "bar_index": PineType("int"),
    "syminfo.mintick": PineType("float", "simple"),
    "strategy.long": PineType("direction", "const"),
    "strategy.short": PineType("direction", "const"),
    "strategy.fixed": PineType("quantity type", "const"),
    "strategy.commission.percent": PineType("commission type", "const"),
    "strategy.commission.cash_per_contract": PineType("commission type", "const"),
    "plot.style_linebr": PineType("plot style", "const"),
    "display.data_window": PineType("plot display", "const"),
    **dict.fromkeys(
        (f"color.{name}" for name in ("blue", "gray", "green", "orange", "purple", "red", "teal")),
        PineType("color", "const"),
    ),
    **dict.fromkeys(
        (
            f"dayofweek.{day}"
            for day in ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
        ),
        PineType("int", "const"),
    ),
}
"""Qualified name → type of the built-in variables and constants."""

KEYWORDS = frozenset(
    {
        "and",
        "or",
        "not",
        "if",
        "else",
        "for",
        "to",
        "by",
        "in",
        "while",
        "switch",
        "break",
        "continue",
        "var",
        "varip",
        "true",
        "false",
        "na",
        "import",
        "export",
        "method",
        "type",
        "enum",
        "int",
        "float",
        "bool",
        "string",
        "color",
        "line",
        "label",
        "box",
        "table",
        "array",
        "matrix",
        "map",
        "linefill",
        "polyline",
        "const",
        "input",
        "simple",
        "series",
        "this",
        "catch",
        "class",
        "do",
        "ellipse",
        "is",
        "polygon",
        "range",
        "return",
        "struct",
        "text",
        "throw",
        "try",
        "as",
    }
)
"""Words a variable may not be called: Pine's keywords, type names and reserved words."""

NAMESPACES = frozenset(name.split(".")[0] for name in (*FUNCTIONS, *VARIABLES) if "." in name) | frozenset(
    {"request", "str", "ticker", "timeframe", "barstate", "session", "chart", "log", "runtime"}
)
"""First parts of qualified names; a variable of the same name would hide them."""
