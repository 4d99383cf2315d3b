"""Generated bars of a random process with hidden regimes: a second planted truth, of another nature.

Where `aiopt.analyst.planted` draws lines and puts noise on them, here nothing is drawn.  A log price drifts,
or is pulled back to a level, with random steps of a size that depends on the regime and now and then a jump;
bars are the first, highest, lowest and last of the steps within them.  Truth is the hidden state.  Nothing of
`aiopt.patterns` and nothing of the templates is used, so that a reader can be tested on one after it was made
or trained on the other.

Owns the process.  It is no model of a market: its drift is meant to be seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiopt.analyst.planted import N_BARS, PlantedCase, bars_of_rows
from aiopt.errors import ConfigError, did_you_mean

FloatArray = NDArray[np.float64]

STEPS_PER_BAR = 12

DRIFT = 0.4
"""Drift per bar in standard deviations of a calm bar, at noise 1."""

PULL = 0.25
"""Share of the distance to its level that a reverting price goes back per bar."""

JUMP = 5.0
"""Size of a jump in standard deviations of a calm bar, at noise 1."""

RANDOM_JUMPS = 0.01
"""Chance per bar of a jump that means nothing, half as large."""

SHORTEST, LONGEST = 35, 60
"""Bars of the last regime, which is the one asked about."""

VOLATILITIES = {"low": 0.5, "normal": 1.0, "high": 2.0}
"""Standard deviation of a bar in the last regime, over that in the regimes before."""

PROCESS_KINDS = (
    "drift_up",
    "jump_up",
    "drift_down",
    "jump_down",
    "reverting",
    "wandering",
)
"""What the last regime is: a drift, a jump out of a reverting price that goes on as a drift, a price pulled
back to its level, or a random walk without drift."""

LONG_PROCESSES = ("drift_up", "jump_up")
SHORT_PROCESSES = ("drift_down", "jump_down")
NEUTRAL_PROCESSES = ("reverting", "wandering")


@dataclass(frozen=True)
class _Regime:
    bars: int
    drift: float
    pull: float
    sigma: float
    jump: float = 0.0


def process_case(kind: str, *, seed: int, noise: float = 1.0) -> PlantedCase:
    """Return bars of a process whose last regime is of a kind.

    Parameters
    ----------
    kind : str
        One of `PROCESS_KINDS`.
    seed : int
        Same seed, same bars.
    noise : float
        Drift and jumps are divided by it: 0.5 easy, 1 usual, 2 hard to see.

    Returns
    -------
    PlantedCase
        `trend` and `volatility` are the hidden state of the last regime; `first_bar` is its first bar.

    Raises
    ------
    ConfigError
        If the kind is unknown or `noise` is not in (0, 10].
    """
    if kind not in PROCESS_KINDS:
        msg = f"The kind must be one of a process, but got {kind!r}."
        raise ConfigError(msg + did_you_mean(kind, PROCESS_KINDS))
    if not 0 < noise <= 10:
        raise ConfigError(f"`0 < noise <= 10` must hold for a process, but got noise={noise}.")
    rng = np.random.default_rng([seed, 1_000 + PROCESS_KINDS.index(kind)])
    # Bearish kinds are bullish ones upside down: none is drawn differently from its mirror image.
    sign = -1.0 if kind in SHORT_PROCESSES else 1.0
    name = ("drift_up", "jump_up")[SHORT_PROCESSES.index(kind)] if kind in SHORT_PROCESSES else kind
    last_bars = int(rng.integers(SHORTEST, LONGEST + 1))
    scale = float(rng.choice([*VOLATILITIES.values()]))
    regimes = [*_before(rng, N_BARS - last_bars, noise, name), _last(name, last_bars, scale, noise)]
    path = _path(regimes, rng, sign)
    rows = _bars_of_steps(path)
    sigma = rng.uniform(2e-4, 8e-4)
    price = rng.uniform(1.05, 1.25) * np.exp(sigma * (rows - rows.mean()))
    long, short = kind in LONG_PROCESSES, kind in SHORT_PROCESSES
    return PlantedCase(
        bars=bars_of_rows(price),
        kind=kind,
        bias="long" if long else "short" if short else "neutral",
        first_bar=N_BARS - last_bars,
        last_bar=N_BARS - 1,
        generator="processes",
        trend="up" if long else "down" if short else "sideways",
        volatility=next(word for word, value in VOLATILITIES.items() if value == scale),
    )


def _before(rng: np.random.Generator, bars: int, noise: float, kind: str) -> list[_Regime]:
    """Return one to three regimes before the last, of any sort; before a jump the price is held."""
    held = kind == "jump_up"
    cuts = np.sort(rng.integers(10, max(11, bars - 10), size=int(rng.integers(0, 3))))
    lengths = np.diff([0, *cuts, bars])
    regimes = []
    for number, length in enumerate(lengths):
        if length == 0:
            continue
        last = number == len(lengths) - 1
        sort = 1 if held and last else int(rng.integers(4))
        drift = {2: DRIFT / noise, 3: -DRIFT / noise}.get(sort, 0.0)
        regimes.append(_Regime(int(length), drift, PULL if sort == 1 else 0.0, 1.0))
    return regimes


def _last(kind: str, bars: int, scale: float, noise: float) -> _Regime:
    # Drift grows with the steps' size, so that low and high volatility are equally hard.
    drift = DRIFT * scale / noise
    if kind == "drift_up":
        return _Regime(bars, drift, 0.0, scale)
    if kind == "jump_up":
        return _Regime(bars, 0.5 * drift, 0.0, scale, jump=JUMP * scale / noise)
    return _Regime(bars, 0.0, PULL if kind == "reverting" else 0.0, scale)


def _path(regimes: list[_Regime], rng: np.random.Generator, sign: float) -> FloatArray:
    """Return the log price after each step, in standard deviations of a calm bar, from 0 on."""
    steps = [0.0]
    x = 0.0
    for regime in regimes:
        level = x + regime.jump
        x = level
        pull = regime.pull / STEPS_PER_BAR
        size = regime.sigma / math.sqrt(STEPS_PER_BAR)
        shocks = size * rng.normal(size=regime.bars * STEPS_PER_BAR)
        jumps = rng.random(regime.bars) < RANDOM_JUMPS
        shocks[np.flatnonzero(jumps) * STEPS_PER_BAR] += (
            0.5 * JUMP * regime.sigma * rng.choice([-1.0, 1.0], size=int(jumps.sum()))
        )
        for shock in shocks:
            x += regime.drift / STEPS_PER_BAR + pull * (level - x) + float(shock)
            steps.append(x)
    return sign * np.array(steps)


def _bars_of_steps(path: FloatArray) -> FloatArray:
    """Return rows of open, high, low, close: each bar opens where the one before closed."""
    inner = path[1:].reshape(-1, STEPS_PER_BAR)
    opened = path[:-1:STEPS_PER_BAR]
    close = inner[:, -1]
    high = np.maximum(inner.max(axis=1), opened)
    low = np.minimum(inner.min(axis=1), opened)
    return np.column_stack([opened, high, low, close])
