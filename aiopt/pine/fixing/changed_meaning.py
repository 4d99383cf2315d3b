"""Rules for what version 6 reads otherwise or not at all: bounds of loops, histories, na of bools, exits.

Only the bound of a loop can be mended by rule; of the others the rules say what to decide.
"""

from __future__ import annotations

from collections.abc import Iterator

from aiopt.pine.fixing.source import Change, Edit, Source, calls, dotted
from aiopt.pine.parsing.nodes import (
    Attribute,
    Binary,
    Boolean,
    Call,
    Color,
    Declaration,
    Expression,
    For,
    History,
    Name,
    Node,
    Number,
    Reassignment,
    String,
    Unary,
)
from aiopt.pine.parsing.unparse import unparse
from aiopt.pine.parsing.walk import walk

_LEVELS = (("profit", "limit"), ("loss", "stop"), ("trail_points", "trail_price"))
_COLLECTIONS = frozenset({"array", "map", "matrix"})
_CHANGING = frozenset(
    {
        "push",
        "unshift",
        "insert",
        "pop",
        "shift",
        "remove",
        "clear",
        "concat",
        "put",
        "put_all",
        "fill",
        "set",
    }
    | {"add_row", "add_col", "remove_row", "remove_col", "reverse", "sort"}
)
_BOOL_OPERATORS = frozenset({"==", "!=", "<", "<=", ">", ">=", "and", "or"})


def loop_bounds(source: Source) -> Iterator[Change]:
    """Give the end of a loop that its body changes to a variable, so that it is found once."""
    for loop in walk(source.parsed.tree):
        if not isinstance(loop, For) or not _is_changed(loop):
            continue
        stop = loop.stop
        start, end = source.offset(stop.line, stop.column), source.offset(stop.end_line, stop.end_column)
        text = " ".join(unparse(stop).split())
        what = f"Version 6 finds the end of the loop, {text}, anew before every round, version 5 once"
        first, last = source.line_of(source.token_at(loop))
        if source.tokens.kinds[first] == "else" or "=>" in source.tokens.kinds[first:last]:
            message = f"{what}. Give it to a variable on a line above."
            yield Change(loop.line, "loop", message)
            continue
        name = source.fresh_name(f"end{loop.line}")
        before = source.start_of(first)
        line = f"{name} = {text}\n{source.indentation(first)}"
        edits = (Edit(before, before, line), Edit(start, end, name))
        yield Change(loop.line, "loop", f"{what}: it gets a line above.", edits)


def _is_changed(loop: For) -> bool:
    """Return whether the body of a loop changes what the loop's end is made of."""
    used = {node.name for node in walk(loop.stop) if isinstance(node, Name)}
    used -= {loop.counter.name}
    return any(_changes(node, used) for statement in loop.body for node in walk(statement))


def _changes(node: Node, names: set[str]) -> bool:
    if isinstance(node, Reassignment):
        return any(isinstance(part, Name) and part.name in names for part in walk(node.target))
    if not isinstance(node, Call) or not isinstance(node.function, Attribute):
        return False
    if node.function.name not in _CHANGING:
        return False
    owner: Expression = node.function.value
    if isinstance(owner, Name) and owner.name in _COLLECTIONS and node.arguments:
        owner = node.arguments[0].value
    return any(isinstance(part, Name) and part.name in names for part in walk(owner))


def histories(source: Source) -> Iterator[Change]:
    """Name histories of literals and of fields of objects, which version 6 does not take."""
    for node in walk(source.parsed.tree):
        if not isinstance(node, History):
            continue
        text = unparse(node)
        value = node.value
        if isinstance(value, Number | String | Boolean | Color):
            message = f"Version 6 has no history of a literal, {text}. Write it alone, or a variable."
            yield Change(node.line, "history", message)
        elif isinstance(value, Attribute) and (dotted(value) or "").split(".")[0] in source.declared:
            message = (
                f"Version 6 has no history of a field, {text}. Write ({unparse(value.value)}"
                f"[{unparse(node.offset)}]).{value.name} for the object of that bar, or keep the field's "
                "value in a variable."
            )
            yield Change(node.line, "history", message)


def na_of_bools(source: Source) -> Iterator[Change]:
    """Name questions whether a bool is na: it never is in version 6, and na(), nz(), fixnan() take none."""
    bools = {
        node.name
        for node in walk(source.parsed.tree)
        if isinstance(node, Declaration) and (_has_type_bool(node) or _is_bool(node.value))
    }
    for call in calls(source.parsed.tree):
        name = dotted(call.function)
        if name not in ("na", "nz", "fixnan") or name in source.declared or not call.arguments:
            continue
        value = call.arguments[0].value
        if _is_bool(value) or (isinstance(value, Name) and value.name in bools):
            message = (
                f"A bool is never na in version 6, so {unparse(call)} is refused. Say what is to happen "
                "where it was na: that is false now."
            )
            yield Change(call.line, "na-bool", message)


def _has_type_bool(node: Declaration) -> bool:
    return node.type is not None and node.type.name == "bool" and not node.type.is_array


def _is_bool(value: Expression) -> bool:
    if isinstance(value, Unary):
        return value.operator == "not"
    return isinstance(value, Boolean) or (isinstance(value, Binary) and value.operator in _BOOL_OPERATORS)


def exit_levels(source: Source) -> Iterator[Change]:
    """Name exits with a distance and a price for the same level, of which version 6 takes the nearer."""
    for call in calls(source.parsed.tree):
        if dotted(call.function) != "strategy.exit":
            continue
        given = {argument.name for argument in call.arguments}
        for distance, price in _LEVELS:
            if {distance, price} <= given:
                message = (
                    f"Where {distance}= and {price}= are both given, version 5 takes {price}, version 6 the "
                    "one the market reaches first. Leave one out."
                )
                yield Change(call.line, "exit", message)
