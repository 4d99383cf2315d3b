"""What is kept of searches: ``search.json`` of a run folder.  Owns its fields; reads and writes nothing.

Everything in it is **in-sample**, of train windows: what a search found best is no evidence of anything.
"""

from __future__ import annotations

import msgspec

from aiopt.strategy.dimensions import Value


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A point of a Pareto front.

    Attributes
    ----------
    trial_id : str
        Its trial.
    params : dict
        Its parameters.
    values : tuple of float
        Its objectives on the train window of the search, in-sample.
    """

    trial_id: str
    params: dict[str, Value]
    values: tuple[float, ...]


class SearchRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One search.

    Attributes
    ----------
    trials, generations : int
        Points tried, and generations learned from.
    stopped : str
        Why it ended.
    best : tuple
        After each generation: the best of each objective so far; None while no trial was eligible.
    front : tuple of Candidate
        Points that no other point of the search beats, of one objective the best point.
    """

    trials: int
    generations: int
    stopped: str
    best: tuple[tuple[float, ...] | None, ...]
    front: tuple[Candidate, ...]


class GroupSearch(msgspec.Struct, frozen=True, kw_only=True):
    """One search of a group: which window it learned from.

    Attributes
    ----------
    group : str
        ``FAMILY@SERIES``.
    search : int
        0 for the first fold, and so on; the number of folds for the refit.
    segments : tuple of int
        The train window, all that the search learned from.
    seed : int
        Of the search, derived from the run's.
    found : SearchRecord
        What it found, in-sample.
    """

    group: str
    search: int
    segments: tuple[int, ...]
    seed: int
    found: SearchRecord


class RunSearches(msgspec.Struct, frozen=True, kw_only=True):
    """Content of ``search.json``.

    Attributes
    ----------
    sampler : str
        What proposed the points.
    objectives : tuple of str
        What was sought.
    generations : int
        Rounds in which searches of the run advanced together; where a budget of time ended them this number,
        not the clock, counts when the run is repeated in its folder.
    finished : bool
        Whether all searches came to their end.
    warm_started : int
        Points of an earlier run that searches began with, over all searches.
    searches : tuple of GroupSearch
        By group, then fold; empty while they run.
    """

    sampler: str
    objectives: tuple[str, ...]
    generations: int
    elapsed_s: float | msgspec.UnsetType = msgspec.UNSET
    finished: bool = False
    warm_started: int = 0
    searches: tuple[GroupSearch, ...] = ()
