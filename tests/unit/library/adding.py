"""Adds strategies to a library until it is told to stop, as a process: ``adding.py URL FIRST COUNT STEP``.

It prints the number of each batch that was committed, so that whoever kills it knows what must be there.
"""

from __future__ import annotations

import sys

from aiopt.library import Origin, open_library
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import StrategySpec

SPACE = FAMILIES["rsi_reversion"]
BATCH = 3


def spec_of(number: int) -> StrategySpec:
    """Return the strategy of a number: another for each."""
    return SPACE.spec.with_params({"stop_atr": 3.0 + number / 1024})


def main(url: str, first: int, count: int, step: int) -> None:
    """Add `count` batches, the numbers of which are `step` apart."""
    origin = Origin(licence="own", origin="a test of several processes")
    with open_library(url) as library:
        _say("ready")
        sys.stdin.readline()
        for number in range(first, first + count * step, step):
            library.add_all((spec_of(number * BATCH + place), origin) for place in range(BATCH))
            _say(str(number))


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
