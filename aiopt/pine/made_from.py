"""What a script was made from, kept in comments at its end, so that the script alone gives the spec back.

Owns that text.  It is a claim like any comment: `aiopt.pine.importing.rewriting` believes it only where it
writes the very script again.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

from aiopt.errors import SpecError
from aiopt.pine.form import ScriptForm

if TYPE_CHECKING:
    from aiopt.strategy.spec import StrategySpec

_TITLE = "// Made from this, which `aiopt pine import` reads back:"
_MARK = "//| "
_WIDTH = 104
_LINE = re.compile(r"^//\|\s?(.*?)\s*$", re.MULTILINE)


class MadeFrom(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `aiopt.pine.emitter.emit` was given, but for the header's figures.

    Attributes
    ----------
    spec : dict
        The strategy, as JSON has it.
    symbol : str
        Instrument whose pips the distances are in.
    initial_balance, leverage : float
        Of the account.
    form : ScriptForm
        How it was written.
    """

    spec: dict[str, Any]
    symbol: str
    initial_balance: float
    leverage: float
    form: ScriptForm = ScriptForm()

    def strategy(self) -> StrategySpec:
        """Return the strategy.

        Raises
        ------
        SpecError
            If it is none.
        """
        from aiopt.strategy.spec import spec_from_mapping

        return spec_from_mapping(self.spec, where="the script's comments")


def made_from_lines(made: MadeFrom) -> list[str]:
    """Return the comment lines: JSON in ASCII, cut where no line begins or ends with a space.

    An ``@`` is escaped, as a comment that begins with one may be an instruction to the compiler.
    """
    text = json.dumps(msgspec.to_builtins(made), ensure_ascii=True, separators=(",", ":"))
    text = re.sub("(?<= ) ", r"\\u0020", text.replace("@", r"\u0040"))
    lines = []
    while text:
        cut = min(_WIDTH, len(text))
        while cut < len(text) and " " in text[cut - 1 : cut + 1]:
            cut -= 1
        lines.append(_MARK + text[:cut])
        text = text[cut:]
    return ["", _TITLE, *lines]


def read_made_from(script: str) -> MadeFrom | None:
    """Return what a script says it was made from, None where it says nothing that can be read."""
    text = "".join(match[1] for match in _LINE.finditer(script))
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=MadeFrom)
    except (msgspec.DecodeError, SpecError, RecursionError, ValueError):
        return None


def without_made_from(script: str) -> str:
    """Return a script without what it says it was made from."""
    return _LINE.sub("", script).replace(_TITLE, "").rstrip() + "\n"
