"""Generated bars in which nothing is planted: random walks whose steps change their size, with heavy tails.

A third hand beside the templates and the processes with hidden regimes, for questions that any chart answers
(`aiopt.analyst.shown`).  Without it a model that learns what a chart shows from templates never sees ranges
that grow or shrink.  Owns the walk.  It favours no side, so its bias is neutral.
"""

from __future__ import annotations

import numpy as np

from aiopt.analyst.planted import N_BARS, PlantedCase, bars_of_rows
from aiopt.errors import ConfigError

WALK_KINDS = ("walk",)

STEPS_PER_BAR = 6

TAILS = 4
"""Degrees of freedom of Student's t: moves of five standard deviations happen."""

CALM, WILD = 0.35, 2.8
"""Sizes of the steps from some bar on, over those before; drawn evenly in logarithms."""


def walk_case(kind: str, *, seed: int, noise: float = 1.0) -> PlantedCase:
    """Return bars of a random walk.

    Parameters
    ----------
    kind : str
        ``walk``.
    seed : int
        Same seed, same bars.
    noise : float
        How much the size of the steps wanders from bar to bar: 0 hardly, 1 usual, 2 wildly.

    Raises
    ------
    ConfigError
        If the kind is unknown or `noise` is not in [0, 10].
    """
    if kind not in WALK_KINDS:
        raise ConfigError(f"The kind must be {WALK_KINDS[0]!r}, but got {kind!r}.")
    if not 0 <= noise <= 10:
        raise ConfigError(f"`0 <= noise <= 10` must hold, but got noise={noise}.")
    rng = np.random.default_rng([seed, 2_000])
    size = np.exp(0.12 * min(noise, 3.0) * np.cumsum(rng.normal(size=N_BARS)))
    # Where the change is has nothing to do with the quarter a question may be about.
    change = int(rng.integers(N_BARS // 3, N_BARS))
    size[change:] *= np.exp(rng.uniform(np.log(CALM), np.log(WILD)))
    size = np.clip(size / np.median(size), 0.1, 10.0)
    steps = rng.standard_t(TAILS, size=(N_BARS, STEPS_PER_BAR)) * size[:, None]
    path = np.concatenate(([0.0], np.cumsum(steps.ravel())))
    inner = path[1:].reshape(N_BARS, STEPS_PER_BAR)
    opened = path[:-1:STEPS_PER_BAR]
    rows = np.column_stack(
        [
            opened,
            np.maximum(inner.max(axis=1), opened),
            np.minimum(inner.min(axis=1), opened),
            inner[:, -1],
        ]
    )
    height = rng.uniform(0.002, 0.008)
    share = rows / float(rows[:, 1].max() - rows[:, 2].min())
    price = rng.uniform(1.05, 1.25) + height * (share - share.mean())
    return PlantedCase(
        bars=bars_of_rows(price), kind=kind, bias="neutral", first_bar=0, last_bar=0, generator="walks"
    )
