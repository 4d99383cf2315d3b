"""Statements of Pine: declarations, reassignments, lines between commas, and recovery after a fault."""

from __future__ import annotations

from aiopt.pine.parsing.definitions import QUALIFIERS, DefinitionParser
from aiopt.pine.parsing.expressions import STRUCTURES
from aiopt.pine.parsing.faults import MAX_FAULTS, Fault, FaultError
from aiopt.pine.parsing.lexer import DEDENT, END, INDENT, NAME, NEWLINE, Tokens
from aiopt.pine.parsing.nodes import (
    MAX_HEIGHT,
    Attribute,
    Break,
    Continue,
    Declaration,
    ExpressionStatement,
    FunctionDeclaration,
    Import,
    Name,
    Reassignment,
    Script,
    Statement,
    TupleDeclaration,
    TypeName,
)
from aiopt.pine.parsing.walk import height

REASSIGNMENTS = frozenset({":=", "+=", "-=", "*=", "/=", "%="})

# A statement of fewer tokens than nodes may be high cannot be too high.
_SMALL = 150


class StatementParser(DefinitionParser):
    """Reads a whole script."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__(tokens)
        self.faults: list[Fault] = []
        self._lexical_lines = [fault.line for fault in tokens.faults]
        self._block_depth = 0

    def script(self) -> Script:
        """Return all statements, but for those with a fault."""
        statements = self.statements()
        line, column = self.lines[self.index], self.columns[self.index]
        return Script(1, 1, line, column, statements)

    def statements(self) -> tuple[Statement, ...]:
        """Return the statements up to the end of the block or file, faults recorded and stepped over."""
        found: list[Statement] = []
        kinds = self.kinds
        while kinds[self.index] not in (DEDENT, END):
            start, depth, block_depth = self.index, self.depth, self._block_depth
            try:
                if kinds[start] == INDENT:
                    message = (
                        "The line is indented, but nothing above it opens a block. Take the blanks away."
                    )
                    raise self.fault("indentation", message)
                self._block_depth += 1
                found += self.statements_of_line()
                self._block_depth -= 1
            except FaultError as error:
                self.depth, self._block_depth = depth, block_depth
                self._recover(start)
                self._record(error.fault, start)
        return tuple(found)

    def statements_of_line(self) -> tuple[Statement, ...]:
        """Return the statements of one line, between commas; the end of the line is stepped over."""
        found = [self._statement()]
        while self.kinds[self.index] == ",":
            self.index += 1
            found.append(self._statement())
        if self.kinds[self.index - 1] not in (NEWLINE, DEDENT):
            if self.kinds[self.index] != NEWLINE:
                raise self._after_statement()
            self.index += 1
        return tuple(found)

    def _statement(self) -> Statement:
        kind = self.kinds[self.index]
        start = self.index
        if kind in STRUCTURES:
            value = self.structure()
            return ExpressionStatement(value.line, value.column, value.end_line, value.end_column, value)
        if kind == NAME:
            found = self._of_name()
        elif kind in ("var", "varip"):
            found = self._variable(start)
        elif kind == "[" and self._is_tuple_declaration():
            found = self._tuple_declaration()
        elif kind in ("import", "export"):
            found = self._definition_or_constant()
        elif kind in ("break", "continue"):
            found = self._jump()
        elif kind == "else":
            message = "This 'else' belongs to no 'if'. Indent it as the 'if' is, right after its block."
            raise self.fault("syntax", message)
        else:
            found = self._expression_or_reassignment()
        if self.index - start > _SMALL:
            self._check_height(found, start)
        return found

    def _check_height(self, found: Statement, start: int) -> None:
        if height(found) > MAX_HEIGHT - self.depth * 2:
            message = "The statement joins too many parts in one expression. Use variables for some of them."
            raise self.fault("nesting", message, start)

    def _of_name(self) -> Statement:
        index = self.index
        following = self.kinds[index + 1]
        if following == "=":
            return self._variable(index)
        if following in (NAME, "("):
            definition = self.definition()
            if definition is not None:
                return self._at_top_level(definition)
        if following != "(" and self._is_typed_declaration(index):
            return self._variable(index)
        return self._expression_or_reassignment()

    def _is_typed_declaration(self, index: int) -> bool:
        if self.texts[index] in QUALIFIERS and self.kinds[index + 1] == NAME:
            index += 1
            if self.kinds[index + 1] == "=":
                return True
        after = self.end_of_type(index)
        return after > 0 and self.kinds[after] == NAME

    def _definition_or_constant(self) -> Statement:
        start = self.index
        definition = self.definition()
        if definition is not None:
            return self._at_top_level(definition)
        self.index = start + 1
        if self.kinds[self.index] == NAME or self.kinds[self.index] in ("var", "varip"):
            return self._variable(start)
        raise self.unexpected("what is exported: a function, method, type, enum or constant")

    def _at_top_level(self, definition: Statement) -> Statement:
        if self._block_depth > 1:
            what = "A function" if isinstance(definition, FunctionDeclaration) else "A definition"
            what = "An import" if isinstance(definition, Import) else what
            fault = Fault(
                definition.line,
                definition.column,
                definition.line,
                definition.column + 1,
                "nested-definition",
                f"{what} stands inside a block. Move it to the top level, without blanks before it.",
            )
            self._record(fault, self.index)
        return definition

    def _variable(self, start: int) -> Statement:
        is_exported = self.kinds[start] == "export"
        self.index = start + is_exported
        mode = ""
        if self.kinds[self.index] in ("var", "varip"):
            mode = self.texts[self.index]
            self.index += 1
            if self.kinds[self.index] == "[":
                message = (
                    f"A tuple cannot be declared with {mode!r}. Declare its names first and assign with ':='."
                )
                raise self.fault("declaration", message)
        qualifier: str
        type_: TypeName | None
        qualifier, type_, name = self.typed_name()
        text, line, column = self.texts[name], self.lines[name], self.columns[name]
        target = Name(line, column, line, column + len(text), text)
        if self.kinds[self.index] != "=":
            if self.kinds[self.index] == NEWLINE:
                message = (
                    f"{text!r} is declared without a value. Write  {text} = value,  na where it has none yet."
                )
                raise self.fault("declaration", message, name)
            raise self.unexpected("'=' of the declaration")
        self.index += 1
        value = self.value()
        return Declaration(
            self.lines[start],
            self.columns[start],
            value.end_line,
            value.end_column,
            is_exported,
            mode,
            qualifier,
            type_,
            target,
            value,
        )

    def _is_tuple_declaration(self) -> bool:
        closing = self.closing.get(self.index)
        return closing is not None and self.kinds[closing + 1] in ("=", *REASSIGNMENTS)

    def _tuple_declaration(self) -> TupleDeclaration:
        start = self.index
        closing = self.closing[start]
        if self.kinds[closing + 1] != "=":
            message = "A tuple cannot be assigned to names that exist. Declare new names with '='."
            raise self.fault("declaration", message, closing + 1)
        self.index += 1
        names = [self.name("a name")]
        while self.kinds[self.index] == ",":
            self.index += 1
            names.append(self.name("a name"))
        self.take("]", "',' or ']'")
        self.index += 1
        value = self.value()
        return TupleDeclaration(
            self.lines[start], self.columns[start], value.end_line, value.end_column, tuple(names), value
        )

    def _jump(self) -> Statement:
        index = self.index
        self.index += 1
        made = Break if self.kinds[index] == "break" else Continue
        return made(self.lines[index], self.columns[index], *self.end_of(index))

    def _expression_or_reassignment(self) -> Statement:
        target = self.expression()
        operator = self.kinds[self.index]
        if operator in REASSIGNMENTS:
            if not isinstance(target, Name | Attribute):
                message = (
                    f"Nothing can be assigned to this: only a name or a field stands before {operator!r}."
                )
                raise self.fault("assignment", message)
            self.index += 1
            value = self.value()
            return Reassignment(
                target.line, target.column, value.end_line, value.end_column, target, operator, value
            )
        if operator == "=":
            message = (
                "'=' declares a new name, and this is none. Use ':=' to change a field, '==' to compare."
            )
            raise self.fault("assignment", message)
        return ExpressionStatement(target.line, target.column, target.end_line, target.end_column, target)

    def _after_statement(self) -> FaultError:
        if self.kinds[self.index] == "=>":
            return self.unexpected("the end of the line")
        return self.line_goes_on()

    def _record(self, fault: Fault, start: int) -> None:
        """Keep a fault, unless the lexer has one in the same lines that explains it."""
        first, last = self.lines[start], max(self.lines[max(self.index - 1, 0)], fault.line)
        if not any(first <= line <= last for line in self._lexical_lines):
            self.faults.append(fault)
        if len(self.faults) >= MAX_FAULTS:
            self.index = len(self.kinds) - 1

    def _recover(self, start: int) -> None:
        """Step over the rest of a statement with a fault, and over the blocks that belong to it."""
        kinds = self.kinds
        if self.index > start and kinds[self.index - 1] in (NEWLINE, DEDENT) and kinds[self.index] != INDENT:
            return
        inner = 0
        while kinds[self.index] != END:
            kind = kinds[self.index]
            if kind == DEDENT:
                if not inner:
                    return
                inner -= 1
            elif kind == INDENT:
                inner += 1
            self.index += 1
            if not inner and kind in (NEWLINE, DEDENT) and kinds[self.index] not in (INDENT, "else"):
                return
