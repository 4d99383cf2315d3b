"""Failed hours, damaged answers: the same command again asks only for what is missing."""

from __future__ import annotations

from collections import Counter

import pytest

from aiopt.ticks.download.feed import bi5_path
from aiopt.ticks.manifest import read_manifest
from aiopt.utc import hour_text
from tests.unit.ticks.download.faulty_server import (
    SPAN,
    TICKS,
    Client,
    Server,
    keys,
    refuse,
)


def test_no_store_while_an_hour_failed_and_the_same_command_asks_only_for_it(
    download: Client, server: Server
) -> None:
    server.script[keys("bi5")[1]] = [refuse(503)]
    report = download("bi5")
    assert not report.ok
    assert (report.store, report.manifest) == (None, None)
    assert not download.out.exists()
    server.script.clear()
    server.asked.clear()
    report = download("bi5")
    assert server.asked == Counter([keys("bi5")[1]])
    assert report.ok
    assert report.manifest is not None
    assert report.manifest.rows == 4 * TICKS


def test_failed_hours_are_marked_in_a_store_that_accepts_holes(download: Client, server: Server) -> None:
    server.script[keys("bi5")[1]] = [refuse(503)]
    report = download("bi5", rules=("missing_hour=keep",))
    assert not report.ok
    manifest = read_manifest(download.out)
    assert manifest.hours[hour_text(SPAN[0] + 1)] == "failed"
    assert [hour.reason for hour in manifest.silent_hours] == ["missing_file"]
    server.script.clear()
    whole = download("bi5", rules=("missing_hour=keep",)).manifest
    assert whole is not None
    assert set(whole.hours.values()) == {"ticks"}


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_a_damaged_answer_in_the_cache_is_fetched_again(
    download: Client, server: Server, damage: bytes | None
) -> None:
    first = download("bi5")
    path = download.cache / "EURUSD" / f"{bi5_path(SPAN[0])}.bi5"
    path.write_bytes(path.read_bytes()[:-7] if damage is None else damage)
    server.asked.clear()
    again = download("bi5")
    assert again.manifest == first.manifest
    assert server.asked == Counter(keys("bi5")[:1])


def test_a_damaged_record_is_rebuilt_from_the_answers(download: Client, server: Server) -> None:
    first = download()
    (download.cache / "EURUSD" / ".hours.json").write_bytes(b"{")
    server.asked.clear()
    assert download().manifest == first.manifest
    assert not server.asked
