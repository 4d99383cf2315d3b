"""What a strategy must keep: names, counts, conditions, distances, and that everything is used.

Knows the indicator table and the condition language; each error names the strategy, the place and the remedy.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from aiopt.errors import SpecError, did_you_mean
from aiopt.indicators.bar_series import SOURCES
from aiopt.indicators.registry import IndicatorDef, indicator_def
from aiopt.strategy.conditions import (
    FUNCTIONS,
    MAX_HISTORY,
    SERIES,
    Call,
    Condition,
    History,
    Name,
    Node,
    Output,
    check_name,
    format_condition,
    parse_condition,
    walk,
)
from aiopt.strategy.spec_exits import EXIT_FIELDS, ExitChecks, exit_names
from aiopt.strategy.spec_limits import LIMIT_FIELDS, check_limits, limit_names
from aiopt.strategy.spec_origins import check_origins
from aiopt.strategy.spec_parts import TIME_OF_DAY, IndicatorSpec, PriceDistance, RiskSize
from aiopt.strategy.spec_pyramiding import check_pyramiding
from aiopt.strategy.spec_readings import check_readings, reading_names

if TYPE_CHECKING:
    from aiopt.strategy.spec import StrategySpec

MAX_PARAMS = 32
MAX_INDICATORS = 16


class _Proved(NamedTuple):
    """What is known of a shape of strategy whose structure keeps the rules.

    Attributes
    ----------
    texts : dict of str to str or None
        Canonical conditions by field.
    bars : tuple of (str, Call)
        Fields and calls whose number of bars is a parameter.
    """

    texts: dict[str, str | None]
    bars: tuple[tuple[str, Call], ...]


_PROVED: dict[Hashable, _Proved] = {}
_MOST_PROVED = 4096


class SpecRules:
    """The rules of one strategy, checked in an order in which each may rely on those before it.

    Strategies that differ in the values of their parameters have one *shape*.  What depends on the shape
    alone is checked once: a sweep makes a hundred thousand strategies of a few shapes.
    """

    def __init__(self, spec: StrategySpec) -> None:
        self.spec = spec

    def canonical_conditions(self, texts: Mapping[str, str | None]) -> dict[str, str | None]:
        """Check every rule and return the canonical conditions.

        Parameters
        ----------
        texts : mapping of str to str or None
            Conditions by their fields, as written.

        Raises
        ------
        SpecError
            Names the strategy, the place, the rule and the remedy.
        """
        shape = self._shape(texts)
        known = _PROVED.get(shape)
        if known is None:
            known = self._prove(texts)
            if len(_PROVED) >= _MOST_PROVED:
                _PROVED.clear()
            _PROVED[shape] = known
        else:
            self._check_values(known)
        return known.texts

    def _shape(self, texts: Mapping[str, str | None]) -> Hashable:
        """Return all but the values of the parameters."""
        spec = self.spec
        return (
            tuple(spec.params),
            tuple((name, i.kind, i.source, tuple(i.args.items())) for name, i in spec.indicators.items()),
            tuple(texts.values()),
            spec.stop_loss,
            spec.take_profit,
            isinstance(spec.size, RiskSize),
            *(getattr(spec, field) for field in (*EXIT_FIELDS, *LIMIT_FIELDS)),
            spec.pyramiding,
            spec.readings,
        )

    def _prove(self, texts: Mapping[str, str | None]) -> _Proved:
        """Check every rule."""
        self._check_counts()
        self._check_names()
        self._check_indicators()
        self._check_sides(texts)
        canonical: dict[str, str | None] = dict(texts)
        bars: list[tuple[str, Call]] = []
        trees = []
        for field, text in texts.items():
            if text is not None:
                tree = self._checked_condition(field, text)
                bars += [(field, node) for node in walk(tree) if _has_bars(node)]
                canonical[field] = format_condition(tree)
                trees.append(tree)
        self._check_exits()
        self._check_all_used(trees)
        return _Proved(canonical, tuple(bars))

    def _check_values(self, known: _Proved) -> None:
        """Check the rules that depend on values, of a shape that keeps the others."""
        for name, value in self.spec.params.items():
            self._check_param_value(name, value)
        for name, indicator in self.spec.indicators.items():
            self._check_args(indicator_def(indicator.kind), name, indicator)
        for field, call in known.bars:
            self._check_bars(field, call)
        self._check_exits()

    def _check_exits(self) -> None:
        """Check stop, target, further exits, entry limits and size."""
        spec = self.spec
        self._check_distance("stop_loss", spec.stop_loss)
        self._check_distance("take_profit", spec.take_profit)
        check_origins(spec, fail=self._fail)
        ExitChecks(spec, distance=self._check_distance, param=self._check_param, fail=self._fail).check()
        check_limits(spec, param=self._check_param, fail=self._fail)
        check_pyramiding(spec, fail=self._fail)
        check_readings(spec, param=self._check_param, fail=self._fail)
        if isinstance(spec.size, RiskSize) and spec.stop_loss is None:
            msg = (
                "size: risk is measured up to the stop_loss, and there is none. Add a stop_loss, "
                "or use kind fixed."
            )
            raise SpecError(msg)

    def _fail(self, where: str, message: str) -> SpecError:
        return SpecError(f"strategy {self.spec.name}: {where}: {message}")

    def _check_counts(self) -> None:
        for what, found, limit in (
            ("params", self.spec.params, MAX_PARAMS),
            ("indicators", self.spec.indicators, MAX_INDICATORS),
        ):
            if len(found) > limit:
                raise self._fail(what, f"there are {len(found)}, and {limit} are allowed. Remove some.")

    def _check_names(self) -> None:
        for name, value in self.spec.params.items():
            check_name(name, f"strategy {self.spec.name}: a parameter's name")
            self._check_param_value(name, value)
        for name in self.spec.indicators:
            check_name(name, f"strategy {self.spec.name}: an indicator's id")
            if name in self.spec.params:
                raise self._fail(f"indicator {name}", "a parameter has the same name. Rename one of the two.")

    def _check_param_value(self, name: str, value: int | float) -> None:
        if not math.isfinite(value) or abs(value) > 2**53:
            raise self._fail(f"parameter {name}", f"the value must be finite, but got {value}. Correct it.")

    def _check_indicators(self) -> None:
        for name, indicator in self.spec.indicators.items():
            where = f"indicator {name}"
            try:
                kind = indicator_def(indicator.kind)
            except SpecError as failure:
                raise self._fail(where, str(failure)) from failure
            check_source(kind, indicator.source, where=f"strategy {self.spec.name}: {where}")
            for arg, value in indicator.args.items():
                if isinstance(value, str) and not is_literal(kind, arg, value):
                    self._check_param(where, arg, value)
            self._check_args(kind, name, indicator)

    def _check_args(self, kind: IndicatorDef, name: str, indicator: IndicatorSpec) -> None:
        where = f"indicator {name}"
        try:
            args = self.spec.resolved(indicator.args, kind)
        except SpecError as failure:  # a text that is no length of time
            raise self._fail(where, str(failure)) from failure
        kind.check_args(args, where=f"strategy {self.spec.name}: {where}")

    def _check_param(self, where: str, key: str, name: str) -> None:
        if name not in self.spec.params:
            hint = did_you_mean(name, self.spec.params) if self.spec.params else " Add it to params."
            raise self._fail(where, f"{key} names the parameter {name!r}, which does not exist.{hint}")

    def _check_sides(self, texts: Mapping[str, str | None]) -> None:
        if texts["entry_long"] is None and texts["entry_short"] is None:
            raise self._fail("entry", "there is no entry. Add entry_long or entry_short.")
        for side in ("long", "short"):
            if texts[f"exit_{side}"] is not None and texts[f"entry_{side}"] is None:
                raise self._fail(
                    f"exit_{side}", f"there is no entry_{side} to leave. Add one or remove the exit."
                )

    def _checked_condition(self, field: str, text: str) -> Condition:
        try:
            tree = parse_condition(text)
        except SpecError as failure:
            raise self._fail(field, str(failure)) from failure
        for node in walk(tree):
            if isinstance(node, Name):
                self._check_condition_name(field, node.name)
            elif isinstance(node, Output):
                self._check_output(field, node)
            elif _has_bars(node):
                self._check_bars(field, node)
            elif (
                isinstance(node, History)
                and isinstance(node.operand, Name)
                and node.operand.name in self.spec.params
            ):
                raise self._fail(
                    field, f"the parameter {node.operand.name!r} has no history. Remove the [n]."
                )
        return tree

    def _check_condition_name(self, field: str, name: str) -> None:
        if name in self.spec.params:
            return
        if name not in self.spec.indicators:
            hint = did_you_mean(name, [*self.spec.params, *self.spec.indicators, *SERIES])
            raise self._fail(field, f"unknown name {name!r}.{hint}")
        outputs = self.spec.definition(name).outputs
        if len(outputs) > 1:
            options = ", ".join(f"{name}.{output}" for output in outputs)
            raise self._fail(field, f"the indicator {name!r} has several outputs. Choose one of {options}.")

    def _check_output(self, field: str, node: Output) -> None:
        if node.indicator not in self.spec.indicators:
            hint = (
                did_you_mean(node.indicator, self.spec.indicators)
                if self.spec.indicators
                else " There is none."
            )
            raise self._fail(
                field, f"unknown indicator {node.indicator!r} in {format_condition(node)}.{hint}"
            )
        outputs = self.spec.definition(node.indicator).outputs
        if len(outputs) == 1:
            raise self._fail(
                field, f"the indicator {node.indicator!r} has one output. Write {node.indicator}."
            )
        if node.output not in outputs:
            hint = did_you_mean(node.output, outputs)
            raise self._fail(field, f"{node.indicator!r} has no output {node.output!r}.{hint}")

    def _check_bars(self, field: str, node: Call) -> None:
        last = node.arguments[-1]
        if not isinstance(last, Name):
            return  # the parser has checked literals
        value = self.spec.params.get(last.name)
        if not isinstance(value, int) or not 1 <= value <= MAX_HISTORY:
            found = "is no parameter" if value is None else f"is {value}"
            raise self._fail(
                field,
                f"{node.function} needs a whole number of bars from 1 to {MAX_HISTORY}, "
                f"but {last.name!r} {found}. Use a whole-number parameter.",
            )

    def _check_distance(self, field: str, distance: PriceDistance | None) -> None:
        if distance is None:
            return
        if isinstance(distance.value, str):
            self._check_param(field, "value", distance.value)
        value = self.spec.value_of(distance.value)
        if not 0 < value <= 1e6:
            raise self._fail(field, f"`0 < value <= 1e6` must hold, but got {value}. Choose a positive one.")
        if distance.unit != "atr":
            if distance.indicator is not None:
                raise self._fail(field, f"unit {distance.unit} needs no indicator. Remove it.")
            if distance.unit == "percent" and not value < 100:
                text = f"`value < 100` must hold of per cent, but got {value}. Choose e.g. 0.5."
                raise self._fail(field, text)
            return
        kinds = {name for name, indicator in self.spec.indicators.items() if indicator.kind == "atr"}
        if distance.indicator not in kinds:
            known = f"one of {', '.join(sorted(kinds))}" if kinds else "an indicator of kind atr"
            raise self._fail(
                field, f"unit atr must name an ATR indicator, but got {distance.indicator!r}. Use {known}."
            )

    def _check_all_used(self, trees: Sequence[Condition]) -> None:
        names = names_used(self.spec, trees)
        self._check_used("indicator", self.spec.indicators, names)
        self._check_used("parameter", self.spec.params, names | set(reading_names(self.spec)))

    def _check_used(self, what: str, defined: Iterable[str], used: set[str]) -> None:
        idle = sorted(set(defined) - used)
        if idle:
            raise self._fail(what, f"{', '.join(idle)} is never used. Remove it.")


def names_used(spec: StrategySpec, trees: Iterable[Condition]) -> set[str]:
    """Return the parameters and indicators a strategy names outside its readings; other names too."""
    names: set[str] = set()
    for tree in trees:
        for node in walk(tree):
            if isinstance(node, Name):
                names.add(node.name)
            elif isinstance(node, Output):
                names.add(node.indicator)
    for distance in (spec.stop_loss, spec.take_profit):
        if distance is not None:
            names.update(value for value in (distance.value, distance.indicator) if isinstance(value, str))
    names.update(exit_names(spec))
    names.update(limit_names(spec))
    for indicator in spec.indicators.values():
        kind = indicator_def(indicator.kind)
        texts = {arg: value for arg, value in indicator.args.items() if isinstance(value, str)}
        names.update(value for arg, value in texts.items() if not is_literal(kind, arg, value))
    return names


def is_literal(kind: IndicatorDef, arg: str, text: str) -> bool:
    """Return whether the text of an argument is a value (a time, a time zone) and names no parameter."""
    definition = kind.args.get(arg)
    if definition is None:
        return False
    if definition.span and text[:1].isdigit():
        return True
    return definition.type is str or (definition.clock and TIME_OF_DAY.match(text) is not None)


def _has_bars(node: Node) -> TypeGuard[Call]:
    return isinstance(node, Call) and FUNCTIONS[node.function].bars


def check_source(kind: IndicatorDef, source: str, *, where: str) -> None:
    """Raise unless an indicator kind can read the series `source`.

    Raises
    ------
    SpecError
        If `source` is no series, or the kind reads high, low and close and cannot be given one.
    """
    if source not in SOURCES:
        hint = did_you_mean(source, SOURCES)
        msg = f"{where}: source must be a price series or volume, but got {source!r}.{hint}"
        raise SpecError(msg)
    if "source" not in kind.inputs and source != "close":
        msg = f"{where}: {kind.kind} reads {', '.join(kind.inputs)}, not {source!r}. Remove source."
        raise SpecError(msg)
