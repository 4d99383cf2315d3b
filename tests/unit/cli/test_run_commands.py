"""The commands on runs and results: what they say, refuse and delete."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest

from aiopt.config import canonical_json
from aiopt.ranking import kept_series
from aiopt.ranking.kept_series import lacks_series
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.trials import read_trials
from aiopt.ranking.whole_rows import keeps_every_series
from aiopt.runs import LOCK, load_run
from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from aiopt.testing.robustness import write_robustness
from aiopt.testing.run_folder import RunModel, write_run_folder
from cluster.cli import main as cli

MODEL = RunModel(families=("rsi_reversion", "bollinger_breakout"), timeframes=("5m",), trials=14, days=21)
DAY_S = 86_400


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run_folder(tmp_path_factory.mktemp("runs") / "one", MODEL)


@pytest.fixture
def run_dir(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "runs" / "one"))


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bars")
    found = random_walk_bar_set(1_500, seed=4)
    for side in ("bid", "ask"):
        write_bar_file(getattr(found, side), root / f"{side}.parquet")
    return root


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.run([*map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    code, out, err = call(capsys, *arguments, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


# --- runs show --------------------------------------------------------------------------------------------


def test_reasons_are_shown_with_counts(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = asked(capsys, "runs", "show", run_dir)
    failed = {one["reason"]: one["count"] for one in document["failure_reasons"]}
    assert failed == {"BacktestError: made up for a test": MODEL.failures}
    ranking = load_run(run_dir).ranking
    assert ranking is not None
    assert sum(one["count"] for one in document["rejection_reasons"]) == len(ranking.rejected) > 0
    _, out, _ = call(capsys, "runs", "show", run_dir)
    assert f"{MODEL.failures} of 28 trials failed:" in out
    assert "made up for a test" in out
    assert "DSR: deflated Sharpe ratio" in out
    assert "PBO: probability of backtest overfitting" in out


def test_what_entries_do_under_stress_is_said_beside_their_verdict(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert all("robustness" not in entry for entry in asked(capsys, "runs", "show", run_dir)["entries"])
    found = write_robustness(run_dir, skill=-3.0)
    for entry in asked(capsys, "runs", "show", run_dir)["entries"]:
        stressed = entry["robustness"]
        assert stressed["failed"] == [gate.figure for gate in found.entries[0].gates if gate.required]
        assert stressed["gates"]["markets.share_profitable"] is None
        assert stressed["neighbourhood"] == "spike"
        assert "robustness" in entry["verdict"]
    _, out, _ = call(capsys, "runs", "show", run_dir)
    assert "Robustness of entry 1: Fails 4 of 4 required gates: Spread: share profitable" in out


def test_an_interrupted_sweep_says_what_its_journal_holds(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("trials.parquet", "ranking.json"):
        (run_dir / name).unlink()
    shutil.rmtree(run_dir / "entries")
    journal = run_dir / "leaderboard.jsonl"
    journal.write_bytes(journal.read_bytes()[:-7])  # the process died while it wrote a line
    document = asked(capsys, "runs", "show", run_dir)
    assert (document["trials"], document["failed"]) == (27, 2)
    assert document["headline"] == "27 trials recorded (2 of them failed), not ranked yet."
    assert document["failure_reasons"][0]["count"] == 2
    shown = asked(capsys, "trials", "show", "rsi_reversion@5m-00003", "--run", run_dir)
    assert shown["trial"]["trial_id"] == "rsi_reversion@5m-00003"


@pytest.mark.parametrize("command", [("runs", "show"), ("report",), ("trials", "show", "x", "--run")])
def test_a_journal_of_an_older_version_is_named_with_what_to_do(
    command: tuple[str, ...], run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("trials.parquet", "ranking.json"):
        (run_dir / name).unlink()
    plan = load_run(run_dir).trial_rows()[0]
    data = canonical_json({"format": 1, "plan": plan})
    (run_dir / "leaderboard.jsonl").write_bytes(b'{"crc32":"%08x","data":%s}\n' % (zlib.crc32(data), data))
    code, _, err = call(capsys, *command, run_dir)
    assert code == 2
    assert "leaderboard.jsonl: this is the journal of an unfinished run that another version" in err
    assert "start it anew: the same command with --force" in err
    # What does not need the trials still works.
    assert asked(capsys, "runs", "list", "--runs-dir", run_dir.parent)["runs"]


def test_a_large_run_is_shown_and_reported_as_one_that_keeps_every_series(
    run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = (
        ("runs", "show", run_dir),
        ("trials", "list", "--run", run_dir, "--top", 7, "--skip", 3),
        ("report", run_dir),
    )
    before = [asked(capsys, *one) for one in asks]
    page = (run_dir / "report.html").read_text()
    monkeypatch.setattr(kept_series, "MOST_VALUES", 1_000)
    monkeypatch.setattr(kept_series, "SAMPLE", 2)
    ranking = load_run(run_dir).ranking
    assert ranking is not None
    board = Leaderboard(run_dir / "leaderboard.jsonl", ranking.config, ranking.plan)
    board.write_trials(run_dir / "trials.parquet")
    board.close()
    assert not keeps_every_series(run_dir / "trials.parquet")
    assert [asked(capsys, *one) for one in asks] == before
    assert (run_dir / "report.html").read_text() == page
    lacking = next(row for row in read_trials(run_dir / "trials.parquet") if lacks_series(row))
    code, out, _ = call(capsys, "trials", "show", lacking.trial_id, "--run", run_dir)
    assert code == 0
    assert f"Anew: `aiopt trials rerun {lacking.trial_id} --run {run_dir} --json`" in out
    (run_dir / "leaderboard.jsonl").unlink()
    code, _, err = call(capsys, "report", run_dir)
    assert code == 2
    assert "the journal, which has all, is not there. Restore it" in err
    assert asked(capsys, *asks[1]) == before[1]


# --- runs delete ------------------------------------------------------------------------------------------


def test_deleting_asks_and_shows_sizes(
    run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])
    monkeypatch.setattr("click.confirm", lambda *_, **__: next(answers))
    code, out, _ = call(capsys, "runs", "delete", run_dir)
    assert code == 0
    assert "Nothing was deleted" in out
    assert run_dir.is_dir()
    code, out, _ = call(capsys, "runs", "delete", run_dir)
    assert code == 0
    assert " MB" in out or " kB" in out
    assert not run_dir.exists()


def test_old_runs_are_deleted_and_others_kept(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    young = Path(shutil.copytree(run_dir, tmp_path / "runs" / "young"))
    for path in run_dir.iterdir():
        stamp = path.stat().st_mtime - 40 * DAY_S
        os.utime(path, (stamp, stamp))
    where = ("--runs-dir", tmp_path / "runs", "--older-than")
    assert asked(capsys, "runs", "delete", *where, "50d", "--yes")["deleted"] == []
    size = load_run(run_dir).bytes()
    document = asked(capsys, "runs", "delete", *where, "30d", "--yes")
    assert document["deleted"] == [{"path": str(run_dir), "bytes": size}]
    assert young.is_dir()
    assert not run_dir.exists()


def test_a_run_at_work_is_refused(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (run_dir / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, err = call(capsys, "runs", "delete", run_dir, "--yes")
        assert code == 2
        assert "A process works on" in err
        document = asked(
            capsys, "runs", "delete", "--runs-dir", run_dir.parent, "--older-than", "0h", "--yes"
        )
        assert document["running"] == [str(run_dir)]
    assert run_dir.is_dir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Name the runs to delete"),
        (("runs/x", "--older-than", "3d"), "not both"),
        (("--older-than", "soon"), "days or hours like 30d"),
        (("absent", "--yes"), "no run folder"),
    ],
)
def test_unclear_deletions_are_refused(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(capsys, "runs", "delete", *arguments)
    assert code == 2
    assert message in err


def test_json_does_not_ask(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "runs", "delete", run_dir, "--json")
    assert code == 2
    assert "--yes" in err
    assert run_dir.is_dir()


# --- trials -----------------------------------------------------------------------------------------------


def test_a_trial_is_shown_per_segment(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = asked(capsys, "trials", "show", "rsi_reversion@5m-00003", "--run", run_dir)
    row, segments = document["trial"], document["segments"]
    assert [one["trades"] for one in segments] == row["segment_trades"] + row["holdout_trades"]
    assert [one["kind"] for one in segments][-1] == "holdout"
    gained = sum(one["net_profit"] for one in segments)
    assert gained == pytest.approx(sum(row["pnl"]) + sum(row["holdout_pnl"]), abs=0.02)


def test_a_failed_trial_says_why(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "trials", "show", "rsi_reversion@5m-00000", "--run", run_dir)
    assert "failed: BacktestError: made up for a test" in out


@pytest.mark.parametrize("verb", ["show", "rerun"])
def test_an_unknown_trial_gets_a_hint(verb: str, run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "trials", verb, "rsi_reversion@5m-00103", "--run", run_dir)
    assert code == 2
    assert "Did you mean 'rsi_reversion@5m-000" in err


def test_a_rerun_needs_the_bars_of_the_run(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(run_dir / "bars", ignore_errors=True)
    code, _, err = call(capsys, "trials", "rerun", "rsi_reversion@5m-00003", "--run", run_dir)
    assert code == 2
    assert "error: " in err


# --- compare ----------------------------------------------------------------------------------------------


def backtest(capsys: pytest.CaptureFixture[str], out: Path, bars: Path, *more: object) -> dict[str, Any]:
    return asked(capsys, "backtest", "rsi_reversion", "--bars", bars, "--out", out, *more)


def test_two_backtests_are_compared(bars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    first = backtest(capsys, one, bars)
    second = backtest(capsys, other, bars, "--params", "rsi_length=9", "--commission", "0")
    document = asked(capsys, "compare", one, other)
    difference = document["difference"]
    expected = first["metrics"]["net_profit"] - second["metrics"]["net_profit"]
    assert difference["pnl"] == pytest.approx(expected)
    assert difference["low"] < difference["pnl"] < difference["high"]
    assert difference["seed"] == 1
    assert document["settings_differ"] == {"commission_per_million": [35.0, 0.0], "rsi_length": [14, 9]}
    assert asked(capsys, "compare", one, other) == document
    _, out, _ = call(capsys, "compare", one, other)
    assert "First less second" in out
    same = asked(capsys, "compare", one, one)["difference"]
    assert (same["pnl"], same["low"], same["decided"]) == (0.0, None, False)


def test_what_differs_is_named(bars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shorter = tmp_path / "bars"
    found = random_walk_bar_set(900, seed=5)
    for side in ("bid", "ask"):
        write_bar_file(getattr(found, side), shorter / f"{side}.parquet")
    backtest(capsys, tmp_path / "one.json", bars)
    backtest(capsys, tmp_path / "other.json", shorter)
    code, _, err = call(capsys, "compare", tmp_path / "one.json", tmp_path / "other.json")
    assert code == 2
    assert "data: " in err
    assert "periods: " in err


def test_a_file_without_profits_says_how_to_write_it(
    bars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = asked(capsys, "backtest", "rsi_reversion", "--bars", bars)
    path = tmp_path / "printed.json"
    path.write_text(json.dumps(document))
    code, _, err = call(capsys, "compare", path, path)
    assert code == 2
    assert "--out FILE" in err
    path.write_text("mine")
    code, _, err = call(capsys, "compare", path, path)
    assert code == 2
    assert "neither a run folder nor a file of `aiopt backtest … --out FILE`" in err


def test_two_runs_are_compared_out_of_sample(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranking = load_run(run_dir).ranking
    assert ranking is not None
    document = asked(capsys, "compare", run_dir, run_dir)
    assert document["first"]["strategy"] == ranking.entries[0].name
    assert document["difference"]["periods"] == len(ranking.entries[0].out_of_sample_pnl)
    code, _, err = call(capsys, "compare", run_dir, run_dir, "--rank", "99")
    assert code == 2
    assert "rank 99" in err


# --- backtest --chart -------------------------------------------------------------------------------------


def test_a_backtest_is_drawn_with_its_trades(
    bars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trades.png"
    document = asked(capsys, "backtest", "rsi_reversion", "--bars", bars, "--chart", path)
    chart, last = document["chart"], document["trades"][-1]
    assert path.read_bytes().startswith(b"\x89PNG")
    assert chart["start"] <= last["entry_bar"] <= last["exit_bar"] < chart["stop"]
    inside = [
        one
        for one in document["trades"]
        if one["exit_bar"] >= chart["start"] and one["entry_bar"] < chart["stop"]
    ]
    assert chart["trades_shown"] == len(inside) < chart["trades"] == len(document["trades"])
    first = tmp_path / "first.png"
    _, out, _ = call(
        capsys, "backtest", "rsi_reversion", "--bars", bars, "--chart", first, "--chart-trade", 1
    )
    assert "lie outside its window" in out
    assert first.read_bytes() != path.read_bytes()
    code, _, err = call(
        capsys, "backtest", "rsi_reversion", "--bars", bars, "--chart", first, "--chart-trade", 999
    )
    assert code == 2
    assert "There is no trade 999. Give --chart-trade a number from 1 to" in err


def test_trades_of_another_instrument_are_refused(
    bars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = backtest(capsys, tmp_path / "one.json", bars)
    drawn = asked(
        capsys, "charts", "render", "--bars", bars, "--out", tmp_path / "c", "--trades", tmp_path / "one.json"
    )
    assert drawn["trades"] == len(document["trades"]) > drawn["trades_shown"]
    document["bars"]["instrument"] = "USDJPY"
    (tmp_path / "yen.json").write_text(json.dumps(document))
    code, _, err = call(
        capsys, "charts", "render", "--bars", bars, "--out", tmp_path / "c", "--trades", tmp_path / "yen.json"
    )
    assert code == 2
    assert "the trades are of USDJPY, but the bars are of EURUSD" in err
