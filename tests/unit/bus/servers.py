"""What the contract suite runs through: each kind of bus with its server, and what can be done to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

from aiopt.bus.kafka import KafkaTransport
from aiopt.bus.local_server import LocalServer
from aiopt.bus.memory import MemoryTransport
from aiopt.bus.streams import RedisTransport
from aiopt.bus.transport import Transport

HERE = Path(__file__).resolve().parent


class Place(Protocol):
    """One kind of bus, running."""

    name: str
    # It can be frozen and killed: it is a process.
    has_server: bool
    # What it holds outlives its own death.
    durable: bool
    # It refuses a number that is there already.
    refuses_repeats: bool
    # It holds a number of messages and says when that is reached.
    limits: bool

    def transport(self, *, limit: int = 1_000_000) -> Transport: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...

    def kill(self) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


class MemoryPlace:
    """This process."""

    name, has_server, durable, refuses_repeats, limits = "memory", False, False, True, True

    def transport(self, *, limit: int = 1_000_000) -> Transport:
        return MemoryTransport("contract", limit=limit)

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...

    def kill(self) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


class ValkeyPlace:
    """A Valkey server from its wheel."""

    name, has_server, durable, refuses_repeats, limits = "valkey", True, True, True, True

    def __init__(self, folder: Path) -> None:
        self.server = LocalServer(folder)
        self.server.start(60)

    def transport(self, *, limit: int = 1_000_000) -> Transport:
        return RedisTransport("127.0.0.1", self.server.port, password=self.server.password, limit=limit)

    def freeze(self) -> None:
        freeze(self.server.pid)

    def thaw(self) -> None:
        os.kill(self.server.pid, signal.SIGCONT)

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        # The same address: a server that was killed is started again where it was.
        before = self.server.port, self.server.password
        self.server.start(60)
        assert (self.server.port, self.server.password) == before

    def stop(self) -> None:
        self.server.stop()


class KafkaPlace:
    """librdkafka's mock cluster, which keeps all in memory: it can be frozen, not started again."""

    name, has_server, durable, refuses_repeats, limits = "kafka", True, False, False, False

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "kafka_cluster.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.servers = self.process.stdout.readline().strip()
        assert ":" in self.servers, "the mock cluster did not come up"

    def transport(self, *, limit: int = 1_000_000) -> Transport:
        del limit
        return KafkaTransport(self.servers)

    def freeze(self) -> None:
        freeze(self.process.pid)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


def freeze(pid: int) -> None:
    """Stop a process and wait until it stands still."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)


def new_session() -> str:
    """Return an id that no other test has."""
    return f"s{time.time_ns()}"
