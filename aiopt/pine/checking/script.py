"""Rules of a whole script: declaration, plots, ranges, state between bars, repainting.

Owns what a call means beyond its types, and what is counted over the script.  Rules of scripts that aiopt
writes are added by `aiopt.pine.checking.generated`.
"""

from __future__ import annotations

from aiopt.pine.checking.binding import Bound, Given
from aiopt.pine.checking.conversion import is_unknown
from aiopt.pine.checking.diagnostics import Reports
from aiopt.pine.checking.rules import Severity
from aiopt.pine.checking.scopes import bodies, dotted
from aiopt.pine.checking.statements import StatementTypes
from aiopt.pine.parsing.nodes import (
    Attribute,
    Binary,
    Call,
    Declaration,
    Expression,
    ExpressionStatement,
    FunctionDeclaration,
    History,
    Name,
    Node,
    Script,
    String,
)
from aiopt.pine.parsing.walk import walk
from aiopt.pine.reference.table import Builtins

MAX_PLOTS = 64
"""Plots per script on TradingView."""
MAX_REQUESTS = 40
"""Calls of request.*() per script on TradingView's usual plans."""
MAX_CHARACTERS = 300_000
"""A script of more characters has more than the 100,000 tokens that TradingView compiles."""
MAX_LENGTH = 5_000
"""Bars that the length of a moving window may have."""

DECLARATIONS = frozenset({"indicator", "strategy", "library"})
_PLOTS = frozenset(
    {"plot", "plotshape", "plotchar", "plotarrow", "plotbar", "plotcandle", "bgcolor", "barcolor"}
)
_PLOTS_COUNTED = {"plotbar": 4, "plotcandle": 4}
_OUTPUTS = _PLOTS | {
    "hline",
    "fill",
    "alert",
    "alertcondition",
    "label.new",
    "line.new",
    "box.new",
    "table.new",
}
_OUTPUTS |= {"polyline.new", "linefill.new", "log.info", "log.warning", "log.error"}
_ORDERS = frozenset(
    f"strategy.{name}" for name in ("entry", "exit", "order", "close", "close_all", "cancel", "cancel_all")
)
_PRICES = frozenset({"stop", "limit", "loss", "profit", "trail_price", "trail_points", "trail_offset"})
_LENGTHS = ("length", "fastlen", "slowlen", "siglen", "diLength", "adxSmoothing", "atrPeriod")
_COUNTS = ("max_lines_count", "max_labels_count", "max_boxes_count")
_NOT_NEGATIVE = ("pyramiding", "slippage", "commission_value", "margin_long", "margin_short")


class ScriptRules(StatementTypes):
    """The checker of one script."""

    def __init__(self, table: Builtins, reports: Reports, mutable: set[int], *, strict: bool) -> None:
        super().__init__(table, reports, mutable, strict=strict)
        self.kind: str | None = None
        self._declared: dict[int, Node] = {}
        self._plots: dict[int, int] = {}
        self._requests: set[int] = set()
        self._outputs = 0
        self._orders: list[Call] = []
        self._whole_value: Node | None = None
        self._results: set[int] = set()  # statements whose value is that of their block

    def script(self, tree: Script, text: str) -> None:
        """Check a whole script."""
        self.kind = self._find_kind(tree)
        self.collect(tree.statements)
        self.run(tree.statements)
        self._declaration_rules(tree)
        self._limits(tree, text)
        for node in walk(tree):
            self._results.update(id(body[-1]) for body in bodies(node) if body)
            self._realtime(node)
            if isinstance(node, ExpressionStatement):
                self.statement_effect(node)

    def _find_kind(self, tree: Script) -> str | None:
        for statement in tree.statements:
            value = getattr(statement, "value", None)
            if isinstance(value, Call) and dotted(value.function) in DECLARATIONS:
                for argument in value.arguments:
                    if argument.name == "dynamic_requests":
                        self.dynamic_requests = True
                return dotted(value.function)
        return None

    def top_level(self, node: Node) -> None:
        """Notice the expression that is the whole value of a global statement."""
        if self.is_global:
            self._whole_value = node

    # ------------------------------------------------------------------------------------------ whole script

    def _declaration_rules(self, tree: Script) -> None:
        if self._declared:
            if self.kind == "indicator" and not self._outputs and not self.imports:
                message = "The indicator draws nothing, alerts nothing and logs nothing."
                self.reports.add(tree, "no output", message, "warning", "Add a plot().")
            if self.kind == "library" and not any(
                getattr(part, "is_exported", False) for part in tree.statements
            ):
                message = "The library exports nothing."
                node = next(iter(self._declared.values()))
                self.reports.add(node, "export", message, fix="Write `export` before a function.")
            return
        message = "A script must call indicator(), strategy() or library() once."
        fix = 'Add e.g. indicator("My script") after the version.'
        self.reports.add(tree.statements[0] if tree.statements else tree, "strategy", message, fix=fix)

    def _limits(self, tree: Script, text: str) -> None:
        plots = sum(self._plots.values())
        if plots > MAX_PLOTS:
            message = f"A script may plot {MAX_PLOTS} series, but it plots {plots}. Remove some."
            self.reports.add(tree, "plots", message)
        if len(self._requests) > MAX_REQUESTS:
            message = (
                f"The script calls request.*() {len(self._requests)} times; the limit is {MAX_REQUESTS}."
            )
            self.reports.add(tree, "requests", message, "warning")
        if len(text) > MAX_CHARACTERS:
            message = f"The script has {len(text):,} characters, probably more than TradingView compiles."
            self.reports.add(tree, "size", message, "warning")

    def exports_allowed(self, node: Declaration | FunctionDeclaration) -> bool:
        """Report an export outside a library."""
        if self.kind == "library":
            return True
        self.reports.add(node, "export", "Only a library exports.", fix="Leave `export` out.")
        return False

    def statement_effect(self, node: ExpressionStatement) -> None:
        """Report a comparison that stands by itself: a slip for a change."""
        if isinstance(node.value, Binary) and node.value.operator == "==" and id(node) not in self._results:
            message = "The comparison by itself has no effect."
            self.reports.add(node, "no effect", message, "warning", "Did you mean `:=`?")

    # -------------------------------------------------------------------------------------------------- calls

    def must_run_every_bar(self, node: Call, name: str) -> None:
        """Report a call that keeps state and stands where it does not run on every bar."""
        if self.conditional and not self.strict:
            message = f"{name}() keeps values between bars, but does not run on every bar here."
            fix = "Give it a global variable of its own, before the condition."
            self.reports.add(node, "every bar", message, "warning", fix)

    def after_call(self, node: Call, name: str, bound: Bound) -> None:
        """Check what the table cannot say of a call."""
        given = bound.values
        function = self.table.function(name)
        if function is not None and function.global_only and name not in DECLARATIONS and not self.is_global:
            self.not_global(node, name)
        if name in DECLARATIONS:
            self._declare_script(node, name, given)
        elif name in _PLOTS:
            self._plots[id(node)] = 0 if name in {"bgcolor", "barcolor"} else _PLOTS_COUNTED.get(name, 1)
        if name in _OUTPUTS or name in _ORDERS:
            self._outputs += 1
        if name in _ORDERS and self.kind == "indicator":
            self.reports.add(node, "call", f"{name}() needs a strategy, but the script is an indicator.")
        if name == "strategy.exit" and not bound.problems and not _PRICES & set(given):
            message = "strategy.exit() needs a stop or a limit. Without one it does nothing."
            self.reports.add(node, "arguments", message)
        if name.startswith("request."):
            self._request(node, name, given)
        elif name.startswith("input"):
            self._input(node, given)
        elif name.startswith("ta."):
            self._lengths(node, name, given)

    def not_global(self, node: Call, name: str) -> None:
        """Report a call that must stand in no block."""
        message = f"{name}() must stand in no block and no function."
        self.reports.add(node, "local", message, fix="Call it outside, with na where nothing is to show.")

    def _declare_script(self, node: Call, name: str, given: dict[str, Given]) -> None:
        if set(self._declared) - {id(node)} or not self.is_global:
            message = f"{name}(...) must be called once, in no block."
            self.reports.add(node, "strategy", message)
        self._declared[id(node)] = node
        for key in _NOT_NEGATIVE:
            value = self.number(given.get(key))
            if value is not None and value < 0:
                self.reports.add(given[key].node, "range", f"{name}(): {key} must not be negative.")
        for key in ("initial_capital", "default_qty_value"):
            value = self.number(given.get(key))
            if value is not None and value <= 0:
                message = f"{name}(): {key} must be positive, but is {value:g}."
                self.reports.add(given[key].node, "range", message)
        for key in _COUNTS:
            value = self.number(given.get(key))
            if value is not None and not 1 <= value <= 500:
                message = f"{name}(): `1 <= {key} <= 500` must hold, but it is {value:g}."
                self.reports.add(given[key].node, "range", message)
        flag = given.get("calc_on_every_tick")
        if flag is not None and getattr(flag.value, "value", False) is True:
            message = (
                "With calc_on_every_tick the live script trades inside bars that the past has only closed."
            )
            self.reports.add(flag.node, "realtime", message, "warning")

    def _input(self, node: Call, given: dict[str, Given]) -> None:
        value, low, high, step = (
            self.number(given.get(key)) for key in ("defval", "minval", "maxval", "step")
        )
        if step is not None and step <= 0:
            self.reports.add(node, "range", f"The step of an input must be positive, but is {step:g}.")
        below = value is not None and low is not None and value < low
        above = value is not None and high is not None and value > high
        if below or above:
            message = f"`minval <= defval <= maxval` must hold, but got {low}, {value}, {high}."
            self.reports.add(node, "range", message)

    def _lengths(self, node: Call, name: str, given: dict[str, Given]) -> None:
        for key in _LENGTHS:
            argument = given.get(key)
            value = self.number(argument)
            if argument is not None and value is not None and not 1 <= value <= MAX_LENGTH:
                message = f"{name}(): `1 <= {key} <= {MAX_LENGTH}` must hold, but it is {value:g}."
                self.reports.add(argument.node, "range", message)

    def number(self, argument: Given | None) -> float | None:
        """Return the value of an argument that is a literal number."""
        return None if argument is None else self.constant(argument.value)

    # --------------------------------------------------------------------------------------------- repainting

    def _request(self, node: Call, name: str, given: dict[str, Given]) -> None:
        self._requests.add(id(node))
        if self.conditional and not self.dynamic_requests:
            message = f"{name}() must stand in no block in version 5."
            self.reports.add(node, "local", message, fix="Request first, then ask.")
        if name != "request.security":
            return
        expression = given.get("expression")
        lookahead = given.get("lookahead")
        is_on = lookahead is not None and dotted(lookahead.value) == "barmerge.lookahead_on"
        if expression is None or self._of_the_past(expression.value):
            return
        if is_on:
            message = "lookahead_on without `[1]` gives past bars values that were not known yet."
            self.reports.add(
                node, "lookahead", message, "warning", "Request the expression of one bar ago: x[1]."
            )
        elif lookahead is None or dotted(lookahead.value) == "barmerge.lookahead_off":
            self._developing(node, given)

    def _developing(self, node: Call, given: dict[str, Given]) -> None:
        timeframe = given.get("timeframe")
        if timeframe is None:
            return
        own = dotted(timeframe.value) == "timeframe.period"
        own |= isinstance(timeframe.value, String) and not timeframe.value.value
        if not own:
            message = "The value of an unfinished bar changes until it closes; past bars do not show it."
            fix = "Request x[1] with lookahead=barmerge.lookahead_on to see closed bars only."
            self.reports.add(node, "developing bar", message, "warning", fix)

    def _of_the_past(self, expression: Expression) -> bool:
        """Return whether an expression looks back at least one bar, as far as can be seen."""
        if any(isinstance(part, History) for part in walk(expression)):
            return True
        if isinstance(expression, Name | Attribute):
            return is_unknown(self.type_of(expression))
        return isinstance(expression, Call) and isinstance(expression.function, Name)

    def _realtime(self, node: Node) -> None:
        severity: Severity = "warning"
        if isinstance(node, Declaration) and node.mode == "varip":
            message = "A `varip` variable changes inside live bars only; past bars do not show it."
            self.reports.add(node, "realtime", message, severity)
        name = dotted(node) if isinstance(node, Attribute | Name) else None
        if name in {"barstate.isrealtime", "barstate.isnew", "timenow"} and self.lookup(name) is None:
            message = f"{name} tells live bars from past ones: the past then shows something else."
            self.reports.add(node, "realtime", message, severity)
