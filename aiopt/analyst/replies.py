"""From a model's text to an `Analysis`.  Owns every check of a reply; asks nobody.

Replies are hostile: they may be cut off, padded, contradictory, or written by someone who got text into the
prompt.  What does not hold is refused with a sentence that can be told to the model.
"""

from __future__ import annotations

import itertools
import math
import re
from typing import Any, Literal, TypeVar

import msgspec

from aiopt.analyst.analysis import (
    MAX_BARS,
    Analysis,
    AnalysisRequest,
    Bias,
    ConfidenceParts,
    LevelKind,
    PriceLevel,
    Regime,
    VisiblePattern,
    check_text,
)
from aiopt.analyst.chat import ChatReply
from aiopt.analyst.schema import MAX_LEVELS, MAX_PATTERNS, MAX_RATIONALE, MAX_REPLY, SCHEMA_VERSION
from aiopt.errors import ReplyError, did_you_mean
from aiopt.patterns import PATTERN_KINDS

T = TypeVar("T")

_THOUGHT = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)
_FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what a reply may hold."""


class _Pattern(_Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: str
    first_bar: int
    last_bar: int
    price: float


class _Level(_Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    price: float
    kind: LevelKind
    strength: float


class _Regime(_Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    trend: Literal["up", "down", "sideways"]
    volatility: Literal["low", "normal", "high"]


class _Reply(_Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    regime: _Regime
    patterns: list[_Pattern]
    levels: list[_Level]
    bias: Bias
    confidence: float
    rationale: str


def decode_reply(text: str, type_: type[T]) -> T:
    """Return the one JSON object of a reply as `type_`.

    A leading ``<think>`` part and a code fence round the object are taken off; nothing else is.

    Raises
    ------
    ReplyError
        If the text is too long, no JSON, or not of that type.
    """
    if len(text) > MAX_REPLY:
        raise ReplyError(f"A reply may have {MAX_REPLY} characters, but has {len(text)}.")
    body = _THOUGHT.sub("", text)
    fenced = _FENCE.match(body)
    if fenced is not None:
        body = fenced[1]
    if not body.strip():
        raise ReplyError("The reply must be one JSON object, but is empty.")
    try:
        data: Any = msgspec.json.decode(body.encode("utf-8", errors="strict"))
        return msgspec.convert(data, type=type_)
    except msgspec.ValidationError as failure:
        raise ReplyError(f"The reply breaks the schema: {failure}.") from failure
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as failure:
        raise ReplyError(f"The reply must be one JSON object, but: {failure}.") from failure


def parse_analysis(
    text: str,
    request: AnalysisRequest,
    *,
    reply: ChatReply | None = None,
    model: str = "",
    prompt_version: str = "",
) -> Analysis:
    """Return the analysis a model wrote.

    Parameters
    ----------
    text : str
        Content of its message.
    request : AnalysisRequest
        What it was asked; bars and prices are checked against it.
    reply : ChatReply, optional
        Who answered.
    model, prompt_version : str
        Who was asked, and how.

    Returns
    -------
    Analysis
        With the model's own confidence; `aiopt.analyst.confidence.combined` adds the other parts.

    Raises
    ------
    ReplyError
        Names the rule and the value.
    """
    found = decode_reply(text, _Reply)
    share(found.confidence, "confidence")
    _limit(found.patterns, "patterns", MAX_PATTERNS)
    _limit(found.levels, "levels", MAX_LEVELS)
    check_text(found.rationale, "rationale", MAX_RATIONALE, ReplyError)
    patterns = [_checked_pattern(pattern, request) for pattern in found.patterns]
    patterns.sort(key=lambda pattern: (pattern.last_bar, pattern.first_bar, pattern.kind))
    for before, after in itertools.pairwise(patterns):
        if (before.kind, before.last_bar) == (after.kind, after.last_bar):
            raise ReplyError(
                f"A pattern may be named once, but {after.kind} at bar {after.last_bar} is twice."
            )
    levels = []
    for level in found.levels:
        _check_price(level.price, f"the {level.kind}", request)
        share(level.strength, f"the strength of the {level.kind} at {level.price}")
        levels.append(PriceLevel(level.price, level.kind, level.strength))
    levels.sort(key=lambda level: (level.price, level.kind))
    return Analysis(
        regime=Regime(found.regime.trend, found.regime.volatility),
        patterns=tuple(patterns),
        bias=found.bias,
        levels=tuple(levels),
        confidence=found.confidence,
        confidence_parts=ConfidenceParts(stated=found.confidence, technical=0.5, risk=0.5, agreement=1.0),
        rationale=found.rationale.strip(),
        source="model",
        model_id=(reply.model_id if reply is not None else "") or model,
        model_revision=reply.model_revision if reply is not None else "",
        prompt_version=prompt_version,
        schema_version=SCHEMA_VERSION,
    )


def share(value: float, what: str) -> None:
    """Raise `ReplyError` unless `value` is in [0, 1]."""
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise ReplyError(f"`0 <= {what} <= 1` must hold, but got {value}.")


def _limit(items: list[Any], what: str, most: int) -> None:
    if len(items) > most:
        raise ReplyError(f"There may be at most {most} {what}, but got {len(items)}.")


def _checked_pattern(pattern: _Pattern, request: AnalysisRequest) -> VisiblePattern:
    if pattern.kind not in PATTERN_KINDS:
        check_text(pattern.kind, "a pattern's kind", 64, ReplyError)
        hint = did_you_mean(pattern.kind, PATTERN_KINDS)
        raise ReplyError(f"A pattern's kind must be a known one, but got {pattern.kind!r}.{hint}")
    n_bars = request.n_bars or MAX_BARS
    if not 0 <= pattern.first_bar <= pattern.last_bar < n_bars:
        raise ReplyError(
            f"`0 <= first_bar <= last_bar <= {n_bars - 1}` must hold, but {pattern.kind} has "
            f"first_bar={pattern.first_bar}, last_bar={pattern.last_bar}."
        )
    _check_price(pattern.price, f"the price of {pattern.kind}", request)
    stamps = None if request.bars is None else request.bars.ts_open_ns
    return VisiblePattern(
        kind=pattern.kind,
        first_bar=pattern.first_bar,
        last_bar=pattern.last_bar,
        price=pattern.price,
        first_ts_ns=None if stamps is None else int(stamps[pattern.first_bar]),
        last_ts_ns=None if stamps is None else int(stamps[pattern.last_bar]),
    )


def _check_price(price: float, what: str, request: AnalysisRequest) -> None:
    if not (math.isfinite(price) and price > 0):
        raise ReplyError(f"Prices must be finite and positive, but {what} is {price}.")
    allowed = request.price_range
    if allowed is not None and not allowed[0] <= price <= allowed[1]:
        raise ReplyError(
            f"Prices must be near the chart, {allowed[0]:.8g} to {allowed[1]:.8g}, but {what} is {price}."
        )
