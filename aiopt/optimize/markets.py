"""The markets of a run: the data of each, opened, and what all of them come to.

Owns how one market or several become manifests, an identity and bars.  Which time and which currency they
share is `aiopt.sweep.markets`'s.  Knows no stage.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.conversion import with_conversion
from aiopt.bars.files import bar_path, load_bar_set, read_bars
from aiopt.bars.manifest import BarManifest, markets_document
from aiopt.bars.schema import BarSet
from aiopt.bars.stops.stop_files import STOPS_NAME
from aiopt.config import content_hash
from aiopt.market.instrument import instrument
from aiopt.optimize.configuration import OptimizeConfig
from aiopt.optimize.inputs import BarBuilder, RunInput, open_input, read_conversion
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.series import Symbol, series_name
from aiopt.sweep.markets import MarketTerms, check_one_currency
from aiopt.ticks.manifest import Manifest
from aiopt.timeframe import Timeframe, parse_timeframe

Log = Callable[[str], None]
Paced = Callable[[str], Callable[[float, float], None]]
"""Returns what logs how far something named is."""


@dataclasses.dataclass(frozen=True)
class Market:
    """One market of a run.

    Attributes
    ----------
    config : OptimizeConfig
        As if it were the only one, its costs included.
    data : RunInput
        Its ticks or bars.
    conversion : BarSet or None
        Bars its money is converted by.
    """

    config: OptimizeConfig
    data: RunInput
    conversion: BarSet | None

    @property
    def manifest(self) -> Manifest | BarManifest:
        """What its data is."""
        return self.data.manifest

    @property
    def symbol(self) -> str:
        """The instrument."""
        return self.data.manifest.instrument

    @property
    def backtest(self) -> BacktestConfig:
        """What its backtests assume."""
        return self.config.backtest

    def load_bars(
        self, folder: Path, timeframes: Sequence[Timeframe], log: Log, paced: Paced, build_bars: BarBuilder
    ) -> list[BarSet]:
        """Build the bars that are not below `folder` yet, and load those of every timeframe."""
        if not _bars_present(folder, self.manifest, timeframes):
            self.data.build(folder, timeframes, log, paced("bars"), build_bars)
        found = [load_bar_set(folder / self.symbol / timeframe.label) for timeframe in timeframes]
        if self.conversion is None:
            return found
        return [with_conversion(one, self.conversion) for one in found]


class RunMarkets:
    """All markets of a run, one or several.

    Parameters
    ----------
    markets : sequence of Market
        In the order of the configuration.
    """

    def __init__(self, markets: Sequence[Market]) -> None:
        self.markets = tuple(markets)

    @classmethod
    def open(cls, config: OptimizeConfig, runs_dir: Path, log: Log, paced: Paced) -> RunMarkets:
        """Read the data of every market a configuration names.

        Raises
        ------
        ConfigError
            If the markets' profits are in several currencies, or one cannot be converted.
        InputError
            If data cannot be used; names the file and the remedy.
        """
        check_currencies(config)
        markets = []
        for one in config.each_market:
            data = open_input(one, runs_dir, log, paced("ticks"))
            log(data.describe())
            markets.append(Market(one, data, read_conversion(one)))
        return cls(markets)

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return len(self.markets) > 1

    @property
    def symbols(self) -> tuple[str, ...]:
        """The instruments of a run of several; nothing of a run of one, whose trials name none."""
        return tuple(market.symbol for market in self.markets) if self.several else ()

    @cached_property
    def data_hash(self) -> str:
        """Of all data: of one market its own."""
        if not self.several:
            return self.markets[0].manifest.data_hash
        return content_hash({market.symbol: market.manifest.data_hash for market in self.markets})

    @property
    def synthetic(self) -> bool:
        """Whether any market's data was generated."""
        return any(market.manifest.synthetic for market in self.markets)

    def of(self, symbol: Symbol) -> Market:
        """Return the market of an instrument; unset: the only one."""
        return next(one for one in self.markets if not symbol or one.symbol == symbol)

    def manifest_bytes(self) -> bytes:
        """Return ``manifest.json``."""
        if not self.several:
            return self.markets[0].data.manifest_bytes()
        return markets_document({market.symbol: market.data.manifest_bytes() for market in self.markets})

    def judged(self, config: RankingConfig) -> RankingConfig:
        """Return how trials are judged, with the pip of the instrument or instruments."""
        pips = {market.symbol: instrument(market.symbol).pip_size for market in self.markets}
        return config.with_pips(pips) if self.several else config.with_pip(next(iter(pips.values())))

    def identity(self) -> list[dict[str, Any]]:
        """Return what of each market decides the result of a run of several; nothing of a run of one."""
        found: list[dict[str, Any]] = []
        for market in self.markets if self.several else ():
            rates = market.conversion
            one: dict[str, Any] = {
                "instrument": market.symbol,
                "data_hash": market.manifest.data_hash,
                "backtest": market.backtest.document(),
            }
            if rates is not None:
                one["conversion"] = {"instrument": rates.instrument.symbol, "data_hash": rates.data_hash}
            found.append(one)
        return found

    def terms(self) -> dict[str, MarketTerms] | None:
        """Return what the trials of each market assume; None of a run of one."""
        if not self.several:
            return None
        return {
            market.symbol: MarketTerms(market.backtest, market.manifest.data_hash) for market in self.markets
        }

    def load_bars(
        self, folder: Path, labels: Sequence[str], log: Log, paced: Paced, build_bars: BarBuilder
    ) -> dict[str, BarSet]:
        """Build what is not there yet and return the bid and ask bars by series."""
        timeframes = tuple(parse_timeframe(label) for label in labels)
        found: dict[str, BarSet] = {}
        for market in self.markets:
            name: Symbol = market.symbol if self.several else msgspec.UNSET
            sets = market.load_bars(folder, timeframes, log, paced, build_bars)
            found |= {series_name(name, one.timeframe.label): one for one in sets}
        return found


def check_currencies(config: OptimizeConfig) -> None:
    """Refuse markets whose profits are in several currencies and are not converted."""
    traded = [instrument(market.instrument) for market in config.each_market]
    check_one_currency(traded, config.backtest.account_currency)


def _bars_present(folder: Path, manifest: Manifest | BarManifest, timeframes: Sequence[Timeframe]) -> bool:
    """Tell whether every bar file is there and was built from this data."""
    paths = [
        bar_path(folder, manifest.instrument, timeframe, price)
        for timeframe in timeframes
        for price in ("bid", "ask")
    ]
    # Runs of older versions have no ladder; of ticks off the price grid there is none, and they build again.
    ladders = [path.with_name(STOPS_NAME) for path in paths] if isinstance(manifest, Manifest) else []
    return all(path.is_file() for path in (*paths, *ladders)) and all(
        read_bars(path).meta.data_hash == manifest.data_hash for path in paths
    )
