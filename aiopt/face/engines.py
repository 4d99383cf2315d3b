"""Where heavy work runs: in this process, or on a cluster that another package connects.

Owns the choice behind ``engine="auto" | "local" | "ray"`` and the one hook by which a package offers an
engine: `register_engine`.  `cluster` calls it when it is imported; `aiopt` never imports `cluster` by itself
but for ``engine="ray"``, by the name in `PROVIDERS`.  Knows nothing of Ray.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from aiopt.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from aiopt.bars.building.shard_jobs import ShardEngine
    from aiopt.bars.schema import BarSet
    from aiopt.face.progress import Progress
    from aiopt.ranking.trials import TrialRow
    from aiopt.sweep.trial import TrialContext, TrialPoint

EngineName = Literal["auto", "local", "ray"]
ENGINES: tuple[str, ...] = ("auto", "local", "ray")

PROVIDERS = {"ray": "cluster"}
"""Engine to the package that registers it when it is imported."""


class Engine(Protocol):
    """What a package offers that runs aiopt's work elsewhere; results equal those of this process."""

    def connected(self) -> bool:
        """Tell whether there is a connection that ``engine="auto"`` may use."""

    def shards(self) -> ShardEngine:
        """Return what `aiopt.bars.building.build.build` has its shards reduced by, connected."""

    def sweep(
        self,
        points: Sequence[TrialPoint],
        bars: Mapping[str, BarSet],
        context: TrialContext,
        progress: Progress,
    ) -> list[TrialRow]:
        """Run every point and return the rows, sorted by trial id."""


_offered: dict[str, Callable[[], Engine]] = {}


def register_engine(name: str, make: Callable[[], Engine]) -> None:
    """Offer an engine.

    Parameters
    ----------
    name : str
        What users write: ``engine="ray"``.
    make : callable
        Returns the engine; called when it is first needed, so that registering costs nothing.
    """
    _offered[name] = make


def find_engine(name: str) -> Engine | None:
    """Return the engine to use, or None for this process.

    Parameters
    ----------
    name : str
        ``"local"``: this process.  ``"ray"``: the cluster, connected first if need be.  ``"auto"``: a cluster
        that is connected already, else this process.

    Raises
    ------
    ConfigError
        If the name is none of these, or the package that offers it is not installed.
    """
    if name not in ENGINES:
        msg = f"The engine must be one of {', '.join(ENGINES)}, but got {name!r}."
        raise ConfigError(msg + did_you_mean(name, ENGINES))
    if name == "local":
        return None
    if name == "auto":
        engines = (make() for make in _offered.values())
        return next((engine for engine in engines if engine.connected()), None)
    if name not in _offered:
        _import_provider(name)
    return _offered[name]()


def _import_provider(name: str) -> None:
    package = PROVIDERS[name]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as failure:
        if failure.name != package:
            raise
        msg = f'engine="{name}" needs the package {package}, which is not installed. Use engine="local".'
        raise ConfigError(msg) from failure
