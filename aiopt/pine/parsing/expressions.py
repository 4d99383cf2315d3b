"""Expressions of Pine by precedence climbing.  Knows no statement."""

from __future__ import annotations

import re

from aiopt.pine.parsing.cursor import Cursor
from aiopt.pine.parsing.faults import MAX_NESTING
from aiopt.pine.parsing.lexer import COLOR, NAME, NUMBER, STRING
from aiopt.pine.parsing.nodes import (
    Argument,
    Attribute,
    Binary,
    Boolean,
    Call,
    Color,
    Conditional,
    Expression,
    History,
    Name,
    Number,
    String,
    TupleValue,
    TypeName,
    Unary,
)

PRECEDENCE = {
    "or": 1,
    "and": 2,
    "==": 3,
    "!=": 3,
    "<": 4,
    "<=": 4,
    ">": 4,
    ">=": 4,
    "+": 5,
    "-": 5,
    "*": 6,
    "/": 6,
    "%": 6,
}
STRUCTURES = frozenset({"if", "for", "while", "switch"})

_AFTER_NAME = frozenset({".", "(", "[", "<"})
_AFTER_OPERAND = _AFTER_NAME | {"?", *PRECEDENCE}
"""Kinds of tokens with which an expression goes on after a name."""
_ALONE = frozenset({NAME, NUMBER, STRING, "true", "false"})
"""Kinds of tokens that are a whole expression where nothing of these follows."""
_UNARY = frozenset({"-", "+", "not"})
_COLOR = re.compile(r"#(?:[0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})\Z")
_ESCAPE = re.compile(r"\\(.|\n)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "\n": ""}


class ExpressionParser(Cursor):
    """Reads expressions, arguments and types from the tokens."""

    def expression(self) -> Expression:
        """Return the expression that begins here: a ternary, or what is above one."""
        index = self.index
        kind = self.kinds[index]
        if kind in _ALONE and self.kinds[index + 1] not in _AFTER_OPERAND and self.depth < MAX_NESTING:
            # A name or literal alone, the most frequent: what follows would find the same, more slowly.
            if kind == NAME:
                self.index = index + 1
                text, line, column = self.texts[index], self.lines[index], self.columns[index]
                return Name(line, column, line, column + len(text), text)
            return self._number() if kind == NUMBER else self._other_operand()
        self.enter()
        test = self._operation(0)
        if self.kinds[self.index] != "?":
            self.depth -= 1
            return test
        arms = []
        while True:
            # a ? b : c ? d : e  is read in a loop, so that a long chain is not deep for the parser.
            self.index += 1
            then = self.expression()
            self.take(":", "':' of the conditional")
            last = self._operation(0)
            arms.append((test, then))
            if self.kinds[self.index] != "?":
                break
            test = last
        for test, then in reversed(arms):
            last = Conditional(test.line, test.column, last.end_line, last.end_column, test, then, last)
        self.depth -= 1
        return last

    def _operation(self, floor: int) -> Expression:
        """Return operands joined by operators that bind more tightly than `floor`."""
        kinds, index = self.kinds, self.index
        kind = kinds[index]
        left: Expression
        if kind == NAME and kinds[index + 1] not in _AFTER_NAME:
            self.index = index + 1
            text, line, column = self.texts[index], self.lines[index], self.columns[index]
            left = Name(line, column, line, column + len(text), text)
        else:
            left = self._unary() if kind in _UNARY else self._operand()
        while True:
            operator = kinds[self.index]
            precedence = PRECEDENCE.get(operator, 0)
            if precedence <= floor:
                return left
            self.index += 1
            right = self._operation(precedence)
            left = Binary(left.line, left.column, right.end_line, right.end_column, operator, left, right)

    def _unary(self) -> Expression:
        signs = []
        while self.kinds[self.index] in _UNARY:
            signs.append(self.index)
            self.index += 1
        operand = self._operand()
        for sign in reversed(signs):
            operand = Unary(
                self.lines[sign],
                self.columns[sign],
                operand.end_line,
                operand.end_column,
                self.kinds[sign],
                operand,
            )
        return operand

    def _operand(self) -> Expression:
        """Return a literal, name, tuple or bracketed expression, with all that follows it."""
        index = self.index
        kind = self.kinds[index]
        line, column = self.lines[index], self.columns[index]
        value: Expression
        if kind == NAME:
            self.index = index + 1
            text = self.texts[index]
            value = Name(line, column, line, column + len(text), text)
        elif kind == NUMBER:
            value = self._number()
        elif kind == "(":
            self.index = index + 1
            value = self.expression()
            self.take(")", "')'")
        else:
            value = self._other_operand()
        return self._after(value) if self.kinds[self.index] in _AFTER_NAME else value

    def _other_operand(self) -> Expression:
        index = self.index
        kind, text = self.kinds[index], self.texts[index]
        line, column = self.lines[index], self.columns[index]
        end_line, end_column = self.end_of(index)
        if kind == STRING:
            self.index = index + 1
            return String(line, column, end_line, end_column, text, string_value(text))
        if kind in ("true", "false"):
            self.index = index + 1
            return Boolean(line, column, end_line, end_column, kind == "true")
        if kind == COLOR:
            if not _COLOR.match(text):
                raise self.fault(
                    "color", f"{text} is no colour. Write # and six or eight hexadecimal digits."
                )
            self.index = index + 1
            return Color(line, column, end_line, end_column, text)
        if kind == "[":
            return self._tuple()
        if kind in STRUCTURES:
            message = (
                f"{kind!r} has a value only right after '=', ':=' or '=>', not inside an expression. "
                "Give it to a variable first."
            )
            raise self.fault("structure", message)
        raise self.unexpected("a value")

    def _number(self) -> Number:
        index = self.index
        text = self.texts[index]
        line, column = self.lines[index], self.columns[index]
        end = column + len(text)
        following = index + 1
        touches = self.columns[following] == end and self.lines[following] == line
        if touches and self.kinds[following] in (NAME, NUMBER):
            written = text + self.texts[following]
            message = f"{written} is neither number nor name. A name begins with a letter or _."
            raise self.fault("number", message)
        self.index = following
        is_integer = text.isdigit()
        # Python refuses to read integers of thousands of digits; as a float they are what Pine makes of them.
        value = int(text) if is_integer and len(text) < 20 else float(text)
        return Number(line, column, line, end, text, value)

    def _tuple(self) -> TupleValue:
        start = self.take("[", "'['")
        items = []
        while self.kinds[self.index] != "]":
            items.append(self.expression())
            if self.kinds[self.index] != "]":
                self.take(",", "',' or ']'")
        end_line, end_column = self.end_of(self.index)
        self.index += 1
        return TupleValue(self.lines[start], self.columns[start], end_line, end_column, tuple(items))

    def _after(self, value: Expression) -> Expression:
        """Return a value with the members, histories and calls that follow it."""
        while True:
            index = self.index
            kind = self.kinds[index]
            if kind == ".":
                name = index + 1
                text = self.texts[name]
                # After a point a keyword is a name too.
                if not (text[:1].isalpha() or self.kinds[name] == NAME):
                    self.index = name
                    raise self.unexpected("a name after '.'")
                self.index = index + 2
                end_line, end_column = self.lines[name], self.columns[name] + len(text)
                value = Attribute(value.line, value.column, end_line, end_column, value, text)
            elif kind == "(":
                value = self._call(value, ())
            elif kind == "[":
                value = self._history(value)
            elif kind == "<" and self._is_template(value):
                value = self._call(value, self._template())
            else:
                return value

    def _history(self, value: Expression) -> History:
        self.index += 1
        offset = self.expression()
        end_line, end_column = self.end_of(self.take("]", "']'"))
        return History(value.line, value.column, end_line, end_column, value, offset)

    def _call(self, function: Expression, template: tuple[TypeName, ...]) -> Call:
        """Return the call whose bracket is here."""
        self.index += 1
        kinds = self.kinds
        arguments = []
        while kinds[self.index] != ")":
            arguments.append(self._argument())
            if kinds[self.index] != ")":
                self.take(",", "',' or ')'")
        end = self.index
        self.index = end + 1
        end_line, end_column = self.lines[end], self.columns[end] + 1
        return Call(
            function.line, function.column, end_line, end_column, function, template, tuple(arguments)
        )

    def _argument(self) -> Argument:
        index = self.index
        if self.kinds[index] == NAME and self.kinds[index + 1] == "=":
            self.index = index + 2
            value = self.expression()
            line, column = self.lines[index], self.columns[index]
            return Argument(line, column, value.end_line, value.end_column, self.texts[index], value)
        value = self.expression()
        return Argument(value.line, value.column, value.end_line, value.end_column, None, value)

    def _is_template(self, value: Expression) -> bool:
        """Return whether '<' here opens types, as in ``array.new<float>(``, and is no comparison.

        Only ``map.new`` takes two types, so ``f(a < b, c > (d))`` holds two comparisons.  One type before a
        bracket is a template: what is smaller than something else cannot be greater than a third.
        """
        if not isinstance(value, (Name, Attribute)):
            return False
        index = self._end_of_types(self.index + 1)
        if index == 0 or self.kinds[index] != ">" or self.kinds[index + 1] != "(":
            return False
        is_new = isinstance(value, Attribute) and value.name == "new"
        return is_new or self.end_of_type(self.index + 1) == index

    def _template(self) -> tuple[TypeName, ...]:
        self.take("<", "'<'")
        types = [self.type_name()]
        while self.kinds[self.index] == ",":
            self.index += 1
            types.append(self.type_name())
        self.take(">", "'>'")
        return tuple(types)

    def type_name(self) -> TypeName:
        """Return the type that is written here."""
        self.enter()
        start = self.take(NAME, "a type")
        name = self.texts[start]
        last = start
        while self.kinds[self.index] == ".":
            self.index += 1
            last = self.take(NAME, "a name after '.'")
            name += "." + self.texts[last]
        arguments: tuple[TypeName, ...] = ()
        if self.kinds[self.index] == "<":
            arguments = self._template()
            last = self.index - 1
        is_array = self.kinds[self.index] == "[" and self.kinds[self.index + 1] == "]"
        if is_array:
            last = self.index + 1
            self.index += 2
        self.depth -= 1
        end_line, end_column = self.end_of(last)
        return TypeName(
            self.lines[start], self.columns[start], end_line, end_column, name, arguments, is_array
        )

    def end_of_type(self, index: int) -> int:
        """Return the position after the type at a position, 0 where there is none.  Moves nothing."""
        kinds = self.kinds
        if kinds[index] != NAME:
            return 0
        index += 1
        while kinds[index] == "." and kinds[index + 1] == NAME:
            index += 2
        if kinds[index] == "<":
            index = self._end_of_types(index + 1)
            if not index or kinds[index] != ">":
                return 0
            index += 1
        if kinds[index] == "[" and kinds[index + 1] == "]":
            index += 2
        return index

    def _end_of_types(self, index: int) -> int:
        self.enter()
        index = self.end_of_type(index)
        while index and self.kinds[index] == ",":
            index = self.end_of_type(index + 1)
        self.depth -= 1
        return index


def string_value(text: str) -> str:
    """Return what a string literal means: without quotes, escapes resolved."""
    quotes = 3 if len(text) >= 6 and text[:3] in ('"""', "'''") else 1
    inner = text[quotes:-quotes]
    if "\\" not in inner:
        return inner
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), inner)
