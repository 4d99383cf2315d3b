"""The seam to a leaderboard: in this process, or an actor's.  Owns no row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from aiopt.ranking.earlier import NOTHING_EARLIER, Earlier
from aiopt.ranking.leaderboard import Progress
from aiopt.ranking.packed_row import PackedRow
from aiopt.ranking.ranking_file import Ranking
from aiopt.ranking.trials import TrialRow
from aiopt.ranking.windows import Window, WindowFigures

Reading = Callable[[float, float], None]
"""Called with the trials read and their number: a leaderboard reads all of them to judge them."""


class Board(Protocol):
    """The leaderboard of a sweep; `aiopt.ranking.Leaderboard` is one, and says what each method raises."""

    def trial_ids(self) -> list[str]:
        """Return the ids of all trials that have a result."""
        ...

    def add(self, row: TrialRow) -> bool:
        """Take a result; False if this very row is there already."""
        ...

    def add_many(self, rows: Sequence[TrialRow]) -> int:
        """Take results; a second result of a trial that differs from its first is refused."""
        ...

    def add_packed(self, rows: Sequence[PackedRow]) -> int:
        """Take results that were packed and checked where they were made."""
        ...

    def progress(self) -> Progress:
        """Return counts, the best so far and why trials failed."""
        ...

    def write_trials(
        self, path: Path, *, every_series: bool = False, progress: Reading | None = None
    ) -> dict[str, int]:
        """Write ``trials.parquet`` and return the counts; see `aiopt.ranking.Leaderboard.write_trials`."""
        ...

    def ranking(self, earlier: Earlier = NOTHING_EARLIER, *, progress: Reading | None = None) -> Ranking:
        """Rank the rows; `earlier` trials of others count too."""
        ...

    def chosen_trials(self, *, progress: Reading | None = None) -> list[str]:
        """Return the trials that a fold chooses or that would be emitted."""
        ...

    def window_figures(self, windows: Sequence[Window]) -> list[list[WindowFigures]]:
        """Return what trials gave on train windows, in the order asked."""
        ...

    def close(self) -> None:
        """Let the journal go; the name is free for the next call."""
        ...
