"""A ranked entry of a run as a strategy: its spec, its bars, its instrument; what does not fit is said."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from aiopt.errors import ConfigError
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.session.live_config import (
    LiveConfig,
    ReplayFeed,
    TradedSpec,
    load_live_config,
    ranked_warnings,
    specs_of,
)
from aiopt.live.session.live_session import check_session
from aiopt.live.session.ranked import ranked_spec
from aiopt.runs import NotARunError, load_run
from aiopt.testing.run_folder import RunModel, write_run_folder
from aiopt.ticks.sample import generate_ticks


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = RunModel(families=("rsi_reversion", "macd_adx_trend"), timeframes=("15m",), trials=12, skill=0.4)
    return write_run_folder(tmp_path_factory.mktemp("runs") / "abc", model)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ticks") / "EURUSD"
    generate_ticks(out, seed=7, start="2024-03-05", days=1, ticks_per_day=1_000)
    return out


def config_of(spec: str, store: Path, **changes: str) -> LiveConfig:
    return LiveConfig(
        account=PaperConfig(account_currency="USD"),
        strategies=(TradedSpec(id="A", spec=spec, **changes),),
        feed=ReplayFeed(store=str(store)),
    )


def test_an_entry_gives_spec_and_bars(run: Path, store: Path) -> None:
    ranking = load_run(run).ranking
    assert ranking is not None
    for entry in ranking.entries:
        config = config_of(f"{run}#{entry.rank}", store)
        assert specs_of(config)["A"].spec_hash == entry.spec_hash
        assert config.strategies[0].frame.label == entry.timeframe == "15m"
        assert check_session(config).instrument.symbol == ranked_spec(f"{run}#{entry.rank}").instrument
        said = ranked_warnings(config, "EURUSD")
        assert bool(said) == (not entry.survives)
        assert all(entry.verdict in text for text in said)
    assert len(ranking.entries) > 1


def test_what_does_not_fit_is_said(run: Path, store: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"names rank 99, but .*abc has ranks 1 to 5"):
        check_session(config_of(f"{run}#99", store))
    with pytest.raises(ConfigError, match=r"was ranked on 15m, but got 1m\. Leave it out"):
        check_session(config_of(f"{run}#1", store, timeframe="1m"))
    with pytest.raises(ConfigError, match=r"was ranked on EURUSD, but got GBPUSD\. Give a feed of EURUSD"):
        ranked_warnings(config_of(f"{run}#1", store), "GBPUSD")
    with pytest.raises(NotARunError, match="There is no run folder"):
        specs_of(config_of(f"{tmp_path}/none#1", store))
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "state.json").write_text('{"status": "running", "stage": "sweep"}')
    with pytest.raises(ConfigError, match="must be ranked before its entries are traded"):
        specs_of(config_of(f"{tmp_path / 'begun'}#1", store))
    with pytest.raises(ConfigError, match="A ranked entry is named RUN#RANK"):
        ranked_spec("rsi_reversion")


def test_a_file_names_a_run_from_its_own_folder(run: Path, store: Path) -> None:
    path = run.parent / "live.yaml"
    path.write_text(
        "account: {account_currency: USD}\n"
        "strategies: [{id: best, spec: 'abc#1'}]\n"
        f"feed: {{store: {store}}}\n"
    )
    config = load_live_config(path)
    assert specs_of(config)["best"] == ranked_spec(f"{run}#1").spec
    assert config.config_hash == load_live_config(path).config_hash
    assert msgspec.json.decode(msgspec.json.encode(config), type=LiveConfig) == config
