"""How often a trained checkpoint is right when it says how sure it is: a file that lies in the checkpoint.

Owns the file and when it counts: for answers of the very revision it was fitted on, and no other.  The file
is no part of that revision, since no engine reads it.  Fitting is `aiopt.dataset.judging.calibrated`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from aiopt.analyst.analysis import Analysis
from aiopt.analyst.calibrating import Calibrator
from aiopt.analyst.prompts import DEFAULT_PROMPT, SHORT_PROMPT
from aiopt.analyst.rules_calibration import calibrated_confidence
from aiopt.config import decode
from aiopt.errors import DataError
from aiopt.files import atomic_write_bytes

CALIBRATION_FILE = "aiopt_calibration.json"

READING = "analysis"
"""The task whose confidence is that of a whole reading.  Of one put together from short answers it is the
prompt's name, `SHORT_PROMPT`, and the confidence is the one that is stated."""


class TaskCalibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The map of one task's confidence.

    Attributes
    ----------
    calibrator : Calibrator
        Fitted on all validation charts.
    n : int
        How many.
    ece_before, ece_after : float
        Expected calibration error on them; after: of each half by a map fitted on the other half.
    """

    calibrator: Calibrator
    n: int
    ece_before: float
    ece_after: float


class CheckpointCalibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of ``aiopt_calibration.json``.

    Attributes
    ----------
    layout : str
        Version of the file.
    revision : str
        Of the checkpoint it was fitted on.
    data : str
        `TaskSetInfo.key` of the set.
    split : str
        Always ``validation``: what a checkpoint is judged on fits nothing.
    tasks : dict of str to TaskCalibration
        By task; ``analysis`` is the confidence of whole readings, ``short/1`` what is stated of the bias in
        readings put together from short answers.
    """

    layout: Literal["calibration/1"] = "calibration/1"
    revision: str
    data: str
    split: Literal["validation"] = "validation"
    tasks: dict[str, TaskCalibration]


def calibrated(analysis: Analysis, calibrations: Sequence[CheckpointCalibration] = ()) -> float | None:
    """Return how often such readings are right; None where nobody measured it for who read.

    Parameters
    ----------
    analysis : Analysis
        By rules, whose map is known, or by one model.  A vote of several has none.
    calibrations : sequence of CheckpointCalibration
        Of checkpoints that may have answered.
    """
    if analysis.source == "rules":
        return calibrated_confidence(analysis)
    key, said = READING, analysis.confidence
    if analysis.prompt_version == SHORT_PROMPT:
        # What the model itself says: unlike a confidence combined with spread and gaps, it means the same on
        # every market.
        key, said = SHORT_PROMPT, analysis.confidence_parts.stated
    for one in calibrations:
        if one.revision == analysis.model_revision and key in one.tasks:
            return one.tasks[key].calibrator(said)
    return None


def fitting_prompt(calibrations: Sequence[CheckpointCalibration]) -> str:
    """Return the prompt that all of some checkpoints were calibrated for.

    Parameters
    ----------
    calibrations : sequence of CheckpointCalibration
        Of checkpoints that may answer.

    Returns
    -------
    str
        ``short/1`` where every one of them knows that and no whole analysis; else `DEFAULT_PROMPT`.
    """
    short = [SHORT_PROMPT in one.tasks and READING not in one.tasks for one in calibrations]
    return SHORT_PROMPT if short and all(short) else DEFAULT_PROMPT


def read_calibration(path: Path) -> CheckpointCalibration:
    """Read the calibration of a checkpoint.

    Parameters
    ----------
    path : Path
        The file, or the folder of a checkpoint or training that holds it.

    Raises
    ------
    DataError
        If there is none, or it is damaged.
    """
    path = Path(path)
    places = [path, path / CALIBRATION_FILE, path / "checkpoint" / CALIBRATION_FILE]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        msg = f"A checkpoint must have been calibrated, but there is no {CALIBRATION_FILE}. "
        raise DataError(f"{msg}Make it with `aiopt model calibrate`.", file=path)
    return decode_calibration(file.read_bytes(), where=file)


def decode_calibration(raw: bytes | str, *, where: Path | str) -> CheckpointCalibration:
    """Return the calibration that a file's content says.

    Parameters
    ----------
    raw : bytes or str
        The content.
    where : Path or str
        Where it is from, for the message.

    Raises
    ------
    DataError
        If it is damaged.
    """
    try:
        document = msgspec.json.decode(raw)
    except msgspec.DecodeError as failure:
        msg = f"The file is not valid JSON: {failure}. Calibrate the checkpoint again."
        raise DataError(msg, file=where) from failure
    return decode(document, CheckpointCalibration, where=str(where), error=DataError)


def write_calibration(checkpoint: Path, found: CheckpointCalibration) -> Path:
    """Write a calibration into the folder of its checkpoint, whole or not at all; return the file."""
    path = Path(checkpoint) / CALIBRATION_FILE
    atomic_write_bytes(path, msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    return path
