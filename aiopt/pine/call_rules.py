"""Rules of calls: the right arguments, where a function may stand, ids and titles.  Knows no statement."""

from __future__ import annotations

from typing import Any

from aiopt.errors import did_you_mean
from aiopt.pine.builtins import FUNCTIONS, QUALIFIERS, Function, Parameter, PineType
from aiopt.pine.expression_types import MAX_HISTORY, ExpressionTypes
from aiopt.pine.findings import Broken, Finding
from aiopt.pine.syntax import converts, dotted, number, weakest


class CallRules(ExpressionTypes):
    """Types and rules of calls; remembers what has to be unique or to belong together in the whole script."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(findings)
        self._whole_value: Any = None  # the call that is the whole value of a global variable
        self._strings: dict[str, list[tuple[str, int]]] = {}  # what the string is → (text, line)
        self._declared_strategy = False
        self._plots = 0

    def _single_call(self, node: Any) -> PineType:
        types = self._call(node)
        if len(types) != 1:
            message = f"{dotted(node.func)}() returns {len(types)} values. Write [a, b, ...] = ..."
            raise self.fail(node, "tuple", message)
        if types[0].base == "void":
            raise self.fail(node, "type", f"{dotted(node.func)}() returns nothing that could be used.")
        return types[0]

    def _call(self, node: Any) -> tuple[PineType, ...]:
        name = dotted(node.func)
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
        qualifier = weakest([type_ for _, type_ in given.values()] + list(function.returns))
        base = function.returns[0].base
        if name in {"math.abs", "math.min", "math.max"}:
            base = "int" if all(type_.base == "int" for _, type_ in given.values()) else "float"
        return (PineType(base, qualifier),)

    def _argument_type(self, argument: Any) -> PineType | None:
        try:
            return self._single(argument.value)
        except Broken:
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
            raise Broken
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
        if not fits and not converts(given.base, wanted.base):
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
            if (number(given.get(name)) or 0) < 0:
                self.note(node, "range", f"strategy(): {name} must not be negative.")
        for name in ("initial_capital", "default_qty_value"):
            value = number(given.get(name))
            if value is not None and value <= 0:
                self.note(node, "range", f"strategy(): {name} must be positive, but is {value}.")

    def _check_input(self, node: Any, given: dict[str, tuple[Any, PineType]]) -> None:
        self._remember("input title", given.get("title"))
        if not self._global:
            self.note(node, "every bar", "An input must stand outside `if`.")
        value, low, high, step = (number(given.get(key)) for key in ("defval", "minval", "maxval", "step"))
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
        quantity = number(given.get("qty"))
        if quantity is not None and quantity <= 0:
            self.note(node, "range", f"{name}(): qty must be positive, but is {quantity}.")

    def _check_lengths(self, node: Any, name: str, given: dict[str, tuple[Any, PineType]]) -> None:
        for key in ("length", "fastlen", "slowlen", "siglen", "diLength", "adxSmoothing"):
            value = number(given.get(key))
            if value is not None and not 1 <= value <= MAX_HISTORY:
                self.note(
                    node, "range", f"{name}(): `1 <= {key} <= {MAX_HISTORY}` must hold, but it is {value}."
                )

    def _remember(self, what: str, argument: tuple[Any, PineType] | None) -> None:
        if (
            argument is None
            or type(argument[0]).__name__ != "Constant"
            or not isinstance(argument[0].value, str)
        ):
            return
        self._strings.setdefault(what, []).append((argument[0].value, argument[0].lineno))
