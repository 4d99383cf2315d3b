"""The log of a session: every event once, whatever happened to the process that wrote it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aiopt.live.report import session_log
from aiopt.live.report.session_log import SessionLog


class Events:
    """Rows as a session's file has them."""

    def __init__(self, count: int) -> None:
        kinds = ("filled", "refused", "node_error")
        self.rows = [
            (
                number,
                number * 10**9,
                json.dumps({"type": kinds[number % 3], "order_id": f"o{number}", "strategy": "A"}),
            )
            for number in range(1, count + 1)
        ]

    def events(self, after: int = 0) -> list[tuple[int, int, str]]:
        return [row for row in self.rows if row[0] > after]


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "session.log").read_text().splitlines()]


def test_each_event_is_a_line_with_its_ids(tmp_path: Path) -> None:
    log = SessionLog(tmp_path, "S1")
    assert log.catch_up(Events(2)) == 2
    assert log.catch_up(Events(3)) == 1
    assert log.catch_up(Events(3)) == 0
    assert [line["number"] for line in lines(tmp_path)] == [1, 2, 3]
    assert lines(tmp_path)[0] == {
        "time": "1970-01-01T00:00:01.000Z",
        "level": "warning",
        "session": "S1",
        "number": 1,
        "event": "refused",
        "order": "o1",
        "strategy": "A",
    }
    assert [line["level"] for line in lines(tmp_path)] == ["warning", "error", "info"]


@pytest.mark.parametrize("cut", [1, 30, 150])
def test_a_torn_end_is_written_anew(tmp_path: Path, cut: int) -> None:
    SessionLog(tmp_path, "S1").catch_up(Events(5))
    whole = (tmp_path / "session.log").read_bytes()
    (tmp_path / "session.log").write_bytes(whole[:-cut])
    assert SessionLog(tmp_path, "S1").catch_up(Events(5)) >= 1
    assert (tmp_path / "session.log").read_bytes() == whole


def test_what_is_no_log_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "session.log").write_text("hello\n")
    assert SessionLog(tmp_path, "S1").catch_up(Events(2)) == 2
    assert len(lines(tmp_path)) == 2


def test_a_full_disk_delays_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = SessionLog(tmp_path, "S1")
    log.catch_up(Events(1))

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(session_log, "write_whole", full)
        assert log.catch_up(Events(4)) == 0
    assert (log.failures, log.number) == (1, 1)
    assert log.catch_up(Events(4)) == 3
    assert [line["number"] for line in lines(tmp_path)] == [1, 2, 3, 4]
