"""Which TCP ports processes listen on, and who can reach them, read from /proc.  Knows no Ray.

A socket belongs to the process that holds a descriptor of it: ``/proc/net/tcp`` names addresses by inode,
``/proc/PID/fd`` names inodes by process.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

import msgspec

from cluster.processes import ProcessId

_LISTEN = "0A"
_SOCKET = "socket:["


class Listener(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One listening socket.

    Attributes
    ----------
    port : int
        TCP port.
    address : str
        Where it listens; ``0.0.0.0`` and ``::`` mean every address of the machine.
    pid : int
        Who holds it.
    command : str
        What that process calls itself.
    """

    port: int
    address: str
    pid: int
    command: str

    @property
    def is_local(self) -> bool:
        """Whether this machine alone can reach it."""
        return ipaddress.ip_address(self.address).is_loopback


def listeners(processes: Iterable[ProcessId]) -> list[Listener]:
    """Return the listening sockets of processes, by port."""
    addresses = {
        inode: endpoint
        for name in ("tcp", "tcp6")
        for inode, endpoint in _listening(Path("/proc/net") / name).items()
    }
    found = set()
    for process in processes:
        folder = Path("/proc") / str(process.pid)
        for inode in _sockets(folder / "fd"):
            if inode in addresses:
                address, port = addresses[inode]
                command = _command(folder)
                found.add(Listener(port=port, address=address, pid=process.pid, command=command))
    return sorted(found)


def _listening(table: Path) -> dict[str, tuple[str, int]]:
    """Return address and port of the listening sockets of one table, by inode."""
    if not table.exists():
        # A kernel without IPv6.
        return {}
    found = {}
    for line in table.read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTEN:
            address, port = fields[1].split(":")
            found[fields[9]] = (_address(address), int(port, 16))
    return found


def _address(text: str) -> str:
    """Return an address from the kernel's notation: words of 32 bits, each little-endian."""
    raw = b"".join(bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8))
    found = ipaddress.ip_address(raw)
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def _sockets(folder: Path) -> list[str]:
    """Return the inodes of a process' sockets; none where it has gone or is another user's."""
    found = []
    try:
        for descriptor in folder.iterdir():
            try:
                target = str(descriptor.readlink())
            except FileNotFoundError:
                continue
            if target.startswith(_SOCKET):
                found.append(target[len(_SOCKET) : -1])
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return found
    return found


def _command(folder: Path) -> str:
    try:
        line = (folder / "cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
    words = [word for word in line.split("\0") if word and not word.startswith("-")]
    return " ".join(Path(word).name if word.startswith("/") else word for word in words[:2])
