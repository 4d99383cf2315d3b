"""One served endpoint for all tests of this folder, started by the command line; nothing may stay behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from aiopt.serving.backend import Operation, OperationKind
from aiopt.serving.endpoint import AdminClient, read_token
from cluster import lifecycle
from cluster.ports import free_port
from cluster.processes import ProcessId, marked

ROOT = Path(__file__).resolve().parents[2]
SECOND = "tiny:vision:2"
"""The checkpoint that tests swap to."""
LIMITS = ("--num-cpus", "2", "--memory-gib", "4", "--object-store-gib", "0.3")


class Served:
    """The endpoint under test."""

    def __init__(self, folder: Path, url: str, cluster_id: str) -> None:
        self.folder, self.url, self.cluster_id = folder, url, cluster_id
        self.token = read_token(folder, "api")
        self.admin = AdminClient(url, read_token(folder, "admin"))
        self.client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {self.token}"}, timeout=180
        )
        # Loads on the second core while the tests of the HTTP surface run; what serves stays as it is.
        self.second = self.admin.begin("load", model="minicpm", checkpoint=SECOND)

    def swap(self, source: str, kind: OperationKind = "swap") -> Operation:
        return self.wait(self.admin.begin(kind, model="minicpm", checkpoint=source))

    def wait(self, operation: Operation) -> Operation:
        for current in self.admin.follow(operation):
            operation = current
        return operation

    def revision(self) -> str:
        (card,) = self.admin.status().cards
        return card.revision

    def processes(self, word: str) -> list[ProcessId]:
        """Processes of this cluster with a word in their command line."""
        found = []
        for process in marked(self.cluster_id):
            try:
                text = Path(f"/proc/{process.pid}/cmdline").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if word in text:
                found.append(process)
        return found

    def resident_bytes(self) -> int:
        """Memory of the endpoint's own processes: engines, gateway, coordinator, proxy, controller.

        Anonymous memory alone: what of the libraries counts depends on who else has them mapped.
        """
        total = 0
        for word in ("VLLM::", "ServeReplica", "ProxyActor", "ServeController"):
            for process in self.processes(word):
                fields = Path(f"/proc/{process.pid}/smaps_rollup").read_text().split()
                total += int(fields[fields.index("Pss_Anon:") + 1]) * 1024
        return total


def aiopt(*arguments: str, timeout_s: float = 400) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "cluster.cli", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serving")
    state_dir = ("--state-dir", str(folder))
    port = str(free_port())
    cluster = None
    try:
        try:
            done = aiopt("serve", "up", "--profile", "test", "--port", port, *state_dir, *LIMITS, "--json")
        finally:
            # Also where starting took too long: what runs then has to be stopped.
            cluster = lifecycle.status(folder).state
        assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
        report = json.loads(done.stdout)
        assert cluster is not None
        server = Served(folder, report["url"], cluster.cluster_id)
        yield server
        server.client.close()
        server.admin.close()
    finally:
        down = aiopt("serve", "down", *state_dir, "--json")
        if cluster is not None:
            deadline = time.monotonic() + 10
            while marked(cluster.cluster_id) and time.monotonic() < deadline:
                time.sleep(0.2)
            left = [Path(f"/proc/{process.pid}/cmdline") for process in marked(cluster.cluster_id)]
            lifecycle.down(folder)
            assert left == [], "processes that these tests started were still running"
    assert json.loads(down.stdout)["stopped_cluster"]
