"""A second witness: bars of the same market confirm a clock or refute it, also in a few weeks of many."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from aiopt.bars.importing.bar_import import import_bars
from aiopt.bars.importing.witness_bars import check_bars, read_witness
from aiopt.cli.ticks import command as ticks_command
from aiopt.errors import DataError
from aiopt.market.calendar import is_open
from aiopt.market.instrument import Instrument, instrument
from aiopt.ticks.clocks.second_witness import Ranges, Witness, check_against
from aiopt.ticks.importing import import_ticks
from aiopt.ticks.manifest import read_manifest
from aiopt.utc import HOUR_NS

MINUTE_NS = 60_000_000_000
EURUSD = instrument("EURUSD")


def walk(first: str, hours: int, seed: int = 1) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a tick every five minutes of the open market, and its bid in steps."""
    start = int(np.datetime64(first, "ns").astype(np.int64))
    ts = start + np.arange(hours * 12) * 5 * MINUTE_NS
    ts = ts[is_open(ts)]
    steps = np.random.default_rng(seed).integers(-9, 10, ts.size)
    return ts, 110_000 + np.cumsum(steps)


def ranges(ts: NDArray[np.int64], bid: NDArray[np.int64], ns: int) -> Ranges:
    frame = pl.DataFrame({"at": ts // ns * ns, "bid": bid / 1e5})
    bars = frame.group_by("at", maintain_order=True).agg(
        high=pl.col("bid").max(), low=pl.col("bid").min(), close=pl.col("bid").last()
    )
    return Ranges(*(bars[name].to_numpy() for name in ("at", "high", "low", "close")), ns)


def write_ticks(path: Path, ts: NDArray[np.int64], bid: NDArray[np.int64]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"ts_event_ns": ts, "bid": bid / 1e5, "ask": (bid + 10) / 1e5}).write_csv(path)
    return path


def write_metatrader(path: Path, bars: Ranges, ahead_h: int = 0, spread: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    when = pl.Series(bars.ts_ns + ahead_h * HOUR_NS).cast(pl.Datetime("ns")).dt.strftime("%Y.%m.%d,%H:%M")
    rows = zip(when, bars.high + spread, bars.low + spread, bars.close + spread, strict=True)
    path.write_text("".join(f"{t},{c:.5f},{h:.5f},{low:.5f},{c:.5f},9\n" for t, h, low, c in rows))
    return path


@pytest.mark.parametrize("lag_min", [0, 30, -60, 180, -420])
@pytest.mark.parametrize("bar_h", [0.25, 1, 24])
def test_the_lag_is_found_at_every_length_of_bar(lag_min: int, bar_h: float) -> None:
    ts, bid = walk("2024-02-05T00:00", 5 * 168)
    own = ranges(ts + lag_min * MINUTE_NS, bid, 5 * MINUTE_NS)
    # Another provider: three pips higher, and a step of noise.
    noise = np.random.default_rng(2).integers(-1, 2, ts.size)
    witness = Witness("other", "bid", ranges(ts, bid + 30 + noise, int(bar_h * HOUR_NS)), "UTC")
    if not lag_min:
        text = check_against(own, witness, EURUSD, Path("x"))
        assert "agree at lag 0" in text
        return
    hours, minutes = divmod(abs(lag_min), 60)
    sign, word = (r"\-", "late") if lag_min > 0 else (r"\+", "early")
    message = rf"agree at a lag of {sign}{hours}:{minutes:02d} h .* {word}"
    with pytest.raises(DataError, match=message):
        check_against(own, witness, EURUSD, Path("x"))


def test_a_few_weeks_on_another_clock_do_not_hide_behind_the_year() -> None:
    ts, bid = walk("2024-01-01T00:00", 20 * 168)
    summer = (ts >= np.datetime64("2024-03-10", "ns").astype(np.int64)) & (
        ts < np.datetime64("2024-03-31", "ns").astype(np.int64)
    )
    own = ranges(ts - np.where(summer, HOUR_NS, 0), bid, 5 * MINUTE_NS)
    witness = Witness("other", "bid", ranges(ts, bid, HOUR_NS), "UTC")
    with pytest.raises(
        DataError, match=r"in 3 of \d+ weeks, the first from 2024-03-1\d.*lag of \+1:00 h.*early"
    ):
        check_against(own, witness, EURUSD, Path("x"))


def test_a_witness_of_another_market_or_time_cannot_tell() -> None:
    ts, bid = walk("2024-02-05T00:00", 168)
    own = ranges(ts, bid, 5 * MINUTE_NS)
    stranger = Witness("other", "bid", ranges(*walk("2024-02-05T00:00", 168, seed=7), HOUR_NS), "UTC")
    with pytest.raises(DataError, match="cannot tell the clock"):
        check_against(own, stranger, EURUSD, Path("x"))
    later = Witness("other", "bid", ranges(*walk("2025-02-05T00:00", 168), HOUR_NS), "UTC")
    with pytest.raises(DataError, match=r"has 0 .* in common with the source; 5 are needed"):
        check_against(own, later, EURUSD, Path("x"))
    flat = Witness("other", "bid", ranges(ts, np.full(ts.size, 110_000), HOUR_NS), "UTC")
    with pytest.raises(DataError, match="cannot tell the clock"):
        check_against(ranges(ts, np.full(ts.size, 110_000), 5 * MINUTE_NS), flat, EURUSD, Path("x"))


def test_ticks_are_imported_with_what_the_witness_said_or_not_at_all(tmp_path: Path) -> None:
    ts, bid = walk("2024-02-06T00:00", 60)
    hourly = write_metatrader(tmp_path / "w/EURUSD60.csv", ranges(ts, bid, HOUR_NS), ahead_h=2, spread=1e-4)
    # Two days of a week tell nothing of a clock: the witness alone finds the hour.
    late = write_ticks(tmp_path / "late/EURUSD.csv", ts + HOUR_NS, bid)
    import_ticks(late, tmp_path / "unseen")
    witness = partial(read_witness, hourly)
    with pytest.raises(DataError, match=r"at a lag of -1:00 h .* 1:00 h late"):
        import_ticks(late, tmp_path / "store", witness=witness)
    assert not (tmp_path / "store").exists()
    good = write_ticks(tmp_path / "good/EURUSD.csv", ts, bid)
    arguments = [
        "import",
        str(good),
        "--out",
        str(tmp_path / "store"),
        "--check-against",
        str(hourly),
        "--json",
    ]
    result = CliRunner().invoke(ticks_command, arguments)
    assert result.exit_code == 0, result.output
    clock = json.loads(result.stdout)["clock"]
    assert "agree at lag 0" in clock["check"]
    assert clock["check"] in clock["text"]
    manifest = read_manifest(tmp_path / "store")
    assert manifest.clock is not None
    assert manifest.clock.is_proved
    assert manifest.settings["check_against"].startswith("w/EURUSD60.csv ")
    # The same import without the check is another one, and is not passed off as checked.
    with pytest.raises(DataError, match="replace"):
        import_ticks(good, tmp_path / "store")


def test_bars_are_checked_too_and_bar_files_of_ours_can_be_the_witness(tmp_path: Path) -> None:
    ts, bid = walk("2024-02-06T00:00", 60)
    import_bars(
        write_metatrader(tmp_path / "a/EURUSD5.csv", ranges(ts, bid, 5 * MINUTE_NS), 2), tmp_path / "own"
    )
    witness = read_witness(tmp_path / "own", EURUSD)
    assert (witness.side, witness.bars.ns) == ("bid", 5 * MINUTE_NS)

    def reread(item: Instrument) -> Witness:
        assert item == EURUSD
        return witness

    hourly = write_metatrader(tmp_path / "b/EURUSD60.csv", ranges(ts, bid, HOUR_NS), 2)
    result = import_bars(hourly, tmp_path / "bars", check=partial(check_bars, witness=reread, source=hourly))
    assert "of own" not in result.proof.check
    assert "agree at lag 0" in result.proof.text
    wrong = write_metatrader(tmp_path / "c/EURUSD60.csv", ranges(ts, bid, HOUR_NS), 3)
    with pytest.raises(DataError, match="1:00 h late"):
        import_bars(wrong, tmp_path / "none", check=partial(check_bars, witness=reread, source=wrong))
    assert not (tmp_path / "none").exists()
