"""The generators of planted truth by name: what each can plant, and noise, warps and mirrors of its charts.

Two of different nature plant something: `templates` draws the lines of a pattern and strays from them
(`aiopt.analyst.planted`); `processes` draws steps of a random process with hidden regimes
(`aiopt.analyst.processes`).  `walks` plants nothing (`aiopt.analyst.walks`): it is for what any chart shows.
Kinds and whole generators can be held out of training, so that it can be measured whether a reader learnt
charts or one generator's hand.

Owns the names and which kinds take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aiopt.analyst.planted import (
    LONG_KINDS,
    NEUTRAL_KINDS,
    SHORT_KINDS,
    PlantedCase,
    planted_case,
    with_rows,
)
from aiopt.analyst.processes import (
    LONG_PROCESSES,
    NEUTRAL_PROCESSES,
    SHORT_PROCESSES,
    process_case,
)
from aiopt.analyst.walks import WALK_KINDS, walk_case
from aiopt.bars.schema import BarArrays
from aiopt.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Generator:
    """One generator.

    Attributes
    ----------
    name : str
        In records.
    long, short, neutral : tuple of str
        Its kinds by the side they stand for.
    case : callable
        Takes a kind, and by name `seed` and `noise`.
    """

    name: str
    long: tuple[str, ...]
    short: tuple[str, ...]
    neutral: tuple[str, ...]
    case: Callable[..., PlantedCase]

    @property
    def kinds(self) -> tuple[str, ...]:
        """All kinds."""
        return (*self.long, *self.short, *self.neutral)

    def mirror(self, kind: str) -> str:
        """Return the kind that a chart of `kind` shows upside down; long and short kinds pair up in turn."""
        pairs = dict(zip(self.long, self.short, strict=True))
        return pairs.get(kind) or {short: long for long, short in pairs.items()}.get(kind, kind)


GENERATORS: dict[str, Generator] = {
    "templates": Generator("templates", LONG_KINDS, SHORT_KINDS, NEUTRAL_KINDS, planted_case),
    "processes": Generator("processes", LONG_PROCESSES, SHORT_PROCESSES, NEUTRAL_PROCESSES, process_case),
}
"""Every generator of planted truth by name."""

UNPLANTED: dict[str, Generator] = {"walks": Generator("walks", (), (), WALK_KINDS, walk_case)}
"""Generators that plant nothing: their charts have definitions to learn and no side, and judge no rules."""

SOURCES: dict[str, Generator] = {**GENERATORS, **UNPLANTED}
"""Every generator by name."""


def generator_of(name: str) -> Generator:
    """Return a generator by name.

    Raises
    ------
    ConfigError
        If there is none.
    """
    if name not in SOURCES:
        msg = f"The generator must be one of {', '.join(SOURCES)}, but got {name!r}."
        raise ConfigError(msg + did_you_mean(name, SOURCES))
    return SOURCES[name]


def kinds_in_turn(generator: Generator, n: int, *, kinds: tuple[str, ...] | None = None) -> list[str]:
    """Return `n` kinds: sides take turns, and the kinds of a side do.

    Parameters
    ----------
    generator : Generator
        Whose kinds.
    n : int
        How many.
    kinds : tuple of str, optional
        The only ones to take; a side without any is left out.

    Raises
    ------
    ConfigError
        If a kind is none of the generator's, or none is left.
    """
    allowed = generator.kinds if kinds is None else kinds
    for kind in allowed:
        if kind not in generator.kinds:
            msg = f"The kind must be one of the generator {generator.name!r}, but got {kind!r}."
            raise ConfigError(msg + did_you_mean(kind, generator.kinds))
    sides = (generator.long, generator.short, generator.neutral)
    groups = [group for side in sides if (group := [kind for kind in side if kind in allowed])]
    if not groups:
        msg = f"The generator {generator.name!r} must have a kind left, but has none. Leave it some."
        raise ConfigError(msg)
    count = len(groups)
    return [groups[i % count][i // count % len(groups[i % count])] for i in range(n)]


def warped_bars(bars: BarArrays, *, seed: int, strength: float = 0.2) -> BarArrays:
    """Return bars whose shape is stretched here and squeezed there, along the price.

    A slow random wave of up to `strength` of the chart's range is added to all four prices of each bar; every
    bar keeps its own body and wicks.

    Raises
    ------
    ConfigError
        If `strength` is not in [0, 1].
    """
    if not 0 <= strength <= 1:
        raise ConfigError(f"`0 <= strength <= 1` must hold for a warp, but got {strength}.")
    rng = np.random.default_rng([seed, 77])
    at = np.linspace(0, 2 * np.pi, len(bars))
    wave = sum(rng.normal() / k * np.sin(k * at / 2 + rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3))
    wave = np.asarray(wave) / max(1e-12, float(np.abs(wave).max()))
    height = float(bars.high.max() - bars.low.min())
    rows = np.column_stack([bars.open, bars.high, bars.low, bars.close])
    return with_rows(bars, rows + 0.5 * strength * height * wave[:, None])


def noisy_bars(bars: BarArrays, *, seed: int, strength: float = 1.0) -> BarArrays:
    """Return bars with more noise: each bar is moved, and its wicks grow, by shares of the mean range.

    Raises
    ------
    ConfigError
        If `strength` is not in [0, 10].
    """
    if not 0 <= strength <= 10:
        raise ConfigError(f"`0 <= strength <= 10` must hold for noise, but got {strength}.")
    rng = np.random.default_rng([seed, 78])
    unit = strength * float((bars.high - bars.low).mean())
    shift = unit * rng.normal(size=len(bars))
    rows = np.column_stack([bars.open, bars.high, bars.low, bars.close]) + shift[:, None]
    rows[:, 1] += 0.5 * unit * rng.exponential(size=len(bars))
    rows[:, 2] -= 0.5 * unit * rng.exponential(size=len(bars))
    return with_rows(bars, rows)
