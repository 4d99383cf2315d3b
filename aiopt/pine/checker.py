"""Check a generated Pine script without running it: syntax by pynescript, meaning by the closed table.

Owns the rules a script of ours has to keep: every name known and declared once, every call with the right
arguments, types and qualifiers, `ta.*` only where it runs on every bar, order ids that belong together,
unique plot and input titles.  Knows nothing of strategies or indicators.

pynescript alone accepts nearly every broken script, and no Pine engine that runs offline checks types.  The
first parse in a process takes some seconds, because the parser builds its tables then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiopt.errors import PineError, did_you_mean
from aiopt.pine.builtins import (
    ENUMERATIONS,
    FUNCTIONS,
    KEYWORDS,
    NAMESPACES,
    QUALIFIERS,
    VARIABLES,
    Function,
    Parameter,
    PineType,
    Qualifier,
)

SUPPORTED_VERSIONS = (5, 6)

MAX_HISTORY = 5000
"""Bars back that a script may look on TradingView."""

MAX_PLOTS = 64
"""Plots per script on TradingView."""

_VERSION_LINE = re.compile(r"//@version=(\d+)\s*$")
_VERSION_MARK = re.compile(r"\s*//\s*@version")
_NUMBERS = frozenset({"int", "float"})
_STRUCTURES = frozenset({"ForTo", "ForIn", "While", "Switch"})


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


class _Broken(Exception):
    """An expression has no type because something in it is broken; the finding is recorded already."""


@dataclass
class _Scope:
    """Names declared in one block."""

    names: dict[str, PineType] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)  # inputs and tuple members: never reassigned


def check_script(text: str) -> list[Finding]:
    """Return every rule that a script breaks, in the order of lines; empty if it keeps them all.

    Parameters
    ----------
    text : str
        The whole script.
    """
    found = _check_version_line(text)
    tree = _parse(text)
    if isinstance(tree, Finding):
        return sorted([*found, tree])
    checker = _Checker(found)
    checker.script(tree)
    return sorted(set(checker.findings))


def require_valid(text: str, *, name: str) -> None:
    """Raise if a script breaks a rule.

    Raises
    ------
    PineError
        Names the script, and for every broken rule the line and the remedy.
    """
    findings = check_script(text)
    if findings:
        details = "\n".join(f"  {finding}" for finding in findings)
        raise PineError(
            f"{name}: a script must keep the checker's rules, but it breaks {len(findings)}:\n{details}"
        )


def _check_version_line(text: str) -> list[Finding]:
    lines = text.splitlines()
    marks = [number for number, line in enumerate(lines, start=1) if _VERSION_MARK.match(line)]
    match = _VERSION_LINE.match(lines[0]) if lines else None
    if match is None or int(match[1]) not in SUPPORTED_VERSIONS:
        given = lines[0] if lines else ""
        return [
            Finding(
                1,
                "version",
                f"The first line must be //@version=6 (or 5), but it is {given!r}. Put it there.",
            )
        ]
    return [
        Finding(n, "version", "The version may be stated once only. Remove this line.") for n in marks[1:]
    ]


def _parse(text: str) -> Any:
    """Return the syntax tree, or the finding that says why there is none."""
    # Imported here: building the ANTLR parser costs a tenth of a second that `aiopt --help` need not pay.
    from pynescript import ast
    from pynescript.ast.error import SyntaxError as PineSyntaxError

    try:
        return ast.parse(text if text.endswith("\n") else text + "\n")
    except (PineSyntaxError, SyntaxError, ValueError) as failure:
        return Finding(
            _failure_line(failure), "syntax", f"The script must parse, but: {failure.args[0]}. Mend the line."
        )


def _failure_line(failure: Exception) -> int:
    details = failure.args[1] if len(failure.args) > 1 else None
    line = getattr(details, "lineno", None) or getattr(failure, "lineno", None)
    return line if isinstance(line, int) else 1


def _dotted(node: Any) -> str | None:
    """Return ``"ta.ema"`` for an attribute chain or name, None for any other expression."""
    parts: list[str] = []
    while type(node).__name__ == "Attribute":
        parts.append(node.attr)
        node = node.value
    if type(node).__name__ != "Name":
        return None
    return ".".join([node.id, *reversed(parts)])


def _weakest(types: Sequence[PineType]) -> Qualifier:
    return max((type_.qualifier for type_ in types), key=QUALIFIERS.index, default="const")


class _Checker:
    """Walk one syntax tree.  Statements record findings; expressions return a type or raise `_Broken`."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        self._scopes = [_Scope()]
        self._whole_value: Any = None  # the call that is the whole value of a global variable
        self._strings: dict[str, list[tuple[str, int]]] = {}  # what the string is → (text, line)
        self._declared_strategy = False
        self._plots = 0

    def note(self, node: Any, rule: str, message: str) -> None:
        self.findings.append(Finding(node.lineno, rule, message))

    def fail(self, node: Any, rule: str, message: str) -> _Broken:
        self.note(node, rule, message)
        return _Broken()

    # -- statements -----------------------------------------------------------------------------------

    def script(self, tree: Any) -> None:
        """Check the statements in order, then what concerns the script as a whole."""
        if not tree.body:
            self.findings.append(Finding(1, "strategy", "A script must call strategy(...), but it is empty."))
            return
        first = tree.body[0]
        value: Any = getattr(first, "value", None)
        if type(value).__name__ != "Call" or _dotted(value.func) != "strategy":
            self.note(
                first, "strategy", "The first statement must be strategy(...). Put the declaration there."
            )
        self._block(tree.body)
        self._check_order_ids()
        self._check_unique()
        if self._plots > MAX_PLOTS:
            message = f"A script may plot {MAX_PLOTS} series, but it plots {self._plots}. Remove some."
            self.findings.append(Finding(1, "plots", message))

    def _block(self, statements: Sequence[Any]) -> None:
        handlers: dict[str, Callable[[Any], None]] = {
            "Assign": self._assign,
            "ReAssign": self._reassign,
            "Expr": self._expression_statement,
        }
        for statement in statements:
            handler = handlers.get(type(statement).__name__)
            if handler is None:
                kind = type(statement).__name__
                self.note(
                    statement, "construct", f"{kind} is not among the constructs of a generated script."
                )
                continue
            try:
                handler(statement)
            except _Broken:
                # The finding is recorded; the next statement is checked all the same.
                continue

    @property
    def _global(self) -> bool:
        return len(self._scopes) == 1

    def _expression_statement(self, statement: Any) -> None:
        value = statement.value
        kind = type(value).__name__
        if kind == "If":
            self._if(value)
            return
        if kind in _STRUCTURES:
            self.note(statement, "construct", f"{kind} is not among the constructs of a generated script.")
            return
        if kind != "Call":
            self.note(
                statement,
                "no effect",
                "An expression by itself has no effect. Assign it, or did you mean `:=`?",
            )
            return
        types = self._call(value)
        if types[0].base != "void":
            self.note(statement, "no effect", "The result of the call is not used. Assign it to a variable.")

    def _if(self, node: Any) -> None:
        with suppress(_Broken):  # recorded; the branches are checked all the same
            self._require(node.test, "bool", "The condition of `if`")
        for branch in (node.body, node.orelse):
            self._scopes.append(_Scope())
            self._block(branch)
            self._scopes.pop()

    def _assign(self, statement: Any) -> None:
        if type(statement.target).__name__ == "Tuple":
            self._assign_tuple(statement)
            return
        name = statement.target.id
        declared = self._declared_type(statement)
        if statement.value is None:
            raise self.fail(statement, "assignment", f"{name!r} must get a value. Write `{name} = ...`.")
        try:
            type_ = self._value_of_statement(statement)
        except _Broken:
            # Later uses of the name must not be reported as unknown, too.
            self._declare(statement, name, PineType(declared or "float"))
            raise
        if declared is None and type_.base == "na":
            message = f"{name!r} must have a type to start as na. Write `float {name} = na`."
            self.note(statement, "type", message)
            type_ = PineType("float", type_.qualifier)
        if declared is not None:
            self._require_assignable(statement, name, type_, declared)
        self._declare(
            statement, name, PineType(declared or type_.base, self._declared_qualifier(statement, type_))
        )
        value = statement.value
        if type(value).__name__ == "Call" and (_dotted(value.func) or "").startswith("input."):
            self._scopes[-1].fixed.add(name)

    def _value_of_statement(self, statement: Any) -> PineType:
        self._whole_value = statement.value if self._global else None
        return self._single(statement.value)

    def _assign_tuple(self, statement: Any) -> None:
        names = [element.id for element in statement.target.elts]
        if type(statement.value).__name__ != "Call":
            raise self.fail(statement, "tuple", "A tuple must be filled by a call that returns one.")
        self._whole_value = statement.value if self._global else None
        try:
            types = self._call(statement.value)
        except _Broken:
            types = (PineType("float"),) * len(names)
        if len(types) != len(names):
            function = _dotted(statement.value.func)
            message = f"{function}() returns {len(types)} values, but {len(names)} names take them."
            self.note(statement, "tuple", message)
            types = (PineType("float"),) * len(names)
        for name, type_ in zip(names, types, strict=True):
            self._declare(statement, name, type_)
            self._scopes[-1].fixed.add(name)

    def _declared_type(self, statement: Any) -> str | None:
        if statement.type is None:
            return None
        name = _dotted(statement.type)
        if name not in {"int", "float", "bool", "string", "color"}:
            raise self.fail(
                statement, "type", f"The type must be int, float, bool, string or color, but is {name!r}."
            )
        return name

    def _declared_qualifier(self, statement: Any, type_: PineType) -> Qualifier:
        # `var` and anything reassigned later is a series; a plain declaration keeps its value's qualifier.
        return "series" if statement.mode is not None else type_.qualifier

    def _require_assignable(self, node: Any, name: str, given: PineType, wanted: str) -> None:
        if given.base == "na" and wanted == "bool":
            self.note(node, "type", f"{name!r}: a bool cannot be na in Pine v6. Start it as false.")
        elif not _converts(given.base, wanted):
            message = f"{name!r} is declared as {wanted}, but its value is {given.base}. Change one of them."
            self.note(node, "type", message)

    def _declare(self, node: Any, name: str, type_: PineType) -> None:
        if name in KEYWORDS:
            self.note(node, "name", f"{name!r} is a word of the language. Rename the variable.")
        elif name in VARIABLES or name in FUNCTIONS or name in NAMESPACES:
            self.note(node, "name", f"{name!r} is a built-in and would be hidden. Rename the variable.")
        if any(name in scope.names for scope in self._scopes):
            self.note(
                node, "duplicate", f"{name!r} is declared already. Use `:=` to change it, or another name."
            )
        self._scopes[-1].names[name] = type_

    def _reassign(self, statement: Any) -> None:
        name = _dotted(statement.target)
        scope = next((scope for scope in reversed(self._scopes) if name in scope.names), None)
        if name is None or scope is None:
            known = [known for scope in self._scopes for known in scope.names]
            hint = did_you_mean(str(name), known)
            raise self.fail(statement, "undeclared", f"{name!r} must be declared before `:=`.{hint}")
        if name in scope.fixed:
            self.note(statement, "assignment", f"{name!r} is an input or part of a tuple and cannot change.")
        given = self._single(statement.value)
        self._require_assignable(statement, name, given, scope.names[name].base)
        scope.names[name] = PineType(scope.names[name].base, "series")

    # -- expressions ----------------------------------------------------------------------------------

    def _single(self, node: Any) -> PineType:
        """Return the type of an expression with one value."""
        handlers: dict[str, Callable[[Any], PineType]] = {
            "Constant": self._constant,
            "Name": self._variable,
            "Attribute": self._variable,
            "UnaryOp": self._unary,
            "BinOp": self._binary,
            "Compare": self._compare,
            "BoolOp": self._boolean,
            "Conditional": self._conditional,
            "Subscript": self._history,
            "Call": self._single_call,
        }
        handler = handlers.get(type(node).__name__)
        if handler is None:
            kind = type(node).__name__
            raise self.fail(node, "construct", f"{kind} is not among the expressions of a generated script.")
        return handler(node)

    def _constant(self, node: Any) -> PineType:
        value = node.value
        if getattr(node, "kind", None) == "#":
            return PineType("color", "const")
        for type_, base in ((bool, "bool"), (int, "int"), (float, "float"), (str, "string")):
            if isinstance(value, type_):
                return PineType(base, "const")
        raise self.fail(
            node, "construct", f"A literal of type {type(value).__name__} is not used in scripts."
        )

    def _variable(self, node: Any) -> PineType:
        name = _dotted(node)
        if name == "na":
            return PineType("na", "const")
        for scope in reversed(self._scopes):
            if name in scope.names:
                return scope.names[name]
        if name in VARIABLES:
            return VARIABLES[name]
        if name in FUNCTIONS:
            raise self.fail(node, "call", f"{name} is a function. Call it: {name}(...).")
        known = [*VARIABLES, *(known for scope in self._scopes for known in scope.names)]
        raise self.fail(
            node, "undeclared", f"{name!r} must be declared or built in.{did_you_mean(str(name), known)}"
        )

    def _unary(self, node: Any) -> PineType:
        if type(node.op).__name__ == "Not":
            return self._require(node.operand, "bool", "The operand of `not`")
        return self._require(node.operand, "float", "The operand of a sign")

    def _binary(self, node: Any) -> PineType:
        left, right = self._single(node.left), self._single(node.right)
        operator = type(node.op).__name__
        if operator == "Add" and left.base == right.base == "string":
            return PineType("string", _weakest((left, right)))
        for side in (left, right):
            if side.base not in _NUMBERS:
                raise self.fail(
                    node, "type", f"Arithmetic needs numbers, but got {left.base} and {right.base}."
                )
        if operator in {"Div", "Mod"} and getattr(node.right, "value", None) in {0}:
            self.note(node, "division", "The divisor is zero. The result would be na on every bar.")
        whole = left.base == right.base == "int" and operator != "Div"
        return PineType("int" if whole else "float", _weakest((left, right)))

    def _compare(self, node: Any) -> PineType:
        if len(node.ops) > 1:
            raise self.fail(node, "comparison", "Comparisons cannot be chained. Join two of them by `and`.")
        left, right = self._single(node.left), self._single(node.comparators[0])
        if "na" in {left.base, right.base}:
            raise self.fail(node, "comparison", "A comparison with na is never true. Write na(x).")
        numbers = left.base in _NUMBERS and right.base in _NUMBERS
        equality = type(node.ops[0]).__name__ in {"Eq", "NotEq"}
        if not numbers and not (equality and left.base == right.base):
            raise self.fail(node, "type", f"{left.base} and {right.base} cannot be compared like that.")
        return PineType("bool", _weakest((left, right)))

    def _boolean(self, node: Any) -> PineType:
        word = type(node.op).__name__.lower()
        return PineType(
            "bool", _weakest([self._require(v, "bool", f"An operand of `{word}`") for v in node.values])
        )

    def _conditional(self, node: Any) -> PineType:
        test = self._require(node.test, "bool", "The condition of `?`")
        body, orelse = self._single(node.body), self._single(node.orelse)
        bases = {body.base, orelse.base} - {"na"}
        if len(bases) == 2 and not bases <= _NUMBERS:
            raise self.fail(
                node,
                "type",
                f"Both results of `?` must be of one type, but are {body.base} and {orelse.base}.",
            )
        base = "float" if len(bases) == 2 else next(iter(bases), "na")
        return PineType(base, _weakest((test, body, orelse)))

    def _history(self, node: Any) -> PineType:
        value = self._single(node.value)
        if type(node.value).__name__ not in {"Name", "Attribute"}:
            self.note(
                node, "history", "`[]` must follow a variable. Give the expression a variable of its own."
            )
        if value.qualifier in {"const", "input"}:
            self.note(node, "history", "A constant or an input has no history. Leave `[]` out.")
        offset = self._require(node.slice, "int", "The number in `[]`")
        literal = getattr(node.slice, "value", None)
        if type(node.slice).__name__ == "UnaryOp" or (
            isinstance(literal, int) and not 0 <= literal <= MAX_HISTORY
        ):
            self.note(
                node, "history", f"`0 <= bars <= {MAX_HISTORY}` must hold in `[]`. The future is unknown."
            )
        return PineType(value.base, _weakest((value, offset, PineType(value.base, "series"))))

    def _require(self, node: Any, base: str, what: str) -> PineType:
        """Return the type of an expression that must be convertible to `base`."""
        given = self._single(node)
        if not _converts(given.base, base) or given.base == "na":
            raise self.fail(node, "type", f"{what} must be {base}, but is {given.base}.")
        return given

    # -- calls ----------------------------------------------------------------------------------------

    def _single_call(self, node: Any) -> PineType:
        types = self._call(node)
        if len(types) != 1:
            message = f"{_dotted(node.func)}() returns {len(types)} values. Write [a, b, ...] = ..."
            raise self.fail(node, "tuple", message)
        if types[0].base == "void":
            raise self.fail(node, "type", f"{_dotted(node.func)}() returns nothing that could be used.")
        return types[0]

    def _call(self, node: Any) -> tuple[PineType, ...]:
        name = _dotted(node.func)
        function = FUNCTIONS.get(name or "")
        if function is None:
            hint = did_you_mean(str(name), FUNCTIONS)
            for argument in node.args:
                self._argument_type(argument)
            raise self.fail(
                node, "unknown function", f"{name}() is not among the functions of a script.{hint}"
            )
        if function.every_bar and node is not self._whole_value:
            message = (
                f"{name}() keeps state and must run on every bar. "
                "Give it a global variable of its own, outside `if`, `and`, `or` and `?`."
            )
            self.note(node, "every bar", message)
        given = self._bind(node, function)
        self._check_call(node, function, given)
        if not function.spreads_qualifier:
            return function.returns
        weakest = _weakest([type_ for _, type_ in given.values()] + list(function.returns))
        base = function.returns[0].base
        if name in {"math.abs", "math.min", "math.max"}:
            base = "int" if all(type_.base == "int" for _, type_ in given.values()) else "float"
        return (PineType(base, weakest),)

    def _argument_type(self, argument: Any) -> PineType | None:
        try:
            return self._single(argument.value)
        except _Broken:
            return None

    def _bind(self, node: Any, function: Function) -> dict[str, tuple[Any, PineType]]:
        """Match arguments with parameters; record what does not fit.  Returns name → (value node, type)."""
        bound: dict[str, tuple[Any, PineType]] = {}
        seen: set[str] = set()
        named = False
        complete = True
        for position, argument in enumerate(node.args):
            type_ = self._argument_type(argument)
            complete &= type_ is not None
            parameter = self._parameter(argument, function, position, named)
            named |= argument.name is not None
            if parameter is None:
                continue
            key = parameter.name
            if key in seen:
                if not function.variadic or argument.name is not None:
                    self.note(
                        argument, "arguments", f"{function.name}(): {key!r} is given twice. Remove one."
                    )
                    continue
                key = f"{key}{position}"
            seen.add(key)
            if type_ is not None:
                self._check_argument(argument, function, parameter, type_)
                bound[key] = (argument.value, type_)
        missing = [p.name for p in function.parameters if p.required and p.name not in seen]
        if missing:
            names = ", ".join(missing)
            raise self.fail(node, "arguments", f"{function.name}() needs {names}. Add the missing argument.")
        if not complete:
            raise _Broken
        return bound

    def _parameter(self, argument: Any, function: Function, position: int, named: bool) -> Parameter | None:
        parameters = function.parameters
        if argument.name is not None:
            for parameter in parameters:
                if parameter.name == argument.name:
                    return parameter
            hint = did_you_mean(argument.name, [parameter.name for parameter in parameters])
            self.note(argument, "arguments", f"{function.name}() has no argument {argument.name!r}.{hint}")
            return None
        if named:
            self.note(
                argument, "arguments", f"{function.name}(): an argument by position follows a named one."
            )
            return None
        if position < min(len(parameters), function.positional):
            return parameters[position]
        if function.variadic:
            return parameters[-1]
        limit = min(len(parameters), function.positional)
        message = (
            f"{function.name}() takes {limit} arguments by position, but got one more. Remove or name it."
        )
        self.note(argument, "arguments", message)
        return None

    def _check_argument(self, node: Any, function: Function, parameter: Parameter, given: PineType) -> None:
        wanted = parameter.type
        # na is a value of every series type, but not of what must be known before the script runs.
        fits = given.base == "na" if given.base == "na" and wanted.qualifier == "series" else False
        if not fits and not _converts(given.base, wanted.base):
            message = f"{function.name}(): {parameter.name} must be {wanted.base}, but is {given.base}."
            self.note(node, "type", message)
        elif QUALIFIERS.index(given.qualifier) > QUALIFIERS.index(wanted.qualifier):
            message = (
                f"{function.name}(): {parameter.name} must be known as {wanted.qualifier}, "
                f"but it is a {given.qualifier} value."
            )
            self.note(node, "qualifier", message)

    def _check_call(self, node: Any, function: Function, given: dict[str, tuple[Any, PineType]]) -> None:
        name = function.name
        if name == "strategy":
            self._check_strategy(node, given)
        elif name.startswith("input."):
            self._check_input(node, given)
        elif name == "plot":
            self._plots += 1
            self._remember("plot title", given.get("title"))
            if not self._global:
                self.note(
                    node, "every bar", "plot() must stand outside `if`. Plot na where nothing is to show."
                )
        elif name.startswith("strategy."):
            self._check_order(node, name, given)
        elif name.startswith("ta."):
            self._check_lengths(node, name, given)

    def _check_strategy(self, node: Any, given: dict[str, tuple[Any, PineType]]) -> None:
        if self._declared_strategy or not self._global:
            self.note(node, "strategy", "strategy(...) must be called once, as the first statement.")
        self._declared_strategy = True
        if given["title"][0].value == "":
            self.note(node, "strategy", "The title must not be empty.")
        for name in ("pyramiding", "slippage", "commission_value", "margin_long", "margin_short"):
            if (_number(given.get(name)) or 0) < 0:
                self.note(node, "range", f"strategy(): {name} must not be negative.")
        for name in ("initial_capital", "default_qty_value"):
            value = _number(given.get(name))
            if value is not None and value <= 0:
                self.note(node, "range", f"strategy(): {name} must be positive, but is {value}.")

    def _check_input(self, node: Any, given: dict[str, tuple[Any, PineType]]) -> None:
        self._remember("input title", given.get("title"))
        if not self._global:
            self.note(node, "every bar", "An input must stand outside `if`.")
        value, low, high, step = (_number(given.get(key)) for key in ("defval", "minval", "maxval", "step"))
        if step is not None and step <= 0:
            self.note(node, "range", f"The step of an input must be positive, but is {step}.")
        if value is not None and ((low is not None and value < low) or (high is not None and value > high)):
            self.note(
                node, "range", f"`minval <= defval <= maxval` must hold, but got {low}, {value}, {high}."
            )

    def _check_order(self, node: Any, name: str, given: dict[str, tuple[Any, PineType]]) -> None:
        kind = name.removeprefix("strategy.")
        self._remember(kind, given.get("id"))
        if kind == "exit":
            self._remember("exit from", given.get("from_entry"))
            if not self._global:
                message = (
                    "strategy.exit() must be called on every bar, outside `if`, with prices that start as na."
                )
                self.note(node, "every bar", message)
            if "stop" not in given and "limit" not in given:
                self.note(
                    node, "arguments", "strategy.exit() needs a stop or a limit. Without one it does nothing."
                )
        elif self._global:
            self.note(node, "order", f"{name}() must stand under a condition, or it would act on every bar.")
        quantity = _number(given.get("qty"))
        if quantity is not None and quantity <= 0:
            self.note(node, "range", f"{name}(): qty must be positive, but is {quantity}.")

    def _check_lengths(self, node: Any, name: str, given: dict[str, tuple[Any, PineType]]) -> None:
        for key in ("length", "fastlen", "slowlen", "siglen", "diLength", "adxSmoothing"):
            value = _number(given.get(key))
            if value is not None and not 1 <= value <= MAX_HISTORY:
                self.note(
                    node, "range", f"{name}(): `1 <= {key} <= {MAX_HISTORY}` must hold, but it is {value}."
                )

    # -- the script as a whole ------------------------------------------------------------------------

    def _remember(self, what: str, argument: tuple[Any, PineType] | None) -> None:
        if (
            argument is None
            or type(argument[0]).__name__ != "Constant"
            or not isinstance(argument[0].value, str)
        ):
            return
        self._strings.setdefault(what, []).append((argument[0].value, argument[0].lineno))

    def _check_unique(self) -> None:
        for what in ("plot title", "input title", "exit"):
            seen: set[str] = set()
            for text, line in self._strings.get(what, []):
                label = "strategy.exit id" if what == "exit" else what
                if text in seen:
                    self.findings.append(
                        Finding(line, "unique", f"The {label} {text!r} is used twice. Rename one.")
                    )
                if not text:
                    self.findings.append(Finding(line, "unique", f"The {label} must not be empty."))
                seen.add(text)

    def _check_order_ids(self) -> None:
        entries = {text for text, _ in self._strings.get("entry", [])}
        exits = {text for text, _ in self._strings.get("exit", [])}
        for what, known in (("exit from", entries), ("close", entries), ("cancel", entries | exits)):
            for text, line in self._strings.get(what, []):
                if text not in known:
                    hint = did_you_mean(text, known)
                    message = f"No order has the id {text!r}, so this call would do nothing.{hint}"
                    self.findings.append(Finding(line, "order id", message))
        if not entries:
            self.findings.append(Finding(1, "order id", "A strategy must call strategy.entry() somewhere."))


def _number(argument: tuple[Any, PineType] | None) -> float | None:
    """Return the value of a literal number, with its sign; None for anything else."""
    if argument is None:
        return None
    node = argument[0]
    sign = 1
    if type(node).__name__ == "UnaryOp" and type(node.op).__name__ == "USub":
        node, sign = node.operand, -1
    value = getattr(node, "value", None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return sign * value


def _converts(given: str, wanted: str) -> bool:
    """Return whether Pine converts a value of type `given` to `wanted` by itself."""
    if given == wanted:
        return True
    if given == "na":
        return wanted not in ENUMERATIONS and wanted != "void"
    return given == "int" and wanted == "float"


def variable_names(text: str) -> Iterator[str]:
    """Yield the names of the global variables of a script, in order of declaration."""
    tree = _parse(text)
    if isinstance(tree, Finding):
        raise PineError(str(tree))
    for statement in tree.body:
        if type(statement).__name__ == "Assign":
            target = statement.target
            elements = target.elts if type(target).__name__ == "Tuple" else [target]
            yield from (element.id for element in elements)
