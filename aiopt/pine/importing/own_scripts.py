"""What a script of ours leaves open of its spec: family, description, and how numbers were written.

Its header states the spec's hash, so that the right reading is known when it is found.
"""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import msgspec

from aiopt.strategy.conditions import (
    FUNCTIONS,
    And,
    Arithmetic,
    Call,
    Compare,
    Negate,
    Not,
    Number,
    Or,
    format_condition,
)
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import StrategySpec

_HASH = re.compile(r"^// spec: sha256 ([0-9a-f]{64})", re.MULTILINE)
_LAST_HEADER = "// verified: "
_DISTANCES = ("stop_loss", "take_profit", "trailing_stop", "break_even")


def stated_hash(text: str) -> str:
    """Return the hash of the spec that a script says it was made from, empty where it says none."""
    found = _HASH.search(text)
    return "" if found is None else found[1]


def with_stated_hash(spec: StrategySpec, text: str) -> StrategySpec:
    """Return the spec whose hash a script of ours states; the spec itself where no reading has it.

    Family and description are no code, and ``100.0`` may be a whole number in the spec.
    """
    stated = stated_hash(text)
    if not stated:
        return spec
    description = _description(text)
    near = [name for name in FAMILIES if spec.name.startswith(name)]
    families = dict.fromkeys([spec.name, re.sub(r"_\d+\Z", "", spec.name), *near])
    for decimal, *whole in product((False, True), *((False, True) for _ in _DISTANCES)):
        fields = [field for field, is_whole in zip(_DISTANCES, whole, strict=True) if is_whole]
        if any(not getattr(spec, field) for field in fields):
            continue
        candidate = _whole_distances(spec, fields) if fields else spec
        candidate = _decimal_conditions(candidate) if decimal else candidate
        for family, about in product(families, dict.fromkeys([description, ""])):
            found = msgspec.structs.replace(candidate, family=family, description=about)
            if found.spec_hash == stated:
                return found
    return msgspec.structs.replace(spec, description=description)


def _whole_distances(spec: StrategySpec, fields: list[str]) -> StrategySpec:
    data = msgspec.to_builtins(spec)
    data |= {key: _whole(data[key]) for key in fields}
    return msgspec.convert(data, StrategySpec)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value == int(value) else value


def _decimal_conditions(spec: StrategySpec) -> StrategySpec:
    texts = {field: format_condition(_decimal(tree)) for field, tree in spec.trees.items()}
    return msgspec.structs.replace(spec, **texts)


def _decimal(node: Any) -> Any:
    """Return a condition with its whole numbers as decimals, numbers of bars left as they are."""
    match node:
        case Number(value):
            return Number(float(value))
        case Call(function, arguments):
            kept = arguments[-1:] if FUNCTIONS[function].bars else ()
            changed = tuple(_decimal(one) for one in arguments[: len(arguments) - len(kept)])
            return Call(function, changed + kept)
        case Compare(operator, left, right) | Arithmetic(operator, left, right):
            return type(node)(operator, _decimal(left), _decimal(right))
        case And(operands) | Or(operands):
            return type(node)(tuple(_decimal(one) for one in operands))
        case Not(operand) | Negate(operand):
            return type(node)(_decimal(operand))
    return node


def _description(text: str) -> str:
    """Return the sentences below the header of a script of ours."""
    lines = text.splitlines()
    starts = [place for place, line in enumerate(lines) if line.startswith(_LAST_HEADER)]
    if not starts:
        return ""
    place = starts[0] + 1
    while place < len(lines) and lines[place].startswith("//   "):
        place += 1
    said = []
    while place < len(lines) and lines[place].startswith("//"):
        said.append(lines[place].removeprefix("//").strip())
        place += 1
    found = " ".join(said)
    return "" if found == "No description." else found
