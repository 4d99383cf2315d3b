"""A local Ray node with token authentication: start, reuse, join, stop.

Owns the project's state folder (``.aiopt``: token, state file, log) and the rule that only what was started
here is stopped here.  Knows nothing of jobs and never imports Ray: the node is a subprocess, so that its
environment (token, marker) is exact.
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from aiopt.errors import ClusterError, InputError, StorageError
from aiopt.files import GIB, atomic_write_bytes, file_lock
from aiopt.serving.request_ids import CALLBACK, CALLBACK_VARIABLE
from cluster.processes import MARKER, ProcessId, identify, is_running, marked, stop_all
from cluster.resources import NodeResources

DEFAULT_STATE_DIR = Path(".aiopt")
STATE_DIR_VARIABLE = "AIOPT_STATE_DIR"
DASHBOARD_PORTS = range(8265, 8365)
MINIMUM_FREE_BYTES = 2 * GIB
MINIMUM_PYTHON = (3, 11)
START_TIMEOUT_S = 90.0
LOOPBACK = "127.0.0.1"

_PORT_TAKEN = ("address already in use", "already occupied")
"""What `ray start` says last when its dashboard finds its port taken, on binding it or on checking before."""


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """What was started and how to reach it: content of ``STATE_DIR/cluster.json``.

    Attributes
    ----------
    cluster_id : str
        Random value of the marker variable of all its processes.
    role : str
        ``"head"`` or ``"node"``.
    supervisor : ProcessId
        The `ray start --block` process.
    address : str
        ``host:port`` of Ray's control service, for `ray start --address` and `ray.init`.
    dashboard_url : str
        Jobs API and dashboard; empty for a node.
    temp_dir : str
        Ray's folder of sessions, logs and sockets.
    token_path : str
        File with the authentication token.
    resources : NodeResources
        What it offers.
    """

    cluster_id: str
    role: str
    supervisor: ProcessId
    address: str
    dashboard_url: str
    temp_dir: str
    token_path: str
    resources: NodeResources


class ClusterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What `status` found.

    Attributes
    ----------
    state : ClusterState or None
        None when nothing was started from this state folder.
    alive : bool
        The supervisor runs.
    responding : bool
        The Jobs API answers with this token (for a node: same as `alive`).
    """

    state: ClusterState | None
    alive: bool
    responding: bool


class DownReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `down` did: whether something ran, and how many processes ignored the polite signal."""

    stopped: bool
    killed: int
    address: str


def state_dir(path: Path | None = None) -> Path:
    """Return the state folder: argument, else ``AIOPT_STATE_DIR``, else ``.aiopt`` here."""
    return (path or Path(os.environ.get(STATE_DIR_VARIABLE) or DEFAULT_STATE_DIR)).resolve()


def read_token(folder: Path) -> str:
    """Return the token of a state folder, creating it (mode 0600) when there is none."""
    path = _token_path(folder)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(32))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    token = path.read_text().strip()
    if len(token) < 16:
        msg = f"The token must have at least 16 characters, but {path} has {len(token)}. Delete the file."
        raise ClusterError(msg)
    return token


def client_environment(state: ClusterState) -> dict[str, str]:
    """Return the variables with which `ray job submit`, `ray.init` and `ray start` reach this cluster."""
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": state.token_path,
        "RAY_ADDRESS": state.address,
        # A driver decides for itself: with it on, Ray Data starts one more actor and asks Prometheus.
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    if state.dashboard_url:
        environment["RAY_API_SERVER_ADDRESS"] = state.dashboard_url
        # The same for `serve deploy|status`, which would ask port 8265.
        environment["RAY_DASHBOARD_ADDRESS"] = state.dashboard_url
    return environment


def up(
    folder: Path,
    resources: NodeResources,
    *,
    dashboard_port: int | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> tuple[ClusterState, bool]:
    """Start a Ray head on this machine, or return the one already running.

    Parameters
    ----------
    folder : Path
        State folder.
    resources : NodeResources
        What the node offers; ignored when the cluster already runs.
    dashboard_port : int, optional
        Fixed port of dashboard and Jobs API on loopback.  By default the first free one from 8265 on.
    timeout_s : float
        Seconds until a head that does not answer counts as failed.

    Returns
    -------
    state : ClusterState
        How to reach it.
    started : bool
        False if a running cluster was reused.

    Raises
    ------
    InputError
        If this Python is too old.
    ClusterError
        If no port is free or Ray does not come up.
    StorageError
        If there is no disk space.
    """
    check_python()
    with _locked(folder):
        found = status(folder)
        if found.alive and found.responding and found.state is not None:
            return found.state, False
        _clear(folder, found)
        token = read_token(folder)
        temp_dir = _temp_dir(folder)
        check_space(temp_dir)
        candidates = DASHBOARD_PORTS
        while True:
            port = choose_dashboard_port(dashboard_port, candidates)
            try:
                return _start_head(folder, resources, temp_dir, port, token, timeout_s), True
            except ClusterError as error:
                # Another cluster that started at the same moment took the port first: try the next one.
                taken = any(text in str(error) for text in _PORT_TAKEN)
                if dashboard_port is not None or not taken:
                    raise
                candidates = range(port + 1, DASHBOARD_PORTS.stop)


def _start_head(
    folder: Path, resources: NodeResources, temp_dir: Path, port: int, token: str, timeout_s: float
) -> ClusterState:
    arguments = [
        *("--head", "--port", "0"),
        *("--include-dashboard", "true", "--dashboard-host", LOOPBACK, "--dashboard-port", str(port)),
        *("--ray-client-server-port", str(free_port())),
    ]
    url = f"http://{LOOPBACK}:{port}"
    start = _spawn(folder, "head", url, temp_dir, resources, arguments)

    def ready() -> str | None:
        address_file = temp_dir / "ray_current_cluster"
        if not address_file.exists() or not jobs_api_answers(url, token):
            return None
        return address_file.read_text().strip()

    return _await_start(start, ready, timeout_s)


def join(
    folder: Path,
    resources: NodeResources,
    *,
    address: str,
    token_path: Path | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> tuple[ClusterState, bool]:
    """Start a Ray node on this machine that joins a running head.

    Parameters
    ----------
    folder : Path
        State folder of this node; not the head's when both run on one machine.
    resources : NodeResources
        What the node offers.
    address : str
        ``host:port`` that `aiopt cluster status` of the head prints.
    token_path : Path, optional
        Copy of the head's token file; it is copied into `folder`.  Not needed when already there.

    Raises
    ------
    ClusterError
        If the head cannot be reached or refuses the token.
    """
    check_python()
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(
            f"The address must be HOST:PORT, but got {address!r}. `aiopt cluster status` prints it."
        )
    with _locked(folder):
        found = status(folder)
        if found.alive and found.state is not None:
            if found.state.role == "node" and found.state.address == address:
                return found.state, False
            msg = (
                f"A state folder must hold one node, but {folder} already runs a {found.state.role} at "
                f"{found.state.address}. Run `aiopt cluster down` first, or choose another --state-dir."
            )
            raise InputError(msg)
        _clear(folder, found)
        _take_token(folder, token_path)
        if not _port_open(host, int(port)):
            raise ClusterError(f"A Ray head must listen at {address}, but nothing does. Check the address.")
        temp_dir = _temp_dir(folder)
        check_space(temp_dir)
        start = _spawn(folder, "node", "", temp_dir, resources, ["--address", address])

        def ready() -> str | None:
            return address if "Ray runtime started" in _log_path(folder).read_text() else None

        return _await_start(start, ready, timeout_s), True


def down(folder: Path) -> DownReport:
    """Stop what `up` or `join` started from this state folder, and nothing else."""
    with _locked(folder):
        found = status(folder)
        if found.state is None:
            return DownReport(stopped=False, killed=0, address="")
        ran = found.alive or bool(marked(found.state.cluster_id))
        killed = stop_all(found.state.cluster_id, found.state.supervisor)
        _state_path(folder).unlink(missing_ok=True)
        return DownReport(stopped=ran, killed=killed, address=found.state.address)


def status(folder: Path) -> ClusterStatus:
    """Tell what this state folder started and whether it still runs and answers."""
    path = _state_path(folder)
    if not path.exists():
        return ClusterStatus(state=None, alive=False, responding=False)
    try:
        state = msgspec.json.decode(path.read_bytes(), type=ClusterState)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        msg = f"The cluster state must be readable, but {path} is not ({error}). Delete the file."
        raise ClusterError(msg) from error
    alive = is_running(state.supervisor)
    if not alive or state.role == "node":
        return ClusterStatus(state=state, alive=alive, responding=alive)
    deadline = time.monotonic() + 10.0
    token = read_token(folder)
    while not (answers := jobs_api_answers(state.dashboard_url, token)) and time.monotonic() < deadline:
        if not is_running(state.supervisor):
            return ClusterStatus(state=state, alive=False, responding=False)
        time.sleep(0.5)
    return ClusterStatus(state=state, alive=True, responding=answers)


def jobs_api_answers(url: str, token: str | None) -> bool:
    """Tell whether the Jobs API at `url` accepts this token."""
    return jobs_api_status(url, token) == http.client.OK


def jobs_api_status(url: str, token: str | None) -> int:
    """Return the HTTP status of the Jobs API's version page, 0 when nothing answers."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        connection.request("GET", "/api/version", headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


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


def choose_dashboard_port(wanted: int | None, candidates: range = DASHBOARD_PORTS) -> int:
    """Return the wanted port, or the first free candidate.

    Raises
    ------
    ClusterError
        If the wanted port, or every candidate, is taken.
    """
    if wanted is not None:
        if not _port_free(wanted):
            msg = f"The dashboard port must be free, but {wanted} is in use. Choose another --dashboard-port."
            raise ClusterError(msg)
        return wanted
    for port in candidates:
        if _port_free(port):
            return port
    msg = (
        f"One port of {candidates.start}-{candidates.stop - 1} must be free for the dashboard, but all are "
        "in use. Stop what holds them, or choose another --dashboard-port."
    )
    raise ClusterError(msg)


def free_port() -> int:
    """Return a port nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _port_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _port_open(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except OSError:
        return False


@dataclasses.dataclass(frozen=True)
class _Start:
    """A `ray start` under way."""

    folder: Path
    process: subprocess.Popen[bytes]
    supervisor: ProcessId
    template: ClusterState  # all but the address

    def record(self, address: str) -> ClusterState:
        state = msgspec.structs.replace(self.template, address=address)
        atomic_write_bytes(_state_path(self.folder), msgspec.json.format(msgspec.json.encode(state)))
        return state


def _spawn(
    folder: Path, role: str, url: str, temp_dir: Path, resources: NodeResources, arguments: list[str]
) -> _Start:
    """Start `ray start --block` in a session of its own, marked, its output in the state folder."""
    shutil.rmtree(temp_dir, ignore_errors=True)
    temp_dir.mkdir(parents=True, mode=0o700)
    cluster_id = secrets.token_hex(8)
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
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
    with _log_path(folder).open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=temp_dir,
            env=_node_environment(folder, cluster_id, temp_dir),
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
        token_path=str(_token_path(folder)),
        resources=resources,
    )
    return _Start(folder=folder, process=process, supervisor=supervisor, template=template)


def _node_environment(folder: Path, cluster_id: str, temp_dir: Path) -> dict[str, str]:
    """Return the environment every process of the node inherits."""
    dropped = {"RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_DASHBOARD_ADDRESS", "RAY_AUTH_TOKEN"}
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment.update(
        {
            MARKER: cluster_id,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(_token_path(folder)),
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


def _await_start(start: _Start, ready: Callable[[], str | None], timeout_s: float) -> ClusterState:
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
        _state_path(start.folder).unlink(missing_ok=True)
        raise
    # The node outlives this process on purpose; keep Popen from warning about it.
    start.process.returncode = 0
    return start.record(address)


def _start_failure(folder: Path, what: str) -> str:
    log = _log_path(folder)
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "no output"
    return f"The Ray node must come up, but `ray start` {what} ({last}). See {log}."


def _clear(folder: Path, found: ClusterStatus) -> None:
    """Remove a cluster that is dead or does not answer, together with its leftovers."""
    if found.state is not None:
        stop_all(found.state.cluster_id, found.state.supervisor)
        _state_path(folder).unlink(missing_ok=True)


def _take_token(folder: Path, token_path: Path | None) -> None:
    if token_path is not None:
        if not token_path.is_file():
            raise InputError(
                f"The token file must exist, but {token_path} does not. Copy the head's .aiopt/token."
            )
        if token_path.resolve() != _token_path(folder):
            atomic_write_bytes(_token_path(folder), token_path.read_bytes())
            _token_path(folder).chmod(0o600)
    elif not _token_path(folder).exists():
        msg = (
            f"A node needs the head's token, but {_token_path(folder)} does not exist. "
            "Copy the head's .aiopt/token and give it as --token-file."
        )
        raise InputError(msg)
    read_token(folder)


def _state_path(folder: Path) -> Path:
    return folder / "cluster.json"


def _token_path(folder: Path) -> Path:
    return folder / "token"


def _log_path(folder: Path) -> Path:
    return folder / "ray.log"


def _temp_dir(folder: Path) -> Path:
    """Return Ray's folder for this state folder.

    It is short, because Unix sockets below it may have paths of 107 bytes only, and differs between projects
    and users.
    """
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    path = Path(tempfile.gettempdir()) / f"aiopt-{os.getuid()}-{name}"
    if len(str(path)) > 40:
        path = Path("/tmp") / path.name
    return path


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time start or stop from this state folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        msg = f"The state folder must be writable, but {folder} is not ({error.strerror}). Use --state-dir."
        raise StorageError(msg) from error
    with file_lock(folder / "lock"):
        yield
