"""Folders of Ray sessions that nobody uses any more, removed from the temporary folder.

Owns the rule of what is left over: a folder of this user, named as `cluster.state_folder.ray_folder` names
them, made a while ago, that no process of this machine runs in and none of whose sockets answers.  Sockets
answer across containers that share a temporary folder; processes are seen within one.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import tempfile
import time
from pathlib import Path

SETTLED_S = 600.0
"""A younger folder may be one that a start has just made and runs nothing in yet."""

TEMP_VARIABLE = "RAY_TMPDIR"
"""What every process of a node has in its environment: `cluster.node_process.node_environment`."""

_PROC = Path("/proc")


def clear_leftovers() -> list[Path]:
    """Remove the folders of sessions that are over; returns those removed."""
    named = re.compile(rf"aiopt-{os.getuid()}-[0-9a-f]{{8}}")
    used = _used_folders()
    removed = []
    for place in {Path(tempfile.gettempdir()), Path("/tmp")}:
        for folder in sorted(place.glob(f"aiopt-{os.getuid()}-*")):
            if named.fullmatch(folder.name) and str(folder) not in used and _is_over(folder):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
    return removed


def _is_over(folder: Path) -> bool:
    """Tell whether a folder is ours, settled, and answers on none of its sockets."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        # Another start removed it.
        return False
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return False
    if time.time() - found.st_mtime < SETTLED_S:
        return False
    return not any(_answers(path) for path in folder.glob("session_*/sockets/*"))


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(2.0)
        try:
            link.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            # Busy, or not ours to judge: then it stays.
            return True
    return True


def _used_folders() -> set[str]:
    """Return the temporary folders that running processes of this user have."""
    prefix = f"{TEMP_VARIABLE}=".encode()
    found = set()
    for process in _PROC.iterdir():
        if not process.name.isdigit():
            continue
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        found |= {os.fsdecode(each[len(prefix) :]) for each in variables if each.startswith(prefix)}
    return found
