"""Proposals: always a valid spec within the constraints, or a refusal that names the rule."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import jsonschema
import msgspec
import pytest

from aiopt.analyst import (
    ANALYSIS_SCHEMA,
    Analysis,
    AnalystSettings,
    ChatReply,
    ChatRequest,
    ConfidenceParts,
    Proposal,
    RangeProposal,
    Refusal,
    Regime,
    StrategyConstraints,
    propose_ranges,
    propose_strategy,
    strategy_schema,
)
from aiopt.analyst.constraints import bounds
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import SessionFilter


def reading(trend: Any = "up", volatility: Any = "normal", bias: Any = "long") -> Analysis:
    return Analysis(
        regime=Regime(trend, volatility),
        patterns=(),
        bias=bias,
        levels=(),
        confidence=0.6,
        confidence_parts=ConfidenceParts(stated=0.6, technical=0.5, risk=1.0, agreement=1.0),
        rationale="",
        source="rules",
        model_id="rules",
    )


def propose(analysis: Analysis, limits: StrategyConstraints, *replies: Any, asked: Any = None) -> Any:
    queue = [reply if isinstance(reply, str) else msgspec.json.encode(reply).decode() for reply in replies]

    async def complete(request: ChatRequest) -> ChatReply:
        if asked is not None:
            asked.append(request)
        return ChatReply(text=queue.pop(0), model_id="m", model_revision="r")

    return asyncio.run(propose_strategy(analysis, limits, complete if replies else None, timeframe="5m"))


def answer(**changes: Any) -> dict[str, Any]:
    return {
        "decision": "propose",
        "family": "ema_cross_atr",
        "sides": "long",
        "params": [{"name": "fast_length", "value": 10.4}, {"name": "stop_atr", "value": 3.2}],
        "rationale": "It trends.",
        **changes,
    }


@pytest.mark.parametrize(
    ("trend", "volatility", "sides", "families"),
    list(
        itertools.product(
            ("up", "down", "sideways"),
            ("low", "normal", "high"),
            ("both", "long", "short"),
            [tuple(FAMILIES), *((name,) for name in FAMILIES)],
        )
    ),
)
def test_the_rules_propose_a_valid_spec_in_every_case(
    trend: Any, volatility: Any, sides: Any, families: tuple[str, ...]
) -> None:
    limits = StrategyConstraints(
        families=families,
        sides=sides,
        max_stop_atr=3.5,
        max_stop_pips=10.0,
        session=SessionFilter(start="08:00", end="16:00"),
    )
    found = propose(reading(trend, volatility, "neutral"), limits)
    assert isinstance(found, Proposal), found
    spec = found.spec
    assert (spec.entry_long is None) == (sides == "short")
    assert (spec.entry_short is None) == (sides == "long")
    assert spec.session == limits.session
    assert spec.stop_loss is not None
    limit = 3.5 if spec.stop_loss.unit == "atr" else 10.0
    assert spec.value_of(spec.stop_loss.value) <= limit
    points = found.space.specs(30, seed=1)
    assert len(points) == 30
    for point in points:
        assert point.stop_loss is not None
        assert point.value_of(point.stop_loss.value) <= limit


def test_regimes_lead_to_families_made_for_them() -> None:
    everything = StrategyConstraints()
    names = {
        key: propose(reading(*key), everything).spec.name
        for key in (("up", "normal"), ("sideways", "low"), ("down", "high"))
    }
    assert names == {
        ("up", "normal"): "ema_cross_atr_proposed",
        ("sideways", "low"): "rsi_reversion_proposed",
        ("down", "high"): "bollinger_breakout_proposed",
    }


@pytest.mark.parametrize(
    ("limits", "rule", "reason"),
    [
        ({"min_confidence": 0.9}, "min_confidence", "0.60, below the minimum of 0.90"),
        ({"sides": "short"}, "sides", "favours the long side, but only short"),
        (
            {"families": ("ema_cross_atr",), "max_stop_atr": 1.0},
            "max_stop_atr",
            "narrowest stop of ema_cross_atr",
        ),
        ({"families": ("stochastic_sma",), "max_stop_pips": 2.0}, "max_stop_pips", "is 8, wider than 2"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name_before_a_model_is_asked(
    limits: dict[str, Any], rule: str, reason: str
) -> None:
    asked: list[ChatRequest] = []
    found = propose(reading(), StrategyConstraints(**limits), answer(), asked=asked)
    assert isinstance(found, Refusal)
    assert found.rule == rule
    assert reason in found.reason
    assert asked == []


def test_a_model_proposes_within_the_ranges_on_their_steps() -> None:
    found = propose(reading(), StrategyConstraints(), answer())
    assert isinstance(found, Proposal)
    assert (found.source, found.model_id, found.timeframe) == ("model", "m", "5m")
    assert found.spec.params["fast_length"] == 10
    assert found.spec.params["stop_atr"] == 3.0
    assert found.spec.entry_short is None
    assert found.space.spec == found.spec


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "macd_adx_trend"}, "must be one of ema_cross_atr, rsi_reversion"),
        ({"sides": "short"}, "Only the long side is allowed"),
        ({"params": [{"name": "fast_length", "value": 500}]}, "`5 <= fast_length <= 50` must hold"),
        ({"params": [{"name": "stop_atr", "value": 8}]}, "`3 <= stop_atr <= 4` must hold"),
        ({"params": [{"name": "leverage", "value": 5}]}, "The parameters of this family are"),
        ({"params": [{"name": "fast_length", "value": 9}] * 2}, "given once"),
        (
            {"params": [{"name": "fast_length", "value": 50}, {"name": "slow_length", "value": 20}]},
            "must fulfil fast_length",
        ),
        ({"rationale": "a\x07"}, "U+0007"),
        ({"spec": {}}, "unknown field"),
    ],
)
def test_a_proposal_that_breaks_a_rule_is_told_then_replaced(changes: dict[str, Any], message: str) -> None:
    limits = StrategyConstraints(families=("rsi_reversion", "ema_cross_atr"), sides="long", max_stop_atr=4.0)
    asked: list[ChatRequest] = []
    found = propose(reading(), limits, answer(**changes), answer(**changes), asked=asked)
    assert isinstance(found, Proposal)
    assert found.source == "rules"
    assert message in found.fallback_reason
    assert message in asked[1].messages[-1]["content"]
    corrected = propose(reading(), limits, answer(**changes), answer(params=[]))
    assert corrected.source == "model"


def test_a_model_may_decline() -> None:
    found = propose(reading(), StrategyConstraints(), answer(decision="refuse", rationale="Too quiet."))
    assert isinstance(found, Refusal)
    assert (found.rule, found.reason, found.source) == ("model", "Too quiet.", "model")


def test_schemas_are_valid_and_accept_what_is_accepted() -> None:
    for schema in (ANALYSIS_SCHEMA, strategy_schema(StrategyConstraints())):
        jsonschema.Draft202012Validator.check_schema(schema)
    schema = strategy_schema(StrategyConstraints(sides="long"))
    jsonschema.validate(answer(), schema)
    with pytest.raises(jsonschema.ValidationError, match="'short' is not one of"):
        jsonschema.validate(answer(sides="short"), schema)


@pytest.mark.parametrize("family", FAMILIES)
def test_narrowed_ranges_stay_inside_and_hold_points(family: str) -> None:
    space = FAMILIES[family]
    found = asyncio.run(propose_ranges(space, reading(), None))
    assert isinstance(found, RangeProposal)
    narrower = 0
    for name, dimension in found.space.dimensions.items():
        low, high = bounds(space.dimensions[name])
        inner_low, inner_high = bounds(dimension)
        assert low <= inner_low <= inner_high <= high
        narrower += inner_high - inner_low < high - low
    assert narrower == len(space.dimensions)
    outer = space.sample(1, seed=0)[0].keys()
    for point in found.space.sample(20, seed=1):
        assert point.keys() == outer
        assert space.contains(point)


def test_a_model_narrows_ranges_or_is_told_why_not() -> None:
    space = FAMILIES["ema_cross_atr"]
    replies = [
        '{"ranges": [{"name": "fast_length", "low": 60, "high": 70}], "rationale": ""}',
        '{"ranges": [{"name": "fast_length", "low": 8, "high": 12}], "rationale": "Fast."}',
    ]
    asked: list[ChatRequest] = []

    async def complete(request: ChatRequest) -> ChatReply:
        asked.append(request)
        return ChatReply(text=replies[len(asked) - 1], model_id="m")

    found = asyncio.run(propose_ranges(space, reading(), complete, AnalystSettings()))
    assert bounds(found.space.dimensions["fast_length"]) == (8, 12)
    assert found.space.dimensions["slow_length"] == space.dimensions["slow_length"]
    assert "holds no value of 5 to 50" in asked[1].messages[-1]["content"]
    assert found.source == "model"
