"""`aiopt dataset`: options over file, JSON on stdout, exit codes of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aiopt.dataset import read_info
from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from cluster.cli.main import run


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bars")
    both = random_walk_bar_set(1_200, seed=41, timeframe="5m")
    write_bar_file(both.bid, folder / "bid.parquet")
    write_bar_file(both.ask, folder / "ask.parquet")
    return folder


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict]:
    code = run(["dataset", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_options_beat_the_environment_beats_the_file(
    capsys: pytest.CaptureFixture[str], bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "features: {regime_window: 100}\nstride: 7\n"
        "labels: {horizons: [3, 8], threshold: 2.0, costs: {slippage_pips: 0.2}}\n"
    )
    monkeypatch.setenv("AIOPT_DATASET__LABELS__THRESHOLD", "3.0")
    monkeypatch.setenv("AIOPT_DATASET__STRIDE", "5")
    out = tmp_path / "set"
    code, document = call(
        capsys, "build", config, "--bars", bars, "--out", out, "--stride", 2, "--costs", "--engine", "local"
    )
    assert code == 0, document
    made = read_info(out).config
    assert (made.stride, made.labels.threshold, made.labels.horizons) == (2, 3.0, (3, 8))
    assert made.labels.costs is not None
    assert made.labels.costs.slippage_pips == 0.2
    assert document["rows"] == sum(split["rows"] for split in document["splits"].values())
    assert call(capsys, "show", out, "--verify")[1]["files"] == document["files"]


def test_people_read_a_table(capsys: pytest.CaptureFixture[str], bars: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    arguments = ("--bars", bars, "--out", out, "--images", "embed", "--stride", 20, "--horizons", "6,12")
    assert run(["dataset", "build", *map(str, arguments), "--engine", "local"]) == 0
    printed = capsys.readouterr()
    assert "rows of 1,200 5m bars of EURUSD, synthetic data" in printed.out
    assert "purge and embargo" in printed.out
    assert "Building the dataset, rows: 100%" in printed.err
    (out / "data" / "test-00000-of-00001.parquet").unlink()
    code, document = call(capsys, "show", out, "--verify")
    assert code == 2
    assert "test-00000-of-00001.parquet is missing" in document["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--horizons", "six"), "whole numbers"),
        (("--horizons", "6,6"), "must not repeat"),
        (("--threshold", "-1"), "0 < labels.threshold"),
        (("--messages-horizon", "7"), "one of the label horizons"),
        (("--stride", "0"), "1 <= stride"),
        (("--timeframe", "1h"), "1h"),
        (("--horizons", "900"), "none is left"),
    ],
)
def test_bad_input_is_code_two_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], bars: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "set"
    code, document = call(capsys, "build", "--bars", bars, "--out", out, *arguments)
    assert code == 2
    assert message in document["error"]["message"]
    assert not out.exists()


def test_an_unknown_key_gets_a_hint(capsys: pytest.CaptureFixture[str], bars: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("labels: {horizon: [3]}\n")
    code, document = call(capsys, "build", config, "--bars", bars, "--out", tmp_path / "set")
    assert code == 2
    assert "Did you mean 'horizons'" in document["error"]["message"]
