"""Conversations for supervised fine-tuning: the analyst's own question, answered by what happened.

Owns which part of an answer is read from the window and which is the label.  Question, answer schema and the
reading of the window are `aiopt.analyst`'s, so a model trained on these rows is asked in service what it was
asked in training.  The form is that of chat templates: ``[{"role", "content": [{"type", "text"}, …]}, …]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.analyst import (
    DEFAULT_PROMPT,
    RULES_VERSION,
    SCHEMA_VERSION,
    AnalysisRequest,
    analysis_messages,
    read_by_rules,
)
from aiopt.analyst.answers import answer_text
from aiopt.analyst.schema import ANALYSIS_SCHEMA
from aiopt.bars.schema import BarSet
from aiopt.dataset.dataset_config import ImageConfig
from aiopt.dataset.labels import BUY, HOLD, SELL

BIAS = {SELL: "short", HOLD: "neutral", BUY: "long"}
"""The analyst's words for the classes SELL, HOLD, BUY."""

ANSWERS = "grammar/1"
"""How answers are written: as `aiopt.analyst.answers` does."""

VERSIONS = {"prompt": DEFAULT_PROMPT, "schema": SCHEMA_VERSION, "rules": RULES_VERSION, "answers": ANSWERS}
"""What decides the wording of questions and answers, besides the bars."""


class Conversations:
    """Messages of decision bars.

    Parameters
    ----------
    bars : BarSet
        The bid side is shown; the ask side, where there is one, gives the spread.
    images : ImageConfig
        Window, and the indicators whose values at its end are given.
    pictured : bool
        The question shows the chart.
    labels : ndarray of shape (n_bars,), int8
        Class of the horizon asked for.
    train : ndarray of int64
        Decision bars of the train split.  A class's share of them is the confidence of its answers, in all
        splits: what is known before a chart is looked at.
    """

    def __init__(
        self,
        bars: BarSet,
        images: ImageConfig,
        labels: NDArray[np.int8],
        train: NDArray[np.int64],
        *,
        pictured: bool,
    ) -> None:
        spec = images.spec()
        self._bars = bars
        self._window = images.window
        self._labels = labels
        self._pictured = pictured
        self._lines: dict[str, NDArray[np.float64]] = {}
        for plot in (*spec.overlays, *spec.panes):
            outputs = plot.compute(bars.bid)
            for name, values in outputs.items():
                self._lines[plot.title() if len(outputs) == 1 else f"{plot.title()} {name}"] = values
        self.shares = {code: float((labels[train] == code).mean()) for code in BIAS}

    def request(self, bar: int) -> AnalysisRequest:
        """Return what an analyst would be asked at the close of a bar; its picture is kept beside it."""
        bars = self._bars
        spread = None if bars.single_price else float(bars.ask.close[bar] - bars.bid.close[bar])
        return AnalysisRequest(
            bars=bars.bid.slice(bar + 1 - self._window, bar + 1),
            indicators={n: float(v[bar]) for n, v in self._lines.items() if np.isfinite(v[bar])},
            spread=None if spread is None else max(spread, 0.0),
        )

    def messages(self, bar: int) -> list[dict[str, Any]]:
        """Return system, user and assistant messages of a decision bar.

        Raises
        ------
        DataError
            If the serving grammar cannot write the answer.
        """
        request = self.request(bar)
        system, user = analysis_messages(request, DEFAULT_PROMPT, picture=False)
        question = [_text(user["content"])]
        if self._pictured:
            question.insert(0, {"type": "image", "text": None})
        return [
            {"role": "system", "content": [_text(system["content"])]},
            {"role": "user", "content": question},
            {
                "role": "assistant",
                "content": [_text(answer_text(self._answer(bar, request), ANALYSIS_SCHEMA))],
            },
        ]

    def _answer(self, bar: int, request: AnalysisRequest) -> Mapping[str, Any]:
        """Return the analysis: what the rules see in the window, the bias and its confidence from labels."""
        seen = read_by_rules(request)
        label = int(self._labels[bar])
        return {
            "regime": {"trend": seen.regime.trend, "volatility": seen.regime.volatility},
            "patterns": [
                {"kind": p.kind, "first_bar": p.first_bar, "last_bar": p.last_bar, "price": p.price}
                for p in seen.patterns
            ],
            "levels": [{"price": v.price, "kind": v.kind, "strength": v.strength} for v in seen.levels],
            "bias": BIAS[label],
            "confidence": round(self.shares[label], 2),
            # The rules end with a bias of their own, which is not the answer.
            "rationale": seen.rationale.removesuffix(f" Bias {seen.bias}."),
        }


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
