"""The journal: what was acknowledged is there, each event once and in order, by day, kind and span."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGKILL

import polars as pl
import pytest

from aiopt.bus.events import Event
from aiopt.bus.failures import BusError
from aiopt.bus.journal import JournalWriter, read_journal, record, replay
from aiopt.bus.memory import MemoryTransport
from aiopt.bus.publisher import EventPublisher
from aiopt.bus.reader import EventReader
from aiopt.bus.transport import Reader
from aiopt.errors import ConfigError, DataError, StorageError
from tests.unit.bus.made_events import DAY_NS, START_NS, one_of_each, quote, signal

ROOT = Path(__file__).resolve().parents[3]
MIDNIGHT_NS = START_NS // DAY_NS * DAY_NS + DAY_NS


def files(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in {".log", ".parquet"}
    )


def written(folder: Path, events: list[Event], **settings: int) -> None:
    with JournalWriter(folder, **settings) as writer:
        assert writer.append(events) == len(events)


def test_events_come_back_whole_and_in_order(tmp_path: Path) -> None:
    written(tmp_path, one_of_each())
    assert list(read_journal(tmp_path)) == one_of_each()
    assert files(tmp_path) == ["2023-11-14/000001.parquet"]
    table = pl.read_parquet(tmp_path / "2023-11-14" / "000001.parquet")
    assert table["kind"].to_list() == [event.kind for event in one_of_each()]
    assert table["document"][0].startswith('{"kind":"quote"')


def test_days_of_the_market_have_folders_of_their_own(tmp_path: Path) -> None:
    events: list[Event] = [signal(n, ts_ns=MIDNIGHT_NS + (n - 3) * 1_000_000_000) for n in range(6)]
    written(tmp_path, events)
    assert files(tmp_path) == ["2023-11-14/000001.parquet", "2023-11-15/000001.parquet"]
    assert list(read_journal(tmp_path)) == events
    assert [event.seq for event in read_journal(tmp_path, start_ns=MIDNIGHT_NS)] == [3, 4, 5]
    assert [event.seq for event in read_journal(tmp_path, stop_ns=MIDNIGHT_NS)] == [0, 1, 2]


def test_what_was_appended_can_be_read_before_it_is_a_part(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as writer:
        writer.append([signal(0)])
        assert [event.seq for event in read_journal(tmp_path)] == [0]
        writer.seal()
        writer.append([signal(1)])
        assert [event.seq for event in read_journal(tmp_path)] == [0, 1]
        assert repr(writer).endswith("log 2 with 1 events>")


def test_a_long_log_becomes_a_part(tmp_path: Path) -> None:
    events: list[Event] = [signal(n) for n in range(50)]
    with JournalWriter(tmp_path, part_bytes=2_000) as writer:
        for event in events:
            writer.append([event])
        assert len(files(tmp_path)) > 3
    assert list(read_journal(tmp_path)) == events


def test_an_event_that_comes_again_is_there_once_also_over_a_restart(tmp_path: Path) -> None:
    for seal in (False, True):
        folder = tmp_path / str(seal)
        with JournalWriter(folder) as writer:
            assert writer.append([signal(0), signal(1), signal(0)]) == 2
            if seal:
                writer.seal()
            assert writer.append([signal(1), signal(2)]) == 1
        with JournalWriter(folder) as writer:
            assert writer.append([signal(2), signal(3)]) == 1
        assert [event.seq for event in read_journal(folder)] == [0, 1, 2, 3]


def test_kinds_and_sessions_are_chosen(tmp_path: Path) -> None:
    written(tmp_path, [*one_of_each("a"), *one_of_each("b")])
    assert [event.kind for event in read_journal(tmp_path, kinds=["fill", "quote"])] == ["quote", "fill"] * 2
    assert list(read_journal(tmp_path, sessions=["b"])) == one_of_each("b")
    with pytest.raises(ConfigError, match=r"There is no event 'quotes'. Did you mean 'quote'"):
        list(read_journal(tmp_path, kinds=["quotes"]))


def test_a_process_that_died_between_part_and_log_leaves_nothing_twice(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as writer:
        writer.append([signal(0), signal(1)])
        log = tmp_path / "log" / "000001.log"
        content = log.read_bytes()
    log.write_bytes(content + b"0000 {half")  # and the next line was being written
    assert [event.seq for event in read_journal(tmp_path)] == [0, 1]
    with JournalWriter(tmp_path) as writer:
        assert files(tmp_path) == ["2023-11-14/000001.parquet"]
        assert writer.append([signal(1), signal(2)]) == 1
    assert [event.seq for event in read_journal(tmp_path)] == [0, 1, 2]


_WRITER = """
import sys
from pathlib import Path
from aiopt.bus.journal import JournalWriter
from tests.unit.bus.made_events import signal
first = int(sys.argv[2])
with JournalWriter(Path(sys.argv[1]), part_bytes=3_000) as writer:
    for number in range(first, first + 1_000_000, 3):
        writer.append([signal(n) for n in range(number, number + 3)])
        print(number + 3, flush=True)
"""


@pytest.mark.slow
def test_what_was_acknowledged_is_there_after_kills(tmp_path: Path) -> None:
    count = 0
    for round_ in range(6):
        command = [sys.executable, "-c", _WRITER, str(tmp_path), str(count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            for _ in range(3 + round_):
                count = int(process.stdout.readline())
            time.sleep(0.003 * round_)
            os.kill(process.pid, SIGKILL)
            told = [line for line in process.stdout.read().split("\n")[:-1] if line]
        count = int(told[-1]) if told else count
        numbers = [event.seq for event in read_journal(tmp_path)]
        assert numbers[:count] == list(range(count))
        # What was written and not yet told may be there too, in order.
        assert numbers == list(range(len(numbers)))
        count = len(numbers)


def test_a_full_disk_adds_nothing_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with JournalWriter(tmp_path) as writer:
        writer.append([signal(0)])
        real = os.pwrite

        def full(handle: int, content: bytes, offset: int) -> int:
            real(handle, content[:20], offset)
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("aiopt.bus.journal.os.pwrite", full)
        with pytest.raises(StorageError, match=r"The disk of .* is full"):
            writer.append([signal(1)])
        monkeypatch.undo()
        assert [event.seq for event in read_journal(tmp_path)] == [0]
        assert writer.append([signal(1)]) == 1
    assert [event.seq for event in read_journal(tmp_path)] == [0, 1]


def test_damage_is_named_with_file_and_row(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "a") as writer:
        writer.append([signal(0), signal(1)])
        log = (tmp_path / "a" / "log" / "000001.log").read_bytes()
    folder = tmp_path / "b"
    (folder / "log").mkdir(parents=True)
    (folder / "log" / "000001.log").write_bytes(log.replace(b'"seq":0', b'"seq":7'))
    with pytest.raises(DataError, match=r"000001\.log, row 0: The line is damaged"):
        list(read_journal(folder))
    with pytest.raises(DataError, match="row 0: The line is damaged"):
        JournalWriter(folder)
    part = tmp_path / "a" / "2023-11-14" / "000001.parquet"
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(DataError, match=r"000001\.parquet: The part cannot be read"):
        list(read_journal(tmp_path / "a"))


def test_a_folder_that_is_no_journal_and_two_writers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a journal, but has no `log`"):
        list(read_journal(tmp_path))
    with JournalWriter(tmp_path / "a"), pytest.raises(BusError, match="One process alone may write"):
        JournalWriter(tmp_path / "a")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="is a file, not a folder"):
        JournalWriter(tmp_path / "file" / "journal")
    with pytest.raises(ConfigError, match="`part_bytes >= 1` must hold"):
        JournalWriter(tmp_path / "b", part_bytes=0)


def test_the_bus_is_recorded_and_its_journal_replayed(tmp_path: Path) -> None:
    async def go() -> None:
        transport = MemoryTransport("recorded")
        await transport.open()
        sent: list[Event] = [signal(n) for n in range(60)]
        for first, last in ((0, 40), (20, 60)):  # the recorder starts anew, and the publisher repeats itself
            async with EventReader(transport, "paper-1", Reader(group="journal")) as reader:
                with JournalWriter(tmp_path) as writer:
                    recording = asyncio.create_task(record(reader, writer))
                    async with EventPublisher(transport, "paper-1") as publisher:
                        for event in sent[first:last]:
                            await publisher.put(event)
                        assert await publisher.flush(60)
                    async with asyncio.timeout(60):
                        while len(list(read_journal(tmp_path))) < last:
                            await asyncio.sleep(0.01)
                    recording.cancel()
                    await asyncio.gather(recording, return_exceptions=True)
        assert [event async for event in replay(tmp_path)] == sent
        await transport.close()

    asyncio.run(go())


def test_a_replay_keeps_the_pace_of_the_market_and_skips_nights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offsets_s = [0, 10, 10, 40, 40 + 8 * 3600, 60 + 8 * 3600]
    events: list[Event] = [quote(n, ts_ns=START_NS + s * 1_000_000_000) for n, s in enumerate(offsets_s)]
    written(tmp_path, events)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("aiopt.bus.journal.asyncio.sleep", sleep)

    async def go(speed: float | None) -> list[Event]:
        return [event async for event in replay(tmp_path, speed=speed)]

    assert asyncio.run(go(10.0)) == events
    assert slept == [1.0, 3.0, 2.0]
    slept.clear()
    assert asyncio.run(go(None)) == events
    assert slept == []
    with pytest.raises(ConfigError, match="`speed > 0` must hold, but got speed=0"):
        asyncio.run(go(0))
