"""One log of many sessions: each line once, also after whoever wrote it died."""

from __future__ import annotations

import json
from pathlib import Path

from aiopt.live.report.merged_log import MergedLog


def append(folder: Path, *numbers: int, torn: str = "") -> None:
    folder.mkdir(exist_ok=True)
    with (folder / "session.log").open("a") as stream:
        stream.writelines(json.dumps({"session": folder.name, "number": number}) + "\n" for number in numbers)
        stream.write(torn)


def lines(path: Path) -> list[tuple[str, int]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["name"], line["number"]) for line in found if "number" in line]


def test_lines_come_once_and_in_their_sessions_order(tmp_path: Path) -> None:
    folders = {"a": tmp_path / "a", "b": tmp_path / "b"}
    log = MergedLog(tmp_path / "all.log")
    assert log.follow(folders) == 0
    append(folders["a"], 1, 2)
    append(folders["b"], 1, torn='{"session": "b", "num')
    assert log.follow(folders) == 3
    append(folders["b"], torn='ber": 2}\n')
    append(folders["a"], 3)
    assert log.follow(folders) == 2
    log.say("a", "ended")
    assert lines(log.path) == [("a", 1), ("a", 2), ("b", 1), ("a", 3), ("b", 2)]
    # Another process, and one that died in a line, go on without a line lost or twice.
    log.path.write_bytes(log.path.read_bytes() + b'{"name": "a"')
    again = MergedLog(log.path)
    append(folders["a"], 4)
    assert again.follow(folders) == 1
    assert lines(log.path)[-1] == ("a", 4)
    assert len(lines(log.path)) == 6
