"""Search spaces: which values of a strategy are tried together.  Owns constraints, conditions and sampling.

Knows `StrategySpec`, dimensions and the condition language (constraints are written in it); knows no trial.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from aiopt.config import decode
from aiopt.errors import SearchSpaceError, SpecError, did_you_mean
from aiopt.strategy.conditions import (
    Call,
    Condition,
    History,
    Name,
    Output,
    Series,
    format_condition,
    parse_condition,
    walk,
)
from aiopt.strategy.dimensions import (
    Choice,
    Dimension,
    FloatRange,
    Value,
    activity,
    allowed,
    is_active,
    is_named,
    plain_dimension,
    position_source,
)
from aiopt.strategy.evaluation import BoolArray, evaluate, names_of
from aiopt.strategy.spec import SEARCH_KEY, StrategySpec, read_spec_file
from aiopt.strategy.spec_yaml import dump_yaml, plain_mapping

Point = dict[str, Value]
"""A value for every dimension."""

Method = Literal["sobol", "random", "grid"]
METHODS: tuple[str, ...] = get_args(Method)

MAX_ENUMERATED = 2_000_000
"""Most combinations that are listed one by one (grid method, `SearchSpace.size`)."""

MAX_SAMPLE = 1_000_000

_BLOCK = 256  # points drawn at a time; a power of two keeps the Sobol sequence balanced
_LISTED = 16_384  # combinations listed at a time
_STALL = 4096  # draws without a new valid point after which drawing stops
_CONSTRAINT_FUNCTIONS = frozenset({"abs", "min", "max"})


class SearchSpace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A strategy and the values to try for some of its parameters.

    Attributes
    ----------
    spec : StrategySpec
        Parameters without a dimension keep its values.
    dimensions : dict of str to IntRange, FloatRange or Choice
        At least one, by the name of a parameter, or of a part of the strategy that is a name: ``ID.kind`` and
        ``ID.source`` of an indicator.  A dimension whose `when` does not hold is inactive: the strategy's own
        value stands, whatever was drawn, so points that differ there alone are one point.
    constraints : tuple of str
        Conditions over parameters that every point fulfils, e.g. ``"fast_length < slow_length"``.

    Raises
    ------
    SearchSpaceError
        On construction, if a dimension or constraint names no parameter, or reaches values the strategy
        refuses.
    """

    spec: StrategySpec
    dimensions: dict[str, Dimension]
    constraints: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.dimensions:
            raise self._fail("there is no dimension. Add at least one.")
        for name, dimension in self.dimensions.items():
            self._check_dimension(name, dimension)
        for name, dimension in self.dimensions.items():
            self._check_when(name, dimension)
        _ = self.ordered
        texts = tuple(self._checked_constraint(text) for text in self.constraints)
        msgspec.structs.force_setattr(self, "constraints", texts)

    # --- what it holds ------------------------------------------------------------------------------------

    @property
    def family(self) -> str:
        """The family of the strategy."""
        return self.spec.family

    @property
    def raw_size(self) -> int | None:
        """Number of combinations, constraints disregarded; None if a dimension is continuous."""
        counts = [dimension.count for dimension in self.dimensions.values()]
        return None if None in counts else math.prod(count for count in counts if count is not None)

    def size(self) -> int | None:
        """Return the number of valid points; None if a dimension is continuous.

        Raises
        ------
        SearchSpaceError
            If the constrained dimensions have too many combinations to count.
        """
        if self.raw_size is None:
            return None
        constrained = set().union(*(names_of(tree) for tree in self._trees)) & self.dimensions.keys()
        constrained |= self._entangled
        counts = {name: self.dimensions[name].count or 0 for name in self.dimensions}
        free = math.prod(count for name, count in counts.items() if name not in constrained)
        names = [name for name in self.dimensions if name in constrained]
        if not names:
            return free * int(self._valid({}, 1)[0])
        return free * sum(
            int((self._valid(block, size) & self._canonical(block, size)).sum())
            for block, size in self._enumerate(names, np.arange(self._combinations(names)))
        )

    def contains(self, params: Mapping[str, Value]) -> bool:
        """Return whether values, one for every dimension, fulfil the constraints."""
        numbers = {
            name: np.array([float(value)])
            for name, value in self.settled(params).items()
            if not isinstance(value, str)
        }
        return bool(self._fulfils(numbers, 1)[0])

    def holds(self, params: Mapping[str, Value]) -> bool:
        """Return whether `params` is a point: a value of every active dimension, constraints fulfilled."""
        if params.keys() != self.dimensions.keys():
            return False
        active = self.active(params)
        return all(self.dimensions[name].holds(params[name]) for name in active) and self.contains(params)

    # --- conditional dimensions ---------------------------------------------------------------------------

    @cached_property
    def ordered(self) -> tuple[str, ...]:
        """The dimensions, each after those its `when` names; otherwise as given."""
        found: dict[str, None] = {}
        left = list(self.dimensions)
        while left:
            ready = [name for name in left if allowed(self.dimensions[name]).keys() <= found.keys()]
            if not ready:
                raise self._fail(f"`when` of {', '.join(left)} goes round in a circle. Remove one of them.")
            found.update(dict.fromkeys(ready))
            left = [name for name in left if name not in found]
        return tuple(found)

    @property
    def conditional(self) -> tuple[str, ...]:
        """The dimensions that have a `when`."""
        return tuple(name for name, dimension in self.dimensions.items() if dimension.when)

    def active(self, params: Mapping[str, Value]) -> list[str]:
        """Return the dimensions that count, in their order."""
        return [name for name in self.dimensions if is_active(self.dimensions, name, params)]

    def settled(self, params: Mapping[str, Value]) -> Point:
        """Return a point with the strategy's own value in every inactive dimension."""
        if not self.conditional:
            return dict(params)
        found: Point = {}
        for name in self.ordered:
            found[name] = params[name] if is_active(self.dimensions, name, found) else self.spec.part(name)
        return {name: found[name] for name in params}

    @cached_property
    def _entangled(self) -> set[str]:
        """Return the dimensions that have a `when`, and those named in one."""
        return set(self.conditional).union(*(allowed(one) for one in self.dimensions.values()))

    def to_yaml(self) -> str:
        """Return a strategy file with its ``search:`` key, as `load_search_space` reads it."""
        dimensions = {name: plain_dimension(one) for name, one in self.dimensions.items()}
        search = {"dimensions": dimensions, "constraints": list(self.constraints)}
        return dump_yaml({**plain_mapping(self.spec), SEARCH_KEY: search})

    # --- sampling -----------------------------------------------------------------------------------------

    def sample(self, n: int, seed: int, method: Method = "sobol") -> list[Point]:
        """Return `n` distinct valid points.

        The same arguments give the same points on every machine, and a smaller `n` gives the first of them.

        Parameters
        ----------
        n : int
            At least 1.  More than the space holds: the whole space is returned.
        seed : int
            Not negative.
        method : {"sobol", "random", "grid"}
            Scrambled Sobol sequence, independent uniform draws, or all combinations in random order (every
            dimension needs a step then).

        Returns
        -------
        list of dict
            A value for every dimension, of the parameter's type.

        Raises
        ------
        SearchSpaceError
            If there is no valid point, or too few can be found, or an argument is out of range.
        """
        self._check_request(n, seed, method)
        drawn: dict[tuple[Value, ...], None] = {}
        if method != "grid":
            self._draw(drawn, n, position_source(method, len(self.dimensions), seed))
        listable = self.raw_size is not None and self.raw_size <= MAX_ENUMERATED
        if len(drawn) < n and listable:
            self._complete(drawn, n, seed)
        if not drawn:
            rules = " and ".join(f"`{text}`" for text in self.constraints)
            msg = f"there is no valid point: nothing fulfils {rules}."
            raise self._fail(msg + " Widen a dimension or drop a constraint.")
        if len(drawn) < n and not listable:
            msg = (
                f"you asked for {n} valid points, but after {len(drawn)} points {_STALL} draws "
                "found nothing new."
            )
            raise self._fail(msg + " Ask for fewer, or widen a dimension.")
        return [dict(zip(self.dimensions, point, strict=True)) for point in itertools.islice(drawn, n)]

    def specs(self, n: int, seed: int, method: Method = "sobol") -> list[StrategySpec]:
        """Return the strategies at `sample`'s points."""
        return [self.spec.with_params(point) for point in self.sample(n, seed, method)]

    def _check_request(self, n: int, seed: int, method: str) -> None:
        if method not in METHODS:
            raise self._fail(
                f"there is no method {method!r}. Use {', '.join(METHODS)}.{did_you_mean(method, METHODS)}"
            )
        if not 1 <= n <= MAX_SAMPLE:
            raise self._fail(
                f"`1 <= n <= {MAX_SAMPLE}` must hold, but got n={n}. Ask for at least one trial."
            )
        if seed < 0:
            raise self._fail(f"`seed >= 0` must hold, but got seed={seed}. Choose another.")
        if method == "grid":
            endless = [name for name, dimension in self.dimensions.items() if dimension.count is None]
            if endless:
                raise self._fail(
                    f"a grid needs a step for every dimension, but {', '.join(endless)} has none. "
                    "Give it a step or use the method sobol."
                )
            if (self.raw_size or 0) > MAX_ENUMERATED:
                raise self._fail(
                    f"a grid may have at most {MAX_ENUMERATED} combinations, but there are "
                    f"{self.raw_size}. Widen the steps or use the method sobol."
                )

    def _draw(
        self,
        drawn: dict[tuple[Value, ...], None],
        n: int,
        positions: Callable[[int], npt.NDArray[np.float64]],
    ) -> None:
        """Add drawn points until there are `n` or drawing stalls; `n` changes nothing but the end."""
        idle = 0
        while len(drawn) < n and idle < _STALL:
            block = positions(_BLOCK)
            points = [self._point(row) for row in block.tolist()]
            valid = self._fulfils(self._columns(points), _BLOCK)
            for point, good in zip(points, valid.tolist(), strict=True):
                if good and point not in drawn:
                    drawn[point] = None
                    idle = 0
                else:
                    idle += 1

    def _complete(self, drawn: dict[tuple[Value, ...], None], n: int, seed: int) -> None:
        """Add valid points not drawn yet, in random order, until there are `n` or no more."""
        names = list(self.dimensions)
        order = np.random.default_rng(seed).permutation(self._combinations(names))
        for block, size in self._enumerate(names, order):
            rows = np.flatnonzero(self._valid(block, size))
            columns = [block[name][rows].tolist() for name in names]
            for point in map(self._decoded, zip(*columns, strict=True)):
                drawn.setdefault(point, None)
                if len(drawn) == n:
                    return

    def _point(self, positions: list[float]) -> tuple[Value, ...]:
        values = (
            dimension.value(position)
            for dimension, position in zip(self.dimensions.values(), positions, strict=True)
        )
        return self._typed(values)

    def _typed(self, values: Any) -> tuple[Value, ...]:
        """Return values of all dimensions as the types of their parameters, inactive ones settled."""
        point = tuple(kind(value) for kind, value in zip(self._types, values, strict=True))
        if not self.conditional:
            return point
        return tuple(self.settled(dict(zip(self.dimensions, point, strict=True))).values())

    def _decoded(self, codes: Any) -> tuple[Value, ...]:
        """Return the point of codes: values, and of named dimensions their places."""
        return self._typed(
            dimension.at(int(code)) if is_named(dimension) else code
            for dimension, code in zip(self.dimensions.values(), codes, strict=True)
        )

    def typed(self, params: Mapping[str, Value]) -> Point:
        """Return values of all dimensions as the types of their parameters, inactive ones settled."""
        values = self._typed(params[name] for name in self.dimensions)
        return dict(zip(self.dimensions, values, strict=True))

    @cached_property
    def _types(self) -> list[type[int] | type[float] | type[str]]:
        return [type(self.spec.part(name)) for name in self.dimensions]

    def _columns(self, points: list[tuple[Value, ...]]) -> dict[str, npt.NDArray[np.float64]]:
        numbers = [(i, name) for i, name in enumerate(self.dimensions) if name not in self._names]
        if len(numbers) == len(self.dimensions):
            table = np.array(points, dtype=np.float64)
            return {name: table[:, i] for i, name in numbers}
        return {name: np.array([point[i] for point in points], dtype=np.float64) for i, name in numbers}

    @cached_property
    def _names(self) -> frozenset[str]:
        """The dimensions whose values are names; no constraint can speak of them."""
        return frozenset(name for name, dimension in self.dimensions.items() if is_named(dimension))

    def _combinations(self, names: list[str]) -> int:
        """Return how many combinations some dimensions have; raise if they are too many to list."""
        total = math.prod(self.dimensions[name].count or 0 for name in names)
        if total > MAX_ENUMERATED:
            msg = f"at most {MAX_ENUMERATED} combinations can be listed, but got {total}. Widen the steps."
            raise self._fail(msg)
        return total

    def _enumerate(
        self, names: list[str], order: npt.NDArray[np.int64]
    ) -> Iterator[tuple[dict[str, npt.NDArray[np.float64]], int]]:
        """Yield combinations of some dimensions by number, in blocks: columns of codes, and their length."""
        axes = [
            np.array(
                [float(i if name in self._names else dimension.at(i)) for i in range(dimension.count or 0)]
            )
            for name, dimension in ((name, self.dimensions[name]) for name in names)
        ]
        for start in range(0, order.size, _LISTED):
            index = order[start : start + _LISTED]
            places = np.unravel_index(index, [axis.size for axis in axes])
            columns = {name: axis[place] for name, axis, place in zip(names, axes, places, strict=True)}
            yield columns, index.size

    def _codes(self, name: str) -> npt.NDArray[np.float64]:
        dimension = self.dimensions[name]
        places = range(dimension.count or 0)
        return np.array([float(i if name in self._names else dimension.at(i)) for i in places])

    def _valid(self, columns: Mapping[str, npt.NDArray[np.float64]], size: int) -> BoolArray:
        """Return which combinations of codes fulfil the constraints, whatever inactive dimensions hold."""
        numbers = {name: column for name, column in columns.items() if name not in self._names}
        for name in self.conditional:
            if name in numbers:
                active = activity(self.dimensions, name, columns, size)
                numbers[name] = np.where(active, numbers[name], float(self.spec.params[name]))
        return self._fulfils(numbers, size)

    def _canonical(self, columns: Mapping[str, npt.NDArray[np.float64]], size: int) -> BoolArray:
        """Return one of all combinations of codes that are the same point: its inactive codes come first."""
        result = np.ones(size, dtype=bool)
        for name in self.conditional:
            first = 0.0 if name in self._names else float(self.dimensions[name].at(0))
            result &= activity(self.dimensions, name, columns, size) | (columns[name] == first)
        return result

    def _fulfils(self, columns: Mapping[str, npt.NDArray[np.float64]], size: int) -> BoolArray:
        """Return which rows of values fulfil the constraints."""
        environment: dict[str, Any] = {name: float(value) for name, value in self.spec.params.items()}
        environment.update(columns)
        result = np.ones(size, dtype=bool)
        for tree in self._trees:
            result &= evaluate(tree, environment, size)
        return result

    # --- rules --------------------------------------------------------------------------------------------

    @cached_property
    def _trees(self) -> list[Condition]:
        return [parse_condition(text) for text in self.constraints]

    def _fail(self, message: str) -> SearchSpaceError:
        return SearchSpaceError(f"search space of {self.spec.name}: {message}")

    def _check_dimension(self, name: str, dimension: Dimension) -> None:
        parts = [*self.spec.params, *self.spec.named_parts()]
        if name not in parts:
            hint = did_you_mean(name, parts) if parts else " The strategy has none."
            raise self._fail(f"a dimension must name a parameter, but there is no {name!r}.{hint}")
        named = name not in self.spec.params
        if named != is_named(dimension):
            what = "a name, e.g. of a kind" if named else "a number"
            raise self._fail(
                f"{name} is {what}, but its dimension has other values. Use type choice and names for the "
                "kind or source of an indicator, and numbers for a parameter."
            )
        ends = list(dimension.values) if isinstance(dimension, Choice) else [dimension.low, dimension.high]
        whole = isinstance(self.spec.part(name), int)
        if whole and (isinstance(dimension, FloatRange) or any(value != int(value) for value in ends)):
            raise self._fail(
                f"{name} is a whole number, but its dimension has fractions. "
                "Use type int, or write the parameter with a decimal point."
            )
        for value in ends:
            try:
                self.spec.with_params({name: value})
            except SpecError as failure:
                raise self._fail(
                    f"dimension {name} reaches {value}, which the strategy does not allow: {failure}"
                ) from failure

    def _check_when(self, name: str, dimension: Dimension) -> None:
        for other, values in allowed(dimension).items():
            if other not in self.dimensions:
                hint = did_you_mean(other, self.dimensions)
                raise self._fail(f"`when` of {name} must name a dimension, but there is no {other!r}.{hint}")
            wrong = [value for value in values if not self.dimensions[other].holds(value)]
            if wrong or not values:
                raise self._fail(
                    f"`when` of {name} asks for {other} {wrong or 'nothing'}, which its dimension never has. "
                    "Name one of its values."
                )

    def _checked_constraint(self, text: str) -> str:
        try:
            tree = parse_condition(text)
        except SpecError as failure:
            raise self._fail(str(failure)) from failure
        for node in walk(tree):
            if isinstance(node, Name) and node.name not in self.spec.params:
                hint = did_you_mean(node.name, self.spec.params)
                raise self._fail(f"the constraint {text!r} names {node.name!r}, which is no parameter.{hint}")
            if isinstance(node, Series | Output | History) or (
                isinstance(node, Call) and node.function not in _CONSTRAINT_FUNCTIONS
            ):
                raise self._fail(
                    f"the constraint {text!r} may use parameters and numbers only, "
                    f"but has {format_condition(node)!r}. Remove it."
                )
        return format_condition(tree)


class SearchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a strategy file holds under ``search:``.

    Attributes
    ----------
    dimensions : dict
        Parameter to ``{type: int, low: 5, high: 30, step: 1}``, ``{type: float, low: 1.0, high: 4.0, step:
        0.5}`` or ``{type: choice, values: [1, 2]}``; ``log: true`` and ``when: {NAME: VALUE}`` may be added.
    constraints : tuple of str
        Conditions over parameters.
    """

    dimensions: dict[str, Dimension]
    constraints: tuple[str, ...] = ()


def load_search_space(path: Path | str) -> SearchSpace:
    """Read a strategy file with a ``search:`` key.

    Raises
    ------
    SpecError
        If the strategy breaks a rule.
    SearchSpaceError
        If the key is missing or the space breaks a rule.
    """
    spec, search = read_spec_file(Path(path))
    if search is None:
        msg = (
            f"{path}: the key {SEARCH_KEY!r} is missing. Add e.g. {SEARCH_KEY}: {{dimensions: "
            "{length: {type: int, low: 5, high: 30}}}."
        )
        raise SearchSpaceError(msg)
    where = f"{path}, {SEARCH_KEY}"
    settings = decode(search, SearchSettings, where=where, error=SearchSpaceError)
    return SearchSpace(spec, settings.dimensions, settings.constraints)
