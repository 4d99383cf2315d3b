"""A journal's quotes as a feed: from any place, of one session, and as a tick store."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from aiopt.bus.journal import JournalWriter
from aiopt.errors import ConfigError, DataError
from aiopt.live.feeds import journal_quotes
from aiopt.live.feeds.feed_config import JournalReplay
from aiopt.live.feeds.journal_quotes import JournalQuotes, store_of_journal
from aiopt.live.feeds.seam import Batch
from aiopt.timeframe import parse_timeframe
from cluster.cli import main
from tests.unit.live.feeds.bus_events import health, quote

FIVE = parse_timeframe("5m")


def journal(folder: Path, events: list) -> Path:
    with JournalWriter(folder) as writer:
        writer.append(events)
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Twenty quotes in two parts, an event of another kind among them, one told twice."""
    folder = journal(tmp_path / "journal", [*(quote(n) for n in range(8)), health(8, "ok")])
    return journal(folder, [quote(7), *(quote(n) for n in range(9, 21))])


def taken(feed: JournalQuotes, place: int = 0) -> list[Batch]:
    async def all_of_it() -> list[Batch]:
        return [batch async for batch in feed.batches(place)]

    return asyncio.run(all_of_it())


def flat(batches: list[Batch]) -> list[tuple]:
    return [row for one in batches for row in zip(*one[:6], strict=True)]


def test_any_place_gives_the_rest(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_quotes, "_CHUNK", 6)
    feed = JournalQuotes(JournalReplay(journal=str(kept)))
    whole = flat(taken(feed))
    assert [row[0] for row in whole] == list(range(20))
    assert [row[1] for row in whole] == [quote(n).ts_ns for n in range(21) if n != 8]
    assert whole[3][2:] == (quote(3).bid, quote(3).ask, 30.0, 0.0)
    assert (len(whole), feed.total, feed.is_live) == (20, 20, False)
    for place in (1, 5, 6, 19, 20):
        assert flat(taken(feed, place)) == whole[place:]
    assert all(not one.notes and not one.hole for one in taken(feed))


def test_one_session_and_instrument_are_meant(kept: Path) -> None:
    other = [quote(n, session="other", id=f"other:{n}", instrument="GBPUSD") for n in range(3)]
    journal(kept, other)
    with pytest.raises(ConfigError, match=r"pub \(EURUSD, 20\), other \(GBPUSD, 3\)"):
        JournalQuotes(JournalReplay(journal=str(kept)))
    feed = JournalQuotes(JournalReplay(journal=str(kept), session="other"))
    assert (feed.instrument.symbol, feed.total) == ("GBPUSD", 3)
    assert feed.identity != JournalQuotes(JournalReplay(journal=str(kept), session="pub")).identity
    with pytest.raises(DataError, match="this journal has none of nobody"):
        JournalQuotes(JournalReplay(journal=str(kept), session="nobody"))
    with pytest.raises(DataError, match="has none"):
        JournalQuotes(JournalReplay(journal=str(kept), start="2025-01-01"))
    with pytest.raises(DataError, match="must be a journal"):
        JournalQuotes(JournalReplay(journal=str(kept / "nowhere")))
    journal(kept, [quote(50, instrument="EURXXX", session="odd", id="odd:50")])
    with pytest.raises(DataError, match="EURXXX"):
        JournalQuotes(JournalReplay(journal=str(kept), session="odd"))


def test_merged_quotes_are_said(tmp_path: Path) -> None:
    folder = journal(tmp_path / "journal", [quote(1), quote(5, merged=4)])
    feed = JournalQuotes(JournalReplay(journal=str(folder)))
    (batch,) = taken(feed)
    assert "1 of 2 quotes stand for several" in batch.notes[0]
    assert taken(feed, 1)[0].notes == ()
    assert feed.history(FIVE, 0, 10**18) == []


def test_a_journal_becomes_a_tick_store(kept: Path, tmp_path: Path, capsys) -> None:
    feed = JournalQuotes(JournalReplay(journal=str(kept)))
    manifest = store_of_journal(feed, tmp_path / "one")
    (part,) = manifest.partitions
    table = pq.read_table(tmp_path / "one" / part.path)
    assert list(zip(*(column.to_pylist() for column in table.columns), strict=True)) == [
        row[1:] for row in flat(taken(feed))
    ]
    words = ["bus", "ticks", str(kept), "--out", str(tmp_path / "EURUSD"), "--json"]
    assert main.run(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["manifest"]["data_hash"] == manifest.data_hash
    assert document["manifest"]["source_format"] == "bus_journal"
    assert main.run(["bus", "ticks", str(tmp_path), "--out", str(tmp_path / "two")]) == 2
    assert "must be a journal" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()
