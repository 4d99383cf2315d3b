"""Which values the parameters of a strategy may be given while it runs: those its own search tries.

Owns the way from the search of a spec's file, or of a ready family, to ranges of commands.
"""

from __future__ import annotations

from typing import Any

from aiopt.bus.commands import ParameterRange, Refusal, refused_parameters
from aiopt.config import decode
from aiopt.errors import AioptError, SearchSpaceError
from aiopt.live.session.ranked import is_ranked, ranked_spec
from aiopt.strategy.choosing import find_strategy, search_of
from aiopt.strategy.dimensions import Choice, IntRange
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.space import SearchSettings, SearchSpace
from aiopt.strategy.spec import SEARCH_KEY, StrategySpec, spec_from_mapping


def space_of(text: str) -> SearchSpace | None:
    """Return the search of the strategy a text names; None where its file has none.

    A ranked entry of a run is varied as its family is.

    Raises
    ------
    SpecError
        If there is no such strategy.
    SearchSpaceError
        If the search breaks a rule.
    """
    if is_ranked(text):
        return FAMILIES.get(ranked_spec(text).family)
    _, source = find_strategy(text)
    return search_of(text, source)


def read_document(document: dict[str, Any]) -> tuple[StrategySpec, SearchSpace | None]:
    """Return the spec of a document, and its search where it has one.

    Parameters
    ----------
    document : dict
        A spec as its file holds it.

    Raises
    ------
    SpecError
        If it is no spec.
    SearchSpaceError
        If its search breaks a rule.
    """
    plain = dict(document)
    search = plain.pop(SEARCH_KEY, None)
    spec = spec_from_mapping(plain, where="spec")
    if search is None:
        return spec, None
    settings = decode(search, SearchSettings, where=SEARCH_KEY, error=SearchSpaceError)
    return spec, SearchSpace(spec, settings.dimensions, settings.constraints)


def ranges_of(space: SearchSpace) -> dict[str, ParameterRange]:
    """Return the range of each dimension of a search."""
    found = {}
    for name, dimension in space.dimensions.items():
        if isinstance(dimension, Choice):
            found[name] = ParameterRange(choices=tuple(dimension.values))
        else:
            whole = isinstance(dimension, IntRange)
            found[name] = ParameterRange(low=dimension.low, high=dimension.high, whole=whole)
    return found


def with_values(
    spec: StrategySpec, space: SearchSpace | None, values: dict[str, Any]
) -> StrategySpec | Refusal:
    """Return a spec with other values of its parameters, or why it may not have them.

    Parameters
    ----------
    spec : StrategySpec
        As it is.
    space : SearchSpace or None
        What may be tried of it.
    values : dict of str to value
        What is asked for.
    """
    if space is None:
        reason = (
            f"The spec {spec.name} says nowhere between which values its parameters may be set. Write a "
            "`search:` into its file, or give it another spec (aiopt live spec)."
        )
        return Refusal(rule="out_of_range", reason=reason)
    refusal = refused_parameters(values, ranges_of(space))
    if refusal is not None:
        return refusal
    try:
        changed = spec.with_params(values)
        point = {name: changed.part(name) for name in space.dimensions}
    except (AioptError, KeyError) as error:
        return Refusal(rule="bad_spec", reason=str(error))
    if not space.contains(point):
        broken = "; ".join(space.constraints)
        reason = f"The values must fulfil the constraints of the search ({broken}), but do not."
        return Refusal(rule="out_of_range", reason=reason)
    return changed
