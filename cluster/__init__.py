"""cluster: the distribution layer of aiopt, Ray and nothing that does not need it.

>>> import aiopt as ao
>>> import cluster
>>> with cluster.connect():  # doctest: +SKIP
...     bars = cluster.build_bars("data/ticks/EURUSD", "5m")
...     found = cluster.sweep("rsi_reversion", bars, trials=1000)

Importing it imports no Ray: every name comes from its home at the first use.  It offers the engine ``"ray"``
to the functions of `aiopt`; ``engine="auto"`` uses it while there is a connection.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from aiopt.face.engines import register_engine
from aiopt.lazy_names import lend_names

if TYPE_CHECKING:
    from aiopt.optimize.engine import StageEngine
    from cluster.face import build_bars, connect, optimize, sweep

__all__ = ["connect", "build_bars", "sweep", "optimize"]

lend_names(
    __name__,
    {"cluster.face": ("build_bars", "connect")},
    packages={"optimize": "cluster.face", "sweep": "cluster.face"},
)


def _connect() -> StageEngine:
    from cluster.face import ray_stages

    return ray_stages()


def _connected() -> bool:
    # Without Ray there is no connection to ask about.
    if "ray" not in sys.modules:
        return False
    from cluster.face import is_connected

    return is_connected()


register_engine("ray", connect=_connect, connected=_connected)
