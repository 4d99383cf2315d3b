from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.analyst import AnalysisRequest, analyse
from aiopt.analyst.chat import ChatReply, ChatRequest
from aiopt.errors import ConfigError
from aiopt.serving import profile_files
from aiopt.serving.profile import EngineSettings, ServingConfig, load_args
from aiopt.testing.bars import random_walk_bars
from cluster.serving import deploy

MINIMAL: dict[str, Any] = {"device": "cpu", "models": [{"name": "minicpm", "model": "a/b"}]}


@pytest.mark.parametrize("name", ["gpu", "cpu", "tiny", "test"])
def test_every_profile_that_ships_is_valid_and_deployable(name: str) -> None:
    document = profile_files.load_profile(name)
    (application,) = document["applications"]
    assert application["name"] == deploy.APPLICATION
    assert application["import_path"] == "cluster.serving.app:build_app"
    config = load_args(application["args"], where=name)
    assert config.models[0].name == "minicpm"
    assert msgspec.json.decode(msgspec.json.encode(config), type=ServingConfig) == config


def test_the_gpu_profile_serves_both_models_within_the_card() -> None:
    config = load_args(profile_files.load_profile("gpu")["applications"][0]["args"], where="gpu")
    assert [slot.name for slot in config.models] == ["minicpm", "minicpm-text"]
    shares = {slot.name: 31.8 * slot.engine.gpu_memory_share for slot in config.models}
    # docs/how-to/serving.md: each process adds a CUDA context; weights and a forward pass must fit it.
    context, sleeping, desktop = 0.5, 0.7, 0.9
    running = sum(shares.values()) + context * len(shares)
    assert running + shares["minicpm"] + context + sleeping + desktop <= 31.8, "a swap would pause minicpm"
    assert shares["minicpm"] >= 2.4 + 1.4 + 1
    assert shares["minicpm-text"] >= 15.3 + 1.6 + 1
    for slot in config.models:
        assert slot.engine.prefix_caching
        assert slot.engine.sleep_mode
        assert not slot.engine.eager, "CUDA graphs are off"


def test_a_reading_fits_the_context_of_the_test_profile() -> None:
    """Its tokenizer has hardly more than letters; what does not fit is answered by the rules, unseen."""
    asked: list[ChatRequest] = []

    async def complete(request: ChatRequest) -> ChatReply:
        asked.append(request)
        return ChatReply(text="{}", model_id="tiny")

    market = AnalysisRequest(
        bars=random_walk_bars(120, seed=1, timeframe="5m"), indicators={"RSI 14": 61.2, "EMA 20": 1.19876}
    )
    asyncio.run(analyse(market, complete))
    letters = sum(len(str(message["content"])) for message in asked[0].messages)
    assert letters > 4000, "this prompt would have fitted anywhere"
    (slot,) = load_args(profile_files.load_profile("test")["applications"][0]["args"], where="test").models
    picture = 500
    assert letters + picture + asked[0].max_tokens <= slot.engine.max_context_tokens


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"devise": "cpu"}, r"Unknown key 'devise'.*Did you mean 'device'"),
        ({"models": []}, "must name at least one model"),
        ({"device": "tpu"}, "Invalid enum value 'tpu'"),
        ({"models": [{"name": "a b", "model": "x"}]}, "must be letters, digits"),
        ({"models": [{"name": "a", "model": "x", "aliases": ["a"]}]}, "'a' occurs twice"),
        ({"models": [{"name": "a", "model": "x", "engine": {"threds": 2}}]}, "Did you mean 'threads'"),
        (
            {"models": [{"name": "a", "model": "x", "engine": {"kv_cache_gib": 0}}]},
            "`engine.kv_cache_gib >= 1`",
        ),
        (
            {"models": [{"name": "a", "model": "x", "engine": {"gpu_memory_share": 1.5}}]},
            "gpu_memory_share=1.5",
        ),
        ({"standby_engines": -1}, "`standby_engines >= 0`"),
        ({"load_timeout_s": 0}, "`load_timeout_s > 0`"),
        ({"gateway": {"max_tokens": 0}}, "gateway.max_tokens"),
        (
            {
                "device": "gpu",
                "models": [
                    {"name": "a", "model": "x", "engine": {"gpu_memory_share": 0.5}},
                    {"name": "b", "model": "x", "engine": {"gpu_memory_share": 0.5}},
                ],
            },
            "sum to at most 0.95, but sum to 1.00",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_args(copy.deepcopy(MINIMAL) | change, where="profile")


@pytest.mark.parametrize("type_", [ServingConfig, EngineSettings])
def test_every_key_is_documented_with_its_default(type_: type[msgspec.Struct]) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "serving.md").read_text(
        encoding="utf-8"
    )
    for field in msgspec.structs.fields(type_):
        row = next((line for line in page.splitlines() if line.startswith(f"| `{field.name}` |")), None)
        assert row is not None, f"{field.name} is not documented"
        if isinstance(field.default, int | float | str) and field.default != "":
            default = row.split("|")[2].strip()
            shown = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
            assert default in {shown, shown.removesuffix(".0")}, row
