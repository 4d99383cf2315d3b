"""Feeds by name: servers, folders, functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.errors import ConfigError
from aiopt.ticks.download import (
    HttpClient,
    make_feed,
)
from aiopt.ticks.download.feed import bi5_path
from aiopt.utc import hour_text
from tests.unit.ticks.download.faulty_server import (
    SPAN,
    TICKS,
    Client,
    Server,
    bi5_body,
    json_body,
    keys,
    refuse,
)


@pytest.mark.parametrize(
    "text",
    [
        "ftp",
        "bi5=ftp://host",
        "json=host/path",
        "bi5=",
        "bi5=http://me:secret@host",
        "dir",
        "dir=/no/such/folder",
        "python",
        "python=json",
        "python=no.such.module:feed",
        "python=json:nothing",
        "python=os.path:basename",
        "python=builtins:repr",
    ],
)
def test_a_bad_feed_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="feed"):
        make_feed(text, HttpClient(proxy=""))


def test_hour_files_on_a_disk_are_a_feed_to_fall_back_on(
    download: Client, server: Server, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    for hour, suffix, body in ((SPAN[0], "bi5", bi5_body), (SPAN[1], "json", json_body)):
        path = archive / "EURUSD" / f"{bi5_path(hour)}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body(hour))
    server.script |= {key: [refuse(503)] for key in (keys("bi5")[0], keys("bi5")[2], keys("bi5")[3])}
    http = HttpClient(proxy="")
    feeds = [make_feed(f"bi5={server.base}", http), make_feed(f"dir={archive}", http)]
    report = download(feeds=feeds)
    assert list(report.failed) == [hour_text(SPAN[0] + 2)]
    assert report.failed[hour_text(SPAN[0] + 2)][-1].endswith("2024/04/06/12h_ticks: no such file")
    assert report.counts()["ticks"] == 3


def test_a_feed_of_ones_own_is_named_by_its_function(
    download: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_feed.py").write_text(
        "from aiopt.ticks.download import HourResult\n"
        "from tests.unit.ticks.download.faulty_server import bi5_body\n"
        "class Mine:\n"
        "    name = 'mine'\n"
        "    def fetch(self, instrument, hour):\n"
        "        return HourResult('ticks', bi5_body(hour), '.bi5', 40)\n"
        "def make(http):\n"
        "    return Mine()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    report = download(feeds=[make_feed("python=my_feed:make", HttpClient(proxy=""))])
    assert report.ok
    assert report.manifest is not None
    assert report.manifest.rows == 4 * TICKS
