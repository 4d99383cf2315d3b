"""What an evaluation of readers says in sentences: of what, and whether anybody reads better than a guess.

Owns the wording.  Computes nothing (`aiopt.analyst.evaluating`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aiopt.analyst.evaluating import EvalCase, Scores


def eval_notes(cases: Sequence[EvalCase], bars_path: Path | None, seed: int, noise: float) -> list[str]:
    """Return what the charts are and what the figures do not say."""
    counts = {variant: sum(case.variant == variant for case in cases) for variant in ("upright", "blank")}
    if bars_path is None:
        source = f"generated charts with planted patterns (seed {seed}, noise {noise:g})"
    else:
        source = (
            f"windows of {bars_path}, labelled by the pattern detectors. The rules use the same detectors, "
            "so scoring them on these labels would be circular"
        )
    return [
        f"{counts['upright']} {source}, each also mirrored and shuffled, and {counts['blank']} blank ones. "
        "Intervals: 95%, Wilson.",
        "This measures reading, not earning: only a sweep can say whether a pattern pays.",
    ]


def verdict_sentences(scores: Sequence[Scores], guesses: Mapping[str, float]) -> list[str]:
    """Return what the figures say, flattering or not."""
    best = max(guesses.values())
    sentences = []
    for one in scores:
        if one.errors and not one.valid.successes:
            reason = next(iter(one.errors))
            sentences.append(f"{one.reader}: no valid answer, so there is nothing to score. {reason}")
            continue
        told = (
            "better than guessing"
            if one.bias.low > best
            else ("worse than guessing" if one.bias.high < best else "not distinguishable from guessing")
        )
        found = f"{one.reader}: bias {'not judged' if one.circular else told}"
        if one.long_share.n and not one.long_share.low <= 0.5 <= one.long_share.high:
            found += f"; leans {'long' if one.long_share.low > 0.5 else 'short'}"
        brier, base = one.calibration.brier, one.calibration.brier_base
        if brier is not None and base is not None and not one.circular:
            found += f"; its confidence tells {'something' if brier < base else 'nothing'} about being right"
        if one.valid.value is not None and one.valid.value < 1:
            found += f"; {one.valid.n - one.valid.successes} of {one.valid.n} answers were not valid"
        sentences.append(found + ".")
        if one.followed.n:
            sentences.append(f"{one.reader}: {_foresight(one)}")
        if one.errors:
            sentences += [f"  {count} × {reason}" for reason, count in one.errors.items()]
    if len(scores) == 2 and scores[0].valid.successes and not scores[1].circular:
        model, rules = scores
        if model.bias.high < rules.bias.low:
            sentences.append(f"The rules read better than {model.reader}.")
        elif model.bias.low > rules.bias.high:
            sentences.append(f"{model.reader} reads better than the rules.")
        else:
            sentences.append(f"{model.reader} and the rules cannot be told apart with this many charts.")
    return sentences


def _foresight(one: Scores) -> str:
    """Return whether prices went the way of the bias more often than a coin falls on its head."""
    found = one.followed
    if found.low <= 0.5 <= found.high:
        return "where the price went next cannot be told from a coin toss."
    return f"the price went {'with' if found.low > 0.5 else 'against'} the bias more often than a coin toss."
