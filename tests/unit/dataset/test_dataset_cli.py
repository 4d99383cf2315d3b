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


def test_a_set_of_tasks_is_built_shown_and_checked(
    capsys: pytest.CaptureFixture[str], bars: Path, tmp_path: Path
) -> None:
    config, out = tmp_path / "tasks.yaml", tmp_path / "set"
    config.write_text(
        "tasks: [trend, forward, levels]\nwindow: 60\n"
        f"sources: [{{type: bars, path: {bars}, stride: 20}}]\n"
        "shares: {train: 0.4, validation: 0.3, test: 0.3}\n"
    )
    code, document = call(capsys, "build", config, "--out", out)
    assert code == 0, document
    assert document["tasks"]["forward"]["from_future"]
    assert call(capsys, "show", out, "--verify")[1]["files"] == document["files"]
    assert call(capsys, "check", out)[1]["answers"] == document["rows"]
    assert run(["dataset", "show", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "questions about" in printed
    assert "majority right" in printed
    assert "Answers from the future are what came after a chart, never what it shows." in printed
    code, document = call(capsys, "build", config, "--out", out, "--stride", 3)
    assert code == 2
    assert "built from its configuration alone, but --stride" in document["error"]["message"]
    code, document = call(capsys, "build", "--out", out)
    assert code == 2
    assert "Add --bars" in document["error"]["message"]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judged")
    (folder / "tasks.yaml").write_text(
        "tasks: [trend, bias]\nshares: {train: 0.3, validation: 0.4, test: 0.3}\n"
        "sources: [{type: generator, name: processes, charts: 60}]\n"
    )
    assert run(["dataset", "build", str(folder / "tasks.yaml"), "--out", str(folder / "set")]) == 0
    return folder / "set"


def test_readers_are_judged_and_looks_counted(
    capsys: pytest.CaptureFixture[str], tasks: Path, tmp_path: Path
) -> None:
    capsys.readouterr()
    out = tmp_path / "rules.parquet"
    code, document = call(capsys, "judge", tasks, "--controls", 3, "--out", out)
    assert code == 0, document
    assert (document["reader"], document["look"]) == ("rules (rules/2)", 1)
    assert {one["task"]: one["accuracy"]["n"] for one in document["scores"]} == {"trend": 18, "bias": 18}
    assert document["scores"][1]["calibrated"]["n"] == 18
    code, document = call(capsys, "judge", tasks, "--controls", 3, "--readings", out, "--against", out)
    assert document["compared"]["all"]["difference"] == 0
    arguments = [
        "dataset",
        "judge",
        str(tasks),
        "--controls",
        "3",
        "--readings",
        str(out),
        "--against",
        str(out),
    ]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert "This is look 3 at test" in printed
    assert "not to be told from the rules by +0.0%" in printed


def test_a_reader_is_not_judged_on_its_own_training(capsys: pytest.CaptureFixture[str], tasks: Path) -> None:
    code, document = call(capsys, "judge", tasks, "--split", "validation", "--trained-on", tasks)
    assert code == 2
    assert "Judge it on test" in document["error"]["message"]
    code, document = call(capsys, "judge", tasks, "--readings", "x.parquet", "--endpoint", "http://h:1/v1")
    assert code == 2
    assert "Leave one out" in document["error"]["message"]


def test_check_counts_the_answers(capsys: pytest.CaptureFixture[str], bars: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    arguments = ("--bars", bars, "--out", out, "--stride", 40, "--messages-horizon", 6, "--engine", "local")
    built = call(capsys, "build", *arguments)[1]
    assert call(capsys, "check", out)[1]["answers"] == built["rows"]
    assert run(["dataset", "check", str(out)]) == 0
    assert f"All {built['rows']} answers can be given in service." in capsys.readouterr().out
