"""What a search seeks: objectives of the figures of a train window.

Owns their names, formulas and directions.  Knows neither bars nor trials: the figures are computed where the
rows are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiopt.errors import ConfigError, did_you_mean

MOST_PROFIT_FACTOR = 100.0
"""A window without a loss counts as this: infinity could not be compared."""


class WindowFigures(Protocol):
    """Figures of one trial over the segments of one train window; `aiopt.ranking.windows` computes them."""

    @property
    def trades(self) -> int:
        """Trades that closed."""
        ...

    @property
    def sharpe(self) -> float:
        """Annualised Sharpe ratio of the profits per period; NaN where they do not vary."""
        ...

    @property
    def net_return(self) -> float:
        """Profit as a share of the initial balance."""
        ...

    @property
    def drawdown(self) -> float:
        """Deepest fall of the equity as a share of the initial balance."""
        ...

    @property
    def turnover(self) -> float:
        """Units traded, each round trip once, per unit of the initial balance."""
        ...

    @property
    def gross_profit(self) -> float:
        """Sum of the winning trades, account currency."""
        ...

    @property
    def gross_loss(self) -> float:
        """Sum of the losing trades, account currency, positive."""
        ...


@dataclass(frozen=True)
class Objective:
    """Something to seek.

    Attributes
    ----------
    value : callable
        Of the figures of a window.
    least : bool
        Less is better.
    text : str
        What it is, in words.
    """

    value: Callable[[WindowFigures], float]
    least: bool
    text: str


def _profit_factor(figures: WindowFigures) -> float:
    if figures.gross_loss <= 0:
        return MOST_PROFIT_FACTOR if figures.gross_profit > 0 else math.nan
    return min(figures.gross_profit / figures.gross_loss, MOST_PROFIT_FACTOR)


OBJECTIVES: dict[str, Objective] = {
    "sharpe": Objective(lambda f: f.sharpe, False, "annualised Sharpe ratio of the profits per period"),
    "return": Objective(lambda f: f.net_return, False, "profit as a share of the initial balance"),
    "drawdown": Objective(lambda f: f.drawdown, True, "deepest fall as a share of the initial balance"),
    "turnover": Objective(
        lambda f: f.turnover, True, "units traded, each round trip once, per unit of the initial balance"
    ),
    "profit_factor": Objective(_profit_factor, False, "gross profit by gross loss, at most 100"),
}
"""By name; each is computed on a train window alone."""


def check_objectives(names: Sequence[str]) -> None:
    """Refuse objectives that there are none of, none at all, or one twice.

    Raises
    ------
    ConfigError
        Listing those there are.
    """
    known = ", ".join(OBJECTIVES)
    if not names:
        raise ConfigError(f"`search.objectives` is empty. Name at least one of {known}.")
    for name in names:
        if name not in OBJECTIVES:
            hint = did_you_mean(name, OBJECTIVES)
            raise ConfigError(f"There is no objective {name!r}. Use one or several of {known}.{hint}")
    if len(set(names)) < len(names):
        raise ConfigError(f"`search.objectives` has one twice: {', '.join(names)}. Remove one.")


def values_of(figures: WindowFigures, names: Sequence[str]) -> tuple[float, ...]:
    """Return the objectives of a window as they are."""
    return tuple(float(OBJECTIVES[name].value(figures)) for name in names)


def upwards(values: Sequence[float], names: Sequence[str]) -> tuple[float, ...]:
    """Return values with the sign changed where less is better, or back again: more is better then."""
    return tuple(
        -value if OBJECTIVES[name].least else value for value, name in zip(values, names, strict=True)
    )
