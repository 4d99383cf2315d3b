"""cluster: the distribution layer of aiopt, Ray and nothing that does not need it.

>>> import aiopt as ao
>>> import cluster
>>> with cluster.connect():  # doctest: +SKIP
...     bars = cluster.build_bars("data/ticks", "5m")
...     found = cluster.sweep("rsi_reversion", bars, trials=1000)

Importing it imports no Ray: every name comes from its home at the first use.  It offers the engine ``"ray"``
to the functions of `aiopt`; ``engine="auto"`` uses it while there is a connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiopt.lazy_names import lend_names

if TYPE_CHECKING:
    from cluster.face import build_bars, connect, optimize, sweep

__all__ = ["connect", "build_bars", "sweep", "optimize"]

lend_names(
    __name__,
    {"cluster.face": ("build_bars", "connect")},
    packages={"optimize": "cluster.face", "sweep": "cluster.face"},
)


def _ray_engine() -> Any:
    from cluster.face import RayEngine

    return RayEngine()


def _register() -> None:
    from aiopt.face.engines import register_engine

    register_engine("ray", _ray_engine)


_register()
