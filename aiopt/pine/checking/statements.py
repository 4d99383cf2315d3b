"""Statements of a script: declarations, changes, blocks, functions, types.  Owns what opens a scope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aiopt.errors import did_you_mean
from aiopt.pine.checking.calls import UserFunction
from aiopt.pine.checking.conversion import NUMBERS, PRIMITIVES, is_unknown, join, stricter_or_same
from aiopt.pine.checking.diagnostics import Reports
from aiopt.pine.checking.objects import GENERIC, ObjectTypes
from aiopt.pine.checking.scopes import UNKNOWN, Scope, Variable, dotted
from aiopt.pine.checking.words import KEYWORDS, RESERVED
from aiopt.pine.parsing.nodes import (
    Attribute,
    Boolean,
    Break,
    Call,
    Continue,
    Declaration,
    EnumDeclaration,
    Expression,
    ExpressionStatement,
    For,
    ForIn,
    FunctionDeclaration,
    History,
    If,
    Import,
    Name,
    Node,
    Reassignment,
    Statement,
    Switch,
    TupleDeclaration,
    TypeDeclaration,
    While,
)
from aiopt.pine.parsing.walk import walk
from aiopt.pine.reference.table import Builtins
from aiopt.pine.reference.types import Parameter, Type, weakest

VOID = Type("void", "const")
_STRUCTURES = (If, Switch, For, ForIn, While)


class StatementTypes(ObjectTypes):
    """Walk the statements of a script; the value of a block is that of its last statement."""

    def __init__(self, table: Builtins, reports: Reports, mutable: set[int], *, strict: bool) -> None:
        super().__init__(table, reports, strict=strict)
        self._mutable = mutable
        self._statements: dict[type, Callable[[Any], Type]] = {
            ExpressionStatement: self._expression_statement,
            Declaration: self._declaration,
            TupleDeclaration: self._tuple_declaration,
            Reassignment: self._reassignment,
            FunctionDeclaration: self._function_declaration,
            TypeDeclaration: self._only_global,
            EnumDeclaration: self._only_global,
            Import: self._only_global,
            Break: self._break,
            Continue: self._break,
        }

    @property
    def is_global(self) -> bool:
        """Whether the current statement stands in no block and no function."""
        return len(self.scopes) == 1

    def top_level(self, node: Node) -> None:
        """Notice an expression that is the whole value of a global statement."""
        raise NotImplementedError

    def run(self, statements: Sequence[Statement]) -> Type:
        """Check statements in their order and return the type of the last one's value."""
        result = VOID
        for statement in statements:
            if self.is_global:
                self.top_level(getattr(statement, "value", statement))
            result = self._statements[type(statement)](statement)
        return result

    def block(self, statements: Sequence[Statement], scope: Scope) -> Type:
        """Check the statements of a block of its own."""
        self.scopes.append(scope)
        self.conditional += scope.conditional
        result = self.run(statements)
        self.conditional -= scope.conditional
        self.scopes.pop()
        return result

    # ---------------------------------------------------------------------------------------------- structure

    def structure(self, node: Expression) -> Type:
        """Return the type of `if`, `switch` and loops, as the value of their last statement."""
        return self._structure(node, used=True)

    def _structure(self, node: Expression, *, used: bool) -> Type:
        if isinstance(node, If):
            return self._if(node, used)
        if isinstance(node, Switch):
            return self._switch(node, used)
        assert isinstance(node, For | ForIn | While)
        return self._loop(node)

    def _if(self, node: If, used: bool) -> Type:
        qualifiers = []
        types = []
        for branch in node.branches:
            qualifiers.append(self.condition(branch.test, "The condition of `if`").qualifier)
            types.append(self.block(branch.body, Scope(conditional=True)))
        if node.otherwise is not None:
            types.append(self.block(node.otherwise, Scope(conditional=True)))
        return self._common(node, types, qualifiers, used, "`if`")

    def _switch(self, node: Switch, used: bool) -> Type:
        qualifiers = []
        subject = None
        if node.subject is not None:
            subject = self.single(node.subject)
            qualifiers.append(subject.qualifier)
        types = []
        for case in node.cases:
            if case.test is not None:
                qualifiers.append(self._case(case.test, subject).qualifier)
            types.append(self.block(case.body, Scope(conditional=True)))
        return self._common(node, types, qualifiers, used, "`switch`")

    def _case(self, test: Expression, subject: Type | None) -> Type:
        if subject is None:
            return self.condition(test, "A case of `switch`")
        given = self.single(test)
        known = not is_unknown(subject) and not is_unknown(given)
        if known and join(subject, given) is None and {subject.base, given.base} <= PRIMITIVES:
            message = f"The case is {given.bare}, but `switch` looks at a value of {subject.bare}."
            self.reports.add(test, "type", message)
        return given

    def _common(self, node: Node, types: list[Type], qualifiers: list[str], used: bool, what: str) -> Type:
        if not used:
            return types[0] if types else VOID
        found: Type | None = types[0] if types else VOID
        for other in types[1:]:
            if found is None or "void" in (found.base, other.base):
                return UNKNOWN
            joined = join(found, other)
            if joined is None:
                if {found.base, other.base} <= PRIMITIVES:
                    message = f"The blocks of {what} give {found.bare} and {other.bare}; one type is needed."
                    self.reports.add(node, "type", message)
                return UNKNOWN
            found = joined
        assert found is not None
        if is_unknown(found) or found.base in {"void", "tuple"}:
            return found
        return found.qualified(weakest((found.qualifier, *qualifiers)))

    def _loop(self, node: For | ForIn | While) -> Type:
        scope = Scope(conditional=True, is_loop=True)
        if isinstance(node, For):
            for part in (node.start, node.stop, *([node.step] if node.step is not None else [])):
                given = self.single(part)
                if not is_unknown(given) and given.base not in NUMBERS:
                    self.reports.add(part, "type", f"A loop counts by numbers, but this is {given.bare}.")
            if self.constant(node.step) is not None and (self.constant(node.step) or 0) <= 0:
                message = "The step after `by` must be positive; a loop counts down by itself where it must."
                self.reports.add(node.step or node, "loop", message)
            counter = Type("int") if node.type is None else self.read_type(node.type)
            self._put(scope, node.counter, counter if node.type else self._counter(node))
        elif isinstance(node, ForIn):
            self._targets(node, scope)
        else:
            self.condition(node.test, "The condition of `while`")
            self._endless(node)
        return self.block(node.body, scope)

    def _counter(self, node: For) -> Type:
        parts = [self.type_of(node.start), *([self.type_of(node.step)] if node.step is not None else [])]
        return Type("int") if all(part.base == "int" for part in parts) else UNKNOWN

    def _endless(self, node: While) -> None:
        if not (isinstance(node.test, Boolean) and node.test.value):
            return
        if not any(isinstance(part, Break) for statement in node.body for part in walk(statement)):
            message = "`while true` without `break` never ends; TradingView stops the script."
            self.reports.add(node, "loop", message)

    def _targets(self, node: ForIn, scope: Scope) -> None:
        given = self.single(node.collection)
        if not is_unknown(given) and given.base not in {"array", "map", "matrix"}:
            message = f"`for … in` goes through an array, a map or a matrix, but this is {given.bare}."
            self.reports.add(node.collection, "type", message)
            given = UNKNOWN
        args = given.args if len(given.args) == GENERIC.get(given.base, 0) else ()
        item = args[-1] if args else UNKNOWN
        if given.base == "matrix":
            item = Type("array", "series", args)
        first = args[0] if given.base == "map" and args else Type("int")
        types = [item] if len(node.targets) == 1 else [first, item]
        for target, type_ in zip(node.targets, types, strict=False):
            self._put(scope, target, type_ if is_unknown(type_) else type_.qualified("series"))

    def _put(self, scope: Scope, target: Name, type_: Type) -> None:
        scope.names[target.name] = Variable(target.name, type_, target, self.function_depth, is_fixed=True)

    def _break(self, node: Statement) -> Type:
        for scope in reversed(self.scopes):
            if scope.is_loop:
                return VOID
            if scope.is_function:
                break
        word = "break" if isinstance(node, Break) else "continue"
        self.reports.add(node, "loop", f"`{word}` must stand in a loop.")
        return VOID

    # ------------------------------------------------------------------------------------------- declarations

    def _declaration(self, node: Declaration) -> Type:
        wanted = None if node.type is None else self.read_type(node.type)
        given = self._value(node.value, node.name)
        if wanted is None and given.base == "na" and isinstance(node.value, Name):
            message = f"{node.name!r} must have a type to start as na."
            self.reports.add(node, "type", message, fix=f"Write `float {node.name} = na`.")
            given = UNKNOWN
        type_ = given if wanted is None or is_unknown(wanted) else wanted.qualified(given.qualifier)
        if wanted is not None:
            self.assignable(node.value, node.name, given, wanted)
        if node.qualifier:
            if not is_unknown(given) and not stricter_or_same(given.qualifier, node.qualifier):
                message = (
                    f"{node.name!r} is declared as {node.qualifier}, but its value is {given.qualifier}."
                )
                self.reports.add(node.value, "qualifier", message)
            type_ = type_ if is_unknown(type_) else type_.qualified(node.qualifier)
        if node.is_exported and not self.exports_allowed(node):
            return type_
        type_ = self._lasting(node, type_)
        is_input = isinstance(node.value, Call) and (dotted(node.value.function) or "").startswith("input")
        self.declare(node.target, type_, is_input=is_input, is_const=node.qualifier == "const")
        return type_

    def _lasting(self, node: Declaration, type_: Type) -> Type:
        """Return a declared variable's type: one that changes is a series; version 5 was not strict there."""
        changes = id(node) in self._mutable
        if is_unknown(type_) or type_.base == "na":
            return UNKNOWN
        if node.mode and self.strict:
            return type_.qualified("series")
        if not changes:
            return type_
        return type_.qualified("series") if self.version >= 6 else type_.qualified("const")

    def exports_allowed(self, node: Declaration | FunctionDeclaration) -> bool:
        """Report an export outside a library."""
        raise NotImplementedError

    def _value(self, node: Expression, name: str) -> Type:
        if isinstance(node, _STRUCTURES):
            given = self._structure(node, used=True)
            if given.base == "void":
                return UNKNOWN
            return given if given.base != "tuple" else self.single_tuple(node, given)
        return self.single(node)

    def single_tuple(self, node: Expression, given: Type) -> Type:
        """Report a tuple where one value is needed."""
        message = f"This is a tuple of {len(given.args)} values, where one is needed."
        self.reports.add(node, "tuple", message, fix="Take it apart: [a, b] = ...")
        return UNKNOWN

    def declare(
        self,
        node: Node,
        type_: Type,
        *,
        is_input: bool = False,
        is_fixed: bool = False,
        is_const: bool = False,
    ) -> None:
        """Add a variable to the current block."""
        assert isinstance(node, Name)
        name = node.name
        if name in (RESERVED if self.strict else KEYWORDS):
            self.reports.add(node, "name", f"{name!r} is a word of the language. Rename the variable.")
        if name in self.scopes[-1].names and name != "_":
            message = f"{name!r} is declared already."
            self.reports.add(node, "duplicate", message, fix="Use `:=` to change it, or another name.")
        else:
            self._hides(node, name)
        self.scopes[-1].names[name] = Variable(
            name, type_, node, self.function_depth, is_input=is_input, is_const=is_const, is_fixed=is_fixed
        )

    def _hides(self, node: Name, name: str) -> None:
        built_in = self.table.variable(name) is not None or self.table.function(name) is not None
        if self.strict and (built_in or name in self.table.namespaces):
            message = f"{name!r} is a built-in and would be hidden. Rename the variable."
            self.reports.add(node, "name", message)
        elif self.table.variable(name) is not None:
            self.reports.add(node, "hidden name", f"{name!r} hides the built-in of that name.", "warning")
        elif name != "_" and any(name in scope.names for scope in self.scopes[:-1]):
            if self.strict:
                message = f"{name!r} is declared already. Use `:=` to change it, or another name."
                self.reports.add(node, "duplicate", message)
            elif not self.function_depth:
                message = f"{name!r} hides the variable of the outer block."
                self.reports.add(node, "hidden name", message, "warning", "Did you mean `:=`?")

    def _tuple_declaration(self, node: TupleDeclaration) -> Type:
        given = self.type_of(node.value)
        types: tuple[Type, ...] = (UNKNOWN,) * len(node.names)
        if given.base == "tuple":
            if len(given.args) == len(node.names):
                types = given.args
            else:
                what = dotted(node.value.function) if isinstance(node.value, Call) else None
                who = f"{what}() returns" if what else "The tuple has"
                message = f"{who} {len(given.args)} values, but {len(node.names)} names take them."
                self.reports.add(node, "tuple", message)
        elif not is_unknown(given):
            what = dotted(node.value.function) if isinstance(node.value, Call) else None
            count = 0 if given.base == "void" else 1
            who = f"{what}() returns {count} value(s)" if what else "This is a single value"
            self.reports.add(node, "tuple", f"{who}, but {len(node.names)} names take a tuple.")
        for name, type_ in zip(node.names, types, strict=True):
            self.declare(name, UNKNOWN if type_.base == "na" else type_, is_fixed=True)
        return given

    def _reassignment(self, node: Reassignment) -> Type:
        given = self._value(node.value, "")
        target = node.target
        if isinstance(target, Attribute):
            wanted = self.single(target)
            self.assignable(node.value, target.name, self._changed(node, wanted, given), wanted)
            return wanted
        if isinstance(target, History) or not isinstance(target, Name):
            self.reports.add(node, "assignment", "Only a variable or a field can be changed.")
            return given
        variable = self.lookup(target.name)
        if variable is None:
            self._no_variable(node, target)
            return given
        if self.function_depth and variable.depth < self.function_depth:
            message = f"{target.name!r} is global, and a function cannot change a global variable."
            self.reports.add(node, "assignment", message, fix="Return the value and assign it outside.")
        if variable.is_const:
            message = f"{target.name!r} is declared as const and cannot change."
            self.reports.add(node, "assignment", message, fix="Leave `const` out.")
        if self.strict and (variable.is_input or variable.is_fixed):
            message = f"{target.name!r} is an input or part of a tuple and cannot change."
            self.reports.add(node, "assignment", message)
        result = self._changed(node, variable.type, given)
        self.assignable(node.value, target.name, result, variable.type)
        return variable.type

    def _changed(self, node: Reassignment, old: Type, given: Type) -> Type:
        if node.operator == ":=":
            return given
        if old.base == "unknown":
            return UNKNOWN
        return self.arithmetic(node, node.operator[0], old, given)

    def _no_variable(self, node: Reassignment, target: Name) -> None:
        name = target.name
        if self.table.variable(name) is not None:
            self.reports.add(node, "assignment", f"{name!r} is a built-in and cannot change.")
            return
        hint = did_you_mean(name, self.known_names())
        message = f"{name!r} must be declared before `{node.operator}`.{hint}"
        self.reports.add(node, "undeclared", message)

    def _expression_statement(self, node: ExpressionStatement) -> Type:
        if isinstance(node.value, _STRUCTURES):
            return self._structure(node.value, used=False)
        return self.type_of(node.value)

    # ------------------------------------------------------------------------------ functions, types, imports

    def _only_global(self, node: Statement) -> Type:
        if not self.is_global:
            kind = type(node).__name__.removesuffix("Declaration").lower()
            self.reports.add(node, "declaration", f"A declaration of {kind} must stand in no block.")
        return VOID

    def _function_declaration(self, node: FunctionDeclaration) -> Type:
        if not self.is_global:
            self.reports.add(node, "declaration", f"The function {node.name!r} must be declared in no block.")
            return VOID
        if node.is_exported and self.exports_allowed(node):
            for parameter in node.parameters:
                if parameter.type is None:
                    message = f"The parameter {parameter.name!r} of an exported function must have a type."
                    self.reports.add(parameter, "export", message)
        function = UserFunction(node, self._parameters(node))
        if node.is_method and (not node.parameters or node.parameters[0].type is None):
            message = f"The first parameter of the method {node.name!r} must have a type."
            self.reports.add(node, "declaration", message)
        arguments = {
            parameter.name: parameter.type
            for parameter, written in zip(function.parameters, node.parameters, strict=True)
            if written.default is None
        }
        outer, self.state_seen = self.state_seen, False
        self.body_of(function, arguments)
        function.keeps_state, self.state_seen = self.state_seen, outer
        others = self.functions.setdefault(node.name, [])
        if any(_alike(function, other) for other in others):
            self.reports.add(node, "duplicate", f"The function {node.name!r} is declared already.")
        others.append(function)
        return VOID

    def _parameters(self, node: FunctionDeclaration) -> tuple[Parameter, ...]:
        seen: set[str] = set()
        built = []
        for parameter in node.parameters:
            if parameter.name in seen:
                message = f"The parameter {parameter.name!r} is declared twice."
                self.reports.add(parameter, "duplicate", message)
            if parameter.name in KEYWORDS:
                message = f"{parameter.name!r} is a word of the language. Rename the parameter."
                self.reports.add(parameter, "name", message)
            seen.add(parameter.name)
            type_ = Type("T") if parameter.type is None else self.read_type(parameter.type)
            if parameter.type is None:
                type_ = UNKNOWN
            wanted = type_ if is_unknown(type_) else type_.qualified(parameter.qualifier or "series")
            built.append(Parameter(parameter.name, wanted, required=parameter.default is None))
        return tuple(built)

    def body_of(self, function: UserFunction, arguments: dict[str, Type]) -> Type:
        """Return the type of a function's body for these arguments."""
        scope = Scope(is_function=True)
        node = function.declaration
        saved = self.scopes, self.conditional
        self.scopes, self.conditional = [self.scopes[0], scope], 0
        self.function_depth += 1
        for parameter, written in zip(function.parameters, node.parameters, strict=False):
            type_ = arguments.get(parameter.name)
            if type_ is None and written.default is not None:
                type_ = self.single(written.default)
                if not is_unknown(parameter.type):
                    type_ = parameter.type.qualified(type_.qualifier)
            elif type_ is None or (type_ is parameter.type and not is_unknown(type_)):
                type_ = UNKNOWN if is_unknown(parameter.type) else parameter.type.qualified("const")
            if type_.base == "na":
                type_ = UNKNOWN
            scope.names[parameter.name] = Variable(
                parameter.name, type_, written, self.function_depth, is_fixed=True
            )
        result = self.run(node.body)
        self.function_depth -= 1
        self.scopes, self.conditional = saved
        return result


def _alike(one: UserFunction, other: UserFunction) -> bool:
    """Return whether no call could tell two functions apart."""
    mine = [parameter.type.base for parameter in one.parameters]
    return mine == [parameter.type.base for parameter in other.parameters]
