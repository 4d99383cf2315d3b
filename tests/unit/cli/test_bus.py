"""``aiopt bus`` against a real server: check, tail, send, and what is said where something is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiopt.bus.audit import AuditJournal
from aiopt.bus.commanding import obey
from aiopt.bus.connecting import transport_of
from aiopt.bus.desk import CommandDesk, Outcome
from aiopt.bus.events import CommandOutcome
from aiopt.bus.local_server import LocalServer
from aiopt.bus.publisher import EventPublisher
from cluster.cli.main import run
from tests.unit.bus.made_events import START_NS, one_of_each
from tests.unit.bus.test_commanding import Sizes

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a server that holds the events of the session `told`."""
    folder = tmp_path_factory.mktemp("bus")
    with LocalServer(folder):
        url = f"local:{folder}"

        async def tell() -> None:
            transport = transport_of(url)
            await transport.open(30)
            async with EventPublisher(transport, "told", merge_for_s=0) as publisher:
                for event in one_of_each("told"):
                    await publisher.put(event)
                assert await publisher.flush(60)
            await transport.close()

        asyncio.run(tell())
        yield url


def test_check_says_what_is_there(bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bus", "check", bus, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["program"], found["durable"], found["note"]) == ("Valkey", True, "")
    assert found["answer_ms"]["worst"] >= found["answer_ms"]["median"] > 0
    assert run(["bus", "check", bus]) == 0
    assert "keeps all over a restart  yes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("redis://127.0.0.1:1", 1, "cannot be reached"),
        ("redis://me:secret@host", 2, "must hold no password"),
        ("reddis://host", 2, "Did you mean 'redis'"),
        ("memory:x", 2, "ends with its process"),
        ("local:nowhere", 1, "aiopt bus serve nowhere"),
    ],
)
def test_check_says_what_is_wrong(url: str, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bus", "check", url]) == code
    assert said in capsys.readouterr().err


def test_tail_prints_events_for_people_and_programs(bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bus", "tail", bus, "told", "--limit", "12"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [repr(event) for event in one_of_each("told")]
    chosen = ["--kind", "fill", "--kind", "quote"]
    assert run(["bus", "tail", bus, "told", "--json", "--seconds", "0.5", *chosen]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["kind"] for one in documents] == ["quote", "fill"]
    assert run(["bus", "tail", bus, "told", "--from", "new", "--seconds", "0.2"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["bus", "tail", bus, "told", "--kind", "fils"]) == 2
    assert "There is no event 'fils'. Did you mean 'fill'" in capsys.readouterr().err


@pytest.fixture
def obeying(bus: str, tmp_path: Path) -> Iterator[str]:
    """Run a session that obeys, on a thread of its own."""
    ready, ended = threading.Event(), threading.Event()

    async def node() -> None:
        transport = transport_of(bus)
        await transport.open(30)
        numbers = iter(range(100))
        with AuditJournal(tmp_path / "commands.log") as journal:
            async with EventPublisher(transport, "obeys") as publisher:

                async def answer(outcome: Outcome) -> None:
                    number = next(numbers)
                    await publisher.put(
                        CommandOutcome(
                            id=f"obeys:{tmp_path.name}:{number}",
                            session="obeys",
                            seq=number,
                            ts_ns=START_NS,
                            wall_ns=START_NS,
                            command_id=outcome.command_id,
                            command=outcome.command,
                            status=outcome.status,
                            rule=outcome.rule,
                            reason=outcome.reason,
                            before=outcome.before,
                            after=outcome.after,
                        )
                    )

                task = asyncio.create_task(obey(transport, CommandDesk("obeys", journal), Sizes(), answer))
                ready.set()
                while not ended.is_set() and not task.done():
                    await asyncio.sleep(0.02)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await transport.close()

    thread = threading.Thread(target=lambda: asyncio.run(node()))
    thread.start()
    assert ready.wait(60)
    yield "obeys"
    ended.set()
    thread.join(60)


def test_send_prints_what_became_of_a_command(
    bus: str, obeying: str, capsys: pytest.CaptureFixture[str]
) -> None:
    half = '{"command": "set_size_factor", "factor": 0.5}'
    assert run(["bus", "send", bus, obeying, half, "--by", "me", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["command"], found["outcome"]["after"]) == ("set_size_factor", {"factor": 0.5})
    assert run(["bus", "send", bus, obeying, '{"command": "pause_entries"}']) == 1
    out = capsys.readouterr().out
    assert "refused" in out
    assert "pause_entries is not for this one." in out


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("flatten", "DOCUMENT must be a JSON object"),
        ("[1]", "DOCUMENT must be a JSON object"),
        ('{"command": "flaten"}', "Did you mean 'flatten'"),
        ('{"command": "set_size_factor", "factor": 11}', "`float` <= 10"),
    ],
)
def test_send_refuses_what_is_no_command(
    bus: str, document: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bus", "send", bus, "told", document]) == 2
    assert said in capsys.readouterr().err


def test_send_says_when_nobody_answers(bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["bus", "send", bus, "nobody", '{"command": "flatten"}', "--expires", "60"]
    assert run([*asked, "--wait", "0.2"]) == 1
    assert "not answered within 0.2 s" in capsys.readouterr().out
    assert run([*asked, "--wait", "0", "--id", "mine"]) == 0
    assert capsys.readouterr().out == "flatten mine sent.\n"


def test_serve_keeps_a_server_until_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cluster.cli", "bus", "serve", str(tmp_path / "bus")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert "Ctrl-C ends it" in process.stdout.readline()
        assert run(["bus", "check", f"local:{tmp_path / 'bus'}"]) == 0
        assert run(["bus", "serve", str(tmp_path / "bus")]) == 2
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    assert run(["bus", "check", f"local:{tmp_path / 'bus'}"]) == 1
