"""Which strategy a text names: a file or a ready family, with parameters set.

Owns that choice and how ``NAME=VALUE`` is read.  Knows nothing of what is done with the strategy.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from aiopt.errors import ConfigError, SpecError, did_you_mean
from aiopt.strategy.families import FAMILIES, family
from aiopt.strategy.space import SearchSpace, load_search_space
from aiopt.strategy.spec import StrategySpec, load_spec, read_spec_file
from aiopt.yaml_text import load_yaml

SUFFIXES = (".json", ".yaml", ".yml")


def find_strategy(text: str, settings: Iterable[str] = ()) -> tuple[StrategySpec, Path | None]:
    """Return the strategy a text names, and the file it was read from.

    Parameters
    ----------
    text : str
        Name of a ready family, or path of a YAML or JSON file.
    settings : iterable of str
        ``NAME=VALUE``; several may stand in one text, separated by commas.

    Returns
    -------
    StrategySpec
        With the parameters set.
    Path or None
        None for a ready family.

    Raises
    ------
    ConfigError
        If a setting is not ``NAME=VALUE``.
    SpecError
        If there is no such file or family, or a parameter is unknown or breaks a rule.
    """
    path = Path(text)
    named_as_file = path.is_file() or path.suffix.lower() in SUFFIXES or len(path.parts) > 1
    source = path if named_as_file and text not in FAMILIES else None
    if source is not None and not source.is_file():
        hint = did_you_mean(path.stem, FAMILIES)
        raise SpecError(f"There is no strategy file {text}. Name a file or a ready family.{hint}")
    strategy = family(text).spec if source is None else load_spec(source)
    params = read_settings(settings)
    return (strategy.with_params(params) if params else strategy), source


def search_of(text: str, source: Path | None) -> SearchSpace | None:
    """Return what a sweep of a strategy varies, or None if its file does not say.

    Parameters
    ----------
    text : str
        As given to `find_strategy`.
    source : Path or None
        As it returned.

    Raises
    ------
    SearchSpaceError
        If the file's search space breaks a rule.
    """
    if source is None:
        return family(text)
    return None if read_spec_file(source)[1] is None else load_search_space(source)


def read_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Return parameters by name from texts ``NAME=VALUE``.

    Raises
    ------
    ConfigError
        If a text is something else.
    """
    found: dict[str, Any] = {}
    for pair in (part for text in settings for part in text.split(",")):
        name, equals, value = pair.partition("=")
        msg = f"A parameter must be NAME=NUMBER, but got {pair!r}. Write e.g. --params rsi_length=10."
        if not equals or not name.strip():
            raise ConfigError(msg)
        try:
            found[name.strip()] = load_yaml(value)
        except yaml.YAMLError as failure:
            raise ConfigError(msg) from failure
    return found
