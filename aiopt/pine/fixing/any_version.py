"""Rules that mend a script of any version: positional arguments after named ones, ``ta.*`` in blocks."""

from __future__ import annotations

from collections.abc import Iterator

from aiopt.pine.fixing.source import Change, Edit, Source, calls, dotted, outermost
from aiopt.pine.parsing.nodes import (
    Call,
    Conditional,
    Declaration,
    ExpressionStatement,
    If,
    Name,
    Node,
    Reassignment,
)
from aiopt.pine.parsing.walk import walk


def argument_order(source: Source) -> Iterator[Change]:
    """Name the arguments that stand without a name after one that has one."""
    for call in calls(source.parsed.tree):
        named_before = False
        for at, argument in enumerate(call.arguments):
            if argument.name is not None:
                named_before = True
            elif named_before:
                yield _named(source, call, at)


def _named(source: Source, call: Call, at: int) -> Change:
    function = source.table.function(dotted(call.function) or "")
    names = {
        signature.parameters[at].name
        for signature in (function.signatures if function else ())
        if at < len(signature.parameters)
    }
    given = {argument.name for argument in call.arguments}
    if len(names) != 1 or names & given:
        message = (
            f"Argument {at + 1} stands without a name after one with a name, and which it is is not clear."
        )
        return Change(call.line, "argument-order", message)
    name = names.pop()
    start = source.start_of(source.argument_spans(call)[at][0])
    message = f"Argument {at + 1} stands without a name after one with a name: it is {name}."
    return Change(call.line, "argument-order", message, (Edit(start, start, f"{name} = "),))


def conditional_history(source: Source) -> Iterator[Change]:
    """Take calls that must run on every bar out of blocks and conditionals at the top level.

    That may change what they return, so it is done only where a run shows that nothing changes.
    """
    taken: set[tuple[int, int]] = set()
    for statement in source.parsed.tree.statements:
        if not isinstance(statement, ExpressionStatement | Declaration | Reassignment):
            continue
        for place in _skipped(statement.value):
            for call in outermost(place, source):
                span = source.call_span(call)
                if span in taken or not _is_pure(source, call) or not _is_global(source, call, statement):
                    continue
                taken.add(span)
                token = source.token_at(statement)
                before = source.start_of(source.line_of(token)[0])
                name = source.fresh_name(f"value{call.line}_{len(taken)}")
                text = " ".join(source.call_text(call).split())
                message = f"{text} does not run on every bar here: it gets a line above."
                edits = (Edit(before, before, f"{name} = {text}\n"), Edit(*span, name))
                yield Change(call.line, "conditional-history", message, edits, is_proved=False)


def _skipped(value: Node) -> Iterator[Node]:
    """Yield the parts of a statement that do not run on every bar."""
    for node in walk(value):
        if isinstance(node, Conditional):
            yield from (node.then, node.otherwise)
        elif isinstance(node, If):
            for at, branch in enumerate(node.branches):
                if at:
                    yield branch.test
                yield from branch.body
            yield from node.otherwise or ()


def _is_pure(source: Source, call: Call) -> bool:
    """Return whether a call is of a built-in that computes and does nothing else."""
    function = source.table.function(dotted(call.function) or "")
    return function is not None and function.every_bar and function.name.startswith("ta.")


def _is_global(source: Source, call: Call, statement: Node) -> bool:
    """Return whether a call names nothing that the statement round it declares or assigns."""
    inside = {
        node.name for node in walk(statement) if isinstance(node, Declaration) and node is not statement
    }
    inside |= {
        node.target.name
        for node in walk(statement)
        if isinstance(node, Reassignment) and isinstance(node.target, Name)
    }
    loops = any(type(node).__name__ in ("For", "ForIn", "While", "Switch") for node in walk(statement))
    names = {node.name for node in walk(call) if isinstance(node, Name)}
    return not loops and not names & inside
