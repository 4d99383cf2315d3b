"""Asking, validating, retrying and falling back, against models given as functions."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.analyst import (
    ANALYSIS_SCHEMA,
    AnalysisRequest,
    AnalystSettings,
    ChatReply,
    ChatRequest,
    analyse,
    parse_analysis,
    read_by_rules,
)
from aiopt.errors import AnalystError, EndpointError, ReplyError
from aiopt.testing.bars import random_walk_bars

REQUEST = AnalysisRequest(bars=random_walk_bars(200, seed=3, timeframe="5m"))
assert REQUEST.bars is not None
PRICE = float(REQUEST.bars.close[-1])


def reply(**changes: Any) -> dict[str, Any]:
    return {
        "regime": {"trend": "up", "volatility": "normal"},
        "patterns": [{"kind": "double_top", "first_bar": 3, "last_bar": 40, "price": PRICE}],
        "levels": [{"price": PRICE, "kind": "support", "strength": 0.5}],
        "bias": "long",
        "confidence": 0.7,
        "rationale": "It rose.",
        **changes,
    }


def text(**changes: Any) -> str:
    return msgspec.json.encode(reply(**changes)).decode()


class Script:
    """A model that gives the replies written down, and remembers what it was asked."""

    def __init__(self, *replies: str | Exception) -> None:
        self.replies = list(replies)
        self.asked: list[ChatRequest] = []

    async def complete(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request)
        answer = self.replies.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return ChatReply(text=answer, model_id=f"id-of-{request.model}", model_revision="r1")


def read(script: Script, **settings: Any) -> Any:
    return asyncio.run(analyse(REQUEST, script.complete, AnalystSettings(**settings)))


def test_a_valid_reply_is_the_analysis_and_the_schema_was_asked_for() -> None:
    script = Script(text())
    result = read(script)
    found = result.analysis
    assert (found.source, found.model_id, found.model_revision) == ("model", "id-of-minicpm", "r1")
    assert (found.bias, found.regime.trend, found.patterns[0].kind) == ("long", "up", "double_top")
    assert REQUEST.bars is not None
    assert found.patterns[0].last_ts_ns == REQUEST.bars.ts_open_ns[40]
    parts = found.confidence_parts
    assert parts.stated == 0.7
    assert found.confidence == pytest.approx(parts.risk * (0.7 + parts.technical) / 2, abs=1e-6)
    assert script.asked[0].schema is ANALYSIS_SCHEMA
    assert [attempt.ok for attempt in result.attempts] == [True]


def test_an_invalid_reply_is_asked_for_once_more_with_the_error() -> None:
    script = Script(text(confidence=7), text())
    result = read(script)
    assert result.analysis.source == "model"
    assert [attempt.ok for attempt in result.attempts] == [False, True]
    assert "`0 <= confidence <= 1` must hold, but got 7" in script.asked[1].messages[-1]["content"]
    assert script.asked[1].messages[: len(script.asked[0].messages)] == script.asked[0].messages


@pytest.mark.parametrize(
    ("replies", "asked", "why"),
    [
        (["no json", "{"], 2, "one JSON object"),
        ([EndpointError("refused")], 1, "refused"),
        ([TimeoutError()], 1, "TimeoutError"),
        ([OSError("gone")], 1, "gone"),
    ],
)
def test_without_a_valid_reply_the_rules_answer_and_say_why(replies: list[Any], asked: int, why: str) -> None:
    script = Script(*replies)
    result = read(script)
    rules = read_by_rules(REQUEST)
    assert result.analysis.source == "rules"
    assert why in result.analysis.fallback_reason
    assert msgspec.structs.replace(result.analysis, fallback_reason="") == rules
    assert len(script.asked) == len(result.attempts) == asked


def test_a_defect_of_the_caller_is_not_taken_for_a_silent_model() -> None:
    with pytest.raises(ZeroDivisionError, match="oops"):
        read(Script(ZeroDivisionError("oops")))


def test_without_a_model_the_rules_answer() -> None:
    result = asyncio.run(analyse(REQUEST, None))
    assert (result.analysis.source, result.attempts) == ("rules", ())
    assert msgspec.json.encode(result) == msgspec.json.encode(asyncio.run(analyse(REQUEST, None)))


def test_without_model_and_bars_there_is_an_error_that_names_both() -> None:
    request = AnalysisRequest(indicators={"RSI 14": 50.0})
    with pytest.raises(AnalystError, match=r"needs bars, but the request has none \(minicpm: refused\)"):
        asyncio.run(analyse(request, Script(EndpointError("refused")).complete))


def test_an_ensemble_votes_and_disagreement_lowers_confidence() -> None:
    settings: dict[str, Any] = {"models": ("a", "b", "c"), "concurrency": 1}
    together = read(Script(text(), text(), text()), **settings)
    split = read(Script(text(), text(), text(bias="short")), **settings)
    assert together.analysis.confidence_parts.agreement == 1.0
    assert split.analysis.confidence_parts.agreement == pytest.approx(2 / 3)
    assert split.analysis.bias == "long"
    assert split.analysis.confidence == pytest.approx(together.analysis.confidence * 2 / 3, abs=1e-6)
    assert [vote.bias for vote in split.votes] == ["long", "long", "short"]
    assert together.analysis.model_id == "id-of-a,id-of-b,id-of-c"


def test_a_tie_of_an_ensemble_is_neutral() -> None:
    result = read(Script(text(), text(bias="short")), prompts=("read/1", "doubt/1"), concurrency=1)
    assert (result.analysis.bias, result.analysis.confidence_parts.agreement) == ("neutral", 0.5)


def test_a_member_that_fails_leaves_the_vote_to_the_others() -> None:
    result = read(Script(EndpointError("down"), text()), models=("a", "b"), concurrency=1)
    assert result.analysis.source == "model"
    assert [vote.model for vote in result.votes] == ["b"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"confidence": -0.1}, "`0 <= confidence <= 1` must hold"),
        ({"bias": "up"}, "Invalid enum value 'up'"),
        ({"extra": 1}, "unknown field `extra`"),
        ({"rationale": "x" * 601}, "rationale may have 600 characters"),
        ({"rationale": "a\u202eb"}, r"holds U\+202E"),
        ({"rationale": "a\x00b"}, r"holds U\+0000"),
        ({"patterns": [{"kind": "cup", "first_bar": 0, "last_bar": 1, "price": PRICE}]}, "known one"),
        (
            {"patterns": [{"kind": "doji", "first_bar": 0, "last_bar": 200, "price": PRICE}]},
            "last_bar <= 199",
        ),
        ({"patterns": [{"kind": "doji", "first_bar": -1, "last_bar": 2, "price": PRICE}]}, "0 <= first"),
        ({"patterns": [{"kind": "doji", "first_bar": 9, "last_bar": 2, "price": PRICE}]}, "first_bar=9"),
        ({"patterns": [reply()["patterns"][0]] * 2}, "named once"),
        ({"patterns": [reply()["patterns"][0]] * 9}, "at most 8 patterns"),
        ({"levels": [{"price": 100 * PRICE, "kind": "support", "strength": 1}]}, "near the chart"),
        ({"levels": [{"price": PRICE, "kind": "support", "strength": 2}]}, "strength of the support"),
        ({"regime": {"trend": "up"}}, "missing required field `volatility`"),
    ],
)
def test_replies_that_break_a_rule_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ReplyError, match=message):
        parse_analysis(text(**changes), REQUEST)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("", "is empty"),
        ("```json\n```", "is empty"),
        ("[]", "Expected `object`"),
        ("null", "Expected `object`"),
        (text() + text(), "one JSON object"),
        (text()[:-5], "one JSON object"),
        (text().replace("0.7", "NaN"), "one JSON object"),
        (text().replace("0.7", "Infinity"), "one JSON object"),
        (text().replace("0.7", "1e999"), "out of range"),
        (text().replace("It rose.", "\\ud800"), "one JSON object"),
        ("[" * 10_000, "one JSON object"),
        (" " * 20_000, "16000 characters"),
        ("\ud800", "one JSON object"),
    ],
)
def test_what_is_no_json_object_is_refused(raw: str, message: str) -> None:
    with pytest.raises(ReplyError, match=message):
        parse_analysis(raw, REQUEST)


@pytest.mark.parametrize(
    "wrap", ["{}", "```json\n{}\n```", "```\n{}\n```", "<think>hm {{</think>\n{}", " {} "]
)
def test_thoughts_and_code_fences_are_taken_off(wrap: str) -> None:
    assert parse_analysis(wrap.replace("{}", text(), 1), REQUEST).bias == "long"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(reply())), JSON)
def test_whatever_stands_in_a_field_gives_an_analysis_within_the_rules_or_a_reply_error(
    field: str, value: Any
) -> None:
    raw = json.dumps(reply(**{field: value}))
    try:
        found = parse_analysis(raw, REQUEST)
    except ReplyError:
        return
    assert 0 <= found.confidence <= 1
    assert found.bias in ("long", "short", "neutral")
    assert all(0 <= p.first_bar <= p.last_bar < 200 for p in found.patterns)
    low, high = REQUEST.price_range or (0.0, 0.0)
    assert all(low <= level.price <= high for level in found.levels)


@given(st.text() | JSON.map(json.dumps) | st.text().map(lambda middle: text()[:40] + middle + text()[40:]))
def test_any_text_gives_an_analysis_or_a_reply_error(raw: str) -> None:
    try:
        said = parse_analysis(raw, REQUEST).source
    except ReplyError as failure:
        said = str(failure)
    assert 0 < len(said) < 2000
