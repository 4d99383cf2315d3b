"""Configuration of a run: precedence, rules, identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.spread_model import SpreadConfig
from aiopt.errors import AioptError, ConfigError, InputError, SearchSpaceError, SpecError
from aiopt.optimize.configuration import (
    OptimizeConfig,
    default_run_id,
    load_optimize_config,
    load_strategies,
    run_identity,
)
from aiopt.optimize.inputs import read_conversion
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.points import plan_points
from aiopt.testing.bars import random_walk_bar_set

REPOSITORY = Path(__file__).resolve().parents[3]


def write(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text)
    return path


def test_file_then_environment_then_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "trials: 3\nseed: 3\nname: file\nbacktest: {leverage: 5.0}\n")
    monkeypatch.setenv("AIOPT_OPTIMIZE__SEED", "4")
    monkeypatch.setenv("AIOPT_OPTIMIZE__NAME", "environment")
    monkeypatch.setenv("AIOPT_OPTIMIZE__BACKTEST__INITIAL_BALANCE", "5000")
    config = load_optimize_config(path, {"name": "flag"})
    assert (config.trials, config.seed, config.name) == (3, 4, "flag")
    assert (config.backtest.leverage, config.backtest.initial_balance) == (5.0, 5000.0)


def test_the_default_file_loads_and_names_every_family() -> None:
    config = load_optimize_config(REPOSITORY / "jobs" / "optimize.yaml", {})
    assert set(config.strategies) == set(FAMILIES)
    assert config.ticks is None


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("trails: 3", ConfigError, "Did you mean 'trials'"),
        ("backtest: {leverag: 3}", ConfigError, "Did you mean 'leverage'"),
        ("trials: 0", SearchSpaceError, "`trials >= 1` must hold"),
        ("timeframes: []", ConfigError, "at least one"),
        ("timeframes: [60m, 1h]", ConfigError, "has 1h twice"),
        ("timeframes: [5x]", ConfigError, "number and one of s, m, h, d"),
        ("strategies: [rsi_reversal]", SpecError, "Did you mean 'rsi_reversion'"),
        ("strategies: [nothere.yaml]", SpecError, "There is no file"),
        ("ticks: nothere", InputError, "No ticks found"),
        ("backtest: {mode: parity}", ConfigError, "only research backtests are ranked"),
        ("sampler: genetic", ConfigError, "Use sobol, random, grid"),
        ("name: a/b", ConfigError, "letters, digits"),
        ("[1, 2]", ConfigError, "must hold keys and values"),
    ],
)
def test_bad_settings(tmp_path: Path, text: str, error: type[AioptError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        load_optimize_config(write(tmp_path, text), {})
    assert caught.value.exit_code == 2


def test_space_without_a_valid_point(tmp_path: Path) -> None:
    space = FAMILIES["ema_cross_atr"]
    plain = msgspec.to_builtins(space.spec)
    search = {
        "dimensions": {"fast_length": {"type": "int", "low": 50, "high": 60}},
        "constraints": ["fast_length < 10"],
    }
    (tmp_path / "s.json").write_bytes(msgspec.json.encode({**plain, "search": search}))
    with pytest.raises(SearchSpaceError, match="no valid point"):
        load_optimize_config(write(tmp_path, "strategies: [s.json]"), {})


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(FAMILIES["rsi_reversion"].spec.to_yaml())
    (tmp_path / "ticks").mkdir()
    config = load_optimize_config(write(tmp_path, "ticks: ticks\nstrategies: [spec.yaml]"), {})
    assert config.ticks == str(tmp_path / "ticks")
    (strategy,) = load_strategies(config)
    assert strategy.points(config) == [{}]


def test_identity_depends_on_content_not_on_paths(tmp_path: Path) -> None:
    def identity(config: OptimizeConfig, data: str = "d") -> str:
        return default_run_id(run_identity(config, load_strategies(config), data))

    base = OptimizeConfig()
    assert identity(base) == identity(msgspec.structs.replace(base, ticks="/elsewhere"))
    spec = tmp_path / "copy.json"
    space = FAMILIES["rsi_reversion"]
    search = {"dimensions": space.dimensions, "constraints": space.constraints}
    spec.write_bytes(
        msgspec.json.encode({**msgspec.to_builtins(space.spec), "search": msgspec.to_builtins(search)})
    )
    by_name = msgspec.structs.replace(base, strategies=("rsi_reversion",))
    by_file = msgspec.structs.replace(base, strategies=(str(spec),))
    assert identity(by_name) == identity(by_file)
    changed = [
        msgspec.structs.replace(base, seed=2),
        msgspec.structs.replace(base, trials=41),
        msgspec.structs.replace(base, timeframes=("1m",)),
        by_name,
    ]
    assert len({identity(config) for config in [base, *changed]} | {identity(base, "e")}) == 6


def test_same_family_twice(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(FAMILIES["rsi_reversion"].spec.to_yaml())
    with pytest.raises(SearchSpaceError, match="rsi_reversion occurs twice"):
        load_optimize_config(write(tmp_path, "strategies: [rsi_reversion, spec.yaml]"), {})


def copied(folder: Path, name: str, spec_name: str) -> Path:
    """Write a ready family's spec under another name; the copy still names its family."""
    plain = msgspec.to_builtins(FAMILIES["rsi_reversion"].spec)
    path = folder / name
    path.write_bytes(msgspec.json.encode({**plain, "name": spec_name}))
    return path


def test_a_copy_under_a_new_name_is_a_family_of_its_own(tmp_path: Path) -> None:
    one, two = copied(tmp_path, "a.json", "mine"), copied(tmp_path, "b.json", "yours")
    config = load_optimize_config(
        write(tmp_path, f"trials: 2\nstrategies: [rsi_reversion, {one.name}, {two.name}]"), {}
    )
    found = load_strategies(config)
    assert [strategy.family for strategy in found] == ["rsi_reversion", "mine", "yours"]
    assert {point.trial_id.split("@")[0] for point in plan_points(found, config)} == {
        "rsi_reversion",
        "mine",
        "yours",
    }
    alone = load_optimize_config(write(tmp_path, f"strategies: [{one.name}]"), {})
    assert [strategy.family for strategy in load_strategies(alone)] == ["mine"]


def test_two_copies_under_one_name_are_refused(tmp_path: Path) -> None:
    one, two = copied(tmp_path, "a.json", "mine"), copied(tmp_path, "b.json", "mine")
    with pytest.raises(SearchSpaceError, match=r"mine occurs twice\. Give one of them another `name`"):
        load_optimize_config(write(tmp_path, f"strategies: [{one.name}, {two.name}]"), {})


def test_a_wider_spread_is_part_of_the_identity_and_none_is_not() -> None:
    def identity(**changes: float) -> dict[str, Any]:
        config = OptimizeConfig(backtest=BacktestConfig(**changes))
        return run_identity(config, load_strategies(config), "d")

    assert "extra_spread_pips" not in identity()["backtest"]
    assert identity(extra_spread_pips=0.3)["backtest"]["extra_spread_pips"] == 0.3


def test_a_wider_spread_off_the_price_steps_is_found_early() -> None:
    config = OptimizeConfig(backtest=BacktestConfig(extra_spread_pips=0.25))
    with pytest.raises(ConfigError, match="whole price steps of EURUSD"):
        read_conversion(config)


def test_bars_take_the_place_of_ticks_and_keep_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ticks", "a", "b"):
        (tmp_path / name).mkdir()
    one = load_optimize_config(write(tmp_path, "bars: a\nspread: {file: s.yaml}"), {})
    assert one.bars == (str(tmp_path / "a"),)
    assert one.spread.file == str(tmp_path / "s.yaml")
    both = load_optimize_config(write(tmp_path, "bars: [a, b]\nspread: {pips: 0.8}"), {})
    assert both.bars == (str(tmp_path / "a"), str(tmp_path / "b"))
    other = load_optimize_config(tmp_path / "c.yaml", {"spread": {"file": str(tmp_path / "s.yaml")}})
    assert (other.spread.pips, other.spread.file) == (None, str(tmp_path / "s.yaml"))
    # What stands higher replaces the other kind of input, and what belongs to it.
    ticks = load_optimize_config(tmp_path / "c.yaml", {"ticks": str(tmp_path / "ticks")})
    assert (ticks.ticks, ticks.bars, ticks.spread.given) == (str(tmp_path / "ticks"), (), False)
    bars = load_optimize_config(write(tmp_path, "ticks: ticks"), {"bars": [str(tmp_path / "a")]})
    assert (bars.ticks, bars.bars) == (None, (str(tmp_path / "a"),))
    monkeypatch.setenv("AIOPT_OPTIMIZE__BARS", f"[{tmp_path / 'b'}]")
    assert load_optimize_config(tmp_path / "c.yaml", {}).bars == (str(tmp_path / "b"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bars: a\nticks: a", "takes one of them"),
        ("spread: {pips: 1.0}", "`spread` is for runs on bars"),
        ("ask_bars: a", "`ask_bars` is for runs on bars"),
        ("bar_reading: {price: bid}", "`bar_reading` is for runs on bars"),
        ("bars: a\nbar_reading: {price: bidd}", "Did you mean 'bid'"),
        ("bars: [a, nothere]", "No bars found"),
        ("bars: a\nask_bars: nothere", "No ask bars found.*--ask-bars"),
        ("bars: a\nspread: {pip: 1}", "Did you mean 'pips'"),
        ("conversion: nothere", "No conversion found.*--conversion"),
    ],
)
def test_bad_settings_of_bars(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match=message):
        load_optimize_config(write(tmp_path, text), {})


def test_identity_of_bars_is_their_content() -> None:
    base = OptimizeConfig()
    bars = OptimizeConfig(bars=("/somewhere",), spread=SpreadConfig(pips=0.8))
    strategies = load_strategies(base)
    assert run_identity(bars, strategies, "d") == run_identity(base, strategies, "d")


def test_identity_of_a_conversion_is_its_content() -> None:
    plain, converted = OptimizeConfig(), OptimizeConfig(conversion="/somewhere")
    strategies = load_strategies(plain)
    assert run_identity(converted, strategies, "d") == run_identity(plain, strategies, "d")
    rates = [random_walk_bar_set(10, seed=seed) for seed in (1, 2)]
    found = [run_identity(converted, strategies, "d", bars)["conversion"] for bars in rates]
    assert [one["instrument"] for one in found] == ["EURUSD", "EURUSD"]
    assert found[0]["data_hash"] != found[1]["data_hash"]


def test_an_account_that_no_rate_reaches_is_refused_before_anything_runs() -> None:
    config = OptimizeConfig(backtest=BacktestConfig(account_currency="CHF"))
    with pytest.raises(InputError, match=r"Give bars of CHFUSD or USDCHF"):
        read_conversion(config)
    assert read_conversion(OptimizeConfig(backtest=BacktestConfig(account_currency="EUR"))) is None
