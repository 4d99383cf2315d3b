"""What is known of the eyes from validation charts: kept answers, the calibration, whole readings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("torch")

from aiopt.analyst.answers import answer_text
from aiopt.analyst.checkpoint_calibration import CALIBRATION_FILE, read_calibration
from aiopt.analyst.short_reading import SHORT_QUESTIONS
from aiopt.dataset.judging import Asked, Reading
from aiopt.dataset.tasks import GeneratorSource, PictureConfig, TaskSetConfig, build_tasks, read_task_info
from aiopt.dataset.tasks.task_config import ShareConfig
from aiopt.eyes.answering import CheckpointReader
from aiopt.eyes.calibrated import calibrate_eyes, read_calibrated
from aiopt.eyes.eyes_page import eyes_page
from aiopt.eyes.recipe import Say
from aiopt.training.training import TrainingResult


class Reader:
    """Knows the truth, but is wrong about every third bias and never sees an engulfing bar."""

    revision = "abc"

    def __init__(self, path: Path) -> None:
        self.path, self.asked = path, 0

    def answers_to(
        self, asked: Iterable[Asked], pictures: PictureConfig, progress: Callable[[int], None]
    ) -> list[Reading]:
        found = []
        for number, one in enumerate(asked):
            self.asked += 1
            said = dict(one.truth)
            if one.task == "engulfing":
                said = {"engulfing": "none"}
            if one.task == "bias" and number // len(SHORT_QUESTIONS) % 3 == 0:
                said = {"bias": "long" if one.truth["bias"] != "long" else "short"}
            text = answer_text(said, one.answer_schema)
            found.append(
                Reading(sample=one.sample, task=one.task, variant=one.variant, answer=text, confidence=0.9)
            )
        return found


def charts(folder: Path, count: int) -> Path:
    config = TaskSetConfig(
        sources=(GeneratorSource(name="templates", charts=count),),
        tasks=tuple(SHORT_QUESTIONS),
        shares=ShareConfig(train=0.1, validation=0.8, test=0.1),
        pictures=PictureConfig(mark_synthetic=False),
        seed=3,
    )
    build_tasks(config, folder)
    return folder


def test_whole_readings_are_scored_and_calibrated_and_charts_asked_about_once(tmp_path: Path) -> None:
    folder, checkpoint = charts(tmp_path / "charts", 30), tmp_path / "checkpoint"
    checkpoint.mkdir()
    reader = Reader(checkpoint)
    look = calibrate_eyes(cast(CheckpointReader, reader), folder, tmp_path, say=Say())
    assert len(look.asked) == len(look.readings) == reader.asked == 24 * len(SHORT_QUESTIONS)
    found = read_calibrated(tmp_path, checkpoint)
    assert found.calibration is not None
    assert found.calibration == read_calibration(checkpoint)
    assert found.calibration.data == read_task_info(folder).key
    assert found.calibration.tasks["short/1"].n == 24
    assert found.reading is not None
    assert (found.reading.bias.successes, found.reading.bias.n) == (16, 24)
    assert found.reading.regime.value == found.reading.levels.value == 1
    assert found.reading.patterns.successes == 0
    assert found.reading.patterns.n > 0
    (checkpoint / CALIBRATION_FILE).unlink()
    again = calibrate_eyes(cast(CheckpointReader, reader), folder, tmp_path, say=Say())
    assert reader.asked == len(again.readings), "the answers are kept"
    assert read_calibrated(tmp_path, checkpoint) == found
    page = eyes_page(cast(TrainingResult, _Result()), 1, [], found)
    assert "| short/1 | 24 | " in page
    assert "Of 24 whole readings the bias is right in 66.7% [47%, 82%]" in page


def test_too_few_charts_are_said_and_nothing_is_written(tmp_path: Path) -> None:
    folder = charts(tmp_path / "charts", 10)
    notes: list[str] = []
    reader: Any = Reader(tmp_path)
    calibrate_eyes(reader, folder, tmp_path, say=Say(note=notes.append))
    assert "The eyes are not calibrated. A calibration must be fitted on 20 answers" in notes[-1]
    assert not (tmp_path / CALIBRATION_FILE).exists()
    assert read_calibrated(tmp_path, tmp_path).calibration is None


class _Result:
    """What the page reads of a training."""

    steps_done, step, revision = 10, 8, "0123456789abcdef"
