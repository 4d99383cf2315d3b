"""The rules of validation: names, what each finds, what may be done about it, thresholds.

Owns the table of rules and their settings.  How they are applied is in `validation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from aiopt.errors import ConfigError, did_you_mean

Treatment = Literal["keep", "drop", "fix", "fail"]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of validation.

    Attributes
    ----------
    name : str
        As on the command line.
    text : str
        What a tick that breaks it is.
    default : {"keep", "drop", "fix", "fail"}
        Treatment when none is asked for.
    allowed : tuple of str
        Treatments that make sense.
    fix : str
        What `fix` does, as a formula; empty where it is not allowed.
    remedy : str
        For the message of `fail`.
    counts : str
        What is counted, if not ticks.
    """

    name: str
    text: str
    default: Treatment
    allowed: tuple[Treatment, ...] = ("keep", "drop", "fail")
    fix: str = ""
    remedy: str = "Mend the source, or drop such ticks with --rule {name}=drop."
    counts: str = "ticks"


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            name="missing_hour",
            text="an hour of the open market for which a source of hour files has no file",
            default="fail",
            allowed=("keep", "fail"),
            remedy="Download it again, or accept the hole with --rule missing_hour=keep.",
            counts="hours",
        ),
        Rule(
            name="implausible_time",
            text="a stamp before the instrument was quoted (1990, the euro 1999) or after tomorrow",
            default="fail",
            allowed=("drop", "fail"),
        ),
        Rule(
            name="non_finite",
            text="a bid or ask that is missing, NaN or infinite",
            default="fail",
            allowed=("drop", "fail"),
        ),
        Rule(
            name="non_positive", text="a bid or ask of zero or less", default="fail", allowed=("drop", "fail")
        ),
        Rule(
            name="implausible_price",
            text="a bid or ask outside the instrument's plausible range: another instrument or a wrong scale",
            default="fail",
            allowed=("drop", "fail"),
            remedy="Name the right instrument with --instrument, or drop such ticks with --rule {name}=drop.",
        ),
        Rule(
            name="bad_size",
            text="a size that is negative or not finite",
            default="fail",
            allowed=("drop", "fix", "fail"),
            fix="size := 0",
            remedy="Mend the source, or set such sizes to 0 with --rule bad_size=fix.",
        ),
        Rule(
            name="off_grid",
            text="a price with more decimals than the instrument quotes",
            default="fix",
            allowed=("drop", "fix", "fail"),
            fix="price := price rounded to the price step",
        ),
        Rule(
            name="backward",
            text="a stamp before that of an earlier row of its file (after it in one that is newest first)",
            default="fix",
            allowed=("drop", "fix", "fail"),
            fix="stable sort by stamp: equal stamps stay in the order of the source",
            remedy="Mend the source, or sort such ticks into place with --rule backward=fix.",
        ),
        Rule(
            name="crossed",
            text="ask below bid",
            default="drop",
            allowed=("keep", "drop", "fix", "fail"),
            fix="(bid, ask) := (ask, bid), sizes likewise",
        ),
        Rule(
            name="zero_spread",
            text="ask equal to bid",
            default="keep",
            allowed=("keep", "drop", "fix", "fail"),
            fix="bid := bid - step, ask := ask + step; step is the price step, so the mid stays",
        ),
        Rule(
            name="clock_shift",
            text="a week in which the market is there before Sunday or after Friday 17:00 New York",
            default="fail",
            allowed=("keep", "fix", "fail"),
            fix="stamp := stamp - shift, for all ticks of the week",
            remedy="Give the source's clock with --timezone, or move such weeks with --rule clock_shift=fix.",
            counts="weeks",
        ),
        Rule(name="out_of_session", text="a tick while the FX week is closed", default="keep"),
        Rule(
            name="overlap",
            text="a tick that another file of the source has too, in a run of equal ticks",
            default="drop",
            remedy="Give files that do not overlap, or drop the copies with --rule overlap=drop.",
        ),
        Rule(
            name="duplicate",
            text="stamp, bid and ask equal to those of the tick before",
            default="drop",
        ),
        Rule(
            name="same_stamp", text="stamp equal to that of the tick before, bid or ask not", default="keep"
        ),
        Rule(
            name="spike",
            text="a mid more than `spike_z` scales from the median of the eleven ticks around it",
            default="drop",
            allowed=("keep", "drop", "fix", "fail"),
            fix="(bid, ask) := those of the last tick before that is no spike",
        ),
        Rule(
            name="stale",
            text="bid and ask unchanged for more than `stale_s` seconds in which ticks kept coming",
            default="keep",
        ),
        Rule(
            name="gap",
            text="more than `gap_s` seconds of open market between two ticks",
            default="keep",
            allowed=("keep", "fail"),
            remedy="Complete the source, or accept the gap with --rule gap=keep.",
            counts="gaps",
        ),
    )
}
"""All rules, in the order they are applied.  A tick that was dropped is not judged by later rules."""

THRESHOLDS = ("spike_z", "stale_s", "gap_s")


class ValidationRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How each rule treats the ticks that break it.

    Attributes
    ----------
    treatments : dict of str to str
        Rule to ``"keep"``, ``"drop"``, ``"fix"`` or ``"fail"``, where it differs from the rule's default.
    spike_z : float
        Threshold of `spike`, in scales, see `aiopt.ticks.checks.spikes.find_spikes`.
    stale_s : float
        Threshold of `stale`, in seconds; a silence as long ends the run.
    gap_s : float
        Threshold of `gap`, in seconds of open market.
    """

    treatments: dict[str, str] = {}
    spike_z: float = 30.0
    stale_s: float = 300.0
    gap_s: float = 300.0

    def __post_init__(self) -> None:
        for name, treatment in self.treatments.items():
            if name not in RULES:
                raise ConfigError(f"There is no rule {name!r}.{did_you_mean(name, RULES)}")
            if treatment not in RULES[name].allowed:
                allowed = ", ".join(RULES[name].allowed)
                msg = f"The rule {name} has no treatment {treatment!r}. Choose one of {allowed}."
                raise ConfigError(msg)
        for name in THRESHOLDS:
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be above 0, but is {getattr(self, name)}. Raise it.")

    def treatment(self, name: str) -> str:
        """Return the treatment of a rule."""
        return self.treatments.get(name, RULES[name].default)

    def settings(self) -> dict[str, str]:
        """Return everything that decides what is kept, as text for the manifest."""
        result = {f"rule.{name}": self.treatment(name) for name in RULES}
        return result | {name: f"{getattr(self, name):g}" for name in THRESHOLDS}


DEFAULT_RULES = ValidationRules()


def parse_rules(texts: Sequence[str]) -> ValidationRules:
    """Parse ``NAME=TREATMENT`` and the thresholds ``spike_z``, ``stale_s`` and ``gap_s`` ``=NUMBER``.

    Raises
    ------
    ConfigError
        If a text is neither.

    Examples
    --------
    >>> parse_rules(["crossed=fail", "gap_s=600"]).treatment("crossed")
    'fail'
    """
    treatments: dict[str, str] = {}
    thresholds: dict[str, float] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise ConfigError(f"A rule is given as NAME=TREATMENT, e.g. crossed=drop, but got {text!r}.")
        if name in THRESHOLDS:
            thresholds[name] = _number(name, value)
        else:
            treatments[name] = value
    return ValidationRules(treatments=treatments, **thresholds)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as failure:
        raise ConfigError(f"{name} must be a number, e.g. {name}=30, but got {text!r}.") from failure
