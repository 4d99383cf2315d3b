"""Rules from version 4 to 5: names that moved into namespaces, ``study``, typed inputs.

Every one of them writes the same thing in other words, as TradingView's migration guide has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from aiopt.pine.fixing.source import Change, Edit, Source, calls, dotted
from aiopt.pine.parsing.nodes import Attribute, Boolean, Call, Name, Number, String
from aiopt.pine.parsing.walk import walk

_DOTTED = re.compile(r"[a-z_0-9]+(?:\.[a-z_0-9]+)*\Z")
# Entries of the table that are parameters.
_NOT_NAMES = frozenset({"when", "transp"})
_INPUT_TYPES = {
    "integer": "int",
    "float": "float",
    "bool": "bool",
    "string": "string",
    "color": "color",
    "source": "source",
    "resolution": "timeframe",
    "session": "session",
    "symbol": "symbol",
    "time": "time",
    "price": "price",
}
# Parameters that the general input() of version 5 no longer has.
_TYPED_ONLY = frozenset({"minval", "maxval", "step", "options", "confirm"})


def renamed_names(source: Source) -> Iterator[Change]:
    """Give functions and variables of version 4 the names they have now."""
    looked_up = _looked_up(source)
    for node in walk(source.parsed.tree):
        if isinstance(node, Call):
            yield from _renamed_arguments(source, node)
        if not isinstance(node, Name) or node.name in source.declared or id(node) in looked_up:
            continue
        old = source.table.old_name(node.name)
        if old is None or node.name in _NOT_NAMES or not _DOTTED.match(old.successor):
            continue
        start = source.offset(node.line, node.column)
        message = f"{node.name} is {old.successor} since version {old.until + 1}."
        yield Change(node.line, "renamed", message, (Edit(start, start + len(node.name), old.successor),))


def _looked_up(source: Source) -> set[int]:
    """Return the identities of names with a point after them: namespaces and objects."""
    attributes = (node for node in walk(source.parsed.tree) if isinstance(node, Attribute))
    return {id(node.value) for node in attributes if isinstance(node.value, Name)}


def _renamed_arguments(source: Source, call: Call) -> Iterator[Change]:
    name = dotted(call.function)
    if name is None or name in source.declared:
        return
    old = source.table.old_name(name) or source.table.old_name(f"{name}()")
    if old is None or not old.parameters:
        return
    for argument in call.arguments:
        new = old.parameters.get(argument.name or "")
        if new is not None and argument.name is not None:
            start = source.offset(argument.line, argument.column)
            edits = [Edit(start, start + len(argument.name), new)]
            if new == "direction" and isinstance(argument.value, Boolean):
                edits.append(_direction(source, argument.value))
            message = f"The parameter {argument.name} of {name} is {new} now."
            yield Change(argument.line, "renamed", message, tuple(edits))


def _direction(source: Source, value: Boolean) -> Edit:
    start = source.offset(value.line, value.column)
    word = "strategy.long" if value.value else "strategy.short"
    return Edit(start, start + len("true" if value.value else "false"), word)


def typed_inputs(source: Source) -> Iterator[Change]:
    """Write ``input(5, type=input.integer)`` as ``input.int(5)``."""
    for call in calls(source.parsed.tree):
        if dotted(call.function) != "input" or "input" in source.declared:
            continue
        names = {argument.name: position for position, argument in enumerate(call.arguments)}
        start = source.offset(call.function.line, call.function.column)
        rename = Edit(start, start + len("input"), "")
        if "type" in names:
            position = names["type"]
            written = dotted(call.arguments[position].value) or ""
            kind = _INPUT_TYPES.get(written.removeprefix("input."))
            if kind is None:
                message = (
                    f"The type {written!r} of this input is not known. Write input.int, input.float … for it."
                )
                yield Change(call.line, "input", message)
                continue
            message = f"input(type={written}) is input.{kind} since version 5."
            edits = (_with(rename, f"input.{kind}"), source.without_argument(call, position))
            yield Change(call.line, "input", message, edits)
        elif _TYPED_ONLY & names.keys():
            kind = _kind_of_default(call)
            if kind is None:
                message = "The type of this input is not clear. Write input.int, input.float … for it."
                yield Change(call.line, "input", message)
                continue
            message = f"input() has no such parameters since version 5, input.{kind} has."
            yield Change(call.line, "input", message, (_with(rename, f"input.{kind}"),))


def _with(edit: Edit, text: str) -> Edit:
    return Edit(edit.start, edit.end, text)


def _kind_of_default(call: Call) -> str | None:
    """Return the type of an input by its literal default, as version 4 took it."""
    named = [one.value for one in call.arguments if one.name == "defval"]
    positional = [one.value for one in call.arguments[:1] if one.name is None]
    for value in named or positional:
        if isinstance(value, Number):
            return "int" if isinstance(value.value, int) else "float"
        if isinstance(value, String):
            return "string"
    return None


def forms(source: Source) -> Iterator[Change]:
    """Write ``iff(a, b, c)`` as a conditional and ``offset(x, n)`` as ``x[n]``."""
    for call in calls(source.parsed.tree):
        name = dotted(call.function)
        if name in source.declared or any(argument.name for argument in call.arguments):
            continue
        start, end = source.call_span(call)
        spans = [source.written(*span) for span in source.argument_spans(call)]
        if name == "offset" and len(spans) == 2:
            message = "offset(x, n) is x[n] since version 5."
            yield Change(call.line, "renamed", message, (Edit(start, end, f"({spans[0]})[{spans[1]}]"),))
        elif name == "iff" and len(spans) == 3:
            # A function's arguments run on every bar, the arms of a conditional do not.
            if any(source.is_remembering(one) for argument in call.arguments[1:] for one in calls(argument)):
                message = (
                    "iff(a, b, c) is a ? b : c since version 5, but here b or c must run on every bar. "
                    "Give them to variables first, then write the conditional."
                )
                yield Change(call.line, "renamed", message)
                continue
            message = "iff(a, b, c) is a ? b : c since version 5."
            text = f"(({spans[0]}) ? ({spans[1]}) : ({spans[2]}))"
            yield Change(call.line, "renamed", message, (Edit(start, end, text),))
