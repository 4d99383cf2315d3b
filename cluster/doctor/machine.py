"""Looks at the machine: cores and memory, shared memory, disk, permissions, limits, clock, GPU.

Owns what is enough; what a node offers is `cluster.resources`'.  Changes nothing.
"""

from __future__ import annotations

import ctypes
import datetime as dt
import os
import resource
import shutil
import subprocess
import zoneinfo
from collections.abc import Iterator
from pathlib import Path

from aiopt.errors import ConfigError
from aiopt.files import GIB
from cluster.doctor.findings import Finding, good, note, problem
from cluster.node_process import MINIMUM_FREE_BYTES
from cluster.resources import OBJECT_STORE_SHARE, Machine, node_resources, sweep_workers

COMFORTABLE_FREE_BYTES = 10 * GIB
"""Of disk: the year of ticks of one instrument, its bars and some runs."""

OPEN_FILES = 4096
"""Ray's own advice: below it, many workers on one node run out of them."""

CLOCKS = ("America/New_York", "UTC")
"""Without the first no week of the FX market can be told from another."""

_TIME_ERROR = 5
"""What the kernel calls a clock that nothing keeps right."""


def look_at_machine(machine: Machine) -> Iterator[Finding]:
    """Yield what cores and memory are enough for."""
    try:
        node = node_resources()
    except ConfigError as error:
        yield problem("memory", str(error), "Free memory, or set AIOPT_RESOURCES__MEMORY_GIB.")
        return
    workers = sweep_workers([{"CPU": node.num_cpus, "memory": node.memory_bytes}])
    what = (
        f"{machine.cores} cores, {machine.memory_bytes / GIB:.1f} GiB: a node of {node.num_cpus} CPUs and "
        f"{node.memory_bytes / GIB:.1f} GiB, {workers} sweep workers"
    )
    if workers == 0:
        yield problem("memory", what, "Raise AIOPT_RESOURCES__MEMORY_GIB and AIOPT_RESOURCES__NUM_CPUS.")
    elif workers < node.num_cpus:
        yield note("memory", what, "Memory is what limits the sweep: each worker takes 0.75 GiB.")
    else:
        yield good("memory", what)
    wanted = int(machine.memory_bytes * OBJECT_STORE_SHARE)
    shared = f"/dev/shm has {machine.shm_bytes / GIB:.1f} GiB free, the object store takes "
    shared += f"{node.object_store_bytes / GIB:.1f} GiB"
    if node.object_store_bytes > machine.shm_bytes:
        remedy = "Give the container more (docker run --shm-size), or Ray keeps objects in slow files."
        yield note("shared memory", f"{shared} of {wanted / GIB:.1f} GiB wished for", remedy)
    else:
        yield good("shared memory", shared)


def look_at_disk(folder: Path, what_for: str) -> Finding:
    """Tell whether there is room and whether it may be written to, in a folder that may be made yet."""
    existing = next(path for path in [folder.absolute(), *folder.absolute().parents] if path.exists())
    if not existing.is_dir():
        return problem("disk", f"{what_for} {folder}: {existing} is a file", "Choose another folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        remedy = f"Change its owner or mode, or choose another folder ({what_for})."
        return problem("permissions", f"{what_for} {folder}: {existing} is not writable", remedy)
    free = shutil.disk_usage(existing).free
    found = f"{what_for} {folder}: {free / GIB:.1f} GiB free"
    if free < MINIMUM_FREE_BYTES:
        remedy = f"Free space: Ray starts with {MINIMUM_FREE_BYTES / GIB:.0f} GiB at least."
        return problem("disk", found, remedy)
    if free < COMFORTABLE_FREE_BYTES:
        return note("disk", found, "Enough for a small run; ticks of years take more.")
    return good("disk", found)


def look_at_limits() -> Finding:
    """Tell whether enough files may be open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        remedy = f"ulimit -n {OPEN_FILES} before `aiopt cluster up` (the hard limit is {hard})."
        return note("limits", f"{soft} open files per process", remedy)
    return good("limits", f"{soft} open files per process")


def look_at_clock() -> Iterator[Finding]:
    """Yield whether the time zones are there and whether something keeps the clock right."""
    for name in CLOCKS:
        try:
            zoneinfo.ZoneInfo(name)
        except zoneinfo.ZoneInfoNotFoundError:
            remedy = "Install the system's tzdata package, or `pip install tzdata`."
            yield problem("clock", f"no time zone {name}: the FX week cannot be told", remedy)
    now = dt.datetime.now(dt.UTC)
    newest = dt.datetime.fromtimestamp(Path(__file__).stat().st_mtime, dt.UTC)
    if now < newest - dt.timedelta(days=1):
        yield problem(
            "clock",
            f"it is {now:%Y-%m-%d %H:%M} UTC here, before aiopt was installed ({newest:%Y-%m-%d})",
            "Set the clock: what a download still lacks and what is stale follow from it.",
        )
        return
    held = _kept_right()
    what = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if held is False:
        remedy = "Start a time service (systemd-timesyncd, chrony): live quotes are judged by their age."
        yield note("clock", f"{what}, and the kernel says that nothing keeps it right", remedy)
    else:
        yield good("clock", what if held is None else f"{what}, kept right by a time service")


def look_at_gpu(machine: Machine) -> Iterator[Finding]:
    """Yield what GPUs there are, with their driver."""
    if machine.gpus == 0:
        yield good("gpu", "none: sweeps need none, the model runs in its CPU profile")
        return
    tool = shutil.which("nvidia-smi")
    if tool is None:
        remedy = "Install the NVIDIA driver's tools, or hide the devices with CUDA_VISIBLE_DEVICES=."
        yield problem("gpu", f"{machine.gpus} NVIDIA devices, but no nvidia-smi", remedy)
        return
    query = [tool, "--query-gpu=name,memory.total,memory.free,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield problem("gpu", f"nvidia-smi did not answer: {error}", "Load the driver again, or reboot.")
        return
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()
        remedy = "Install the driver that fits the kernel, or hide the devices with CUDA_VISIBLE_DEVICES=."
        yield problem("gpu", f"nvidia-smi failed: {said[-1] if said else done.returncode}", remedy)
        return
    for line in done.stdout.strip().splitlines():
        name, total, free, driver = (part.strip() for part in line.split(","))
        yield good("gpu", f"{name}, {total} ({free} free), driver {driver}")


def _kept_right() -> bool | None:
    """Return whether the kernel's clock is synchronised; None where it does not say."""
    adjust = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjust is None:
        return None
    # `struct timex`, all zero: nothing is changed.  It takes 208 bytes on 64-bit Linux.
    state = int(adjust(ctypes.create_string_buffer(512)))
    return None if state < 0 else state != _TIME_ERROR
