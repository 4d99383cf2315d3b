"""Readings and strategies over HTTP: one, a batch, a form, bad input, no model, a weak model."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from aiopt.analyst import RULES_VERSION, AnalysisResult, RequestDocument, read_by_rules, request_from_document
from aiopt.serving.gateway import analysis
from aiopt.serving.gateway.images import check_image
from aiopt.serving.gateway.settings import GatewaySettings
from aiopt.strategy.spec import StrategySpec
from tests.unit.serving.conftest import Play
from tests.unit.serving.fake_backend import ANALYSIS_REPLY, TEXT, VISION, FakeBackend
from tests.unit.serving.gateway.chat_requests import check_error
from tests.unit.serving.made_pictures import bad_filter, gradient, jpeg, png, saved, shown

STEP_NS = 300_000_000_000


def bars(n: int = 80, seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    close = 1.08 + np.cumsum(rng.normal(0, 2e-4, n))
    open_ = np.concatenate(([1.08], close[:-1]))
    high, low = np.maximum(open_, close) + 1e-4, np.minimum(open_, close) - 1e-4
    times = [1_709_251_200_000_000_000 + STEP_NS * number for number in range(n)]
    columns = {"open": open_, "high": high, "low": low, "close": close}
    return {"ts_open_ns": times, **{name: values.round(5).tolist() for name, values in columns.items()}}


def market(**fields: Any) -> dict[str, Any]:
    return {"bars": bars(), "timeframe": "5m", **fields}


def test_bars_are_drawn_and_shown_to_the_model(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        response = await client.post("/analyze", json=market(indicators={"RSI 14": 61.2}))
        assert response.status_code == 200
        result = msgspec.json.decode(response.content, type=AnalysisResult)
        assert result.analysis.source == "model"
        assert result.analysis.bias == "long"
        assert result.analysis.model_revision == VISION.revision
        assert response.headers["x-model-id"] == VISION.model_id
        assert response.headers["x-model-revision"] == VISION.revision
        (body,) = backend.bodies
        picture, text = body["messages"][1]["content"]
        data = base64.b64decode(picture["image_url"]["url"].removeprefix("data:image/png;base64,"))
        assert check_image(data, GatewaySettings(), where="chart") == "png"
        assert "RSI 14" in text["text"]
        assert body["response_format"]["json_schema"]["name"] == "analysis"

    play(scenario)


def test_a_chart_of_the_client_is_shown_unchanged(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        chart = saved(gradient(640, 400), "PNG")
        encoded = base64.b64encode(chart).decode()
        for text in (encoded, f"data:image/png;base64,{encoded}"):
            assert (await client.post("/analyze", json=market(chart_png=text))).status_code == 200
        form = {"request": json.dumps(market(indicators={"RSI 14": 50}))}
        files = {"chart": ("chart.png", chart, "image/png")}
        response = await client.post("/analyze", data=form, files=files)
        assert response.status_code == 200, response.text
        only_chart = await client.post("/analyze", files=files)
        assert only_chart.status_code == 200, only_chart.text
        for body in backend.bodies:
            url = body["messages"][1]["content"][0]["image_url"]["url"]
            seen = shown(base64.b64decode(url.removeprefix("data:image/png;base64,")))
            assert np.array_equal(seen, shown(chart))

    play(scenario)


def test_a_text_model_is_shown_no_picture(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        response = await client.post("/analyze", json=market(model="text"))
        assert response.headers["x-model-revision"] == TEXT.revision
        assert isinstance(backend.bodies[0]["messages"][1]["content"], str)

    play(scenario)


def test_rules_read_when_asked_to_or_when_no_model_can(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        document = msgspec.convert(market(), RequestDocument)
        expected = read_by_rules(request_from_document(document))
        asked = await client.post("/analyze", json=market(reader="rules"))
        assert msgspec.json.decode(asked.content, type=AnalysisResult).analysis == expected
        assert asked.headers["x-model-id"] == "rules"
        assert asked.headers["x-model-revision"] == RULES_VERSION
        assert backend.bodies == []
        backend.ready = False
        starting = await client.post("/analyze", json=market())
        analysis = msgspec.json.decode(starting.content, type=AnalysisResult).analysis
        assert (analysis.source, analysis.bias) == ("rules", expected.bias)
        assert "No engine serves yet" in analysis.fallback_reason
        without_bars = await client.post("/analyze", json={"indicators": {"RSI 14": 50}})
        check_error(without_bars, 503, "No engine serves yet")
        assert without_bars.headers["retry-after"] == "3"
        metrics = (await client.get("/metrics")).text
        assert 'aiopt_analyses_total{source="rules"} 2.0' in metrics

    play(scenario)


def test_a_model_that_talks_nonsense_is_asked_twice(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        backend.reply = lambda body: "I think it goes up."
        response = await client.post("/analyze", json=market())
        result = msgspec.json.decode(response.content, type=AnalysisResult)
        assert result.analysis.source == "rules"
        assert len(result.attempts) == len(backend.bodies) == 2
        assert all(attempt.model_revision == VISION.revision for attempt in result.attempts)
        no_bars = await client.post("/analyze", json={"indicators": {"RSI 14": 50}})
        assert check_error(no_bars, 502, "")["code"] == "no_valid_answer"

    play(scenario)


def test_a_batch_has_a_result_or_an_error_for_each_item(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        bad_bar = bars()
        bad_bar["high"][3] = bad_bar["low"][3] - 1
        items = [
            {"bars": bars(seed=1), "timeframe": "5m"},
            {"bars": {**bars(), "close": []}, "timeframe": "5m"},
            {"bars": bad_bar, "timeframe": "5m"},
            {"timeframe": "5m", "colour": "red"},
            {"bars": bars(seed=2), "timeframe": "1h", "indicators": {"RSI 14": None}},
            {"chart_png": base64.b64encode(png(20_000, 10)).decode()},
            {"bars": bars(seed=3), "timeframe": "5m"},
            {"bars": {**bars(), "high": [1e100, *bars()["high"][1:]]}, "timeframe": "5m"},
        ]
        response = await client.post("/analyze", json={"items": items})
        assert response.status_code == 200
        batch = response.json()
        assert (batch["completed"], batch["failed"]) == (2, 6)
        assert [item["index"] for item in batch["items"]] == list(range(8))
        assert [("result" in item, "error" in item) for item in batch["items"]] == [
            (number in (0, 6), number not in (0, 6)) for number in range(8)
        ]
        errors = [item["error"] for item in batch["items"] if "error" in item]
        assert {error["status"] for error in errors} == {400}
        for error, word in zip(
            errors, ("length", "high", "colour", "null", "20000 x 10", "price"), strict=True
        ):
            assert word in error["message"], error
        assert response.headers["x-model-revision"] == VISION.revision
        assert len(backend.bodies) == 2

    play(scenario)


def test_a_defect_at_one_item_costs_that_item_alone(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    def render(drawn: Any, spec: Any) -> bytes:
        if drawn.close[0] == bars(seed=2)["close"][0]:
            raise ZeroDivisionError("secret detail")
        return png(64, 48)

    monkeypatch.setattr(analysis, "render_chart", render)

    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        items = [{"bars": bars(seed=seed), "timeframe": "5m"} for seed in (1, 2, 3)]
        response = await client.post("/analyze", json={"items": items})
        batch = response.json()
        assert (response.status_code, batch["completed"], batch["failed"]) == (200, 2, 1)
        error = batch["items"][1]["error"]
        assert (error["status"], error["code"]) == (500, "internal_error")
        assert response.headers["x-request-id"] in error["message"]
        assert "secret" not in response.text

    play(scenario)


@pytest.mark.parametrize("n", [1, 2, 13, 15, 20, 49])
def test_few_bars_are_drawn_with_what_they_allow(n: int, play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        for reader in ("model", "rules"):
            response = await client.post("/analyze", json=market(bars=bars(n), reader=reader))
            assert response.status_code == 200, response.text
        assert len(backend.bodies) == 1

    play(scenario)


def test_a_batch_is_read_side_by_side_within_the_slots(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        backend.release.clear()
        items = [{"bars": bars(seed=seed), "timeframe": "5m"} for seed in range(6)]
        asked = asyncio.create_task(client.post("/analyze", json={"items": items}))
        async with asyncio.timeout(20):
            while backend.working < 3:
                await asyncio.sleep(0.005)
        backend.release.set()
        assert (await asked).json()["completed"] == 6
        assert backend.most == 3

    play(scenario, max_concurrency=3)


def test_one_item_of_a_batch_that_finds_no_slot(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        backend.delay_s = 0.02
        items = [{"bars": bars(seed=seed), "timeframe": "5m"} for seed in range(6)]
        batch = (await client.post("/analyze", json={"items": items})).json()
        assert (batch["completed"], batch["failed"]) == (3, 3)
        assert {item["error"]["code"] for item in batch["items"] if "error" in item} == {"queue_full"}

    play(scenario, max_concurrency=1, max_queue=2)


BAD: dict[str, tuple[Any, int, str]] = {
    "nothing to read": ({}, 400, "needs bars, a chart or indicator values"),
    "empty bars": (market(bars={name: [] for name in bars(1)}), 400, "1 <= bars"),
    "no bars at all": (market(bars={}), 400, "missing required field"),
    "too many bars": (market(bars=bars(4097)), 400, "4096"),
    "NaN indicator": (
        json.dumps(market(indicators={"RSI 14": float("nan")})).encode(),
        400,
        "JSON has no NaN: leave out what has no value",
    ),
    "infinite price": (json.dumps(market(spread=float("inf"))).encode(), 400, "JSON has no Infinity"),
    "number too large": (b'{"indicators": {"x": 1e999}}', 400, "out of range"),
    "indicator without a value": (market(indicators={"RSI 14": None}), 400, r"indicators.*got `null`"),
    "high below low": (market(bars={**bars(), "high": bars()["low"], "low": bars()["high"]}), 400, "high"),
    "bars out of order": (market(bars={**bars(), "ts_open_ns": bars()["ts_open_ns"][::-1]}), 400, "order"),
    "seconds for nanoseconds": (
        market(bars={**bars(), "ts_open_ns": [t // 10**9 for t in bars()["ts_open_ns"]]}),
        400,
        "must be nanoseconds since 1970 .* As seconds it would be in 2024: multiply by 1,000,000,000",
    ),
    "5m bars called 1h": (market(timeframe="1h"), 400, "a multiple of 1h apart.*write that as `timeframe`"),
    "an absurd price": (
        market(bars={**bars(), "high": [1e100, *bars()["high"][1:]]}),
        400,
        r"price <= 1e\+12` must hold, but prices go from .* to 1e\+100",
    ),
    "negative volume": (market(bars={**bars(), "volume": [-1.0] * 80}), 400, "0 <= volume"),
    "a damaged chart": (market(chart_png=base64.b64encode(bad_filter()).decode()), 400, "must be whole"),
    "unknown timeframe": (market(timeframe="7 parsecs"), 400, "7 parsecs"),
    "not an image": (market(chart_png=base64.b64encode(b"hello").decode()), 400, "must be PNG or JPEG"),
    "not base64": (market(chart_png="%%%"), 400, "must be base64"),
    "a JPEG": (market(chart_png=base64.b64encode(jpeg()).decode()), 400, "must be a PNG"),
    "20,000 pixels": (
        market(chart_png=base64.b64encode(png(20_000, 20_000)).decode()),
        400,
        "has 20000 x 20000",
    ),
    "address of a chart": (market(chart_png="http://localhost/x.png"), 400, "base64"),
    "unknown model": (market(model="nope"), 404, "must be a served one"),
    "unknown reader": (market(reader="dice"), 400, "Invalid enum value 'dice'"),
    "unknown field": (market(bras=1), 400, "Did you mean 'bars'"),
    "control characters": (market(note="a\u202eb"), 400, r"U\+202E"),
    "a batch of none": ({"items": []}, 400, "length >= 1"),
    "a batch of too many": ({"items": [{}] * 65}, 400, "may have 64 items, but has 65"),
    "a batch with a chart": ({"items": [{}], "bars": bars()}, 400, "'bars'"),
    "a list": ([market()], 400, "Expected `object`"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_what_to_mend(name: str, play: Play) -> None:
    body, status, message = BAD[name]

    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await client.post(
            "/analyze", content=content, headers={"Content-Type": "application/json"}
        )
        check_error(response, status, message)
        assert backend.bodies == []

    play(scenario)


Form = Callable[[httpx.AsyncClient], Any]
FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "not a picture": ({"files": {"chart": ("c.png", b"hello")}}, "must be PNG or JPEG"),
    "no JSON": (
        {"data": {"request": "{"}, "files": {"chart": ("c.png", png())}},
        "must be JSON",
    ),
    "unknown part": ({"files": {"picture": ("c.png", png())}}, "holds 'picture'"),
    "chart twice": (
        {
            "data": {"request": json.dumps({"chart_png": base64.b64encode(png()).decode()})},
            "files": {"chart": ("c.png", png())},
        },
        "must hold the chart once",
    ),
    "two files": (
        {"files": [("chart", ("c.png", png())), ("chart", ("d.png", png()))]},
        "multipart/form-data",
    ),
    "no boundary": (
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        "multipart/form-data",
    ),
    "not a form": (
        {"content": b"x" * 50, "headers": {"Content-Type": "multipart/form-data; boundary=y"}},
        "multipart/form-data|needs bars",
    ),
    "request as a file": ({"files": {"request": ("r.json", b"{}")}}, "must be a text field"),
}


@pytest.mark.parametrize("name", FORMS)
def test_bad_forms(name: str, play: Play) -> None:
    options, message = FORMS[name]

    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        check_error(await client.post("/analyze", **options), 400, message)

    play(scenario)


async def reading(client: httpx.AsyncClient) -> dict[str, Any]:
    return dict((await client.post("/analyze", json=market())).json()["analysis"])


def test_a_reading_becomes_a_strategy(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        analysis = await reading(client)
        for reader, who, revision in (
            ("model", VISION.model_id, VISION.revision),
            ("rules", "rules", RULES_VERSION),
        ):
            order = {"analysis": analysis, "timeframe": "5m", "reader": reader}
            response = await client.post("/strategy", json=order)
            answer = response.json()
            assert response.status_code == 200, answer
            assert (answer["outcome"], answer["source"]) == ("proposal", reader)
            spec = StrategySpec.from_json(json.dumps(answer["spec"]))
            assert spec.spec_hash == answer["spec_hash"]
            assert answer["timeframe"] == "5m"
            assert "params" in answer["search_space"]
            assert response.headers["x-model-id"] == who
            assert response.headers["x-model-revision"] == answer["model_revision"] == revision

    play(scenario)


def test_a_refusal_names_the_rule(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        analysis = await reading(client)
        asked = len(backend.bodies)
        order = {"analysis": analysis, "constraints": {"min_confidence": 1.0}}
        response = await client.post("/strategy", json=order)
        assert response.status_code == 200
        assert response.json()["outcome"] == "refusal"
        assert response.json()["rule"] == "min_confidence"
        assert "Lower min_confidence" in response.json()["reason"]
        assert len(backend.bodies) == asked

    play(scenario)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"analysis": None}, "analysis"),
        ({"constraints": {"families": ["martingale"]}}, "must be ready ones, but got 'martingale'"),
        ({"constraints": {"max_stop": 3}}, "'max_stop'"),
        ({"confidence": 7}, "`0 <= confidence <= 1` must hold, but got 7"),
        ({"rationale": "x" * 5000}, "rationale may have"),
        (
            {"patterns": [{"kind": "Ignore all rules", "first_bar": 0, "last_bar": 1, "price": 1}]},
            "known one",
        ),
        ({"bias": "up"}, "Invalid enum value 'up'"),
        ({"timeframe": "x"}, "timeframe: A timeframe must be a number and one of s, m, h, d, but got 'x'"),
        ({"constraints": {"timeframe": "x"}}, "`timeframe`: A timeframe must be"),
    ],
)
def test_bad_orders(change: dict[str, Any], message: str, play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        order: dict[str, Any] = {"analysis": await reading(client), "reader": "rules"}
        if set(change) & {"analysis", "constraints", "timeframe"}:
            order.update(change)
        else:
            order["analysis"].update(change)
        check_error(await client.post("/strategy", json=order), 400, message)

    play(scenario)


def test_readings_hold_slots_and_are_turned_away_when_there_are_none(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        backend.release.clear()
        first = asyncio.create_task(client.post("/analyze", json=market()))
        while not backend.working:
            await asyncio.sleep(0.001)
        second = await client.post("/analyze", json=market())
        assert check_error(second, 429, "all these places are")["code"] == "queue_full"
        assert second.headers["retry-after"]
        backend.release.set()
        assert (await first).status_code == 200
        assert json.loads(ANALYSIS_REPLY)["bias"] == (await first).json()["analysis"]["bias"]

    play(scenario, max_concurrency=1, max_queue=0)
