"""Commands over every transport: sent, carried out once, answered; before the node is up and across cuts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from aiopt.bus.audit import AuditJournal, read_chain
from aiopt.bus.codec import encode_command
from aiopt.bus.commanding import obey, send_command
from aiopt.bus.commands import Command, Effect, Flatten, Refusal, SetSizeFactor
from aiopt.bus.desk import CommandDesk, Outcome
from aiopt.bus.events import CommandOutcome
from aiopt.bus.publisher import EventPublisher
from aiopt.bus.transport import Channel, Message, Transport
from tests.unit.bus.made_events import START_NS, asked
from tests.unit.bus.servers import Place, ValkeyPlace, new_session

PATIENCE_S = 120.0


class Sizes:
    """A handler with one number, and with a command that takes long."""

    def __init__(self) -> None:
        self.factor = 1.0
        self.acted: list[str] = []
        self.flat = asyncio.Event()
        self.committed: dict[str, Effect] = {}

    def check(self, command: Command) -> Refusal | None:
        if isinstance(command, SetSizeFactor | Flatten):
            return None
        return Refusal(rule="not_supported", reason=f"{command.name} is not for this one.")

    async def apply(self, command: Command) -> Effect | Refusal:
        self.acted.append(command.id)
        before = self.factor
        if isinstance(command, SetSizeFactor):
            self.factor = command.factor
        else:
            await self.flat.wait()
        self.committed[command.id] = Effect(before={"factor": before}, after={"factor": self.factor})
        return self.committed[command.id]

    def applied(self, command_id: str) -> Effect | None:
        return self.committed.get(command_id)


@asynccontextmanager
async def node(
    transport: Transport, session: str, handler: Sizes, folder: Path, seq: int = 0
) -> AsyncIterator[None]:
    """Run what a session runs: publisher, desk, and a task that obeys."""
    numbers = iter(range(seq, seq + 1000))
    with AuditJournal(folder / "commands.log") as journal:
        async with EventPublisher(transport, session, check_every_s=0.2) as publisher:

            async def answer(outcome: Outcome) -> None:
                number = next(numbers)
                fields = msgspec.structs.asdict(outcome)
                fields.pop("again")
                await publisher.put(
                    CommandOutcome(
                        id=f"{session}:{number}",
                        session=session,
                        seq=number,
                        ts_ns=START_NS,
                        wall_ns=START_NS,
                        **fields,
                    )
                )

            task = asyncio.create_task(obey(transport, CommandDesk(session, journal), handler, answer))
            try:
                yield
            finally:
                await publisher.flush(30)
                task.cancel()
                (ended,) = await asyncio.gather(task, return_exceptions=True)
                assert isinstance(ended, asyncio.CancelledError), ended


def run(test: Awaitable[None]) -> None:
    async def within() -> None:
        async with asyncio.timeout(200):
            await test

    asyncio.run(within())


def size(factor: float, session: str, command_id: str) -> Command:
    return SetSizeFactor(**asked(command_id, session), factor=factor)


def test_a_command_is_answered_with_before_and_after_and_sent_twice_acts_once(
    place: Place, tmp_path: Path
) -> None:
    async def go() -> None:
        transport, session, handler = place.transport(), new_session(), Sizes()
        await transport.open(30)
        async with node(transport, session, handler, tmp_path):
            first = await send_command(transport, size(0.5, session, "c1"), wait_s=PATIENCE_S)
            again = await send_command(transport, size(0.5, session, "c1"), wait_s=PATIENCE_S)
            other = await send_command(transport, size(2, session, "c1"), wait_s=PATIENCE_S)
        assert first is not None
        assert (first.status, first.before, first.after) == ("applied", {"factor": 1.0}, {"factor": 0.5})
        assert again is not None
        assert (again.after, other.rule if other else None) == (first.after, "id_reused")
        assert handler.acted == ["c1"]
        await transport.close()

    run(go())


def test_what_was_sent_before_the_node_is_up_is_taken_in_order(place: Place, tmp_path: Path) -> None:
    async def go() -> None:
        transport, session, handler = place.transport(), new_session(), Sizes()
        await transport.open(30)
        for number in range(5):
            sent = size(1 + number / 10, session, f"c{number}")
            assert await send_command(transport, sent, wait_s=None) is None
        await transport.publish(Channel(session, "commands"), [Message("x", b"not a command")])
        async with node(transport, session, handler, tmp_path):
            last = await send_command(transport, size(3, session, "last"), wait_s=PATIENCE_S)
        assert last is not None
        assert last.before == {"factor": 1.4}
        assert handler.acted == ["c0", "c1", "c2", "c3", "c4", "last"]
        notes = [msgspec.json.decode(line) for line in read_chain(tmp_path / "commands.log")[0]]
        assert [note["outcome"]["rule"] for note in notes if note["type"] == "settled"].count("schema") == 1
        # A node that starts again takes none of them again.
        async with node(transport, session, handler, tmp_path, seq=100):
            await send_command(transport, size(1, session, "after"), wait_s=PATIENCE_S)
        assert handler.acted[6:] == ["after"]
        await transport.close()

    run(go())


def test_one_that_takes_long_does_not_hold_up_the_next(place: Place, tmp_path: Path) -> None:
    async def go() -> None:
        transport, session, handler = place.transport(), new_session(), Sizes()
        await transport.open(30)
        async with node(transport, session, handler, tmp_path):
            await send_command(transport, Flatten(**asked("slow", session)), wait_s=None)
            quick = await send_command(transport, size(0.5, session, "quick"), wait_s=PATIENCE_S)
            assert quick is not None
            assert handler.acted == ["slow", "quick"]
            handler.flat.set()
            slow = await send_command(transport, Flatten(**asked("slow", session)), wait_s=PATIENCE_S)
            assert slow is not None
            assert slow.status == "applied"
        assert handler.acted == ["slow", "quick"]
        await transport.close()

    run(go())


def test_no_answer_in_time_is_none(valkey: ValkeyPlace) -> None:
    async def go() -> None:
        transport = valkey.transport()
        await transport.open(30)
        assert await send_command(transport, size(1, new_session(), "c"), wait_s=0.1) is None
        await transport.close()

    run(go())


def test_commands_pass_a_killed_server(valkey: ValkeyPlace, tmp_path: Path) -> None:
    async def go() -> None:
        transport, session, handler = valkey.transport(), new_session(), Sizes()
        await transport.open(30)
        async with node(transport, session, handler, tmp_path):
            await send_command(transport, size(0.5, session, "c1"), wait_s=PATIENCE_S)
            await transport.publish(
                Channel(session, "commands"), [Message("c2", encode_command(size(0.7, session, "c2")))]
            )
            valkey.kill()
            await asyncio.sleep(0.2)
            valkey.start()
            while "c2" not in handler.acted:
                await asyncio.sleep(0.02)
            last = await send_command(transport, size(0.9, session, "c3"), wait_s=PATIENCE_S)
        assert last is not None
        assert handler.acted == ["c1", "c2", "c3"]
        await transport.close()

    run(go())


@pytest.mark.parametrize("text", ["", "two words"])
def test_a_session_without_a_name_cannot_be_commanded(valkey: ValkeyPlace, text: str) -> None:
    from aiopt.errors import InputError

    with pytest.raises(InputError, match="session"):
        asyncio.run(send_command(valkey.transport(), size(1, text, "c")))
