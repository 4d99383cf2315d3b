"""A script of ours gives its spec back: what its last comments state is written again and must be the script.

Inputs may have other defaults, and the declaration other costs or another capital: these are taken from the
script.  Owns that comparison; how a script is written is `aiopt.pine.emitter`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aiopt.errors import AioptError
from aiopt.market.instrument import Instrument
from aiopt.pine.emitter import emit
from aiopt.pine.form import ScriptCosts, ScriptForm
from aiopt.pine.inputs import LEVERAGE_TITLE
from aiopt.pine.made_from import MadeFrom, read_made_from
from aiopt.pine.parsing.nodes import Attribute, Call, Expression, Name, Node, Number, String, Unary
from aiopt.pine.parsing.parser import ParsedScript, parse_script
from aiopt.pine.parsing.walk import fields, walk
from aiopt.pine.provenance import Provenance
from aiopt.strategy.dimensions import Dimension
from aiopt.strategy.spec import StrategySpec

_INPUTS = frozenset({("input", "int"), ("input", "float")})
_SAID = 2
"""Leading arguments of an input that decide what it is: default and title."""


@dataclass(frozen=True)
class Rewritten:
    """A spec that writes the script again.

    Attributes
    ----------
    spec : StrategySpec
        With the parameters that the script's inputs stand at.
    dimensions : dict of str to Dimension
        What was swept.
    form : ScriptForm
        With the script's costs.
    initial_balance : float
        The script's capital.
    """

    spec: StrategySpec
    dimensions: dict[str, Dimension]
    form: ScriptForm
    initial_balance: float


def rewrite(text: str, parsed: ParsedScript, instrument: Instrument) -> Rewritten | Node | None:
    """Return the spec that a script states, if it is exactly what is written of it.

    Parameters
    ----------
    text : str
        The script.
    parsed : ParsedScript
        Its tree; without faults.
    instrument : Instrument
        Whose pips distances are in.

    Returns
    -------
    Rewritten, Node or None
        The first node that is written otherwise where the script was changed; None where it states no spec,
        or one that cannot be written.
    """
    made = read_made_from(text)
    if made is None or parsed.version is None:
        return None
    try:
        spec, again = _written_again(made, parsed, instrument)
        stated = made.strategy()
    except AioptError:
        return None
    found = emit(spec, **again)
    # An alert names the hash of the spec that was emitted, before inputs were set otherwise.
    other = parse_script(found.replace(spec.spec_hash, stated.spec_hash))
    unequal = _first_difference(parsed.tree, other.tree)
    if unequal is not None:
        return unequal
    form = again["form"]
    return Rewritten(spec, dict(form.ranges), form, again["initial_balance"])


def _written_again(made: MadeFrom, parsed: ParsedScript, instrument: Instrument) -> tuple[StrategySpec, dict]:
    """Return the spec with the script's inputs, and what else the emitter is given."""
    spec = made.strategy()
    inputs = dict(_inputs(parsed.tree))
    spec = spec.with_params({name: inputs[name] for name in spec.params if name in inputs})
    said = dict(_declaration(parsed.tree))
    costs = made.form.costs
    costs = ScriptCosts(
        commission_pct=said.get("commission_value", costs.commission_pct),
        slippage_ticks=int(said.get("slippage", costs.slippage_ticks)),
    )
    form = made.form
    form = ScriptForm(kind=form.kind, costs=costs, alerts=form.alerts, plots=form.plots, ranges=form.ranges)
    return spec, {
        "provenance": Provenance(),
        "instrument": instrument,
        "version": parsed.version,
        "initial_balance": said.get("initial_capital", made.initial_balance),
        "leverage": inputs.get(LEVERAGE_TITLE, made.leverage),
        "form": form,
    }


def _inputs(tree: Node) -> Iterator[tuple[str, int | float]]:
    """Yield title and default of every input of a number."""
    for node in walk(tree):
        found = _input(node)
        if found is not None:
            yield found[1:]


def _declaration(tree: Node) -> Iterator[tuple[str, float]]:
    """Yield the numbers of ``strategy(...)`` by name."""
    for node in walk(tree):
        if isinstance(node, Call) and isinstance(node.function, Name) and node.function.name == "strategy":
            for argument in node.arguments:
                number = _number(argument.value)
                if argument.name is not None and number is not None:
                    yield argument.name, number


def _number(value: Expression) -> int | float | None:
    if isinstance(value, Unary) and value.operator == "-":
        inner = _number(value.operand)
        return None if inner is None else -inner
    return value.value if isinstance(value, Number) else None


def _input(node: Node) -> tuple[str, str, int | float] | None:
    """Return type, title and default of an input of a number."""
    function = node.function if isinstance(node, Call) else None
    if (
        not isinstance(node, Call)
        or not isinstance(function, Attribute)
        or not isinstance(function.value, Name)
        or (function.value.name, function.name) not in _INPUTS
        or len(node.arguments) < _SAID
    ):
        return None
    default, title = (argument.value for argument in node.arguments[:_SAID])
    number = _number(default)
    if number is None or not isinstance(title, String):
        return None
    return function.name, title.value, number


def _said(node: Node) -> tuple[object, ...]:
    """Return what a node says; of an input its type, title and default alone, not its limits."""
    found = _input(node)
    if found is not None:
        kind, title, number = found
        return kind, title, float(number) if kind == "float" else number
    return tuple(getattr(node, name) for name in fields(node))


def _first_difference(one: Node, other: Node) -> Node | None:
    """Return the first node, by its place, that another tree does not have; None where they say the same."""
    waiting: list[tuple[Node, Node]] = [(one, other)]
    found: list[Node] = []
    while waiting:
        left, right = waiting.pop()
        said, wanted = _said(left), _said(right)
        if type(left) is not type(right) or len(said) != len(wanted):
            found.append(left)
            continue
        for a, b in zip(said, wanted, strict=True):
            if isinstance(a, Node) and isinstance(b, Node):
                waiting.append((a, b))
            elif isinstance(a, tuple) and isinstance(b, tuple):
                pairs = [pair for pair in zip(a, b, strict=False) if isinstance(pair[0], Node)]
                waiting += pairs
                if len(a) != len(b):
                    found.append(a[len(b)] if len(a) > len(b) else left)
                elif len(pairs) != len(a) and a != b:
                    found.append(left)
            elif type(a) is not type(b) or a != b:
                found.append(left)
    return min(found, key=lambda node: (node.line, node.column), default=None)
