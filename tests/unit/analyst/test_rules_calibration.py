"""The rules' calibration: what is shipped is what a fit gives, and it mends charts it was not fitted on."""

from __future__ import annotations

import msgspec
import pytest

from aiopt.analyst.analysis import Analysis, AnalysisRequest
from aiopt.analyst.generators import GENERATORS, kinds_in_turn
from aiopt.analyst.rule_reader import read_by_rules
from aiopt.analyst.rules_calibration import (
    RULES_CALIBRATION,
    calibrated_confidence,
    fit_rules_calibration,
)
from aiopt.analyst.scoring import calibration


def readings(n: int, seed: int) -> list[tuple[Analysis, bool]]:
    found = []
    for generator in GENERATORS.values():
        for i, kind in enumerate(kinds_in_turn(generator, n)):
            case = generator.case(kind, seed=seed + i)
            reading = read_by_rules(AnalysisRequest(bars=case.bars))
            found.append((reading, reading.bias == case.bias))
    return found


@pytest.mark.slow
def test_the_shipped_table_is_what_a_fit_gives() -> None:
    assert fit_rules_calibration() == RULES_CALIBRATION


def test_it_mends_the_confidence_of_charts_it_was_not_fitted_on() -> None:
    found = readings(90, 5_000)
    right = [hit for _, hit in found]
    before = calibration([reading.confidence for reading, _ in found], right)
    after = calibration([calibrated_confidence(reading) or 0.0 for reading, _ in found], right)
    assert after.brier < before.brier  # type: ignore[operator]


def test_readings_of_others_have_no_map() -> None:
    reading, _ = readings(1, 1)[0]
    assert calibrated_confidence(reading) is not None
    assert calibrated_confidence(msgspec.structs.replace(reading, source="model")) is None
    assert calibrated_confidence(msgspec.structs.replace(reading, model_revision="rules/1")) is None
