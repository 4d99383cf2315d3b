"""The front door of the parser: a text in, its tree with version, annotations and faults out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiopt.pine.parsing.faults import MAX_CHARACTERS, Fault
from aiopt.pine.parsing.lexer import Comment, tokenize
from aiopt.pine.parsing.nodes import Script
from aiopt.pine.parsing.statements import StatementParser

_ANNOTATION = re.compile(r"//\s*@(\w+)[ \t]*(=?)[ \t]*(.*)")
_VERSION = re.compile(r"//@version=([0-9]{1,3})\s*\Z")
# A text has none of these; of the others below blank a tab, line ends and a form feed may occur.
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufffd\ud800-\udfff]")
_ASCII_TEXT = bytes([*range(0x09, 0x0E), *range(0x20, 0x7F)])


@dataclass(frozen=True)
class Annotation:
    """One compiler annotation: ``//@name value`` or ``//@name=value``."""

    line: int
    column: int
    name: str
    value: str


@dataclass(frozen=True)
class ParsedScript:
    """A script as read.

    Attributes
    ----------
    tree : Script
        All statements without a fault.
    errors : list of Fault
        In the order of the text; empty where the text is Pine Script.
    version : int or None
        What the first ``//@version=`` says, None where there is none.
    comments : list of Comment
        All comments, annotations among them.
    annotations : list of Annotation
    """

    tree: Script
    errors: list[Fault]
    version: int | None
    comments: list[Comment]
    annotations: list[Annotation]


def parse_script(text: str) -> ParsedScript:
    """Return the tree of a text, and every fault that was found in it.

    It never raises for what the text holds: one that is too large or no text is one fault and an empty tree.

    Parameters
    ----------
    text : str
        The whole file; line ends may be of any system, a byte order mark is skipped.
    """
    refused = refusal(text)
    if refused is not None:
        return ParsedScript(Script(1, 1, 1, 1, ()), [refused], None, [], [])
    text = text.removeprefix("\ufeff")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    tokens = tokenize(text)
    parser = StatementParser(tokens)
    tree = parser.script()
    errors = sorted(tokens.faults + parser.faults)
    broken_strings = [fault for fault in errors if fault.rule == "string"]
    version = None
    annotations = []
    for comment in tokens.comments:
        match = _ANNOTATION.match(comment.text)
        if match is not None:
            annotations.append(Annotation(comment.line, comment.column, match[1], match[3]))
            stated = _VERSION.match(comment.text)
            if stated is not None and version is None:
                version = int(stated[1])
    return ParsedScript(tree, broken_strings or errors, version, tokens.comments, annotations)


def refusal(text: str) -> Fault | None:
    """Return why a text is not even read, too large or no text at all; None where it is."""
    if len(text) > MAX_CHARACTERS:
        message = (
            f"The file has {len(text):,} characters, more than the {MAX_CHARACTERS:,} that are read, and far "
            "more than Pine takes. Is this the right file?"
        )
        return Fault(1, 1, 1, 1, "size", message)
    if text.isascii() and not text.encode().translate(None, _ASCII_TEXT):
        return None  # as the search below would say, which is ten times as slow
    match = _BINARY.search(text)
    if match is not None:
        line = text.count("\n", 0, match.start()) + 1
        column = match.start() - text.rfind("\n", 0, match.start())
        shown = f"U+{ord(match[0]):04X}"
        message = f"The file is no text: it holds the character {shown}. Pine Script is text in UTF-8."
        return Fault(line, column, line, column + 1, "binary", message)
    return None
