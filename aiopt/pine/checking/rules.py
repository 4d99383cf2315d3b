"""The rules of the checker: their names, what each says, how heavy it is.

Owns the list that `docs/reference/pine-checks.md` and SARIF show.  Knows no script.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes
    ----------
    name : str
        Short and stable, for filters and tests.
    severity : str
        The heaviest that the rule reports with scripts of others.
    says : str
        What must hold, in one sentence.
    generated_only : bool
        Only scripts that aiopt writes are held to it.
    """

    name: str
    severity: Severity
    says: str
    generated_only: bool = False


_RULES = (
    Rule("syntax", "error", "The text is Pine Script; the parser's own rules are reported by their names."),
    Rule("version", "error", "A line `//@version=5` or `//@version=6` says how the script is read."),
    Rule("strategy", "error", "Exactly one of indicator(), strategy() and library() is called, in no block."),
    Rule("old name", "error", "Names of Pine 1 to 4, and arguments that are gone, have successors."),
    Rule("undeclared", "error", "A name is declared before it is used, or built in."),
    Rule("unknown function", "error", "A function that is called exists."),
    Rule("unknown", "note", "The table of built-ins knows every name; a name that it lacks may be newer."),
    Rule("call", "error", "A function is called, a variable is not."),
    Rule("duplicate", "error", "A name is declared once in its block."),
    Rule("name", "error", "A name is no word of the language."),
    Rule("hidden name", "warning", "A name hides no built-in and no name of an outer block."),
    Rule("assignment", "error", "Only variables change, and a function changes no global variable."),
    Rule("type", "error", "A value has the type that its place asks for."),
    Rule("qualifier", "error", "A value is known as early as its place asks: const, input, simple, series."),
    Rule(
        "arguments", "error", "A call has the arguments that the function takes, each once, named ones last."
    ),
    Rule("tuple", "error", "As many names take a tuple as it has values, and a tuple is no single value."),
    Rule("history", "error", "`[]` follows what has a history, and looks back, not ahead."),
    Rule("comparison", "error", "Nothing is compared with na, and comparisons are not chained."),
    Rule(
        "bool", "error", "A bool of version 6 is true or false: no number stands for it, and it is never na."
    ),
    Rule("local", "error", "plot() and what else draws for every bar stands in no block."),
    Rule("declaration", "error", "Functions, types, enums and imports are declared in no block."),
    Rule("export", "error", "Only a library exports, and every parameter it exports has a type."),
    Rule("loop", "error", "`break` and `continue` stand in a loop, and a loop can end."),
    Rule("range", "error", "A number is in the range that its argument takes."),
    Rule("plots", "error", "A script draws at most 64 plots."),
    Rule("requests", "warning", "A script asks for other symbols or timeframes at most 40 times."),
    Rule("size", "warning", "A script keeps within the size that TradingView compiles."),
    Rule("division", "warning", "No divisor is the literal zero."),
    Rule("no effect", "warning", "A statement does something."),
    Rule("no output", "warning", "An indicator draws, alerts or logs something."),
    Rule("every bar", "warning", "A function that keeps values between bars runs on every bar."),
    Rule("lookahead", "warning", "`lookahead_on` without `[1]` takes values of the future on past bars."),
    Rule("developing bar", "warning", "request.security() of the last bar changes until that bar closes."),
    Rule("realtime", "warning", "What differs between past and live bars makes the past a poor guide."),
    Rule("order", "error", "An order stands under a condition.", generated_only=True),
    Rule("order id", "error", "Orders that belong together have the same id.", generated_only=True),
    Rule(
        "unique", "error", "Titles of plots and inputs, and ids of exits, are not empty and used once.", True
    ),
    Rule("construct", "error", "The script has only what the emitter writes.", generated_only=True),
)

RULES: dict[str, Rule] = {rule.name: rule for rule in _RULES}
"""Name → rule, in the order in which the reference shows them."""


def reference() -> str:
    """Return the rules as the Markdown table of `docs/reference/pine-checks.md`."""
    lines = ["| rule | severity | what must hold |", "|---|---|---|"]
    for rule in RULES.values():
        only = " *Only scripts that aiopt writes.*" if rule.generated_only else ""
        lines.append(f"| `{rule.name}` | {rule.severity} | {rule.says}{only} |")
    return "\n".join(lines) + "\n"
