from __future__ import annotations

import pickle

import msgspec
import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig, Segments
from aiopt.errors import ConfigError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", "live"),
        ("signals", "guess"),
        ("initial_balance", 0.0),
        ("initial_balance", float("inf")),
        ("leverage", -1.0),
        ("commission_per_million", float("nan")),
        ("slippage_ticks", -1),
    ],
)
def test_a_wrong_assumption_is_named_with_its_value(field, value):
    with pytest.raises(ConfigError, match=rf"must hold, but got {field}="):
        BacktestConfig(**{field: value})


def test_the_hash_names_the_assumptions_and_not_the_way_signals_are_computed():
    config = BacktestConfig()
    assert config.config_hash == BacktestConfig(signals="streaming").config_hash
    for change in ({"mode": "parity"}, {"leverage": 10.0}, {"slippage_ticks": 1}, {"seed": 1}):
        assert config.config_hash != msgspec.structs.replace(config, **change).config_hash


def test_a_config_survives_pickling():
    config = BacktestConfig(leverage=5.0)
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("boundaries", "rule"), [((1,), "at least two"), ((1, 1), "increase"), ((3, 2), "increase")]
)
def test_segments_refuse_boundaries_that_are_none(boundaries, rule):
    with pytest.raises(ConfigError, match=rule):
        Segments(boundaries)


def test_segments_find_their_bars_also_where_there_are_none():
    ts = np.array([0, 10, 20, 50], dtype=np.int64)
    assert Segments((5, 20, 30, 40, 100)).bar_ranges(ts) == [(1, 2), (2, 3), (3, 3), (3, 4)]


def test_without_a_wider_spread_document_and_hash_are_those_of_before_there_was_one():
    assert "extra_spread_pips" not in BacktestConfig().document()
    assert BacktestConfig().config_hash == "0cd71246ac42854250ce4a5c6e648d2977aacdacc6f916125d39d0a5eecf4593"
    wider = BacktestConfig(extra_spread_pips=0.5)
    assert wider.document()["extra_spread_pips"] == 0.5
    assert wider.config_hash != BacktestConfig().config_hash
