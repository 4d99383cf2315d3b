"""A syntax tree back to text: one statement a line, brackets only where needed.  Knows no meaning of a name.

``parse_script(unparse(tree)).tree`` says the same as `tree`.  Comments and the version line lie beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopt.pine.parsing.expressions import PRECEDENCE
from aiopt.pine.parsing.nodes import (
    Argument,
    Attribute,
    Binary,
    Boolean,
    Call,
    Case,
    Color,
    Conditional,
    Declaration,
    EnumDeclaration,
    EnumMember,
    Expression,
    ExpressionStatement,
    Field,
    For,
    ForIn,
    FunctionDeclaration,
    History,
    If,
    Import,
    Name,
    Node,
    Number,
    Parameter,
    Reassignment,
    Script,
    Statement,
    String,
    Switch,
    TupleDeclaration,
    TupleValue,
    TypeDeclaration,
    TypeName,
    Unary,
    While,
)

_TERNARY, _UNARY, _POSTFIX = 0, 7, 8
_INDENT = "    "


def unparse(node: Node) -> str:
    """Return the text of a tree; of a script or statement, lines that end with a line feed."""
    if isinstance(node, Script):
        return "".join(f"{line}\n" for one in node.statements for line in _lines(one))
    if isinstance(node, Statement):
        return "".join(f"{line}\n" for line in _lines(node))
    if isinstance(node, Expression):
        return "\n".join(_value(node))
    if isinstance(node, TypeName):
        return _type(node)
    if isinstance(node, Argument):
        return _argument(node)
    if isinstance(node, Parameter | Field):
        return _typed(node)
    raise TypeError(f"A {type(node).__name__} is no text of its own: unparse the node above it.")


def _lines(node: Statement) -> list[str]:
    """Return the lines of a statement, without the indentation of its block."""
    if isinstance(node, ExpressionStatement):
        return _value(node.value)
    if isinstance(node, Declaration):
        words = ["export"] * node.is_exported + [node.mode, node.qualifier]
        words += [_type(node.type) if node.type else "", node.name, "= "]
        return _prefixed(" ".join(word for word in words if word), _value(node.value))
    if isinstance(node, TupleDeclaration):
        names = ", ".join(one.name for one in node.names)
        return _prefixed(f"[{names}] = ", _value(node.value))
    if isinstance(node, Reassignment):
        return _prefixed(f"{_text(node.target, _POSTFIX)} {node.operator} ", _value(node.value))
    if isinstance(node, FunctionDeclaration):
        return _function(node)
    if isinstance(node, TypeDeclaration | EnumDeclaration):
        return _type_or_enum(node)
    if isinstance(node, Import):
        alias = f" as {node.alias}" if node.alias else ""
        return [f"import {node.owner}/{node.library}/{node.version}{alias}"]
    return [type(node).__name__.lower()]


def _prefixed(prefix: str, lines: list[str]) -> list[str]:
    return [prefix + lines[0], *lines[1:]]


def _block(body: Sequence[Statement]) -> list[str]:
    return [_INDENT + line if line else line for one in body for line in _lines(one)]


def _body(head: str, body: Sequence[Statement], *, is_inline: bool) -> list[str]:
    """Return ``head =>`` and a body, on the same line where it stood there."""
    if not is_inline:
        return [f"{head} =>", *_block(body)]
    parts = [_lines(one) for one in body]
    # Only the last statement of a line can have a block.
    line = ", ".join(part[0] for part in parts)
    return [f"{head} => {line}", *parts[-1][1:]]


def _function(node: FunctionDeclaration) -> list[str]:
    words = "export " * node.is_exported + "method " * node.is_method
    parameters = ", ".join(_typed(one) for one in node.parameters)
    return _body(f"{words}{node.name}({parameters})", node.body, is_inline=node.is_inline)


def _typed(node: Parameter | Field) -> str:
    mode = node.mode if isinstance(node, Field) else ""
    words = [mode, node.qualifier, _type(node.type) if node.type else "", node.name]
    text = " ".join(word for word in words if word)
    return f"{text} = {_text(node.default, _TERNARY)}" if node.default else text


def _type_or_enum(node: TypeDeclaration | EnumDeclaration) -> list[str]:
    export = "export " * node.is_exported
    if isinstance(node, TypeDeclaration):
        return [f"{export}type {node.name}", *(_INDENT + _typed(one) for one in node.fields)]
    return [f"{export}enum {node.name}", *(_INDENT + _member(one) for one in node.members)]


def _member(node: EnumMember) -> str:
    return f"{node.name} = {_text(node.title, _TERNARY)}" if node.title else node.name


def _value(node: Expression) -> list[str]:
    """Return the lines of a value: one for an expression, more for a structure."""
    if isinstance(node, If):
        lines = []
        for word, branch in zip(["if", *["else if"] * len(node.branches)], node.branches, strict=False):
            lines += [f"{word} {_text(branch.test, _TERNARY)}", *_block(branch.body)]
        if node.otherwise is not None:
            lines += ["else", *_block(node.otherwise)]
        return lines
    if isinstance(node, Switch):
        subject = f" {_text(node.subject, _TERNARY)}" if node.subject else ""
        return [f"switch{subject}", *(_INDENT + line for one in node.cases for line in _case(one))]
    if isinstance(node, While):
        return [f"while {_text(node.test, _TERNARY)}", *_block(node.body)]
    if isinstance(node, For):
        type_ = f"{_type(node.type)} " if node.type else ""
        span = f"{_text(node.start, _TERNARY)} to {_text(node.stop, _TERNARY)}"
        step = f" by {_text(node.step, _TERNARY)}" if node.step else ""
        return [f"for {type_}{node.counter.name} = {span}{step}", *_block(node.body)]
    if isinstance(node, ForIn):
        names = ", ".join(one.name for one in node.targets)
        names = f"[{names}]" if len(node.targets) > 1 else names
        return [f"for {names} in {_text(node.collection, _TERNARY)}", *_block(node.body)]
    return [_text(node, _TERNARY)]


def _case(node: Case) -> list[str]:
    head = _text(node.test, _TERNARY) if node.test else ""
    lines = _body(head, node.body, is_inline=node.is_inline)
    return lines if head else [lines[0].lstrip(), *lines[1:]]


def _type(node: TypeName) -> str:
    arguments = ", ".join(_type(one) for one in node.arguments)
    return node.name + (f"<{arguments}>" if arguments else "") + "[]" * node.is_array


def _argument(node: Argument) -> str:
    text = _text(node.value, _TERNARY)
    return text if node.name is None else f"{node.name} = {text}"


def _text(node: Expression, floor: int) -> str:
    """Return an expression, in brackets where it binds less tightly than what it stands in."""
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Number) and floor == _POSTFIX:
        return f"({node.text})"  # 5.x would be a number and a name
    if isinstance(node, Number | String | Color):
        return node.text
    if isinstance(node, Boolean):
        return "true" if node.value else "false"
    text, precedence = _compound(node)
    return f"({text})" if precedence < floor else text


def _compound(node: Expression) -> tuple[str, int]:
    """Return the text of an expression of several parts, and how tightly it binds."""
    if isinstance(node, Binary):
        own = PRECEDENCE[node.operator]
        # Left to right: an equal operator on the right was in brackets.
        right = _text(node.right, own + 1)
        left = node.left
        # a < b > (c) would be a call with a type.
        is_template = node.operator == ">" and isinstance(left, Binary) and left.operator == "<"
        floor = own + 1 if is_template and right.startswith("(") else own
        return f"{_text(left, floor)} {node.operator} {right}", own
    if isinstance(node, Unary):
        blank = " " if node.operator == "not" or isinstance(node.operand, Unary) else ""
        return f"{node.operator}{blank}{_text(node.operand, _UNARY)}", _UNARY
    if isinstance(node, Conditional):
        then, otherwise = _text(node.then, _TERNARY), _text(node.otherwise, _TERNARY)
        return f"{_text(node.test, _TERNARY + 1)} ? {then} : {otherwise}", _TERNARY
    if isinstance(node, Attribute):
        return f"{_text(node.value, _POSTFIX)}.{node.name}", _POSTFIX
    if isinstance(node, History):
        return f"{_text(node.value, _POSTFIX)}[{_text(node.offset, _TERNARY)}]", _POSTFIX
    if isinstance(node, Call):
        template = ", ".join(_type(one) for one in node.template)
        arguments = ", ".join(_argument(one) for one in node.arguments)
        types = f"<{template}>" if template else ""
        return f"{_text(node.function, _POSTFIX)}{types}({arguments})", _POSTFIX
    if isinstance(node, TupleValue):
        return f"[{', '.join(_text(one, _TERNARY) for one in node.items)}]", _POSTFIX
    raise TypeError(f"A {type(node).__name__} has a value only right after '=', ':=' or '=>'.")
