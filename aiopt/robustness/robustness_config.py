"""What the ranked entries are put through, and the gates they must pass.  Owns these settings and rules."""

from __future__ import annotations

import math

import msgspec

from aiopt.errors import ConfigError, did_you_mean

COMMISSION_FACTORS = (2, 3)
"""Commissions are run again at so many times those of the backtest."""

SCENARIOS = (
    "spread",
    "slippage",
    *(f"commission_{factor}" for factor in COMMISSION_FACTORS),
    "delay",
    "missing_bars",
    "jitter",
    "bootstrap",
    "markets",
)
"""What an entry's walk-forward path is run again under, in the order shown."""

SCENARIO_FIGURES = ("net_pnl", "sharpe", "share_profitable", "net_pnl_q05")
"""Of a scenario: the median profit and Sharpe ratio, the share of draws with a profit, the 5 % quantile."""

OTHER_FIGURES = (
    "neighbourhood.share_profitable",
    "neighbourhood.median_ratio",
    "neighbourhood.test_share_profitable",
    "stability.parameter_move",
    "stability.test_rank",
    "months.share_profitable",
)

FIGURES = (*(f"{name}.{figure}" for name in SCENARIOS for figure in SCENARIO_FIGURES), *OTHER_FIGURES)
"""What a gate may ask for."""


def _hold(rule: str, held: bool, value: object, remedy: str) -> None:
    if not held:
        raise ConfigError(f"`robustness.{rule}` must hold, but got {value!r}. {remedy}")


class Gate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A threshold of one figure.

    Attributes
    ----------
    figure : str
        One of `FIGURES`, e.g. ``"delay.net_pnl"``.
    at_least, at_most : float or None
        The threshold; exactly one of them.
    required : bool
        An entry that fails it does not survive.  False: the outcome is reported and decides nothing.
    """

    figure: str
    at_least: float | None = None
    at_most: float | None = None
    required: bool = False

    def __post_init__(self) -> None:
        if self.figure not in FIGURES:
            msg = f"A gate of `robustness.gates` must name a known figure, but got {self.figure!r}."
            raise ConfigError(msg + did_you_mean(self.figure, FIGURES))
        given = [value for value in (self.at_least, self.at_most) if value is not None]
        if len(given) != 1 or not math.isfinite(given[0]):
            msg = f"The gate on {self.figure} must have one of at_least and at_most, but got at_least="
            raise ConfigError(f"{msg}{self.at_least}, at_most={self.at_most}. Give one number.")

    @property
    def rule(self) -> str:
        """The threshold in words."""
        return f"at least {self.at_least:g}" if self.at_most is None else f"at most {self.at_most:g}"

    def passes(self, value: float | None) -> bool | None:
        """Return whether a value passes; None for a value that is not known."""
        if value is None:
            return None
        return value <= self.at_most if self.at_least is None else value >= self.at_least  # type: ignore[operator]


DEFAULT_GATES = (
    Gate(figure="spread.share_profitable", at_least=0.8, required=True),
    Gate(figure="slippage.share_profitable", at_least=0.8, required=True),
    Gate(figure="commission_2.net_pnl", at_least=0.0),
    Gate(figure="commission_3.net_pnl", at_least=0.0),
    Gate(figure="delay.net_pnl", at_least=0.0),
    Gate(figure="missing_bars.share_profitable", at_least=0.8, required=True),
    Gate(figure="jitter.share_profitable", at_least=0.5, required=True),
    Gate(figure="bootstrap.share_profitable", at_least=0.5),
    Gate(figure="markets.share_profitable", at_least=0.5),
    Gate(figure="neighbourhood.share_profitable", at_least=0.5),
    Gate(figure="months.share_profitable", at_least=0.5),
)
"""Required are those that an edge passes easily and a lucky fit to one sequence of quotes does not."""


class RobustnessConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the ranked entries are put through.

    Attributes
    ----------
    enabled : bool
        Run the stage.
    draws : int
        Runs per scenario that is drawn; fewer over long series, see `aiopt.robustness.stress.draws_for`.
    seed : int
        Of all that is drawn.
    spread_pips : float
        Mean of the extra spread: each draw has a level, uniform between none and twice this, and each clock
        hour its own widening, exponential with that mean, in whole price steps.
    slippage_ticks : float
        Mean of the extra slippage of every market and stop fill: each draw has its own, geometric.
    delay_bars : int
        Bars by which entries come late.
    missing_share : float
        Share of bars that is removed, in gaps.
    missing_gap_bars : float
        Mean length of a gap, geometric, bars.
    jitter : float
        Largest move of a parameter, as a share of the range tried; at least one step.
    block_hours : float
        Mean length of the blocks that rebuilt bars consist of, geometric.
    neighbours : int
        Points screened round the emitted parameters.
    gates : tuple of Gate
        What is asked of the figures.
    """

    enabled: bool = True
    draws: int = 100
    seed: int = 0
    spread_pips: float = 0.3
    slippage_ticks: float = 2.0
    delay_bars: int = 1
    missing_share: float = 0.01
    missing_gap_bars: float = 5.0
    jitter: float = 0.1
    block_hours: float = 24.0
    neighbours: int = 64
    gates: tuple[Gate, ...] = DEFAULT_GATES

    def __post_init__(self) -> None:
        for rule, held, remedy in (
            ("1 <= draws <= 10000", 1 <= self.draws <= 10_000, "Choose e.g. 100."),
            ("seed >= 0", self.seed >= 0, "Choose e.g. 0."),
            ("0 < spread_pips <= 100", 0 < self.spread_pips <= 100, "Choose e.g. 0.3."),
            ("0 < slippage_ticks <= 100", 0 < self.slippage_ticks <= 100, "Choose e.g. 2."),
            ("1 <= delay_bars <= 100", 1 <= self.delay_bars <= 100, "Choose 1."),
            ("0 < missing_share <= 0.5", 0 < self.missing_share <= 0.5, "Choose e.g. 0.01."),
            ("1 <= missing_gap_bars <= 1000", 1 <= self.missing_gap_bars <= 1000, "Choose e.g. 5."),
            ("0 < jitter < 1", 0 < self.jitter < 1, "Choose e.g. 0.1: a tenth of the range tried."),
            ("1 <= block_hours <= 1000", 1 <= self.block_hours <= 1000, "Choose e.g. 24."),
            ("4 <= neighbours <= 10000", 4 <= self.neighbours <= 10_000, "Choose e.g. 64."),
        ):
            field = next(word for word in rule.split() if word in self.__struct_fields__)
            _hold(rule, held, getattr(self, field), remedy)
        figures = [gate.figure for gate in self.gates]
        twice = sorted({figure for figure in figures if figures.count(figure) > 1})
        if twice:
            msg = f"`robustness.gates` must name a figure once, but {', '.join(twice)} has two gates."
            raise ConfigError(f"{msg} Remove one.")
