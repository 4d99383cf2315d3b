"""The parser's place in the tokens: looking ahead, expecting, and saying what was met instead."""

from __future__ import annotations

from aiopt.pine.parsing.faults import MAX_NESTING, Fault, FaultError
from aiopt.pine.parsing.lexer import DEDENT, END, INDENT, NAME, NEWLINE, Tokens


class Cursor:
    """A place in a list of tokens that ends with END; it never moves past that."""

    def __init__(self, tokens: Tokens) -> None:
        self.kinds = tokens.kinds
        self.texts = tokens.texts
        self.lines = tokens.lines
        self.columns = tokens.columns
        self.closing = tokens.closing
        self.index = 0
        self.depth = 0

    def take(self, kind: str, wanted: str) -> int:
        """Return the position of the token here, which must be of this kind, and step over it."""
        index = self.index
        if self.kinds[index] != kind:
            raise self.unexpected(wanted)
        self.index = index + 1
        return index

    def is_word(self, word: str) -> bool:
        """Return whether a word that is no keyword everywhere stands here."""
        return self.kinds[self.index] == NAME and self.texts[self.index] == word

    def end_of(self, index: int) -> tuple[int, int]:
        """Return line and column right after a token."""
        text, line = self.texts[index], self.lines[index]
        if "\n" in text:
            return line + text.count("\n"), len(text) - text.rindex("\n")
        return line, self.columns[index] + len(text)

    def enter(self) -> None:
        """Go one level deeper; the caller goes back by ``self.depth -= 1``."""
        self.depth += 1
        if self.depth > MAX_NESTING:
            message = (
                f"Brackets and blocks are nested more than {MAX_NESTING} deep. Use variables or functions."
            )
            raise self.fault("nesting", message)

    def shown(self, index: int | None = None) -> str:
        """Return how a message names a token."""
        index = self.index if index is None else index
        kind, text = self.kinds[index], self.texts[index]
        if kind in (NEWLINE, DEDENT):
            return "the line ends"
        if kind == END:
            return "the file ends"
        if kind == INDENT:
            return "the next line is indented deeper"
        return f"there is {text if len(text) <= 40 else text[:37] + '…'!r}"

    def fault(self, rule: str, message: str, index: int | None = None) -> FaultError:
        """Return the error at a token, by default at the one here; the caller raises it."""
        index = self.index if index is None else index
        end_line, end_column = self.end_of(index)
        if not self.texts[index]:
            end_column += 1
        return FaultError(Fault(self.lines[index], self.columns[index], end_line, end_column, rule, message))

    def unexpected(self, wanted: str) -> FaultError:
        """Return the error that something else was due here."""
        index = self.index
        if self.kinds[index] == NEWLINE:
            following = index + 1
            while self.kinds[following] == DEDENT:
                following += 1
            if self.kinds[following] == INDENT and not self.texts[index - 1].endswith((")", "]")):
                message = (
                    f"The line ends where {wanted} is due. To continue it, indent the next line by other "
                    "than 4, 8, 12 … blanks, or put the whole in brackets."
                )
                return self.fault("line-wrap", message)
        return self.fault(
            "syntax", f"{wanted[0].upper()}{wanted[1:]} is due, but {self.shown()}. Correct the line."
        )

    def line_goes_on(self) -> FaultError:
        """Return the error that a statement is whole here, but its line is not."""
        index = self.index
        if index and self.lines[index] > self.end_of(index - 1)[0]:
            message = (
                f"Line {self.lines[index]} continues the line above it, since its indentation is no multiple "
                "of four blanks, but the two together are no statement. Indent it by 0, 4, 8 … blanks."
            )
            return self.fault("line-wrap", message)
        return self.unexpected("the end of the line")
