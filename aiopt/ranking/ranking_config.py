"""How trials are judged: thresholds, weights, assumptions of the cost stress.

Owns the settings and their rules; `docs/explanation/ranking.md` explains them.  Knows no trial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from aiopt.errors import ConfigError
from aiopt.series import Symbol
from aiopt.timeframe import parse_timeframe


def _hold(rule: str, held: bool, value: object) -> None:
    if not held:
        raise ConfigError(f"`{rule}` must hold, but got {value}. Change it in `ranking`.")


class ScoreWeights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights of the score's components; each at least 0, and they are divided by their sum.

    Attributes
    ----------
    deflated_sharpe : float
        Probability that the Sharpe ratio beats the best of all trials without skill.
    profit_factor : float
        Gross profit against gross loss.
    drawdown : float
        Profit against the deepest fall on the way.
    consistency : float
        Share of folds with a profit.
    cost_stress : float
        Share of the profit left under higher costs.
    """

    deflated_sharpe: float = 0.40
    profit_factor: float = 0.15
    drawdown: float = 0.15
    consistency: float = 0.15
    cost_stress: float = 0.15

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        for name, value in values.items():
            _hold(f"weights.{name} >= 0", 0 <= value < math.inf, value)
        _hold("the sum of weights > 0", sum(values.values()) > 0, 0)

    def shares(self) -> dict[str, float]:
        """Return the weights divided by their sum."""
        total = sum(getattr(self, name) for name in self.__struct_fields__)
        return {name: getattr(self, name) / total for name in self.__struct_fields__}


class StressConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Costs the score's stress component assumes on top of those of the backtest.

    Attributes
    ----------
    extra_spread_pips : float
        Added to the spread of every round trip.
    commission_factor : float
        Commission is this many times the backtest's; at least 1.
    pip_size : float or None
        Quote currency per pip and unit: 0.0001 for EURUSD, 0.01 for GBPJPY.  None: that of the instrument
        traded, which a run sets with `RankingConfig.with_pip`; nothing can be ranked before.
    pip_sizes : dict of str to float or unset
        The same per instrument, in a run of several markets; a run sets it with `RankingConfig.with_pips`.
    """

    extra_spread_pips: float = 0.3
    commission_factor: float = 1.5
    pip_size: float | None = None
    pip_sizes: dict[str, float] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        _hold("stress.extra_spread_pips >= 0", 0 <= self.extra_spread_pips < 1e6, self.extra_spread_pips)
        _hold("stress.commission_factor >= 1", 1 <= self.commission_factor < 1e6, self.commission_factor)
        if self.pip_size is not None:
            _hold("stress.pip_size > 0", 0 < self.pip_size < 1e6, self.pip_size)
        for symbol, size in (self.pip_sizes or {}).items():
            _hold(f"stress.pip_sizes[{symbol}] > 0", 0 < size < 1e6, size)

    @property
    def pip(self) -> float:
        """Return the pip.

        Raises
        ------
        ConfigError
            If none was set: a stress in pips means nothing without the instrument's.
        """
        if self.pip_size is None:
            msg = "`stress.pip_size` is not set, and ranking needs the instrument's pip."
            raise ConfigError(msg + " Set it with RankingConfig.with_pip(instrument.pip_size).")
        return self.pip_size

    def pip_of(self, instrument: Symbol) -> float:
        """Return the pip of an instrument; unset: of the only one of the run.

        Raises
        ------
        ConfigError
            If none was set.
        """
        if not instrument:
            return self.pip
        sizes = self.pip_sizes or {}
        if instrument not in sizes:
            msg = f"`stress.pip_sizes` must name every market before trials are ranked, but not {instrument}."
            raise ConfigError(msg + " Set them with RankingConfig.with_pips.")
        return sizes[str(instrument)]


FAMILY_WISE = "family-wise"
DEFLATED = "deflated"


class RankingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How trials are judged.

    Attributes
    ----------
    top : int
        Entries to emit.
    lanes : int
        Candidates per group: lane j follows the j-th best distinct trial of every train window.
    min_train_trades : int
        A trial with fewer trades in a train window cannot be chosen on it.
    min_oos_trades : int
        A candidate with fewer trades out of sample is not ranked.
    max_correlation : float
        A candidate whose out-of-sample profits correlate more than this with a better one's is dropped.
    min_param_distance : float
        So is one of the same group whose emitted parameters all differ by no more than this share of the
        range tried from a better one's.
    period : str
        Length of the periods on which profits are compared, e.g. ``"1h"``.
    confidence : float
        Level of intervals, of the probabilities a verdict asks for, and of the adjusted p-values.
    bootstrap_resamples : int
        Resamples of intervals and drawdown distributions.
    pbo_blocks : int
        Blocks of the probability of backtest overfitting; even.
    seed : int
        Seed of the resamples.
    evidence : str
        What the check "beyond luck" asks for.  ``"family-wise"``: the max-T p-value of the candidates that
        were compared out of sample is at most ``1 - confidence``.  ``"deflated"``, stricter: the deflated
        Sharpe ratio, for which every trial counts as a try out of sample, is at least `confidence`.
    weights : ScoreWeights
        Of the score.
    stress : StressConfig
        Of the score's cost stress.
    """

    top: int = 5
    lanes: int = 5
    min_train_trades: int = 10
    min_oos_trades: int = 30
    max_correlation: float = 0.95
    min_param_distance: float = 0.02
    period: str = "1h"
    confidence: float = 0.95
    bootstrap_resamples: int = 1000
    pbo_blocks: int = 10
    seed: int = 0
    evidence: Literal["family-wise", "deflated"] = "family-wise"
    weights: ScoreWeights = ScoreWeights()
    stress: StressConfig = StressConfig()

    def __post_init__(self) -> None:
        for name in ("top", "lanes", "min_train_trades", "min_oos_trades"):
            _hold(f"{name} >= 1", getattr(self, name) >= 1, getattr(self, name))
        _hold("0 < max_correlation <= 1", 0 < self.max_correlation <= 1, self.max_correlation)
        _hold("0 <= min_param_distance < 1", 0 <= self.min_param_distance < 1, self.min_param_distance)
        _hold("0.5 < confidence < 1", 0.5 < self.confidence < 1, self.confidence)
        _hold(
            "100 <= bootstrap_resamples <= 100000",
            100 <= self.bootstrap_resamples <= 100_000,
            self.bootstrap_resamples,
        )
        even = 2 <= self.pbo_blocks <= 16 and self.pbo_blocks % 2 == 0
        _hold("2 <= pbo_blocks <= 16, even", even, self.pbo_blocks)
        _hold("seed >= 0", self.seed >= 0, self.seed)
        # The smallest p-value of so many resamples: with fewer nothing could ever pass.
        finest = (self.bootstrap_resamples + 1) * (1 - self.confidence)
        _hold(
            "(bootstrap_resamples + 1) * (1 - confidence) >= 1",
            finest >= 1 - 1e-9,
            f"bootstrap_resamples={self.bootstrap_resamples}, confidence={self.confidence}",
        )
        parse_timeframe(self.period)

    def document(self) -> dict[str, Any]:
        """Return the settings as plain data; those later versions added are left out at their default."""
        settings: dict[str, Any] = msgspec.to_builtins(self)
        if self.evidence == FAMILY_WISE:
            del settings["evidence"]
        return settings

    def with_pip(self, pip_size: float) -> RankingConfig:
        """Return these settings with the pip of the instrument traded.

        Raises
        ------
        ConfigError
            If the settings name another pip: its costs would be those of another instrument.
        """
        stated = self.stress.pip_size
        if stated is not None and not math.isclose(stated, pip_size, rel_tol=1e-9):
            msg = f"`ranking.stress.pip_size` must be the pip of the instrument, {pip_size:g}"
            raise ConfigError(f"{msg}, but got {stated:g}. Leave it out.")
        stress = msgspec.structs.replace(self.stress, pip_size=pip_size)
        return msgspec.structs.replace(self, stress=stress)

    def with_pips(self, pip_sizes: Mapping[str, float]) -> RankingConfig:
        """Return these settings with the pip of each instrument of a run of several markets.

        Raises
        ------
        ConfigError
            If the settings name one pip for all, or another pip of an instrument.
        """
        if self.stress.pip_size is not None:
            msg = f"`ranking.stress.pip_size` is one pip, {self.stress.pip_size:g}, but the markets are "
            raise ConfigError(f"{msg}{', '.join(pip_sizes)}. Leave it out: each has its own.")
        if self.stress.pip_sizes and self.stress.pip_sizes != dict(pip_sizes):
            msg = f"`ranking.stress.pip_sizes` must be the instruments' own, {dict(pip_sizes)}, but got "
            raise ConfigError(f"{msg}{self.stress.pip_sizes}. Leave it out.")
        stress = msgspec.structs.replace(self.stress, pip_sizes=dict(pip_sizes))
        return msgspec.structs.replace(self, stress=stress)

    @property
    def period_ns(self) -> int:
        """Length of a period in nanoseconds."""
        return parse_timeframe(self.period).ns
