"""Which spec each strategy of a session goes on by: as configured, or as a command left it.

Owns that choice and the way to a decider that has seen every bar of the session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiopt.live.control.controls import Controls
from aiopt.live.control.ranges import read_document, space_of
from aiopt.live.session.deciding import Decider
from aiopt.live.session.stepping import Stepper
from aiopt.strategy.space import SearchSpace
from aiopt.strategy.spec import StrategySpec


class SpecsInForce:
    """The specs of a session at present.

    Parameters
    ----------
    configured : mapping of str to StrategySpec
        By strategy.
    texts : mapping of str to str
        What named them in the configuration.
    controls : Controls
        What commands changed.
    """

    def __init__(
        self, configured: Mapping[str, StrategySpec], texts: Mapping[str, str], controls: Controls
    ) -> None:
        self._configured, self._texts, self._controls = configured, texts, controls

    def __repr__(self) -> str:
        return f"<SpecsInForce of {', '.join(self._configured)}>"

    def spec_of(self, strategy: str) -> StrategySpec:
        """Return the spec a strategy goes on by."""
        document = self._controls.specs.get(strategy)
        return self._configured[strategy] if document is None else read_document(document)[0]

    def space_of(self, strategy: str) -> SearchSpace | None:
        """Return the search of that spec, None where it has none.

        Raises
        ------
        SpecError, SearchSpaceError
            If the file that the configuration names has changed for the worse.
        """
        if "swap_spec" in self._controls.touched.get(strategy, ()):
            return read_document(self._controls.specs[strategy])[1]
        return space_of(self._texts[strategy])


def warmed(stepper: Stepper, strategy: str, make: Callable[[], Decider]) -> Decider:
    """Return a new decider that has seen every committed bar of a strategy's series.

    Parameters
    ----------
    stepper : Stepper
        Of the session; every bar is committed.
    strategy : str
        Whose series it is.
    make : callable
        Returns the decider.
    """
    decider, timeframe = make(), stepper.timeframes[strategy]
    for row in stepper.file.bars(stepper.series[timeframe].name):
        decider.rules.books.bar_ended(row.ts_open_ns, row.ts_open_ns + timeframe.ns, row.bid_close)
        decider.source.push(*row[:6])
    return decider
