"""JSON schemas that no answer can follow: references that lead nowhere, or in a circle.

Owns that one judgement.  An engine given such a schema finds at the first token that it cannot go on.  What
else a schema says is the engine's to read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from aiopt.serving.gateway.failures import HttpError, invalid

_PARAM = "response_format"
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LISTS = ("prefixItems", "allOf", "anyOf", "oneOf")
_ALTERNATIVES = ("anyOf", "oneOf")


def check_schema(schema: dict[str, Any]) -> None:
    """Check that every part of a schema has answers that end.

    Raises
    ------
    HttpError
        400: a reference leads out of the schema, to nothing, or in a circle.
    """
    parts = _Parts(schema)
    stuck = parts.without_end()
    if stuck is not None:
        raise _refused(
            f"the schema at {stuck} refers to itself in a circle, so that no answer to it ever ends. "
            "Give the circle a way out: an optional property, a shorter array, another branch."
        )


class _Parts:
    """The parts of a schema, each with what an answer to it must contain answers to.

    A part needs all of its groups; a group is met by any one of its parts.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._root = schema
        self._places: dict[int, str] = {}
        self._groups: dict[int, list[list[int]]] = {}
        waiting: deque[tuple[Any, str]] = deque([(schema, "#")])
        while waiting:
            part, place = waiting.popleft()
            if not isinstance(part, dict) or id(part) in self._places:
                continue
            self._places[id(part)] = place
            self._groups[id(part)] = self._needs(part, place)
            waiting.extend(_inner(part, place))
            if isinstance(part.get("$ref"), str):
                waiting.append((self._target(part["$ref"], place), part["$ref"]))

    def without_end(self) -> str | None:
        """Return the place of a part to which no finite answer exists; None if there is none."""
        missing = {part: len(groups) for part, groups in self._groups.items()}
        met: set[tuple[int, int]] = set()
        users: dict[int, list[tuple[int, int]]] = {}
        for part, groups in self._groups.items():
            for number, group in enumerate(groups):
                for member in group:
                    users.setdefault(member, []).append((part, number))
        ending = deque(part for part, count in missing.items() if not count)
        while ending:
            for user in users.get(ending.popleft(), ()):
                if user in met:
                    continue
                met.add(user)
                missing[user[0]] -= 1
                if not missing[user[0]]:
                    ending.append(user[0])
        return next((self._places[part] for part, count in missing.items() if count), None)

    def _needs(self, part: dict[str, Any], place: str) -> list[list[int]]:
        groups: list[list[Any]] = []
        if isinstance(part.get("$ref"), str):
            groups.append([self._target(part["$ref"], place)])
        if isinstance(part.get("allOf"), list):
            groups += [[branch] for branch in part["allOf"]]
        for name in _ALTERNATIVES:
            if part.get(name) == []:
                raise _refused(
                    f"the schema at {place} has {name} without a branch. Add one, or leave it out."
                )
            if isinstance(part.get(name), list):
                groups.append(part[name])
        required, properties = part.get("required"), part.get("properties")
        if isinstance(required, list) and isinstance(properties, dict) and _is(part, "object"):
            named = [name for name in required if isinstance(name, str) and name in properties]
            groups += [[properties[name]] for name in named]
        least, items = part.get("minItems"), part.get("items")
        if isinstance(least, int) and least > 0 and _is(part, "array"):
            groups.append([items])
        # A part that is no object (true, or a mistake that the engine names) asks for nothing.
        asked = [group for group in groups if all(isinstance(one, dict) for one in group)]
        return [[id(one) for one in group] for group in asked]

    def _target(self, reference: str, place: str) -> Any:
        if reference != "#" and not reference.startswith("#/"):
            raise _refused(
                f"the schema at {place} refers to {reference[:80]!r}, and nothing is fetched or looked up. "
                "Write the part into `$defs` and refer to #/$defs/NAME."
            )
        found: Any = self._root
        for name in reference[2:].split("/") if reference != "#" else ():
            key = unquote(name).replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isascii() and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            else:
                raise _refused(
                    f"the schema at {place} refers to {reference[:80]!r}, which is not there. Correct it."
                )
        return found


def _is(part: dict[str, Any], kind: str) -> bool:
    """Tell whether answers to a part are surely of a kind: only then must they have what it asks of it."""
    return part.get("type") in (kind, [kind])


def _inner(part: dict[str, Any], place: str) -> Iterator[tuple[Any, str]]:
    for name in _MAPS:
        if isinstance(part.get(name), dict):
            yield from ((inner, f"{place}/{name}/{key}") for key, inner in part[name].items())
    for name in _SINGLE:
        yield part.get(name), f"{place}/{name}"
    for name in _LISTS:
        if isinstance(part.get(name), list):
            yield from ((inner, f"{place}/{name}/{number}") for number, inner in enumerate(part[name]))


def _refused(what: str) -> HttpError:
    return invalid(f"A JSON schema must be one that an answer can follow, but {what:.600}", param=_PARAM)
