"""What a proposed strategy must keep to, and how a family is bent to it.  Owns the rules; asks no model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from aiopt.config import decode
from aiopt.errors import AioptError, AnalysisRequestError, did_you_mean
from aiopt.strategy.conditions import Name, parse_condition, walk
from aiopt.strategy.dimensions import Choice, Dimension, IntRange, is_named
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.space import SearchSpace
from aiopt.strategy.spec import PriceDistance, SessionFilter, StrategySpec, spec_from_mapping
from aiopt.strategy.spec_exits import exit_names
from aiopt.strategy.spec_limits import limit_names
from aiopt.strategy.spec_yaml import plain_mapping
from aiopt.timeframe import parse_timeframe

Number = int | float
Sides = Literal["both", "long", "short"]


class StrategyConstraints(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of a proposal.

    Attributes
    ----------
    families : tuple of str
        Ready families that may be used, in any order.
    timeframe : str
        Bar length the strategy is meant for; of the analysis where empty.
    sides : {"both", "long", "short"}
        Directions that may be traded.
    max_stop_atr : float or None
        Widest stop in ATRs; a family with its stop in pips is not judged by it.
    max_stop_pips : float or None
        Widest stop in pips; a family with its stop in ATRs is not judged by it.
    session : SessionFilter or None
        Replaces the family's hours.
    min_confidence : float
        A reading below it gives a refusal.
    note : str
        Free text for the model; treated as data.

    Raises
    ------
    AnalysisRequestError
        If a value breaks a rule.
    """

    families: tuple[str, ...] = tuple(FAMILIES)
    timeframe: str = ""
    sides: Sides = "both"
    max_stop_atr: float | None = None
    max_stop_pips: float | None = None
    session: SessionFilter | None = None
    min_confidence: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        for name in self.families:
            if name not in FAMILIES:
                hint = did_you_mean(name, FAMILIES)
                raise AnalysisRequestError(f"`families` must be ready ones, but got {name!r}.{hint}")
        if not self.families:
            raise AnalysisRequestError(
                "`families` must name at least one, but is empty. Leave it out for all."
            )
        for name in ("max_stop_atr", "max_stop_pips"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise AnalysisRequestError(f"`{name} > 0` must hold, but got {value}. Leave it out for none.")
        if not 0 <= self.min_confidence <= 1:
            msg = f"`0 <= min_confidence <= 1` must hold, but got {self.min_confidence}."
            raise AnalysisRequestError(msg)
        if self.timeframe:
            try:
                parse_timeframe(self.timeframe)
            except AioptError as failure:
                raise AnalysisRequestError(f"`timeframe`: {failure}") from failure
        if len(self.note) > 2000:
            raise AnalysisRequestError(f"`note` may have 2000 characters, but has {len(self.note)}.")


def constraints_from_mapping(data: object, *, where: str = "constraints") -> StrategyConstraints:
    """Return the constraints that plain data describes.

    Raises
    ------
    AnalysisRequestError
        Names the key and the rule.
    """
    try:
        return decode(data, StrategyConstraints, where=where, error=AnalysisRequestError)
    except AioptError as failure:
        raise AnalysisRequestError(str(failure)) from failure


class Unfit(AnalysisRequestError):
    """A family cannot be bent to the constraints; the text names the rule."""


def fitted(
    family: str, constraints: StrategyConstraints, *, sides: Sides | None = None, name: str | None = None
) -> SearchSpace:
    """Return a family's search space under the constraints.

    Parameters
    ----------
    family : str
        A ready family.
    constraints : StrategyConstraints
        What to keep to.
    sides : {"both", "long", "short"}, optional
        Narrower than `StrategyConstraints.sides`.
    name : str, optional
        Name and family of the result.

    Raises
    ------
    Unfit
        Naming the rule that cannot be kept.
    """
    space = FAMILIES[family]
    sides = sides or constraints.sides
    data: dict[str, Any] = plain_mapping(space.spec)
    data["name"] = data["family"] = name or family
    if constraints.session is not None:
        data["session"] = msgspec.to_builtins(constraints.session)
    if sides != "both":
        other = "short" if sides == "long" else "long"
        data.pop(f"exit_{other}", None)
        if data.pop(f"entry_{other}", None) is not None and data.get(f"entry_{sides}") is None:
            raise Unfit(f"sides: {family} has no {sides} side")
    used = _used_params(space.spec, sides)
    data["params"] = {key: value for key, value in data["params"].items() if key in used}
    dimensions = {key: value for key, value in space.dimensions.items() if key in used}
    rules = tuple(rule for rule in space.constraints if _names(rule) <= used)
    stop = _stop_parameter(space.spec)
    limit = None if stop is None else getattr(constraints, f"max_stop_{stop[0]}", None)
    if stop is not None and limit is not None:
        narrowed = at_most(dimensions[stop[1]], limit)
        if narrowed is None:
            least = bounds(dimensions[stop[1]])[0]
            raise Unfit(
                f"max_stop_{stop[0]}: the narrowest stop of {family} is {least:g}, wider than {limit:g}"
            )
        dimensions[stop[1]] = narrowed
        # The default of the family may be wider than what is left.
        low, high = bounds(narrowed)
        data["params"][stop[1]] = type(space.spec.params[stop[1]])(
            min(max(data["params"][stop[1]], low), high)
        )
    return SearchSpace(spec_from_mapping(data, where=data["name"]), dimensions, rules)


def narrowed_space(space: SearchSpace, ranges: Mapping[str, tuple[Number, Number]]) -> SearchSpace:
    """Return a space whose dimensions lie within `ranges`, on the steps of the space.

    Raises
    ------
    Unfit
        If a name is no dimension or a range holds no value of it.
    """
    dimensions = dict(space.dimensions)
    for name, (low, high) in ranges.items():
        if name not in measured(space):
            hint = did_you_mean(name, measured(space))
            raise Unfit(f"ranges: {space.family} has no dimension {name!r}.{hint}")
        dimension = within(dimensions[name], low, high)
        if dimension is None:
            limits = bounds(space.dimensions[name])
            raise Unfit(
                f"ranges: {name} from {low:g} to {high:g} holds no value of {limits[0]:g} to {limits[1]:g}"
            )
        dimensions[name] = dimension
    return SearchSpace(space.spec, dimensions, space.constraints)


def measured(space: SearchSpace) -> dict[str, Dimension]:
    """Return the dimensions of a space whose values are numbers: the only ones that have ranges."""
    return {name: one for name, one in space.dimensions.items() if not is_named(one)}


def bounds(dimension: Dimension) -> tuple[Number, Number]:
    """Return the smallest and the largest value of a dimension of numbers."""
    if isinstance(dimension, Choice):
        numbers = [value for value in dimension.values if not isinstance(value, str)]
        return min(numbers), max(numbers)
    if dimension.count is None:
        return dimension.low, dimension.high
    return dimension.low, dimension.at(dimension.count - 1)


def at_most(dimension: Dimension, limit: Number) -> Dimension | None:
    """Return the part of a dimension up to `limit`; None if there is none."""
    return within(dimension, bounds(dimension)[0], limit)


def within(dimension: Dimension, low: Number, high: Number) -> Dimension | None:
    """Return the part of a dimension from `low` to `high`, on its own steps; None if there is none."""
    if isinstance(dimension, Choice):
        chosen = tuple(v for v in dimension.values if not isinstance(v, str) and low <= v <= high)
        return msgspec.structs.replace(dimension, values=chosen) if chosen else None
    if dimension.count is None:
        bottom, top = max(float(low), dimension.low), min(float(high), dimension.high)
        return msgspec.structs.replace(dimension, low=bottom, high=top) if bottom <= top else None
    # 1e-9: 0.1 + 0.2 is meant to be the step 0.3
    values = [dimension.at(i) for i in range(dimension.count)]
    kept = tuple(value for value in values if low - 1e-9 <= value <= high + 1e-9)
    if not kept:
        return None
    if isinstance(dimension, IntRange):
        return msgspec.structs.replace(dimension, low=int(kept[0]), high=int(kept[-1]))
    return msgspec.structs.replace(dimension, low=kept[0], high=kept[-1])


def snapped(dimension: Dimension, value: Number) -> Number | None:
    """Return the dimension's value nearest to `value`; None if `value` lies outside."""
    low, high = bounds(dimension)
    if not (math.isfinite(value) and low <= value <= high):
        return None
    if dimension.count is None:
        return float(value)
    known = [dimension.at(i) for i in range(dimension.count)]
    return min((v for v in known if not isinstance(v, str)), key=lambda one: abs(one - value))


def stop_of(spec: StrategySpec) -> str:
    """Return the stop in words, e.g. ``"4 ATR"``."""
    distance = spec.stop_loss
    if distance is None:
        return "no stop"
    word = {"atr": "ATR", "pips": "pips", "percent": "%"}[distance.unit]
    return f"{spec.value_of(distance.value):g} {word}"


def _stop_parameter(spec: StrategySpec) -> tuple[str, str] | None:
    distance = spec.stop_loss
    if distance is None or not isinstance(distance.value, str):
        return None
    return distance.unit, distance.value


def _names(condition: str) -> set[str]:
    return {node.name for node in walk(parse_condition(condition)) if isinstance(node, Name)}


def _used_params(spec: StrategySpec, sides: Sides) -> set[str]:
    """Return the parameters that still matter when only some sides are traded."""
    used: set[str] = set()
    for field, text in ((field, getattr(spec, field)) for field in spec.trees):
        if sides == "both" or field.endswith(sides):
            used |= _names(text)
    distances: list[PriceDistance | None] = [spec.stop_loss, spec.take_profit]
    used |= {d.value for d in distances if d is not None and isinstance(d.value, str)}
    used |= set(exit_names(spec)) | set(limit_names(spec))
    for indicator in spec.indicators.values():
        used |= {value for value in indicator.args.values() if isinstance(value, str)}
    return used & spec.params.keys()
