"""Structures of Pine, which are statements and values at once: if, switch, for, while, and their blocks."""

from __future__ import annotations

from abc import abstractmethod

from aiopt.pine.parsing.expressions import STRUCTURES, ExpressionParser
from aiopt.pine.parsing.lexer import DEDENT, INDENT, NAME, NEWLINE
from aiopt.pine.parsing.nodes import (
    Branch,
    Case,
    Expression,
    For,
    ForIn,
    If,
    Name,
    Statement,
    Switch,
    TypeName,
    While,
)


class StructureParser(ExpressionParser):
    """Reads structures; how statements are read is left to the class below."""

    @abstractmethod
    def statements(self) -> tuple[Statement, ...]:
        """Return the statements up to the end of the block or file, faults recorded and stepped over."""

    @abstractmethod
    def statements_of_line(self) -> tuple[Statement, ...]:
        """Return the statements of one line, between commas; the end of the line is stepped over."""

    def value(self) -> Expression:
        """Return what is assigned: an expression or a structure."""
        if self.kinds[self.index] in STRUCTURES:
            return self.structure()
        return self.expression()

    def structure(self) -> Expression:
        """Return the structure that begins here, its blocks included."""
        self.enter()
        kind = self.kinds[self.index]
        start = self.index
        self.index += 1
        found: Expression
        if kind == "if":
            found = self._if(start)
        elif kind == "switch":
            found = self._switch(start)
        elif kind == "while":
            test = self.expression()
            body = self.block("while")
            end_line, end_column = self.end_of_body(body)
            found = While(self.lines[start], self.columns[start], end_line, end_column, test, body)
        else:
            found = self._for(start)
        self.depth -= 1
        return found

    def block(self, owner: str) -> tuple[Statement, ...]:
        """Return the indented statements below the line that ends here."""
        if self.kinds[self.index] != NEWLINE:
            raise self.line_goes_on()
        if self.kinds[self.index + 1] != INDENT:
            message = f"{owner!r} needs a block: indent at least one line below it by four more blanks."
            raise self.fault("block", message, self.index - 1)
        self.index += 2
        body = self.statements()
        self.take(DEDENT, "the end of the block")
        return body

    def body(self, owner: str) -> tuple[tuple[Statement, ...], bool]:
        """Return what follows '=>', and whether it stands on the same line."""
        if self.kinds[self.index] == NEWLINE:
            return self.block(owner), False
        return self.statements_of_line(), True

    def end_of_body(self, body: tuple[Statement, ...]) -> tuple[int, int]:
        """Return where a body has ended; that of a body without a good statement is the line before."""
        if body:
            return body[-1].end_line, body[-1].end_column
        return self.end_of(max(self.index - 1, 0))

    def _if(self, start: int) -> If:
        branches = []
        otherwise: tuple[Statement, ...] | None = None
        first = start
        while True:
            test = self.expression()
            body = self.block("if")
            end_line, end_column = self.end_of_body(body)
            branches.append(Branch(self.lines[first], self.columns[first], end_line, end_column, test, body))
            if self.kinds[self.index] != "else":
                break
            first = self.index
            self.index += 1
            if self.kinds[self.index] != "if":
                otherwise = self.block("else")
                end_line, end_column = self.end_of_body(otherwise)
                break
            self.index += 1
        return If(self.lines[start], self.columns[start], end_line, end_column, tuple(branches), otherwise)

    def _switch(self, start: int) -> Switch:
        subject = None if self.kinds[self.index] == NEWLINE else self.expression()
        if self.kinds[self.index] != NEWLINE:
            raise self.line_goes_on()
        if self.kinds[self.index + 1] != INDENT:
            message = (
                "'switch' needs cases: indent lines like  value => result  below it by four more blanks."
            )
            raise self.fault("block", message, self.index - 1)
        self.index += 2
        cases = []
        while self.kinds[self.index] != DEDENT:
            cases.append(self._case())
        self.index += 1
        last = cases[-1]
        return Switch(
            self.lines[start], self.columns[start], last.end_line, last.end_column, subject, tuple(cases)
        )

    def _case(self) -> Case:
        start = self.index
        test = None if self.kinds[start] == "=>" else self.expression()
        self.take("=>", "'=>' of the case")
        body, is_inline = self.body("=>")
        end_line, end_column = self.end_of_body(body)
        return Case(self.lines[start], self.columns[start], end_line, end_column, test, body, is_inline)

    def _for(self, start: int) -> Expression:
        line, column = self.lines[start], self.columns[start]
        if self.kinds[self.index] == "[" or self._is_word_at("in", self.index + 1):
            targets = self._targets()
            if not self.is_word("in"):
                raise self.unexpected("'in'")
            self.index += 1
            collection = self.expression()
            body = self.block("for")
            end_line, end_column = self.end_of_body(body)
            return ForIn(line, column, end_line, end_column, targets, collection, body)
        type_: TypeName | None = None
        after = self.end_of_type(self.index)
        if after and self.kinds[after] == NAME:
            type_ = self.type_name()
        counter = self.name("the counter of the loop")
        self.take("=", "'=' after the counter, or 'in'")
        first = self.expression()
        if not self.is_word("to"):
            raise self.unexpected("'to'")
        self.index += 1
        stop = self.expression()
        step = None
        if self.is_word("by"):
            self.index += 1
            step = self.expression()
        body = self.block("for")
        end_line, end_column = self.end_of_body(body)
        return For(line, column, end_line, end_column, type_, counter, first, stop, step, body)

    def _is_word_at(self, word: str, index: int) -> bool:
        return self.kinds[index] == NAME and self.texts[index] == word

    def _targets(self) -> tuple[Name, ...]:
        if self.kinds[self.index] != "[":
            return (self.name("a name"),)
        self.index += 1
        index = self.name("the name of the index")
        self.take(",", "','")
        item = self.name("the name of the item")
        self.take("]", "']'")
        return index, item

    def name(self, wanted: str) -> Name:
        """Return the name that stands here."""
        index = self.take(NAME, wanted)
        text, line, column = self.texts[index], self.lines[index], self.columns[index]
        return Name(line, column, line, column + len(text), text)
