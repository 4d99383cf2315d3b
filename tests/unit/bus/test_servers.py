"""Servers that cannot be used, and the server of one's own: said in seconds, in words, without a secret."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aiopt.bus.codec import encode_event
from aiopt.bus.connecting import start_local, transport_of
from aiopt.bus.failures import BusDownError, BusError, BusFullError
from aiopt.bus.kafka import KafkaTransport
from aiopt.bus.local_server import LocalServer, read_record
from aiopt.bus.streams import PASSWORD, RedisTransport
from aiopt.bus.transport import Channel, Message, Reader
from aiopt.errors import ConfigError, DataError, StorageError
from cluster.cli import main
from tests.unit.bus.made_events import one_of_each
from tests.unit.bus.servers import ValkeyPlace, new_session

INFO = "redis_version:{version}\r\naof_enabled:0\r\n"


def run(test: Awaitable[None]) -> None:
    async def within() -> None:
        async with asyncio.timeout(60):
            await test

    asyncio.run(within())


@asynccontextmanager
async def program(answer: bytes | None) -> AsyncIterator[int]:
    """Run a program at a port that gives one answer to whatever it is asked, or none."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(4096):
                if answer is not None:
                    writer.write(answer)
                    await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def bulk(text: str) -> bytes:
    return f"${len(text)}\r\n{text}\r\n".encode()


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (None, BusDownError, r"must answer within 1 s, but did not"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", BusError, "another program"),
        (b"\x15\x03\x01\x00\x02\x02F", BusDownError, "must answer|cannot be reached"),
        (
            bulk(INFO.format(version="5.0.14")),
            BusError,
            r"Redis 6\.2 or newer, must run .* but it is 5\.0\.14",
        ),
        (bulk(INFO.format(version="")), BusError, "but it is of no version"),
        (b"-LOADING Valkey is loading the dataset in memory\r\n", BusDownError, "LOADING|loading"),
        (b"-WRONGPASS invalid username-password pair\r\n", BusError, "AIOPT_BUS_PASSWORD"),
    ],
)
def test_a_server_that_cannot_be_used_is_said_at_the_start(
    answer: bytes | None, error: type[BusError], said: str
) -> None:
    async def go() -> None:
        async with program(answer) as port:
            transport = RedisTransport("127.0.0.1", port)
            with pytest.raises(error, match=said) as caught:
                await transport.open(1)
            assert (type(caught.value) is BusDownError) == (error is BusDownError)
            await transport.close()

    run(go())


def test_no_server_at_all_is_said(valkey: ValkeyPlace) -> None:
    async def go() -> None:
        for transport in (RedisTransport("127.0.0.1", 1), RedisTransport("no.such.host.invalid")):
            with pytest.raises(BusDownError, match=r"cannot be reached: .*\. Start it, or check the address"):
                await transport.open(5)
            await transport.close()

    run(go())


@pytest.mark.parametrize("password", [None, "wrong-and-secret"])
def test_a_wrong_password_is_said_and_not_shown(
    valkey: ValkeyPlace, password: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    if password:
        monkeypatch.setenv(PASSWORD, password)

    async def go() -> None:
        transport = transport_of(f"redis://127.0.0.1:{valkey.server.port}")
        with pytest.raises(BusError, match="Set AIOPT_BUS_PASSWORD in the environment") as caught:
            await transport.open(10)
        assert not isinstance(caught.value, BusDownError)
        assert "secret" not in f"{caught.value!r} {transport!r} {transport.url}"
        await transport.close()

    run(go())


def test_the_password_comes_from_the_environment(
    valkey: ValkeyPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, valkey.server.password)

    async def go() -> None:
        transport = transport_of(f"valkey://127.0.0.1:{valkey.server.port}")
        info = await transport.open(30)
        assert (info.program, info.durable, info.note) == ("Valkey", True, "")
        await transport.close()

    run(go())


def test_a_bus_of_another_version_is_refused(valkey: ValkeyPlace) -> None:
    async def go() -> None:
        transport = valkey.transport()
        assert isinstance(transport, RedisTransport)
        await transport.open(30)
        client = transport.client(30)
        await client.set("aiopt:bus", "2")
        try:
            with pytest.raises(BusError, match=r"Format 1 of the bus must be used, but .* holds format '2'"):
                await valkey.transport().open(30)
        finally:
            await client.set("aiopt:bus", "1")
        await client.aclose()
        await transport.close()

    run(go())


def test_a_server_out_of_memory_is_back_pressure(valkey: ValkeyPlace) -> None:
    async def go() -> None:
        transport = valkey.transport()
        assert isinstance(transport, RedisTransport)
        await transport.open(30)
        channel = Channel(new_session(), "events")
        client = transport.client(30)
        await client.config_set("maxmemory", "1mb")
        try:
            batch = [Message(f"m{number}", b"x" * 100, number) for number in range(3)]
            with pytest.raises(BusFullError, match=r"takes nothing more: .*Nothing was dropped"):
                await transport.publish(channel, batch)
        finally:
            await client.config_set("maxmemory", "0")
        assert await transport.publish(channel, batch) == 3
        await client.aclose()
        await transport.close()

    run(go())


def test_a_key_that_is_another_programs_is_said(valkey: ValkeyPlace) -> None:
    async def go() -> None:
        transport, session = valkey.transport(), new_session()
        assert isinstance(transport, RedisTransport)
        await transport.open(30)
        client = transport.client(30)
        await client.set(f"aiopt:{session}:events", "a string")
        with pytest.raises(BusError, match="WRONGTYPE"):
            await transport.publish(Channel(session, "events"), [Message("m", b"{}", 0)])
        await client.aclose()
        await transport.close()

    run(go())


def test_a_group_that_the_server_lost_begins_anew(valkey: ValkeyPlace) -> None:
    async def go() -> None:
        transport, channel = valkey.transport(), Channel(new_session(), "events")
        await transport.open(30)
        subscription = await transport.subscribe(channel, Reader(group="desk", start="new"))
        await transport.publish(channel, [Message("m0", b"{}", 0)])
        await transport.drop_group(channel, "desk")
        found = [await subscription.read(10, 0.1) for _ in range(3)]
        assert [one.message.id for batch in found for one in batch] == ["m0"]
        await transport.close()

    run(go())


def test_kafka_without_brokers_or_with_another_program_is_said() -> None:
    async def go() -> None:
        transport = KafkaTransport("127.0.0.1:1")
        with pytest.raises(BusDownError, match="Kafka's brokers must answer, but do not"):
            await transport.open(2)
        await transport.close()
        async with program(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
            transport = KafkaTransport(f"127.0.0.1:{port}")
            with pytest.raises(BusError, match="no other program is at the port"):
                await transport.open(2)
            await transport.close()

    run(go())


def test_many_readers_come_at_once(valkey: ValkeyPlace) -> None:
    async def go() -> None:
        transport, channel = valkey.transport(), Channel(new_session(), "events")
        await transport.open(30)
        await transport.publish(channel, [Message("m0", b"{}", 0)])
        places = [Reader(group=f"group-{number}") for number in range(40)]
        found = await asyncio.gather(*(transport.subscribe(channel, place) for place in places))
        read = await asyncio.gather(*(subscription.read(10, 30) for subscription in found))
        assert [one.message.id for batch in read for one in batch] == ["m0"] * 40
        await transport.close()

    run(go())


# URLs


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost", "redis://localhost:6379"),
        ("valkeys://me@host:7000/", "rediss://me@host:7000"),
        ("kafka://a:9092,b", "kafka://a:9092,b:9092"),
        ("kafkas://me@a:9093?mechanism=PLAIN", "kafkas://me@a:9093"),
        ("memory:here", "memory:here"),
    ],
)
def test_a_url_names_a_transport(url: str, shown: str) -> None:
    assert transport_of(url).url == shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("reddis://host", "must be named as e.g. .* Did you mean 'redis'"),
        ("host:6379", "must be named as e.g."),
        ("redis:host", "must be redis://"),
        ("redis://host:0", "port of 1 to 65535"),
        ("redis://host:port", "port of 1 to 65535"),
        ("redis://host/0/1", "must be redis://"),
        ("redis://host?mechanism=PLAIN", "`mechanism` is for Kafka"),
        ("kafka://host?mechanism=MD5", "`mechanism` must be one of PLAIN"),
    ],
)
def test_a_url_that_names_none_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        transport_of(url)


@pytest.mark.parametrize(
    "url", ["redis://me:geheim@host", "redis://:geheim@host", "kafka://me:geheim@host:1"]
)
def test_a_password_in_a_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="must hold no password") as caught:
        transport_of(url)
    assert "geheim" not in str(caught.value)


# The server of one's own


def test_a_server_of_ones_own_is_found_by_its_folder_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "bus"
    with pytest.raises(BusError, match=r"none does\..*aiopt bus serve"):
        transport_of(f"local:{folder}")
    server = start_local(folder)
    try:
        assert stat.S_IMODE((folder / "server.json").stat().st_mode) == 0o600
        other = LocalServer(folder)
        other.start()
        assert (other.pid, other.port) == (server.pid, server.port)
        other.stop()

        async def go() -> None:
            transport = transport_of(f"local:{folder}")
            assert (await transport.open(30)).durable
            await transport.publish(Channel("s", "events"), [Message("m0", b"{}", 0)])
            await transport.close()

        run(go())
        assert server.password not in repr(server)
        assert server.password not in f"{read_record(folder)!r}"
        assert server.password not in (folder / "valkey.log").read_text()
        assert server.password not in Path(f"/proc/{server.pid}/cmdline").read_text()
    finally:
        server.stop()
    with pytest.raises(BusError, match="none does"):
        transport_of(f"local:{folder}")
    with pytest.raises(BusError, match="not started"):
        _ = server.port


def test_many_processes_at_once_start_one_server(tmp_path: Path) -> None:
    servers = [LocalServer(tmp_path) for _ in range(4)]
    threads = [threading.Thread(target=one.start, args=(60,)) for one in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    try:
        assert len({one.pid for one in servers}) == 1
    finally:
        for one in servers:
            one.stop()


def test_a_server_that_does_not_come_up_tells_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("in the way")
    with pytest.raises(BusError, match=r"must come up, but did not\. Its log ends: .*appendonlydir"):
        LocalServer(tmp_path).start(30)


def test_a_damaged_address_or_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text("{")
    with pytest.raises(DataError, match=r"server\.json: The file is damaged"):
        LocalServer(tmp_path).start()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"is a file, not a folder|cannot be made"):
        LocalServer(tmp_path / "file" / "bus").start()


@pytest.mark.parametrize("session", ["", "a b", "-x", "a/b", "x" * 81, "ü"])
def test_an_id_that_is_no_name_is_refused(session: str) -> None:
    with pytest.raises(ConfigError, match="The id of a session must be 1 to 80 letters"):
        Channel(session, "events")
    with pytest.raises(ConfigError, match="The name of a group or consumer must be 1 to 40"):
        Reader(group=session)


def test_no_server_of_this_module_is_left(valkey: ValkeyPlace) -> None:
    assert os.getpgid(valkey.server.pid) != os.getpgid(0), (
        "an interrupt at the terminal is the session's alone"
    )


def test_a_server_ends_with_the_command_that_keeps_it_also_by_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cluster.cli", "bus", "serve", str(tmp_path / "bus")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "Ctrl-C ends it" in process.stdout.readline()
        record = read_record(tmp_path / "bus")
        assert record is not None
        os.kill(record.pid, 0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(record.pid, 0)


def test_events_are_recorded_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = list(one_of_each())
    url = f"local:{tmp_path / 'bus'}"
    with LocalServer(tmp_path / "bus"):

        async def publish() -> None:
            transport = transport_of(url)
            await transport.open()
            made = [Message(one.id, encode_event(one)) for one in events]
            await transport.publish(Channel(events[0].session, "events"), made)
            await transport.close()

        asyncio.run(publish())
        said = ["bus", "record", url, events[0].session, "--out", str(tmp_path / "journal"), "--seconds", "3"]
        assert main.run(said) == 0
    assert "The journal is in" in capsys.readouterr().err
    assert list((tmp_path / "journal").rglob("*.parquet"))
