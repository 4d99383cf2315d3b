"""One `ray start --block` of this project: what must hold before it, its command, its environment, its wait.

Never imports Ray: the node is a subprocess, so that its environment (token, marker) is exact.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from aiopt.errors import ClusterError, InputError, StorageError
from aiopt.files import GIB, atomic_write_bytes
from aiopt.serving.request_ids import CALLBACK, CALLBACK_VARIABLE
from cluster.ports import is_loopback
from cluster.processes import MARKER, ProcessId, identify, stop_all
from cluster.resources import NodeResources
from cluster.state_folder import LOOPBACK_ONLY, ClusterState, log_path, state_path, token_file

MINIMUM_FREE_BYTES = 2 * GIB
MINIMUM_PYTHON = (3, 11)
REAP_TIMEOUT_S = 5.0


def check_python() -> None:
    """Refuse a Python older than the locks are made for."""
    if sys.version_info < MINIMUM_PYTHON:
        wanted = ".".join(map(str, MINIMUM_PYTHON))
        have = ".".join(map(str, sys.version_info[:3]))
        raise InputError(
            f"Python must be {wanted} or newer, but this is {have}. Use `make PYTHON=python{wanted}`."
        )


def check_space(folder: Path) -> None:
    """Refuse to start with so little disk space that Ray would stop scheduling soon."""
    existing = next(path for path in [folder, *folder.parents] if path.exists())
    free = shutil.disk_usage(existing).free
    if free < MINIMUM_FREE_BYTES:
        msg = (
            f"Ray needs at least {MINIMUM_FREE_BYTES / GIB:.0f} GiB of free disk space, but {existing} has "
            f"{free / GIB:.1f} GiB. Free space, or point TMPDIR to another disk."
        )
        raise StorageError(msg)


@dataclasses.dataclass(frozen=True)
class Start:
    """A `ray start` under way."""

    folder: Path
    process: subprocess.Popen[bytes]
    supervisor: ProcessId
    template: ClusterState  # all but the address

    def record(self, address: str) -> ClusterState:
        """Write what is known to the state folder."""
        state = msgspec.structs.replace(self.template, address=address)
        atomic_write_bytes(state_path(self.folder), msgspec.json.format(msgspec.json.encode(state)))
        return state


def spawn(
    folder: Path,
    role: str,
    url: str,
    temp_dir: Path,
    resources: NodeResources,
    arguments: list[str],
    *,
    host: str,
) -> Start:
    """Start `ray start --block` in a session of its own, marked, its output in the state folder.

    `host` is where the head listens: where that is loopback, so does all of this node.
    """
    shutil.rmtree(temp_dir, ignore_errors=True)
    temp_dir.mkdir(parents=True, mode=0o700)
    cluster_id = secrets.token_hex(8)
    command = [
        *(sys.executable, "-m", _start_module(role, host), "start", "--block", "--disable-usage-stats"),
        *arguments,
        *("--num-cpus", str(resources.num_cpus), "--num-gpus", str(resources.num_gpus)),
        *("--memory", str(resources.memory_bytes)),
        *("--object-store-memory", str(resources.object_store_bytes)),
        # Random worker ports: the default range is shared by all Ray nodes of a machine.
        *("--min-worker-port", "0", "--max-worker-port", "0"),
        # So is the default port of the job agent, without which a head takes no jobs.
        *("--dashboard-agent-listen-port", "0"),
    ]
    if role == "head":
        command += ["--temp-dir", str(temp_dir)]
    with log_path(folder).open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=temp_dir,
            env=_listening(node_environment(folder, cluster_id, temp_dir), role, host),
        )
    supervisor = identify(process.pid)
    if supervisor is None:
        raise ClusterError(_start_failure(folder, f"exited with code {process.wait()}"))
    template = ClusterState(
        cluster_id=cluster_id,
        role=role,
        supervisor=supervisor,
        address="",
        dashboard_url=url,
        temp_dir=str(temp_dir),
        token_path=str(token_file(folder)),
        resources=resources,
    )
    return Start(folder=folder, process=process, supervisor=supervisor, template=template)


def _start_module(role: str, host: str) -> str:
    """Return the module that is `ray start`."""
    joins_loopback = role == "node" and is_loopback(host)
    return "cluster.loopback_node" if joins_loopback else "ray.scripts.scripts"


def _listening(environment: dict[str, str], role: str, host: str) -> dict[str, str]:
    """Return the environment of a node that listens where the head does."""
    found = {name: value for name, value in environment.items() if name not in LOOPBACK_ONLY}
    if not is_loopback(host):
        return found
    if role == "head":
        return found | LOOPBACK_ONLY
    # `cluster.loopback_node` has to be found from Ray's folder, in a checkout too.
    root = str(Path(__file__).resolve().parents[1])
    return found | {"PYTHONPATH": os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))}


def node_environment(folder: Path, cluster_id: str, temp_dir: Path) -> dict[str, str]:
    """Return the environment every process of the node inherits."""
    dropped = {"RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_DASHBOARD_ADDRESS", "RAY_AUTH_TOKEN"}
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment.update(
        {
            MARKER: cluster_id,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token_file(folder)),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(temp_dir),
            # `ray job submit -- python jobs/optimize.py` must find this interpreter, activated or not.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            # Quiet: a warning per worker about CUDA_VISIBLE_DEVICES on machines without a GPU.
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            # Serve must not fail at headers that it cannot read: see the module named.
            CALLBACK_VARIABLE: CALLBACK,
            # Scale the reply to Ctrl-C: a driver needs a moment to write its state.
            "RAY_JOB_STOP_WAIT_TIME_S": "15",
        }
    )
    return environment


def await_start(start: Start, ready: Callable[[], str | None], timeout_s: float) -> ClusterState:
    """Record the process at once, wait until `ready` gives the address, and record that too."""
    # Before the wait: a start that is interrupted must leave behind who to stop.
    start.record("")
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            code = start.process.poll()
            if code is not None:
                raise ClusterError(_start_failure(start.folder, f"exited with code {code}"))
            address = ready()
            if address is not None:
                break
            if time.monotonic() > deadline:
                raise ClusterError(_start_failure(start.folder, f"did not answer within {timeout_s:.0f} s"))
            time.sleep(0.2)
    except BaseException:
        stop_all(start.template.cluster_id, start.supervisor)
        with contextlib.suppress(subprocess.TimeoutExpired):
            # It was ours alone: collect it, or it stays a zombie until this process ends.
            start.process.wait(timeout=REAP_TIMEOUT_S)
        state_path(start.folder).unlink(missing_ok=True)
        raise
    # The node outlives this process on purpose; keep Popen from warning about it.
    start.process.returncode = 0
    return start.record(address)


def _start_failure(folder: Path, what: str) -> str:
    log = log_path(folder)
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "no output"
    return f"The Ray node did not start: `ray start` {what} ({last}). See {log}."
