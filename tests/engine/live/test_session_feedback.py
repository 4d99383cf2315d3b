"""What a session leaves to learn from: its closed positions as records, with chart and reading at entry."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import polars as pl
import pytest

from aiopt.analyst.scans import load_readings, readings_at
from aiopt.cli.run_positions import positions_of
from aiopt.dataset import verify_files
from aiopt.dataset.tasks import read_task_info
from aiopt.errors import InputError
from aiopt.live.session.session_record import read_record
from aiopt.strategy.families import FAMILIES
from cluster.cli.main import run
from tests.engine.live.live_sessions import config_of, traded
from tests.engine.live.test_reading_sessions import RULES, finish, trades


@pytest.fixture(scope="module")
def session(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A replayed session of two strategies of many trades, read by rules."""
    folder = tmp_path_factory.mktemp("feedback")
    specs = {name: FAMILIES[name].spec for name in ("bollinger_breakout", "stochastic_sma")}
    strategies = traded(folder / "specs", specs, "1m")
    finish(config_of(store, strategies, analyst=msgspec.structs.replace(RULES, every=10)), folder / "run")
    return folder / "run"


def test_closed_positions_become_records(session: Path, tmp_path: Path, store: Path) -> None:
    out = tmp_path / "set"
    words = ["dataset", "from-trades", str(session), "--sample", "out", "--window", "40", "--out", str(out)]
    assert run([*words, "--replay-sample", "out"]) == 0
    info = read_task_info(out)
    assert verify_files(out, info) == []
    tables = [pl.read_parquet(out / file.path) for file in info.files if file.path.startswith("data")]
    rows = pl.concat(tables).unique("sample")
    mine = {(one.strategy, one.entry_ts_ns): one for one in trades(session)}
    assert 30 < rows.height <= len(mine)
    assert set(rows["position_origin"]) == {"paper"}
    assert set(rows["position_part"]) == {"out"}
    record = read_record(session)
    assert set(rows["account"]) == {record.session}
    bars, readings = record.bars_of("1m"), load_readings(session)
    at = readings_at(bars.bid, readings, at="open")
    opens = bars.bid.ts_open_ns.tolist()
    for row in rows.iter_rows(named=True):
        entry = int(row["sample"].split("-")[2])
        trade = mine[row["strategy"], entry]
        won = trade.pnl > 0
        assert (row["r"] > 0) == won
        assert abs(row["r"] * abs(trade.entry_price - trade.stop_price) * trade.size - trade.pnl) < 0.01
        known = at[opens.index(trade.entry_bar_ns)]
        assert row["reading_bias"] == (None if known < 0 else readings[known].bias)
        assert row["reading_source"] == (None if known < 0 else "rules")
        assert 0 < row["weight"] <= 1
    assert set(rows["reading_bias"].drop_nulls()) >= {"long", "short"}
    # in the order of time, with nothing across a border
    ends = {name: (split.first_decision_ns, split.last_decision_ns) for name, split in info.splits.items()}
    assert ends["train"][1] < ends["validation"][0] <= ends["validation"][1] < ends["test"][0]


def test_nobody_guesses_what_a_replay_was(session: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="replayed days of the past, so its strategies may have been chosen"):
        positions_of([session])
    inside = positions_of([session], replayed="in")
    assert {one.part for one in inside} == {"in"}
    assert len(inside) == len(trades(session))
    assert sum(
        one.move * trade.size
        for one, trade in zip(
            sorted(inside, key=lambda one: (one.strategy, one.exit_ts_ns)),
            sorted(trades(session), key=lambda one: (one.strategy, one.exit_ts_ns)),
            strict=True,
        )
    ) == pytest.approx(sum(one.pnl for one in trades(session)), abs=0.05)


def test_bars_are_named_where_they_are_not_a_sessions_own(
    session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "paper.jsonl").write_bytes(
        b"\n".join(msgspec.json.encode(one) for one in positions_of([session], replayed="out")) + b"\n"
    )
    words = ["dataset", "from-trades", str(tmp_path / "paper.jsonl"), "--sample", "out"]
    assert run([*words, "--out", str(tmp_path / "set")]) == 2
    assert "not all SOURCES are sessions. Add --bars FOLDER" in capsys.readouterr().err


def test_what_was_read_is_counted_and_written(
    session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "readings.parquet"
    assert run(["live", "readings", str(session), "--out", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert load_readings(file) == load_readings(session)
    assert (found["charts"], found["readings"]) == (len(load_readings(session)),) * 2
    assert (found["by"], found["stood_in"], found["without"]) == (
        {"rules rules/2": found["charts"]},
        0,
        {},
    )
    assert run(["live", "readings", str(session)]) == 0
    assert "rules rules/2" in capsys.readouterr().out
    assert run(["live", "readings", str(tmp_path)]) == 2
    assert "A session's folder holds session.sqlite" in capsys.readouterr().err


def test_the_command_line_says_who_reads(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.engine.live.test_reading_sessions import gated

    traded(tmp_path / "specs", gated())
    held = str(tmp_path / "specs" / "held.json")
    words = ["live", "run", "--replay", str(store), "--spec", held, "--stop", "2024-03-05T20:00"]
    assert run([*words, "--out", str(tmp_path / "none")]) == 2
    assert "Add `analyst` to its configuration" in " ".join(capsys.readouterr().err.split())
    assert run([*words, "--out", str(tmp_path / "run"), "--analyst", "rules", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["proof"][0]["same"] == document["proof"][0]["live"]
    assert run(["live", "status", str(tmp_path / "run")]) == 0
    charts = len(load_readings(tmp_path / "run"))
    assert f"rules, {charts:,} charts" in " ".join(capsys.readouterr().out.split())
    assert run([*words, "--out", str(tmp_path / "none"), "--model", "minicpm"]) == 2
    assert "Add --analyst URL" in capsys.readouterr().err
