"""Parameters as Pine inputs.  Owns titles, groups, tooltips, limits and steps.

The limits are those the spec enforces; where a parameter was swept, they are the ends of its range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from aiopt.pine.text import Names, camel_case, number, string_literal
from aiopt.strategy.conditions import FUNCTIONS, MAX_HISTORY, Call, Name, walk
from aiopt.strategy.dimensions import Choice, Dimension, FloatRange, IntRange
from aiopt.strategy.spec import BreakEven, StrategySpec
from aiopt.strategy.spec_exits import exit_counts, exit_distances
from aiopt.strategy.spec_limits import MOST_MONEY, limit_amounts, limit_counts

Number = int | float

INDICATORS, SIGNALS, ORDERS = "Indicators", "Signals", "Stops and targets"
LIMITS, ACCOUNT = "Entry limits", "Account"
"""Groups of inputs, in the order in which TradingView's dialog shows them."""
LEVERAGE_TITLE = "account leverage"


def input_lines(
    spec: StrategySpec, names: Names, ranges: Mapping[str, Dimension] | None = None
) -> tuple[list[str], dict[str, str]]:
    """Return one input per parameter, those of one group together.

    Parameters
    ----------
    spec : StrategySpec
        Its parameters.
    names : Names
        Where variable names are taken from.
    ranges : mapping of str to Dimension, optional
        What was swept.  A range that does not hold the parameter's value sets no limits.

    Returns
    -------
    lines : list of str
        ``int rsiLengthInput = input.int(14, "rsi_length", ...)`` and so on.
    variables : dict of str to str
        Parameter to variable.
    """
    uses = _uses(spec)
    variables = {name: names.take(f"{camel_case(name)}Input") for name in spec.params}
    lines = []
    for group in (INDICATORS, SIGNALS, ORDERS, LIMITS):
        for name in spec.params:
            if _group(uses[name]) == group:
                swept = (ranges or {}).get(name)
                lines.append(_line(spec, name, variables[name], swept, group, uses[name]))
    return lines, variables


# reason: one line is made of all of these
def _line(
    spec: StrategySpec, name: str, variable: str, swept: Dimension | None, group: str, uses: dict[str, str]
) -> str:
    value = spec.params[name]
    kind = "int" if isinstance(value, int) else "float"
    low, high, step = *_limits(spec, name), _step(spec, name)
    tooltip = _sentence("; ".join(uses))
    if swept is not None:
        first, last, distance = _ends(swept)
        if first <= value <= last:
            low, high = first, last
            step = step if distance is None else number(_like(value, distance))
        every = "" if distance is None else f" in steps of {distance:g}"
        tooltip += f" The sweep tried {first:g} to {last:g}{every}."
    arguments = [number(value), string_literal(name)]
    arguments += [f"minval={number(_like(value, low))}"] if low is not None else []
    arguments += [f"maxval={number(_like(value, high))}"] if high is not None else []
    arguments += [
        f"step={step}",
        f"tooltip={string_literal(tooltip)}",
        f"group={string_literal(group)}",
    ]
    return f"{kind} {variable} = input.{kind}({', '.join(arguments)})"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _ends(swept: Dimension) -> tuple[Number, Number, Number | None]:
    """Return the least and the greatest value that was swept and the distance of values, if there is one."""
    if isinstance(swept, IntRange | FloatRange):
        return swept.low, swept.high, swept.step
    assert isinstance(swept, Choice)
    values = [value for value in swept.values if not isinstance(value, str)]
    return min(values), max(values), None


def _uses(spec: StrategySpec) -> dict[str, dict[str, str]]:
    """Return, per parameter, what it is used for, in words, and the group that makes it one of."""
    uses: dict[str, dict[str, str]] = {name: {} for name in spec.params}
    for identifier in spec.indicators:
        for arg, value in spec.arg_params(identifier).items():
            uses[value][f"{arg} of {identifier}"] = INDICATORS
    for field, tree in spec.trees.items():
        for node in walk(tree):
            if isinstance(node, Name) and node.name in uses:
                uses[node.name][field.replace("_", " ")] = SIGNALS
    for field, distance in (("stop loss", spec.stop_loss), ("take profit", spec.take_profit)):
        if distance is not None and isinstance(distance.value, str):
            uses[distance.value][f"{field} in {_unit(distance.unit)}"] = ORDERS
    for name, use in _uses_in_exits(spec):
        uses[name][use] = ORDERS
    for field, amount, _ in (*limit_counts(spec), *limit_amounts(spec)):
        if isinstance(amount, str):
            uses[amount][_words(field.removeprefix("limits."))] = LIMITS
    return uses


def _uses_in_exits(spec: StrategySpec) -> Iterator[tuple[str, str]]:
    """Yield the parameters of moving stops and time stops, and what each is used for."""
    for field, distance in exit_distances(spec):
        if isinstance(distance.value, str):
            yield distance.value, f"{_words(field)} in {_unit(distance.unit)}"
    for field, count, _ in exit_counts(spec):
        if isinstance(count, str):
            yield count, _words(field)
    if isinstance(spec.break_even, BreakEven) and isinstance(spec.break_even.plus_pips, str):
        yield spec.break_even.plus_pips, "break even, pips beyond the entry"


def _words(field: str) -> str:
    """Return ``trailing_stop.after`` as ``trailing stop, after``."""
    return field.replace("_", " ").replace(".", ", ")


def _unit(unit: str) -> str:
    return "average true ranges" if unit == "atr" else unit


def _group(uses: dict[str, str]) -> str:
    """Return the first group, in the order of the dialog, that a parameter is used in."""
    return next((group for group in (INDICATORS, SIGNALS, ORDERS, LIMITS) if group in uses.values()), ORDERS)


def _like(value: Number, limit: Number) -> Number:
    return int(limit) if isinstance(value, int) else float(limit)


def _limits(spec: StrategySpec, name: str) -> tuple[Number | None, Number | None]:
    """Return the tightest limits that the uses of a parameter set."""
    lows: list[Number] = []
    highs: list[Number] = []
    for identifier in spec.indicators:
        for arg, value in spec.arg_params(identifier).items():
            if value == name:
                definition = spec.definition(identifier).args[arg]
                lows.append(definition.minimum)
                highs.append(definition.maximum)
    for tree in spec.trees.values():
        for node in walk(tree):
            if isinstance(node, Call) and FUNCTIONS[node.function].bars and node.arguments[-1] == Name(name):
                lows.append(1)
                highs.append(MAX_HISTORY)
    for distance in (spec.stop_loss, spec.take_profit, *(found for _, found in exit_distances(spec))):
        if distance is not None and distance.value == name:
            lows.append(_least(spec, name))
            highs += [99] if distance.unit == "percent" else []
    for _, count, most in (*exit_counts(spec), *limit_counts(spec)):
        if count == name:
            lows.append(1)
            highs.append(most)
    largest = [most for _, amount, most in limit_amounts(spec) if amount == name]
    lows += [_least(spec, name)] * len(largest)
    highs += [most for most in largest if most < MOST_MONEY]
    if isinstance(spec.break_even, BreakEven) and spec.break_even.plus_pips == name:
        lows.append(0)
    return max(lows, default=None), min(highs, default=None)


def _least(spec: StrategySpec, name: str) -> Number:
    """Return the least value of what must be above 0: Pine's limits are inclusive."""
    return min(float(_step(spec, name)), spec.params[name])


def _step(spec: StrategySpec, name: str) -> str:
    """Return the step of a parameter's arrows: 1, or a tenth, or its last decimal if that is finer."""
    value = spec.params[name]
    if isinstance(value, int):
        return "1"
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    places = max(1, -int(exponent))
    return format(Decimal(1).scaleb(-places), "f")
