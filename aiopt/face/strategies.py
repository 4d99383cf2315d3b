"""Strategies in a notebook: a family's name, a file or an object, wherever one is wanted.

Owns that rule and the table of ready families.  Knows no rule of strategies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from aiopt.errors import SpecError, did_you_mean
from aiopt.face.tables import Table
from aiopt.strategy.families import FAMILIES, family
from aiopt.strategy.space import SearchSpace, load_search_space
from aiopt.strategy.spec import StrategySpec, read_spec_file

SpecLike = StrategySpec | SearchSpace | Path | str
"""What functions take as a strategy: a family's name, a YAML or JSON file, or an object."""

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})


class Families(Table, Mapping[str, SearchSpace]):
    """The ready strategy families: name to search space; ``ao.families()["rsi_reversion"].spec`` is one.

    As a table: ``family``, ``description``, ``parameters``, ``points`` (values that may be tried).
    """

    def __getitem__(self, name: str) -> SearchSpace:
        if name not in FAMILIES:
            # A KeyError is what a mapping promises; the text is that of every other message.
            raise KeyError(f"There is no family {name!r}.{did_you_mean(name, FAMILIES)}")
        return FAMILIES[name]

    def __iter__(self) -> Iterator[str]:
        return iter(FAMILIES)

    def __len__(self) -> int:
        return len(FAMILIES)

    def to_polars(self) -> pl.DataFrame:
        """Return the table as a Polars frame."""
        spaces = list(FAMILIES.values())
        return pl.DataFrame(
            {
                "family": list(FAMILIES),
                "description": [space.spec.description for space in spaces],
                "parameters": [len(space.spec.params) for space in spaces],
                "points": [space.raw_size for space in spaces],
            }
        )

    def _title(self) -> str:
        return f"{len(self)} ready families: {', '.join(FAMILIES)}"


def families() -> Families:
    """Return the ready strategy families.

    Examples
    --------
    >>> import aiopt as ao
    >>> list(ao.families())[:2]
    ['rsi_reversion', 'macd_adx_trend']
    >>> ao.families()["rsi_reversion"].spec.params["rsi_length"]
    14
    """
    return Families()


def load_spec(spec: SpecLike, **params: float) -> StrategySpec:
    """Return a strategy.

    Parameters
    ----------
    spec : str, Path, StrategySpec or SearchSpace
        Name of a ready family, a YAML or JSON file (its ``search:`` is left to `aiopt.sweep`), or an object.
    **params : float
        Parameters to set, e.g. ``rsi_length=10``.

    Raises
    ------
    SpecError
        If there is no such family or file, or it breaks a rule; names file, key and rule.

    Examples
    --------
    >>> import aiopt as ao
    >>> ao.load_spec("rsi_reversion", rsi_length=10).params["rsi_length"]
    10
    """
    found = as_space(spec)
    found = found.spec if isinstance(found, SearchSpace) else found
    return found.with_params(params) if params else found


def as_space(spec: SpecLike) -> SearchSpace | StrategySpec:
    """Return what a sweep tries: the search space of a family or file, or a single strategy."""
    if isinstance(spec, SearchSpace | StrategySpec):
        return spec
    if isinstance(spec, str) and spec in FAMILIES:
        return family(spec)
    path = Path(spec)
    if path.suffix.lower() not in _SUFFIXES and not path.is_file():
        msg = f"A strategy must be a ready family or a file, but got {str(spec)!r}."
        raise SpecError(msg + did_you_mean(str(spec), FAMILIES))
    found, search = read_spec_file(path)
    return found if search is None else load_search_space(path)


def describe(spec: StrategySpec) -> list[tuple[str, Any]]:
    """Return a strategy's rules as rows for people."""
    rows: list[tuple[str, Any]] = [("strategy", spec.name)]
    rows += [(name, getattr(spec, name)) for name in ("entry_long", "entry_short", "exit_long", "exit_short")]
    rows.append(("parameters", ", ".join(f"{name} {value:g}" for name, value in spec.params.items())))
    return [(name.replace("_", " "), value) for name, value in rows if value]
