"""Arguments matched with parameters, for built-in functions, functions of the script and constructors.

Owns which argument goes where and what does not fit.  Knows no name of a function's meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiopt.errors import did_you_mean
from aiopt.pine.checking.conversion import Binding, is_unknown, stricter_or_same
from aiopt.pine.parsing.nodes import Argument, Expression, Node, TupleValue
from aiopt.pine.reference.types import Parameter, Signature, Type


@dataclass(frozen=True)
class Given:
    """One argument with the type of its value; of a method call's receiver there is no name."""

    name: str | None
    node: Node
    value: Expression
    type: Type


@dataclass(frozen=True)
class Problem:
    """What does not fit: where, which rule, what to say."""

    node: Node
    rule: str
    message: str
    weight: int = 1


@dataclass
class Bound:
    """The outcome of matching: parameter → argument, what does not fit, the letters of the signature."""

    values: dict[str, Given] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    binding: Binding = field(default_factory=lambda: Binding(6))

    @property
    def weight(self) -> int:
        """How badly the call fits the signature."""
        return sum(problem.weight for problem in self.problems)


@dataclass(frozen=True)
class CallSite:
    """What is called: the name as it is to be shown, the call's node, the version of the script."""

    name: str
    node: Node
    version: int
    lenient: frozenset[str] = frozenset()  # parameters whose qualifier is not asked for


def bind(site: CallSite, signature: Signature, given: Sequence[Given], template: Sequence[Type]) -> Bound:
    """Match arguments with the parameters of one signature."""
    bound = Bound(binding=Binding(site.version))
    for letter, type_ in zip(signature.template, template, strict=False):
        bound.binding.fix(letter, type_)
    named = False
    for position, argument in enumerate(given):
        parameter = _parameter(site, signature.parameters, position, argument, named, bound)
        named |= argument.name is not None
        if parameter is not None:
            _place(site, parameter, position, argument, bound)
    missing = [
        parameter.name
        for parameter in signature.parameters
        if parameter.required and parameter.name not in bound.values
    ]
    if missing and not any(problem.rule == "arguments" for problem in bound.problems):
        message = f"{site.name}() needs {', '.join(missing)}. Add the missing argument."
        bound.problems.append(Problem(site.node, "arguments", message, 3 * len(missing)))
    return bound


def _parameter(
    site: CallSite,
    parameters: tuple[Parameter, ...],
    position: int,
    argument: Given,
    named: bool,
    bound: Bound,
) -> Parameter | None:
    """Return the parameter that an argument is for; record why there is none."""
    if argument.name is not None:
        for parameter in parameters:
            if parameter.name == argument.name:
                return parameter
        if site.name == "input" and argument.name == "type":
            return None  # of Pine 4; its value is reported as an old name
        hint = did_you_mean(argument.name, [parameter.name for parameter in parameters])
        message = f"{site.name}() has no argument {argument.name!r}.{hint}"
    elif named:
        message = f"{site.name}(): an argument by position follows a named one."
    elif position < len(parameters):
        return parameters[position]
    elif parameters and parameters[-1].repeats:
        return parameters[-1]
    else:
        message = (
            f"{site.name}() takes {len(parameters)} arguments by position, but got one more. "
            "Remove or name it."
        )
    bound.problems.append(Problem(argument.node, "arguments", message, 3))
    return None


def _place(site: CallSite, parameter: Parameter, position: int, argument: Given, bound: Bound) -> None:
    key = parameter.name
    if key in bound.values:
        if not parameter.repeats:
            message = f"{site.name}(): {key!r} is given twice. Remove one."
            bound.problems.append(Problem(argument.node, "arguments", message, 3))
            return
        key = f"{key} {position}"
    bound.values[key] = argument
    problem = _misfit(site, parameter, argument, bound.binding)
    if problem is not None:
        bound.problems.append(problem)


def _misfit(site: CallSite, parameter: Parameter, argument: Given, binding: Binding) -> Problem | None:
    wanted, given = parameter.type, argument.type
    where = f"{site.name}(): {parameter.name} must be"
    if given.base == "void":
        return Problem(argument.node, "type", f"{where} {wanted.bare}, but this returns nothing.")
    if wanted.base == "options":
        return _options(argument, wanted, where, binding)
    if given.base == "tuple" and wanted.base not in {"T", "any"}:
        message = f"{where} one value, but is a tuple of {len(given.args)}."
        return Problem(argument.node, "tuple", message)
    if not binding.accepts(wanted, given):
        shown = {"N": "int or float", "C": "int, float or bool"}.get(wanted.bare, wanted.bare)
        if wanted.base in {"T", "K", "V"}:
            shown = "of the type of the other values"
        return Problem(argument.node, "type", f"{where} {shown}, but is {given.bare}.", 2)
    if (
        is_unknown(given)
        or wanted.base == "unknown"
        or parameter.name in site.lenient
        or given.base == "tuple"
    ):
        return None
    if not stricter_or_same(given.qualifier, wanted.qualifier):
        message = f"{where} known as {wanted.qualifier}, but it is a {given.qualifier} value."
        return Problem(argument.node, "qualifier", message)
    return None


def _options(argument: Given, wanted: Type, where: str, binding: Binding) -> Problem | None:
    if not isinstance(argument.value, TupleValue):
        if is_unknown(argument.type):
            return None
        return Problem(argument.node, "type", f"{where} a list of constants: [a, b, ...].")
    for part in argument.type.args:
        if not binding.accepts(wanted.args[0], part):
            shown = wanted.args[0].bare.replace("E", "of one enum")
            return Problem(argument.node, "type", f"{where} a list of {shown}, but holds {part.bare}.")
        if not is_unknown(part) and part.qualifier != "const":
            message = f"{where} known as const, but a value in it is a {part.qualifier} value."
            return Problem(argument.node, "qualifier", message)
    return None


def argument_of(argument: Argument, type_: Type) -> Given:
    """Return an argument as written, with its type."""
    return Given(argument.name, argument, argument.value, type_)
