"""Parameters as Pine inputs.  Owns titles, limits and steps; the limits are those the spec enforces."""

from __future__ import annotations

from decimal import Decimal

from aiopt.pine.text import Names, camel_case, number, string_literal
from aiopt.strategy.conditions import FUNCTIONS, MAX_HISTORY, Call, Name, walk
from aiopt.strategy.spec import StrategySpec

Number = int | float


def input_lines(spec: StrategySpec, names: Names) -> tuple[list[str], dict[str, str]]:
    """Return one input per parameter.

    Parameters
    ----------
    spec : StrategySpec
        Its parameters, in order.
    names : Names
        Where variable names are taken from.

    Returns
    -------
    lines : list of str
        ``int rsiLengthInput = input.int(14, "rsi_length", ...)`` and so on.
    variables : dict of str to str
        Parameter to variable.
    """
    lines, variables = [], {}
    for name, value in spec.params.items():
        variable = names.take(f"{camel_case(name)}Input")
        variables[name] = variable
        low, high = _limits(spec, name)
        kind = "int" if isinstance(value, int) else "float"
        arguments = [number(value), string_literal(name)]
        arguments += [f"minval={number(_like(value, low))}"] if low is not None else []
        arguments += [f"maxval={number(_like(value, high))}"] if high is not None else []
        arguments.append(f"step={_step(spec, name)}")
        lines.append(f"{kind} {variable} = input.{kind}({', '.join(arguments)})")
    return lines, variables


def _like(value: Number, limit: Number) -> Number:
    return int(limit) if isinstance(value, int) else float(limit)


def _limits(spec: StrategySpec, name: str) -> tuple[Number | None, Number | None]:
    """Return the tightest limits that the uses of a parameter set."""
    lows: list[Number] = []
    highs: list[Number] = []
    for identifier, indicator in spec.indicators.items():
        for arg, value in indicator.args.items():
            if value == name:
                definition = spec.definition(identifier).args[arg]
                lows.append(definition.minimum)
                highs.append(definition.maximum)
    for tree in spec.trees.values():
        for node in walk(tree):
            if isinstance(node, Call) and FUNCTIONS[node.function].bars and node.arguments[-1] == Name(name):
                lows.append(1)
                highs.append(MAX_HISTORY)
    for distance in (spec.stop_loss, spec.take_profit):
        if distance is not None and distance.value == name:
            # Pine's limits are inclusive and a distance of zero is none.
            lows.append(min(float(_step(spec, name)), spec.params[name]))
    return max(lows, default=None), min(highs, default=None)


def _step(spec: StrategySpec, name: str) -> str:
    """Return the step of a parameter's arrows: 1, or a tenth, or its last decimal if that is finer."""
    value = spec.params[name]
    if isinstance(value, int):
        return "1"
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    places = max(1, -int(exponent))
    return format(Decimal(1).scaleb(-places), "f")
