"""Mirrored training charts: the chart of mirrored prices, with the answers the generators give to it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aiopt.analyst import planted
from aiopt.analyst.generators import GENERATORS, SOURCES
from aiopt.analyst.planted import mirrored_bars, planted_case
from aiopt.bars.schema import BarArrays
from aiopt.dataset.judging.asking import asked_of
from aiopt.dataset.tasks import (
    TASKS,
    BarsSource,
    GeneratorSource,
    HeldOutConfig,
    TaskSetConfig,
    build_tasks,
    read_task_info,
)
from aiopt.dataset.tasks.task_charts import plan_charts
from aiopt.dataset.tasks.task_config import ALL_TASKS, PositionsSource
from aiopt.dataset.tasks.task_kinds import Chart, forward_class
from aiopt.dataset.tasks.task_mirrors import mirrored_chart, mirrored_truth
from aiopt.errors import ConfigError
from aiopt.testing.bars import random_walk_bar_set

EUR = random_walk_bar_set(2_000, seed=3, timeframe="5m")
CONFIG = TaskSetConfig(
    tasks=ALL_TASKS,
    sources=(
        GeneratorSource(name="templates", charts=20, warp=0.1),
        GeneratorSource(name="processes", charts=12),
        GeneratorSource(name="walks", charts=6),
        BarsSource(path="eur", stride=90),
    ),
    held_out=HeldOutConfig(kinds=("double_top", "double_bottom")),
    mirrored=True,
)
TICK = 1.1e-5


def same_prices(one: BarArrays, other: BarArrays) -> bool:
    names = ("open", "high", "low", "close")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mirrors") / "set"
    build_tasks(CONFIG, out, bars={"eur": EUR})
    return out


@pytest.mark.parametrize("kind", [*planted.LONG_KINDS, "rectangle", "none"])
def test_a_template_upside_down_is_what_the_generator_draws_of_the_mirrored_kind(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same draws; a generated chart may lie at another price, so a shift is allowed."""
    fresh = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda key: fresh(key[0]))
    case = planted_case(kind, seed=5)
    twin = planted_case(GENERATORS["templates"].mirror(kind), seed=5)
    found = mirrored_chart(Chart(bars=case.bars, case=case)).case
    assert found is not None
    known = ("kind", "bias", "first_bar", "last_bar", "generator")
    assert [getattr(found, name) for name in known] == [getattr(twin, name) for name in known]
    if kind in ("rectangle", "none"):  # these are their own mirror image in name alone
        return
    assert (case.bias, twin.bias) == ("long", "short")
    for name in ("open", "high", "low", "close"):
        apart = getattr(found.bars, name) - getattr(twin.bars, name)
        assert np.ptp(apart) < 2 * TICK, name


@pytest.mark.parametrize("name", list(SOURCES))
def test_twice_upside_down_is_the_chart_itself(name: str) -> None:
    for kind in SOURCES[name].kinds:
        case = SOURCES[name].case(kind, seed=2, noise=1.0)
        chart = Chart(bars=case.bars, case=case, later_close=round(float(case.bars.close[-1]) + 0.001, 5))
        once = mirrored_chart(chart)
        twice = mirrored_chart(once)
        assert once.case is not None
        assert twice.case is not None
        assert same_prices(twice.bars, case.bars)
        assert twice.later_close == chart.later_close
        assert vars(replace(twice.case, bars=case.bars)) == vars(case)
        turned = {"long": "short", "short": "long", "neutral": "neutral"}
        assert once.case.bias == turned[case.bias]
        if case.trend is not None:
            assert once.case.trend == {"up": "down", "down": "up", "sideways": "sideways"}[case.trend]
            assert once.case.volatility == case.volatility


def test_every_training_chart_is_there_upside_down_and_no_other(folder: Path) -> None:
    info = read_task_info(folder)
    plain = TaskSetConfig(**{name: getattr(CONFIG, name) for name in ("tasks", "sources", "held_out")})
    counts = plan_charts(plain, {"eur": EUR}).counts
    assert {name: split.charts for name, split in info.splits.items()} == counts | {
        "train": 2 * counts["train"]
    }
    for split in info.splits:
        samples = list(pl.read_parquet(folder / "bars" / f"{split}.parquet")["sample"])
        mirrored = [name for name in samples if name.endswith("-mirrored")]
        assert mirrored == ([f"{name}-mirrored" for name in samples[::2]] if split == "train" else [])
    train = pl.read_parquet(folder / "data" / "train-00000-of-00001.parquet")
    assert set(train["kind"]) & {"double_top", "double_bottom"} == set(), "held out upside down too"
    bias = info.splits["train"].balance["bias"]
    assert bias["long"] == bias["short"]


def test_pictures_and_answers_are_those_of_the_mirrored_prices(folder: Path) -> None:
    info = read_task_info(folder)
    asked = {one.name[:2]: one for one in asked_of(folder, info, "train", controls=0)}
    pngs = pl.read_parquet(folder / "data" / "train-00000-of-00001.parquet").filter(
        pl.col("image_file").is_not_null()
    )
    files = dict(zip(pngs["sample"], pngs["image_file"], strict=True))
    tasks = set()
    for (sample, task), one in asked.items():
        twin = asked.get((f"{sample}-mirrored", task))
        if sample.endswith("-mirrored") or twin is None:
            continue
        tasks.add(task)
        upside_down = mirrored_bars(one.bars)
        assert same_prices(twin.bars, upside_down)
        if sample in files:
            # All of these bars are generated, the series too.
            drawn = info.config.pictures.draw(replace(upside_down, synthetic=True))
            assert (folder / files[f"{sample}-mirrored"]).read_bytes() == drawn
        # By another route: from the upright answer alone, as controls of a judgement are made.
        known: Any = mirrored_truth(task, one.truth, upside_down, one.source)
        if known is not None:
            assert twin.truth == json.loads(json.dumps(known)), (sample, task)
        else:
            assert task == "analysis"
            assert (
                twin.truth["bias"]
                == {"long": "short", "short": "long", "neutral": "neutral"}[one.truth["bias"]]
            )
    assert tasks == set(ALL_TASKS)


def test_a_later_close_is_turned_round_the_same_line() -> None:
    bars = EUR.bid.slice(0, 120)
    for later in np.round(float(bars.close[-1]) + np.linspace(-0.004, 0.004, 9), 5).tolist():
        chart = mirrored_chart(Chart(bars=bars, later_close=later))
        upright = forward_class(bars, later, chart.forward)
        found = TASKS["forward"].answer(chart)
        assert found == {"forward": {"up": "down", "down": "up", "flat": "flat"}[upright]}
    assert mirrored_chart(Chart(bars=bars, outcome=("long", "win"))).outcome is None


def test_results_of_positions_are_not_mirrored() -> None:
    with pytest.raises(ConfigError, match="How a position ended, after costs, has no mirror image"):
        TaskSetConfig(sources=(PositionsSource(part="out"),), tasks=("outcome_long",), mirrored=True)
