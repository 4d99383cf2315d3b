"""Planted edges: stated in the manifest, bounded, the same on every machine, and nothing without one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from aiopt.config import canonical_json
from aiopt.errors import ConfigError
from aiopt.ticks.planted_edge import LEAST, MOST, pull_of
from aiopt.ticks.sample import SampleParameters, generate_ticks


def test_the_manifest_says_that_it_is_planted(tmp_path: Path) -> None:
    planted = generate_ticks(tmp_path / "edge", days=4, ticks_per_day=1000, edge=6.0)
    plain = generate_ticks(tmp_path / "plain", days=4, ticks_per_day=1000)
    assert planted.settings["edge"] == "6"
    assert any("planted edge" in note and "Sharpe ratio of 6" in note for note in planted.notes)
    assert "planted edge of Sharpe ratio 6" in planted.source
    assert planted.synthetic
    assert planted.data_hash != plain.data_hash
    assert not any("planted" in note for note in plain.notes)
    assert "edge" not in plain.settings
    again = generate_ticks(tmp_path / "again", days=4, ticks_per_day=1000, edge=6.0)
    assert again.data_hash == planted.data_hash


def test_a_sample_without_an_edge_has_the_parameters_it_always_had() -> None:
    assert b"edge" not in canonical_json(SampleParameters())


def test_a_larger_ratio_is_a_stronger_pull() -> None:
    ratios = [LEAST, 3.0, 5.0, 6.4, 9.0, MOST]
    pulls = [pull_of(ratio) for ratio in ratios]
    assert pulls == sorted(pulls)
    assert len(set(pulls)) == len(pulls)
    assert pull_of(msgspec.UNSET) == 0
    assert pull_of(LEAST) == pytest.approx(0.001)


@pytest.mark.parametrize("edge", [0.0, -3.0, 50.0, float("nan")])
def test_only_known_ratios_can_be_planted(edge: float) -> None:
    with pytest.raises(ConfigError, match=r"`2 <= edge <= 11` must hold, but got edge="):
        SampleParameters(edge=edge)


def test_only_in_the_pair_it_was_measured_on() -> None:
    with pytest.raises(ConfigError, match="in EURUSD alone, for which its worth is known"):
        SampleParameters(edge=5.0, instrument="USDJPY")
