"""The configuration of an optimisation run.  Owns what it adds to that of a sweep; knows no stage and no Ray.

Precedence: defaults < file < environment (``AIOPT_OPTIMIZE__KEY``, nested keys with ``__``) < command line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from aiopt.analyst.settings import AnalystSettings
from aiopt.bars.importing.reading import BarReading
from aiopt.bars.reading_log import ReadingLog
from aiopt.bars.schema import BarSet
from aiopt.bars.spread_model import SpreadConfig
from aiopt.config import content_hash, decode, environment_overrides, merge, read_mapping
from aiopt.errors import ConfigError, InputError
from aiopt.optimize.market_config import MarketConfig
from aiopt.optimize.pine_config import PineConfig
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.strategy.families import FAMILIES, family
from aiopt.strategy.space import load_search_space
from aiopt.strategy.spec import read_spec_file
from aiopt.sweep.points import Strategy, told_apart
from aiopt.sweep.sweep_config import SweepConfig, check_named

ENVIRONMENT_PREFIX = "AIOPT_OPTIMIZE"
OF_ONE_MARKET = ("instrument", "ticks", "bars", "ask_bars", "bar_reading", "spread", "conversion")
"""Settings that say which market and which data; in a run of several each market has its own."""

TRANSPORT = ("token_variable", "timeout_s", "retries", "concurrency")
"""Settings of the analyst that decide how it is reached, not what it says."""

_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_-]{0,47}$")


class SampleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The generated ticks a run uses when `OptimizeConfig.ticks` is not set.

    Attributes
    ----------
    start : str
        First day, ``YYYY-MM-DD``, UTC.
    days : int
        Calendar days; weekends have no ticks.
    seed : int
        Same seed, same ticks.
    """

    start: str = "2024-03-01"
    days: int = 31
    seed: int = 7


class AnalysisConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The analyst's part in a run.  It never touches a score.

    Attributes
    ----------
    enabled : bool
        Read the market and trades of the ranked entries after the ranking, for the report.
    trades : int
        Trades read per entry, evenly spaced over its trades.
    proposals : bool
        Before the sweep, read the bars of the first train window and sweep what the analyst proposes beside
        the strategies named.  Proposed points are trials like any other.
    proposal_trials : int
        Points per proposal and timeframe.
    reader : AnalystSettings
        Who reads; the rules where no endpoint is given.
    """

    enabled: bool = True
    trades: int = 4
    proposals: bool = False
    proposal_trials: int = 20
    reader: AnalystSettings = AnalystSettings()

    def __post_init__(self) -> None:
        for name, low, high in (("trades", 0, 100), ("proposal_trials", 1, 1_000_000)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"`{low} <= analysis.{name} <= {high}` must hold, but got {value}.")


class OptimizeConfig(SweepConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to optimise, on which data, and how to judge it: a `SweepConfig` and its data.

    Attributes
    ----------
    name : str
        First part of the run folder's name.
    ticks : str or None
        Tick store, folder of tick Parquet, bi5 tree, zips or CSV.
    bars : tuple of str
        Bars instead of ticks: bar files of our own, or a provider's minute or hour bars; one path may be
        given as plain text.  Neither ticks nor bars: the generated sample.
    ask_bars : tuple of str
        Bars of the ask, where `bars` are of the bid alone.
    bar_reading : BarReading
        What files of bars do not say about themselves.
    spread : SpreadConfig
        The spread of one-sided bars.
    conversion : str or None
        Bar folder or file of a pair of the quote and the account's currency, where
        ``backtest.account_currency`` is another than the quote currency.
    readings : str or None
        A scan's folder or ``readings.parquet``, for strategies that ask for readings; of one market alone.
    reading_latency_s : float or None
        Seconds from a chart's end to its reading; None: those the scan took for each.
    sample : SampleConfig
        The generated sample.
    instrument : str
        Symbol, e.g. ``EURUSD``.
    markets : tuple of MarketConfig
        Several instruments in one run with one ranking, each with its own data; instead of `instrument`,
        `ticks`, `bars` and what belongs to them.
    strategies : tuple of str
        Names of ready families, or strategy files (``.yaml``, ``.yml``, ``.json``) relative to the
        configuration file.  A file without ``search:`` is one point.
    analysis : AnalysisConfig
        What the analyst reads and whether it proposes.
    robustness : RobustnessConfig
        What the ranked entries are put through, and the gates they must pass.
    pine : PineConfig
        Whether the emitted scripts are verified in the Pine engine.
    library : bool
        Whether the finished run is recorded in the library, which must be there then.
    timeframes, trials, sampler, seed, backtest, walk_forward, ranking
        As in `SweepConfig`.
    """

    name: str = "optimize"
    ticks: str | None = None
    bars: tuple[str, ...] = ()
    ask_bars: tuple[str, ...] = ()
    bar_reading: BarReading = BarReading()
    spread: SpreadConfig = SpreadConfig()
    conversion: str | None = None
    readings: str | None = None
    reading_latency_s: float | None = None
    sample: SampleConfig = SampleConfig()
    instrument: str = "EURUSD"
    markets: tuple[MarketConfig, ...] = ()
    strategies: tuple[str, ...] = tuple(FAMILIES)
    analysis: AnalysisConfig = AnalysisConfig()
    robustness: RobustnessConfig = RobustnessConfig()
    pine: PineConfig = PineConfig()
    library: bool = False

    def __post_init__(self) -> None:
        if _NAME.match(self.name) is None:
            msg = f"name={self.name!r} cannot name a folder. Use letters, digits, - and _, a letter first."
            raise ConfigError(msg)
        self._check_markets() if self.markets else self._check_input()
        self._check_readings()
        super().__post_init__()
        check_named("strategies", self.strategies)

    @property
    def each_market(self) -> tuple[OptimizeConfig, ...]:
        """The settings of each market as those of a run of it alone; of a run of one, these settings.

        The generated sample of the second market has the next seed, and so on: equal seeds give equal walks.
        """
        if not self.markets:
            return (self,)
        return tuple(
            msgspec.structs.replace(
                self,
                markets=(),
                instrument=market.instrument,
                sample=msgspec.structs.replace(self.sample, seed=self.sample.seed + place),
                backtest=market.costs.over(self.backtest),
                **{name: getattr(market, name) for name in OF_ONE_MARKET if name != "instrument"},
            )
            for place, market in enumerate(self.markets)
        )

    def _check_markets(self) -> None:
        check_named("markets", tuple(market.instrument for market in self.markets))
        plain = OptimizeConfig()
        given = [name for name in OF_ONE_MARKET if getattr(self, name) != getattr(plain, name)]
        if given:
            raise ConfigError(_both_ways(given))
        # Each as a run of its own, so that every rule of one holds for each.
        _ = self.each_market

    def _check_readings(self) -> None:
        if self.readings is None and self.reading_latency_s is not None:
            msg = f"reading_latency_s={self.reading_latency_s} says when readings count, but there are none. "
            raise ConfigError(f"{msg}Give `readings` (--readings), or leave it out.")
        if self.readings is not None and self.markets:
            msg = f"readings={self.readings!r} are of one instrument, but `markets` name several. "
            raise ConfigError(f"{msg}Run the market of the readings alone.")
        if self.reading_latency_s is not None and not 0 <= self.reading_latency_s < math.inf:
            msg = f"`reading_latency_s >= 0` must hold, but got {self.reading_latency_s}. Give seconds."
            raise ConfigError(msg)

    def _check_input(self) -> None:
        if self.ticks is not None and self.bars:
            msg = (
                f"You gave both ticks={self.ticks!r} and bars. A run takes one of them: leave the other out."
            )
            raise ConfigError(msg)
        if self.bars:
            return
        for name, default in (("ask_bars", ()), ("bar_reading", BarReading()), ("spread", SpreadConfig())):
            if getattr(self, name) != default:
                msg = f"`{name}` is for runs on bars, and this run is on ticks. Give --bars, or leave it out."
                if name == "spread":
                    msg += " To widen the spread of ticks use --extra-spread-pips."
                raise ConfigError(msg)


def load_optimize_config(path: Path | None, overrides: Mapping[str, Any]) -> OptimizeConfig:
    """Read a configuration; relative paths in the file count from the file's folder.

    Parameters
    ----------
    path : Path or None
        YAML or JSON file; None for defaults.
    overrides : mapping
        From the command line; its paths count from the working directory.

    Raises
    ------
    InputError
        Names the source, the key and the rule.
    """
    in_file = {} if path is None else read_mapping(path)
    folder = Path() if path is None else path.parent
    data = layered(anchored(in_file, folder), environment_settings(), anchored(overrides, Path()))
    config = decode(data, OptimizeConfig, where="configuration" if path is None else str(path))
    load_strategies(config)
    for market in config.each_market:
        _check_paths(market, where=f"--market {market.instrument}" if config.markets else "")
    # A list of one market is a run of one.
    return config.each_market[0] if len(config.markets) == 1 else config


def _check_paths(config: OptimizeConfig, *, where: str) -> None:
    given = {
        "ticks": [config.ticks] if config.ticks else [],
        "bars": config.bars,
        "ask_bars": config.ask_bars,
        "conversion": [config.conversion] if config.conversion else [],
    }
    for name, paths in given.items():
        for one in paths:
            if not Path(one).exists():
                option = where or f"--{name.replace('_', '-')}"
                msg = f"No {name.replace('_', ' ')} found at {one}. Check {option}."
                raise InputError(msg)


def load_strategies(config: OptimizeConfig) -> list[Strategy]:
    """Return the strategies a configuration names, their points checked to exist.

    Raises
    ------
    SpecError
        If a name is neither a family nor a file, or a file breaks a rule.
    SearchSpaceError
        If a space has no valid point, or two strategies have the same name.
    """
    found = told_apart([_strategy(name) for name in config.strategies])
    for strategy in found:
        strategy.check(config)
    return found


def environment_settings() -> dict[str, Any]:
    """Return the settings of the environment; their paths count from the working directory."""
    return anchored(environment_overrides(ENVIRONMENT_PREFIX), Path())


def layered(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge plain settings, the last layer on top; what it gives in another way replaces what lay below.

    Raises
    ------
    ConfigError
        If a layer has both `markets` and the data of one market, or the data of one above `markets`.
    """
    result: dict[str, Any] = {}
    for layer in layers:
        given = [name for name in OF_ONE_MARKET if layer.get(name)]
        if given and (layer.get("markets") or result.get("markets")):
            raise ConfigError(_both_ways(given))
        result = merge(_without_replaced(result, layer), layer)
    return result


def _without_replaced(data: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what settings above replace by its other kind: ticks for bars, one spread for another."""
    result = dict(data)
    if above.get("markets"):
        for name in OF_ONE_MARKET:
            result.pop(name, None)
    for name, other in (("ticks", "bars"), ("bars", "ticks")):
        if above.get(name) and not above.get(other):
            result.pop(other, None)
    if above.get("ticks") and not above.get("bars"):
        for name in ("ask_bars", "bar_reading", "spread"):
            result.pop(name, None)
    spread, given = result.get("spread"), above.get("spread")
    if isinstance(spread, Mapping) and isinstance(given, Mapping):
        for name, other in (("pips", "file"), ("file", "pips")):
            if given.get(name) is not None:
                result["spread"] = {key: value for key, value in spread.items() if key != other}
    return result


def _both_ways(given: Sequence[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in given)
    return (
        f"`markets` give each market its own data, but {listed} of a single market stand beside them. "
        "Give every market under `markets` (--market), or leave `markets` out."
    )


def run_identity(
    config: OptimizeConfig,
    strategies: list[Strategy],
    data_hash: str,
    conversion: BarSet | None = None,
    markets: Sequence[Mapping[str, Any]] = (),
    warm_start: str = "",
    readings: ReadingLog | None = None,
) -> dict[str, Any]:
    """Return what decides a run's result: the content of ``config.json``.

    Equal identities give equal rankings.  The paths of ticks, bars, spread model and strategy files are not
    part of it, their content is.  Of the analyst, what it is asked is part, the address it is asked at is
    not.  A run of several markets has `markets`, from `RunMarkets.identity`, instead of `instrument`, and
    one that an earlier run warms up `warm_start`, the hash of its points.  Of
    readings, `ReadingLog.identity` is part.
    """
    settings = msgspec.to_builtins(config)
    del settings["markets"]
    if markets:
        del settings["instrument"]
        settings["markets"] = list(markets)
    # The data hash covers what was read from these, the spread of bars included.
    for name in ("ticks", "bars", "ask_bars", "bar_reading", "spread", "sample", "conversion"):
        del settings[name]
    del settings["readings"], settings["reading_latency_s"]
    if readings is not None:
        settings["readings"] = readings.identity()
    # The rows are the same.
    del settings["screen"], settings["limits"], settings["pine"], settings["library"]
    if config.robustness == RobustnessConfig():
        del settings["robustness"]  # as before there was this stage
    if not config.learns:
        del settings["search"]  # it says nothing then
    elif warm_start:
        # What an earlier run begins the searches with, wherever it lies.
        settings["search"]["warm_start"] = warm_start
    # Without what a later version can widen, the identity is that of the versions before.
    settings["backtest"] = config.backtest.document()
    settings["ranking"] = config.ranking.document()
    reader = settings["analysis"]["reader"]
    reader["endpoint"] = None if reader["endpoint"] is None else "a model"
    for name in TRANSPORT:
        del reader[name]
    settings["strategies"] = [
        {
            "spec": msgspec.to_builtins(strategy.spec),
            "dimensions": {} if strategy.space is None else msgspec.to_builtins(strategy.space.dimensions),
            "constraints": [] if strategy.space is None else list(strategy.space.constraints),
        }
        for strategy in strategies
    ]
    if conversion is not None:
        settings["conversion"] = {
            "instrument": conversion.instrument.symbol,
            "data_hash": conversion.data_hash,
        }
    return {**settings, "data_hash": data_hash}


def default_run_id(identity: Mapping[str, Any]) -> str:
    """Return ``NAME-HASH``: equal configuration and data give the same folder, so a second call resumes."""
    return f"{identity['name']}-{content_hash(identity)[:8]}"


def _strategy(name: str) -> Strategy:
    if Path(name).suffix not in {".yaml", ".yml", ".json"}:
        space = family(name)
        return Strategy(space.spec, space)
    spec, search = read_spec_file(Path(name))
    return Strategy(spec, None if search is None else load_search_space(Path(name)))


def anchored(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Make the paths in plain settings absolute, and one path of bars a list."""
    result = dict(data)
    if isinstance(result.get("markets"), list | tuple):
        result["markets"] = [
            anchored(one, folder) if isinstance(one, Mapping) else one for one in result["markets"]
        ]
    for name in ("ticks", "conversion", "readings"):
        if isinstance(result.get(name), str):
            result[name] = str((folder / result[name]).resolve())
    search = result.get("search")
    if isinstance(search, Mapping) and isinstance(search.get("warm_start"), str):
        result["search"] = {**search, "warm_start": str((folder / search["warm_start"]).resolve())}
    for name in ("bars", "ask_bars"):
        if isinstance(result.get(name), str):
            result[name] = [result[name]]
        if isinstance(result.get(name), list | tuple):
            result[name] = [
                str((folder / one).resolve()) if isinstance(one, str) else one for one in result[name]
            ]
    spread = result.get("spread")
    if isinstance(spread, Mapping) and isinstance(spread.get("file"), str):
        result["spread"] = {**spread, "file": str((folder / spread["file"]).resolve())}
    if isinstance(result.get("strategies"), list | tuple):
        result["strategies"] = [
            str((folder / name).resolve()) if isinstance(name, str) and Path(name).suffix else name
            for name in result["strategies"]
        ]
    return result
