"""A scan through the real endpoint: real engine and gateway, readings that name who answered."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from aiopt.analyst import AnalysisRequest, AnalysisResult, AnalystSettings, ChatReply, ChatRequest, analyse
from aiopt.analyst.client import ChatClient
from aiopt.analyst.scans import load_readings
from aiopt.analyst.short_reading import SHORT_QUESTIONS, UNKNOWN
from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from tests.serving.conftest import Served, aiopt

pytestmark = pytest.mark.slow


def test_a_served_model_is_asked_about_every_window(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = random_walk_bar_set(600, seed=5)
    for side in ("bid", "ask"):
        write_bar_file(getattr(bars, side), tmp_path / "bars" / f"{side}.parquet")
    monkeypatch.setitem(os.environ, "AIOPT_ANALYST_TOKEN", served.token)
    out = tmp_path / "scan"
    arguments = ("analyst", "scan", "--bars", str(tmp_path / "bars"), "--windows", "12", "--out", str(out))
    who = ("--endpoint", f"{served.url}/v1", "--concurrency", "4", "--timeout", "180", "--json")
    done = aiopt(*arguments, *who)
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout)
    # Random weights answer by the grammar, but mostly what no chart shows: said, and not replaced by rules.
    assert document["read"] + document["failed"].get("reply", 0) == document["windows"] == 12
    rows = load_readings(out)
    assert {row.model_revision for row in rows} == {served.revision()}
    assert all(row.questions in (1, 2) and row.image_sha256 and row.seconds > 0 for row in rows)
    assert len({row.image_sha256 for row in rows}) == 12
    assert "readings/s" in done.stderr
    again = aiopt(*arguments, *who)
    assert json.loads(again.stdout) == document
    assert load_readings(out) == rows, "nothing was asked again"


def test_short_questions_to_a_served_model_become_a_reading_with_the_engines_own_probabilities(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "AIOPT_ANALYST_TOKEN", served.token)
    settings = AnalystSettings(endpoint=f"{served.url}/v1", prompts=("short/1",), timeout_s=180)
    request = AnalysisRequest(bars=random_walk_bar_set(120, seed=5).bid)
    told: dict[str, ChatReply] = {}

    async def read() -> AnalysisResult:
        async with ChatClient(settings) as client:

            async def complete(question: ChatRequest) -> ChatReply:
                told[question.schema_name] = await client.complete(question)
                return told[question.schema_name]

            return await analyse(request, complete, settings)

    result = asyncio.run(read())
    found = result.analysis
    assert (found.source, found.prompt_version) == ("model", "short/1"), found.fallback_reason
    assert found.model_revision == served.revision()
    assert [one.ok for one in result.attempts] == [True] * len(SHORT_QUESTIONS)
    bias = told["bias"]
    assert bias.text == "".join(token.text for token in bias.tokens[: bias.completion_tokens - 1])
    # The likeliest tokens as they were before the grammar; those it allows share what is sure.
    assert all(len(token.likely) >= 20 for token in bias.tokens)
    assert 0 < found.confidence_parts.stated <= 1
    assert found.confidence_parts.stated != UNKNOWN
