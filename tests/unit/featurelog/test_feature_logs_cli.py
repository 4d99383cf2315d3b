"""`aiopt dataset logs` and `aiopt backtest --log`."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from aiopt.featurelog import FeatureLog, LogConfig, read_stream
from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from cluster.cli.main import run


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict]:
    code = run([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    with FeatureLog(tmp_path / "logs", LogConfig(max_buffer_rows=10)) as log:
        for n in range(45):
            log.append("predictions", {"n": n, "confidence": n / 45})
        log.append("predictions", {"n": 45, "confidence": 1.0, "model": "rules"})
    return tmp_path / "logs"


def test_list_show_and_compact(capsys: pytest.CaptureFixture[str], logs: Path, tmp_path: Path) -> None:
    code, document = call(capsys, "dataset", "logs", "list", logs)
    assert code == 0
    (stream,) = document["streams"]
    assert [(version["rows"], version["segments"]) for version in stream["versions"]] == [(45, 5), (1, 1)]
    out = tmp_path / "all.parquet"
    code, document = call(capsys, "dataset", "logs", "show", logs, "predictions", "--rows", 2, "--out", out)
    assert (code, document["rows"]) == (0, 46)
    assert [row["model"] for row in document["last"]] == [None, "rules"]
    assert pl.read_parquet(out).equals(read_stream(logs, "predictions"))
    code, document = call(capsys, "dataset", "logs", "compact", logs)
    assert document["streams"][0]["segments_after"] == 2
    assert read_stream(logs, "predictions").height == 46


def test_tables_for_people_show_every_digit(capsys: pytest.CaptureFixture[str], logs: Path) -> None:
    assert run(["dataset", "logs", "list", str(logs)]) == 0
    assert "predictions" in capsys.readouterr().out
    assert run(["dataset", "logs", "show", str(logs), "predictions"]) == 0
    printed = capsys.readouterr().out
    assert "46 rows of predictions; the last 10" in printed
    assert "0.977778" in printed
    assert "…" not in printed
    assert run(["dataset", "logs", "compact", str(logs)]) == 0
    assert "predictions: 6 files to 2, 46 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "{logs}", "prediction"), "Did you mean 'predictions'"),
        (("show", "{logs}", "predictions", "--rows", "-1"), "rows >= 0"),
        (("show", "{logs}", "predictions", "--out", "x.xlsx"), "must end in .parquet or .csv"),
        (("show", "{logs}", "predictions", "--columns", "nn"), "no column 'nn'"),
        (("list", "nowhere"), "no such folder"),
        (("compact", "{logs}", "other"), "no stream 'other'"),
    ],
)
def test_bad_input_is_code_two(
    capsys: pytest.CaptureFixture[str], logs: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, document = call(
        capsys, "dataset", "logs", *[part.replace("{logs}", str(logs)) for part in arguments]
    )
    assert code == 2
    assert message in document["error"]["message"]


def test_a_backtest_logs_the_same_rows_from_arrays_and_while_it_streams(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    both = random_walk_bar_set(600, seed=71, timeframe="5m")
    write_bar_file(both.bid, tmp_path / "bars" / "bid.parquet")
    write_bar_file(both.ask, tmp_path / "bars" / "ask.parquet")
    for mode in ("arrays", "streaming"):
        arguments = ("ema_cross_atr", "--bars", tmp_path / "bars", "--signals", mode)
        code, document = call(capsys, "backtest", *arguments, "--log", tmp_path / mode)
        assert code == 0
    for stream, rows in (("features", 600), ("signals", 600), ("trades", len(document["trades"]))):
        arrays, streamed = (read_stream(tmp_path / mode, stream) for mode in ("arrays", "streaming"))
        assert arrays.height == rows > 0
        assert arrays.equals(streamed)
    features = read_stream(tmp_path / "arrays", "features")
    assert features["spec"].unique().to_list() == [document["spec_hash"][:12]]
    assert features["close"].to_list() == both.bid.close.tolist()
    pnl = read_stream(tmp_path / "arrays", "trades")["pnl"].to_list()
    assert pnl == [trade["pnl"] for trade in document["trades"]]
