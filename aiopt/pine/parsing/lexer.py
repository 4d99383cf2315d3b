"""Text to tokens: one regular expression, line continuation, blocks by indentation.  Knows no grammar.

A line whose indentation is no multiple of four continues the line before it, and so does every line inside
brackets.  Any other line ends the statement; where it is deeper or shallower than its block, blocks open or
close.  A tab counts as four blanks.  Blank lines and comments say nothing about blocks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from aiopt.pine.parsing.faults import MAX_FAULTS, Fault

# Kinds of tokens that are not their own text.
NAME, NUMBER, STRING, COLOR = "name", "number", "string", "color"
NEWLINE, INDENT, DEDENT, END = "end of line", "deeper indentation", "end of block", "end of file"

KEYWORDS = frozenset(
    {"and", "or", "not", "if", "else", "for", "while", "switch", "var", "varip", "true", "false"}
    | {"break", "continue", "import", "export"}
)
INDENTATION = 4

_ENDED_STRING = r"""(?:"{3}(?:[^"\\]|\\(?:.|\n)|"(?!""))*"{3}|'{3}(?:[^'\\]|\\(?:.|\n)|'(?!''))*'{3}
         |"(?!"")[^"\\\n]*(?:\\.[^"\\\n]*)*"|'(?!'')[^'\\\n]*(?:\\.[^'\\\n]*)*')"""
# Blanks and a token, so that lengths add up to places; the last line takes what begins no token.
_TOKEN = re.compile(
    rf"""([ \t]*+)(
        [A-Za-z_][A-Za-z0-9_]*
      | =>|:=|==|!=|<=|>=|\+=|-=|\*=|/=|%=|\.(?![0-9])|/(?!/)|[-+*%<>=?:,()\[\]]
      | \n[ \t]*
      | (?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?
      | {_ENDED_STRING}
      | //[^\n]*
      | \#[0-9A-Za-z]*
      | "{{3}}[\s\S]*|'{{3}}[\s\S]*|["'][^\n]*|[^\ \t\n]
    )""",
    re.VERBOSE,
)
_STRING = re.compile(_ENDED_STRING, re.VERBOSE)
_OPERATORS = {"=>", ":=", "==", "!=", "<=", ">=", "+=", "-=", "*=", "/=", "%=", *"./-+*%<>=?:,()[]"}
_OWN_KINDS = {word: word for word in KEYWORDS | _OPERATORS}
_KINDS = {
    **dict.fromkeys("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", NAME),
    **dict.fromkeys("0123456789.", NUMBER),
    "#": COLOR,
}
"""First character → kind of a token that is not its own kind, nor a string, comment or end of line."""
_CLOSES = {"(": ")", "[": "]"}
_BRACKETS = frozenset("()[]")
_OPENS = {")": "(", "]": "["}


@dataclass(frozen=True)
class Comment:
    """One comment, from its slashes to the end of the line."""

    line: int
    column: int
    text: str


@dataclass
class Tokens:
    """A text's tokens as columns, and what was found beside them.

    Attributes
    ----------
    kinds : list of str
        A keyword or an operator is its own kind.
    texts : list of str
        As written; of a NEWLINE the empty text.
    lines, columns : list of int
        Of the first character, 1-based.
    closing : dict
        Position of an opening bracket to that of the one that closes it.
    comments, faults : list
        In the order of the text.
    """

    kinds: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    closing: dict[int, int] = field(default_factory=dict)
    comments: list[Comment] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def tokenize(text: str) -> Tokens:
    """Return the tokens of a text whose lines end with a line feed; the last token is END.

    A bracket that nothing closes would swallow the rest of the file: where one is found, the text is read
    again with every line that starts in its first column ending all brackets.
    """
    tokens = _Lexer(text, closes_at_margin=False).run()
    if tokens is None:
        tokens = _Lexer(text, closes_at_margin=True).run()
    assert tokens is not None
    return tokens


class _Lexer:
    def __init__(self, text: str, *, closes_at_margin: bool) -> None:
        self._text = text
        self._closes_at_margin = closes_at_margin
        self._tokens = Tokens()
        self._brackets: list[int] = []
        self._blocks = [0]
        self._line = 1

    # reason: one loop over all tokens, the parser's hot path, where a call each costs half as much again.
    def run(self) -> Tokens | None:  # noqa: C901, PLR0912, PLR0915
        """Return the tokens, or None where a bracket stays open and lines may not close it yet."""
        tokens = self._tokens
        kinds, texts, lines, columns = tokens.kinds, tokens.texts, tokens.lines, tokens.columns
        add_kind, add_text, add_line, add_column = kinds.append, texts.append, lines.append, columns.append
        brackets, closing, blocks = self._brackets, tokens.closing, self._blocks
        known = _OWN_KINDS.copy()  # and what is met: a name that comes again is not looked at again
        get_known = known.get
        line, after = 1, 1  # `after`: the column that follows the last token
        is_ended = True  # of the last string; one without an end swallows the rest
        margin = ""  # blanks at the beginning of the line
        is_margin = True  # only blanks and comments since the line began
        for blanks, written in _TOKEN.findall(self._text):
            column = after + len(blanks)
            after = column + len(written)
            kind = get_known(written)
            if kind is None:
                first = written[0]
                if first == "\n":
                    line += 1
                    after = len(written)
                    margin = written[1:]
                    is_margin = True
                    continue
                if first == "/":
                    tokens.comments.append(Comment(line, column, written.rstrip()))
                    continue
                kind = _KINDS.get(first)
                if kind is not None:
                    known[written] = kind
            if is_margin:
                is_margin = False
                if kinds and not margin and not brackets and len(blocks) == 1:
                    # The usual line: it ends the one before it, and nothing else.
                    add_kind(NEWLINE)
                    add_line(lines[-1])
                    add_column(columns[-1] + len(texts[-1]))
                    add_text("")
                else:
                    self._line = line
                    self._begin_line(margin or blanks)
            if kind is None:
                # A string, ended or not, or what begins no token.
                is_ended = first in "\"'" and _STRING.fullmatch(written) is not None
                if not is_ended:
                    self._stranger(written, line, column)
                    if first not in "\"'":
                        continue
                kind = STRING
            elif kind in _BRACKETS:
                if kind in _CLOSES:
                    brackets.append(len(kinds))
                elif brackets and kinds[brackets[-1]] == _OPENS[kind]:
                    closing[brackets.pop()] = len(kinds)
                else:
                    self._closes_nothing(written, line, column)
            add_kind(kind)
            add_text(written)
            add_line(line)
            add_column(column)
            if kind is STRING and is_ended and "\n" in written:
                line += written.count("\n")
                after = len(written) - written.rindex("\n")
        if brackets:
            if not self._closes_at_margin:
                return None
            self._leave_brackets()
        # A string of several lines without end counts from the line on which it began.
        self._finish(line, max(after, len(self._text) - self._text.rfind("\n")))
        return tokens

    def _begin_line(self, margin: str) -> None:
        """Decide what the first token of a line does: go on, end the statement, open or close blocks."""
        indent = len(margin)
        if indent:
            indent += (INDENTATION - 1) * margin.count("\t")
        if self._brackets:
            if indent or not self._closes_at_margin:
                return
            self._leave_brackets()
        kinds = self._tokens.kinds
        if indent % INDENTATION and kinds:
            return
        if kinds:
            self._add(NEWLINE)
        blocks = self._blocks
        if indent == blocks[-1]:
            return
        if indent > blocks[-1]:
            blocks.append(indent)
            self._add(INDENT)
        while indent < blocks[-1]:
            blocks.pop()
            if indent > blocks[-1]:
                message = f"The line is indented by {indent}, which no block above it is. Use {blocks[-1]}."
                self._fault(self._line, 1, indent, "indentation", message)
                blocks.append(indent)
                break
            self._add(DEDENT)

    def _add(self, kind: str) -> None:
        """Add a token without text: NEWLINE where the line ended, others where the new one begins."""
        tokens = self._tokens
        tokens.kinds.append(kind)
        tokens.texts.append("")
        if kind == NEWLINE:
            tokens.lines.append(tokens.lines[-1])
            tokens.columns.append(tokens.columns[-1] + len(tokens.texts[-2]))
        else:
            tokens.lines.append(self._line)
            tokens.columns.append(1)

    def _closes_nothing(self, written: str, line: int, column: int) -> None:
        """Report a closing bracket that the innermost open one does not wait for."""
        if self._is_string_open_since(1):
            return
        if self._brackets:
            opener = self._brackets.pop()
            opened = self._tokens.texts[opener]
            where = f"line {self._tokens.lines[opener]}, column {self._tokens.columns[opener]}"
            why = f"{opened!r} of {where} is open. Write {_CLOSES[opened]!r} here."
        else:
            why = "nothing opens it. Remove it."
        self._fault(line, column, 1, "bracket", f"{written!r} closes nothing: {why}")

    def _leave_brackets(self) -> None:
        """Report the outermost open bracket and go on as if all were closed."""
        tokens, outer = self._tokens, self._brackets[0]
        opened = tokens.texts[outer]
        if not self._is_string_open_since(tokens.lines[outer]):
            message = f"{opened!r} is never closed. Add {_CLOSES[opened]!r} where it ends."
            self._fault(tokens.lines[outer], tokens.columns[outer], 1, "bracket", message)
        self._brackets.clear()

    def _is_string_open_since(self, line: int) -> bool:
        """Return whether a string without end may have swallowed the bracket that is missed."""
        return any(fault.rule == "string" and fault.line >= line for fault in self._tokens.faults)

    def _stranger(self, written: str, line: int, column: int) -> None:
        """Report characters that begin no token."""
        first = written[0]
        if first in "\"'":
            if written.startswith(first * 3):
                message = f"The string of several lines is never ended. Add {first * 3} where it ends."
            else:
                message = f"The string is not ended on its line. Add {first} where it ends."
            self._fault(line, column, len(written.split("\n", 1)[0]), "string", message)
        elif first == "\\":
            message = "A backslash continues no line. Indent the next line by other than 4, 8, 12 … blanks."
            self._fault(line, column, 1, "character", message)
        else:
            shown = first if first.isprintable() else f"U+{ord(first):04X}"
            hint = "Names are written with A to Z, digits and _." if first.isalpha() else "Remove it."
            self._fault(line, column, 1, "character", f"The character {shown} means nothing here. {hint}")

    def _fault(self, line: int, column: int, length: int, rule: str, message: str) -> None:
        faults = self._tokens.faults
        if len(faults) < MAX_FAULTS:
            faults.append(Fault(line, column, line, column + length, rule, message))

    def _finish(self, line: int, column: int) -> None:
        self._line = line
        if self._tokens.kinds:
            self._add(NEWLINE)
        for _ in self._blocks[1:]:
            self._add(DEDENT)
        self._add(END)
        self._tokens.columns[-1] = column
