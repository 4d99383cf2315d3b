"""Charts upside down, and what is true of them.

Owns both.  The bars are turned round the middle of their range; what was planted is of the mirrored kind and
favours the other side; a later close is turned round the same line.  Every answer is then given to the
mirrored chart anew, by whoever gives it to any chart: a definition reads the mirrored bars.  How a position
ended, after costs, has no mirror image, and gets none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiopt.analyst.evaluating import MIRROR_BIAS
from aiopt.analyst.generators import generator_of
from aiopt.analyst.planted import PlantedCase, mirrored_bars
from aiopt.bars.schema import BarArrays
from aiopt.dataset.tasks.task_kinds import TASKS, Chart

_UP_DOWN = {"up": "down", "down": "up"}


def mirrored_chart(chart: Chart) -> Chart:
    """Return a chart upside down with what is known of it.

    Parameters
    ----------
    chart : Chart
        Its outcome, if it has one, is left out.
    """
    bars = mirrored_bars(chart.bars)
    later = chart.later_close
    if later is not None:
        # The line the bars are turned round, from one of them; prices are whole ticks.
        later = round(float(chart.bars.close[-1] + bars.close[-1]) - later, 5)
    case = None if chart.case is None else _mirrored_case(chart.case, bars)
    return Chart(bars=bars, case=case, later_close=later, forward=chart.forward)


def mirrored_truth(
    task: str, truth: Mapping[str, Any], bars: BarArrays, source: str
) -> Mapping[str, Any] | None:
    """Return what is true of a chart upside down, of which the upright answer is all that is known.

    Parameters
    ----------
    task : str
        A key of `TASKS`.
    truth : mapping
        The answer to the upright chart.
    bars : BarArrays
        The mirrored bars.
    source : str
        Generator or series of the chart.

    Returns
    -------
    mapping or None
        None where nothing can be said.
    """
    if TASKS[task].origin in ("definition", "rules"):
        # Whoever defines the answer defines it of these bars too.
        return TASKS[task].answer(Chart(bars=bars))
    if task == "bias":
        return {"bias": MIRROR_BIAS[truth["bias"]]}
    if task == "pattern":
        return {**truth, "kind": generator_of(source).mirror(truth["kind"])}
    if task in ("forward", "state"):
        key = "forward" if task == "forward" else "trend"
        return {**truth, key: _UP_DOWN.get(truth[key], truth[key])}
    return None


def _mirrored_case(case: PlantedCase, bars: BarArrays) -> PlantedCase:
    return replace(
        case,
        bars=bars,
        kind=generator_of(case.generator).mirror(case.kind),
        bias=MIRROR_BIAS[case.bias],
        trend=None if case.trend is None else _UP_DOWN.get(case.trend, case.trend),
    )
