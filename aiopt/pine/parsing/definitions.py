"""Definitions of Pine: functions, methods, types, enums, imports."""

from __future__ import annotations

import re

from aiopt.pine.parsing.lexer import DEDENT, INDENT, NAME, NEWLINE
from aiopt.pine.parsing.nodes import (
    EnumDeclaration,
    EnumMember,
    Field,
    FunctionDeclaration,
    Import,
    Parameter,
    Statement,
    TypeDeclaration,
    TypeName,
)
from aiopt.pine.parsing.structures import StructureParser

QUALIFIERS = frozenset({"const", "input", "simple", "series"})

_LIBRARY = re.compile(r"([\w-]+)/(\w+)/([0-9]{1,6})(?:\.\w+)?\Z")


class DefinitionParser(StructureParser):
    """Reads what may stand at the top level alone."""

    def definition(self) -> Statement | None:
        """Return the definition that begins here, or None where none does."""
        start = self.index
        kinds, texts = self.kinds, self.texts
        kind = kinds[start]
        if kind == "import":
            return self._import()
        is_exported = kind == "export"
        index = start + is_exported
        if kinds[index] != NAME:
            return None
        word = texts[index]
        found: Statement | None = None
        if kinds[index + 1] == "(":
            if self._is_function(index + 1):
                self.index = index
                found = self._function(start, is_exported=is_exported, is_method=False)
        elif kinds[index + 1] != NAME:
            return None
        elif word == "method" and kinds[index + 2] == "(":
            self.index = index + 1
            found = self._function(start, is_exported=is_exported, is_method=True)
        elif word == "type" and kinds[index + 2] == NEWLINE:
            self.index = index + 1
            found = self._type(start, is_exported=is_exported)
        elif word == "enum" and kinds[index + 2] == NEWLINE:
            self.index = index + 1
            found = self._enum(start, is_exported=is_exported)
        return found

    def typed_name(self) -> tuple[str, TypeName | None, int]:
        """Return qualifier, type and position of the name that is declared here; it is stepped over."""
        qualifier = ""
        if self.kinds[self.index] == NAME and self.kinds[self.index + 1] == "=":
            self.index += 1
            return "", None, self.index - 1
        if self.texts[self.index] in QUALIFIERS and self.kinds[self.index + 1] == NAME:
            qualifier = self.texts[self.index]
            self.index += 1
        after = self.end_of_type(self.index)
        type_ = self.type_name() if after and self.kinds[after] == NAME else None
        return qualifier, type_, self.take(NAME, "a name")

    def _is_function(self, bracket: int) -> bool:
        """Return whether '=>' follows the bracket that closes the one at a position."""
        closing = self.closing.get(bracket)
        return closing is not None and self.kinds[closing + 1] == "=>"

    def _function(self, start: int, *, is_exported: bool, is_method: bool) -> FunctionDeclaration:
        name = self.texts[self.take(NAME, "the name of the function")]
        self.enter()
        self.take("(", "'('")
        parameters = []
        while self.kinds[self.index] != ")":
            parameters.append(self._parameter())
            if self.kinds[self.index] != ")":
                self.take(",", "',' or ')'")
        self.index += 1
        self.take("=>", "'=>' of the function")
        body, is_inline = self.body("=>")
        self.depth -= 1
        end_line, end_column = self.end_of_body(body)
        return FunctionDeclaration(
            self.lines[start],
            self.columns[start],
            end_line,
            end_column,
            is_exported,
            is_method,
            name,
            tuple(parameters),
            body,
            is_inline,
        )

    def _parameter(self) -> Parameter:
        start = self.index
        qualifier, type_, name = self.typed_name()
        end_line, end_column = self.end_of(name)
        default = None
        if self.kinds[self.index] == "=":
            self.index += 1
            default = self.expression()
            end_line, end_column = default.end_line, default.end_column
        return Parameter(
            self.lines[start],
            self.columns[start],
            end_line,
            end_column,
            qualifier,
            type_,
            self.texts[name],
            default,
        )

    def _open_block(self, owner: str, what: str) -> None:
        self.take(NEWLINE, "the end of the line")
        if self.kinds[self.index] != INDENT:
            message = f"{owner!r} needs {what}: indent each on its own line below it by four blanks."
            raise self.fault("block", message, self.index - 2)
        self.index += 1

    def _type(self, start: int, *, is_exported: bool) -> TypeDeclaration:
        name = self.texts[self.take(NAME, "the name of the type")]
        self._open_block("type", "fields")
        fields = []
        while self.kinds[self.index] != DEDENT:
            fields.append(self._field())
            if self.kinds[self.index] != NEWLINE:
                raise self.line_goes_on()
            self.index += 1
        self.index += 1
        end = fields[-1]
        return TypeDeclaration(
            self.lines[start],
            self.columns[start],
            end.end_line,
            end.end_column,
            is_exported,
            name,
            tuple(fields),
        )

    def _field(self) -> Field:
        start = self.index
        mode = ""
        if self.kinds[start] in ("var", "varip"):
            mode = self.texts[start]
            self.index += 1
        qualifier, type_, name = self.typed_name()
        end_line, end_column = self.end_of(name)
        default = None
        if self.kinds[self.index] == "=":
            self.index += 1
            default = self.expression()
            end_line, end_column = default.end_line, default.end_column
        return Field(
            self.lines[start],
            self.columns[start],
            end_line,
            end_column,
            mode,
            qualifier,
            type_,
            self.texts[name],
            default,
        )

    def _enum(self, start: int, *, is_exported: bool) -> EnumDeclaration:
        name = self.texts[self.take(NAME, "the name of the enum")]
        self._open_block("enum", "members")
        members = []
        while self.kinds[self.index] != DEDENT:
            first = self.take(NAME, "the name of a member")
            end_line, end_column = self.end_of(first)
            title = None
            if self.kinds[self.index] == "=":
                self.index += 1
                title = self.expression()
                end_line, end_column = title.end_line, title.end_column
            members.append(
                EnumMember(
                    self.lines[first], self.columns[first], end_line, end_column, self.texts[first], title
                )
            )
            if self.kinds[self.index] != NEWLINE:
                raise self.line_goes_on()
            self.index += 1
        self.index += 1
        return EnumDeclaration(
            self.lines[start], self.columns[start], end_line, end_column, is_exported, name, tuple(members)
        )

    def _import(self) -> Import:
        start = self.index
        self.index += 1
        written = ""
        while self.kinds[self.index] != NEWLINE and not self.is_word("as"):
            written += self.texts[self.index]
            self.index += 1
        match = _LIBRARY.match(written)
        if match is None:
            message = f"{written!r} names no library. Write  import owner/library/version as name."
            raise self.fault("import", message, start)
        end_line, end_column = self.end_of(self.index - 1)
        alias = ""
        if self.is_word("as"):
            self.index += 1
            last = self.take(NAME, "the name the library gets here")
            alias = self.texts[last]
            end_line, end_column = self.end_of(last)
        owner, library, version = match[1], match[2], int(match[3])
        return Import(
            self.lines[start], self.columns[start], end_line, end_column, owner, library, version, alias
        )
