"""The HTTP client against a real server that misbehaves."""

from __future__ import annotations

import asyncio
import datetime as dt
import email.utils
from typing import Any

import msgspec
import pytest

from aiopt.analyst import AnalysisRequest, AnalystSettings, ChatReply, ChatRequest, analyse
from aiopt.analyst.client import MAX_BODY_BYTES, ChatClient, _pause
from aiopt.charts import ChartSpec, render_chart
from aiopt.errors import ConfigError, EndpointError
from aiopt.testing.bars import random_walk_bars
from tests.unit.analyst.endpoints import Answer, completion, serving

QUESTION = ChatRequest(
    model="minicpm",
    messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
    schema={"type": "object"},
)
REQUEST = AnalysisRequest(bars=random_walk_bars(120, seed=1, timeframe="5m"))
VALID = msgspec.json.encode(
    {
        "regime": {"trend": "down", "volatility": "low"},
        "patterns": [],
        "levels": [],
        "bias": "short",
        "confidence": 0.4,
        "rationale": "Falling.",
    }
).decode()


def ask(url: str, *, times: int = 1, **settings: Any) -> list[ChatReply | BaseException]:
    async def run() -> list[ChatReply | BaseException]:
        async with ChatClient(AnalystSettings(endpoint=url, **settings)) as client:
            return await asyncio.gather(
                *(client.complete(QUESTION) for _ in range(times)), return_exceptions=True
            )

    return asyncio.run(run())


def ask_one(url: str, **settings: Any) -> ChatReply:
    [reply] = ask(url, **settings)
    if isinstance(reply, BaseException):
        raise reply
    return reply


def test_a_reply_names_model_revision_and_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret")
    headers = {"X-Model-Id": "tiny", "X-Model-Revision": "abc"}
    with serving(lambda n, p: Answer(body=completion("hi"), headers=headers)) as endpoint:
        reply = ask_one(endpoint.url, token_variable="MY_TOKEN")
    assert reply == ChatReply(
        text="hi",
        model_id="tiny",
        model_revision="abc",
        finish_reason="stop",
        prompt_tokens=11,
        completion_tokens=7,
    )
    assert endpoint.headers[0]["Authorization"] == "Bearer secret"
    sent = endpoint.asked[0]
    assert (sent["model"], sent["max_tokens"], sent["stream"]) == ("minicpm", 1024, False)
    assert sent["response_format"]["json_schema"]["schema"] == QUESTION.schema


def test_without_headers_the_body_names_the_model_and_without_a_variable_no_token_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AIOPT_ANALYST_TOKEN", raising=False)
    with serving(lambda n, p: Answer(body=completion("hi", usage=None))) as endpoint:
        reply = ask_one(endpoint.url)
    assert (reply.model_id, reply.model_revision, reply.prompt_tokens) == ("some-model", "", 0)
    assert "Authorization" not in endpoint.headers[0]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_endpoint_is_asked_again(status: int) -> None:
    def respond(number: int, payload: Any) -> Answer:
        return Answer(status, b"busy", {"Retry-After": "0"}) if number < 2 else Answer(body=completion("ok"))

    with serving(respond) as endpoint:
        assert ask_one(endpoint.url).text == "ok"
    assert len(endpoint.asked) == 3


def test_an_endpoint_that_stays_busy_is_given_up_with_its_words() -> None:
    busy = Answer(503, b"model is loading", {"Retry-After": "0"})
    said = r"chat/completions answered 503: model is loading"
    with serving(lambda n, p: busy) as endpoint, pytest.raises(EndpointError, match=said):
        ask_one(endpoint.url, retries=2)
    assert len(endpoint.asked) == 3


def test_a_dropped_connection_is_tried_again() -> None:
    def respond(number: int, payload: Any) -> Answer:
        return Answer(drop=True) if number == 0 else Answer(body=completion("ok"))

    with serving(respond) as endpoint:
        assert ask_one(endpoint.url).text == "ok"
    assert len(endpoint.asked) == 2


def test_nobody_listening() -> None:
    with serving(lambda n, p: Answer()) as endpoint:
        url = endpoint.url
    with pytest.raises(EndpointError, match="no reply"):
        ask_one(url, retries=0)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(body=b"<html>"), "sent no chat completion: .*<html>"),
        (Answer(body=b'{"choices": [{"mess'), "sent no chat completion"),
        (Answer(body=b""), "sent no chat completion: .*nothing"),
        (Answer(body=b"\xff\xfe\x00"), "sent no chat completion"),
        (Answer(body={"choices": []}), "without choices"),
        (Answer(body={"choices": [{"message": {"content": 5}}]}), "sent no chat completion"),
        (Answer(body=b"[" * 100_000), "sent no chat completion"),
        (Answer(body=b" " * (MAX_BODY_BYTES + 1)), f"sent more than {MAX_BODY_BYTES} bytes"),
        (Answer(body=b"{", claimed_length=500), "no reply"),
        (Answer(status=401, body=b"no token"), "answered 401: no token"),
        (Answer(status=302, headers={"Location": "http://127.0.0.1:1/"}), "answered 302"),
        (Answer(status=500, body=b"oops\x1b[31m"), r"answered 500: oops \[31m"),
        (Answer(delay_s=1.0, body=completion("late")), "no reply within 0.3 s"),
    ],
)
def test_what_is_no_reply_is_an_error_that_says_so(answer: Answer, message: str) -> None:
    with serving(lambda n, p: answer) as endpoint, pytest.raises(EndpointError, match=message):
        ask_one(endpoint.url, retries=0, timeout_s=0.3 if answer.delay_s else 20)


def test_an_endpoint_without_json_schema_is_asked_in_a_weaker_form_and_told_the_schema() -> None:
    def respond(number: int, payload: dict[str, Any]) -> Answer:
        kind = payload.get("response_format", {}).get("type")
        if kind is not None:
            return Answer(400, f"response_format {kind} is not supported".encode())
        return Answer(body=completion("ok"))

    async def run(url: str) -> list[str]:
        async with ChatClient(AnalystSettings(endpoint=url)) as client:
            return [(await client.complete(QUESTION)).text for _ in range(2)]

    with serving(respond) as endpoint:
        assert asyncio.run(run(endpoint.url)) == ["ok", "ok"]
    formats = [payload.get("response_format", {}).get("type") for payload in endpoint.asked]
    assert formats == ["json_schema", "json_object", None, None], "the weaker form is remembered"
    assert '{"type":"object"}' in endpoint.asked[-1]["messages"][0]["content"]
    assert [message["role"] for message in endpoint.asked[-1]["messages"]] == ["system", "user"]


def test_a_400_for_another_reason_is_not_taken_for_a_missing_schema() -> None:
    refusal = Answer(400, b"context length exceeded")
    with serving(lambda n, p: refusal) as endpoint, pytest.raises(EndpointError, match="context length"):
        ask_one(endpoint.url)
    assert len(endpoint.asked) == 1


def test_no_more_requests_than_allowed_are_in_flight() -> None:
    with serving(lambda n, p: Answer(body=completion("ok"), delay_s=0.05)) as endpoint:
        replies = ask(endpoint.url, times=12, concurrency=3)
    assert [getattr(reply, "text", reply) for reply in replies] == ["ok"] * 12
    assert endpoint.most_at_once <= 3


@pytest.mark.parametrize(
    ("header", "attempt", "seconds"),
    [
        (None, 0, 0.5),
        (None, 2, 2.0),
        ("3", 0, 3.0),
        ("1e9", 0, 30.0),
        ("-5", 0, 0.0),
        ("nan", 0, 0.0),
        ("soon", 1, 1.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0.0),
    ],
)
def test_how_long_to_wait(header: str | None, attempt: int, seconds: float) -> None:
    assert _pause(header, attempt) == seconds


def test_a_date_in_retry_after_is_waited_for() -> None:
    moment = dt.datetime.now(tz=dt.UTC) + dt.timedelta(seconds=10)
    assert 5 < _pause(email.utils.format_datetime(moment), 0) <= 10


def test_analyse_through_http_with_a_picture() -> None:
    assert REQUEST.bars is not None
    png = render_chart(REQUEST.bars, ChartSpec(width=480, height=320))
    request = AnalysisRequest(bars=REQUEST.bars, chart_png=png)

    async def run(url: str) -> Any:
        settings = AnalystSettings(endpoint=url)
        async with ChatClient(settings) as client:
            return await analyse(request, client.complete, settings)

    with serving(lambda n, p: Answer(body=completion("garbage" if n == 0 else VALID))) as endpoint:
        result = asyncio.run(run(endpoint.url))
    assert (result.analysis.source, result.analysis.bias) == ("model", "short")
    assert [attempt.ok for attempt in result.attempts] == [False, True]
    picture = endpoint.asked[0]["messages"][1]["content"][0]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"endpoint": "ftp://x"}, "must be a URL like"),
        ({"endpoint": "http://u:p@x/v1"}, "no password"),
        ({"models": ()}, "`models` must be different names"),
        ({"prompts": ("read/1", "read/1")}, "`prompts` must be different"),
        ({"prompts": ("reed/1",)}, "Did you mean 'read/1'"),
        ({"token_variable": "sk-123"}, "not the token"),
        ({"timeout_s": 0.0}, "timeout_s"),
        ({"models": tuple("abcdefghi"), "prompts": ("read/1", "doubt/1")}, "at most|may have 16"),
    ],
)
def test_settings_that_break_a_rule(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AnalystSettings(**settings)


def test_a_client_needs_an_endpoint() -> None:
    with pytest.raises(EndpointError, match="No endpoint is set"):
        ChatClient(AnalystSettings())
