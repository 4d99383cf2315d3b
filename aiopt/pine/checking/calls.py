"""Types and rules of calls: which function is meant, do the arguments fit, what comes back.

Functions of the script are templates, as in Pine: their bodies are checked anew for the types of each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiopt.errors import did_you_mean
from aiopt.pine.checking.binding import Bound, CallSite, Given, argument_of, bind
from aiopt.pine.checking.conversion import is_unknown
from aiopt.pine.checking.diagnostics import Reports
from aiopt.pine.checking.expressions import ExpressionTypes
from aiopt.pine.checking.scopes import UNKNOWN, dotted
from aiopt.pine.parsing.nodes import Attribute, Call, FunctionDeclaration, Name, TypeName
from aiopt.pine.reference.table import Builtins, Function
from aiopt.pine.reference.types import Parameter, Signature, Type

_NO_BOOL = frozenset({"na", "nz", "fixnan"})
MAX_CALLS = 12
"""Functions that call one another this deep are looked into; what is below has an unknown type."""


@dataclass
class UserFunction:
    """A function of the script.

    Attributes
    ----------
    keeps_state : bool
        It calls, somewhere below, a function that must run on every bar.
    results : dict
        Types of the arguments → type of the result, of the calls seen so far.
    """

    declaration: FunctionDeclaration
    parameters: tuple[Parameter, ...]
    keeps_state: bool = False
    results: dict[tuple[Type, ...], Type] = field(default_factory=dict)


class CallTypes(ExpressionTypes):
    """Types of calls, over the types of expressions."""

    def __init__(self, table: Builtins, reports: Reports, *, strict: bool) -> None:
        super().__init__(table, reports, strict=strict)
        self.functions: dict[str, list[UserFunction]] = {}
        self.dynamic_requests = self.version >= 6
        self.function_depth = 0
        self.state_seen = False  # in the function whose body is being checked

    def body_of(self, function: UserFunction, arguments: dict[str, Type]) -> Type:
        """Return the type of a function's body for these arguments."""
        raise NotImplementedError

    def read_type(self, node: TypeName) -> Type:
        """Return the type that a script writes."""
        raise NotImplementedError

    def after_call(self, node: Call, name: str, bound: Bound) -> None:
        """Check what the table cannot say of a call of a built-in function."""
        raise NotImplementedError

    def must_run_every_bar(self, node: Call, name: str) -> None:
        """Report a call that keeps state and stands where it does not run on every bar."""
        raise NotImplementedError

    def is_function(self, name: str) -> bool:
        """Return whether the script declares a function of this name."""
        return name in self.functions

    def call(self, node: Call) -> Type:
        """Return the type of a call; every argument is looked at, whatever is called."""
        given = [argument_of(argument, self.type_of(argument.value)) for argument in node.arguments]
        if isinstance(node.function, Name):
            return self._plain(node, node.function.name, given)
        if not isinstance(node.function, Attribute):
            self.reports.add(node, "call", "Only a function can be called.")
            return UNKNOWN
        name = dotted(node.function)
        return self._method(node, node.function, given) if name is None else self._dotted(node, name, given)

    def _dotted(self, node: Call, name: str, given: list[Given]) -> Type:
        """Return the type of a call of ``a.b(...)``: of a namespace, a type, a library, or a method."""
        assert isinstance(node.function, Attribute)
        root = name.split(".")[0]
        if root in self.imports and self.lookup(root) is None:
            return UNKNOWN
        if self.lookup(root) is None:
            if root in self.objects:
                return self._constructor(node, name, given)
            function = self.table.function(name)
            if function is not None:
                return self._built_in(node, function, given)
            if self.table.variable(dotted(node.function.value) or "") is None:
                return self._missing_function(node, name)
        elif self._is_no_receiver(node, name, node.function, given):
            return self._built_in(node, self.table.function(name), given)
        return self._method(node, node.function, given)

    def _is_no_receiver(self, node: Call, name: str, called: Attribute, given: list[Given]) -> bool:
        """Return whether a built-in function is meant, though a variable is called like its namespace."""
        function = self.table.function(name)
        if function is None or not isinstance(called.value, Name):
            return False
        variable = self.lookup(called.value.name)
        if variable is None or is_unknown(variable.type):
            return True
        if variable.type.base != called.value.name:
            return self.table.function(f"{variable.type.base}.{called.name}") is None
        template = [self.read_type(part) for part in node.template]
        site = CallSite(name, node, self.version)
        return not self._best(site, function.signatures, given, template)[1].problems

    def _plain(self, node: Call, name: str, given: list[Given]) -> Type:
        if name in self.functions:
            return self._of_script(node, name, self.functions[name], given)
        function = self.table.function(name)
        if function is not None:
            return self._built_in(node, function, given)
        if self.lookup(name) is not None or self.table.variable(name) is not None:
            self.reports.add(node, "call", f"{name!r} is a variable and cannot be called.")
            return UNKNOWN
        return self._missing_function(node, name)

    def _missing_function(self, node: Call, name: str) -> Type:
        since = self.table.since(name)
        if since is not None and since > self.version:
            message = f"{name}() exists since version {since}, but the script is of version {self.version}."
            self.reports.add(node, "version", message)
            return UNKNOWN
        old = self.table.old_name(name)
        if old is not None and (old.until >= 4 or self.table.variable(old.successor) is None):
            fix = f"Write {old.form or f'{old.successor}(...)'}."
            self.reports.add(node, "old name", f"{name}() is a function of Pine {old.until}.", fix=fix)
            return UNKNOWN
        if "." in name:
            self._missing_member(node, name, "unknown function", "function")
            return UNKNOWN
        known = [*self.functions, *(known for known in self.table.names if self.table.function(known))]
        self.reports.add(
            node, "unknown function", f"There is no function {name}().{did_you_mean(name, known)}"
        )
        return UNKNOWN

    # ---------------------------------------------------------------------------------------------- built-in

    def _built_in(self, node: Call, function: Function | None, given: list[Given]) -> Type:
        assert function is not None
        if function.every_bar:
            self.state_seen = True
            self.must_run_every_bar(node, function.name)
        template = [self.read_type(part) for part in node.template]
        lenient = frozenset({"symbol", "timeframe"}) if self.dynamic_requests else frozenset()
        site = CallSite(function.name, node, self.version, lenient)
        signature, bound = self._best(site, function.signatures, given, template)
        self._report(bound)
        if self.version >= 6 and function.name in _NO_BOOL and given and given[0].type.base == "bool":
            message = f"A bool is never na in version 6, so {function.name}() takes none."
            self.reports.add(given[0].node, "bool", message)
        self.after_call(node, function.name, bound)
        if not bound.problems or signature.returns.base not in {"T", "N", "C", "E", "V", "K"}:
            qualifiers = [
                argument.type.qualifier for argument in bound.values.values() if not is_unknown(argument.type)
            ]
            return bound.binding.result(signature.returns, qualifiers)
        return UNKNOWN

    def _best(
        self, site: CallSite, signatures: Sequence[Signature], given: list[Given], template: list[Type]
    ) -> tuple[Signature, Bound]:
        tried = []
        for signature in signatures:
            bound = bind(site, signature, given, template)
            if not bound.problems:
                return signature, bound
            tried.append((signature, bound))
        return min(tried, key=lambda pair: pair[1].weight)

    def _report(self, bound: Bound) -> None:
        for problem in bound.problems:
            self.reports.add(problem.node, problem.rule, problem.message, fix=_remedy(problem.message))

    # ------------------------------------------------------------------------------- functions of the script

    def _of_script(self, node: Call, name: str, functions: list[UserFunction], given: list[Given]) -> Type:
        site = CallSite(name, node, self.version)
        tried: list[tuple[UserFunction, Bound]] = []
        for function in functions:
            bound = bind(site, Signature((), function.parameters, UNKNOWN), given, ())
            tried.append((function, bound))
            if not bound.problems:
                break
        function, bound = min(tried, key=lambda pair: pair[1].weight)
        if bound.problems:
            self._report(bound)
            return UNKNOWN
        if function.keeps_state:
            self.state_seen = True
            self.must_run_every_bar(node, name)
        arguments = {}
        for parameter, written in zip(function.parameters, function.declaration.parameters, strict=True):
            argument = bound.values.get(parameter.name)
            if argument is not None:
                arguments[parameter.name] = _as_declared(parameter.type, argument.type, written.qualifier)
        key = tuple(arguments.get(parameter.name, UNKNOWN) for parameter in function.parameters)
        if key not in function.results and self.function_depth < MAX_CALLS:
            function.results[key] = UNKNOWN  # a call of itself within has no type
            function.results[key] = self.body_of(function, arguments)
        return function.results.get(key, UNKNOWN)

    # ------------------------------------------------------------------------------------ objects and methods

    def _constructor(self, node: Call, name: str, given: list[Given]) -> Type:
        root, _, member = name.partition(".")
        kind = self.objects[root]
        made = Type(root, "series")
        if member == "new" and not kind.is_enum:
            parameters = tuple(
                Parameter(field, type_, required=False) for field, type_ in kind.fields.items()
            )
            site = CallSite(name, node, self.version)
            self._report(bind(site, Signature((), parameters, made), given, ()))
            return made
        if member == "copy" and not kind.is_enum:
            return made
        if member in self.functions:  # a method of the type, called through the type
            return self._of_script(node, member, self.functions[member], given)
        self.reports.add(node, "unknown function", f"There is no function {name}().")
        return UNKNOWN

    def _method(self, node: Call, function: Attribute, given: list[Given]) -> Type:
        owner = self.single(function.value)
        receiver = Given(None, function.value, function.value, owner)
        methods = [
            candidate
            for candidate in self.functions.get(function.name, [])
            if candidate.declaration.is_method
        ]
        if methods and (is_unknown(owner) or self._takes(methods, owner)):
            return self._of_script(node, function.name, methods, [receiver, *given])
        if is_unknown(owner) or owner.base == "na":
            return UNKNOWN
        built_in = self.table.function(f"{owner.base}.{function.name}")
        if built_in is not None and owner.base not in self.objects:
            return self._built_in(node, built_in, [receiver, *given])
        if owner.base in self.objects and function.name == "copy":
            return owner
        if methods:
            return self._of_script(node, function.name, methods, [receiver, *given])
        if self.imports:
            return UNKNOWN  # a library may bring methods
        known = self._methods_of(owner)
        hint = did_you_mean(function.name, known)
        message = f"A value of type {owner.bare} has no method {function.name}().{hint}"
        self.reports.add(node, "unknown function", message)
        return UNKNOWN

    def _takes(self, methods: list[UserFunction], owner: Type) -> bool:
        return any(
            method.parameters and method.parameters[0].type.base in {owner.base, "unknown"}
            for method in methods
        )

    def _methods_of(self, owner: Type) -> list[str]:
        prefix = f"{owner.base}."
        own = [name for name, found in self.functions.items() if found[0].declaration.is_method]
        return [*own, *(name[len(prefix) :] for name in self.table.names if name.startswith(prefix))]


def _as_declared(wanted: Type, given: Type, qualifier: str) -> Type:
    """Return the type that a parameter has in the body, for one argument."""
    if is_unknown(wanted):
        return given
    return wanted.qualified(qualifier or ("const" if is_unknown(given) else given.qualifier))


def _remedy(message: str) -> str:
    """Return what to do, for messages that do not say it."""
    if "must be known as const" in message:
        return "Write a literal or a constant."
    if "must be known as simple" in message or "must be known as input" in message:
        return "Use a value that does not change from bar to bar."
    if "but is tuple" in message:
        return "Take the tuple apart first."
    return ""
