"""Which processes belong to a cluster we started, read from /proc.  Owns identity and killing; knows no Ray.

A process is identified by its pid *and* start time: pids are reused.  Every process of a cluster inherits
the environment variable `MARKER`, a random id, so that stopping a cluster finds each of its processes, also
workers and job drivers in sessions of their own, and no other process whatever its name.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import msgspec

MARKER = "AIOPT_CLUSTER_ID"

_PROC = Path("/proc")


class ProcessId(msgspec.Struct, frozen=True, kw_only=True):
    """One process for all time.

    Attributes
    ----------
    pid : int
        Process id.
    start_ticks : int
        Start time since boot in clock ticks, field 22 of ``/proc/PID/stat``.
    boot_id : str
        The boot in which `start_ticks` counts.
    """

    pid: int
    start_ticks: int
    boot_id: str


def boot_id() -> str:
    """Return the id of the running boot."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> ProcessId | None:
    """Return the identity of a running process, or None if there is none (a zombie does not run)."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The name in parentheses may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:
        return None
    return ProcessId(pid=pid, start_ticks=int(fields[19]), boot_id=boot_id())


def is_running(process: ProcessId) -> bool:
    """Tell whether exactly this process still runs."""
    return identify(process.pid) == process


def marked(cluster_id: str) -> list[ProcessId]:
    """Return the running processes of this user with this value of `MARKER`, except this one."""
    wanted = f"{MARKER}={cluster_id}".encode()
    found = []
    for folder in _PROC.iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            environment = (folder / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if wanted in environment.split(b"\0"):
            process = identify(int(folder.name))
            if process is not None:
                found.append(process)
    return found


def send(process: ProcessId, number: signal.Signals) -> bool:
    """Send a signal if exactly this process still runs; tell whether it was sent."""
    if not is_running(process):
        return False
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def stop_all(cluster_id: str, supervisor: ProcessId, *, grace_s: float = 10.0) -> int:
    """Stop a cluster: its supervisor first, politely, then whatever of it remains.

    Parameters
    ----------
    cluster_id : str
        Value of the marker.
    supervisor : ProcessId
        The `ray start --block` process; on SIGTERM it stops its children.
    grace_s : float
        Seconds to wait before SIGKILL.

    Returns
    -------
    int
        Number of processes that had to be killed after the grace time.
    """
    send(supervisor, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while is_running(supervisor) and time.monotonic() < deadline:
        time.sleep(0.05)
    # Dashboard modules outlive the supervisor by a moment; they need no more than that.
    orphans_deadline = min(deadline, time.monotonic() + 2.0)
    while marked(cluster_id) and time.monotonic() < orphans_deadline:
        time.sleep(0.1)
    killed = 0
    for _ in range(50):
        remaining = marked(cluster_id)
        if not remaining:
            break
        killed += sum(send(process, signal.SIGKILL) for process in remaining)
        time.sleep(0.1)
    return killed
