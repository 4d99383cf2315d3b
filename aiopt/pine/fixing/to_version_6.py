"""Rules from version 5 to 6: ``when``, ``transp``, division of integers, bools, lazy operators, margins."""

from __future__ import annotations

from collections.abc import Iterator

from aiopt.pine.fixing.source import Change, Edit, Source, calls, dotted, outermost
from aiopt.pine.parsing.nodes import (
    Attribute,
    Binary,
    Branch,
    Call,
    Color,
    Conditional,
    Declaration,
    Expression,
    ExpressionStatement,
    Name,
    Number,
    Reassignment,
    String,
)
from aiopt.pine.parsing.unparse import unparse
from aiopt.pine.parsing.walk import walk

_ORDERS = frozenset(
    f"strategy.{name}" for name in ("entry", "order", "exit", "close", "close_all", "cancel", "cancel_all")
)
# Numbers that people write where version 6 wants a bool.
_NUMBERS = frozenset({"bar_index", "volume", "ta.change", "ta.barssince", "ta.cum", "strategy.opentrades"})


def when(source: Source) -> Iterator[Change]:
    """Put an order with ``when=c`` into ``if c``."""
    for statement in walk(source.parsed.tree):
        if not isinstance(statement, ExpressionStatement) or not isinstance(statement.value, Call):
            continue
        call = statement.value
        if dotted(call.function) not in _ORDERS:
            continue
        positions = [at for at, argument in enumerate(call.arguments) if argument.name == "when"]
        if not positions:
            continue
        first, last = source.line_of(source.token_at(call))
        alone = source.start_of(first) == source.call_span(call)[0]
        alone &= source.end_of(last) == source.call_span(call)[1] and not source.is_shared(first, last)
        commented = any(call.line <= one.line < call.end_line for one in source.parsed.comments)
        if not alone or commented:
            message = "when= must become an if round this order; write it on a line of its own first."
            yield Change(call.line, "when", message)
            continue
        yield _when(source, call, positions[0], first)


def _when(source: Source, call: Call, position: int, first: int) -> Change:
    blanks = source.indentation(first)
    condition = unparse(call.arguments[position].value)
    text = source.call_text(call)
    start = source.call_span(call)[0]
    edits = [source.without_argument(call, position)]
    lines: list[str] = []
    for at, argument in enumerate(call.arguments):
        if at == position:
            continue
        for inner in outermost(argument, source):
            # With when= the arguments ran on every bar; inside an if they would not.
            name = source.fresh_name(f"argument{inner.line}_{len(lines) + 1}")
            inner_start, inner_end = source.call_span(inner)
            lines.append(f"{name} = {' '.join(source.call_text(inner).split())}\n{blanks}")
            edits.append(Edit(inner_start, inner_end, name))
    for edit in sorted(edits, key=lambda one: -one.start):
        text = text[: edit.start - start] + edit.text + text[edit.end - start :]
    whole = f"{''.join(lines)}if {condition}\n{blanks}    {text}"
    message = "when= is gone in version 6; an if round the order says the same."
    return Change(call.line, "when", message, (Edit(start, source.call_span(call)[1], whole),))


def transparency(source: Source) -> Iterator[Change]:
    """Write ``color=c, transp=t`` as ``color=color.new(c, t)`` where c has no transparency of its own."""
    for call in calls(source.parsed.tree):
        positions = [at for at, argument in enumerate(call.arguments) if argument.name == "transp"]
        if not positions:
            continue
        at = _color_position(source, call)
        if at is None or not _is_opaque(call.arguments[at].value):
            message = (
                "transp= is gone; write color=color.new(colour, transparency). The colour here is not given, "
                "or may have a transparency of its own."
            )
            yield Change(call.line, "transp", message)
            continue
        spans = source.argument_spans(call)
        transp = unparse(call.arguments[positions[0]].value)
        first, last = spans[at]
        if call.arguments[at].name is not None:
            first += 2
        opening = Edit(source.start_of(first), source.start_of(first), "color.new(")
        closing = Edit(source.end_of(last), source.end_of(last), f", {transp})")
        gone = source.without_argument(call, positions[0])
        edits = [opening, closing, gone]
        if closing.start == gone.start:
            edits = [opening, Edit(gone.start, gone.end, closing.text)]
        yield Change(call.line, "transp", "transp= is gone; color.new has the transparency.", tuple(edits))


def _color_position(source: Source, call: Call) -> int | None:
    for at, argument in enumerate(call.arguments):
        if argument.name == "color":
            return at
    function = source.table.function(dotted(call.function) or "")
    if function is None:
        return None
    for signature in function.signatures:
        for at, parameter in enumerate(signature.parameters):
            if parameter.name == "color" and at < len(call.arguments) and call.arguments[at].name is None:
                return at
    return None


def _is_opaque(value: Expression) -> bool:
    if isinstance(value, Conditional):
        return _is_opaque(value.then) and _is_opaque(value.otherwise)
    if isinstance(value, Name):
        return value.name == "na"
    if isinstance(value, Attribute):
        return isinstance(value.value, Name) and value.value.name == "color"
    return isinstance(value, Color) and len(value.text) == 7


def integer_division(source: Source) -> Iterator[Change]:
    """Keep ``5 / 2`` at 2, which it is in version 5 for two constant integers."""
    constants = _integer_constants(source)
    cut = {id(call.arguments[0].value) for call in calls(source.parsed.tree) if _is_int(call)}
    for node in walk(source.parsed.tree):
        if not isinstance(node, Binary) or node.operator != "/" or id(node) in cut:
            continue
        parts = [_integer(one, constants) for one in (node.left, node.right)]
        if parts[0] is None or not parts[1] or parts[0] % parts[1] == 0:
            continue
        left, right = source.token_at(node.left), source.token_at(node.right)
        if right - left != 2:
            yield Change(
                node.line, "division", "Version 5 cuts this division to an integer. Write int(… / …)."
            )
            continue
        edits = (
            Edit(source.start_of(left), source.start_of(left), "int("),
            Edit(source.end_of(right), source.end_of(right), ")"),
        )
        message = "Version 5 cuts a division of two constant integers, version 6 does not; int() keeps it."
        yield Change(node.line, "division", message, edits)


def _is_int(call: Call) -> bool:
    return dotted(call.function) == "int" and len(call.arguments) == 1


def _integer_constants(source: Source) -> dict[str, int]:
    """Return names at the top level that are integer literals and are never assigned again."""
    changed = {
        node.target.name
        for node in walk(source.parsed.tree)
        if isinstance(node, Reassignment) and isinstance(node.target, Name)
    }
    found: dict[str, int] = {}
    seen: set[str] = set()
    for node in walk(source.parsed.tree):
        if isinstance(node, Declaration):
            value = node.value
            if node.name in seen or node.name in changed or node.mode:
                found.pop(node.name, None)
            elif isinstance(value, Number) and isinstance(value.value, int) and not _is_float(node):
                found[node.name] = value.value
            seen.add(node.name)
    return found


def _is_float(node: Declaration) -> bool:
    return node.type is not None and node.type.name != "int"


def _integer(node: Expression, constants: dict[str, int]) -> int | None:
    if isinstance(node, Number):
        return node.value if isinstance(node.value, int) else None
    return constants.get(node.name) if isinstance(node, Name) else None


def numbers_as_conditions(source: Source) -> Iterator[Change]:
    """Write ``if ta.change(x)`` as ``if bool(ta.change(x))``."""
    for node in walk(source.parsed.tree):
        tests: list[Expression] = []
        if isinstance(node, Branch | Conditional):
            tests = [node.test]
        elif isinstance(node, Binary) and node.operator in ("and", "or"):
            tests = [node.left, node.right]
        for test in tests:
            name = dotted(test.function if isinstance(test, Call) else test)
            if name not in _NUMBERS or name in source.declared:
                continue
            start = source.offset(test.line, test.column)
            end = source.offset(test.end_line, test.end_column)
            message = (
                f"{name} is a number; version 6 wants a bool, and bool() is what version 5 does unasked."
            )
            edits = (Edit(start, start, "bool("), Edit(end, end, ")"))
            yield Change(test.line, "condition", message, edits)


def lazy_operators(source: Source) -> Iterator[Change]:
    """Take calls that must run on every bar out of the right side of ``and`` and ``or``."""
    taken: set[tuple[int, int]] = set()
    for node in walk(source.parsed.tree):
        if not isinstance(node, Binary) or node.operator not in ("and", "or"):
            continue
        for call in outermost(node.right, source):
            span = source.call_span(call)
            if any(start <= span[0] < end for start, end in taken):
                continue
            taken.add(span)
            yield _hoisted(source, call, len(taken))


def _hoisted(source: Source, call: Call, number: int) -> Change:
    first, last = source.line_of(source.token_at(call))
    kinds = source.tokens.kinds[first : last + 1]
    text = " ".join(source.call_text(call).split())
    if "=>" in kinds or kinds[0] in ("else", "while") or "switch" in kinds or source.is_shared(first, last):
        message = (
            f"Version 6 may skip {text} here, which version 5 runs on every bar. Give it to a variable "
            "on a line above."
        )
        return Change(call.line, "lazy", message)
    name = source.fresh_name(f"value{call.line}_{number}")
    start, end = source.call_span(call)
    before = source.start_of(first)
    line = f"{name} = {text}\n{source.indentation(first)}"
    message = f"Version 6 may skip {text}, which version 5 runs on every bar: it gets a line above."
    return Change(call.line, "lazy", message, (Edit(before, before, line), Edit(start, end, name)))


def margins(source: Source) -> Iterator[Change]:
    """State the margins of version 5, which are 100 in version 6 where they are not given."""
    for call in calls(source.parsed.tree):
        if dotted(call.function) != "strategy":
            continue
        given = {argument.name for argument in call.arguments}
        missing = [name for name in ("margin_long", "margin_short") if name not in given]
        if missing and all(argument.name or at < 20 for at, argument in enumerate(call.arguments)):
            end = source.call_span(call)[1] - 1
            text = "".join(f", {name} = 0" for name in missing)
            message = f"{' and '.join(missing)} default to 100 % in version 6, to 0 in version 5."
            yield Change(call.line, "margin", message, (Edit(end, end, text),))


def timeframes(source: Source) -> Iterator[Change]:
    """Compare ``timeframe.period`` with ``"1D"`` where version 5 has ``"D"``."""
    for node in walk(source.parsed.tree):
        if not isinstance(node, Binary) or node.operator not in ("==", "!="):
            continue
        for one, other in ((node.left, node.right), (node.right, node.left)):
            if dotted(one) == "timeframe.period" and isinstance(other, String) and other.value in "DWM":
                start = source.offset(other.line, other.column)
                message = f"timeframe.period is 1{other.value} in version 6, {other.value} in version 5."
                edits = (Edit(start + 1, start + 1, "1"),)
                yield Change(other.line, "timeframe", message, edits)


def na_booleans(source: Source) -> Iterator[Change]:
    """Start a bool at false instead of na; equal only where nothing asks whether it is na."""
    for node in walk(source.parsed.tree):
        if not isinstance(node, Declaration) or node.type is None or node.type.name != "bool":
            continue
        if isinstance(node.value, Name) and node.value.name == "na":
            start = source.offset(node.value.line, node.value.column)
            message = f"A bool has no na in version 6; {node.name} starts at false."
            yield Change(node.line, "na-bool", message, (Edit(start, start + 2, "false"),), is_proved=False)
