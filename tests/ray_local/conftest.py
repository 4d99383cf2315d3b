"""One real Ray head for all tests of this folder, with explicit limits; nothing may stay behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiopt.files import GIB, MIB
from cluster import lifecycle, node_process
from cluster.connection import keep_loopback
from cluster.processes import marked
from cluster.resources import NodeResources

MEASURING = ("COVERAGE_PROCESS_START", "COVERAGE_FILE")
"""Variables that make a Python process record the lines it runs."""

HEAD = NodeResources(num_cpus=2, num_gpus=0, memory_bytes=3 * GIB, object_store_bytes=300 * MIB)


@pytest.fixture(scope="session", autouse=True)
def unmeasured_daemons() -> Iterator[None]:
    """Start Ray's own processes without coverage; drivers, commands and workers are measured.

    Daemons run no line of this project.  A raylet waits only so long for its Python agents, and coverage
    makes them start half as slow again.  On a busy machine the raylet then gives up ("Timed out waiting for
    file …/metrics_agent_port…"), and a driver whose raylet is gone ends without a word.
    """
    environment_of = node_process.node_environment

    def environment(*arguments: Any) -> dict[str, str]:
        found = environment_of(*arguments)
        return {name: value for name, value in found.items() if name not in MEASURING}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node_process, "node_environment", environment)
        yield


@pytest.fixture(scope="session")
def ray_head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lifecycle.ClusterState]:
    """A Ray head with token authentication, stopped at the end of the session."""
    folder = tmp_path_factory.mktemp("head")
    state, started = lifecycle.up(folder, HEAD)
    assert started
    yield state
    lifecycle.down(folder)
    deadline = time.monotonic() + 10
    while marked(state.cluster_id) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert marked(state.cluster_id) == [], "Ray processes that these tests started are still running"


@pytest.fixture(scope="session")
def ray_driver(ray_head: lifecycle.ClusterState) -> Iterator[lifecycle.ClusterState]:
    """This process connected to `ray_head` as a driver."""
    before = dict(os.environ)
    os.environ.update(lifecycle.client_environment(ray_head))
    import ray
    from ray._raylet import AuthenticationTokenLoader, Config

    # Ray reads mode and token once per process; another test may have made it do so before now.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    keep_loopback(ray_head.address)
    root = str(Path(__file__).resolve().parents[2])
    measuring = {name: os.environ[name] for name in MEASURING if name in os.environ}
    ray.init(
        address=ray_head.address,
        namespace="tests",
        log_to_driver=False,
        logging_level="warning",
        runtime_env={"env_vars": {"PYTHONPATH": root, **measuring}},
    )
    yield ray_head
    ray.shutdown()
    os.environ.clear()
    os.environ.update(before)
