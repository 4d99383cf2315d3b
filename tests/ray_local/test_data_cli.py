"""`aiopt bars`: both engines write the same files; JSON on stdout; exit codes of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aiopt.bars.files import load_bar_set
from aiopt.ticks.manifest import read_manifest
from aiopt.ticks.sample import generate_ticks
from cluster.cli.main import run

# Ray Data warns of the defaults of its own settings when it first builds them.
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated.*:DeprecationWarning")


@pytest.fixture(scope="module")
def ticks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ticks")
    generate_ticks(folder, days=3, ticks_per_day=20_000)
    return folder


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    """Run a command line and return its exit code and the one JSON document on stdout."""
    code = run([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def build(capsys: pytest.CaptureFixture[str], ticks: Path, out: Path, *more: str) -> dict[str, object]:
    code, document = call(capsys, "bars", "build", "--ticks", str(ticks), "--out", str(out), *more)
    assert code == 0, document
    return document


def test_both_engines_write_the_same_files(
    capsys: pytest.CaptureFixture[str], ticks: Path, tmp_path: Path, ray_driver: object
) -> None:
    flags = ("--timeframes", "1m,5m", "--price", "all", "--empty", "flat")
    local = build(capsys, ticks, tmp_path / "local", *flags, "--engine", "local")
    # A connected cluster is taken by `auto`, whatever the size.
    for engine in ("ray", "auto"):
        ray = build(capsys, ticks, tmp_path / engine, *flags, "--engine", engine)
        assert (local["engine"], ray["engine"]) == ("local", "ray")
        assert ray["ticks"] == local["ticks"] == read_manifest(ticks).rows
        assert len(ray["files"]) == 6  # type: ignore[arg-type]
        for ours, theirs in zip(local["files"], ray["files"], strict=True):  # type: ignore[call-overload]
            assert Path(ours["path"]).read_bytes() == Path(theirs["path"]).read_bytes()
    bars = load_bar_set(tmp_path / "ray", timeframe="5m")
    assert bars.synthetic
    assert bars.data_hash == read_manifest(ticks).data_hash


def test_show_prints_what_a_backtest_would_read(
    capsys: pytest.CaptureFixture[str], ticks: Path, tmp_path: Path
) -> None:
    build(capsys, ticks, tmp_path, "--timeframes", "1m", "--price", "bid,ask", "--engine", "local")
    code, document = call(capsys, "bars", "show", str(tmp_path))
    bars = load_bar_set(tmp_path)
    assert code == 0
    assert document["bars"] == len(bars)
    assert document["prices"] == ["bid", "ask"]
    assert document["first_ts_open_ns"] == bars.bid.ts_open_ns[0]
    assert run(["bars", "show", str(tmp_path)]) == 0
    assert "EURUSD" in capsys.readouterr().out


def test_a_table_is_printed_for_people(
    capsys: pytest.CaptureFixture[str], ticks: Path, tmp_path: Path
) -> None:
    assert run(["bars", "build", "--ticks", str(ticks), "--out", str(tmp_path), "--engine", "local"]) == 0
    printed = capsys.readouterr()
    assert "synthetic ticks" in printed.out
    assert "EURUSD/1m/bid.parquet" in printed.out
    assert f"Written below {tmp_path}. A command that reads bars takes one folder:" in printed.out
    assert f"\n  --bars {tmp_path / 'EURUSD/1m'}\n" in printed.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--timeframes", "7x"), "number and one of s, m, h, d"),
        (("--timeframes", ","), "at least one timeframe"),
        (("--price", "middle"), "must be one of bid, ask, mid"),
        (("--ticks", "nowhere"), "There is no such folder"),
    ],
)
def test_bad_input_is_code_two_with_a_message(
    capsys: pytest.CaptureFixture[str], ticks: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    command = ("bars", "build", "--ticks", str(ticks), "--out", str(tmp_path / "out"), "--engine", "local")
    code, document = call(capsys, *command, *arguments)
    assert code == 2
    assert message in document["error"]["message"]  # type: ignore[index]
    assert not (tmp_path / "out").exists()


def test_an_empty_or_strange_path_to_show_is_code_two(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, document = call(capsys, "bars", "show", str(tmp_path))
    assert code == 2
    assert "found none" in document["error"]["message"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        (("--type", "tick", "--size", "250"), {"type": "tick", "timeframe": "tick-250", "size": 250.0}),
        (("--type", "volume", "--size", "9000000"), {"type": "volume", "timeframe": "volume-9000000"}),
        (("--type", "range", "--size", "2.5"), {"type": "range", "timeframe": "range-2.5"}),
        (("--type", "renko", "--size", "3", "--spread-stats"), {"type": "renko", "timeframe": "renko-3"}),
        (
            ("--timeframes", "1d", "--session", "17:00", "--timezone", "America/New_York", "--fill", "flat"),
            {"type": "time", "timeframe": "1d", "session": "17:00 America/New_York", "fill": "flat"},
        ),
    ],
)
def test_every_type_is_built_and_shown(
    capsys: pytest.CaptureFixture[str],
    ticks: Path,
    tmp_path: Path,
    flags: tuple[str, ...],
    facts: dict[str, object],
) -> None:
    built = build(capsys, ticks, tmp_path, *flags, "--engine", "local")
    label = str(facts["timeframe"])
    code, shown = call(capsys, "bars", "show", str(tmp_path), "--timeframe", label)
    assert code == 0, shown
    assert {name: shown[name] for name in facts} == facts
    assert shown["bars"] == built["files"][0]["bars"]  # type: ignore[index]
    left_over = sum(built["ticks_left_over"].values())  # type: ignore[attr-defined]
    assert shown["ticks"] == built["ticks"] - left_over  # type: ignore[operator]
    # The same for people.
    assert run(["bars", "show", str(tmp_path / "EURUSD" / label)]) == 0
    assert label in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (("--type", "range"), "need a size"),
        (("--size", "5"), "--size does not apply to time bars"),
        (("--type", "tick", "--size", "5", "--timeframes", "5m"), "apply to time bars only"),
        (("--timezone", "Europe/London"), "needs a session"),
        (("--session", "8"), "must be HH:MM"),
        (("--type", "renko", "--size", "0.01"), "multiple of 0.1 pips"),
    ],
)
def test_contradicting_flags_are_bad_input(
    capsys: pytest.CaptureFixture[str], ticks: Path, tmp_path: Path, flags: tuple[str, ...], rule: str
) -> None:
    assert run(["bars", "build", "--ticks", str(ticks), "--out", str(tmp_path), *flags]) == 2
    assert rule in " ".join(capsys.readouterr().err.split())


def test_sides_of_different_ticks_or_sessions_do_not_share_a_series(
    capsys: pytest.CaptureFixture[str], ticks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bars"
    build(capsys, ticks, out, "--timeframes", "5m,1h", "--price", "bid")
    build(capsys, ticks, out, "--timeframes", "5m", "--price", "ask,mid")
    before = {path: path.read_bytes() for path in out.rglob("*.parquet")}
    other = tmp_path / "ticks"
    generate_ticks(other, days=2, ticks_per_day=2_000, seed=8)
    for store, flags in ((other, ()), (ticks, ("--session", "17:00")), (ticks, ("--fill", "flat"))):
        code, document = call(
            capsys, "bars", "build", "--ticks", str(store), "--out", str(out), "--timeframes", "5m", *flags
        )
        error = document["error"]
        assert (code, error["type"]) == (2, "DataError")  # type: ignore[index]
        assert "Build it too (--price bid,ask), or choose another folder" in error["message"]  # type: ignore[index]
    assert {path: path.read_bytes() for path in out.rglob("*.parquet")} == before
    build(capsys, other, out, "--timeframes", "5m", "--price", "all")
    build(capsys, other, out, "--timeframes", "1h", "--price", "bid")


def test_a_tick_store_in_place_of_bars_is_named(capsys: pytest.CaptureFixture[str], ticks: Path) -> None:
    assert run(["bars", "show", str(ticks)]) == 2
    assert (
        f"this is a tick store. Build bars of it: `aiopt bars build --ticks {ticks}"
        in capsys.readouterr().err
    )
