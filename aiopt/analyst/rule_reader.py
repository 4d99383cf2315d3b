"""The rule-based reader: an `Analysis` from bars alone, without a model.  Owns how findings become a bias.

Baseline and fallback.  Deterministic: the same bars give the same analysis on every machine.
"""

from __future__ import annotations

from aiopt.analyst.analysis import (
    Analysis,
    AnalysisRequest,
    Bias,
    ConfidenceParts,
    PriceLevel,
    Regime,
    VisiblePattern,
)
from aiopt.analyst.confidence import combined
from aiopt.analyst.schema import MAX_PATTERNS, SCHEMA_VERSION
from aiopt.errors import AnalystError
from aiopt.patterns import (
    PATTERN_KINDS,
    Pattern,
    find_patterns,
    price_levels,
    trend_regime,
    volatility_regime,
    zigzag,
)

RULES_VERSION = "rules/2"

RECENT_CANDLES = 3
RECENT_BREAKOUTS = 10
RECENT_SWINGS = 30
"""Bars back from the last within which a candlestick, breakout or swing pattern is news."""

BIAS_THRESHOLD = 0.2

REVERSALS = frozenset(
    {
        "hammer",
        "shooting_star",
        "bullish_engulfing",
        "bearish_engulfing",
        "morning_star",
        "evening_star",
        "double_bottom",
        "double_top",
        "inverse_head_and_shoulders",
        "head_and_shoulders",
    }
)
"""Patterns that exist only after a move against them: that move's trend is not held against them."""

_TREND_WEIGHT, _SWING_WEIGHT, _CANDLE_WEIGHT = 0.5, 0.35, 0.2


def read_by_rules(request: AnalysisRequest, *, fallback_reason: str = "") -> Analysis:
    """Return what the rules read.

    The score is ``0.5 × trend strength`` (0 if sideways, or if a recent reversal pattern points the other
    way), plus 0.35 for each recent bullish swing pattern or breakout and 0.2 for each recent bullish
    candlestick, minus the same for bearish ones, clipped to [-1, 1].  Bias: long from 0.2 on, short from
    -0.2 down, else neutral.  What the rules state of themselves is ``(1 + |score|) / 2`` for a side: a half
    is a coin toss between the two.  For neutral it is ``1 / 2`` at the threshold up to ``3 / 4`` at 0.

    Parameters
    ----------
    request : AnalysisRequest
        Needs bars; a picture is not looked at.
    fallback_reason : str
        Why no model answered, if one was asked.

    Raises
    ------
    AnalystError
        Without bars.
    """
    bars, prices = request.bars, request.prices
    if bars is None or prices is None:
        why = f" ({fallback_reason})" if fallback_reason else ""
        msg = f"The rule-based reader needs bars, but the request has none{why}. Add `bars`."
        raise AnalystError(msg)
    pivots = zigzag(prices)
    trend = trend_regime(prices)
    volatility, ratio = volatility_regime(prices)
    recent = [pattern for pattern in find_patterns(prices) if _recent(pattern, len(prices))]
    shown = recent[-MAX_PATTERNS:]
    score = _TREND_WEIGHT * trend.strength
    against = {"up": "bearish", "down": "bullish", "sideways": None}[trend.trend]
    turned = any(pattern.kind in REVERSALS and pattern.direction == against for pattern in recent)
    if trend.trend == "sideways" or turned:
        score = 0.0
    for pattern in recent:
        sign = {"bullish": 1, "bearish": -1, "neutral": 0}[pattern.direction]
        swing = PATTERN_KINDS[pattern.kind].group == "swing"
        score += sign * (_SWING_WEIGHT if swing else _CANDLE_WEIGHT)
    score = max(-1.0, min(1.0, score))
    bias: Bias = "neutral"
    stated = 0.5 + (1 - abs(score) / BIAS_THRESHOLD) / 4
    if abs(score) >= BIAS_THRESHOLD:
        bias, stated = ("long" if score > 0 else "short"), (1 + abs(score)) / 2
    analysis = Analysis(
        regime=Regime(trend.trend, volatility),
        patterns=tuple(
            VisiblePattern(
                kind=pattern.kind,
                first_bar=pattern.first_bar,
                last_bar=pattern.last_bar,
                price=pattern.price,
                first_ts_ns=int(bars.ts_open_ns[pattern.first_bar]),
                last_ts_ns=int(bars.ts_open_ns[pattern.last_bar]),
            )
            for pattern in sorted(shown, key=lambda p: (p.last_bar, p.first_bar, p.kind))
        ),
        bias=bias,
        levels=tuple(
            PriceLevel(round(level.price, 8), level.kind, round(level.strength, 6))
            for level in price_levels(prices, pivots)
        ),
        confidence=stated,
        confidence_parts=ConfidenceParts(stated=round(stated, 6), technical=0.0, risk=0.0, agreement=1.0),
        rationale=_rationale(trend.trend, trend.move, volatility, ratio, shown, bias),
        source="rules",
        model_id="rules",
        model_revision=RULES_VERSION,
        schema_version=SCHEMA_VERSION,
        fallback_reason=fallback_reason,
    )
    return combined(analysis, request)


def _recent(pattern: Pattern, n_bars: int) -> bool:
    age = n_bars - 1 - pattern.confirmed_bar
    if pattern.kind.startswith("breakout"):
        return age < RECENT_BREAKOUTS
    return age < (RECENT_SWINGS if PATTERN_KINDS[pattern.kind].group == "swing" else RECENT_CANDLES)


def _rationale(
    trend: str, move: float, volatility: str, ratio: float, patterns: list[Pattern], bias: Bias
) -> str:
    course = f"The trend line {'rose' if move >= 0 else 'fell'} {abs(move):.1f} typical ranges ({trend})."
    calm = f"Ranges are {ratio:.1f} times the usual ({volatility} volatility)."
    seen = ", ".join(dict.fromkeys(pattern.kind.replace("_", " ") for pattern in patterns))
    return f"{course} {calm} {f'Recent: {seen}.' if seen else 'No recent pattern.'} Bias {bias}."
