"""An evaluation run: the rules, and a model where there is one, read every chart and are scored.

Owns who reads and that pictures are drawn when they are asked for.  What is measured is
`aiopt.analyst.evaluating`'s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from aiopt.analyst.analysis import AnalysisRequest, AnalysisResult
from aiopt.analyst.chat import Complete
from aiopt.analyst.evaluating import EvalCase, Reader, Scores, ask_all, score
from aiopt.analyst.reading import analyse
from aiopt.analyst.settings import AnalystSettings
from aiopt.charts import render_chart

Meter = Callable[[str, float], AbstractContextManager[Callable[[float], None]]]
"""Opens a progress bar: takes its description and its total."""


async def score_readers(
    cases: Sequence[EvalCase],
    settings: AnalystSettings,
    complete: Complete | None,
    *,
    seed: int,
    real: bool,
    meter: Meter,
) -> list[Scores]:
    """Have every chart read by the model and by the rules; return their scores, the model's first.

    Parameters
    ----------
    cases : sequence of EvalCase
        The charts.
    settings : AnalystSettings
        Models asked, and what they are shown.
    complete : callable or None
        Asks the model; None: the rules alone read.
    seed : int
        Of the intervals.
    real : bool
        The labels come from the detectors the rules read with, so scoring the rules on them is circular.
    meter : callable
        Shows how far a reader is.
    """
    readers: list[tuple[str, Complete | None]] = [("rules", None)]
    if complete is not None:
        readers.insert(0, (", ".join(settings.models), complete))
    found = []
    for name, asked in readers:
        with meter(f"Reading by {name}", len(cases)) as done:
            answers, readings = await ask_all(
                cases,
                _reader(asked, settings),
                model=asked is not None,
                concurrency=settings.concurrency,
                progress=done,
            )
        circular = real and asked is None
        found.append(score(name, list(cases), answers, readings, seed=seed, circular=circular))
    return found


def _reader(complete: Complete | None, settings: AnalystSettings) -> Reader:
    async def read(request: AnalysisRequest) -> AnalysisResult:
        if complete is not None and settings.picture:
            # Drawn when asked for: all of them at once could fill the memory.
            request = _with_picture(request, settings)
        return await analyse(request, complete, settings)

    return read


def _with_picture(request: AnalysisRequest, settings: AnalystSettings) -> AnalysisRequest:
    """Return the request with a chart of its bars."""
    if request.bars is None:
        return request
    return dataclasses.replace(request, chart_png=render_chart(request.bars, settings.chart))
