"""What a dataset is made of, as data: features, labels, costs, splits, charts, conversations.

Owns the settings, their rules and the hash of what decides the content.  Computes nothing.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from aiopt.charts import ChartSpec, IndicatorPlot, parse_plot
from aiopt.charts.spec import PRICE_KINDS
from aiopt.charts.theme import ThemeName
from aiopt.config import content_hash
from aiopt.errors import ConfigError

SCHEMA_VERSION = 1
"""Version of the layout of files and columns; a reader refuses a newer one."""

MAX_HORIZON = 5000
"""Bars; a label further ahead is likelier a mistake than an intention."""

_TIGHTEST_SHARD, _LARGEST_SHARD = 1, 10_000_000
_ROWS_WITH_IMAGES = 2_000
_ROWS_WITHOUT_IMAGES = 100_000


def _check_bars(name: str, values: tuple[int, ...]) -> None:
    for value in values:
        _check_range(name, value, 1, MAX_HORIZON)
    if len(set(values)) != len(values):
        raise ConfigError(f"`{name}` must not repeat a value, but is {list(values)}. Name each once.")


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        msg = f"`{low:g} <= {name} <= {high:g}` must hold, but got {value}. Choose a value in that range."
        raise ConfigError(msg)


def _check_positive(name: str, value: float, high: float) -> None:
    if not (math.isfinite(value) and 0 < value <= high):
        msg = f"`0 < {name} <= {high:g}` must hold, but got {value}. Choose a value in that range."
        raise ConfigError(msg)


class FeatureConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known at the close of a bar.

    Attributes
    ----------
    indicators : tuple of str
        ``KIND:NAME=NUMBER,…`` as ``aiopt charts`` takes them; kinds of ``aiopt indicators list``.
    return_lags : tuple of int
        Bars over which past log returns are given.
    atr_length : int
        Bars of the ATR that scales ranges, distances, thresholds and barriers.
    regime_window : int
        Bars over which the ATR is ranked for the volatility regime.
    regime_low, regime_high : float
        Ranks in (0, 1) at and below which volatility is low, and above which it is high.
    """

    indicators: tuple[str, ...] = ("ema:length=20", "ema:length=50", "rsi", "macd", "bollinger", "dmi")
    return_lags: tuple[int, ...] = (1, 5, 20)
    atr_length: int = 14
    regime_window: int = 500
    regime_low: float = 0.33
    regime_high: float = 0.67

    def __post_init__(self) -> None:
        for text in self.indicators:
            parse_plot(text)
        _check_bars("features.return_lags", self.return_lags)
        _check_range("features.atr_length", self.atr_length, 1, MAX_HORIZON)
        _check_range("features.regime_window", self.regime_window, 2, 100_000)
        if not 0 < self.regime_low < self.regime_high < 1:
            msg = (
                "`0 < regime_low < regime_high < 1` must hold, but got "
                f"regime_low={self.regime_low}, regime_high={self.regime_high}. Choose e.g. 0.33 and 0.67."
            )
            raise ConfigError(msg)

    def plots(self) -> tuple[IndicatorPlot, ...]:
        """Return the indicators with their arguments."""
        return tuple(parse_plot(text) for text in self.indicators)


class CostConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a trade pays, where labels are to be net of it.

    Attributes
    ----------
    spread_pips : float or None
        Spread at entry and exit; None: that of the bid and ask bars.
    commission_per_million : float
        Quote currency per million traded, each side.
    slippage_pips : float
        By which entry and exit are worse, each.
    """

    spread_pips: float | None = None
    commission_per_million: float = 35.0
    slippage_pips: float = 0.0

    def __post_init__(self) -> None:
        _check_range("labels.costs.spread_pips", self.spread_pips or 0.0, 0, 1000)
        _check_range("labels.costs.commission_per_million", self.commission_per_million, 0, 1e5)
        _check_range("labels.costs.slippage_pips", self.slippage_pips, 0, 1000)


class BarrierConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The triple barrier: which of two prices is touched first within a horizon.

    Attributes
    ----------
    upper_atr, lower_atr : float
        Distance of the barriers from the entry price in ATR of the decision bar.
    horizon : int
        Bars until the third barrier, time.
    both : {"path", "hold"}
        A bar that touches both: the order of the path O→H→L→C if |O−H| < |O−L|, else O→L→H→C, as the
        backtests have it; or label 0.
    """

    upper_atr: float = 2.0
    lower_atr: float = 2.0
    horizon: int = 24
    both: Literal["path", "hold"] = "path"

    def __post_init__(self) -> None:
        for name in ("upper_atr", "lower_atr"):
            _check_positive(f"labels.triple_barrier.{name}", getattr(self, name), 1000)
        _check_range("labels.triple_barrier.horizon", self.horizon, 1, MAX_HORIZON)


class LabelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens after the close of a bar.

    Attributes
    ----------
    horizons : tuple of int
        Bars ahead; one set of columns each.
    threshold : float
        Move from which on a label is BUY or SELL.
    threshold_unit : {"atr", "pips"}
        Unit of `threshold`; ATR is that of the decision bar.
    entry : {"next_open", "close"}
        Price a move is measured from: the open of the next bar, where an order sent at the close fills, or
        the close itself.
    triple_barrier : BarrierConfig or None
        None: no such label.
    costs : CostConfig or None
        None: labels of the price alone.
    across_gaps : {"keep", "drop"}
        Rows whose label spans a gap or a weekend, see `aiopt.dataset.stretches.market_breaks`.
    """

    horizons: tuple[int, ...] = (6, 12, 24)
    threshold: float = 1.0
    threshold_unit: Literal["atr", "pips"] = "atr"
    entry: Literal["next_open", "close"] = "next_open"
    triple_barrier: BarrierConfig | None = BarrierConfig()
    costs: CostConfig | None = None
    across_gaps: Literal["keep", "drop"] = "drop"

    def __post_init__(self) -> None:
        if not self.horizons:
            raise ConfigError(
                "`labels.horizons` must name at least one horizon, but is empty. Use e.g. [12]."
            )
        _check_bars("labels.horizons", self.horizons)
        _check_positive("labels.threshold", self.threshold, 1e6)

    @property
    def longest(self) -> int:
        """Bars after the decision bar that labels read."""
        barrier = 0 if self.triple_barrier is None else self.triple_barrier.horizon
        return max(*self.horizons, barrier)


class SplitConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How rows are divided by time: train, then validation, then test.

    Attributes
    ----------
    train, validation, test : float
        Shares of the rows before purge and embargo; they sum to 1.  `validation` and `test` may be 0.
    purge_bars : int or None
        Rows so near before a border are left out; None: the longest label horizon, which is also the least.
    embargo_bars : int or None
        Rows so near behind a border are left out; None: the longest label horizon.
    """

    train: float = 0.7
    validation: float = 0.15
    test: float = 0.15
    purge_bars: int | None = None
    embargo_bars: int | None = None

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        if not (self.train > 0 and min(shares) >= 0 and abs(sum(shares) - 1) < 1e-9):
            msg = (
                "`train > 0`, `validation >= 0`, `test >= 0` and a sum of 1 must hold for splits, but got "
                f"train={self.train}, validation={self.validation}, test={self.test}. Try 0.7, 0.15, 0.15."
            )
            raise ConfigError(msg)
        for name in ("purge_bars", "embargo_bars"):
            value = getattr(self, name)
            if value is not None:
                _check_range(f"splits.{name}", value, 0, 1_000_000)

    def widths(self, longest: int) -> tuple[int, int]:
        """Return purge and embargo in bars for labels that read `longest` bars ahead.

        Raises
        ------
        ConfigError
            If `purge_bars` is shorter than the labels.
        """
        purge = longest if self.purge_bars is None else self.purge_bars
        if purge < longest:
            msg = (
                f"`splits.purge_bars >= {longest}` must hold, the longest label horizon, but got {purge}: "
                "else labels before a border would read bars after it. Leave it out, or raise it."
            )
            raise ConfigError(msg)
        return purge, longest if self.embargo_bars is None else self.embargo_bars


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The chart of each row: the window of bars that ends with the decision bar.

    Attributes
    ----------
    store : {"embed", "files"}
        PNG bytes in the Parquet files, or files in ``charts/`` named by the rows.
    window : int
        Bars.
    width, height, theme, overlays, panes, volume
        As `aiopt.charts.ChartSpec`; indicators in the notation of `FeatureConfig.indicators`.
    """

    store: Literal["embed", "files"] = "embed"
    window: int = 200
    width: int = 1200
    height: int = 800
    theme: ThemeName = "dark"
    overlays: tuple[str, ...] = ("ema:length=20", "ema:length=50")
    panes: tuple[str, ...] = ("rsi", "macd")
    volume: bool = True

    def __post_init__(self) -> None:
        _check_range("images.window", self.window, 2, 4096)
        for text in (*self.overlays, *self.panes):
            if (parse_plot(text).kind in PRICE_KINDS) != (text in self.overlays):
                where = "panes" if text in self.overlays else "overlays"
                raise ConfigError(f"The indicator {text!r} belongs in `images.{where}`. Move it there.")
        self.spec()

    def spec(self) -> ChartSpec:
        """Return how the charts are drawn."""
        return ChartSpec(
            width=self.width,
            height=self.height,
            theme=self.theme,
            overlays=tuple(parse_plot(text) for text in self.overlays),
            panes=tuple(parse_plot(text) for text in self.panes),
            volume=self.volume,
        )


class DatasetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides the content of a dataset, besides the bars.

    Attributes
    ----------
    features, labels, splits
        See their types.
    images : ImageConfig or None
        None: no charts.
    messages_horizon : int or None
        Add a conversation per row for supervised fine-tuning, whose bias is the label of this horizon, one of
        `labels.horizons`.  None: none.  Window and indicators of the question are those of `images`, or its
        defaults where there are none.
    across_gaps : {"keep", "drop"}
        What happens to features and windows of charts and conversations at a gap or a weekend: ``"drop"``
        computes features from the bars behind it alone and leaves out rows until they and the window are
        whole; ``"keep"`` takes the bars as if there were none.
    stride : int
        Take every so-manieth bar as a row.
    rows_per_shard : int or None
        Rows of a Parquet file; None: 2,000 with embedded charts (about 120 MB), else 100,000.

    Raises
    ------
    ConfigError
        On construction, naming the rule, the value and the remedy.
    """

    features: FeatureConfig = FeatureConfig()
    labels: LabelConfig = LabelConfig()
    splits: SplitConfig = SplitConfig()
    images: ImageConfig | None = None
    messages_horizon: int | None = None
    across_gaps: Literal["keep", "drop"] = "drop"
    stride: int = 1
    rows_per_shard: int | None = None

    def __post_init__(self) -> None:
        _check_range("stride", self.stride, 1, 1_000_000)
        if self.rows_per_shard is not None:
            _check_range("rows_per_shard", self.rows_per_shard, _TIGHTEST_SHARD, _LARGEST_SHARD)
        if self.messages_horizon is not None and self.messages_horizon not in self.labels.horizons:
            known = ", ".join(map(str, self.labels.horizons))
            msg = f"`messages_horizon` must be one of the label horizons {known}, but is "
            raise ConfigError(msg + f"{self.messages_horizon}. Choose one, or add it to labels.horizons.")
        self.splits.widths(self.labels.longest)

    @property
    def config_hash(self) -> str:
        """Hex SHA-256 of the canonical content."""
        return content_hash(self)

    @property
    def shard_rows(self) -> int:
        """Rows of a Parquet file."""
        if self.rows_per_shard is not None:
            return self.rows_per_shard
        embeds = self.images is not None and self.images.store == "embed"
        return _ROWS_WITH_IMAGES if embeds else _ROWS_WITHOUT_IMAGES
