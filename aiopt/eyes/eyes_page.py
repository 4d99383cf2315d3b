"""The table of what the eyes see, as Markdown: for the terminal, the model card and the documentation.

Owns the words and columns.  Judges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopt.analyst.pairing import PairedShares
from aiopt.analyst.scoring import Share
from aiopt.dataset.judging.judging import TaskScore
from aiopt.eyes.calibrated import CalibratedEyes
from aiopt.eyes.judged import Judged
from aiopt.training.training import TrainingResult

TITLES = {
    ("charts", "test"): "New charts of the kinds it learnt from",
    ("charts", "unseen_kinds"): "Kinds of patterns it never saw",
    ("charts", "unseen_generators"): "A generator it never saw",
    ("real", "test"): "Real charts; it was trained on none",
}


def eyes_page(
    result: TrainingResult, parameters: int, judged: Sequence[Judged], known: CalibratedEyes
) -> str:
    """Return the page.

    Parameters
    ----------
    result : TrainingResult
        Of the training.
    parameters : int
        Of the checkpoint.
    judged : sequence of Judged
        What came out.
    known : CalibratedEyes
        From validation charts.
    """
    lines = [
        f"{parameters / 1e6:.2f}M parameters, {result.steps_done:,} steps of training by questions "
        f"(weights of step {result.step:,}), revision {result.revision[:12]}.",
        "",
        "Shares of right answers, 95 % Wilson intervals. In bold: better or worse than the rules with the "
        "paired interval away from zero.",
    ]
    for one in judged:
        lines += ["", f"### {TITLES[one.of, one.split]}", ""]
        lines += _answers(one)
        lines += ["", *_controls(one)]
        forward = [score for score in one.eyes.scores if score.task == "forward"]
        lines += [line for score in forward for line in ("", _future(score, one))]
        looks = "the first look" if one.eyes.look <= 1 else f"look {one.eyes.look}"
        lines += ["", f"This was {looks} at the split, all readers together."]
    lines += _validation(known)
    return "\n".join(lines) + "\n"


def _validation(known: CalibratedEyes) -> list[str]:
    """Return what is known from validation charts; nothing where nothing is."""
    lines: list[str] = []
    if known.calibration is not None:
        lines += [
            *("", "### Confidence, calibrated on validation charts", ""),
            "| confidence of | charts | map | ECE before | ECE after |",
            "|---|---|---|---|---|",
        ]
        for name, one in known.calibration.tasks.items():
            cells = [
                name,
                f"{one.n:,}",
                one.calibrator.method,
                f"{one.ece_before:.3f}",
                f"{one.ece_after:.3f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
        lines += [
            "",
            "After: each half of the charts by a map fitted on the other half. `short/1` is what is stated "
            "of the bias in a whole reading put together from short answers.",
        ]
    if known.reading is not None:
        score = known.reading
        lines += [
            "",
            f"Of {score.bias.n:,} whole readings the bias is right in {_share(score.bias)}, trend and "
            f"volatility both in {_share(score.regime)}, the levels all in {_share(score.levels)}. Of the "
            f"{score.patterns.n:,} engulfing bars {_share(score.patterns)} are named; no other pattern is.",
        ]
    return lines


def _answers(judged: Judged) -> list[str]:
    rules, cnn = _by_task(judged.rules.scores), _by_task(judged.cnn.scores)
    lines = [
        "| question | charts | eyes | rules | small CNN | majority | eyes − rules | eyes − CNN | ECE |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for score in judged.eyes.scores:
        task = score.task
        cells = [
            task,
            f"{score.accuracy.n:,}",
            _share(score.accuracy),
            _share(rules[task].accuracy if task in rules else None),
            _share(cnn[task].accuracy if task in cnn else None),
            _share(score.majority, bare=True),
            _difference(score.against_rules, bold=True),
            _difference(judged.against_cnn.get(task)),
            _ece(score),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _controls(judged: Judged) -> list[str]:
    rules = _by_task(judged.rules.scores)
    lines = [
        "| controls | upright | mirrored | noisy | noisy, rules | shuffled | blank |",
        "|---|---|---|---|---|---|---|",
    ]
    for score in judged.eyes.scores:
        by_rules = rules[score.task].controls if score.task in rules else {}
        cells = [
            score.task,
            _share(score.controls_upright),
            *(_share(score.controls.get(name)) for name in ("mirrored", "noisy")),
            _share(by_rules.get("noisy")),
            *(_share(score.controls.get(name)) for name in ("shuffled", "blank")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _future(score: TaskScore, judged: Judged) -> str:
    """Return the plain statement about what came after."""
    trained = _by_task(judged.cnn.scores).get("forward")
    skilled = [
        name
        for name, one in (("the eyes' bias", score), ("the network trained on it", trained))
        if one is not None and one.against_majority is not None and one.against_majority.verdict == "first"
    ]
    said = "**What came after** (up, down or flat) is told"
    if skilled:
        return f"{said} better than by the majority by {' and '.join(skilled)}: look for the leak first."
    return (
        f"{said} no better than by the majority: no skill, neither of the eyes' bias nor of a network that "
        "was trained on it."
    )


def _by_task(scores: Sequence[TaskScore]) -> dict[str, TaskScore]:
    return {score.task: score for score in scores}


def _share(share: Share | None, *, bare: bool = False) -> str:
    if share is None or share.value is None:
        return "–"
    text = f"{share.value:.1%}"
    return text if bare else f"{text} [{share.low:.0%}, {share.high:.0%}]"


def _difference(pair: PairedShares | None, *, bold: bool = False) -> str:
    if pair is None:
        return "–"
    text = f"{pair.difference:+.1%} [{pair.low:+.0%}, {pair.high:+.0%}]"
    return f"**{text}**" if bold and pair.verdict != "open" else text


def _ece(score: TaskScore) -> str:
    if score.calibration is None or score.calibration.ece is None:
        return "–"
    text = f"{score.calibration.ece:.3f}"
    if score.calibrated is None or score.calibrated.ece is None:
        return text
    return f"{text} → {score.calibrated.ece:.3f}"
