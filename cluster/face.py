"""The face of the cluster in Python: what ``import cluster`` offers in a notebook or a script.

Owns the connection of a notebook and the engine that `aiopt` runs with ``engine="ray"``.  What runs on the
cluster is the matter of `cluster.bars`, `cluster.sweep` and `cluster.optimize`.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import aiopt
from aiopt.face.html import card, table
from cluster.connection import session

if TYPE_CHECKING:
    from aiopt.face.bars import Bars, BarsLike, Price
    from aiopt.face.run import Run
    from aiopt.face.strategies import SpecLike
    from aiopt.face.sweep import Sweep
    from aiopt.face.ticks import Ticks
    from aiopt.optimize.engine import StageEngine


_kept = ExitStack()
"""The connection that ``engine="ray"`` made; it lasts as long as the process."""


class Connection:
    """A connection of this process to a Ray cluster; ``with`` or `close` ends it.

    The cluster runs on: a local one that was started is stopped by ``aiopt cluster down``.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._stack.enter_context(session())

    @property
    def resources(self) -> dict[str, float]:
        """What the cluster offers: ``CPU`` and ``GPU`` as numbers, ``memory`` in bytes."""
        import ray

        return dict(ray.cluster_resources())

    def close(self) -> None:
        """End the connection; one that was open before stays open."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if not is_connected():
            return "<Connection: closed>"
        found = self.resources
        gib = found.get("memory", 0.0) / 2**30
        return f"<Connection: {found.get('CPU', 0.0):g} CPUs, {found.get('GPU', 0.0):g} GPUs, {gib:.1f} GiB>"

    def _repr_html_(self) -> str:
        rows = sorted(self.resources.items()) if is_connected() else []
        return card(repr(self).strip("<>"), table((), rows))


def ray_stages() -> StageEngine:
    """Return the engine that `aiopt` runs on the cluster with ``engine="ray"``, connected if need be."""
    if not is_connected():
        _kept.enter_context(session())
        atexit.register(_kept.close)
    from cluster.pipeline import RayStages

    return RayStages()


def is_connected() -> bool:
    """Tell whether this process is connected to a cluster."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def connect() -> Connection:
    """Connect this process to the cluster named by ``RAY_ADDRESS``, else to a local one, started if need be.

    From then on ``engine="auto"`` of `aiopt.build_bars` and `aiopt.sweep` is the cluster.

    Returns
    -------
    Connection
        Close it, or use it in a ``with`` statement; otherwise it lasts as long as the process.

    Raises
    ------
    ClusterError
        If no cluster answers at ``RAY_ADDRESS``, or none can be started.
    """
    return Connection()


def build_bars(
    ticks: Ticks | Path | str,
    timeframe: str,
    price: Price | None = None,
    **settings: Any,
) -> Bars:
    """Build bars on the cluster: `aiopt.build_bars` with ``engine="ray"``.

    Every node must see the tick store under its path.

    Parameters
    ----------
    ticks, timeframe, price, **settings
        As of `aiopt.build_bars`.
    """
    return aiopt.build_bars(ticks, timeframe, price, engine="ray", **settings)


def sweep(
    specs: SpecLike | Sequence[SpecLike],
    bars: BarsLike | Mapping[str, BarsLike] | Sequence[BarsLike],
    **settings: Any,
) -> Sweep:
    """Run a sweep on the cluster: `aiopt.sweep` with ``engine="ray"``; the same rows, by hash.

    Parameters
    ----------
    specs, bars, **settings
        As of `aiopt.sweep`.
    """
    return aiopt.sweep(specs, bars, engine="ray", **settings)


def optimize(
    config: Path | str | None = None,
    *,
    runs_dir: Path | str = "runs",
    force: bool = False,
    show_progress: bool = True,
    **settings: Any,
) -> Run:
    """Run or continue the whole way from ticks to ranked strategies and Pine Script on the cluster.

    Parameters
    ----------
    config : Path or str, optional
        A file as ``jobs/optimize.yaml``; the built-in settings if absent.
    runs_dir : Path or str
        Folder of run folders.
    force : bool
        Delete the run's folder first.
    show_progress : bool
        Print a line of progress every few seconds.
    **settings
        Settings above the file, e.g. ``ticks="data/ticks/EURUSD"``, ``trials=20``, ``timeframes=["5m"]``.

    Returns
    -------
    Run
        The same configuration and data give the same folder.

    Raises
    ------
    InputError, BacktestError, ClusterError, StorageError
        As the stages raise them.
    """
    ray_stages()
    from aiopt.optimize.configuration import load_optimize_config
    from cluster.optimize import run_optimize

    found = load_optimize_config(None if config is None else Path(config), settings)
    result = run_optimize(
        found, Path(runs_dir).resolve(), force=force, log=print if show_progress else _silent
    )
    return aiopt.run(result.run_dir)


def _silent(line: str) -> None:
    """Print nothing."""
