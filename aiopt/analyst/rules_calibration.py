"""How often the rules' readings are right: a map of their confidence, fitted on charts of two generators.

The rules' confidence says how well a reading is supported (`aiopt.analyst.confidence`), not how often such
readings are right.  This table says how often, for a side and for neutral apart, on generated charts alone.
It is beside the reading, never in it: `Analysis.confidence` is what it was.

Owns the table and how it was fitted: `fit_rules_calibration` gives it again.
"""

from __future__ import annotations

from aiopt.analyst.analysis import Analysis, AnalysisRequest
from aiopt.analyst.calibrating import Calibrator, fit_calibrator
from aiopt.analyst.generators import GENERATORS, kinds_in_turn
from aiopt.analyst.rule_reader import RULES_VERSION, read_by_rules

CALIBRATION_VERSION = f"{RULES_VERSION} calibration/1"

FIT_SEED = 20_260_000
"""First seed of the charts it was fitted on; evaluations draw others."""

FIT_CHARTS = 450
"""Charts of each generator, a third of each strength of noise."""

FIT_NOISE = (0.5, 1.0, 2.0)


def calibrated_confidence(analysis: Analysis) -> float | None:
    """Return how often such readings of the rules are right on generated charts.

    Returns
    -------
    float or None
        None for a reading that is not of the rules' calibrated version.
    """
    if analysis.source != "rules" or analysis.model_revision != RULES_VERSION:
        return None
    return RULES_CALIBRATION[_sort(analysis.bias)](analysis.confidence)


def fit_rules_calibration() -> dict[str, Calibrator]:
    """Return the table, fitted anew; a test holds it equal to `RULES_CALIBRATION`."""
    said: dict[str, list[float]] = {"side": [], "neutral": []}
    right: dict[str, list[bool]] = {"side": [], "neutral": []}
    for generator in GENERATORS.values():
        for i, kind in enumerate(kinds_in_turn(generator, FIT_CHARTS)):
            noise = FIT_NOISE[i // len(generator.kinds) % len(FIT_NOISE)]
            case = generator.case(kind, seed=FIT_SEED + i, noise=noise)
            reading = read_by_rules(AnalysisRequest(bars=case.bars))
            said[_sort(reading.bias)].append(reading.confidence)
            right[_sort(reading.bias)].append(reading.bias == case.bias)
    return {sort: fit_calibrator(said[sort], right[sort]) for sort in said}


def _sort(bias: str) -> str:
    return "neutral" if bias == "neutral" else "side"


RULES_CALIBRATION: dict[str, Calibrator] = {
    "side": Calibrator(
        method="isotonic",
        confidences=(
            0.226854,
            0.608378,
            0.609977,
            0.641651,
            0.642953,
            0.649571,
            0.65,
            0.703518,
            0.710306,
            0.7375,
            0.737936,
            0.843253,
            0.847338,
            0.875,
            0.88114,
            0.943518,
            0.945232,
            1.0,
        ),
        shares=(
            0.317919,
            0.317919,
            0.45,
            0.45,
            0.5,
            0.5,
            0.676923,
            0.676923,
            0.717391,
            0.717391,
            0.75,
            0.75,
            0.827586,
            0.827586,
            0.837209,
            0.837209,
            0.884615,
            0.884615,
        ),
        n=662,
    ),
    "neutral": Calibrator(
        method="isotonic",
        confidences=(
            0.227061,
            0.375,
            0.40625,
            0.431716,
            0.575374,
            0.58237,
            0.621022,
            0.625,
            0.733823,
            0.75,
            0.827935,
            0.833975,
            0.875,
        ),
        shares=(
            0.117647,
            0.117647,
            0.363636,
            0.466667,
            0.466667,
            0.5,
            0.5,
            0.716981,
            0.716981,
            0.75,
            0.75,
            0.784314,
            0.784314,
        ),
        n=238,
    ),
}
"""By sort of answer: a side, or neutral."""
