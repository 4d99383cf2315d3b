"""The analyst of a session as configuration: what it takes, what it refuses and in which words."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.analyst.settings import AnalystSettings
from aiopt.errors import ConfigError, DataError, SpecError
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.reading.analyst_config import LiveAnalyst
from aiopt.live.session.live_config import LiveConfig, ReplayFeed, TradedSpec, load_live_config, specs_of
from aiopt.strategy.families import FAMILIES

ENDPOINT = AnalystSettings(endpoint="http://127.0.0.1:8000/v1")
GATED = "name: gated\nentry_long: close > open\nreadings: {{without: allow, max_age_bars: 3, {}}}\n"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"every": 0}, "1 <= analyst.every <= 100000"),
        ({"limit_s": 0.0}, "0 < analyst.limit_s <= 86400"),
        ({"latency_s": -1.0}, "0 <= analyst.latency_s <= 86400"),
        ({"timeframe": "5 minutes"}, "A timeframe must be"),
        ({"reader": "model"}, "`analyst.settings.endpoint` is not given"),
    ],
)
def test_what_is_wrong_is_said(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        LiveAnalyst(**fields)


def written(tmp_path: Path, analyst: str, gate: str = "long: {bias: [long]}") -> Path:
    (tmp_path / "gated.yaml").write_text(GATED.format(gate))
    path = tmp_path / "live.yaml"
    path.write_text(
        "account: {account_currency: USD}\n"
        "strategies: [{id: g, spec: gated.yaml, timeframe: 5m}]\n"
        "feed: {store: ticks/EURUSD}\n" + analyst
    )
    return path


def test_a_file_names_who_reads(tmp_path: Path) -> None:
    analyst = (
        "analyst:\n"
        "  reader: model\n"
        "  settings: {endpoint: 'http://127.0.0.1:8000/v1', models: [minicpm], bars: 60}\n"
        "  asks_at: pattern\n"
        "  limit_s: 5\n"
        "  calibrations: [checkpoint]\n"
    )
    made = load_live_config(written(tmp_path, analyst))
    assert made.analyst is not None
    assert (made.analyst.settings.bars, made.analyst.calibrations) == (60, (str(tmp_path / "checkpoint"),))
    assert made.chart_frame is not None
    assert (made.chart_frame.label, list(specs_of(made))) == ("5m", ["g"])
    assert pickle.loads(pickle.dumps(made)) == made
    with pytest.raises(DataError, match="there is no aiopt_calibration"):
        made.analyst.scan()
    with pytest.raises(ConfigError, match="pace"):
        load_live_config(written(tmp_path, "analyst: {pace: 3}\n"))


def test_a_strategy_that_asks_needs_somebody_who_reads(tmp_path: Path) -> None:
    alone = load_live_config(written(tmp_path, ""))
    with pytest.raises(SpecError, match="gated: readings: it asks for readings, but nobody reads"):
        specs_of(alone)
    by_model = "analyst: {reader: model, settings: {endpoint: 'http://127.0.0.1:8000/v1'}}\n"
    gate = "min_confidence: 0.6, confidence: calibrated"
    with pytest.raises(SpecError, match="asks for the figure calibrated, but no calibration of the model"):
        specs_of(load_live_config(written(tmp_path, by_model, gate)))
    assert specs_of(load_live_config(written(tmp_path, "analyst: {}\n", gate)))  # the rules' is known


def config(**changes: Any) -> LiveConfig:
    fields: dict[str, Any] = {
        "account": PaperConfig(account_currency="USD"),
        "strategies": (
            TradedSpec(id="A", spec="rsi_reversion", timeframe="5m"),
            TradedSpec(id="B", spec="rsi_reversion", timeframe="1m"),
        ),
        "feed": ReplayFeed(store="data/ticks/EURUSD"),
        "analyst": LiveAnalyst(timeframe="1m", reader="model", settings=ENDPOINT),
    }
    return LiveConfig(**fields | changes)


def test_which_bars_are_read_must_be_known() -> None:
    with pytest.raises(ConfigError, match="which bars are read where strategies are of 1m and 5m"):
        _ = config(analyst=LiveAnalyst()).chart_frame
    assert config(analyst=None).chart_frame is None


def test_how_the_model_is_reached_may_change_while_a_session_lives() -> None:
    made = config()
    assert made.analyst is not None

    def other(**changes: Any) -> str:
        return config(analyst=msgspec.structs.replace(made.analyst, **changes)).config_hash

    elsewhere = msgspec.structs.replace(ENDPOINT, endpoint="http://10.0.0.7:8000/v1", timeout_s=9.0)
    assert other(settings=elsewhere, limit_s=3.0) == made.config_hash
    for changes in (
        {"every": 2},
        {"fallback": "none"},
        {"latency_s": 1.0},
        {"settings": msgspec.structs.replace(ENDPOINT, bars=60)},
    ):
        assert other(**changes) != made.config_hash
    assert config(analyst=None).config_hash != made.config_hash


def test_a_ready_family_asks_for_nothing() -> None:
    assert specs_of(config(analyst=None))["A"] == FAMILIES["rsi_reversion"].spec
