"""How much memory an engine needs and how much there is.  Owns the arithmetic for the CPU; imports no Ray."""

from __future__ import annotations

from pathlib import Path

from aiopt.files import GIB
from aiopt.serving.swap.proof import EngineSpec

CPU_PROCESSES_BYTES = 2 * GIB
"""What the two processes of an engine take without weights and KV cache: measured 1.6 GiB."""

_PROC = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def cpu_need_bytes(spec: EngineSpec) -> int:
    """Return what an engine takes of the machine's memory: weights, KV cache and its processes.

    While it loads, weights exist twice for a moment (as read and as packed for the CPU's kernels).
    """
    weights = 2 * spec.checkpoint.parameter_bytes
    return spec.settings.replicas * (weights + spec.settings.kv_cache_gib * GIB + CPU_PROCESSES_BYTES)


def available_bytes() -> int:
    """Return the memory this machine, or the control group this process is in, can still give."""
    for line in _PROC.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
            break
    else:
        available = 0
    limit, used = _read(_CGROUP / "memory.max"), _read(_CGROUP / "memory.current")
    if limit is not None and used is not None:
        # Page cache counts as used but is given back on demand.
        cached = 0
        for line in (_CGROUP / "memory.stat").read_text().splitlines():
            if line.startswith("inactive_file "):
                cached = int(line.split()[1])
        available = min(available, limit - used + cached)
    return max(0, available)


def _read(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except (FileNotFoundError, PermissionError):
        return None
    return int(text) if text.isdigit() else None
