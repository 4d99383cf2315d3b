"""Types of expressions: names, operators, history, structures that have a value.  Knows no function.

The type of a call and of a block is asked of the classes that inherit this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiopt.errors import did_you_mean
from aiopt.pine.checking.conversion import NUMBERS, PRIMITIVES, converts, is_unknown, join
from aiopt.pine.checking.diagnostics import Reports
from aiopt.pine.checking.scopes import UNKNOWN, ObjectType, Scope, Variable, dotted
from aiopt.pine.parsing.nodes import (
    Attribute,
    Binary,
    Boolean,
    Call,
    Color,
    Conditional,
    Expression,
    For,
    ForIn,
    History,
    If,
    Name,
    Number,
    String,
    Switch,
    TupleValue,
    Unary,
    While,
)
from aiopt.pine.reference.table import Builtins
from aiopt.pine.reference.types import Type, weakest

MAX_HISTORY = 10_000
"""Bars back that a script may look at most on TradingView, for prices; 5,000 for other values."""

_ADDED_FLAGS = frozenset({"plot_display", "plot_simple_display", "text_format"})
_ORDER = frozenset({"<", "<=", ">", ">="})


class ExpressionTypes:
    """Types of expressions; reports what breaks a rule and gives `UNKNOWN` where there is no type."""

    def __init__(self, table: Builtins, reports: Reports, *, strict: bool) -> None:
        self.table = table
        self.version = table.version
        self.reports = reports
        self.strict = strict
        self.scopes = [Scope()]
        self.objects: dict[str, ObjectType] = {}
        self.imports: set[str] = set()
        self.conditional = 0  # how many of the places round the current one do not run on every bar
        self._handlers: dict[type, Callable[[Any], Type]] = {
            Number: lambda node: Type("int" if isinstance(node.value, int) else "float", "const"),
            String: lambda node: Type("string", "const"),
            Boolean: lambda node: Type("bool", "const"),
            Color: lambda node: Type("color", "const"),
            Name: self._name,
            Attribute: self._attribute,
            History: self._history,
            Unary: self._unary,
            Binary: self._binary,
            Conditional: self._conditional,
            TupleValue: self._tuple,
            Call: self.call,
            If: self.structure,
            Switch: self.structure,
            For: self.structure,
            ForIn: self.structure,
            While: self.structure,
        }

    def call(self, node: Call) -> Type:
        """Return the type of a call."""
        raise NotImplementedError

    def structure(self, node: Expression) -> Type:
        """Return the type of `if`, `switch` and loops."""
        raise NotImplementedError

    def is_function(self, name: str) -> bool:
        """Return whether the script declares a function of this name."""
        raise NotImplementedError

    def type_of(self, node: Expression) -> Type:
        """Return the type of any expression, a tuple or nothing (`void`) included."""
        return self._handlers[type(node)](node)

    def single(self, node: Expression) -> Type:
        """Return the type of an expression that must have one value."""
        found = self.type_of(node)
        if found.base == "tuple":
            message = f"This is a tuple of {len(found.args)} values, where one is needed."
            self.reports.add(node, "tuple", message, fix="Take it apart first: [a, b] = ...")
            return UNKNOWN
        if found.base == "void":
            what = dotted(node.function) if isinstance(node, Call) else None
            message = f"{what}() returns nothing that could be used." if what else "This has no value."
            self.reports.add(node, "type", message)
            return UNKNOWN
        return found

    def lookup(self, name: str) -> Variable | None:
        """Return the innermost variable of a name."""
        for scope in reversed(self.scopes):
            if name in scope.names:
                return scope.names[name]
        return None

    def known_names(self) -> list[str]:
        """Return the names of the variables in reach, for hints."""
        return [name for scope in self.scopes for name in scope.names]

    # ------------------------------------------------------------------------------------------------- names

    def _name(self, node: Name) -> Type:
        name = node.name
        if name == "na":
            return Type("na", "const")
        variable = self.lookup(name)
        if variable is not None:
            return variable.type
        found = self.table.variable(name)
        if found is not None:
            return found
        return self._missing(node, name)

    def _missing(self, node: Expression, name: str) -> Type:
        if self.is_function(name) or self.table.function(name) is not None:
            self.reports.add(node, "call", f"{name} is a function. Call it: {name}(...).")
            return UNKNOWN
        since = self.table.since(name)
        if since is not None and since > self.version:
            message = f"{name!r} exists since version {since}, but the script is of version {self.version}."
            self.reports.add(node, "version", message, fix=f"Write //@version={since} and mend what changed.")
            return UNKNOWN
        old = self.table.old_name(name)
        if old is not None:
            fix = f"Write {old.form or old.successor}."
            self.reports.add(node, "old name", f"{name!r} is a name of Pine {old.until}.", fix=fix)
            return UNKNOWN
        if "." in name:
            self._missing_member(node, name)
            return UNKNOWN
        hint = did_you_mean(name, [*self.known_names(), *self.table.names])
        self.reports.add(node, "undeclared", f"{name!r} must be declared or built in.{hint}")
        return UNKNOWN

    def _missing_member(self, node: Expression, name: str, rule: str = "undeclared", what: str = "") -> None:
        """Report a qualified name that the table lacks: an error where one is near, else a note."""
        namespace = name.rpartition(".")[0]
        if namespace.split(".")[0] not in {known.split(".")[0] for known in self.table.namespaces}:
            hint = did_you_mean(name, [*self.known_names(), *self.table.names])
            message = f"{name.split('.')[0]!r} of {name!r} must be declared or built in.{hint}"
            self.reports.add(node, rule, message)
            return
        near = [known for known in self.table.names if known.rpartition(".")[0] == namespace]
        hint = did_you_mean(name, near)
        if self.strict or (hint and namespace in self.table.complete_namespaces):
            hint = hint or did_you_mean(name, self.table.names)
            says = f"{name!r} must be declared or built in." if not what else f"There is no {what} {name}()."
            self.reports.add(node, rule, f"{says}{hint}")
            return
        message = f"{name!r} is unknown to aiopt: it is not in its table of version {self.version}.{hint}"
        self.reports.add(node, "unknown", message, "note")

    def _attribute(self, node: Attribute) -> Type:
        name = dotted(node)
        if name is None:
            return self._field(node, self.single(node.value))
        root = name.split(".")[0]
        if root in self.imports:
            return UNKNOWN
        variable = self.lookup(root)
        if variable is None:
            if root in self.objects:
                return self._member(node, name)
            found = self.table.variable(name)
            return found if found is not None else self._missing(node, name)
        if variable.type.base not in self.objects and self.table.variable(name) is not None:
            return self.table.variable(name) or UNKNOWN
        return self._field(node, self.single(node.value))

    def _member(self, node: Attribute, name: str) -> Type:
        root, _, member = name.partition(".")
        kind = self.objects[root]
        if not kind.is_enum:
            self.reports.add(node, "type", f"{root!r} is a type. Make an object of it: {root}.new(...).")
            return UNKNOWN
        if member not in kind.fields:
            hint = did_you_mean(member, kind.fields)
            self.reports.add(node, "undeclared", f"The enum {root!r} has no member {member!r}.{hint}")
            return UNKNOWN
        return Type(root, "const")

    def _field(self, node: Attribute, owner: Type) -> Type:
        if is_unknown(owner) or owner.base == "na":
            return UNKNOWN
        declared = self.objects.get(owner.base)
        fields = declared.fields if declared is not None else self.table.fields(owner.base)
        if fields is None:
            self.reports.add(node, "type", f"A value of type {owner.bare} has no field {node.name!r}.")
            return UNKNOWN
        if node.name not in fields:
            hint = did_you_mean(node.name, fields)
            self.reports.add(node, "undeclared", f"{owner.bare} has no field {node.name!r}.{hint}")
            return UNKNOWN
        return fields[node.name]

    # --------------------------------------------------------------------------------------------- operators

    def _unary(self, node: Unary) -> Type:
        if node.operator == "not":
            return self.condition(node.operand, "The operand of `not`")
        given = self.single(node.operand)
        if is_unknown(given) or given.base == "na":
            return UNKNOWN
        if given.base not in NUMBERS:
            self.reports.add(
                node, "type", f"The operand of a sign must be float or int, but is {given.bare}."
            )
            return UNKNOWN
        return given

    def _binary(self, node: Binary) -> Type:
        if node.operator in {"and", "or"}:
            left = self.condition(node.left, f"An operand of `{node.operator}`")
            self.conditional += self.version >= 6 or self.strict
            right = self.condition(node.right, f"An operand of `{node.operator}`")
            self.conditional -= self.version >= 6 or self.strict
            return Type("bool", weakest((left.qualifier, right.qualifier)))
        left, right = self.single(node.left), self.single(node.right)
        if node.operator in {"==", "!="} | _ORDER:
            return self._comparison(node, left, right)
        return self.arithmetic(node, node.operator, left, right)

    def arithmetic(self, node: Binary | Any, operator: str, left: Type, right: Type) -> Type:
        """Return the type of a sum, product …; `node` is where a slip is reported."""
        qualifier = weakest((left.qualifier, right.qualifier))
        if operator in {"/", "%"}:
            divisor = getattr(node, "right", getattr(node, "value", None))
            if isinstance(divisor, Number) and divisor.value == 0:
                severity = "error" if self.strict else "warning"
                message = "The divisor is zero. The result would be na on every bar."
                self.reports.add(node, "division", message, severity)  # type: ignore[arg-type]
        if is_unknown(left) or is_unknown(right):
            return UNKNOWN
        if operator == "+" and "string" in (left.base, right.base):
            if {left.base, right.base} <= {"string", "na"}:
                return Type("string", qualifier)
        elif {left.base, right.base} <= _ADDED_FLAGS and operator in {"+", "-"}:
            return left.qualified(qualifier) if left.base == right.base else Type("plot_display", qualifier)
        if not {left.base, right.base} <= {*NUMBERS, "na"}:
            message = f"Arithmetic needs numbers, but got {left.bare} and {right.bare}."
            fix = "Write str.tostring(x)." if "string" in (left.base, right.base) else ""
            self.reports.add(node, "type", message, fix=fix)
            return UNKNOWN
        whole = left.base == right.base == "int"
        if whole and operator == "/" and (self.version >= 6 or self.strict):
            # Constants divide with a fraction since version 6; of other whole numbers the manual is silent.
            if not self.strict and qualifier != "const":
                return UNKNOWN
            whole = False
        return Type("int" if whole else "float", qualifier)

    def _comparison(self, node: Binary, left: Type, right: Type) -> Type:
        result = Type("bool", weakest((left.qualifier, right.qualifier)))
        if node.operator in _ORDER and any(
            isinstance(side, Binary) and side.operator in _ORDER for side in (node.left, node.right)
        ):
            message = "Comparisons cannot be chained. Join two of them by `and`."
            self.reports.add(node, "comparison", message)
            return result
        if "na" in (left.base, right.base):
            severity = "error" if self.version >= 6 else "warning"
            message = "A comparison with na is never true. Write na(x)."
            self.reports.add(node, "comparison", message, severity)  # type: ignore[arg-type]
            return result
        if is_unknown(left) or is_unknown(right):
            return result
        numbers = left.base in NUMBERS and right.base in NUMBERS
        if node.operator in _ORDER:
            fits = numbers
        else:
            fits = numbers or left.base == right.base or not {left.base, right.base} <= PRIMITIVES
            if left.base != right.base and {left.base, right.base} <= self._enums():
                fits = False
            if self.version < 6 and {left.base, right.base} <= {*NUMBERS, "bool"}:
                fits = True
        if not fits:
            message = f"{left.bare} and {right.bare} cannot be compared by `{node.operator}`."
            self.reports.add(node, "type", message)
        return result

    def _enums(self) -> set[str]:
        return {name for name, kind in self.objects.items() if kind.is_enum}

    def condition(self, node: Expression, what: str) -> Type:
        """Return the type of an expression that must be a bool, as a bool."""
        given = self.single(node)
        wanted = Type("bool", given.qualifier)
        if is_unknown(given):
            return wanted
        if self.version >= 6 and given.base in {*NUMBERS, "na"}:
            shown = "na" if given.base == "na" else given.base
            fix = "" if given.base == "na" else "Write what is asked, e.g. `x != 0`."
            rule = "type" if self.strict else "bool"
            self.reports.add(node, rule, f"{what} must be bool, but is {shown}.", fix=fix)
        elif not converts(given, wanted, version=self.version):
            self.reports.add(node, "type", f"{what} must be bool, but is {given.bare}.")
        return wanted

    def _conditional(self, node: Conditional) -> Type:
        test = self.condition(node.test, "The condition of `?`")
        self.conditional += 1
        then, otherwise = self.single(node.then), self.single(node.otherwise)
        self.conditional -= 1
        self._no_na_beside_bool(node, then, otherwise)
        found = join(then, otherwise)
        if found is None:
            message = f"Both results of `?` must be of one type, but are {then.bare} and {otherwise.bare}."
            self.reports.add(node, "type", message)
            return UNKNOWN
        return found if is_unknown(found) else found.qualified(weakest((found.qualifier, test.qualifier)))

    def _no_na_beside_bool(self, node: Conditional, then: Type, otherwise: Type) -> None:
        if self.version >= 6 and {then.base, otherwise.base} == {"bool", "na"}:
            side = node.then if then.base == "na" else node.otherwise
            self.reports.add(side, "bool", "A bool is never na in version 6.", fix="Write false.")

    def _tuple(self, node: TupleValue) -> Type:
        return Type("tuple", "series", tuple(self.single(item) for item in node.items))

    # ----------------------------------------------------------------------------------------------- history

    def _history(self, node: History) -> Type:
        value = self.single(node.value)
        offset = self.single(node.offset)
        if not converts(offset, Type("int"), version=6) and not is_unknown(offset):
            self.reports.add(node.offset, "type", f"The number in `[]` must be int, but is {offset.bare}.")
        self._history_of_what(node, value)
        bars = self.constant(node.offset)
        if bars is not None and bars < 0:
            message = "The number in `[]` must not be negative: the future is unknown."
            self.reports.add(node.offset, "history", message)
        elif bars is not None and bars > (5_000 if self.strict else MAX_HISTORY):
            most = 5_000 if self.strict else MAX_HISTORY
            message = f"`[]` looks back {bars:g} bars, but TradingView keeps at most {most}."
            self.reports.add(node.offset, "history", message)
        if is_unknown(value):
            return UNKNOWN
        if value.base == "na":
            return value
        return Type(value.base, "series", value.args)

    def _history_of_what(self, node: History, value: Type) -> None:
        inner = node.value
        name = dotted(inner)
        literal = isinstance(inner, Number | String | Boolean | Color)
        built_in = name is not None and self.lookup(name.split(".")[0]) is None and value.qualifier == "const"
        if literal or (built_in and value.base not in self.objects and not is_unknown(value)):
            message = "A literal or a built-in constant has no history; `[]` must follow a variable."
            severity = "error" if self.version >= 6 or self.strict else "warning"
            self.reports.add(node, "history", message, severity, fix="Leave `[]` out.")  # type: ignore[arg-type]
        elif isinstance(inner, Attribute) and self.version >= 6 and self._is_object_field(inner):
            message = f"The field {inner.name!r} has no history of its own; the object has."
            root = dotted(inner.value) or "object"
            self.reports.add(node, "history", message, fix=f"Write ({root}[n]).{inner.name}.")
        elif self.strict and name is None:
            message = "`[]` must follow a variable. Give the expression a variable of its own."
            self.reports.add(node, "history", message)
        elif self.strict and value.qualifier in {"const", "input"} and not is_unknown(value):
            self.reports.add(node, "history", "A constant or an input has no history. Leave `[]` out.")

    def _is_object_field(self, node: Attribute) -> bool:
        name = dotted(node)
        if name is None:
            return False
        variable = self.lookup(name.split(".")[0])
        return variable is not None and variable.type.base in self.objects

    def constant(self, node: Expression | None) -> float | None:
        """Return the value of a literal number, with its sign; None for anything else."""
        sign = 1
        while isinstance(node, Unary) and node.operator in "+-":
            sign = -sign if node.operator == "-" else sign
            node = node.operand
        return sign * node.value if isinstance(node, Number) else None
