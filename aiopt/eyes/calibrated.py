"""How sure the eyes are, made honest, and what a whole reading of theirs is worth: on validation charts.

Owns the look at the validation split of the generated charts: the answers kept of it, the calibration written
into the checkpoint, and the score of readings put together from short answers.  Judges on no test split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aiopt.analyst.checkpoint_calibration import (
    CALIBRATION_FILE,
    CheckpointCalibration,
    read_calibration,
    write_calibration,
)
from aiopt.analyst.scoring import Share, wilson
from aiopt.dataset.judging import Asked, Reading, asked_of, read_readings, write_readings
from aiopt.dataset.judging.calibrated import ShortReading, fit_checkpoint_calibration, short_readings
from aiopt.dataset.tasks import read_task_info
from aiopt.errors import DataError
from aiopt.eyes.answering import CheckpointReader
from aiopt.eyes.recipe import Say
from aiopt.files import atomic_write_bytes

ANSWERS_FILE = Path("judged", "charts-validation-eyes.parquet")
READING_FILE = Path("judged", "charts-validation-reading.json")


class ReadingScore(msgspec.Struct, frozen=True, kw_only=True):
    """What readings put together from short answers are worth.

    Attributes
    ----------
    bias, regime, levels : Share
        Readings with the right bias; trend and volatility both; the levels of the true answers, no more and
        no fewer.
    patterns : Share
        Engulfing bars named, of those that are there; what is named is there, by the rule.
    """

    bias: Share
    regime: Share
    levels: Share
    patterns: Share


class CalibratedEyes(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the eyes from validation charts.

    Attributes
    ----------
    calibration : CheckpointCalibration or None
        As it lies in the checkpoint; None where there were too few charts.
    reading : ReadingScore or None
        None where the charts do not have every short question.
    """

    calibration: CheckpointCalibration | None
    reading: ReadingScore | None


@dataclass(frozen=True)
class ValidationLook:
    """Questions of the validation split and the eyes' answers."""

    asked: list[Asked]
    readings: list[Reading]


def calibrate_eyes(reader: CheckpointReader, charts: Path, out: Path, *, say: Say) -> ValidationLook:
    """Let the eyes read the validation charts, or take the answers kept, and write their calibration.

    Parameters
    ----------
    reader : CheckpointReader
        The eyes.
    charts : Path
        The set of generated charts.
    out : Path
        Folder of the recipe.
    say : Say
        Told how it stands.
    """
    info = read_task_info(charts)
    asked = list(asked_of(charts, info, "validation", controls=0))
    path = out / ANSWERS_FILE
    if path.is_file():
        readings = read_readings(path)
    else:
        say.note("Calibrating on validation charts")
        progress = say.counting("validation, questions", len(asked))
        readings = reader.answers_to(asked, info.config.pictures, progress=progress)
        path.parent.mkdir(exist_ok=True)
        write_readings(path, readings)
    together = short_readings(asked, readings)
    if together:
        atomic_write_bytes(out / READING_FILE, msgspec.json.encode(reading_score(together)) + b"\n")
    try:
        fitted = fit_checkpoint_calibration(
            asked, readings, revision=reader.revision, data=info.key, pictures=info.config.pictures
        )
    except DataError as failure:
        say.note(f"The eyes are not calibrated. {failure}")
    else:
        write_calibration(reader.path, fitted)
    return ValidationLook(asked, readings)


def reading_score(readings: Sequence[ShortReading]) -> ReadingScore:
    """Return what readings are worth; at least one."""
    pairs = [(one.analysis, one.truth) for one in readings]
    there = [found.patterns == truth.patterns for found, truth in pairs if truth.patterns]
    return ReadingScore(
        bias=_share([found.bias == truth.bias for found, truth in pairs]),
        regime=_share([found.regime == truth.regime for found, truth in pairs]),
        levels=_share([found.levels == truth.levels for found, truth in pairs]),
        patterns=_share(there),
    )


def _share(right: Sequence[bool]) -> Share:
    return wilson(sum(right), len(right))


def read_calibrated(out: Path, checkpoint: Path) -> CalibratedEyes:
    """Return what is known of finished eyes from validation charts."""
    path = out / READING_FILE
    reading = msgspec.json.decode(path.read_bytes(), type=ReadingScore) if path.is_file() else None
    known = (checkpoint / CALIBRATION_FILE).is_file()
    return CalibratedEyes(calibration=read_calibration(checkpoint) if known else None, reading=reading)
