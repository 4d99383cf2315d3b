"""A known edge in generated ticks: a pull of the price back to its own slow mean, and what it is worth.

Owns the strength of the pull for a stated Sharpe ratio, and the words that say that it was planted.  Knows no
tick.

The edge
--------
Instead of regimes that come and go, every minute's drift is ``pull * (anchor - price)``, with `anchor` the
price's exponential mean of twelve hours; the noise is that of the plain sample, draw for draw.  The price
still wanders, but what leaves its mean comes back, which the ready family `rsi_reversion` waits for, and
nothing else of the ready families does.

The stated ratio is the true one of **that family with its own parameters on 5m bars at default costs**:
annual, of hourly profits, over closed hours too, measured by ``python -m benchmarks planted_edge``.  A sweep
may find parameters that do better; a year's ratio scatters by about 1 around the true one.
"""

from __future__ import annotations

import math

import msgspec

from aiopt.errors import ConfigError

REFERENCE = "rsi_reversion"
"""The family that the edge is for."""

INSTRUMENT = "EURUSD"
"""The only one for which the strengths were measured."""

# Pull per minute, and the Sharpe ratio of the reference at it; between two rows it is linear.
_STRENGTHS = ((0.001, 2.0), (0.002, 4.1), (0.0035, 6.4), (0.005, 8.5), (0.007, 9.9), (0.01, 11.1))

LEAST, MOST = 2.0, 11.0
"""Sharpe ratios that can be planted."""

Edge = float | msgspec.UnsetType
"""A Sharpe ratio, or unset for none: parameters of samples without an edge stay what they were."""


def check_edge(edge: Edge, instrument: str) -> None:
    """Raise `ConfigError` unless the edge can be planted."""
    if edge is msgspec.UNSET:
        return
    if not (math.isfinite(edge) and LEAST <= edge <= MOST):
        msg = (
            f"`{LEAST:g} <= edge <= {MOST:g}` must hold, but got edge={edge:g}. It is a Sharpe ratio; "
            "leave it out for a sample without an edge."
        )
        raise ConfigError(msg)
    if instrument != INSTRUMENT:
        msg = (
            f"An edge can be planted in {INSTRUMENT} alone, for which its worth is known, but the instrument "
            f"is {instrument}. Leave `edge` or `instrument` out."
        )
        raise ConfigError(msg)


def pull_of(edge: Edge) -> float:
    """Return the pull per minute of an edge; 0 without one."""
    if edge is msgspec.UNSET:
        return 0.0
    place = next(i for i, (_, sharpe) in enumerate(_STRENGTHS) if i and sharpe >= edge)
    (low_pull, low), (high_pull, high) = _STRENGTHS[place - 1], _STRENGTHS[place]
    return low_pull + (high_pull - low_pull) * (edge - low) / (high - low)


def edge_note(edge: float) -> str:
    """Return what the manifest says of it."""
    return (
        f"A planted edge: the price is pulled back to its mean of twelve hours by {pull_of(edge):.3g} a "
        f"minute, which gives {REFERENCE} with its own parameters on 5m bars a true Sharpe ratio of {edge:g} "
        "at default costs."
    )
