"""Show on bars that two texts of a script trade and plot the same, in the user's Pine engine."""

from __future__ import annotations

import numpy as np

from aiopt.bars.schema import BarArrays
from aiopt.pine.fixing.fixing import Prover, Verdict
from aiopt.pine.parsing.nodes import Call, Name, String
from aiopt.pine.parsing.parser import parse_script
from aiopt.pine.parsing.walk import walk
from aiopt.verification.pine_runs import PineJob, PineRun, PineRunError, PineRunner


def fix_prover(runner: PineRunner, bars: BarArrays) -> Prover:
    """Return the function that runs two texts on these bars and compares trades and titled plots.

    Plots are compared where both texts give them the same title; the engine keeps no others apart.
    """

    def prove(before: str, after: str) -> Verdict:
        plots = tuple(sorted(_titles(before) & _titles(after)))
        answers = runner.run_many([PineJob(text, bars, plots=plots) for text in (before, after)])
        for name, answer in zip(("before", "after"), answers, strict=True):
            if isinstance(answer, PineRunError):
                return Verdict(None, f"not run: the engine cannot run the text {name} the fixes ({answer})")
        one, other = answers
        assert isinstance(one, PineRun)
        assert isinstance(other, PineRun)
        difference = _difference(one, other)
        if difference is not None:
            return Verdict(False, f"on {len(bars):,} bars {difference}")
        counted = f"{len(one.closed)} closed trades and {len(one.plots)} titled plots"
        return Verdict(True, f"{counted} are the same on {len(bars):,} bars in {runner.engine.title}")

    return prove


def _difference(one: PineRun, other: PineRun) -> str | None:
    for number, (left, right) in enumerate(zip(one.closed, other.closed, strict=False), start=1):
        if left != right:
            return f"trade {number} differs: {left} before, {right} after"
    if len(one.closed) != len(other.closed):
        return f"there are {len(one.closed)} closed trades before and {len(other.closed)} after"
    if one.open != other.open:
        return "the trades that are open at the end differ"
    for title in sorted(one.plots.keys() & other.plots.keys()):
        before, after = one.plots[title], other.plots[title]
        unequal = ~((before == after) | (np.isnan(before) & np.isnan(after)))
        if unequal.any():
            bar = int(np.flatnonzero(unequal)[0])
            return f"plot {title!r} differs first on bar {bar}: {before[bar]} before, {after[bar]} after"
    return None


def _titles(text: str) -> set[str]:
    """Return the titles that a script gives its plots as plain strings."""
    found = set()
    for call in walk(parse_script(text).tree):
        if not isinstance(call, Call) or not isinstance(call.function, Name) or call.function.name != "plot":
            continue
        for at, argument in enumerate(call.arguments):
            is_title = argument.name == "title" or (argument.name is None and at == 1)
            if is_title and isinstance(argument.value, String):
                found.add(argument.value.value)
    return found
