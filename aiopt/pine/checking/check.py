"""The front door of the checker: a text in, diagnostics out.

Owns the order of the steps: version, parser, rules.  Reads no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiopt.errors import PineError
from aiopt.pine.checking.diagnostics import Diagnostic, Reports
from aiopt.pine.checking.generated import GeneratedRules
from aiopt.pine.checking.scopes import mutable_declarations
from aiopt.pine.checking.script import ScriptRules
from aiopt.pine.parsing.nodes import Node, Script
from aiopt.pine.parsing.parser import ParsedScript, parse_script
from aiopt.pine.reference.table import VERSIONS, builtins

SUPPORTED_VERSIONS = VERSIONS


@dataclass(frozen=True)
class CheckResult:
    """What is to be told about a script.

    Attributes
    ----------
    version : int
        Of Pine, as which the script was read.
    diagnostics : tuple of Diagnostic
        In the order of the text.
    """

    version: int
    diagnostics: tuple[Diagnostic, ...]

    @property
    def errors(self) -> list[Diagnostic]:
        """Those for which TradingView refuses the script."""
        return [diagnostic for diagnostic in self.diagnostics if diagnostic.severity == "error"]


def check_script(text: str, *, version: int | None = None) -> CheckResult:
    """Check any script.

    Parameters
    ----------
    text : str
        The whole script.
    version : int or None
        Read it as this version of Pine, 5 or 6, whatever it says; None: as it says.
    """
    parsed = parse_script(text)
    reports = Reports()
    found = version or parsed.version or VERSIONS[-1]
    is_read = not any(fault.rule in ("size", "binary") for fault in parsed.errors)
    if version is None and is_read:
        _version_line(parsed, reports)
    if found not in VERSIONS:
        return CheckResult(found, tuple(reports.sorted()))
    _faults(parsed, reports)
    checker = ScriptRules(
        builtins(found), reports, mutable_declarations(parsed.tree.statements), strict=False
    )
    if parsed.tree.statements or not parsed.errors:
        try:
            checker.script(parsed.tree, text)
        except RecursionError:
            message = "The script is nested too deeply to be checked to its end."
            reports.add(
                _at(1), "size", message, "warning", "Give parts of long expressions names of their own."
            )
    return CheckResult(found, tuple(_without_aftermath(reports.sorted(), parsed)))


def check_generated(text: str) -> list[Diagnostic]:
    """Return every rule that a script of ours breaks, in the order of lines; empty if it keeps them all."""
    parsed = parse_script(text)
    reports = Reports()
    _strict_version_line(text, parsed, reports)
    _faults(parsed, reports)
    found = parsed.version if parsed.version in VERSIONS else VERSIONS[-1]
    assert found is not None
    if not parsed.errors:
        checker = GeneratedRules(
            builtins(found), reports, mutable_declarations(parsed.tree.statements), strict=True
        )
        checker.script(parsed.tree, text)
    return [diagnostic for diagnostic in reports.sorted() if diagnostic.severity == "error"]


def require_valid(text: str, *, name: str) -> None:
    """Raise if a script of ours breaks a rule.

    Raises
    ------
    PineError
        Names the script, and for every broken rule the line and the remedy.
    """
    found = check_generated(text)
    if found:
        details = "\n".join(f"  {diagnostic}" for diagnostic in found)
        raise PineError(f"{name}: the script breaks {len(found)} rule(s) of the checker:\n{details}")


def _version_line(parsed: ParsedScript, reports: Reports) -> None:
    if parsed.version is None:
        message = "The script does not say its version; TradingView would read it as version 1."
        fix = "Write //@version=6 at the top, or call with --version."
        reports.add(_at(1), "version", message, fix=fix)
    elif parsed.version not in VERSIONS:
        message = f"The script is of version {parsed.version}; the checker knows 5 and 6."
        newer = parsed.version > max(VERSIONS)
        fix = (
            "Call with --version 6 to read it as that."
            if newer
            else "`aiopt pine fix` brings it to version 6."
        )
        reports.add(_at(_version_lines(parsed)[0]), "version", message, fix=fix)


def _version_lines(parsed: ParsedScript) -> list[int]:
    return [annotation.line for annotation in parsed.annotations if annotation.name == "version"] or [1]


def _strict_version_line(text: str, parsed: ParsedScript, reports: Reports) -> None:
    first = text.splitlines()[0] if text else ""
    if parsed.version not in VERSIONS or first != f"//@version={parsed.version}":
        message = f"The first line must be //@version=6 (or 5), but it is {first!r}. Add it at the top."
        reports.add(_at(1), "version", message)
        return
    for line in _version_lines(parsed)[1:]:
        reports.add(_at(line), "version", "The version may be stated once only. Remove this line.")


def _faults(parsed: ParsedScript, reports: Reports) -> None:
    for fault in parsed.errors:
        node = Node(fault.line, fault.column, fault.end_line, fault.end_column)
        reports.add(node, fault.rule, fault.message)


def _without_aftermath(found: Sequence[Diagnostic], parsed: ParsedScript) -> list[Diagnostic]:
    """Leave out what follows from a statement that could not be read: names it would have declared."""
    if not parsed.errors:
        return list(found)
    rules = {fault.rule for fault in parsed.errors}
    kept = {"undeclared", "unknown function", "strategy", "no output", "no effect", "local"}
    return [diagnostic for diagnostic in found if diagnostic.rule in rules or diagnostic.rule not in kept]


def _at(line: int) -> Node:
    return Script(line, 1, line, 1, ())
