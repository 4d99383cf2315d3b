"""A reading is logged as one row, whoever answered."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import polars as pl
from click.testing import CliRunner

from aiopt.analyst import AnalysisRequest, analyse
from aiopt.analyst.chat import ChatReply, ChatRequest
from aiopt.bars.files import write_bars
from aiopt.bars.schema import BarMeta
from aiopt.cli.analyst import command
from aiopt.featurelog import FeatureLog, read_stream
from aiopt.testing.bars import random_walk_bars

BARS = random_walk_bars(120, seed=9, timeframe="5m")
DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_readings_of_rules_and_of_a_model_that_fails_are_one_row_each(tmp_path: Path) -> None:
    async def complete(request: ChatRequest) -> ChatReply:
        raise TimeoutError("nobody there")

    request = AnalysisRequest(bars=BARS)
    with FeatureLog(tmp_path) as log:
        by_rules = asyncio.run(analyse(request, None, sink=log))
        asyncio.run(analyse(request, complete, sink=log))
        asyncio.run(analyse(request, None))
    first, second = read_stream(tmp_path, "predictions").to_dicts()
    assert first["ts_ns"] == BARS.ts_open_ns[-1] + BARS.timeframe.ns
    assert (first["bias"], first["confidence"]) == (by_rules.analysis.bias, by_rules.analysis.confidence)
    assert (first["source"], first["attempts"], first["fallback_reason"]) == ("rules", 0, "")
    assert second["failed_attempts"] == second["attempts"] > 0
    assert "nobody there" in second["fallback_reason"]
    page = (
        (DOCS / "how-to" / "feature-log.md").read_text(encoding="utf-8").split("## What the analyst logs")[1]
    )
    documented = set(re.findall(r"`([a-z_]+)`", page.split("## Speed")[0]))
    assert first.keys() - {"_version", "stated", "technical", "risk", "agreement"} <= documented


def test_the_command_logs_what_it_read(tmp_path: Path) -> None:
    names = ("ts_open_ns", "open", "high", "low", "close", "volume")
    frame = pl.DataFrame({name: getattr(BARS, name) for name in names}).with_columns(
        ticks=pl.lit(1, pl.Int64)
    )
    for label in ("5m", "15m"):
        meta = BarMeta(instrument="EURUSD", timeframe=label, price="bid", data_hash=BARS.data_hash)
        folder = tmp_path / "bars" / "EURUSD" / label
        write_bars(folder / "bid.parquet", frame.gather_every({"5m": 1, "15m": 3}[label]), meta)
    flags = ["--bars", str(tmp_path / "bars"), "--timeframe", "15m", "--log", str(tmp_path / "log"), "--json"]
    for _ in range(2):
        result = CliRunner().invoke(command, ["read", *flags], catch_exceptions=False)
    rows = read_stream(tmp_path / "log", "predictions").to_dicts()
    assert [(row["timeframe"], row["source"]) for row in rows] == [("15m", "rules")] * 2
    assert rows[0]["bias"] == json.loads(result.stdout)["analysis"]["bias"]
