"""Where heavy work runs: in this process, or on a cluster that another package connects.

Owns the choice behind ``engine="auto" | "local" | "ray"`` and the one hook by which a package offers an
engine: `register_engine`.  `cluster` calls it when it is imported; `aiopt` never imports `cluster` by itself
but for ``engine="ray"``, by the name in `PROVIDERS`.  Knows nothing of Ray.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from aiopt.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from aiopt.optimize.engine import StageEngine

EngineName = Literal["auto", "local", "ray"]
ENGINES: tuple[str, ...] = ("auto", "local", "ray")

PROVIDERS = {"ray": "cluster"}
"""Engine to the package that registers it when it is imported."""


class _Offer(NamedTuple):
    connect: Callable[[], StageEngine]
    connected: Callable[[], bool]


_offers: dict[str, _Offer] = {}


def register_engine(name: str, *, connect: Callable[[], StageEngine], connected: Callable[[], bool]) -> None:
    """Offer an engine; registering costs nothing.

    Parameters
    ----------
    name : str
        What users write: ``engine="ray"``.
    connect : callable
        Returns the engine, connected if need be; its results equal those of this process, byte for byte.
    connected : callable
        Tells whether there is a connection that ``engine="auto"`` may use.
    """
    _offers[name] = _Offer(connect, connected)


def find_engine(name: str) -> StageEngine | None:
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
        return next((offer.connect() for offer in _offers.values() if offer.connected()), None)
    if name not in _offers:
        _import_provider(name)
    return _offers[name].connect()


def _import_provider(name: str) -> None:
    package = PROVIDERS[name]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as failure:
        if failure.name != package:
            raise
        msg = f'engine="{name}" needs the package {package}, which is not installed. Use engine="local".'
        raise ConfigError(msg) from failure
