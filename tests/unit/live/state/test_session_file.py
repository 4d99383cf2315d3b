"""A session's file: whole commits, one process, clear words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from aiopt.backtest.growing_bars import BarRow
from aiopt.errors import ConfigError, StorageError
from aiopt.live.state.session_file import NAME, SessionFile, read_session

ROW = BarRow(60, 1.1, 1.2, 1.0, 1.15, 5.0, 1.2, 1.3, 1.1, 1.25, 6.0, 7)


def test_what_was_committed_is_read_back(tmp_path: Path) -> None:
    with SessionFile(tmp_path / "a") as file:
        assert file.is_new
        assert repr(file) == f"SessionFile({tmp_path / 'a'})"
        file.begin({"id": "S1"}, {"cursor": "0"}, [("EURUSD-5m", 0, ROW)])
        file.commit({"cursor": "1", "venue": "{}"}, trades=[("A", "t1")], events=[(5, "e1"), (6, "e2")])
    with SessionFile(tmp_path / "a") as file:
        assert not file.is_new
        assert file.meta() == {"id": "S1", "layout": "1"}
        assert file.state() == {"cursor": "1", "venue": "{}"}
        assert list(file.bars("EURUSD-5m")) == [ROW]
        assert list(file.bars("EURUSD-1m")) == []
        assert list(file.trades()) == [("A", "t1")]
        assert list(file.events(after=1)) == [(2, 6, "e2")]
        assert file.counts() == {"bars": 1, "trades": 1, "events": 2}
    meta, state = read_session(tmp_path / "a")
    assert (meta["id"], meta["trades"], state["cursor"]) == ("S1", "1", "1")


def test_a_commit_is_all_or_nothing(tmp_path: Path) -> None:
    with SessionFile(tmp_path) as file:
        file.begin({"id": "S1"}, {"cursor": "0"}, [("s", 0, ROW)])
        with pytest.raises(StorageError, match="the session goes on from its last commit"):
            file.commit({"cursor": "1"}, bars=[("s", 1, ROW), ("s", 0, ROW)], events=[(1, "e")])
        assert file.state() == {"cursor": "0"}
        assert file.counts() == {"bars": 1, "trades": 0, "events": 0}
        file.commit({"cursor": "2"})
        assert file.state() == {"cursor": "2"}


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    with SessionFile(tmp_path) as file:
        file.begin({"id": "S1"}, {"cursor": "0"}, [])
        pages = file._connection.execute("PRAGMA page_count").fetchone()[0]
        file._connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StorageError, match="Free space or mend the folder"):
            file.commit({"cursor": "x" * 1_000_000})
    with SessionFile(tmp_path) as file:
        assert file.state() == {"cursor": "0"}


def test_what_is_no_session_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="A session's folder holds"):
        read_session(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / NAME).write_bytes(b"this is no database, but it is long enough to be looked at" * 20)
    with pytest.raises(StorageError, match="must be readable and writable"):
        SessionFile(tmp_path / "b")
    with pytest.raises(StorageError, match="cannot be read"):
        read_session(tmp_path / "b")
    with SessionFile(tmp_path / "c") as file:
        file.begin({"id": "S1"}, {}, [])
    connection = sqlite3.connect(tmp_path / "c" / NAME)
    connection.execute("UPDATE meta SET value = '9' WHERE key = 'layout'")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigError, match="is of layout 9"):
        SessionFile(tmp_path / "c")


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be made"):
        SessionFile(tmp_path / "file" / "session")
