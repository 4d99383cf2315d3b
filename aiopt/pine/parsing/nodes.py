"""The syntax tree of a Pine script: one frozen class per construct.  Knows no meaning of a name.

Every node carries where it stands: `line` and `column` of its first character, `end_line` and `end_column` of
the place right after its last one, all 1-based, columns in characters (a tab is one).  Brackets round an
expression leave no node; the position is that of what is inside.  Nodes are compared by identity and can be
keys of a dictionary; `aiopt.pine.parsing.walk.same_tree` compares two trees by what they say.  A tree is at
most `MAX_HEIGHT` nodes high, so a visitor may recurse.

===================  =======================================================================================
expressions
===================  =======================================================================================
Number               ``14``, ``.5``, ``1e-3``; `value` is an int only where the text is digits alone
String               `value` without quotes, escapes resolved; `text` as written
Boolean              ``true``, ``false``
Color                ``#rrggbb`` or ``#rrggbbaa``, as `text`
Name                 ``close``, ``na``, ``strategy`` in ``strategy.long``
Attribute            ``value.name``: ``ta.ema`` is Attribute(Name("ta"), "ema")
History              ``value[offset]``
Call                 ``function<template>(arguments)``; an Argument's `name` is None where it is positional
Unary                ``-``, ``+``, ``not``
Binary               ``+ - * / % == != < <= > >= and or``
Conditional          ``test ? then : otherwise``
TupleValue           ``[a, b]`` as a value
If                   `branches` (each `test` and `body`), `otherwise`: the body of ``else`` or None
Switch               `subject` or None, `cases`; a Case with `test` None is the default ``=>``
For                  ``for counter = start to stop by step``
ForIn                ``for item in collection``, ``for [index, item] in collection``: one or two `targets`
While                ``while test``
===================  =======================================================================================

If, Switch, For, ForIn and While are expressions, since ``x = if …`` takes their value; as statements they
stand in an ExpressionStatement.  A body is a tuple of statements, never empty where a script has no fault;
its value is that of its last statement.

===================  =======================================================================================
statements
===================  =======================================================================================
ExpressionStatement  an expression of its own line
Declaration          ``var series float x = value``: `mode` is "", "var", "varip"; `qualifier` "" or its word
TupleDeclaration     ``[a, _] = value``; `names` are Name nodes
Reassignment         `target` (Name or Attribute) `operator` (``:= += -= *= /= %=``) `value`
FunctionDeclaration  ``name(parameters) => body``; `is_inline`: the body stands on the same line
TypeDeclaration      ``type Name`` with Field nodes
EnumDeclaration      ``enum Name`` with EnumMember nodes; `title` is an expression or None
Import               ``import owner/library/version as alias``; `alias` is "" where none is given
Break, Continue      the words
===================  =======================================================================================

TypeName is a type as written: ``float``, ``chart.point``, ``array<float>`` (`arguments`), ``float[]``
(`is_array`).  Comments and annotations are no nodes of the tree: they lie beside it in ParsedScript.
"""

from __future__ import annotations

import msgspec

MAX_HEIGHT = 200


class Node(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What every node has: where it begins, and where it has ended."""

    line: int
    column: int
    end_line: int
    end_column: int


class Expression(Node, frozen=True, eq=False, gc=False):
    """Something with a value."""


class Statement(Node, frozen=True, eq=False, gc=False):
    """Something on a line of its own, or between commas."""


class Number(Expression, frozen=True, eq=False, gc=False):
    """A number as written, and its value."""

    text: str
    value: int | float


class String(Expression, frozen=True, eq=False, gc=False):
    """A string: as written with its quotes, and what it means."""

    text: str
    value: str


class Boolean(Expression, frozen=True, eq=False, gc=False):
    """``true`` or ``false``."""

    value: bool


class Color(Expression, frozen=True, eq=False, gc=False):
    """A colour literal, with its ``#``."""

    text: str


class Name(Expression, frozen=True, eq=False, gc=False):
    """A name, also as a target or the last part of nothing else."""

    name: str


class Attribute(Expression, frozen=True, eq=False, gc=False):
    """``value.name``."""

    value: Expression
    name: str


class History(Expression, frozen=True, eq=False, gc=False):
    """``value[offset]``: the value `offset` bars ago."""

    value: Expression
    offset: Expression


class TypeName(Node, frozen=True, eq=False, gc=False):
    """A type as written."""

    name: str
    arguments: tuple[TypeName, ...]
    is_array: bool


class Argument(Node, frozen=True, eq=False, gc=False):
    """One argument of a call; `name` is None where it is positional."""

    name: str | None
    value: Expression


class Call(Expression, frozen=True, eq=False, gc=False):
    """``function<template>(arguments)``."""

    function: Expression
    template: tuple[TypeName, ...]
    arguments: tuple[Argument, ...]


class Unary(Expression, frozen=True, eq=False, gc=False):
    """``operator operand``."""

    operator: str
    operand: Expression


class Binary(Expression, frozen=True, eq=False, gc=False):
    """``left operator right``."""

    operator: str
    left: Expression
    right: Expression


class Conditional(Expression, frozen=True, eq=False, gc=False):
    """``test ? then : otherwise``."""

    test: Expression
    then: Expression
    otherwise: Expression


class TupleValue(Expression, frozen=True, eq=False, gc=False):
    """``[a, b]`` as a value."""

    items: tuple[Expression, ...]


class Branch(Node, frozen=True, eq=False, gc=False):
    """``if test`` or ``else if test`` with its body."""

    test: Expression
    body: tuple[Statement, ...]


class If(Expression, frozen=True, eq=False, gc=False):
    """``if``, any number of ``else if``, perhaps ``else``."""

    branches: tuple[Branch, ...]
    otherwise: tuple[Statement, ...] | None


class Case(Node, frozen=True, eq=False, gc=False):
    """``test => body``; `test` is None in the default case."""

    test: Expression | None
    body: tuple[Statement, ...]
    is_inline: bool


class Switch(Expression, frozen=True, eq=False, gc=False):
    """``switch subject`` with its cases."""

    subject: Expression | None
    cases: tuple[Case, ...]


class For(Expression, frozen=True, eq=False, gc=False):
    """``for counter = start to stop by step``."""

    type: TypeName | None
    counter: Name
    start: Expression
    stop: Expression
    step: Expression | None
    body: tuple[Statement, ...]


class ForIn(Expression, frozen=True, eq=False, gc=False):
    """``for item in collection`` or ``for [index, item] in collection``."""

    targets: tuple[Name, ...]
    collection: Expression
    body: tuple[Statement, ...]


class While(Expression, frozen=True, eq=False, gc=False):
    """``while test``."""

    test: Expression
    body: tuple[Statement, ...]


class ExpressionStatement(Statement, frozen=True, eq=False, gc=False):
    """An expression, or a structure, that is a statement."""

    value: Expression


class Declaration(Statement, frozen=True, eq=False, gc=False):
    """``mode qualifier type name = value``; what is not written is "" or None."""

    is_exported: bool
    mode: str
    qualifier: str
    type: TypeName | None
    target: Name
    value: Expression

    @property
    def name(self) -> str:
        """The name that is declared."""
        return self.target.name


class TupleDeclaration(Statement, frozen=True, eq=False, gc=False):
    """``[a, b] = value``."""

    names: tuple[Name, ...]
    value: Expression


class Reassignment(Statement, frozen=True, eq=False, gc=False):
    """``target := value`` and its short forms."""

    target: Expression
    operator: str
    value: Expression


class Parameter(Node, frozen=True, eq=False, gc=False):
    """One parameter of a function."""

    qualifier: str
    type: TypeName | None
    name: str
    default: Expression | None


class FunctionDeclaration(Statement, frozen=True, eq=False, gc=False):
    """``export method name(parameters) => body``."""

    is_exported: bool
    is_method: bool
    name: str
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]
    is_inline: bool


class Field(Node, frozen=True, eq=False, gc=False):
    """One field of a type; `mode` is "" or "varip"."""

    mode: str
    qualifier: str
    type: TypeName | None
    name: str
    default: Expression | None


class TypeDeclaration(Statement, frozen=True, eq=False, gc=False):
    """``export type Name`` with its fields."""

    is_exported: bool
    name: str
    fields: tuple[Field, ...]


class EnumMember(Node, frozen=True, eq=False, gc=False):
    """One member of an enum, with its title or None."""

    name: str
    title: Expression | None


class EnumDeclaration(Statement, frozen=True, eq=False, gc=False):
    """``export enum Name`` with its members."""

    is_exported: bool
    name: str
    members: tuple[EnumMember, ...]


class Import(Statement, frozen=True, eq=False, gc=False):
    """``import owner/library/version as alias``."""

    owner: str
    library: str
    version: int
    alias: str


class Break(Statement, frozen=True, eq=False, gc=False):
    """``break``."""


class Continue(Statement, frozen=True, eq=False, gc=False):
    """``continue``."""


class Script(Node, frozen=True, eq=False, gc=False):
    """All statements of a file."""

    statements: tuple[Statement, ...]
