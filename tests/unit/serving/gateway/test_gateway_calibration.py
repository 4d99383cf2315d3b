"""Readings over HTTP say how often such readings are right, where the model that answered brings that."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import msgspec
import pytest

from aiopt.analyst import AnalysisResult
from aiopt.analyst.calibrating import Calibrator
from aiopt.analyst.checkpoint_calibration import CheckpointCalibration, TaskCalibration
from aiopt.analyst.short_reading import SHORT_QUESTIONS
from tests.unit.serving.conftest import Play
from tests.unit.serving.fake_backend import VISION, FakeBackend
from tests.unit.serving.gateway.chat_requests import check_error
from tests.unit.serving.gateway.test_gateway_analysis import market

HALF = Calibrator(method="isotonic", confidences=(0.0, 1.0), shares=(0.0, 0.5), n=100)


def calibration(revision: str = VISION.revision, task: str = "analysis") -> str:
    found = CheckpointCalibration(
        revision=revision,
        data="key",
        tasks={task: TaskCalibration(calibrator=HALF, n=100, ece_before=0.3, ece_after=0.05)},
    )
    return msgspec.json.encode(found).decode()


def serve(backend: FakeBackend, text: str, **changes: Any) -> None:
    card = msgspec.structs.replace(backend.served["minicpm"], calibration=text, **changes)
    backend.served["minicpm"] = card


async def read(client: httpx.AsyncClient, **fields: Any) -> AnalysisResult:
    response = await client.post("/analyze", json=market(**fields))
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=AnalysisResult)


def test_a_calibrated_model_says_both_what_it_states_and_how_often_it_is_right(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        raw = (await read(client)).analysis
        assert raw.calibrated is msgspec.UNSET
        assert raw.confidence > 0
        serve(backend, calibration())
        found = (await read(client)).analysis
        assert found.calibrated == pytest.approx(raw.confidence / 2, abs=1e-6)
        assert msgspec.structs.replace(found, calibrated=msgspec.UNSET) == raw, "nothing else is changed"
        batch = await client.post("/analyze", json={"items": [market(), market()]})
        for item in batch.json()["items"]:
            analysis = item["result"]["analysis"]
            assert analysis["calibrated"] == pytest.approx(analysis["confidence"] / 2, abs=1e-6)

    play(scenario)


def test_only_the_revision_that_was_measured_counts(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        for text in (calibration(revision="c" * 64), calibration(task="bias"), ""):
            serve(backend, text)
            assert (await read(client)).analysis.calibrated is msgspec.UNSET
        # A swap: the new model brings its own file, and the old one's no longer counts.
        serve(backend, calibration(revision="d" * 64), revision="d" * 64)
        found = (await read(client)).analysis
        assert found.model_revision == "d" * 64
        assert found.calibrated == pytest.approx(found.confidence / 2, abs=1e-6)
        serve(backend, calibration())
        assert (await read(client)).analysis.calibrated is msgspec.UNSET

    play(scenario)


def test_a_damaged_file_is_told_once_and_readings_go_on(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        serve(backend, calibration()[:-9])
        with caplog.at_level(logging.WARNING, "aiopt.gateway"):
            for _ in range(2):
                assert (await read(client)).analysis.calibrated is msgspec.UNSET
        (line,) = [one.getMessage() for one in caplog.records]
        assert "readings of openbmb/tiny-v are not calibrated" in line
        assert "not valid JSON" in line

    play(scenario)


def test_a_calibrated_reading_is_taken_back_for_a_strategy(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        serve(backend, calibration())
        reading = msgspec.to_builtins((await read(client)).analysis)
        answered = await client.post("/strategy", json={"analysis": reading, "timeframe": "5m"})
        assert answered.status_code == 200, answered.text
        bad = {"analysis": {**reading, "calibrated": 1.5}, "timeframe": "5m"}
        refused = await client.post("/strategy", json=bad)
        check_error(refused, 400, "`0 <= calibrated <= 1` must hold, but got 1.5")

    play(scenario)


def test_a_model_that_is_calibrated_for_short_questions_is_asked_these(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        serve(backend, calibration(task="short/1"))

        def short(body: dict[str, Any]) -> str:
            asked = body["response_format"]["json_schema"]
            return msgspec.json.encode({asked["name"]: SHORT_QUESTIONS[asked["name"]][1][0]}).decode()

        backend.reply = short
        found = (await read(client)).analysis
        assert (found.source, found.prompt_version) == ("model", "short/1"), found.fallback_reason
        assert found.calibrated == pytest.approx(found.confidence_parts.stated / 2, abs=1e-6)
        assert len(backend.bodies) == len(SHORT_QUESTIONS)
        assert {(body["logprobs"], body["top_logprobs"]) for body in backend.bodies} == {(True, 20)}
        serve(backend, "")
        backend.reply = None
        assert (await read(client)).analysis.prompt_version == "read/1"

    play(scenario)
