"""Read a script's statements into symbols, and its orders with the conditions under which they are called.

Owns scopes, branches and the inlining of functions.  Nothing is refused here: what has no meaning for a
strategy of ours becomes ``opaque``, and is refused only where an order depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiopt.pine.importing.inputs import read_input
from aiopt.pine.importing.script import Order, Reading, Variable
from aiopt.pine.importing.symbols import State, Symbol, Symbols
from aiopt.pine.parsing.nodes import (
    Attribute,
    Binary,
    Boolean,
    Call,
    Conditional,
    Declaration,
    Expression,
    ExpressionStatement,
    For,
    ForIn,
    FunctionDeclaration,
    History,
    If,
    Name,
    Node,
    Number,
    Reassignment,
    Script,
    Statement,
    String,
    Switch,
    TupleDeclaration,
    TupleValue,
    Unary,
    While,
)
from aiopt.pine.parsing.walk import walk
from aiopt.pine.reference.table import Builtins

ORDERS = frozenset({"entry", "exit", "close", "close_all", "cancel", "cancel_all", "order"})
_ORDER_CALLS = frozenset(f"strategy.{name}" for name in ORDERS)
_MAX_INLINED = 30
_MAX_CALLS = 1_000
"""Calls that are inlined in all: functions that call each other twice double with each."""
_SHOWN = ("label.", "line.", "box.", "table.", "polyline.", "linefill.", "log.")
_SHOWING = frozenset(
    [
        "plot",
        "plotshape",
        "plotchar",
        "plotarrow",
        "plotbar",
        "plotcandle",
        "bgcolor",
        "barcolor",
        "fill",
        "hline",
        "alert",
        "alertcondition",
        "strategy",
        "indicator",
        "library",
        "runtime.error",
        "max_bars_back",
    ]
)


def read_script(
    tree: Script,
    table: Builtins,
    *,
    symbols: Symbols | None = None,
    holes: Callable[[str], bool] = lambda name: False,
) -> Reading:
    """Return what a script says.

    Parameters
    ----------
    tree : Script
        Without faults.
    table : Builtins
        Of its version.
    symbols : Symbols, optional
        To make symbols with, so that two scripts can be held side by side.
    holes : callable
        Says which undeclared names are holes of a pattern.
    """
    reader = _Reader(tree, table, symbols or Symbols(), holes)
    return reader.read()


class _Reader:
    def __init__(self, tree: Script, table: Builtins, symbols: Symbols, holes: Callable[[str], bool]) -> None:
        self._tree, self._table, self._make, self._holes = tree, table, symbols, holes
        self.found = Reading(symbols)
        self._scopes: list[dict[str, Variable]] = [{}]
        self._live: list[Variable] = []
        self._functions: dict[str, FunctionDeclaration] = {}
        self._guard: list[Symbol] = []
        self._inside: list[str] = []
        self._calls = 0
        self._loops = 0
        self._changing = {
            node.target.name
            for node in walk(tree)
            if isinstance(node, Reassignment) and isinstance(node.target, Name)
        }

    def read(self) -> Reading:
        self._statements(self._tree.statements)
        for variable in self._live:
            if variable.changes:
                start = variable.start or self._make.make("na")
                self._make.states[variable.key] = State(start, variable.value)
        self.found.globals = {name: one.value for name, one in self._scopes[0].items()}
        return self.found

    # --- statements ---------------------------------------------------------------------------------------

    def _statements(self, statements: Sequence[Statement]) -> Symbol:
        """Read a body; return the value of its last statement."""
        value = self._make.make("na")
        for statement in statements:
            value = self._statement(statement)
        return value

    def _statement(self, node: Statement) -> Symbol:
        if isinstance(node, ExpressionStatement):
            return self._value(node.value)
        if isinstance(node, Declaration):
            return self._declare(node)
        if isinstance(node, TupleDeclaration):
            value = self._value(node.value)
            for place, target in enumerate(node.names):
                item = self._item(value, place, node)
                self._bind(target.name, item)
            return value
        if isinstance(node, Reassignment):
            return self._reassign(node)
        if isinstance(node, FunctionDeclaration):
            self._functions[node.name] = node
        return self._make.make("na")

    def _item(self, value: Symbol, place: int, node: Node) -> Symbol:
        if value.op == "tuple" and place < len(value.args):
            return value.at(place)
        if value.op == "opaque":
            return value
        return self._make.make("item", value, place, place=node)

    def _bind(self, name: str, value: Symbol, start: Symbol | None = None) -> None:
        changes = name in self._changing
        key = ".".join([*self._inside, name])
        if changes and any(one.key == key for one in self._live):
            key = f"{key}#{len(self._live)}"
        variable = Variable(key, value, start, changes)
        self._scopes[-1][name] = variable
        self._live.append(variable)
        self.found.names.setdefault(id(value), name)

    def _declare(self, node: Declaration) -> Symbol:
        if node.mode in ("var", "varip"):
            start = self._value(node.value)
            if node.mode == "varip":
                start = self._opaque(node, "varip", "varip keeps values inside a bar, which closed bars lack")
            if node.name not in self._changing:
                self._bind(node.name, start)
                return start
            self._bind(node.name, start, start)
            variable = self._scopes[-1][node.name]
            variable.value = self._make.make("carry", variable.key, place=node)
            return variable.value
        value = self._value(node.value, name=node.name)
        self._bind(node.name, value)
        return value

    def _reassign(self, node: Reassignment) -> Symbol:
        value = self._value(node.value)
        if not isinstance(node.target, Name):
            return value
        variable = self._variable(node.target.name)
        if variable is None:
            return value
        if node.operator != ":=":
            value = self._make.binary(node.operator[:-1], variable.value, value, node)
        if self._loops:
            value = self._opaque(node, "loop", "a value computed in a loop")
        variable.value = value
        self.found.names.setdefault(id(value), node.target.name)
        return value

    def _variable(self, name: str) -> Variable | None:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return None

    # --- branches -----------------------------------------------------------------------------------------

    def _branches(self, cases: Sequence[tuple[Symbol | None, Sequence[Statement]]], node: Node) -> Symbol:
        """Read bodies of which the first whose test holds runs; merge what they assign."""
        if not cases:
            return self._make.make("na")
        (test, body), *rest = cases
        if test is None or (test.op == "bool" and test.args[0]):
            return self._body(body)
        if test.op == "bool":
            return self._branches(rest, node)
        known = list(self._live)
        before = [one.value for one in known]
        self._guard.append(test)
        then = self._body(body)
        after = [one.value for one in known]
        for one, value in zip(known, before, strict=True):
            one.value = value
        self._guard[-1] = self._make.negation(test, node)
        otherwise = self._branches(rest, node)
        self._guard.pop()
        for one, value in zip(known, after, strict=True):
            one.value = self._make.choice(test, value, one.value, node)
        if then.op == otherwise.op == "tuple" and len(then.args) == len(otherwise.args):
            pairs = zip(then.symbols(), otherwise.symbols(), strict=True)
            return self._make.make("tuple", *(self._make.choice(test, a, b, node) for a, b in pairs))
        return self._make.choice(test, then, otherwise, node)

    def _body(self, body: Sequence[Statement]) -> Symbol:
        self._scopes.append({})
        value = self._statements(body)
        self._scopes.pop()
        return value

    def _switch(self, node: Switch) -> Symbol:
        subject = None if node.subject is None else self._value(node.subject)
        cases: list[tuple[Symbol | None, Sequence[Statement]]] = []
        for case in node.cases:
            test = None if case.test is None else self._value(case.test)
            if test is not None and subject is not None:
                test = self._make.binary("==", subject, test, case)
            cases.append((test, case.body))
        return self._branches(cases, node)

    def _loop(self, node: For | ForIn | While) -> Symbol:
        self._loops += 1
        self._scopes.append({})
        targets = node.targets if isinstance(node, ForIn) else ()
        for target in [node.counter] if isinstance(node, For) else targets:
            self._bind(target.name, self._opaque(node, "loop", "a value computed in a loop"))
        self._statements(node.body)
        self._scopes.pop()
        self._loops -= 1
        return self._opaque(node, "loop", "a value computed in a loop")

    # --- expressions --------------------------------------------------------------------------------------

    def _opaque(self, node: Node, rule: str, reason: str) -> Symbol:
        return self._make.make("opaque", rule, reason, node.line, node.column, place=node)

    # reason: one step per kind of expression
    def _value(self, node: Expression, name: str = "") -> Symbol:  # noqa: C901, PLR0911, PLR0912
        make = self._make
        match node:
            case Number():
                return make.make("number", node.value, place=node)
            case String():
                return make.make("string", node.value, place=node)
            case Boolean():
                return make.boolean(node.value, node)
            case Name():
                return self._name(node)
            case Attribute():
                return self._attribute(node)
            case Unary(operator="not"):
                return make.negation(self._value(node.operand), node)
            case Unary(operator="-"):
                return make.make("neg", self._value(node.operand), place=node)
            case Unary():
                return self._value(node.operand)
            case Binary():
                left, right = self._value(node.left), self._value(node.right)
                return make.binary(node.operator, left, right, node)
            case Conditional():
                return self._chosen(node)
            case History():
                return self._history(node)
            case Call():
                return self._call(node, name)
            case TupleValue():
                return make.make("tuple", *(self._value(item) for item in node.items), place=node)
            case If():
                cases: list[tuple[Symbol | None, Sequence[Statement]]] = [
                    (self._value(branch.test), branch.body) for branch in node.branches
                ]
                if node.otherwise is not None:
                    cases.append((None, node.otherwise))
                return self._branches(cases, node)
            case Switch():
                return self._switch(node)
            case For() | ForIn() | While():
                return self._loop(node)
        return self._opaque(node, "value", f"a {type(node).__name__.lower()} is no number of a strategy")

    def _chosen(self, node: Conditional) -> Symbol:
        test = self._value(node.test)
        self._guard.append(test)
        then = self._value(node.then)
        self._guard[-1] = self._make.negation(test, node)
        otherwise = self._value(node.otherwise)
        self._guard.pop()
        return self._make.choice(test, then, otherwise, node)

    def _name(self, node: Name) -> Symbol:
        variable = self._variable(node.name)
        if variable is not None:
            return variable.value
        if node.name == "na":
            return self._make.make("na", place=node)
        if self._holes(node.name):
            return self._make.make("hole", node.name, place=node)
        return self._make.make("name", node.name, place=node)

    def _attribute(self, node: Attribute) -> Symbol:
        name = _qualified(node)
        if name is None or self._variable(name.split(".")[0]) is not None:
            return self._opaque(node, "object", "a field of an object")
        if name == "ta.tr":
            return self._make.make("call", name, "handle_na", self._make.boolean(False), place=node)
        return self._make.make("name", name, place=node)

    def _history(self, node: History) -> Symbol:
        bars = self._value(node.offset)
        if isinstance(node.value, Name):
            variable = self._variable(node.value.name)
            if variable is not None and variable.changes:
                return self._make.make("past", variable.key, bars, place=node)
        return self._make.history(self._value(node.value), bars, node)

    # --- calls --------------------------------------------------------------------------------------------

    def _call(self, node: Call, wanted: str) -> Symbol:
        name = _qualified(node.function)
        if name is None:
            return self._opaque(node, "object", "a method of an object")
        if name in self._functions:
            return self._inlined(self._functions[name], node)
        if name == "input" or name.startswith("input."):
            return self._input(name, node, wanted)
        args = self._arguments(name, node)
        if name in _ORDER_CALLS or name.startswith("strategy.risk."):
            guard = list(self._guard)
            if self._loops:
                guard.append(self._opaque(node, "loop", "an order in a loop"))
            when = args.pop("when", None)
            if when is not None:
                guard.append(when)
            if not any(one.op == "bool" and not one.args[0] for one in guard):
                kept = tuple(one for one in guard if one.op != "bool")
                self.found.orders.append(Order(name.removeprefix("strategy."), args, kept, node))
            return self._make.make("na")
        if name in ("strategy", "indicator", "library"):
            self.found.kind, self.found.declaration, self.found.declared_at = name, args, node
            return self._make.make("na")
        if name == "plot" and "series" in args and "title" in args:
            self.found.plots.append((args["title"].text, args["series"]))
        if name in _SHOWING or name.startswith(_SHOWN):
            return self._opaque(node, "shown", f"what {name} returns is only shown")
        return self._builtin(name, args, node)

    def _builtin(self, name: str, args: dict[str, Symbol], node: Call) -> Symbol:
        make = self._make
        if name in ("ta.crossover", "ta.crossunder", "ta.cross") and len(args) == 2:
            left, right = args.values()
            over = make.crossing(True, left, right, node)
            under = make.crossing(False, left, right, node)
            if name == "ta.cross":
                return make.binary("or", over, under, node)
            return over if name == "ta.crossover" else under
        if name.startswith("request."):
            return self._opaque(node, "other series", name)
        if name in ("float", "int", "bool") and len(args) == 1:
            return next(iter(args.values()))
        flat: list[Symbol | str] = [name]
        for parameter, value in args.items():
            flat += [parameter, value]
        return make.make("call", *flat, place=node)

    def _arguments(self, name: str, node: Call) -> dict[str, Symbol]:
        """Return the arguments by parameter, in the order of the signature."""
        given = [(argument.name, self._value(argument.value)) for argument in node.arguments]
        if name in ("ta.highest", "ta.lowest") and len(given) == 1:
            series = "high" if name == "ta.highest" else "low"
            return {"source": self._make.make("name", series, place=node), "length": given[0][1]}
        function = self._table.function(name)
        signatures = () if function is None else function.signatures
        if name in ("time", "time_close") and len(given) > 2 and given[2][1].op in ("string", "hole", "cond"):
            signatures = signatures[1:]  # the third is a time zone, not a number of bars
        flag = {"strategy.close": 1, "strategy.close_all": 0}.get(name)
        if (
            flag is not None
            and len(given) > flag
            and given[flag][0] is None
            and given[flag][1].op != "string"
        ):
            signatures = signatures[1:]  # the form with a condition in its place
        for signature in signatures:
            names = [parameter.name for parameter in signature.parameters]
            positional = [value for key, value in given if key is None]
            if len(positional) > len(names) or any(key not in names for key, _ in given if key is not None):
                continue
            args = dict(zip(names, positional, strict=False))
            args |= {key: value for key, value in given if key is not None}
            return {key: args[key] for key in names if key in args}
        return {key or f"argument {place}": value for place, (key, value) in enumerate(given, start=1)}

    def _inlined(self, function: FunctionDeclaration, node: Call) -> Symbol:
        if len(self._inside) >= _MAX_INLINED:
            return self._opaque(node, "depth", "functions nested too deeply")
        if self._calls >= _MAX_CALLS:
            return self._opaque(node, "depth", f"functions called more than {_MAX_CALLS:,} times in all")
        self._calls += 1
        given = [argument for argument in node.arguments if argument.name is None]
        named = {argument.name: argument for argument in node.arguments if argument.name is not None}
        scope: dict[str, Variable] = {}
        for place, parameter in enumerate(function.parameters):
            argument = given[place] if place < len(given) else named.get(parameter.name)
            source = parameter.default if argument is None else argument.value
            value = self._make.make("na") if source is None else self._value(source)
            scope[parameter.name] = Variable(parameter.name, value, changes=False)
        outer = self._scopes
        self._scopes = [outer[0], scope]
        self._inside.append(f"{function.name}@{self._calls}")
        value = self._statements(function.body)
        self._inside.pop()
        self._scopes = outer
        return value

    def _input(self, name: str, node: Call, wanted: str) -> Symbol:
        args = self._arguments(name, node)
        read = read_input(name, args, node, wanted, len(self.found.inputs))
        if read is None:
            return self._opaque(node, "input", f"{name} without a default that says a value")
        if read.is_number:
            self.found.inputs[read.key] = read
            return self._make.make("input", read.key, place=node)
        self.found.fixed.append(read)
        return read.default


def _qualified(node: Expression) -> str | None:
    """Return ``a.b.c`` of attributes over a name, None of anything else."""
    parts: list[str] = []
    while isinstance(node, Attribute):
        parts.append(node.name)
        node = node.value
    return ".".join([node.name, *reversed(parts)]) if isinstance(node, Name) else None
