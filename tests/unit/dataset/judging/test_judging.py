"""Judging: known readers get the scores they must get, and controls unmask the wrong ones."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from aiopt.analyst.answers import answer_text
from aiopt.analyst.chat import ChatReply, ChatRequest
from aiopt.analyst.settings import AnalystSettings
from aiopt.dataset.judging import (
    VARIANTS,
    Asked,
    Reading,
    TaskScore,
    asked_of,
    compare_readings,
    judge,
    read_readings,
    rules_readings,
    write_readings,
)
from aiopt.dataset.judging.judging import fit_calibrators, is_right
from aiopt.dataset.judging.readings import endpoint_readings
from aiopt.dataset.tasks import (
    BarsSource,
    GeneratorSource,
    HeldOutConfig,
    ShareConfig,
    TaskSetConfig,
    TaskSetInfo,
    build_tasks,
    read_task_info,
)
from aiopt.errors import ConfigError, DataError, EndpointError
from aiopt.testing.bars import random_walk_bar_set

TASKS_ASKED = ("trend", "highest", "engulfing", "levels", "regime", "bias", "pattern", "state", "forward")
CONFIG = TaskSetConfig(
    tasks=(*TASKS_ASKED, "strategy", "analysis"),
    sources=(
        GeneratorSource(name="templates", charts=81),
        GeneratorSource(name="processes", charts=6),
        BarsSource(path="eur", stride=120),
    ),
    shares=ShareConfig(train=0.4, validation=0.3, test=0.3),
    held_out=HeldOutConfig(generators=("processes",)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("judged") / "set"
    build_tasks(CONFIG, out, bars={"eur": random_walk_bar_set(3_600, seed=3, timeframe="5m")})
    return out


@pytest.fixture(scope="module")
def info(folder: Path) -> TaskSetInfo:
    return read_task_info(folder)


@pytest.fixture(scope="module")
def asked(folder: Path, info: TaskSetInfo) -> list[Asked]:
    return list(asked_of(folder, info, "test", controls=12))


def reading(one: Asked, value: object, confidence: float | None = None) -> Reading:
    text = value if isinstance(value, str) else answer_text(value, one.answer_schema)
    return Reading(sample=one.sample, task=one.task, variant=one.variant, answer=text, confidence=confidence)


def scores(found: object) -> dict[str, TaskScore]:
    return {one.task: one for one in found.scores}  # type: ignore[attr-defined]


def test_who_knows_the_truth_is_right_everywhere_but_where_no_one_can_be(
    info: TaskSetInfo, asked: list[Asked]
) -> None:
    found = scores(judge("oracle", info, "test", asked, [reading(one, one.truth) for one in asked]))
    # State is asked of processes alone, and these are held out.
    assert set(found) == set(info.tasks) - {"state"}
    for score in found.values():
        assert score.accuracy.value == score.valid.value == 1
        assert set(score.controls) <= set(VARIANTS[1:])
        assert all(share.value == 1 for share in score.controls.values())
        if score.majority is not None:
            assert score.against_majority is not None
            assert score.against_majority.verdict == "first"
    assert found["pattern"].located is not None
    assert found["pattern"].located.value == 1
    assert found["forward"].from_future


def test_who_answers_the_majority_has_its_share(info: TaskSetInfo, asked: list[Asked]) -> None:
    trends = [one for one in asked if one.task == "trend"]
    common = info.splits["train"].majority["trend"].choice
    found = scores(
        judge("one word", info, "test", asked, [reading(one, {"trend": common}) for one in trends])
    )
    assert set(found) == {"trend"}, "tasks without any reading are not judged"
    score = found["trend"]
    assert score.accuracy == score.majority
    assert score.accuracy.value == pytest.approx(info.splits["test"].majority["trend"].share)
    assert score.against_majority is not None
    assert score.against_majority.verdict == "open"


def test_invalid_and_missing_answers_are_wrong(info: TaskSetInfo, asked: list[Asked]) -> None:
    trends = [one for one in asked if one.task == "trend" and one.variant == "upright"]
    spaced = [reading(one, '{"trend": "up"}') for one in trends[: len(trends) // 2]]
    score = scores(judge("spaces", info, "test", asked, spaced))["trend"]
    assert score.accuracy.successes == score.valid.successes == 0
    assert score.accuracy.n == len(trends)
    assert score.controls == {}, "what the readings lack is not measured, not failed"


def test_a_reader_of_the_market_and_not_of_the_chart_fails_the_mirror(
    info: TaskSetInfo, asked: list[Asked]
) -> None:
    upright = {one.sample: one.truth for one in asked if one.task == "bias" and one.variant == "upright"}
    stubborn = [reading(one, upright[one.sample]) for one in asked if one.task == "bias"]
    score = scores(judge("stubborn", info, "test", asked, stubborn))["bias"]
    assert score.accuracy.value == 1
    neutral = np.mean(
        [one.truth["bias"] == "neutral" for one in asked if one.task == "bias" and one.variant == "mirrored"]
    )
    assert score.controls["mirrored"].value == pytest.approx(neutral)
    # Right on shuffled and blank charts: it reads something that is not in the chart.
    assert score.controls["shuffled"].value == score.controls["blank"].value == 1


def test_controls_are_other_charts_with_their_own_truth(asked: list[Asked]) -> None:
    by_name = {one.name: one for one in asked}
    seen = set()
    for one in asked:
        if one.variant == "upright":
            continue
        original = by_name[one.sample, one.task, "upright"]
        assert not np.array_equal(one.bars.close, original.bars.close)
        if one.variant in ("shuffled", "blank"):
            assert one.truth == original.truth
        seen.add((one.task, one.variant))
    for task in ("trend", "levels", "bias", "pattern", "forward"):
        assert {variant for name, variant in seen if name == task} == set(VARIANTS[1:])
    mirrored = by_name[next(name for name in by_name if name[1:] == ("forward", "mirrored"))]
    truth = by_name[mirrored.sample, "forward", "upright"].truth["forward"]
    assert mirrored.truth["forward"] == {"up": "down", "down": "up", "flat": "flat"}[truth]
    charts = {one.sample for one in asked if one.variant != "upright"}
    assert len(charts) == 12


def test_the_rules_are_judged_beside_and_their_confidence_is_calibrated_on_validation(
    folder: Path, info: TaskSetInfo, asked: list[Asked]
) -> None:
    validation = list(asked_of(folder, info, "validation", controls=0))
    calibrators = fit_calibrators(validation, rules_readings(validation))
    assert set(calibrators) == {"bias"}
    assert calibrators["bias"].n == len([one for one in validation if one.task == "bias"])
    ruled = rules_readings(asked)
    found = scores(judge("rules", info, "test", asked, ruled, rules=ruled, calibrators=calibrators))
    assert set(found) == {"trend", "engulfing", "regime", "bias", "pattern", "forward"}
    bias = found["bias"]
    assert bias.rules == bias.accuracy
    assert bias.accuracy.low > 1 / 3
    assert bias.against_rules is not None
    assert bias.against_rules.difference == 0
    assert bias.calibration is not None
    assert bias.calibrated is not None
    assert bias.calibrated.ece < bias.calibration.ece  # type: ignore[operator]


def test_readers_are_compared_on_the_same_charts(info: TaskSetInfo, asked: list[Asked]) -> None:
    right = [reading(one, one.truth) for one in asked if one.task in ("trend", "highest")]
    worse = [
        one if number % 3 else msgspec.structs.replace(one, answer='{"trend":"none"}')
        for number, one in enumerate(right)
        if one.task == "trend"
    ]
    found = compare_readings(asked, right, worse)
    assert set(found) == {"trend", "all"}, "only what both answer is compared"
    assert found["trend"].verdict == found["all"].verdict == "first"
    assert found["trend"].only_second == 0
    with pytest.raises(DataError, match="must answer a task in common"):
        compare_readings(asked, right, [reading(one, one.truth) for one in asked if one.task == "bias"])


def test_prices_of_levels_count_within_a_twentieth_of_the_range(asked: list[Asked]) -> None:
    one = next(one for one in asked if one.task == "levels")
    height = float(one.bars.high.max() - one.bars.low.min())
    for share, right in ((0.04, True), (-0.04, True), (0.06, False)):
        value = {**one.truth, "support": one.truth["support"] + share * height}
        assert is_right(one, reading(one, value)) is right


def test_an_endpoint_is_asked_as_in_training(info: TaskSetInfo, asked: list[Asked]) -> None:
    some = [one for one in asked if one.task in ("trend", "strategy")][:9]
    truths = iter(some)
    questions: list[ChatRequest] = []

    async def complete(question: ChatRequest) -> ChatReply:
        questions.append(question)
        one = next(truths)
        if len(questions) == 3:
            raise EndpointError("gone")
        return ChatReply(text=answer_text(one.truth, one.answer_schema))

    settings = AnalystSettings(endpoint="http://127.0.0.1:1/v1", concurrency=1, numbers=False)
    found = asyncio.run(endpoint_readings(some, complete, settings, info.config.pictures))
    assert [is_right(one, answer) for one, answer in zip(some, found, strict=True)] == [
        number != 2 for number in range(len(some))
    ]
    assert found[2].answer == ""
    for one, question in zip(some, questions, strict=True):
        assert question.schema == one.answer_schema
        system, user = question.messages
        text = user["content"] if isinstance(user["content"], str) else user["content"][-1]["text"]
        assert text == one.messages()[1]["content"][-1]["text"]
        assert isinstance(system["content"], str)
        pictured = not isinstance(user["content"], str) and user["content"][0]["type"] == "image_url"
        assert pictured is (one.task != "strategy")


def test_readings_survive_a_file(asked: list[Asked], tmp_path: Path) -> None:
    written = [reading(one, one.truth, 0.25) for one in asked[:20]]
    write_readings(tmp_path / "readings.parquet", written)
    assert read_readings(tmp_path / "readings.parquet") == written
    short = pl.DataFrame({"sample": ["a"], "task": ["trend"], "answer": ["x"]})
    short.write_parquet(tmp_path / "short.parquet")
    assert read_readings(tmp_path / "short.parquet")[0].variant == "upright"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"sample": ["a"], "task": ["trend"]}, r"bad\.parquet: .*answer is missing"),
        (
            {"sample": ["a", "a"], "task": ["trend", "trend"], "answer": ["x", "y"]},
            r"row 1: A question must be answered once, but a trend upright is twice",
        ),
        (
            {"sample": ["a"], "task": ["trend"], "answer": ["x"], "confidence": [1.5]},
            r"row 0: `0 <= confidence <= 1` must hold, but got 1\.5",
        ),
    ],
)
def test_bad_files_of_readings_name_the_row(columns: dict, message: str, tmp_path: Path) -> None:
    pl.DataFrame(columns).write_parquet(tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=message):
        read_readings(tmp_path / "bad.parquet")
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(DataError, match="cannot be read"):
        read_readings(tmp_path / "text.parquet")


def test_readings_of_other_questions_are_refused(folder: Path, info: TaskSetInfo, asked: list[Asked]) -> None:
    with pytest.raises(DataError, match="there is no reading"):
        judge("nobody", info, "test", asked, [])
    other = Reading(sample="x", task="trend", variant="upright", answer="")
    with pytest.raises(DataError, match="x trend upright was not asked"):
        judge("other", info, "test", asked, [other])
    with pytest.raises(ConfigError, match="There is no split 'exam'"):
        next(asked_of(folder, info, "exam"))
    with pytest.raises(ConfigError, match="There is no task 'dream'"):
        next(asked_of(folder, info, "test", tasks=["dream"]))


def test_few_charts_are_spread_over_the_split(folder: Path, info: TaskSetInfo, asked: list[Asked]) -> None:
    few = list(asked_of(folder, info, "test", tasks=["trend"], most=5, controls=2))
    assert len({one.sample for one in few}) == 5
    assert {one.source for one in few} == {one.source for one in asked}
    assert sum(one.variant == "mirrored" for one in few) == 2
