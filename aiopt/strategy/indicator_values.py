"""One indicator over bars: chosen by kind, arguments and source as a user writes them, then computed.

Owns how ``NAME=NUMBER`` is read and what the values are called.  The formulas are `aiopt.indicators`'; knows
no strategy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.bars.schema import BarArrays
from aiopt.errors import SpecError
from aiopt.indicators import IndicatorDef, indicator_def
from aiopt.indicators.higher import TIMEFRAME
from aiopt.strategy.signals import series_arrays
from aiopt.strategy.spec_parts import minutes_of
from aiopt.strategy.spec_rules import check_source


class IndicatorValues(NamedTuple):
    """Values of an indicator.

    Attributes
    ----------
    ts_open_ns : ndarray of shape (n_bars,), int64
        When the bars open, UTC.
    outputs : dict of str to ndarray of shape (n_bars,), float64
        By name of output, NaN before the first value.
    """

    ts_open_ns: NDArray[np.int64]
    outputs: dict[str, NDArray[np.float64]]

    @property
    def first_value_index(self) -> int | None:
        """The first bar on which every output has a value, or None."""
        missing = np.logical_or.reduce([np.isnan(values) for values in self.outputs.values()])
        return None if missing.all() else int(np.argmin(missing))

    def frame(self) -> pl.DataFrame:
        """Return the table ``ts_open_ns`` and one column per output."""
        return pl.DataFrame({"ts_open_ns": self.ts_open_ns, **self.outputs})


class ChosenIndicator(NamedTuple):
    """An indicator with arguments and source that fit it; see `choose_indicator`."""

    definition: IndicatorDef
    args: dict[str, int | float | str]
    source: str

    @property
    def own_source(self) -> str | None:
        """The source, or None for kinds that read high, low and close."""
        return self.source if "source" in self.definition.inputs else None

    def over(self, bars: BarArrays) -> IndicatorValues:
        """Return the values over bars."""
        definition = self.definition
        inputs = [
            series_arrays(bars, self.source if name == "source" else name) for name in definition.inputs
        ]
        outputs = definition.compute(inputs, self.args)
        return IndicatorValues(bars.ts_open_ns, dict(zip(definition.outputs, outputs, strict=True)))


def choose_indicator(kind: str, pairs: Sequence[str], source: str) -> ChosenIndicator:
    """Return an indicator as the options ``--kind``, ``--arg`` and ``--source`` say.

    Parameters
    ----------
    kind : str
        One of `aiopt.indicators.INDICATORS`.
    pairs : sequence of str
        ``NAME=NUMBER``; defaults for arguments not given.
    source : str
        Series it reads.

    Raises
    ------
    SpecError
        If the kind, an argument or the source is unknown or out of range.
    """
    definition = indicator_def(kind)
    args = definition.check_args({**definition.defaults(), **_arguments(pairs)}, where="--arg")
    check_source(definition, source, where="--source")
    return ChosenIndicator(definition, args, source)


def _arguments(pairs: Sequence[str]) -> dict[str, int | float | str]:
    result: dict[str, int | float | str] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        if name.strip() == "timezone":
            result["timezone"] = text.strip()
            continue
        if name.strip() == TIMEFRAME and not text.strip().isdigit():
            result[TIMEFRAME] = minutes_of(text.strip(), where="--arg: timeframe")
            continue
        try:
            result[name.strip()] = int(text) if text.strip().lstrip("+-").isdigit() else float(text)
        except ValueError as failure:
            msg = f"--arg must be NAME=NUMBER, but got {pair!r}. Write e.g. length=14."
            raise SpecError(msg) from failure
    return result
