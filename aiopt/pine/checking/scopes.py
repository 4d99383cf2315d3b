"""Names of a script and the blocks they live in.  Knows no type of an expression."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiopt.pine.parsing.nodes import (
    Attribute,
    Branch,
    Case,
    Declaration,
    Expression,
    For,
    ForIn,
    FunctionDeclaration,
    If,
    Name,
    Node,
    Reassignment,
    Statement,
    TupleDeclaration,
    While,
)
from aiopt.pine.parsing.walk import children
from aiopt.pine.reference.types import Type

if TYPE_CHECKING:
    from collections.abc import Iterator

UNKNOWN = Type("unknown", "const")
"""The type of what cannot be known: it fits everywhere."""


@dataclass(frozen=True)
class Variable:
    """A declared variable: its type, where it was declared, whether the type was written."""

    name: str
    type: Type
    node: Node
    depth: int = 0  # of functions: 0 global, 1 in a function
    is_input: bool = False
    is_const: bool = False  # declared by the word `const`
    is_fixed: bool = (
        False  # one of a tuple, a loop's counter or a parameter: `:=` in generated scripts is a slip
    )


@dataclass(frozen=True)
class ObjectType:
    """A type or an enum of the script: field → type, for an enum its members."""

    name: str
    fields: dict[str, Type]
    is_enum: bool = False
    required: frozenset[str] = frozenset()


@dataclass
class Scope:
    """Names declared in one block."""

    names: dict[str, Variable] = field(default_factory=dict)
    conditional: bool = False  # the block does not run on every bar
    is_loop: bool = False
    is_function: bool = False


def mutable_declarations(statements: tuple[Statement, ...]) -> set[int]:
    """Return the identities of the Declaration nodes whose variables are reassigned somewhere.

    A reassigned variable is a series, whatever it starts as.
    """
    found: set[int] = set()
    _reassigned(statements, [{}], found)
    return found


def _reassigned(body: tuple[Statement, ...], scopes: list[dict[str, int]], found: set[int]) -> None:
    scopes.append({})
    for statement in body:
        _look(statement, scopes, found)
        if isinstance(statement, Declaration):
            scopes[-1][statement.name] = id(statement)
        elif isinstance(statement, TupleDeclaration):
            scopes[-1].update({name.name: id(name) for name in statement.names})
        elif isinstance(statement, Reassignment) and isinstance(statement.target, Name):
            for scope in reversed(scopes):
                if statement.target.name in scope:
                    found.add(scope[statement.target.name])
                    break
    scopes.pop()


def _look(node: Node, scopes: list[dict[str, int]], found: set[int]) -> None:
    for body in bodies(node):
        _reassigned(body, scopes, found)
    for child in children(node):
        if not isinstance(child, Statement):
            _look(child, scopes, found)


def bodies(node: Node) -> Iterator[tuple[Statement, ...]]:
    """Yield the blocks right below a node."""
    if isinstance(node, If):
        if node.otherwise is not None:
            yield node.otherwise
    elif isinstance(node, Branch | Case | For | ForIn | While | FunctionDeclaration):
        yield node.body


def dotted(node: Expression) -> str | None:
    """Return ``"ta.ema"`` for a name or a chain of attributes, None for any other expression."""
    parts: list[str] = []
    while isinstance(node, Attribute):
        parts.append(node.name)
        node = node.value
    if not isinstance(node, Name):
        return None
    return ".".join([node.name, *reversed(parts)])
