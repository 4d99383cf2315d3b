"""The table of Pine's built-ins for one version: what a name is, its signatures, what it was called before.

Owns the reading of ``builtins.json``, which holds the facts and a source for each.  Signatures are read when
they are first asked for, so that opening the table costs a few milliseconds.  Knows no script.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from aiopt.pine.reference.types import Signature, Type, parse_signature, parse_type

FILE = Path(__file__).with_name("builtins.json")

VERSIONS = (5, 6)
"""Versions of Pine that the table covers."""


@dataclass(frozen=True)
class OldName:
    """A name of an older version, and what took its place.

    Attributes
    ----------
    name, successor : str
        ``study`` and ``indicator``.
    until : int
        The last version that has the name.
    form : str
        How the call is written now where the name alone does not say it, else empty.
    parameters : dict
        Old parameter name → new one.
    """

    name: str
    successor: str
    until: int
    form: str
    parameters: dict[str, str]


@dataclass(frozen=True)
class Function:
    """A built-in function as one version has it.

    Attributes
    ----------
    name : str
        Qualified: ``ta.ema``.
    signatures : tuple of Signature
        Every way of calling it, with the parameters of the version only.
    every_bar : bool
        It keeps values between bars, so its result is right only where it runs on each of them.
    global_only : bool
        It may stand in no block.
    """

    name: str
    signatures: tuple[Signature, ...]
    every_bar: bool
    global_only: bool


class Builtins:
    """What one version of Pine offers."""

    def __init__(self, version: int) -> None:
        self.version = version
        self._document = _document()
        self._functions: dict[str, Function | None] = {}
        self._variables: dict[str, Type] = {}

    def function(self, name: str) -> Function | None:
        """Return the function of this name, None if there is none in this version."""
        if name not in self._functions:
            entry = self._entry("functions", name)
            self._functions[name] = None if entry is None else self._read(name, entry)
        return self._functions[name]

    def _read(self, name: str, entry: dict[str, Any]) -> Function:
        signatures = tuple(
            Signature(
                signature.template,
                tuple(
                    parameter
                    for parameter in signature.parameters
                    if parameter.since <= self.version <= (parameter.until or self.version)
                ),
                signature.returns,
            )
            for signature in map(parse_signature, entry["signatures"])
        )
        rules = entry.get("rules", ())
        return Function(name, signatures, "every bar" in rules, "global" in rules)

    def variable(self, name: str) -> Type | None:
        """Return the type of a built-in variable or constant, None if there is none of this name."""
        entry = self._entry("variables", name)
        return None if entry is None else parse_type(entry["type"])

    def fields(self, type_name: str) -> dict[str, Type] | None:
        """Return the fields of a built-in object type, None if there is no such type."""
        entry = self._entry("types", type_name)
        if entry is None:
            return None
        return {name: parse_type(text) for name, text in entry["fields"].items()}

    def since(self, name: str) -> int | None:
        """Return the first version that has the name, None if no version does."""
        for section in ("functions", "variables", "types"):
            if name in self._document[section]:
                return int(self._document[section][name]["since"])
        return None

    def old_name(self, name: str) -> OldName | None:
        """Return what became of a name that this version no longer has."""
        entry = self._document["old_names"].get(name)
        if entry is None or entry["until"] >= self.version:
            return None
        return OldName(
            name, entry["successor"], entry["until"], entry.get("form", ""), entry.get("parameters", {})
        )

    def _entry(self, section: str, name: str) -> dict[str, Any] | None:
        entry: dict[str, Any] | None = self._document[section].get(name)
        return entry if entry is not None and entry["since"] <= self.version else None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Qualified names of all functions, variables and constants of this version."""
        return tuple(
            name
            for section in ("functions", "variables")
            for name, entry in self._document[section].items()
            if entry["since"] <= self.version
        )

    @cached_property
    def namespaces(self) -> frozenset[str]:
        """First parts of the qualified names, ``strategy.risk`` and the like included."""
        return frozenset(name[:at] for name in self.names for at, letter in enumerate(name) if letter == ".")

    @property
    def complete_namespaces(self) -> frozenset[str]:
        """Namespaces to which no later release is expected to add a name that a script could mean."""
        return frozenset(self._document["complete_namespaces"])


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return document


@cache
def builtins(version: int) -> Builtins:
    """Return the table of one version of `VERSIONS`."""
    return Builtins(version)
