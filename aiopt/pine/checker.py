"""Check a generated Pine script without running it: syntax by pynescript, meaning by the closed table.

Owns the rules a script of ours has to keep: every name known and declared once, every call with the right
arguments, types and qualifiers, `ta.*` only where it runs on every bar, order ids that belong together,
unique plot and input titles.  Knows nothing of strategies or indicators.

pynescript alone accepts nearly every broken script, and no Pine engine that runs offline checks types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from aiopt.errors import PineError, did_you_mean
from aiopt.pine.builtins import FUNCTIONS, KEYWORDS, NAMESPACES, VARIABLES, PineType, Qualifier
from aiopt.pine.call_rules import CallRules
from aiopt.pine.expression_types import Scope
from aiopt.pine.findings import Broken, Finding
from aiopt.pine.syntax import check_version_line, converts, dotted, parse

MAX_PLOTS = 64
"""Plots per script on TradingView."""


_STRUCTURES = frozenset({"ForTo", "ForIn", "While", "Switch"})


def check_script(text: str) -> list[Finding]:
    """Return every rule that a script breaks, in the order of lines; empty if it keeps them all.

    Parameters
    ----------
    text : str
        The whole script.
    """
    found = check_version_line(text)
    tree = parse(text)
    if isinstance(tree, Finding):
        return sorted([*found, tree])
    checker = _Checker(found)
    checker.script(tree)
    return sorted(set(checker.findings))


def require_valid(text: str, *, name: str) -> None:
    """Raise if a script breaks a rule.

    Raises
    ------
    PineError
        Names the script, and for every broken rule the line and the remedy.
    """
    findings = check_script(text)
    if findings:
        details = "\n".join(f"  {finding}" for finding in findings)
        raise PineError(f"{name}: the script breaks {len(findings)} rule(s) of the checker:\n{details}")


class _Checker(CallRules):
    """Walk one syntax tree.  Statements record findings; expressions return a type or raise `Broken`."""

    def script(self, tree: Any) -> None:
        """Check the statements in order, then what concerns the script as a whole."""
        if not tree.body:
            self.findings.append(Finding(1, "strategy", "A script must call strategy(...), but it is empty."))
            return
        first = tree.body[0]
        value: Any = getattr(first, "value", None)
        if type(value).__name__ != "Call" or dotted(value.func) != "strategy":
            self.note(first, "strategy", "The first statement must be strategy(...). Move it to the top.")
        self._block(tree.body)
        self._check_order_ids()
        self._check_unique()
        if self._plots > MAX_PLOTS:
            message = f"A script may plot {MAX_PLOTS} series, but it plots {self._plots}. Remove some."
            self.findings.append(Finding(1, "plots", message))

    def _block(self, statements: Sequence[Any]) -> None:
        handlers: dict[str, Callable[[Any], None]] = {
            "Assign": self._assign,
            "ReAssign": self._reassign,
            "Expr": self._expression_statement,
        }
        for statement in statements:
            handler = handlers.get(type(statement).__name__)
            if handler is None:
                kind = type(statement).__name__
                self.note(
                    statement, "construct", f"{kind} is not among the constructs of a generated script."
                )
                continue
            try:
                handler(statement)
            except Broken:
                # The finding is recorded; the next statement is checked all the same.
                continue

    def _expression_statement(self, statement: Any) -> None:
        value = statement.value
        kind = type(value).__name__
        if kind == "If":
            self._if(value)
            return
        if kind in _STRUCTURES:
            self.note(statement, "construct", f"{kind} is not among the constructs of a generated script.")
            return
        if kind != "Call":
            self.note(
                statement,
                "no effect",
                "An expression by itself has no effect. Assign it, or did you mean `:=`?",
            )
            return
        types = self._call(value)
        if types[0].base != "void":
            self.note(statement, "no effect", "The result of the call is not used. Assign it to a variable.")

    def _if(self, node: Any) -> None:
        with suppress(Broken):  # recorded; the branches are checked all the same
            self._require(node.test, "bool", "The condition of `if`")
        for branch in (node.body, node.orelse):
            self._scopes.append(Scope())
            self._block(branch)
            self._scopes.pop()

    def _assign(self, statement: Any) -> None:
        if type(statement.target).__name__ == "Tuple":
            self._assign_tuple(statement)
            return
        name = statement.target.id
        declared = self._declared_type(statement)
        if statement.value is None:
            raise self.fail(statement, "assignment", f"{name!r} must get a value. Write `{name} = ...`.")
        try:
            type_ = self._value_of_statement(statement)
        except Broken:
            # Later uses of the name must not be reported as unknown, too.
            self._declare(statement, name, PineType(declared or "float"))
            raise
        if declared is None and type_.base == "na":
            message = f"{name!r} must have a type to start as na. Write `float {name} = na`."
            self.note(statement, "type", message)
            type_ = PineType("float", type_.qualifier)
        if declared is not None:
            self._require_assignable(statement, name, type_, declared)
        self._declare(
            statement, name, PineType(declared or type_.base, self._declared_qualifier(statement, type_))
        )
        value = statement.value
        if type(value).__name__ == "Call" and (dotted(value.func) or "").startswith("input."):
            self._scopes[-1].fixed.add(name)

    def _value_of_statement(self, statement: Any) -> PineType:
        self._whole_value = statement.value if self._global else None
        return self._single(statement.value)

    def _assign_tuple(self, statement: Any) -> None:
        names = [element.id for element in statement.target.elts]
        if type(statement.value).__name__ != "Call":
            raise self.fail(statement, "tuple", "A tuple must be filled by a call that returns one.")
        self._whole_value = statement.value if self._global else None
        try:
            types = self._call(statement.value)
        except Broken:
            types = (PineType("float"),) * len(names)
        if len(types) != len(names):
            function = dotted(statement.value.func)
            message = f"{function}() returns {len(types)} values, but {len(names)} names take them."
            self.note(statement, "tuple", message)
            types = (PineType("float"),) * len(names)
        for name, type_ in zip(names, types, strict=True):
            self._declare(statement, name, type_)
            self._scopes[-1].fixed.add(name)

    def _declared_type(self, statement: Any) -> str | None:
        if statement.type is None:
            return None
        name = dotted(statement.type)
        if name not in {"int", "float", "bool", "string", "color"}:
            raise self.fail(
                statement, "type", f"The type must be int, float, bool, string or color, but is {name!r}."
            )
        return name

    def _declared_qualifier(self, statement: Any, type_: PineType) -> Qualifier:
        # `var` and anything reassigned later is a series; a plain declaration keeps its value's qualifier.
        return "series" if statement.mode is not None else type_.qualifier

    def _require_assignable(self, node: Any, name: str, given: PineType, wanted: str) -> None:
        if given.base == "na" and wanted == "bool":
            self.note(node, "type", f"{name!r}: a bool cannot be na in Pine v6. Start it as false.")
        elif not converts(given.base, wanted):
            message = f"{name!r} is declared as {wanted}, but its value is {given.base}. Change one of them."
            self.note(node, "type", message)

    def _declare(self, node: Any, name: str, type_: PineType) -> None:
        if name in KEYWORDS:
            self.note(node, "name", f"{name!r} is a word of the language. Rename the variable.")
        elif name in VARIABLES or name in FUNCTIONS or name in NAMESPACES:
            self.note(node, "name", f"{name!r} is a built-in and would be hidden. Rename the variable.")
        if any(name in scope.names for scope in self._scopes):
            self.note(
                node, "duplicate", f"{name!r} is declared already. Use `:=` to change it, or another name."
            )
        self._scopes[-1].names[name] = type_

    def _reassign(self, statement: Any) -> None:
        name = dotted(statement.target)
        scope = next((scope for scope in reversed(self._scopes) if name in scope.names), None)
        if name is None or scope is None:
            known = [known for scope in self._scopes for known in scope.names]
            hint = did_you_mean(str(name), known)
            raise self.fail(statement, "undeclared", f"{name!r} must be declared before `:=`.{hint}")
        if name in scope.fixed:
            self.note(statement, "assignment", f"{name!r} is an input or part of a tuple and cannot change.")
        given = self._single(statement.value)
        self._require_assignable(statement, name, given, scope.names[name].base)
        scope.names[name] = PineType(scope.names[name].base, "series")

    def _check_unique(self) -> None:
        for what in ("plot title", "input title", "exit"):
            seen: set[str] = set()
            for text, line in self._strings.get(what, []):
                label = "strategy.exit id" if what == "exit" else what
                if text in seen:
                    self.findings.append(
                        Finding(line, "unique", f"The {label} {text!r} is used twice. Rename one.")
                    )
                if not text:
                    self.findings.append(Finding(line, "unique", f"The {label} must not be empty."))
                seen.add(text)

    def _check_order_ids(self) -> None:
        entries = {text for text, _ in self._strings.get("entry", [])}
        exits = {text for text, _ in self._strings.get("exit", [])}
        for what, known in (("exit from", entries), ("close", entries), ("cancel", entries | exits)):
            for text, line in self._strings.get(what, []):
                if text not in known:
                    hint = did_you_mean(text, known)
                    message = f"No order has the id {text!r}, so this call would do nothing.{hint}"
                    self.findings.append(Finding(line, "order id", message))
        if not entries:
            self.findings.append(Finding(1, "order id", "A strategy must call strategy.entry() somewhere."))
