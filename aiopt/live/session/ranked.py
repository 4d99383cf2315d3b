"""A ranked entry of a run as a strategy: ``runs/abc#1``.

Owns how an entry is named, and what a session takes from it: spec, timeframe, instrument.  Ranks nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from aiopt.errors import ConfigError
from aiopt.runs import load_run
from aiopt.strategy.choosing import find_strategy
from aiopt.strategy.spec import StrategySpec, spec_from_mapping

_NAMED = re.compile(r"(?P<run>.+)#(?P<rank>[0-9]{1,6})")


class RankedSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a session takes from a ranked entry.

    Attributes
    ----------
    spec : StrategySpec
        With the parameters that were emitted.
    timeframe : str
        Of the bars it was ranked on.
    family : str
        It is of.
    instrument : str
        Of them; empty where an old run does not say it.
    verdict : str
        The ranking's, see `aiopt.ranking`.
    survives : bool
        Whether it is the best one.
    """

    spec: StrategySpec
    timeframe: str
    family: str
    instrument: str
    verdict: str
    survives: bool


def is_ranked(text: str) -> bool:
    """Return whether a text names a ranked entry, ``RUN#RANK``.

    Examples
    --------
    >>> is_ranked("runs/abc#1"), is_ranked("rsi_reversion")
    (True, False)
    """
    return _NAMED.fullmatch(text) is not None


def run_of(text: str) -> str:
    """Return the run of a ranked entry that a text names."""
    return text.rpartition("#")[0]


def ranked_spec(text: str) -> RankedSpec:
    """Return the entry that ``RUN#RANK`` names.

    Parameters
    ----------
    text : str
        Folder of a run and a place in its ranking, from 1.

    Raises
    ------
    NotARunError
        If there is no such run.
    ConfigError
        If it is not ranked yet, or has no entry of that rank.
    """
    match = _NAMED.fullmatch(text)
    if match is None:
        raise ConfigError(f"A ranked entry is named RUN#RANK, but got {text!r}. Write e.g. runs/abc#1.")
    run = load_run(Path(match["run"]))
    ranking = run.ranking
    if ranking is None:
        msg = f"{run.path} must be ranked before its entries are traded, but has no ranking. Finish the run."
        raise ConfigError(msg)
    entry = next((one for one in ranking.entries if one.rank == int(match["rank"])), None)
    if entry is None:
        count = len(ranking.entries)
        has = f"has ranks 1 to {count}" if count else "has no entry that was ranked"
        msg = f"`strategies.spec` names rank {match['rank']}, but {run.path} {has}. "
        raise ConfigError(f"{msg}`aiopt runs show {run.path}` lists them.")
    config = run.config or {}
    named = config.get("instrument") if entry.instrument is msgspec.UNSET else entry.instrument
    return RankedSpec(
        spec=spec_from_mapping(entry.spec, where=text),
        timeframe=entry.timeframe,
        family=entry.family,
        instrument=str(named or ""),
        verdict=entry.verdict,
        survives=entry.survives,
    )


def spec_named(text: str) -> StrategySpec:
    """Return the spec that a text names: of a ranked entry, of a file, or of a ready family.

    Raises
    ------
    InputError
        If there is none, saying what there is.
    """
    return ranked_spec(text).spec if is_ranked(text) else find_strategy(text)[0]
