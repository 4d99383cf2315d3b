"""No reader is judged on what it saw, and looks at test splits are counted: attempts at both are planted."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from aiopt.bars.schema import BarSet
from aiopt.dataset import DatasetConfig, FeatureConfig, build_dataset
from aiopt.dataset.judging import looks_at, record_look, refuse_overlap
from aiopt.dataset.tasks import BarsSource, GeneratorSource, TaskSetConfig, build_tasks, read_task_info
from aiopt.errors import DataError
from aiopt.testing.bars import random_walk_bar_set

EUR = random_walk_bar_set(4_000, seed=3, timeframe="5m")


def real(bars: BarSet) -> BarSet:
    """Return bars that count as no generated ones."""
    bid = replace(bars.bid, synthetic=False)
    return replace(bars, bid=bid, ask=replace(bars.ask, synthetic=False))


def tasks_of(bars: BarSet, folder: Path) -> Path:
    config = TaskSetConfig(sources=(BarsSource(path="bars", stride=40),), tasks=("trend",))
    build_tasks(config, folder, bars={"bars": bars})
    return folder


def generated(folder: Path, *, seed: int, charts: int = 30) -> Path:
    config = TaskSetConfig(
        sources=(GeneratorSource(name="processes", charts=charts),), tasks=("trend",), seed=seed
    )
    build_tasks(config, folder)
    return folder


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tasks_of(real(EUR).slice(1_500, 4_000), tmp_path_factory.mktemp("judged") / "set")


def test_training_that_ends_before_the_judged_span_is_taken(judged: Path, tmp_path: Path) -> None:
    refuse_overlap([tasks_of(real(EUR).slice(0, 1_500), tmp_path / "before")], judged, "test")
    refuse_overlap([judged], judged, "test")


def test_a_train_span_that_reaches_into_the_judged_one_is_refused(judged: Path, tmp_path: Path) -> None:
    leak = tasks_of(real(EUR).slice(1_500, 4_000 - 100), tmp_path / "leak")
    refuse_overlap([leak], judged, "test")  # its own test lies there, its train and validation do not
    leak = tasks_of(real(EUR).slice(2_000, 4_000), tmp_path / "later")
    with pytest.raises(
        DataError, match=r"No reader may be judged on time it was trained on, but .*later shows"
    ):
        refuse_overlap([leak], judged, "test")


def test_another_instrument_of_the_same_time_is_refused_too(judged: Path, tmp_path: Path) -> None:
    bars = real(random_walk_bar_set(4_000, seed=9, timeframe="5m")).slice(2_000, 4_000)
    symbol = "GBPUSD"
    bars = replace(
        bars,
        instrument=msgspec.structs.replace(bars.instrument, symbol=symbol),
        bid=replace(bars.bid, instrument=symbol),
        ask=replace(bars.ask, instrument=symbol),
    )
    with pytest.raises(DataError, match=re.escape("(GBPUSD-5m of validation)")):
        refuse_overlap([tasks_of(bars, tmp_path / "pound")], judged, "test")


def test_a_dataset_of_features_counts_from_where_its_charts_begin(judged: Path, tmp_path: Path) -> None:
    config = DatasetConfig(features=FeatureConfig(regime_window=100), stride=20)
    before, into = real(EUR).slice(0, 1_500), real(EUR).slice(2_600, 4_000)
    build_dataset(before, tmp_path / "before", config)
    refuse_overlap([tmp_path / "before"], judged, "test")
    build_dataset(into, tmp_path / "into", config)
    with pytest.raises(DataError, match=r"into shows 2018-\d\d-\d\d"):
        refuse_overlap([tmp_path / "into"], judged, "test")


def test_equal_generated_charts_are_refused_and_others_taken(tmp_path: Path) -> None:
    one, other = generated(tmp_path / "one", seed=1), generated(tmp_path / "other", seed=2)
    refuse_overlap([one, other], one, "test")
    # A set whose charts were copied into another's training.
    train = one / "data" / "train-00000-of-00001.parquet"
    train.write_bytes((other / "data" / "test-00000-of-00001.parquet").read_bytes())
    with pytest.raises(DataError, match=r"\d charts of test are in .*one too"):
        refuse_overlap([one], other, "test")


def test_validation_is_no_place_to_be_judged(judged: Path) -> None:
    with pytest.raises(DataError, match=r"trained or chosen by it\. Judge it on test"):
        refuse_overlap([], judged, "validation")


def test_looks_are_counted_by_split_and_survive(judged: Path) -> None:
    info = read_task_info(judged)

    def look(split: str, at_ns: int) -> int:
        return record_look(judged, info, split, reader="r", questions=7, at_ns=at_ns)

    assert [look("test", 5), look("validation", 6), look("test", 7)] == [1, 0, 2]
    found = looks_at(judged)
    assert [(one.at_ns, one.split, one.reader, one.questions) for one in found] == [
        (5, "test", "r", 7),
        (7, "test", "r", 7),
    ]
    assert {one.set_key for one in found} == {info.key}
    log = judged / "looks.jsonl"
    log.write_bytes(log.read_bytes() + b"{}\n")
    with pytest.raises(DataError, match=r"looks\.jsonl, row 2: The log of looks is damaged"):
        look("test", 8)
