"""Starting, reusing, joining and stopping a real Ray node."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aiopt.errors import ClusterError, InputError, StorageError
from aiopt.files import GIB, MIB
from cluster import lifecycle, node_process, ports
from cluster.lifecycle import client_environment, down, join, status, up
from cluster.listening import listeners
from cluster.processes import identify, is_running, marked
from cluster.resources import NodeResources

SMALL = NodeResources(num_cpus=1, num_gpus=0, memory_bytes=1 * GIB, object_store_bytes=100 * MIB)


def test_head_refuses_strangers_and_accepts_the_token(ray_head: lifecycle.ClusterState) -> None:
    token = Path(ray_head.token_path).read_text()
    assert ports.jobs_api_status(ray_head.dashboard_url, None) == 401
    assert ports.jobs_api_status(ray_head.dashboard_url, "0" * 64) == 403
    assert ports.jobs_api_status(ray_head.dashboard_url, token) == 200
    assert Path(ray_head.token_path).stat().st_mode & 0o777 == 0o600


def test_dashboard_listens_on_loopback_only(ray_head: lifecycle.ClusterState) -> None:
    port = int(ray_head.dashboard_url.rpartition(":")[2])
    listening = {
        line.split()[1].split(":")[0]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].split(":")[1], 16) == port
    }
    assert listening == {"0100007F"}


def test_a_head_for_this_machine_alone_listens_on_loopback_alone(ray_driver: lifecycle.ClusterState) -> None:
    """Every socket of every process of the cluster, workers with an actor among them."""
    import ray

    @ray.remote(num_cpus=0)
    class Waiting:
        def pid(self) -> int:
            return os.getpid()

    waiting = Waiting.remote()  # type: ignore[attr-defined]
    worker = ray.get(waiting.pid.remote())
    found = listeners(marked(ray_driver.cluster_id))
    open_ones = [each for each in found if not each.is_local]
    ray.kill(waiting)
    assert open_ones == []
    # The control service, the raylet's, the agents', the dashboard, the worker's own: none was overlooked.
    assert len(found) >= 10
    assert worker in {each.pid for each in found}
    assert ray_driver.address.startswith("127.0.0.1:")


def test_a_running_head_is_not_opened_afterwards(ray_head: lifecycle.ClusterState) -> None:
    with pytest.raises(InputError, match=r"listens on 127\.0\.0\.1, but got --host 192\..*cluster down"):
        up(Path(ray_head.token_path).parent, SMALL, host="192.0.2.7")


def test_host_opens_a_head_on_the_address_it_names(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Sends nothing: it only asks which address of this machine leads elsewhere.
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError as error:
            pytest.skip(f"this machine has no address but loopback: {error}")
        host = probe.getsockname()[0]
    if ports.is_loopback(host):
        pytest.skip("this machine has no address but loopback")
    state, _ = up(tmp_path, SMALL, host=host)
    try:
        assert state.address.startswith(f"{host}:")
        assert ports.port_open(host, int(state.address.rpartition(":")[2]))
        # Whoever comes from elsewhere still finds no dashboard and no Jobs API.
        assert not ports.port_open(host, int(state.dashboard_url.rpartition(":")[2]))
    finally:
        down(tmp_path)
    # Nothing lingers, whatever became of its environment: command lines name the session's folder.
    lines = [each.read_bytes() for each in Path("/proc").glob("[0-9]*/cmdline") if each.exists()]
    assert [line for line in lines if state.temp_dir.encode() in line] == []


def test_driver_without_the_token_is_refused(ray_head: lifecycle.ClusterState, tmp_path: Path) -> None:
    environment = {**os.environ, **client_environment(ray_head)}
    environment["RAY_AUTH_TOKEN_PATH"] = str(tmp_path / "wrong")
    (tmp_path / "wrong").write_text("f" * 64)
    code = f"import ray; ray.init(address={ray_head.address!r}, log_to_driver=False)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "token" in done.stderr.lower()


def test_second_up_reuses_the_running_head(ray_head: lifecycle.ClusterState) -> None:
    folder = Path(ray_head.token_path).parent
    state, started = up(folder, SMALL)
    assert not started
    assert state == ray_head


def test_node_joins_works_and_leaves_while_the_head_stays(
    ray_driver: lifecycle.ClusterState, tmp_path: Path
) -> None:
    import ray

    state, started = join(tmp_path, SMALL, address=ray_driver.address, token_path=Path(ray_driver.token_path))
    try:
        assert started
        assert join(tmp_path, SMALL, address=ray_driver.address) == (state, False)
        assert len([node for node in ray.nodes() if node["Alive"]]) == 2
    finally:
        assert down(tmp_path).stopped
    assert marked(state.cluster_id) == []
    assert is_running(ray_driver.supervisor)
    assert not down(tmp_path).stopped


def test_join_needs_the_token(ray_head: lifecycle.ClusterState, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs the head's token.*--token-file"):
        join(tmp_path, SMALL, address=ray_head.address)


def test_join_where_nothing_listens(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("0" * 32)
    with pytest.raises(ClusterError, match=r"No Ray head listens at 127\.0\.0\.1:1"):
        join(tmp_path / "node", SMALL, address="127.0.0.1:1", token_path=tmp_path / "t")


def test_killed_head_is_cleared_and_started_anew(tmp_path: Path) -> None:
    first, _ = up(tmp_path, SMALL)
    try:
        os.kill(first.supervisor.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while is_running(first.supervisor) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not status(tmp_path).alive
        second, started = up(tmp_path, SMALL)
        assert started
        assert second.cluster_id != first.cluster_id
        assert marked(first.cluster_id) == []
    finally:
        down(tmp_path)
    assert status(tmp_path).state is None


def test_state_of_a_reused_pid_does_not_kill_the_new_process(tmp_path: Path) -> None:
    """The state names this very process's pid with another start time: `down` must leave it alone."""
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        identity = identify(bystander.pid)
        assert identity is not None
        state = {
            "cluster_id": "0123456789abcdef",
            "role": "head",
            "supervisor": {
                "pid": bystander.pid,
                "start_ticks": identity.start_ticks - 1,
                "boot_id": identity.boot_id,
            },
            "address": "127.0.0.1:1",
            "dashboard_url": "http://127.0.0.1:1",
            "temp_dir": str(tmp_path),
            "token_path": str(tmp_path / "token"),
            "resources": {"num_cpus": 1, "num_gpus": 0, "memory_bytes": 1, "object_store_bytes": 1},
        }
        (tmp_path / "cluster.json").write_text(json.dumps(state))
        assert not status(tmp_path).alive
        report = down(tmp_path)
        assert not report.stopped
        assert bystander.poll() is None
        assert not (tmp_path / "cluster.json").exists()
    finally:
        bystander.kill()
        bystander.wait()


def test_wanted_dashboard_port_in_use() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ClusterError, match=f"{port} is in use"):
            ports.choose_dashboard_port(port)
        with pytest.raises(ClusterError, match="all are in use"):
            ports.choose_dashboard_port(None, range(port, port + 1))


def test_port_taken_between_choosing_and_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        held = holder.getsockname()[1]
        really_free = ports.port_free
        monkeypatch.setattr(ports, "DASHBOARD_PORTS", range(held, held + 50))
        monkeypatch.setattr(ports, "port_free", lambda port: port == held or really_free(port))
        state, started = up(tmp_path, SMALL)
        down(tmp_path)
    assert started
    assert not state.dashboard_url.endswith(f":{held}")


def test_no_disk_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_process, "MINIMUM_FREE_BYTES", 1 << 60)
    with pytest.raises(StorageError, match="free disk space"):
        up(tmp_path, SMALL)
    assert status(tmp_path).state is None


def test_old_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(node_process, "MINIMUM_PYTHON", (9, 9))
    with pytest.raises(InputError, match=r"Python must be 9\.9 or newer"):
        up(tmp_path, SMALL)


def test_failed_start_names_the_reason_and_leaves_nothing(tmp_path: Path) -> None:
    impossible = NodeResources(num_cpus=1, num_gpus=0, memory_bytes=1 * GIB, object_store_bytes=1)
    with pytest.raises(ClusterError, match=r"`ray start` exited with code .*ray\.log"):
        up(tmp_path, impossible)
    assert status(tmp_path).state is None


def test_token_file_is_made_private_again(tmp_path: Path) -> None:
    token = lifecycle.read_token(tmp_path)
    (tmp_path / "token").chmod(0o644)
    assert lifecycle.read_token(tmp_path) == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_unreadable_state(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("{")
    with pytest.raises(ClusterError, match="Cannot read the state of the cluster"):
        status(tmp_path)
