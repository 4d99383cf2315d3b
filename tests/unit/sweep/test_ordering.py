"""Points that read the same indicators run one after the other, and every point once."""

from __future__ import annotations

import dataclasses
import itertools

from aiopt.strategy.families import FAMILIES
from aiopt.sweep.ordering import by_indicators
from aiopt.sweep.points import Strategy, plan_points
from aiopt.sweep.sweep_config import SweepConfig
from aiopt.sweep.trial import TrialPoint


def points_of(*families: str, trials: int = 200) -> list[TrialPoint]:
    strategies = [Strategy(FAMILIES[name].spec, FAMILIES[name]) for name in families]
    return plan_points(strategies, SweepConfig(timeframes=("1m", "5m"), trials=trials))


def changes(points: list[TrialPoint], indicator: str) -> int:
    args = [point.spec.resolved_args(indicator) for point in points]
    return sum(one != other for one, other in itertools.pairwise(args))


def test_every_point_once_and_series_and_families_together() -> None:
    points = points_of("macd_adx_trend", "ema_cross_atr")
    order = by_indicators(points)
    assert sorted(order) == list(range(len(points)))
    groups = [(points[index].series, points[index].family) for index in order]
    assert len(list(itertools.groupby(groups))) == len(set(groups)) == 4


def test_the_indicator_with_the_most_arguments_changes_once_for_each() -> None:
    points = [point for point in points_of("macd_adx_trend") if point.timeframe == "1m"]
    ordered = [points[index] for index in by_indicators(points)]
    different = {tuple(point.spec.resolved_args("macd").values()) for point in points}
    assert changes(ordered, "macd") == len(different) - 1
    assert changes(points, "macd") > len(different) - 1


def test_the_multiplier_of_bands_does_not_part_them() -> None:
    points = [point for point in points_of("bollinger_breakout") if point.timeframe == "1m"]
    ordered = [points[index] for index in by_indicators(points)]
    lengths = [point.spec.resolved_args("bands")["length"] for point in ordered]
    assert len(list(itertools.groupby(lengths))) == len(set(lengths)) < len(points) / 5


def test_no_point() -> None:
    assert by_indicators([]) == []


def test_series_share_the_strategies_of_their_points() -> None:
    points = points_of("rsi_reversion", "ema_cross_atr", trials=20)
    for point in points:
        assert point.spec == FAMILIES[point.family].spec.with_params(point.params)
    by_id = {point.trial_id: point for point in points}
    assert all(
        one.spec is by_id[one.trial_id.replace("@1m-", "@5m-")].spec
        for one in points
        if one.timeframe == "1m"
    )
    # Whether specs are shared or only equal, the order is one.
    copies = [dataclasses.replace(one, spec=one.spec.with_params({})) for one in points]
    assert by_indicators(copies) == by_indicators(points)
