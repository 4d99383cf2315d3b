"""Commands: noted before they act, carried out once, answered with what changed or why not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from aiopt.bus.audit import AuditJournal, read_chain
from aiopt.bus.codec import encode_command
from aiopt.bus.commands import (
    Command,
    Effect,
    Kill,
    ParameterRange,
    Refusal,
    SetParameters,
    SetSizeFactor,
    refused_parameters,
)
from aiopt.bus.desk import CommandDesk, Outcome
from aiopt.bus.failures import BusError
from aiopt.errors import ConfigError, DataError, StorageError
from tests.unit.bus.made_events import START_NS, asked, command_of_each

RANGES = {
    "length": ParameterRange(low=2, high=50, whole=True),
    "stop_atr": ParameterRange(low=1, high=4),
    "kind": ParameterRange(choices=("sma", "ema")),
}
NOW = START_NS + 5


class Node:
    """A handler whose committed state is what it says: parameters of one strategy, and what acted."""

    def __init__(self) -> None:
        self.parameters: dict[str, object] = {"length": 14}
        self.committed: dict[str, Effect] = {}
        self.acted: list[str] = []
        self.gate: asyncio.Event | None = None
        self.broken: Exception | None = None

    def check(self, command: Command) -> Refusal | None:
        if isinstance(command, SetParameters):
            if command.strategy != "rsi":
                return Refusal(rule="unknown_strategy", reason=f"There is no strategy {command.strategy!r}.")
            return refused_parameters(command.values, RANGES)
        return None

    async def apply(self, command: Command) -> Effect | Refusal:
        self.acted.append(command.id)
        if self.gate is not None:
            await self.gate.wait()
        if self.broken is not None:
            raise self.broken
        if isinstance(command, Kill):
            return Refusal(rule="market_closed", reason="The market is closed until Sunday 22:00 UTC.")
        before = dict(self.parameters)
        if isinstance(command, SetParameters):
            self.parameters |= command.values
        effect = Effect(before=before, after=dict(self.parameters))
        self.committed[command.id] = effect
        return effect

    def applied(self, command_id: str) -> Effect | None:
        return self.committed.get(command_id)


def set_length(value: object, command_id: str = "c1", **more: object) -> Command:
    fields = asked(command_id) | {"strategy": "rsi", "values": {"length": value}} | more
    return SetParameters(**fields)


def handle(desk: CommandDesk, node: Node, command: Command | bytes, now_ns: int = NOW) -> Outcome:
    document = command if isinstance(command, bytes) else encode_command(command)
    return asyncio.run(desk.handle(document, node, now_ns))


def test_a_command_is_noted_then_acts_then_is_answered_with_what_changed(tmp_path: Path) -> None:
    path, node = tmp_path / "audit" / "commands.log", Node()
    with AuditJournal(path) as journal:
        seen: list[list[bytes]] = []
        apply = node.apply

        async def spying(command: Command) -> Effect | Refusal:
            seen.append(read_chain(path)[0])
            return await apply(command)

        node.apply = spying  # type: ignore[method-assign]
        outcome = handle(CommandDesk("paper-1", journal), node, set_length(20))
    assert (outcome.status, outcome.before, outcome.after) == ("applied", {"length": 14}, {"length": 20})
    assert repr(outcome) == "<set_parameters c1 applied>"
    (before,) = seen
    assert [msgspec.json.decode(line)["type"] for line in before] == ["asked"]
    lines = [msgspec.json.decode(line) for line in read_chain(path)[0]]
    assert [line["type"] for line in lines] == ["asked", "settled"]
    assert lines[0]["document"]["values"] == {"length": 20}
    assert lines[1]["outcome"]["after"] == {"length": 20}


def test_sent_twice_it_acts_once_also_by_another_desk_later(tmp_path: Path) -> None:
    path, node = tmp_path / "commands.log", Node()
    with AuditJournal(path) as journal:
        desk = CommandDesk("paper-1", journal)
        first = handle(desk, node, set_length(20))
        sent_later = msgspec.structs.replace(set_length(20), made_ns=NOW)
        again = handle(desk, node, sent_later)
        assert (again.again, msgspec.structs.replace(again, again=False)) == (True, first)
        assert desk.outcome("c1") == first
        assert repr(desk) == "<CommandDesk paper-1, 1 settled, 0 open>"
    with AuditJournal(path) as journal:
        later = handle(CommandDesk("paper-1", journal), node, set_length(20))
    assert (later.again, later.after) == (True, {"length": 20})
    assert node.acted == ["c1"]


def test_sent_twice_at_the_same_time_it_acts_once(tmp_path: Path) -> None:
    node = Node()

    async def go() -> list[Outcome]:
        node.gate = asyncio.Event()
        with AuditJournal(tmp_path / "commands.log") as journal:
            desk = CommandDesk("paper-1", journal)
            document = encode_command(set_length(20))
            tasks = [asyncio.create_task(desk.handle(document, node, NOW)) for _ in range(3)]
            other = asyncio.create_task(desk.handle(encode_command(set_length(30)), node, NOW))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            node.gate.set()
            return [*await asyncio.gather(*tasks), await other]

    *outcomes, other = asyncio.run(go())
    assert node.acted == ["c1"]
    assert [one.again for one in outcomes] == [False, True, True]
    assert {one.status for one in outcomes} == {"applied"}
    assert (other.status, other.rule) == ("refused", "id_reused")


def test_who_stops_waiting_does_not_stop_what_was_begun(tmp_path: Path) -> None:
    node = Node()

    async def go() -> Outcome | None:
        node.gate = asyncio.Event()
        with AuditJournal(tmp_path / "commands.log") as journal:
            desk = CommandDesk("paper-1", journal)
            task = asyncio.create_task(desk.handle(encode_command(set_length(20)), node, NOW))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            node.gate.set()
            await asyncio.sleep(0.01)
            return desk.outcome("c1")

    outcome = asyncio.run(go())
    assert outcome is not None
    assert outcome.status == "applied"


@pytest.mark.parametrize(
    ("command", "rule", "said"),
    [
        (set_length(20, strategy="rsy"), "unknown_strategy", "no strategy 'rsy'"),
        (set_length(51), "out_of_range", "`2 <= length <= 50` must hold, but got 51"),
        (set_length(2.5), "wrong_type", "length must be a whole number, but got 2.5"),
        (set_length(True), "wrong_type", "length must be a whole number, but got True"),
        (set_length(1, values={"lenght": 3}), "unknown_parameter", "Did you mean 'length'"),
        (set_length(1, values={"length": 20, "stop_atr": 9.0}), "out_of_range", "stop_atr"),
        (set_length(1, values={"kind": "wma"}), "out_of_range", "one of 'sma', 'ema', but got 'wma'"),
        (set_length(1, values={"stop_atr": "wide"}), "wrong_type", "stop_atr must be a number"),
        (set_length(20, session="paper-2"), "session", "This is session 'paper-1'"),
        (set_length(20, expires_ns=NOW - 1), "expired", "after it expired"),
        (Kill(**asked(), reason="drill"), "market_closed", "closed until Sunday"),
    ],
)
def test_a_refused_command_changes_nothing_and_says_why(
    tmp_path: Path, command: Command, rule: str, said: str
) -> None:
    node = Node()
    with AuditJournal(tmp_path / "commands.log") as journal:
        desk = CommandDesk("paper-1", journal)
        outcome = handle(desk, node, command)
        assert (outcome.status, outcome.rule, outcome.command_id) == ("refused", rule, "c1")
        assert said in (outcome.reason or "")
        assert handle(desk, node, command).again
        assert desk.unsettled() == ()
    assert node.parameters == {"length": 14}
    assert [msgspec.json.decode(line)["type"] for line in read_chain(tmp_path / "commands.log")[0]] == [
        "asked",
        "settled",
    ]


@pytest.mark.parametrize(
    ("document", "name", "said"),
    [
        (b"not json", ("", ""), "must be a JSON object"),
        (b'{"command": "explode", "id": "x1"}', ("explode", "x1"), "no command 'explode'"),
        (
            encode_command(set_length(20)).replace(b'"schema":1', b'"schema":2'),
            ("set_parameters", "c1"),
            "got schema 2: another version",
        ),
        (
            encode_command(SetSizeFactor(**asked(), factor=0.5)).replace(b"0.5", b"11"),
            ("set_size_factor", "c1"),
            "breaks its schema",
        ),
    ],
)
def test_a_document_that_is_no_command_is_refused_and_noted(
    tmp_path: Path, document: bytes, name: tuple[str, str], said: str
) -> None:
    node = Node()
    with AuditJournal(tmp_path / "commands.log") as journal:
        desk = CommandDesk("paper-1", journal)
        outcome = handle(desk, node, document)
        assert (outcome.status, outcome.rule, outcome.command, outcome.command_id) == (
            "refused",
            "schema",
            *name,
        )
        assert said in (outcome.reason or "")
        # The id is free for a whole command.
        assert handle(desk, node, set_length(20)).status == "applied"
    with AuditJournal(tmp_path / "commands.log") as journal:
        assert handle(CommandDesk("paper-1", journal), node, set_length(20)).again
    assert len(read_chain(tmp_path / "commands.log")[0]) == 3


def test_a_command_that_breaks_off_is_answered_as_failed(tmp_path: Path) -> None:
    node = Node()
    node.broken = RuntimeError("the venue is gone")
    with AuditJournal(tmp_path / "commands.log") as journal:
        desk = CommandDesk("paper-1", journal)
        outcome = handle(desk, node, set_length(20))
        assert outcome.status == "failed"
        assert outcome.reason == (
            "RuntimeError: the venue is gone. It was begun and broke off: look at the state."
        )
        assert handle(desk, node, set_length(20)).status == "failed"
    assert node.acted == ["c1"]


@pytest.mark.parametrize("committed", [True, False])
def test_a_command_noted_by_a_process_that_died_acts_once(tmp_path: Path, committed: bool) -> None:
    path, node = tmp_path / "commands.log", Node()
    with AuditJournal(path) as journal:
        handle(CommandDesk("paper-1", journal), node, set_length(20))
    # The process dies before the outcome is noted; its state holds the effect, or does not.
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(whole[0])
    path.with_name("commands.log.end").unlink()
    if not committed:
        node = Node()
    node.acted.clear()
    with AuditJournal(path) as journal:
        desk = CommandDesk("paper-1", journal)
        assert [command.id for command in desk.unsettled()] == ["c1"]
        (outcome,) = asyncio.run(desk.recover(node, NOW))
        assert (outcome.status, outcome.after) == ("applied", {"length": 20})
        assert handle(desk, node, set_length(20)).again
        assert asyncio.run(desk.recover(node, NOW)) == ()
    assert node.acted == ([] if committed else ["c1"])


def test_every_kind_of_command_comes_through(tmp_path: Path) -> None:
    node = Node()
    with AuditJournal(tmp_path / "commands.log") as journal:
        desk = CommandDesk("paper-1", journal)
        outcomes = [handle(desk, node, command) for command in command_of_each() if command.name != "kill"]
    assert [one.status for one in outcomes if one.command != "set_parameters"] == ["applied"] * 10


# The journal itself


def written(path: Path, count: int = 5) -> None:
    with AuditJournal(path) as journal:
        for number in range(count):
            journal.append(f'{{"n":{number}}}'.encode())


@pytest.mark.parametrize("row", range(5))
def test_a_removed_line_is_seen(tmp_path: Path, row: int) -> None:
    path = tmp_path / "a.log"
    written(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:row] + lines[row + 1 :]))
    with pytest.raises(DataError, match=r"a\.log.*(removed or exchanged|cut off: it has 4 lines and had 5)"):
        AuditJournal(path)


@pytest.mark.parametrize("row", range(5))
def test_a_changed_or_exchanged_line_is_seen(tmp_path: Path, row: int) -> None:
    path = tmp_path / "a.log"
    written(path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(f'{{"n":{row}}}'.encode(), b'{"n":9}'))
    with pytest.raises(DataError, match=rf"a\.log, row {row}: The line was changed"):
        AuditJournal(path)
    lines = whole.splitlines(keepends=True)
    lines[row], lines[row - 1] = lines[row - 1], lines[row]
    path.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=r"changed, or lines before it were removed or exchanged"):
        AuditJournal(path)


def test_a_rewritten_end_is_seen(tmp_path: Path) -> None:
    path, other = tmp_path / "a.log", tmp_path / "b.log"
    written(path, 3)
    with AuditJournal(other) as journal:
        for number in (0, 1, 7):
            journal.append(f'{{"n":{number}}}'.encode())
    path.write_bytes(other.read_bytes())
    with pytest.raises(DataError, match=r"row 2: The line is not the one that a\.log\.end"):
        AuditJournal(path)
    path.unlink()
    with pytest.raises(DataError, match="it has 0 lines and had 3"):
        AuditJournal(path)


def test_a_torn_last_line_counts_for_nothing_and_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    written(path, 2)
    with path.open("ab") as stream:
        stream.write(b"0123 2 {half")
    with AuditJournal(path) as journal:
        assert len(journal) == 2
        journal.append(b'{"n":2}')
    assert read_chain(path)[0] == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


def test_a_line_feed_would_be_two_lines(tmp_path: Path) -> None:
    with AuditJournal(tmp_path / "a.log") as journal, pytest.raises(DataError, match="no line feed"):
        journal.append(b"a\nb")


def test_two_sessions_with_one_id_are_refused(tmp_path: Path) -> None:
    with AuditJournal(tmp_path / "a.log"), pytest.raises(BusError, match="a session with this id is running"):
        AuditJournal(tmp_path / "a.log")
    AuditJournal(tmp_path / "a.log").close()


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="is a file, not a folder"):
        AuditJournal(tmp_path / "file" / "a.log")


_WRITER = """
import sys
from pathlib import Path
from aiopt.bus.audit import AuditJournal
with AuditJournal(Path(sys.argv[1])) as journal:
    for number in range(1_000_000):
        journal.append(b'{"n":%d}' % number)
        print(number, flush=True)
"""


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    told = -1
    for _ in range(3):
        root = Path(__file__).resolve().parents[3]
        command = [sys.executable, "-c", _WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
            assert process.stdout is not None
            for _ in range(20):
                told = int(process.stdout.readline())
            time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            rest = process.stdout.read().splitlines()
        told = int(rest[-1]) if rest and rest[-1].isdigit() else told
        payloads = read_chain(path)[0]
        assert payloads[-1] is not None
        with AuditJournal(path) as journal:
            assert len(journal) >= told + 1
        path.unlink()
        path.with_name("a.log.end").unlink()


@pytest.mark.parametrize(
    "fields", [{}, {"low": 1.0}, {"low": 2.0, "high": 1.0}, {"low": 1.0, "high": 2.0, "choices": (1,)}]
)
def test_a_range_is_bounds_or_choices(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="`low <= high` or `choices`"):
        ParameterRange(**fields)


def test_a_choice_is_meant_by_its_type_too() -> None:
    assert ParameterRange(choices=(1, 2)).refusal("n", True) is not None
    assert ParameterRange(choices=(True, False)).refusal("n", True) is None
