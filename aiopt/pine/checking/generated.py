"""Rules of the scripts that aiopt writes, on top of those of every script.

Owns what the emitter is held to: `ta.*` only where it is the whole value of a global variable, order ids that
belong together, unique titles, no construct that the emitter does not write.
"""

from __future__ import annotations

from aiopt.errors import did_you_mean
from aiopt.pine.checking.binding import Bound, Given
from aiopt.pine.checking.scopes import dotted
from aiopt.pine.checking.script import DECLARATIONS, ScriptRules
from aiopt.pine.parsing.nodes import (
    Binary,
    Call,
    EnumDeclaration,
    ExpressionStatement,
    For,
    ForIn,
    FunctionDeclaration,
    If,
    Import,
    Name,
    Node,
    Reassignment,
    Script,
    String,
    Switch,
    TypeDeclaration,
    While,
)
from aiopt.pine.parsing.unparse import unparse
from aiopt.pine.parsing.walk import walk

_SHORTENS = frozenset({"array.pop", "array.remove", "array.shift"})
"""Calls that change an array and return what they took out of it."""

_CONSTRUCTS: dict[type, str] = {
    For: "a loop",
    ForIn: "a loop",
    While: "a loop",
    Switch: "switch",
    FunctionDeclaration: "a function",
    TypeDeclaration: "a type",
    EnumDeclaration: "an enum",
    Import: "an import",
}
_POSITIONAL = {
    **dict.fromkeys(("strategy", "indicator", "strategy.close", "strategy.cancel"), 1),
    **dict.fromkeys(("strategy.entry", "strategy.exit", "strategy.order", "plot"), 2),
    **dict.fromkeys((f"input.{kind}" for kind in ("int", "float", "bool", "string", "source")), 2),
}
_NEEDED = {
    "plot": ("title",),
    "strategy.exit": ("from_entry",),
    **dict.fromkeys((f"input.{kind}" for kind in ("int", "float", "bool", "string", "source")), ("title",)),
}


def _counts_up(node: Node) -> bool:
    """Return whether a loop counts up to what it does not change, so that it ends."""
    if not isinstance(node, While) or not isinstance(node.test, Binary) or not node.body:
        return False
    test, last = node.test, node.body[-1]
    if not isinstance(test.left, Name) or test.operator != "<" or not isinstance(last, Reassignment):
        return False
    name, limit = test.left.name, dotted(test.right)
    changed = {dotted(one.target) for one in walk(node) if isinstance(one, Reassignment) and one is not last}
    is_fixed = limit == "strategy.closedtrades" or (isinstance(test.right, Name) and limit not in changed)
    return is_fixed and name not in changed and unparse(last) == f"{name} := {name} + 1\n"


class GeneratedRules(ScriptRules):
    """The checker of a script of ours; every doubt is an error."""

    _strings: dict[str, list[tuple[str, Node]]]

    def script(self, tree: Script, text: str) -> None:
        """Check a whole script."""
        self._strings = {}
        first = tree.statements[0] if tree.statements else None
        value = getattr(first, "value", None)
        if first is None:
            self.reports.add(tree, "strategy", "A script must call strategy(...), but it is empty.")
            return
        if not isinstance(value, Call) or dotted(value.function) not in DECLARATIONS - {"library"}:
            message = "The first statement must be strategy(...). Move it to the top."
            self.reports.add(first, "strategy", message)
        for node in walk(tree):
            if type(node) in _CONSTRUCTS and not _counts_up(node):
                what = _CONSTRUCTS[type(node)]
                message = f"{what.capitalize()} is not among the constructs of a generated script."
                self.reports.add(node, "construct", message)
        super().script(tree, text)
        self._unique()
        if self.kind == "strategy":
            self._order_ids(tree)

    def statement_effect(self, node: ExpressionStatement) -> None:
        """Report a statement that does nothing."""
        value = node.value
        if isinstance(value, If | Switch | For | ForIn | While):
            return
        if not isinstance(value, Call):
            message = "An expression by itself has no effect. Assign it, or did you mean `:=`?"
            self.reports.add(node, "no effect", message)
            return
        name = dotted(value.function) or ""
        function = self.table.function(name)
        if (
            function is not None
            and name not in _SHORTENS
            and all(
                signature.returns.base not in {"void", "plot", "hline"} for signature in function.signatures
            )
        ):
            message = "The result of the call is not used. Assign it to a variable."
            self.reports.add(node, "no effect", message)

    def must_run_every_bar(self, node: Call, name: str) -> None:
        """Report a call that keeps state and is not the whole value of a global variable."""
        if node is not self._whole_value:
            message = (
                f"{name}() keeps state and must run on every bar. "
                "Give it a global variable of its own, outside `if`, `and`, `or` and `?`."
            )
            self.reports.add(node, "every bar", message)

    def not_global(self, node: Call, name: str) -> None:
        """Report a call that must stand in no block."""
        message = f"{name}() must stand outside `if`. Plot na where nothing is to show."
        self.reports.add(node, "every bar", message)

    def after_call(self, node: Call, name: str, bound: Bound) -> None:
        """Check what the table cannot say of a call."""
        super().after_call(node, name, bound)
        given = bound.values
        positional = sum(argument.name is None for argument in given.values())
        if positional > _POSITIONAL.get(name, positional):
            message = f"{name}() takes {_POSITIONAL[name]} arguments by position here. Name the others."
            self.reports.add(node, "arguments", message)
        for key in _NEEDED.get(name, ()):
            if key not in given and not bound.problems:
                message = f"{name}() needs {key}. Add the missing argument."
                self.reports.add(node, "arguments", message)
        if name in DECLARATIONS:
            title = given.get("title")
            if title is not None and isinstance(title.value, String) and not title.value.value:
                self.reports.add(node, "strategy", "The title must not be empty.")
        elif name.startswith("input."):
            self._remember("input title", given.get("title"))
            if not self.is_global:
                self.reports.add(node, "every bar", "An input must stand outside `if`.")
        elif name == "plot":
            self._remember("plot title", given.get("title"))
        elif name in {f"strategy.{kind}" for kind in ("entry", "exit", "order", "close", "cancel")}:
            self._order(node, name, given)

    def _order(self, node: Call, name: str, given: dict[str, Given]) -> None:
        kind = name.removeprefix("strategy.")
        self._remember(kind, given.get("id"))
        if kind == "exit":
            self._remember("exit from", given.get("from_entry"))
            if not self.is_global:
                message = (
                    "strategy.exit() must be called on every bar, outside `if`, with prices that start as na."
                )
                self.reports.add(node, "every bar", message)
        elif self.is_global:
            message = f"{name}() must stand under a condition, or it would act on every bar."
            self.reports.add(node, "order", message)
        quantity = self.number(given.get("qty"))
        if quantity is not None and quantity <= 0:
            self.reports.add(node, "range", f"{name}(): qty must be positive, but is {quantity:g}.")

    def _remember(self, what: str, argument: Given | None) -> None:
        if argument is not None and isinstance(argument.value, String):
            self._strings.setdefault(what, []).append((argument.value.value, argument.node))

    def _unique(self) -> None:
        for what in ("plot title", "input title", "exit"):
            seen: set[str] = set()
            label = "strategy.exit id" if what == "exit" else what
            for text, node in self._strings.get(what, []):
                if text in seen:
                    self.reports.add(node, "unique", f"The {label} {text!r} is used twice. Rename one.")
                if not text:
                    self.reports.add(node, "unique", f"The {label} must not be empty.")
                seen.add(text)

    def _order_ids(self, tree: Script) -> None:
        entries = {text for kind in ("entry", "order") for text, _ in self._strings.get(kind, [])}
        exits = {text for text, _ in self._strings.get("exit", [])}
        for what, known in (("exit from", entries), ("close", entries), ("cancel", entries | exits)):
            for text, node in self._strings.get(what, []):
                if text not in known:
                    hint = did_you_mean(text, known)
                    message = f"No order has the id {text!r}, so this call would do nothing.{hint}"
                    self.reports.add(node, "order id", message)
        if not entries:
            self.reports.add(tree, "order id", "A strategy must call strategy.entry() somewhere.")
