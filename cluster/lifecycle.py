"""A local Ray node with token authentication: start, reuse, join, stop.

Owns the rule that only what was started from a state folder is stopped from it.  Knows nothing of jobs and
never imports Ray.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from aiopt.errors import ClusterError, InputError, StorageError
from aiopt.files import atomic_write_bytes, file_lock
from cluster import ports
from cluster.leftovers import clear_leftovers
from cluster.node_process import Start, await_start, check_python, check_space, spawn
from cluster.processes import is_running, marked, stop_all
from cluster.resources import NodeResources
from cluster.state_folder import (
    ClusterState,
    client_environment,
    log_path,
    ray_folder,
    read_token,
    state_dir,
    state_path,
    token_file,
)

__all__ = [
    "ClusterState",
    "ClusterStatus",
    "DownReport",
    "client_environment",
    "down",
    "join",
    "read_token",
    "state_dir",
    "status",
    "up",
]

START_TIMEOUT_S = 90.0

_PORT_TAKEN = ("address already in use", "already occupied")
"""What `ray start` says last when its dashboard finds its port taken, on binding it or on checking before."""


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


def up(
    folder: Path,
    resources: NodeResources,
    *,
    host: str | None = None,
    dashboard_port: int | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> tuple[ClusterState, bool]:
    """Start a Ray head on this machine, or return the one already running.

    Without `host` nothing of it can be reached from another machine: every port is bound to 127.0.0.1.

    Parameters
    ----------
    folder : Path
        State folder.
    resources : NodeResources
        What the node offers; ignored when the cluster already runs.
    host : str, optional
        Address of this machine under which other machines may join; opens Ray's ports on every address.
        Dashboard and Jobs API stay on loopback.
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
        If this Python is too old, `host` is no address of this machine, or a head that is not open runs.
    ClusterError
        If no port is free or Ray does not come up.
    StorageError
        If there is no disk space.
    """
    check_python()
    with _locked(folder):
        found = status(folder)
        if found.alive and found.responding and found.state is not None:
            _check_open(folder, found.state, host)
            return found.state, False
        _clear(folder, found)
        if host is not None:
            ports.check_host(host)
        clear_leftovers()
        token = read_token(folder)
        temp_dir = ray_folder(folder)
        check_space(temp_dir)
        candidates = ports.DASHBOARD_PORTS
        while True:
            port = ports.choose_dashboard_port(dashboard_port, candidates)
            try:
                start = _spawn_head(folder, resources, temp_dir, port, host or ports.LOOPBACK)
                return await_start(start, _head_ready(start, token), timeout_s), True
            except ClusterError as error:
                # Another cluster that started at the same moment took the port first: try the next one.
                taken = any(text in str(error) for text in _PORT_TAKEN)
                if dashboard_port is not None or not taken:
                    raise
                candidates = range(port + 1, ports.DASHBOARD_PORTS.stop)


def _check_open(folder: Path, state: ClusterState, host: str | None) -> None:
    """Refuse to take a head that listens elsewhere than `host` for one that listens there."""
    listens = state.address.rpartition(":")[0]
    if host is not None and host != listens:
        msg = (
            f"The head of {folder} runs already and listens on {listens}, but got --host {host}. Run `aiopt "
            "cluster down` first, which ends what runs on it."
        )
        raise InputError(msg)


def _spawn_head(folder: Path, resources: NodeResources, temp_dir: Path, port: int, host: str) -> Start:
    arguments = [
        *("--head", "--port", "0", "--node-ip-address", host),
        *("--include-dashboard", "true", "--dashboard-host", ports.LOOPBACK, "--dashboard-port", str(port)),
        *("--ray-client-server-port", str(ports.free_port())),
    ]
    url = f"http://{ports.LOOPBACK}:{port}"
    return spawn(folder, "head", url, temp_dir, resources, arguments, host=host)


def _head_ready(start: Start, token: str) -> Callable[[], str | None]:
    address_file = Path(start.template.temp_dir) / "ray_current_cluster"

    def ready() -> str | None:
        if not address_file.exists() or not ports.jobs_api_answers(start.template.dashboard_url, token):
            return None
        return address_file.read_text().strip()

    return ready


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
                f"The state folder {folder} already runs a {found.state.role} at {found.state.address}, "
                f"and it holds one node only. Run `aiopt cluster down` first, or choose another --state-dir."
            )
            raise InputError(msg)
        _clear(folder, found)
        _take_token(folder, token_path)
        if not ports.port_open(host, int(port)):
            raise ClusterError(f"No Ray head listens at {address}. Check the address.")
        temp_dir = ray_folder(folder)
        check_space(temp_dir)
        arguments = ["--address", address]
        if ports.is_loopback(address):
            # A node of the head's own machine: nothing else can reach that head.
            arguments += ["--node-ip-address", ports.LOOPBACK]
        start = spawn(folder, "node", "", temp_dir, resources, arguments, host=host)

        def ready() -> str | None:
            return address if "Ray runtime started" in log_path(folder).read_text() else None

        return await_start(start, ready, timeout_s), True


def down(folder: Path) -> DownReport:
    """Stop what `up` or `join` started from this state folder, and nothing else.

    Its folder of sessions and logs goes with it if it was made ten minutes ago or earlier.
    """
    if not folder.exists():
        # A lock would make the folder: nothing was started from here.
        return DownReport(stopped=False, killed=0, address="")
    with _locked(folder):
        found = status(folder)
        if found.state is None:
            return DownReport(stopped=False, killed=0, address="")
        ran = found.alive or bool(marked(found.state.cluster_id))
        killed = stop_all(found.state.cluster_id, found.state.supervisor)
        state_path(folder).unlink(missing_ok=True)
        clear_leftovers()
        return DownReport(stopped=ran, killed=killed, address=found.state.address)


def status(folder: Path) -> ClusterStatus:
    """Tell what this state folder started and whether it still runs and answers."""
    path = state_path(folder)
    if not path.exists():
        return ClusterStatus(state=None, alive=False, responding=False)
    try:
        state = msgspec.json.decode(path.read_bytes(), type=ClusterState)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        msg = (
            f"Cannot read the state of the cluster in {path} ({error}). Delete the file and run `aiopt "
            "cluster up` again."
        )
        raise ClusterError(msg) from error
    alive = is_running(state.supervisor)
    if not alive or state.role == "node":
        return ClusterStatus(state=state, alive=alive, responding=alive)
    deadline = time.monotonic() + 10.0
    token = read_token(folder)
    while not (answers := ports.jobs_api_answers(state.dashboard_url, token)) and time.monotonic() < deadline:
        if not is_running(state.supervisor):
            return ClusterStatus(state=state, alive=False, responding=False)
        time.sleep(0.5)
    return ClusterStatus(state=state, alive=True, responding=answers)


def _clear(folder: Path, found: ClusterStatus) -> None:
    """Remove a cluster that is dead or does not answer, together with its leftovers."""
    if found.state is not None:
        stop_all(found.state.cluster_id, found.state.supervisor)
        state_path(folder).unlink(missing_ok=True)


def _take_token(folder: Path, token_path: Path | None) -> None:
    if token_path is not None:
        if not token_path.is_file():
            raise InputError(f"There is no token file {token_path}. Copy the head's .aiopt/token there.")
        if token_path.resolve() != token_file(folder):
            atomic_write_bytes(token_file(folder), token_path.read_bytes())
            token_file(folder).chmod(0o600)
    elif not token_file(folder).exists():
        msg = (
            f"A node needs the head's token, but {token_file(folder)} does not exist. "
            "Copy the head's .aiopt/token and give it as --token-file."
        )
        raise InputError(msg)
    read_token(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time start or stop from this state folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        msg = f"Cannot write to the state folder {folder} ({error.strerror}). Use another --state-dir."
        raise StorageError(msg) from error
    with file_lock(folder / "lock"):
        yield
