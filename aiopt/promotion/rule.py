"""The rule of promotion: when a checkpoint may take another's place without anybody looking.

Owns the settings and the verdict.  A verdict is ``yes`` only where every condition holds; what is worse or
fails a control is ``no``; everything between is a ``proposal`` for a person, with the reasons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from aiopt.analyst.pairing import PairedShares
from aiopt.config import load_config
from aiopt.dataset.judging import Judgement, TaskScore
from aiopt.errors import ConfigError

Promote = Literal["yes", "no", "proposal"]


class PromotionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a checkpoint is promoted, and on what it is judged.

    Attributes
    ----------
    split : str
        Of the set of tasks; train and validation are refused.
    tasks : tuple of str
        Only these; empty: all that both can answer.
    charts : int
        At most, spread over the split; 0: all.
    controls : int
        Charts that are also shown mirrored, shuffled, blank and noisy.
    least_gain : float
        The lower end of the 95 % interval of the gain over all questions must be above this.
    least_questions : int
        Upright questions below which nothing is promoted automatically.
    blank_margin : float
        How far above the majority's accuracy (on shuffled charts also above what their bars still show) the
        lower end of the interval on blank or shuffled charts may be: more means that something other than the
        shape is read.
    mirrored_drop : float
        How far below its accuracy on the same charts upright that on mirrored charts may be, unless their
        intervals touch: more means that "it rises" was learnt.
    most_looks : int
        Looks at the split, this one included, up to which a verdict may be ``yes``.
    """

    split: str = "test"
    tasks: tuple[str, ...] = ()
    charts: int = 0
    controls: int = 100
    least_gain: float = 0.0
    least_questions: int = 200
    blank_margin: float = 0.05
    mirrored_drop: float = 0.1
    most_looks: int = 1

    def __post_init__(self) -> None:
        for name in ("charts", "controls"):
            if getattr(self, name) < 0:
                raise ConfigError(f"`{name} >= 0` must hold, but got {name}={getattr(self, name)}.")
        for name in ("least_questions", "most_looks"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name} >= 1` must hold, but got {name}={getattr(self, name)}.")
        for name in ("least_gain", "blank_margin", "mirrored_drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"`0 <= {name} < 1` must hold, but got {name}={getattr(self, name)}.")


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the rule says.

    Attributes
    ----------
    promote : {"yes", "no", "proposal"}
        The verdict.
    reasons : tuple of str
        Every condition that decided it; for ``yes`` what speaks for it.
    """

    promote: Promote
    reasons: tuple[str, ...]


def load_promotion_config(path: Path | None) -> PromotionConfig:
    """Read a rule: defaults < file < ``AIOPT_PROMOTION__*``.

    Raises
    ------
    ConfigError
        Names the file, the key and the rule.
    """
    return load_config(path, PromotionConfig, env_prefix="AIOPT_PROMOTION")


def decide(
    config: PromotionConfig,
    second: Judgement,
    compared: Mapping[str, PairedShares],
    *,
    look: int,
    known: bool,
) -> Decision:
    """Return whether the second of two checkpoints takes the first one's place.

    Parameters
    ----------
    config : PromotionConfig
        The rule.
    second : Judgement
        Of the second, with its controls.
    compared : mapping of str to PairedShares
        Second minus first, by task and over ``"all"``.
    look : int
        How often the split was looked at, this time included.
    known : bool
        Whether the second says all it was trained on.
    """
    overall = compared["all"]
    against = list(_failed_controls(config, second))
    if overall.verdict == "second":
        against.insert(0, f"it is worse: {_gain(overall)}")
    if against:
        return Decision(promote="no", reasons=tuple(against))
    open_ = []
    if not overall.low > config.least_gain:
        open_.append(
            f"it is not better by more than {config.least_gain:.1%} with confidence: {_gain(overall)}"
        )
    worse = [(name, pair) for name, pair in compared.items() if name != "all" and pair.verdict == "second"]
    open_ += [f"it is worse at {name}: {_gain(pair)}" for name, pair in worse]
    if overall.questions < config.least_questions:
        open_.append(f"only {overall.questions} questions were asked, fewer than {config.least_questions}")
    if not any(score.controls for score in second.scores):
        open_.append("no control was asked")
    if look > config.most_looks:
        open_.append(f"this is look {look} at {second.split}: only the first was at charts nobody had used")
    if not known:
        open_.append("it does not say all it was trained on, so it may have seen these charts")
    if open_:
        return Decision(promote="proposal", reasons=tuple(open_))
    reasons = (f"it is better: {_gain(overall)}", "no control failed", "it is worse at no task")
    return Decision(promote="yes", reasons=reasons)


def _failed_controls(config: PromotionConfig, judged: Judgement) -> Iterator[str]:
    for score in judged.scores:
        yield from _failed(config, score)


def _failed(config: PromotionConfig, score: TaskScore) -> Iterator[str]:
    chance = 0.0 if score.majority is None or score.majority.value is None else score.majority.value
    for name in ("blank", "shuffled"):
        share = score.controls.get(name)
        known, why = chance, "the most frequent answer"
        explained = score.shuffled_explained if name == "shuffled" else None
        if explained is not None and explained.value is not None and explained.value > chance:
            known, why = explained.value, "what the bars still show"
        if share is not None and share.n and share.low > known + config.blank_margin:
            yield (
                f"a control failed: at {score.task} it is right on {share.value:.1%} "
                f"[{share.low:.1%}, {share.high:.1%}] of {name} charts, where {why} is on {known:.1%}, so it "
                "reads something other than the shape"
            )
    mirrored, upright = score.controls.get("mirrored"), score.controls_upright
    if mirrored is None or not mirrored.n or upright is None or upright.value is None:
        return
    if mirrored.value is None or mirrored.high >= upright.low:
        return
    if upright.value - mirrored.value > config.mirrored_drop:
        yield (
            f"a control failed: at {score.task} it is right on {mirrored.value:.1%} "
            f"[{mirrored.low:.1%}, {mirrored.high:.1%}] of mirrored charts, but on {upright.value:.1%} of "
            "the same charts upright"
        )


def _gain(pair: PairedShares) -> str:
    return (
        f"{pair.difference:+.1%} [{pair.low:+.1%}, {pair.high:+.1%}] on the same {pair.questions} questions "
        f"of {pair.charts} charts"
    )
