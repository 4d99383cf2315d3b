"""The one table of CPU, GPU and memory shares: what a node offers and what each stage takes of it.

Owns detection of the machine and the arithmetic between it and Ray's resource numbers.  Does not import Ray,
and knows nothing of what the stages compute.

How the three intended sizes come out:

=============================  =========  ==========  =============  =======================================
machine                        num_cpus   num_gpus    object store   sweep workers
=============================  =========  ==========  =============  =======================================
laptop, 8 cores, 16 GiB        8          0           2.0 GiB        8 (one per core)
reference, 32 cores, 182 GiB   32         1 (RTX      16 GiB (cap)   31: one core is left to Ray itself and
                                          5090)                      to the job driver
n nodes                        sum        sum         per node       each node by its own row
=============================  =========  ==========  =============  =======================================

A core is left free only from `SPARE_CORE_FROM` cores on: with two cores a spare one would cost half the
sweep.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from aiopt.config import load_config
from aiopt.errors import ConfigError
from aiopt.files import GIB, MIB

ENVIRONMENT_PREFIX = "AIOPT_RESOURCES"

SPARE_CORE_FROM = 16
"""Machines with at least this many cores keep one core for Ray's daemons and the job driver."""

OBJECT_STORE_SHARE = 1 / 8
"""Share of memory given to Ray's object store.  Bars of a year of one instrument take tens of megabytes."""

OBJECT_STORE_MIN_BYTES = 256 * MIB
OBJECT_STORE_MAX_BYTES = 16 * GIB

SYSTEM_RESERVE_SHARE = 0.10
SYSTEM_RESERVE_MIN_BYTES = 1 * GIB
"""Memory never offered to tasks: the operating system and Ray's own daemons (about 1 GiB at rest)."""


class StageShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one task or actor of a stage takes.

    Attributes
    ----------
    num_cpus : float
        Cores; 0 for actors that mostly wait.
    num_gpus : float
        GPUs, or a fraction of one.
    memory_bytes : int
        Memory the scheduler sets aside.  A node runs no more of them than fit.
    """

    num_cpus: float
    num_gpus: float = 0.0
    memory_bytes: int = 0


STAGES: dict[str, StageShare] = {
    # Partial bars of one group of row groups: 131,072 ticks of 40 bytes and their sorted copies.
    "bars": StageShare(num_cpus=1, memory_bytes=512 * MIB),
    # One PreparedChart: 200 MB resident, most of it the imports; a series of a million bars adds 100 MB.
    "charts": StageShare(num_cpus=1, memory_bytes=512 * MIB),
    # One PreparedChart, and requests that wait for an engine, which may be on the same cores.
    "scan": StageShare(num_cpus=0.5, memory_bytes=512 * MIB),
    # One warm NautilusTrader engine: 340-360 MB resident, flat over 80 trials.
    "trial": StageShare(num_cpus=1, memory_bytes=768 * MIB),
    # A screen on a series of bars, one altered copy of it, and for the sample an engine: as a trial worker.
    "stress": StageShare(num_cpus=1, memory_bytes=768 * MIB),
    # The leaderboard appends to a journal and otherwise waits.
    "ranking": StageShare(num_cpus=0),
    # One NautilusTrader node and its strategies.  Paced by its feed it mostly waits; unpaced it takes a core.
    "session": StageShare(num_cpus=0.5, memory_bytes=768 * MIB),
    # Serving.  An engine on the CPU computes in bursts: a small share, so that it does not keep a sweep from
    # starting on a laptop.  An engine's memory depends on its checkpoint: `aiopt.serving.swap.memory`.
    # On a GPU the share only keeps engines on a card: a sleeping engine would go on holding a true one, and a
    # candidate could not start.  What fits is decided by `gpu_memory_share` and the card's free memory.
    "engine-cpu": StageShare(num_cpus=0.25),
    "engine-gpu": StageShare(num_cpus=1, num_gpus=0.05),
    # One process of a training.  Its memory is planned from the checkpoint: `aiopt.training.memory_plan`.
    "training-cpu": StageShare(num_cpus=1),
    "training-gpu": StageShare(num_cpus=1, num_gpus=1),
    # Both wait for others.
    "gateway": StageShare(num_cpus=0),
    "coordinator": StageShare(num_cpus=0),
    # The job driver (entry point of `ray job submit`) schedules and waits.
    "driver": StageShare(num_cpus=0),
}


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the operating system lets this process use.

    Attributes
    ----------
    cores : int
        Usable cores: CPU affinity and cgroup quota applied.
    memory_bytes : int
        Usable memory: cgroup limit applied.
    gpus : int
        CUDA devices visible.
    shm_bytes : int
        Free space of ``/dev/shm``, where Ray keeps its object store.
    """

    cores: int
    memory_bytes: int
    gpus: int
    shm_bytes: int


class NodeResources(msgspec.Struct, frozen=True, kw_only=True):
    """What a node offers to Ray.

    Attributes
    ----------
    num_cpus, num_gpus : int
        Slots for tasks.
    memory_bytes : int
        Memory for tasks, object store not included.
    object_store_bytes : int
        Shared memory for objects.
    """

    num_cpus: int
    num_gpus: int
    memory_bytes: int
    object_store_bytes: int


class ResourceOverrides(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user fixes; everything left None is derived from the machine."""

    num_cpus: int | None = None
    num_gpus: int | None = None
    memory_gib: float | None = None
    object_store_gib: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("num_cpus", 1), ("num_gpus", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"`{name} >= {least}` must hold, but got {name}={value}.")
        for name in ("memory_gib", "object_store_gib"):
            value = getattr(self, name)
            if value is not None and value < 0.1:
                raise ConfigError(f"`{name} >= 0.1` must hold, but got {name}={value}. Give gibibytes.")


def detect_machine() -> Machine:
    """Return what this process may use of the machine it runs on (Linux)."""
    return Machine(
        cores=_usable_cores(), memory_bytes=_usable_memory(), gpus=_visible_gpus(), shm_bytes=_free_shm()
    )


def plan_node(machine: Machine, overrides: ResourceOverrides | None = None) -> NodeResources:
    """Derive what a node offers to Ray.

    Parameters
    ----------
    machine : Machine
        From `detect_machine`.
    overrides : ResourceOverrides, optional
        Values the user fixed.

    Raises
    ------
    ConfigError
        If the memory is too small for a single trial worker.
    """
    fixed = overrides or ResourceOverrides()
    spare = 1 if machine.cores >= SPARE_CORE_FROM else 0
    num_cpus = fixed.num_cpus if fixed.num_cpus is not None else max(1, machine.cores - spare)
    store = _object_store_bytes(machine, fixed)
    if fixed.memory_gib is not None:
        memory = int(fixed.memory_gib * GIB)
    else:
        reserve = max(SYSTEM_RESERVE_MIN_BYTES, int(machine.memory_bytes * SYSTEM_RESERVE_SHARE))
        memory = machine.memory_bytes - reserve - store
    needed = STAGES["trial"].memory_bytes
    if memory < needed:
        msg = (
            f"A node must have at least {needed / GIB:.2f} GiB for one backtest worker, but "
            f"{max(memory, 0) / GIB:.2f} GiB of {machine.memory_bytes / GIB:.1f} GiB are left after the "
            "system's share and the object store. Free memory, or set --memory-gib."
        )
        raise ConfigError(msg)
    num_gpus = fixed.num_gpus if fixed.num_gpus is not None else machine.gpus
    return NodeResources(num_cpus=num_cpus, num_gpus=num_gpus, memory_bytes=memory, object_store_bytes=store)


def stage_options(stage: str) -> dict[str, float | int]:
    """Return the Ray options (`num_cpus`, `num_gpus`, `memory`) of a stage's tasks or actors."""
    share = STAGES[stage]
    options: dict[str, float | int] = {"num_cpus": share.num_cpus}
    if share.num_gpus:
        options["num_gpus"] = share.num_gpus
    if share.memory_bytes:
        options["memory"] = share.memory_bytes
    return options


def sweep_workers(nodes: list[dict[str, float]], *, stage: str = "trial") -> int:
    """Return how many trial workers fit on nodes with these Ray resources.

    Parameters
    ----------
    nodes : list of dict
        Per node its total resources as ``ray.nodes()[i]["Resources"]`` gives them: ``CPU``,
        ``memory`` (bytes).
    stage : str
        Row of `STAGES`.
    """
    share = STAGES[stage]
    total = 0
    for resources in nodes:
        by_cpu = int(resources.get("CPU", 0) // share.num_cpus)
        by_memory = int(resources.get("memory", 0) // share.memory_bytes)
        total += min(by_cpu, by_memory)
    return total


def worker_memory_bytes() -> int:
    """Return what a trial worker of this machine may take before it starves its neighbours: an equal share.

    More than the scheduler sets aside for it (`STAGES`), which is what one needs for some months of bars.
    """
    machine = detect_machine()
    offered = plan_node(machine)
    workers = max(1, sweep_workers([{"CPU": offered.num_cpus, "memory": offered.memory_bytes}]))
    return offered.memory_bytes // workers


def _object_store_bytes(machine: Machine, fixed: ResourceOverrides) -> int:
    if fixed.object_store_gib is not None:
        return int(fixed.object_store_gib * GIB)
    wanted = int(machine.memory_bytes * OBJECT_STORE_SHARE)
    # Beyond /dev/shm Ray falls back to a file in /tmp, an order of magnitude slower.
    fits = int(machine.shm_bytes * 0.9)
    return max(OBJECT_STORE_MIN_BYTES, min(wanted, fits, OBJECT_STORE_MAX_BYTES))


def _usable_cores() -> int:
    cores = len(os.sched_getaffinity(0))
    quota = _read_text(Path("/sys/fs/cgroup/cpu.max"))
    if quota is not None:
        limit, period = quota.split()[:2]
        if limit != "max":
            cores = min(cores, max(1, int(limit) // int(period)))
    return cores


def _usable_memory() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _read_text(Path(name))
        if text is not None and text.strip() != "max":
            total = min(total, int(text))
    return total


def _visible_gpus() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in {"", "-1"}])
    return len([path for path in Path("/dev").glob("nvidia*") if path.name[len("nvidia") :].isdigit()])


def _free_shm() -> int:
    shm = Path("/dev/shm")
    return shutil.disk_usage(shm).free if shm.is_dir() else 0


def _read_text(path: Path) -> str | None:
    """Return a small kernel file's text, or None where this kernel has no such file."""
    try:
        return path.read_text()
    except (FileNotFoundError, PermissionError):
        return None


def node_resources(**fixed: float | None) -> NodeResources:
    """Return what this machine offers as a node: detection < ``AIOPT_RESOURCES__*`` < `fixed`.

    Parameters
    ----------
    **fixed
        Values of `ResourceOverrides`; None leaves one to the environment and the machine.

    Raises
    ------
    ConfigError
        If a value is out of range.
    """
    given = {name: value for name, value in fixed.items() if value is not None}
    overrides = load_config(None, ResourceOverrides, env_prefix=ENVIRONMENT_PREFIX, overrides=given)
    return plan_node(detect_machine(), overrides)
