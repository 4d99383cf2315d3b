"""What a set of tasks is made of, as data: sources of charts, tasks, splits, what is held out, pictures.

Owns the settings, their rules and how a chart is drawn by them.  Decides nothing of what is in it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import msgspec

from aiopt.analyst.generators import generator_of
from aiopt.analyst.planted import N_BARS
from aiopt.analyst.shown import FEWEST_BARS
from aiopt.bars.schema import BarArrays
from aiopt.charts import ChartSpec, render_chart
from aiopt.charts.theme import ThemeName
from aiopt.config import content_hash
from aiopt.errors import ConfigError, did_you_mean

LAYOUT = "tasks/1"
"""Version of files and columns."""

DEFAULT_TASKS = (
    "trend",
    "volatility",
    "highest",
    "lowest",
    "close_position",
    "support",
    "resistance",
    "engulfing",
    "bias",
    "pattern",
)
ALL_TASKS = (*DEFAULT_TASKS, "regime", "levels", "state", "forward", "strategy", "analysis")
POSITION_TASKS = ("outcome_long", "outcome_short")
"""Of sets made from closed positions, which have no other."""

MOST_CHARTS = 1_000_000


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        msg = f"`{low:g} <= {name} <= {high:g}` must hold, but got {value}. Choose a value in that range."
        raise ConfigError(msg)


class GeneratorSource(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="generator"
):
    """Charts with planted truth.

    Attributes
    ----------
    name : str
        ``templates`` or ``processes``, see `aiopt.analyst.generators`.
    charts : int
        In train, validation and test together; of a generator held out, in its own split.
    noise : tuple of float
        Taken in turn: 0.5 easy, 1 usual, 2 hard to see.
    warp : float
        How far shapes are stretched along the price, in ranges of the chart; 0: not at all.
    """

    name: str
    charts: int
    noise: tuple[float, ...] = (1.0,)
    warp: float = 0.0

    def __post_init__(self) -> None:
        generator_of(self.name)
        _check_range("sources.charts", self.charts, 1, MOST_CHARTS)
        _check_range("sources.warp", self.warp, 0, 1)
        if not self.noise:
            raise ConfigError("`sources.noise` must name at least one strength, but is empty. Use [1.0].")
        for value in self.noise:
            _check_range("sources.noise", value, 0.1, 10)


class BarsSource(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="bars"
):
    """Windows of bars.

    Attributes
    ----------
    path : str
        A folder with ``bid.parquet`` and ``ask.parquet``, or one Parquet file of bars.
    symbol, timeframe : str or None
        Which bars, where the folder holds several.
    stride : int
        A window every so many bars.
    """

    path: str
    symbol: str | None = None
    timeframe: str | None = None
    stride: int = 120

    def __post_init__(self) -> None:
        _check_range("sources.stride", self.stride, 1, 1_000_000)


class PositionsSource(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="positions"
):
    """Charts at the entries of closed positions; `aiopt dataset from-trades` makes sets of them.

    Attributes
    ----------
    part : {"in", "out"}
        Positions on time their strategy was chosen on, or on time it had not seen; never both.
    flat_r : float
        Results smaller than this, in R, are flat.
    until_ns : int or None
        Positions that closed later are left out, UTC.
    accounts : tuple of str
        Runs and accounts they are from.
    positions : str
        Hash of positions, bars and readings.
    """

    part: Literal["in", "out"]
    flat_r: float = 0.1
    until_ns: int | None = None
    accounts: tuple[str, ...] = ()
    positions: str = ""

    def __post_init__(self) -> None:
        _check_range("flat_r", self.flat_r, 0, 10)

    def with_hash(self, positions: str) -> PositionsSource:
        """Return this source of known positions."""
        return msgspec.structs.replace(self, positions=positions)


class HeldOutConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What no chart of train, validation or test may be of.

    Attributes
    ----------
    kinds : tuple of str
        Kinds of generators, each together with its mirror image; their charts are the split ``unseen_kinds``.
    generators : tuple of str
        Whole generators; their charts are ``unseen_generators``.
    instruments : tuple of str
        Symbols; their windows in the time of the test split are ``unseen_instruments``.
    """

    kinds: tuple[str, ...] = ()
    generators: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.generators:
            generator_of(name)


class ShareConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shares of train, validation and test: of a generator's charts by number, of bars by time.

    Attributes
    ----------
    train, validation, test : float
        All positive; they sum to 1.
    """

    train: float = 0.7
    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        if not (min(shares) > 0 and abs(sum(shares) - 1) < 1e-9):
            msg = (
                "`train > 0`, `validation > 0`, `test > 0` and a sum of 1 must hold for shares, but got "
                f"{self.train}, {self.validation}, {self.test}. Try 0.7, 0.15, 0.15."
            )
            raise ConfigError(msg)


class ForwardConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The class of what came after a chart, for the task ``forward`` alone.

    Attributes
    ----------
    horizon : int
        Bars after the last one shown.
    threshold : float
        Move from the last close from which on it is up or down, in mean ranges (high minus low) of the bars
        shown.
    """

    horizon: int = 12
    threshold: float = 1.0

    def __post_init__(self) -> None:
        _check_range("forward.horizon", self.horizon, 1, 5000)
        _check_range("forward.threshold", self.threshold, 0, 1000)


class PictureConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How charts are drawn: candles alone.

    Attributes
    ----------
    store : {"files", "embed"}
        PNG files in ``charts/``, one per chart, or bytes in each row.
    width, height, theme
        As `aiopt.charts.ChartSpec`.
    mark_synthetic : bool
        Draw the badge SYNTHETIC on generated charts.  Without it a model cannot learn generated charts from
        real ones by their badge; `synthetic` in the rows still says which is which.
    """

    store: Literal["files", "embed"] = "files"
    width: int = 480
    height: int = 320
    theme: ThemeName = "dark"
    mark_synthetic: bool = True

    def __post_init__(self) -> None:
        self.spec()

    def spec(self) -> ChartSpec:
        """Return how the charts are drawn."""
        return ChartSpec(width=self.width, height=self.height, theme=self.theme, volume=False)

    def draw(self, bars: BarArrays) -> bytes:
        """Return a chart of bars as PNG."""
        shown = bars if self.mark_synthetic else replace(bars, synthetic=False)
        return render_chart(shown, self.spec())


class TaskSetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides the content of a set of tasks, besides the bars.

    Attributes
    ----------
    tasks : tuple of str
        Of `ALL_TASKS`; a chart without an answer to one (no planted truth, no later bars) has no row for it.
    sources : tuple of GeneratorSource or BarsSource
        Where charts come from.
    held_out, shares, forward, pictures
        See their types.
    window : int
        Bars of a chart; 120 where a generator draws.
    numbers : bool
        Write the bars into the question too: for readers without eyes.
    across_gaps : {"drop", "keep"}
        Windows of bars that span a gap or a weekend.
    mirrored : bool
        Show every chart of the train split upside down as well, with the answers to that: no side is seen
        more often than the other.
    seed : int
        Of the generators.

    Raises
    ------
    ConfigError
        On construction, naming the rule, the value and the remedy.
    """

    sources: tuple[GeneratorSource | BarsSource | PositionsSource, ...]
    tasks: tuple[str, ...] = DEFAULT_TASKS
    held_out: HeldOutConfig = HeldOutConfig()
    shares: ShareConfig = ShareConfig()
    forward: ForwardConfig = ForwardConfig()
    pictures: PictureConfig = PictureConfig()
    window: int = N_BARS
    numbers: bool = False
    across_gaps: Literal["drop", "keep"] = "drop"
    mirrored: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        of_positions = any(isinstance(one, PositionsSource) for one in self.sources)
        if of_positions != bool(set(self.tasks) & set(POSITION_TASKS)):
            msg = f"{', '.join(POSITION_TASKS)} are asked of closed positions, and of nothing else, but got "
            raise ConfigError(f"{msg}{list(self.tasks)}. Use `aiopt dataset from-trades` for these.")
        if of_positions and self.mirrored:
            msg = (
                "How a position ended, after costs, has no mirror image, but got mirrored=True. Leave it out."
            )
            raise ConfigError(msg)
        for name in self.tasks:
            if name not in (POSITION_TASKS if of_positions else ALL_TASKS):
                msg = f"`tasks` must be of {', '.join(ALL_TASKS)}, but got {name!r}."
                raise ConfigError(msg + did_you_mean(name, ALL_TASKS))
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ConfigError(f"`tasks` must be different names, at least one, but got {list(self.tasks)}.")
        if not self.sources:
            raise ConfigError("`sources` must name at least one source of charts, but is empty. Add one.")
        _check_range("window", self.window, FEWEST_BARS, 4096)
        _check_range("seed", self.seed, 0, 2**31 - 1)
        generators = [one.name for one in self.sources if isinstance(one, GeneratorSource)]
        if generators and self.window != N_BARS:
            msg = f"`window = {N_BARS}` must hold where a generator draws, but got {self.window}. "
            raise ConfigError(f"{msg}Leave it out, or take bars alone.")
        self._check_held_out(generators)

    def _check_held_out(self, generators: list[str]) -> None:
        held = self.held_out
        known = {kind for name in generators for kind in generator_of(name).kinds}
        for kind in held.kinds:
            if kind not in known:
                msg = f"`held_out.kinds` must be kinds of the generators in sources, but got {kind!r}."
                raise ConfigError(msg + did_you_mean(kind, known))
            mirrors = {generator_of(name).mirror(kind) for name in generators}
            for mirror in mirrors & known - set(held.kinds):
                msg = (
                    f"`held_out.kinds` must hold a kind's mirror image too, but has {kind!r} without "
                    f"{mirror!r}: a mirrored training chart would show it. Add {mirror!r}."
                )
                raise ConfigError(msg)
        for name in held.generators:
            if name not in generators:
                msg = f"`held_out.generators` must be among the sources, but {name!r} is not. Add it there."
                raise ConfigError(msg)

    @property
    def config_hash(self) -> str:
        """Hex SHA-256 of the canonical content."""
        return content_hash(self)
