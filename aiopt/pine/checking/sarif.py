"""Diagnostics as SARIF 2.1.0, the format that editors and code hosts read.  Knows no rule's meaning."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from aiopt.pine.checking.check import CheckResult
from aiopt.pine.checking.diagnostics import Diagnostic
from aiopt.pine.checking.rules import RULES

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(result: CheckResult, *, path: str, tool_version: str) -> dict[str, Any]:
    """Return the log of one checked file.

    Parameters
    ----------
    result : CheckResult
        What was found.
    path : str
        Of the file, relative or absolute, with forward slashes; what a URI cannot hold is escaped here.
    tool_version : str
        Of aiopt.
    """
    used = [*RULES, *sorted({diagnostic.rule for diagnostic in result.diagnostics} - set(RULES))]
    index = {name: number for number, name in enumerate(used)}
    rules = [
        {
            "id": name,
            "shortDescription": {"text": RULES[name].says if name in RULES else "A rule of the parser."},
            "defaultConfiguration": {"level": RULES[name].severity if name in RULES else "error"},
        }
        for name in used
    ]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {"name": "aiopt pine check", "semanticVersion": tool_version, "rules": rules}
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(diagnostic, _uri(path), index) for diagnostic in result.diagnostics],
            }
        ],
    }


def _uri(path: str) -> str:
    """Return a path as the reference to a URI that SARIF asks for."""
    if path.startswith("/"):
        return "file://" + quote(path)
    # A colon in the first part of a relative reference would read as a scheme.
    return quote(path, safe="/")


def _result(diagnostic: Diagnostic, uri: str, index: dict[str, int]) -> dict[str, Any]:
    text = f"{diagnostic.message} {diagnostic.fix}".rstrip()
    return {
        "ruleId": diagnostic.rule,
        "ruleIndex": index[diagnostic.rule],
        "level": diagnostic.severity,
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri},
                    "region": {
                        "startLine": diagnostic.line,
                        "startColumn": diagnostic.column,
                        "endLine": max(diagnostic.end_line, diagnostic.line),
                        "endColumn": max(diagnostic.end_column, 1),
                    },
                }
            }
        ],
    }
