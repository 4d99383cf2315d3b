"""Mend a script: which rules run in which order, what is applied, and what is left to the user.

A change is applied where its rule alone keeps every result, or where a run of both texts in the Pine engine
shows it on bars.  The engine is given as a function; this package knows none.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from aiopt.errors import InputError, PineError
from aiopt.pine.fixing import any_version, changed_meaning, from_version_4, to_version_6
from aiopt.pine.fixing.source import Change, Source, applied, calls, dotted
from aiopt.pine.parsing.parser import parse_script

TARGET = 6
OLDEST = 4


@dataclass(frozen=True)
class Verdict:
    """What a run of two texts on the same bars showed.

    Attributes
    ----------
    is_equal : bool or None
        Whether trades and plots are the same; None where the engine could not run one of the texts.
    text : str
        On what it was shown, the first difference, or why there was no run.
    """

    is_equal: bool | None
    text: str


Prover = Callable[[str, str], Verdict]

Rule = Callable[[Source], Iterator[Change]]

_ANY: tuple[Rule, ...] = (any_version.argument_order,)
_FROM_4: tuple[Rule, ...] = (from_version_4.typed_inputs, from_version_4.forms, from_version_4.renamed_names)
_TO_6: tuple[Rule, ...] = (
    to_version_6.transparency,
    to_version_6.integer_division,
    to_version_6.numbers_as_conditions,
    to_version_6.lazy_operators,
    to_version_6.margins,
    to_version_6.timeframes,
    to_version_6.na_booleans,
    changed_meaning.loop_bounds,
    changed_meaning.histories,
    changed_meaning.na_of_bools,
    changed_meaning.exit_levels,
)
_VERSION_LINE = re.compile(r"^//@version=[0-9]+[ \t]*$", re.MULTILINE)
_MAX_ROUNDS = 200


@dataclass
class Fixed:
    """What became of a script.

    Attributes
    ----------
    before, after : str
        The texts, with line feeds.
    applied : list of Change
        What was done; `is_proved` says whether the rule alone or a run proves it.
    left : list of Change
        What was not done, and why.
    proof : str
        What a run of both texts showed, empty where none was made.
    runnable : str
        The text before that a run is held against: after the rules for what engines of today do not know.
    """

    before: str
    after: str
    applied: list[Change] = field(default_factory=list)
    left: list[Change] = field(default_factory=list)
    proof: str = ""
    runnable: str = ""

    def diff(self, name: str) -> str:
        """Return the unified diff of the two texts, empty where they are equal."""
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            name,
            f"{name} (fixed)",
        )
        return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def fix_script(text: str, *, from_version: int | None = None, prove: Prover | None = None) -> Fixed:
    """Return a script of version 4 or 5 as version 6, and one of version 6 mended.

    Parameters
    ----------
    text : str
        The script.
    from_version : int, optional
        Its version where it has no version line and its names do not show it.
    prove : callable, optional
        Runs two texts on the same bars; what it shows to differ is not done.

    Raises
    ------
    InputError
        The text is no Pine Script, or its version is not clear, or not 4, 5 or 6.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    parsed = parse_script(text)
    if parsed.errors:
        raise InputError(f"The script cannot be read, so nothing is changed: {parsed.errors[0]}.")
    version = parsed.version or from_version or _version_by_names(text)
    if version not in range(OLDEST, TARGET + 1):
        raise InputError(f"The script is of version {version}; scripts of {OLDEST} to {TARGET} can be fixed.")
    fixed = Fixed(before=text, after=text, runnable=text)
    _run(fixed, version, _ANY, prove)
    _convert(fixed, version, parsed.version, prove)
    if prove is not None:
        _run(fixed, TARGET, (any_version.conditional_history,), prove)
    errors = parse_script(fixed.after).errors
    if errors:
        raise PineError(f"A rule made a text that cannot be read: {errors[0]}. Please report the script.")
    if prove is not None and fixed.after != fixed.before:
        verdict = prove(fixed.runnable, fixed.after)
        fixed.proof = verdict.text
        if verdict.is_equal is False:
            fixed.left += fixed.applied
            fixed.applied, fixed.after = [], fixed.before
    return fixed


def _convert(fixed: Fixed, version: int, stated: int | None, prove: Prover | None) -> None:
    """Bring a text to the target version, or leave it at its own where a place needs the user."""
    text, count, left = fixed.after, len(fixed.applied), len(fixed.left)
    if version == OLDEST:
        _run(fixed, version, _FROM_4, prove)
    if version < TARGET:
        # Engines that run version 5 take an order with when= for one without it.
        _run(fixed, max(version, 5), (to_version_6.when,), prove)
        fixed.runnable = fixed.after
        _run(fixed, max(version, 5), _TO_6, prove)
    if len(fixed.left) > left:
        # Half a conversion is a script of neither version.
        fixed.after = text
        del fixed.applied[count:]
        return
    _state_version(fixed, stated)


def _run(fixed: Fixed, version: int, rules: Iterable[Rule], prove: Prover | None) -> None:
    """Apply rules one change at a time, since each moves the text for the next."""
    for rule in rules:
        refused: set[tuple[str, str]] = set()
        for _ in range(_MAX_ROUNDS):
            changes = [
                change
                for change in rule(Source(fixed.after, version))
                if (change.rule, change.message) not in refused
            ]
            if not changes:
                break
            change = changes[0]
            if _is_good(fixed, change, prove):
                fixed.after = applied(fixed.after, change.edits)
                fixed.applied.append(change)
            else:
                refused.add((change.rule, change.message))
                fixed.left.append(change)


def _is_good(fixed: Fixed, change: Change, prove: Prover | None) -> bool:
    if not change.edits:
        return False
    if change.is_proved:
        return True
    return prove is not None and prove(fixed.after, applied(fixed.after, change.edits)).is_equal is True


def _state_version(fixed: Fixed, stated: int | None) -> None:
    line = f"//@version={TARGET}"
    if stated is None:
        fixed.after = f"{line}\n{fixed.after}"
        message = f"The script had no version line: it gets {line}."
    elif stated < TARGET:
        fixed.after = _VERSION_LINE.sub(line, fixed.after, count=1)
        message = f"The version is {TARGET} now, {stated} before."
    else:
        return
    fixed.applied.append(Change(1, "version", message))


def _version_by_names(text: str) -> int:
    """Return the version that a script without a version line must be of."""
    source = Source(text, 5)
    names = {dotted(call.function) or "" for call in calls(source.parsed.tree)}
    if "study" in names:
        return 4
    raise InputError(
        "The script has no //@version line, and versions differ in what the same text does. "
        "State it: --from 4, 5 or 6."
    )
