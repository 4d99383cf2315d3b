"""The server of faults, and a download from it into folders of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.ticks.download.faulty_server import (
    Client,
    Server,
)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.released.set()
        found.gate.set()
        found.shutdown()
        thread.join(10)


@pytest.fixture
def download(server: Server, tmp_path: Path) -> Client:
    return Client(server, tmp_path)
