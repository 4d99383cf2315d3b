"""What the bus costs: events a second and publish to read, with no, one and ten readers, memory and Valkey.

Publisher and readers share one process and one event loop, so that ten readers do ten times the reading
beside the publishing: figures of a session with its readers inside, and an upper bound for what readers
elsewhere cost the publisher.  The Valkey server is the wheel's, on the loopback, with its append-only file on
(`appendfsync everysec`).

*Unpaced*: `AIOPT_BENCH_BUS_EVENTS` signals as fast as they are taken, until the server has all and every
reader has read and acknowledged all.  *Paced*: 200 signals a second; from the clock before `put` to the clock
when a reader has the event decoded.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from aiopt.bus.events import Signal
from aiopt.bus.local_server import LocalServer
from aiopt.bus.memory import MemoryTransport
from aiopt.bus.publisher import EventPublisher
from aiopt.bus.reader import EventReader
from aiopt.bus.streams import RedisTransport
from aiopt.bus.transport import Reader, Transport
from benchmarks._harness import Figure

EVENTS = int(os.environ.get("AIOPT_BENCH_BUS_EVENTS", "20000"))
PACED = 1_000
PER_SECOND = 200
READERS = (0, 1, 10)


def run() -> list[Figure]:
    """Measure and return the figures."""
    figures = [Figure(name="events", value=EVENTS, unit="events")]
    with tempfile.TemporaryDirectory() as folder, LocalServer(Path(folder)) as server:
        ways: dict[str, Transport] = {
            "memory": MemoryTransport("benchmark"),
            "valkey": RedisTransport("127.0.0.1", server.port, password=server.password),
        }
        for name, transport in ways.items():
            figures += asyncio.run(_measured(name, transport))
    return figures


async def _measured(name: str, transport: Transport) -> list[Figure]:
    await transport.open(30)
    figures = []
    for readers in READERS:
        await _passed(transport, f"{name}-{readers}-warm", readers, 500, None)
        seconds, _ = await _passed(transport, f"{name}-{readers}-all", readers, EVENTS, None)
        rate = round(EVENTS / seconds)
        figures.append(Figure(name=f"{name}_{readers}_readers_unpaced", value=rate, unit="events/s"))
        if readers:
            _, taken = await _passed(transport, f"{name}-{readers}-paced", readers, PACED, PER_SECOND)
            cuts = statistics.quantiles(taken, n=100)
            for share, value in (("p50", cuts[49]), ("p99", cuts[98])):
                label = f"{name}_{readers}_readers_publish_to_read_{share}"
                figures.append(Figure(name=label, value=round(value, 3), unit="ms"))
    await transport.close()
    return figures


async def _passed(
    transport: Transport, session: str, readers: int, count: int, per_second: int | None
) -> tuple[float, list[float]]:
    """Publish events to readers; return the seconds until all have all, and what each event took in ms."""
    taken: list[float] = []

    async def read(number: int) -> int:
        place = Reader(group=f"group-{number}")
        seen = 0
        async with EventReader(transport, session, place) as reader:
            ready.append(number)
            while seen < count:
                received = await reader.read()
                now = time.time_ns()
                taken.extend((now - one.event.wall_ns) / 1e6 for one in received if one.event is not None)
                seen += len(received)
                await reader.ack(received)
        return seen

    ready: list[int] = []
    tasks = [asyncio.create_task(read(number)) for number in range(readers)]
    while len(ready) < readers:
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in tasks), "a reader ended before it began"
    started = time.perf_counter()
    async with EventPublisher(transport, session) as publisher:
        for seq in range(count):
            await publisher.put(_signal(session, seq))
            if per_second is not None:
                await asyncio.sleep(max(0.0, started + (seq + 1) / per_second - time.perf_counter()))
            elif seq % 100 == 99:
                await asyncio.sleep(0)
        assert await publisher.flush(600)
        assert publisher.health.published == count
        counted = await asyncio.gather(*tasks)
        seconds = time.perf_counter() - started
    assert counted == [count] * readers
    return seconds, taken


def _signal(session: str, seq: int) -> Signal:
    now = time.time_ns()
    return Signal(
        id=f"{session}:{seq}",
        session=session,
        seq=seq,
        ts_ns=now,
        wall_ns=now,
        strategy="rsi",
        series="EURUSD-1m",
        bar_ns=now,
        action="enter_long",
        values={"rsi": 28.4},
    )
