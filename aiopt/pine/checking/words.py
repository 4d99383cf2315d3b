"""Words of Pine that no variable may be called by."""

from __future__ import annotations

KEYWORDS = frozenset(
    [
        "and",
        "or",
        "not",
        "if",
        "else",
        "for",
        "while",
        "switch",
        "break",
        "continue",
        "var",
        "varip",
        "true",
        "false",
        "na",
        "import",
        "export",
        "in",
    ]
)
"""Words that Pine cannot read as a name."""

RESERVED = KEYWORDS | frozenset(
    [
        "to",
        "by",
        "method",
        "type",
        "enum",
        "int",
        "float",
        "bool",
        "string",
        "color",
        "const",
        "input",
        "simple",
        "series",
        "line",
        "label",
        "box",
        "table",
        "array",
        "matrix",
        "map",
        "linefill",
        "polyline",
        "this",
        "catch",
        "class",
        "do",
        "ellipse",
        "is",
        "polygon",
        "range",
        "return",
        "struct",
        "text",
        "throw",
        "try",
        "as",
    ]
)
"""With the names of types and the words that are reserved for later: scripts of ours use none of them."""
