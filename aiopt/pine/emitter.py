"""Write a StrategySpec as a Pine Script strategy whose trades equal the backtest's.

Owns the layout of a script and the order of its calls.  What the signals mean is `aiopt.strategy.signals`'
business; the text says the same in Pine.  Knows nothing of backtests and runs.

Why the order section looks as it does
--------------------------------------
* `strategy.exit` is called on **every** bar with prices kept in `var` variables.  An exit placed once, beside
  a reversing entry, is dropped by some engines.
* On a bar that closes or reverses the position its stop and target are cancelled: the market order fills at
  the next open, and nothing may come in between.  Without it TradingView could fill the stop at a gapped open
  first and then open twice the size.
* Stops and targets are rounded by `math.round_to_mintick` at the bar of the signal, as in the backtest.
* Margin is 0, so that the emulator neither refuses entries nor liquidates.  A size by risk is cut to what the
  equity carries at the leverage, an input, as in the backtest; a reversal that is cut to nothing just closes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aiopt.errors import ConfigError
from aiopt.files import atomic_write_text
from aiopt.outputs import SCRIPT, SPEC, check_file
from aiopt.pine.checker import require_valid
from aiopt.pine.conditions import ConditionWriter
from aiopt.pine.indicators import write_indicator
from aiopt.pine.inputs import input_lines
from aiopt.pine.provenance import Provenance, header_lines
from aiopt.pine.syntax import SUPPORTED_VERSIONS
from aiopt.pine.text import Names, comment, float_number, number, string_literal
from aiopt.strategy.signals import MAX_UNITS
from aiopt.strategy.spec import FixedSize, PriceDistance, SessionFilter, StrategySpec

if TYPE_CHECKING:
    from aiopt.market.instrument import Instrument

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\Z")

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_FIXED_NAMES = (
    *("ready", "sessionMinute", "sessionDay", "inSession", "entryUnits", "sized"),
    *("leverageInput", "carriedUnits", "orderUnits"),
    *("longSignal", "shortSignal", "exitLongSignal", "exitShortSignal", "enterLong", "enterShort"),
    *("longStop", "longTarget", "shortStop", "shortTarget"),
)


@dataclass(frozen=True)
class _Side:
    """One direction: the words and signs it is written with."""

    word: str  # long, short
    title: str  # order id
    opposite: str
    held: str  # comparison of strategy.position_size that says a position of this side is open
    free: str  # ... that says an entry of this side may be taken
    against: str  # sign of a stop relative to the close
    towards: str  # sign of a target relative to the close


_LONG = _Side("long", "Long", "Short", "> 0", "<= 0", "-", "+")
_SHORT = _Side("short", "Short", "Long", "< 0", ">= 0", "+", "-")


@dataclass
class _Script:
    """A script under construction."""

    spec: StrategySpec
    instrument: Instrument
    initial_balance: float
    leverage: float
    names: Names = field(default_factory=lambda: Names(_FIXED_NAMES))
    variables: dict[str, str] = field(default_factory=dict)  # name in conditions → Pine variable
    exact: dict[str, str] = field(default_factory=dict)  # ATR id → its value, unrounded
    lines: list[str] = field(default_factory=list)

    @property
    def sides(self) -> list[_Side]:
        entries = {"long": self.spec.entry_long, "short": self.spec.entry_short}
        return [side for side in (_LONG, _SHORT) if entries[side.word] is not None]

    def section(self, title: str, lines: list[str]) -> None:
        if lines:
            self.lines += ["", f"// {title}", *lines]

    def amount(self, value: int | float | str) -> str:
        """Return a number, or the input of a parameter given by name, as a Pine float expression."""
        return self.variables[value] if isinstance(value, str) else float_number(value)

    def distance(self, distance: PriceDistance) -> str:
        unit = float_number(self.instrument.pip_size)
        if distance.indicator is not None:
            unit = self.exact[distance.indicator]
        return f"{self.amount(distance.value)} * {unit}"


def emit(
    spec: StrategySpec,
    *,
    provenance: Provenance,
    instrument: Instrument,
    version: int = 6,
    initial_balance: float = 100_000.0,
    leverage: float = 30.0,
) -> str:
    """Return a strategy as Pine Script.

    Parameters
    ----------
    spec : StrategySpec
        The strategy.
    provenance : Provenance
        What the header states; ``Provenance()`` if nothing is known.
    instrument : Instrument
        Whose pips the distances are in.
    version : int
        6 or 5.
    initial_balance : float
        Account at the start, quote currency; risk-based sizes are measured by it.
    leverage : float
        Largest value of a position per equity: risk-based sizes are cut to it.

    Returns
    -------
    str
        The script; the same arguments give the same text, to the byte.

    Raises
    ------
    ConfigError
        If the version is neither 5 nor 6, or the balance or leverage is not positive.
    PineError
        If the text breaks a rule of the checker; then aiopt is at fault.
    """
    if version not in SUPPORTED_VERSIONS:
        msg = f"Pine version {version} is not supported. Use 5 or 6, or leave it out for 6."
        raise ConfigError(msg)
    if not initial_balance > 0:
        msg = f"`initial_balance > 0` must hold, but got {initial_balance}. Give the account at the start."
        raise ConfigError(msg)
    if not leverage > 0:
        msg = f"`leverage > 0` must hold, but got {leverage}. Give what the broker allows, e.g. 30."
        raise ConfigError(msg)
    script = _Script(spec, instrument, initial_balance, leverage)
    header = header_lines(provenance, name=spec.name, spec_hash=spec.spec_hash, symbol=instrument.symbol)
    script.lines = [f"//@version={version}", *header, *comment(spec.description or "No description.")]
    _declaration(script)
    _inputs(script)
    _indicators(script)
    _signals(script)
    _orders(script)
    _plots(script)
    text = "\n".join(script.lines) + "\n"
    require_valid(text, name=spec.name)
    return text


def _declaration(script: _Script) -> None:
    size = script.spec.size
    quantity = size.units if isinstance(size, FixedSize) else 1
    settings = {
        "overlay": "true",
        "pyramiding": "0",
        "calc_on_order_fills": "false",
        "calc_on_every_tick": "false",
        "process_orders_on_close": "false",
        "default_qty_type": "strategy.fixed",
        "default_qty_value": number(quantity),
        "initial_capital": number(script.initial_balance),
        "commission_type": "strategy.commission.percent",
        "commission_value": "0.0",
        "slippage": "0",
        "margin_long": "0.0",
        "margin_short": "0.0",
        "use_bar_magnifier": "false",
    }
    call = ", ".join(f"{key}={value}" for key, value in settings.items())
    script.lines += [
        "",
        *comment(
            "Costs are zero here, as in the parity backtest; set commission and slippage in the strategy's "
            "Properties. Margin is zero so that no order is refused or liquidated."
        ),
        f"strategy({string_literal(script.spec.name)}, {call})",
    ]


def _inputs(script: _Script) -> None:
    lines, variables = input_lines(script.spec, script.names)
    script.variables |= variables
    if not isinstance(script.spec.size, FixedSize):
        value = float_number(script.leverage)
        lines.append(f'float leverageInput = input.float({value}, "account leverage", minval=0.1, step=1.0)')
    script.section("Parameters", lines)


def _indicators(script: _Script) -> None:
    spec = script.spec
    lines: list[str] = []
    for identifier, indicator in spec.indicators.items():
        definition = spec.definition(identifier)
        args = {
            name: script.variables[value]
            if isinstance(value, str)
            else number(definition.args[name].type(value))
            for name, value in indicator.args.items()
        }
        written = write_indicator(
            indicator.kind, identifier=identifier, source=indicator.source, args=args, names=script.names
        )
        lines += written.lines
        if written.exact is not None:
            script.exact[identifier] = written.exact
        script.variables |= {
            name: written.outputs[output]
            for name, output in zip(spec.output_names()[identifier], definition.outputs, strict=True)
        }
    outputs = [script.variables[name] for names in spec.output_names().values() for name in names]
    ready = " and ".join(f"not na({output})" for output in outputs) or "true"
    script.section(
        "Indicators; nothing is traded before all of them have a value", [*lines, f"bool ready = {ready}"]
    )


def _signals(script: _Script) -> None:
    spec = script.spec
    writer = ConditionWriter(script.variables, script.names, constants=spec.params)
    texts = {name: writer.operand(tree) for name, tree in spec.trees.items()}
    lines = list(writer.lines)
    gates = ["ready"]
    if spec.session is not None:
        lines += _session_lines(spec.session)
        gates.append("inSession")
    lines += _size_lines(script)
    if not isinstance(spec.size, FixedSize):
        gates.append("entryUnits > 0.0")
    for side in script.sides:
        gate = " and ".join(gates)
        lines.append(f"bool {side.word}Signal = {gate} and {texts[f'entry_{side.word}']}")
    for side in script.sides:
        if f"exit_{side.word}" in texts:
            lines.append(f"bool exit{side.title}Signal = ready and {texts[f'exit_{side.word}']}")
    for side in script.sides:
        other = f" and not {side.opposite.lower()}Signal" if len(script.sides) == 2 else ""
        taken = f"{side.word}Signal{other} and strategy.position_size {side.free}"
        lines.append(f"bool enter{side.title} = {taken}")
    script.section("Signals, at the close of the bar; if both sides ask for an entry, neither gets it", lines)


def _session_lines(session: SessionFilter) -> list[str]:
    zone = string_literal(session.timezone)
    start, end = session.start_minute, session.end_minute
    word = "and" if start < end else "or"
    days = " or ".join(f"sessionDay == dayofweek.{_WEEKDAYS[day - 1]}" for day in session.weekdays)
    return [
        f"// Entries from {session.start} to {session.end} {session.timezone}, by the bar's opening time",
        f"int sessionMinute = hour(time, {zone}) * 60 + minute(time, {zone})",
        f"int sessionDay = dayofweek(time, {zone})",
        f"bool inSession = (sessionMinute >= {start} {word} sessionMinute < {end}) and ({days})",
    ]


def _size_lines(script: _Script) -> list[str]:
    size, stop = script.spec.size, script.spec.stop_loss
    if isinstance(size, FixedSize):
        return []
    assert stop is not None  # StrategySpec demands it
    distance, step = script.distance(stop), float_number(size.step)
    risked = f"{float_number(script.initial_balance)} * {float_number(size.risk_pct)} / 100.0"
    units = f"math.floor(math.min({risked} / ({distance}), {float_number(MAX_UNITS)}) / {step}) * {step}"
    return [
        f"// Size: {number(size.risk_pct)} % of the initial balance is lost at the stop, if margin allows",
        f"float entryUnits = {distance} > 0.0 ? {units} : 0.0",
        f"float carriedUnits = math.floor(strategy.equity * leverageInput / close / {step}) * {step}",
        "float orderUnits = math.min(entryUnits, carriedUnits)",
    ]


def _orders(script: _Script) -> None:
    spec = script.spec
    levels = {
        side.word: [
            (variable, distance, sign)
            for variable, distance, sign in (
                (f"{side.word}Stop", spec.stop_loss, side.against),
                (f"{side.word}Target", spec.take_profit, side.towards),
            )
            if distance is not None
        ]
        for side in script.sides
    }
    lines = [f"var float {variable} = na" for side in script.sides for variable, _, _ in levels[side.word]]
    is_fixed = isinstance(spec.size, FixedSize)
    quantity = number(spec.size.units) if isinstance(spec.size, FixedSize) else "orderUnits"
    for side in script.sides:
        lines.append(f"if enter{side.title}")
        for variable, distance, sign in levels[side.word]:
            price = f"close {sign} {script.distance(distance)}"
            lines.append(f"    {variable} := math.round_to_mintick({price})")
        order = f'"{side.title}", strategy.{side.word}, qty={quantity}'
        if is_fixed:
            lines.append(f"    strategy.entry({order})")
            continue
        lines += ["    if orderUnits > 0.0", f"        strategy.entry({order})"]
        if len(script.sides) == 2:
            lines += ["    else", f'        strategy.close("{side.opposite}", comment="Reverse")']
    protected = spec.stop_loss is not None or spec.take_profit is not None
    if protected:
        lines.append("// Called on every bar: an exit placed only once could be lost at a reversal")
        lines += [_exit_line(script, side) for side in script.sides]
    for side in script.sides:
        lines += _close_lines(script, side, protected=protected)
    script.section("Orders, filled at the open of the next bar", lines)


def _exit_line(script: _Script, side: _Side) -> str:
    arguments = [f'"{side.title} exit"', f'from_entry="{side.title}"']
    if script.spec.stop_loss is not None:
        arguments += [f"stop={side.word}Stop", 'comment_loss="Stop"']
    if script.spec.take_profit is not None:
        arguments += [f"limit={side.word}Target", 'comment_profit="Target"']
    return f"strategy.exit({', '.join(arguments)})"


def _close_lines(script: _Script, side: _Side, *, protected: bool) -> list[str]:
    """Return what ends a position at the next open: its stop and target go, an exit signal closes it."""
    reverses = len(script.sides) == 2
    exits = getattr(script.spec, f"exit_{side.word}") is not None
    exit_signal = f"exit{side.title}Signal"
    held = f"strategy.position_size {side.held}"
    lines = []
    causes = [f"enter{side.opposite}"] * reverses + [exit_signal] * exits
    if protected and causes:
        cause = causes[0] if len(causes) == 1 else f"({' or '.join(causes)})"
        lines += [f"if {held} and {cause}", f'    strategy.cancel("{side.title} exit")']
    if exits:
        unless = f" and not enter{side.opposite}" if reverses else ""
        lines += [
            f"if {held} and {exit_signal}{unless}",
            f'    strategy.close("{side.title}", comment="Exit signal")',
        ]
    return lines


def _plots(script: _Script) -> None:
    spec = script.spec
    lines = []
    for side in script.sides:
        held = f"strategy.position_size {side.held}"
        for kind, distance, color in (("Stop", spec.stop_loss, "red"), ("Target", spec.take_profit, "green")):
            if distance is not None:
                series = f"{held} ? {side.word}{kind} : na"
                title = f'"{side.title} {kind.lower()}"'
                lines.append(f"plot({series}, {title}, color=color.{color}, style=plot.style_linebr)")
    hidden = "display=display.data_window"
    for name in (name for names in spec.output_names().values() for name in names):
        lines.append(f"plot({script.variables[name]}, {string_literal(name)}, {hidden})")
    for side in script.sides:
        lines.append(f'plot({side.word}Signal ? 1 : 0, "{side.title} signal", {hidden})')
    script.section("Plots: stop and target on the chart, the rest in the data window", lines)


# reason: what `emit` takes, and where to write it
def write_script(  # noqa: PLR0913
    folder: Path,
    name: str,
    spec: StrategySpec,
    *,
    provenance: Provenance,
    instrument: Instrument,
    version: int = 6,
    initial_balance: float = 100_000.0,
    leverage: float = 30.0,
) -> Path:
    """Write ``NAME.pine`` and beside it ``NAME.json``, the spec it was made from.

    Parameters
    ----------
    folder : Path
        Created if missing.
    name : str
        File name without suffix: a letter or digit, then at most 99 letters, digits, hyphens, underscores.
    spec, provenance, instrument, version, initial_balance, leverage
        As in `emit`.

    Returns
    -------
    Path
        Of the script.

    Raises
    ------
    ConfigError, PineError
        If the name could leave the folder, a file of another kind is in the way, or as in `emit`.  Nothing is
        written then.
    StorageError
        If the disk is full or the folder not writable.
    """
    if _FILE_NAME.match(name) is None:
        msg = (
            f"{name!r} cannot name a script. Use a letter or digit, then at most 99 letters, "
            "digits, hyphens or underscores."
        )
        raise ConfigError(msg)
    path, beside = Path(folder) / f"{name}.pine", Path(folder) / f"{name}.json"
    check_file(path, SCRIPT, name="The script")
    check_file(beside, SPEC, name="The spec beside the script")
    text = emit(
        spec,
        provenance=provenance,
        instrument=instrument,
        version=version,
        initial_balance=initial_balance,
        leverage=leverage,
    )
    # The spec first: a script without its spec could not be traced.
    atomic_write_text(beside, spec.to_json() + "\n")
    atomic_write_text(path, text)
    return path
