"""The series a spec reads, each in its row of the columns: indicators, extremes, and the bars' own.

Owns which row holds what, and that indicators which share their costly part compute it once.  Knows no
signal and no order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiopt.bars.schema import BarSet
from aiopt.indicators.registry import IndicatorDef
from aiopt.indicators.windows import FloatArray
from aiopt.screen.columns import Columns
from aiopt.screen.failures import BeyondScreenError
from aiopt.screen.program import Program
from aiopt.strategy.conditions import Call, Name, Node, Output, Series, Value, format_condition, walk
from aiopt.strategy.distances import CLOSE, Away
from aiopt.strategy.evaluation import evaluate_value
from aiopt.strategy.higher_timeframes import check_higher_timeframes
from aiopt.strategy.signals import series_arrays
from aiopt.strategy.spec import StrategySpec
from aiopt.strategy.spec_exits import distances_of


class SeriesRows:
    """Rows of what specs read on some bars.

    Parameters
    ----------
    bars : BarSet
        As they are traded.
    columns : Columns
        Where the rows lie.
    """

    def __init__(self, bars: BarSet, columns: Columns) -> None:
        self.bars = bars
        self.columns = columns

    def __repr__(self) -> str:
        return f"SeriesRows({self.columns!r})"

    def check_room(self, spec: StrategySpec, program: Program) -> None:
        """Refuse a spec whose series would drive each other out."""
        excess = room_excess(spec, program, room=len(self.columns.values), n_bars=len(self.bars))
        if excess:
            raise BeyondScreenError(f"{excess} Use `screen: off` (--no-screen).")

    def indicator_rows(self, spec: StrategySpec) -> dict[str, int]:
        """Return the row of every output of every indicator, by the names conditions use."""
        check_higher_timeframes(spec, self.bars.timeframe)
        found: dict[str, int] = {}
        names = spec.output_names()
        for identifier, indicator in spec.indicators.items():
            kind = spec.definition(identifier)
            args = spec.resolved_args(identifier)
            rows = self._rows_of_indicator(kind, indicator.source, args)
            found.update(zip(names[identifier], rows, strict=True))
        return found

    def _rows_of_indicator(
        self, kind: IndicatorDef, source: str, args: Mapping[str, int | float]
    ) -> tuple[int, ...]:
        """Return the rows of an indicator's outputs, its costly part shared with other arguments."""
        keys = [(kind.kind, source, *args.values(), output) for output in kind.outputs]
        columns, costly = self.columns, kind.costly

        def inputs() -> list[FloatArray]:
            return [
                series_arrays(self.bars.bid, source if name == "source" else name) for name in kind.inputs
            ]

        if costly is None:
            return columns.rows_of(keys, lambda: kind.compute(inputs(), args))
        own = {name: args[name] for name in costly.args}
        others = {name: value for name, value in args.items() if name not in own}

        def prepare() -> Callable[[Sequence[FloatArray]], None]:
            part_keys = [(kind.kind, source, *own.values(), "part", name) for name in costly.names]
            rows = columns.rows_of(part_keys, lambda: costly.compute(*inputs(), **own))
            parts = [columns.values[row] for row in rows]
            return lambda outputs: costly.finish(parts, outputs, **others)

        return columns.rows_filled(keys, prepare)

    def rows_of_distances(self, spec: StrategySpec, indicators: Mapping[str, int]) -> Mapping[str, int]:
        """Return the rows of what stops and targets of a spec may be multiples of, by `Away.series`."""
        if not _takes_percent(spec):
            return indicators
        (row,) = self.columns.rows_of([CLOSE], lambda: [series_arrays(self.bars.bid, CLOSE)])
        return {**indicators, CLOSE: row}

    def multiple(self, spec: StrategySpec, away: Away, rows: Mapping[str, int]) -> tuple[float, int]:
        """Return a distance as a number and the row it is a multiple of, -1 for none."""
        if away.series is None:
            return away.value + away.farther, -1
        row = rows[away.series]
        if not away.farther:
            return away.value, row
        content = away.series if away.series == CLOSE else _content(spec, Name(away.series))
        (row,) = self.columns.rows_of(
            [("distance", content, away.value, away.farther)],
            lambda: [away.value * self.columns.values[row] + away.farther],
        )
        return 1.0, row

    def row(self, spec: StrategySpec, node: Value, indicators: Mapping[str, int]) -> int:
        """Return the row of a column of a program."""
        match node:
            case Series(name):
                (row,) = self.columns.rows_of([name], lambda: [series_arrays(self.bars.bid, name)])
                return row
            case Name() | Output():
                return indicators[format_condition(node)]
        assert isinstance(node, Call)
        parts = [_content(spec, part) for part in walk(node)]
        (row,) = self.columns.rows_of(
            [(format_condition(node), *parts)], lambda: [self._extreme(spec, node, indicators)]
        )
        return row

    def _extreme(self, spec: StrategySpec, node: Call, indicators: Mapping[str, int]) -> FloatArray:
        """Return a highest or lowest value over bars."""
        environment: dict[str, FloatArray | float] = {
            **{name: float(value) for name, value in spec.params.items()},
            **{name: self.columns.values[row] for name, row in indicators.items()},
        }
        for part in walk(node):
            if isinstance(part, Series):
                environment[part.name] = series_arrays(self.bars.bid, part.name)
        return evaluate_value(node, environment, len(self.bars))


def room_excess(spec: StrategySpec, program: Program, *, room: int, n_bars: int) -> str:
    """Return why a spec reads more series than are held, as a sentence; empty where it does not."""
    kinds = [spec.definition(name) for name in spec.indicators]
    outputs = sum(len(kind.outputs) + len(kind.costly.names if kind.costly else ()) for kind in kinds)
    rounded = sum(distance.rounding == "away" for _, distance in distances_of(spec))
    needed = outputs + len(program.columns) + _takes_percent(spec) + rounded
    if needed <= room:
        return ""
    return f"The screen holds {room} series of {n_bars:,} bars, but this strategy may read {needed}."


def _takes_percent(spec: StrategySpec) -> bool:
    return any(distance.unit == "percent" for _, distance in distances_of(spec))


def _content(spec: StrategySpec, part: Node) -> Any:
    """Return what a name in a column stands for: a number, or an indicator with its arguments."""
    match part:
        case Name(name) if name in spec.params:
            return float(spec.params[name])
        case Name(name) | Output(name, _):
            indicator = spec.indicators[name]
            return (indicator.kind, indicator.source, *spec.resolved_args(name).values())
    return None
