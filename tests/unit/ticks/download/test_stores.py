"""A server that behaves: spans become stores, stores are extended."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from aiopt.errors import DataError
from aiopt.ticks.download import (
    downloaded_until,
    parse_span,
)
from aiopt.ticks.importing import import_ticks
from aiopt.ticks.manifest import verify_store
from aiopt.utc import hour_number, hour_text
from tests.unit.ticks.download.faulty_server import (
    NOW,
    SPAN,
    TICKS,
    Client,
    Server,
    bi5_body,
    keys,
    refuse,
)


def test_a_span_becomes_a_store_with_every_hour_accounted_for(download: Client, server: Server) -> None:
    report = download()
    assert report.ok
    assert report.counts() == {"ticks": 4, "empty": 0, "closed": 0, "failed": 0}
    assert (report.fetched, report.reused, report.requests) == (4, 0, 4)
    assert server.asked == Counter(keys("bi5"))
    manifest = verify_store(download.out)
    assert manifest == report.manifest
    assert manifest.rows == 4 * TICKS
    assert manifest.hours == {hour_text(hour): "ticks" for hour in range(SPAN[0], SPAN[1] + 1)}
    assert download.cache.joinpath("EURUSD/2024/04/06/10h_ticks.bi5").read_bytes() == bi5_body(SPAN[0])


def test_both_feeds_give_the_same_ticks(download: Client, tmp_path: Path) -> None:
    raw = download("bi5").manifest
    download.cache = tmp_path / "other"
    api = download("json", out=tmp_path / "api").manifest
    assert raw is not None
    assert api is not None
    assert raw.data_hash == api.data_hash


def test_the_same_command_again_asks_for_nothing(download: Client, server: Server) -> None:
    first = download()
    server.asked.clear()
    second = download()
    assert server.asked == Counter()
    assert (second.fetched, second.reused, second.requests) == (0, 4, 0)
    assert second.manifest == first.manifest


def test_a_longer_span_asks_only_for_the_new_hours(download: Client, server: Server) -> None:
    download()
    server.asked.clear()
    report = download(span=(SPAN[0], SPAN[1] + 2))
    assert server.asked == Counter(keys("bi5", (SPAN[1] + 1, SPAN[1] + 2)))
    assert report.manifest is not None
    assert report.manifest.rows == 6 * TICKS


@pytest.mark.parametrize("step", [4, -4])
def test_a_store_is_extended_by_another_span_as_if_both_had_been_one(
    download: Client, server: Server, tmp_path: Path, step: int
) -> None:
    download()
    other = (SPAN[0] + step, SPAN[1] + step)
    report = download(span=other)
    assert (report.hours_before, report.not_asked, len(report.hours)) == (4, 0, 4)
    whole = download(span=(min(SPAN[0], other[0]), max(SPAN[1], other[1])), out=tmp_path / "whole")
    assert report.manifest == whole.manifest
    assert verify_store(download.out) == whole.manifest
    assert {path.name for path in download.out.iterdir()} == {"instrument=EURUSD", "manifest.json"}
    assert max(server.asked.values()) == 1
    server.asked.clear()
    assert download(span=other).manifest == report.manifest
    assert download().manifest == report.manifest
    assert not server.asked


def test_hours_between_two_downloads_are_named_not_taken_for_quiet(download: Client) -> None:
    download()
    report = download(span=(SPAN[1] + 3, SPAN[1] + 4))
    assert (report.ok, report.not_asked) == (True, 2)
    manifest = report.manifest
    assert manifest is not None
    assert [(hour.hour, hour.reason) for hour in manifest.silent_hours] == [
        (hour_text(SPAN[1] + 1), "not_asked"),
        (hour_text(SPAN[1] + 2), "not_asked"),
    ]
    assert manifest.notes == [
        "2 hour(s) of open market inside the span were never asked for: download them as well."
    ]
    filled = download(span=(SPAN[1] + 1, SPAN[1] + 2))
    assert filled.not_asked == 0
    assert filled.manifest is not None
    assert (filled.manifest.rows, filled.manifest.notes) == (8 * TICKS, [])


def test_a_failed_extension_leaves_the_store(download: Client, server: Server) -> None:
    before = download("bi5").manifest
    server.script[keys("bi5", (SPAN[1] + 1, SPAN[1] + 1))[0]] = [refuse(503)]
    report = download("bi5", span=(SPAN[1] + 1, SPAN[1] + 2))
    assert (report.ok, report.store) == (False, None)
    assert verify_store(download.out) == before


def test_without_its_cache_a_store_is_asked_for_again(download: Client, server: Server) -> None:
    before = download()
    shutil.rmtree(download.cache)
    server.asked.clear()
    report = download(span=(SPAN[1] + 1, SPAN[1] + 1))
    assert sum(server.asked.values()) == 5
    assert report.manifest is not None
    assert before.manifest is not None
    assert report.manifest.files[:4] == before.manifest.files


def test_replace_holds_the_new_span_alone(download: Client) -> None:
    download()
    report = download(span=(SPAN[1] + 1, SPAN[1] + 2), replace=True)
    assert (report.hours_before, report.manifest is not None and report.manifest.rows) == (0, 2 * TICKS)


def test_without_a_start_the_span_goes_on_where_the_store_ends(download: Client) -> None:
    assert downloaded_until(download.out, "EURUSD") is None
    download()
    assert downloaded_until(download.out, "EURUSD") == SPAN[1]
    assert downloaded_until(download.out, "GBPUSD") is None
    assert parse_span(None, None, now=NOW, since=SPAN[1])[0] == SPAN[1] + 1
    recent = hour_number("2024-05-30T23")
    assert hour_text(parse_span(None, None, now=NOW, since=recent)[0]) == "2024-05-18T00"
    assert parse_span("2024-05-20", None, now=NOW, since=SPAN[1])[0] == hour_number("2024-05-20T00")


def test_a_store_of_another_source_is_not_replaced_and_nothing_is_asked_for(
    download: Client, server: Server, tmp_path: Path
) -> None:
    source = tmp_path / "in" / "ticks.csv"
    source.parent.mkdir()
    source.write_text("time,bid,ask\n2024-05-06T10:00:00,1.1,1.1001\n")
    import_ticks(source, download.out)
    with pytest.raises(DataError, match="tick store of another source"):
        download()
    assert not server.asked
    report = download(replace=True)
    assert report.manifest is not None
    assert report.manifest.rows == 4 * TICKS


def test_closed_hours_are_not_asked_for(download: Client, server: Server) -> None:
    friday = hour_number("2024-05-10T00")
    report = download(span=(friday + 19, friday + 72 + 1))
    assert report.counts() == {"ticks": 7, "empty": 0, "closed": 48, "failed": 0}
    assert sum(server.asked.values()) == 7
    assert report.hours["2024-05-10T20"] == "ticks"
    assert report.hours["2024-05-10T21"] == "closed"
    assert report.hours["2024-05-12T21"] == "ticks"


def test_a_span_of_closed_hours_only_is_refused(download: Client) -> None:
    saturday = hour_number("2024-05-11T00")
    with pytest.raises(DataError, match="only closed and quiet hours"):
        download(span=(saturday, saturday + 5))
