"""Servers for the tests of the bus: each started once a module, and ended after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.bus.servers import KafkaPlace, MemoryPlace, Place, ValkeyPlace


@pytest.fixture(scope="module", params=["memory", "valkey", pytest.param("kafka", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Return one kind of bus after the other."""
    found: Place
    if request.param == "memory":
        found = MemoryPlace()
    elif request.param == "valkey":
        found = ValkeyPlace(tmp_path_factory.mktemp("valkey"))
    else:
        found = KafkaPlace()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyPlace]:
    """Return a Valkey server alone."""
    found = ValkeyPlace(tmp_path_factory.mktemp("valkey"))
    yield found
    found.stop()
