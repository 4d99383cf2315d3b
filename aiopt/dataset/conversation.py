"""Conversations for supervised fine-tuning: a question about what is known, the label as the answer.

Owns the wording of question and answer.  The question is made of features alone, the answer of a label; the
form is that of chat templates: ``[{"role", "content": [{"type", "text"}, …]}, …]``.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

from aiopt.config import canonical_json
from aiopt.dataset.features import REGIMES
from aiopt.dataset.labels import BUY, HOLD, SELL

BIAS = {SELL: "bearish", HOLD: "neutral", BUY: "bullish"}
"""Words of the answer for the classes SELL, HOLD, BUY."""

_UNSAID = ("day_", "week_")
"""Beginnings of features the question leaves out: it gives the time in words."""


def conversation(
    *,
    instrument: str,
    timeframe: str,
    decision_ns: int,
    features: Mapping[str, float],
    horizon: int,
    label: int,
    window: int | None,
) -> list[dict[str, Any]]:
    """Return the messages of one row.

    Parameters
    ----------
    instrument, timeframe : str
        As in bar files.
    decision_ns : int
        Close of the decision bar, UTC.
    features : mapping of str to float
        All features of the row.
    horizon : int
        Bars ahead.
    label : {-1, 0, 1}
        Class of that horizon.
    window : int or None
        Bars of the chart; None where there is none, and then the question has no image.

    Returns
    -------
    list of dict
        A user's message (image, if any, and text) and an assistant's (one JSON object).
    """
    moment = dt.datetime.fromtimestamp(decision_ns // 1_000_000_000, dt.UTC)
    shown = "" if window is None else f" The chart shows the last {window} bars."
    said = {name: value for name, value in features.items() if not name.startswith(_UNSAID)}
    values = ", ".join(f"{name} {_number(value)}" for name, value in said.items())
    text = (
        f"{instrument}, {timeframe} bars, {moment:%Y-%m-%d %H:%M} UTC, at the close of a bar.{shown}\n"
        f"Values at that close: {values}.\n"
        f"Which way will the price move over the next {horizon} bars? Answer with one JSON object: "
        '"bias" ("bullish", "bearish" or "neutral"), "horizon_bars" (integer), '
        '"volatility" ("low", "normal" or "high").'
    )
    answer = {
        "bias": BIAS[label],
        "horizon_bars": horizon,
        "volatility": REGIMES[int(features["volatility_regime"])],
    }
    question: list[dict[str, Any]] = [] if window is None else [{"type": "image", "text": None}]
    question.append({"type": "text", "text": text})
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": [{"type": "text", "text": canonical_json(answer).decode()}]},
    ]


def _number(value: float) -> str:
    """Return six significant digits; a whole number without a point."""
    return f"{int(value)}" if math.isfinite(value) and value == int(value) else f"{value:.6g}"
