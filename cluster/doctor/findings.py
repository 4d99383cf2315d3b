"""What a look at something found: the type of a finding, and how bad it is.  Looks at nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

Level = Literal["ok", "note", "problem"]
"""``problem``: the main job (`aiopt optimize`, and serving where a profile is named) cannot run or would be
wrong.  ``note``: it runs, but slower, or something beside it does not work."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Attributes
    ----------
    area : str
        What it belongs to, e.g. ``"disk"``.
    level : {"ok", "note", "problem"}
        How bad it is.
    what : str
        What was found, with its figures.
    remedy : str
        What to do; empty where nothing is to be done.
    """

    area: str
    level: Level
    what: str
    remedy: str = ""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was looked at.

    Attributes
    ----------
    healthy : bool
        No finding is a problem.
    findings : tuple of Finding
        In the order in which things were looked at.
    """

    healthy: bool
    findings: tuple[Finding, ...]


def diagnosis(findings: Sequence[Finding]) -> Diagnosis:
    """Put findings together."""
    return Diagnosis(
        healthy=all(finding.level != "problem" for finding in findings), findings=tuple(findings)
    )


def good(area: str, what: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(area=area, level="ok", what=what)


def note(area: str, what: str, remedy: str) -> Finding:
    """Return a finding that the main job survives."""
    return Finding(area=area, level="note", what=what, remedy=remedy)


def problem(area: str, what: str, remedy: str) -> Finding:
    """Return a finding that stops the main job."""
    return Finding(area=area, level="problem", what=what, remedy=remedy)
