"""A session's configuration: what it takes, what it refuses and in which words."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.errors import ConfigError, SpecError
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.session.live_config import LiveConfig, ReplayFeed, TradedSpec, load_live_config, specs_of
from aiopt.strategy.families import FAMILIES

ACCOUNT = PaperConfig(account_currency="USD")


def config(**changes: Any) -> LiveConfig:
    fields: dict[str, Any] = {
        "account": ACCOUNT,
        "strategies": (TradedSpec(id="A", spec="rsi_reversion"), TradedSpec(id="B", spec="rsi_reversion")),
        "feed": ReplayFeed(store="data/ticks/EURUSD"),
    }
    return LiveConfig(**fields | changes)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: config(strategies=()), "at least one, each with its own id, but got none"),
        (lambda: config(strategies=(TradedSpec(id="A", spec="x"),) * 2), "but got A twice"),
        (lambda: config(profile="production"), "this aiopt trades on paper only"),
        (lambda: config(warm_up_days=-1.0), "0 <= warm_up_days <= 3660"),
        (lambda: TradedSpec(id="a b", spec="x"), "letters, digits and underscores"),
        (lambda: TradedSpec(id="a", spec="x", timeframe="5 minutes"), "A timeframe must be"),
        (lambda: TradedSpec(id="a", spec="x", balance=0.0), "0 < strategies.balance < inf"),
        (lambda: ReplayFeed(store="x", speed=-1.0), "0 <= feed.speed < inf"),
        (lambda: ReplayFeed(store="x", start="yesterday"), "must be an ISO time"),
    ],
)
def test_what_is_wrong_is_said(make: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        make()


def test_a_file_is_read_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(FAMILIES["ema_cross_atr"].spec.to_json())
    path = tmp_path / "live.yaml"
    path.write_text(
        "account: {account_currency: USD, initial_balance: 50000}\n"
        "strategies:\n"
        "  - {id: mine, spec: mine.json, timeframe: 15m}\n"
        "  - {id: ready, spec: rsi_reversion, balance: 10000}\n"
        "feed: {store: ticks/EURUSD, start: 2024-03-07}\n"
    )
    made = load_live_config(path)
    assert made.feed.store == str(tmp_path / "ticks" / "EURUSD")
    assert made.feed.ns("start") == 1_709_769_600_000_000_000
    assert [made.balance_of(one) for one in made.strategies] == [25_000.0, 10_000.0]
    assert specs_of(made)["mine"] == FAMILIES["ema_cross_atr"].spec
    assert pickle.loads(pickle.dumps(made)) == made
    path.write_text(path.read_text() + "pace: 3\n")
    with pytest.raises(ConfigError, match="pace"):
        load_live_config(path)


def test_an_unknown_strategy_is_said() -> None:
    with pytest.raises(SpecError, match="Did you mean"):
        specs_of(config(strategies=(TradedSpec(id="A", spec="rsi_revers"),)))


def test_a_strategy_that_asks_for_readings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gated.yaml"
    path.write_text(
        "name: gated\nentry_long: close > open\n"
        "readings: {without: allow, max_age_bars: 3, long: {bias: [long]}}\n"
    )
    with pytest.raises(SpecError, match="gated: readings: it asks for readings, but nobody reads"):
        specs_of(config(strategies=(TradedSpec(id="A", spec=str(path)),)))


def test_pace_and_edges_may_change_while_a_session_lives() -> None:
    made = config()
    for same in (
        {"feed": msgspec.structs.replace(made.feed, speed=60.0)},
        {"on_start": "flat"},
        {"profile": "dev"},
    ):
        assert config(**same).config_hash == made.config_hash
    for other in ({"feed": msgspec.structs.replace(made.feed, stop="2024-03-07")}, {"warm_up_days": 1.0}):
        assert config(**other).config_hash != made.config_hash
