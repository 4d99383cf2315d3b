"""``aiopt specs``."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from aiopt.cli.specs import command
from aiopt.errors import SearchSpaceError, SpecError
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.space import load_search_space
from aiopt.strategy.spec import StrategySpec


def run(*args):
    return CliRunner().invoke(command, args, catch_exceptions=False)


def test_list():
    document = json.loads(run("list", "--json").stdout)
    assert [row["family"] for row in document["families"]] == list(FAMILIES)
    assert document["families"][2]["points"] == FAMILIES["bollinger_breakout"].size()
    assert "rsi_reversion" in run("list").stdout


def test_show_prints_a_file_that_loads(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(run("show", "stochastic_sma").stdout)
    assert load_search_space(path).spec == FAMILIES["stochastic_sma"].spec
    checked = run("check", str(path))
    assert checked.exit_code == 0
    assert "entry_long: close > trend and crossover(stoch.k, stoch.d)" in checked.stdout


def test_show_json():
    document = json.loads(run("show", "ema_cross_atr", "--json").stdout)
    spec = StrategySpec.from_json(json.dumps(document["spec"]))
    assert spec == FAMILIES["ema_cross_atr"].spec
    assert document["spec_hash"] == spec.spec_hash
    assert document["search"]["dimensions"]["fast_length"] == {"type": "int", "low": 5, "high": 50, "step": 1}


def test_check_without_a_search(tmp_path):
    path = tmp_path / "plain.yaml"
    path.write_text("name: s\nentry_long: close > open[1]\n")
    document = json.loads(run("check", str(path), "--json").stdout)
    assert document["search"] is None
    assert document["warmup_bars"] == 0


def test_check_refuses(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("{name: s, entry_long: close > opn}")
    with pytest.raises(SpecError, match=r"bad.yaml.*unknown name 'opn'. Did you mean 'open'"):
        run("check", str(path))


def test_check_refuses_an_empty_space(tmp_path):
    path = tmp_path / "empty.yaml"
    text = run("show", "ema_cross_atr").stdout.replace("fast_length * 1.5 <= slow_length", "fast_length < 5")
    path.write_text(text)
    with pytest.raises(SearchSpaceError, match="no valid point"):
        run("check", str(path))


def test_show_unknown_family():
    with pytest.raises(SpecError, match="Did you mean 'ema_cross_atr'"):
        run("show", "ema_cros_atr")
