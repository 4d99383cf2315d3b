"""The charts an evaluation asks about: planted ones and windows of real bars, with their controls.

Owns which windows are taken and what is true of each.  Scores nothing (`aiopt.analyst.evaluating`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aiopt.analyst.evaluating import HORIZON, MIRROR_BIAS, EvalCase
from aiopt.analyst.planted import blank_bars, mirrored_bars, planted_cases, shuffled_bars
from aiopt.analyst.settings import AnalystSettings
from aiopt.analyst.windows import request_of_window
from aiopt.bars.files import load_bar_set
from aiopt.errors import DataError
from aiopt.patterns import PATTERN_KINDS, Prices, swing_patterns

Truth = tuple[int, str, Any, int, int]
"""Number of the chart, kind of the pattern, bias, first and last bar of the pattern."""

_BLANK: Truth = (0, "none", "neutral", 0, 0)


def planted_charts(n: int, seed: int, noise: float, settings: AnalystSettings) -> list[EvalCase]:
    """Return `n` charts with planted patterns, each also mirrored and shuffled, and blank ones."""
    found = []
    for number, case in enumerate(planted_cases(n, seed=seed, noise=noise)):
        truth = (number, case.kind, case.bias, case.first_bar, case.last_bar)
        found += [
            _case("upright", case.bars, truth, settings),
            _case("mirrored", mirrored_bars(case.bars), _mirrored(truth), settings),
            _case("shuffled", shuffled_bars(case.bars, seed=seed + number), truth, settings),
        ]
    found += [_case("blank", blank_bars(seed=seed + i), _BLANK, settings) for i in range(max(1, n // 9))]
    return found


def real_charts(path: Path, symbol: str | None, n: int, settings: AnalystSettings) -> list[EvalCase]:
    """Return windows of real bars, labelled with the last swing pattern confirmed at their end."""
    bars = load_bar_set(path, symbol=symbol).bid
    size = settings.bars
    if len(bars) < 2 * size + HORIZON:
        msg = f"An evaluation needs at least {2 * size + HORIZON} bars, but there are {len(bars)}. Give more."
        raise DataError(msg, file=path)
    found = []
    # No two windows share a bar, nor the bars after them: each counts as evidence of its own.
    most = (len(bars) - HORIZON) // (size + HORIZON)
    stops = np.linspace(size, len(bars) - HORIZON, min(n, most)).astype(int)
    for number, stop in enumerate(stops.tolist()):
        window = bars.slice(stop - size, stop)
        prices = Prices(window.open, window.high, window.low, window.close)
        fresh = [one for one in swing_patterns(prices) if one.confirmed_bar >= size - 10]
        bias = {"bullish": "long", "bearish": "short", "neutral": "neutral"}
        truth: Truth = (number, "none", "neutral", 0, 0)
        if fresh:
            last = fresh[-1]
            truth = (number, last.kind, bias[last.direction], last.first_bar, last.last_bar)
        move = float(bars.close[stop + HORIZON - 1] - bars.close[stop - 1])
        found += [
            _case("upright", window, truth, settings, move=move),
            _case("mirrored", mirrored_bars(window), _mirrored(truth), settings),
            _case("shuffled", shuffled_bars(window, seed=number), truth, settings),
        ]
    return found + [_case("blank", blank_bars(seed=i), _BLANK, settings) for i in range(max(1, n // 9))]


def _mirrored(truth: Truth) -> Truth:

    number, kind, bias, first, last = truth
    return number, "none" if kind == "none" else PATTERN_KINDS[kind].mirror, MIRROR_BIAS[bias], first, last


def _case(
    variant: Any,
    bars: Any,
    truth: Truth,
    settings: AnalystSettings,
    *,
    move: float = 0.0,
) -> EvalCase:

    number, kind, bias, first, last = truth
    request = request_of_window(bars, (0, len(bars)), spec=settings.chart)
    return EvalCase(
        request=request,
        variant=variant,
        number=number,
        kind=kind,
        bias=bias,
        first_bar=first,
        last_bar=last,
        move=move,
    )
