"""How much memory the operating system would still give this process.  Linux; knows nothing of logs."""

from __future__ import annotations

from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available_memory_bytes() -> int:
    """Return what is free or can be freed at once: of the machine, and of the cgroup if it is limited."""
    available = 1 << 62
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    limit = " ".join(_lines(_CGROUP / "memory.max")).strip()
    used = " ".join(_lines(_CGROUP / "memory.current")).strip()
    if limit.isdigit() and used.isdigit():
        reclaimable = 0
        for line in _lines(_CGROUP / "memory.stat"):
            if line.startswith("inactive_file "):
                reclaimable = int(line.split()[1])
        available = min(available, int(limit) - int(used) + reclaimable)
    return available


def _lines(path: Path) -> list[str]:
    """Return the lines of a small kernel file, none where this kernel has no such file."""
    try:
        return path.read_text().splitlines()
    except (FileNotFoundError, PermissionError):
        return []
